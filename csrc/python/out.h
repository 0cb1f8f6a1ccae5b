// Binding of functions with out=: both_out(b, "name", f, args..., doc) binds f as function and
// method and adds the argument `out` after the others. Pairs come back as named tuples.
#pragma once

#include "ops/copy/out.h"
#include "python/bind.h"

namespace tercel {

// A type of named tuples that print as PyTorch's return types. `fields`: names with spaces between.
py::object result_tuple(const char* name, const char* fields);
inline py::object pair_type(const char* name) { return result_tuple(name, "values indices"); }

namespace out_detail {

template <class... Extra>
constexpr bool has_kw_only = (std::is_same_v<Extra, py::kw_only> || ...);

template <class Bind, class Fn, class... Extra>
void with_out(const Bind& bind, const Fn& fn, const Extra&... extra) {
  if constexpr (has_kw_only<Extra...>) {
    bind(fn, extra..., py::arg("out") = py::none());
  } else {
    bind(fn, extra..., py::kw_only(), py::arg("out") = py::none());
  }
}

// The function with out=, and what it returns: the tensor, or the named tuple of a pair.
template <class F, class R, class... A>
auto delivering(const char* name, F f, R (*)(A...)) {
  return [f, name](A... a, const OptionalOut& out) {
    return into_out(f(std::forward<A>(a)...), out, name);
  };
}
template <class F, class R, class... A>
auto delivering(const char* name, F f, R (*)(A...), const py::object& type) {
  return [f, name, type](A... a, const OptionalOutPair& out) {
    const auto [first, second] = f(std::forward<A>(a)...);
    if (!out) return type(first, second);
    return type(into_out(first, out->first, name), into_out(second, out->second, name));
  };
}
template <class F>
constexpr py::detail::function_signature_t<F>* signature = nullptr;

}  // namespace out_detail

template <class F, class... Extra>
void both_out(Binder& b, const char* name, F f, const Extra&... extra) {
  const auto bind = [&](const auto& fn, const auto&... all) { b.both(name, fn, all...); };
  out_detail::with_out(bind, out_detail::delivering(name, f, out_detail::signature<F>), extra...);
}
// f returns a pair; `type` comes from pair_type.
template <class F, class... Extra>
void both_out(Binder& b, const char* name, const py::object& type, F f, const Extra&... extra) {
  const auto bind = [&](const auto& fn, const auto&... all) { b.both(name, fn, all...); };
  out_detail::with_out(bind, out_detail::delivering(name, f, out_detail::signature<F>, type),
                       extra...);
}
template <class F, class... Extra>
void function_out(Binder& b, const char* name, F f, const Extra&... extra) {
  const auto bind = [&](const auto& fn, const auto&... all) { b.function(name, fn, all...); };
  out_detail::with_out(bind, out_detail::delivering(name, f, out_detail::signature<F>), extra...);
}

}  // namespace tercel
