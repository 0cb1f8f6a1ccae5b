#include "core/autocast.h"

#include <unordered_map>

#include "core/autograd.h"
#include "core/engine_ops.h"

namespace tercel {
namespace {

// The cast of a leaf. `source` keeps its address from being used again.
struct Cast {
  Tensor source, cast;
  uint32_t version;
  bool with_grad;
};
thread_local AutocastState t_state;
std::unordered_map<const TensorImpl*, Cast>& cache() {
  thread_local std::unordered_map<const TensorImpl*, Cast> casts;
  return casts;
}

}  // namespace

bool g_autocast_used = false;

AutocastState autocast_state() { return t_state; }
void set_autocast(const AutocastState& state) {
  if (state.enabled) g_autocast_used = true;
  t_state = state;
}
void clear_autocast_cache() { cache().clear(); }

bool autocast_changes(const Tensor& t, bool to_narrow) {
  if (!t_state.enabled || !t.defined()) return false;
  if (!to_narrow) return is_half(t.dtype());
  return t.dtype() == DType::f32 || (is_half(t.dtype()) && t.dtype() != t_state.dtype);
}

Tensor autocast_cast(const Tensor& t, bool to_narrow) {
  if (!autocast_changes(t, to_narrow)) return t;
  if (!to_narrow) return to(t, DType::f32);
  const bool keep = t_state.cache && t.dtype() == DType::f32 && t.is_leaf() && t.requires_grad();
  if (!keep) return to(t, t_state.dtype);
  const auto found = cache().find(t.impl());
  if (found != cache().end()) {
    const Cast& c = found->second;
    if (c.version == t.version() && c.with_grad == grad_enabled() &&
        c.cast.dtype() == t_state.dtype)
      return c.cast;
  }
  const Tensor cast = to(t, t_state.dtype);
  cache()[t.impl()] = {t, cast, t.version(), grad_enabled()};
  return cast;
}

}  // namespace tercel
