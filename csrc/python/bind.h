// What a `*_py.cpp` file needs: casters and the Binder that registers functions and Tensor methods.
//
//   void bind_norm(Binder& b) {
//     b.both("rms_norm", &rms_norm, py::arg("input"), py::arg("weight"), py::arg("eps") = 1e-5,
//     "doc...");
//   }
//
// Argument types the casters know: Tensor (None -> TypeError), std::optional<Tensor> (None ->
// undefined), Operand (Tensor or Python number), Scalar, DType, std::optional<DType>, Device, Dims
// (int or sequence of ints), std::optional<Dims>, TensorList (sequence of tensors), Ref<Generator>
// (None = default). Return types: Tensor, TensorList (-> tuple), std::tuple/pair of Tensors, Dims
// (-> tercel.Size), DType.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/autograd.h"
#include "core/random.h"
#include "core/scalar.h"
#include "core/tensor.h"
#include "python/caster.h"

namespace tercel {

namespace py = pybind11;

class Binder {
 public:
  Binder(py::module_ module, py::handle tensor_type)
      : module_(std::move(module)), type_(tensor_type) {}

  py::module_& module() { return module_; }
  py::handle tensor_type() const { return type_; }

  // tercel._core.name
  template <class F, class... Extra>
  Binder& function(const char* name, F&& f, const Extra&... extra) {
    module_.def(name, std::forward<F>(f), extra...);
    return *this;
  }
  // Tensor.name; the first parameter is self and has no py::arg. Repeated calls with one name add
  // overloads.
  template <class F, class... Extra>
  Binder& method(const char* name, F&& f, const Extra&... extra) {
    py::cpp_function fn(std::forward<F>(f), py::name(name), py::is_method(type_),
                        py::sibling(py::getattr(type_, name, py::none())), extra...);
    set_type_attr(name, fn);
    return *this;
  }
  // Both. The first py::arg names the first parameter, which is self for the method; give it
  // always.
  template <class F, class... Extra>
  Binder& both(const char* name, F f, const py::arg& self, const Extra&... extra) {
    function(name, f, self, extra...);
    return method(name, f, extra...);
  }
  // Tensor.name as a read-only property.
  template <class F>
  Binder& property(const char* name, F&& getter, const char* doc) {
    py::cpp_function get(std::forward<F>(getter), py::is_method(type_));
    set_type_attr(name, py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(
                            &PyProperty_Type))(get, py::none(), py::none(), doc));
    return *this;
  }

 private:
  void set_type_attr(const char* name, const py::object& value);
  py::module_ module_;
  py::handle type_;
};

// Sizes given as f(2, 3), f((2, 3)) or f([2, 3]); raises TypeError naming `op`.
Dims dims_from_args(const py::args& args, const char* op);

}  // namespace tercel
