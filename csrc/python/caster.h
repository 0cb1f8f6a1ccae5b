// pybind11 casters between Python objects and the core types. The Python Tensor is a raw CPython
// heap type (tensor_type.cpp), so these are a type check and a pointer copy.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

#include "core/autograd.h"
#include "core/random.h"
#include "core/scalar.h"
#include "core/tensor.h"

namespace tercel {

// A tensor, or a Python number turned into a wrapped-number tensor.
struct Operand {
  Tensor tensor;
  operator const Tensor&() const { return tensor; }
};

// Tensor object <-> Tensor (tensor_type.cpp).
bool is_tensor_object(PyObject* object);
const Tensor& tensor_of(PyObject* object);  // object must be a Tensor
PyObject* wrap_tensor(const Tensor& t);     // new reference; None if undefined; one object per impl
bool scalar_from_object(PyObject* object, Scalar* out);  // bool, int, float, NumPy scalars
bool dtype_from_object(PyObject* object, DType* out);
PyObject* dtype_object(DType t);                         // new reference
bool device_from_object(PyObject* object, Device* out);  // Device or str
PyObject* device_object(Device d);
bool dims_from_object(PyObject* object, Dims* out);  // int or sequence of ints
PyObject* size_object(const Dims& d);                // new tercel.Size
bool generator_from_object(PyObject* object, Ref<Generator>* out);
PyObject* generator_object(const Ref<Generator>& g);

}  // namespace tercel

namespace pybind11::detail {

template <>
struct type_caster<tercel::Tensor> {
  PYBIND11_TYPE_CASTER(tercel::Tensor, const_name("Tensor"));
  bool load(handle src, bool) {
    if (!tercel::is_tensor_object(src.ptr())) return false;
    value = tercel::tensor_of(src.ptr());
    return true;
  }
  static handle cast(const tercel::Tensor& t, return_value_policy, handle) {
    return tercel::wrap_tensor(t);
  }
};

// Integers are what Python may index with. pybind11's own caster truncates whatever has an __int__:
// a tensor of one float, a NumPy float32.
template <class T>
struct IndexCaster {
  PYBIND11_TYPE_CASTER(T, io_name("typing.SupportsIndex", "int"));
  bool load(handle src, bool) {
    using Wide = std::conditional_t<std::is_signed_v<T>, long long, unsigned long long>;
    object number = reinterpret_steal<object>(PyNumber_Index(src.ptr()));
    Wide wide = 0;
    if (number) {
      if constexpr (std::is_signed_v<T>) {
        wide = PyLong_AsLongLong(number.ptr());
      } else {
        wide = PyLong_AsUnsignedLongLong(number.ptr());
      }
    }
    if (PyErr_Occurred()) {
      PyErr_Clear();
      return false;
    }
    value = static_cast<T>(wide);
    return static_cast<Wide>(value) == wide;
  }
  static handle cast(T v, return_value_policy, handle) {
    if constexpr (std::is_signed_v<T>) return PyLong_FromLongLong(v);
    return PyLong_FromUnsignedLongLong(v);
  }
};
template <>
struct type_caster<int> : IndexCaster<int> {};
template <>
struct type_caster<unsigned> : IndexCaster<unsigned> {};
template <>
struct type_caster<long> : IndexCaster<long> {};
template <>
struct type_caster<unsigned long> : IndexCaster<unsigned long> {};

template <>
struct type_caster<tercel::Operand> {
  PYBIND11_TYPE_CASTER(tercel::Operand, const_name("Tensor | float"));
  bool load(handle src, bool) {
    if (tercel::is_tensor_object(src.ptr())) {
      value.tensor = tercel::tensor_of(src.ptr());
      return true;
    }
    tercel::Scalar s(0);
    if (!tercel::scalar_from_object(src.ptr(), &s)) return false;
    value.tensor = tercel::wrap_number(s);
    return true;
  }
};

template <>
struct type_caster<tercel::Scalar> {
 public:
  static constexpr auto name = const_name("float");
  bool load(handle src, bool) { return tercel::scalar_from_object(src.ptr(), &value_); }
  operator tercel::Scalar&() { return value_; }
  operator tercel::Scalar*() { return &value_; }
  template <class T>
  using cast_op_type = pybind11::detail::cast_op_type<T>;
  static handle cast(const tercel::Scalar& s, return_value_policy, handle) {
    if (s.is_float()) return PyFloat_FromDouble(s.to_double());
    if (s.is_bool()) return PyBool_FromLong(s.to_int() != 0);
    return PyLong_FromLongLong(s.to_int());
  }

 private:
  tercel::Scalar value_{0};
};

#define TERCEL_CASTER(Type, text, from, to)                                          \
  template <>                                                                        \
  struct type_caster<Type> {                                                         \
    PYBIND11_TYPE_CASTER(Type, const_name(text));                                    \
    bool load(handle src, bool) { return from(src.ptr(), &value); }                  \
    static handle cast(const Type& v, return_value_policy, handle) { return to(v); } \
  };
TERCEL_CASTER(tercel::DType, "dtype", tercel::dtype_from_object, tercel::dtype_object)
TERCEL_CASTER(tercel::Device, "device", tercel::device_from_object, tercel::device_object)
TERCEL_CASTER(tercel::Dims, "Size", tercel::dims_from_object, tercel::size_object)
TERCEL_CASTER(tercel::Ref<tercel::Generator>, "Generator | None", tercel::generator_from_object,
              tercel::generator_object)
#undef TERCEL_CASTER

// Sequence of tensors in, tuple of tensors out.
template <>
struct type_caster<tercel::TensorList> {
  PYBIND11_TYPE_CASTER(tercel::TensorList, const_name("tuple[Tensor, ...]"));
  bool load(handle src, bool) {
    if (!PyList_Check(src.ptr()) && !PyTuple_Check(src.ptr())) return false;
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(src.ptr());
    PyObject** items = PySequence_Fast_ITEMS(src.ptr());
    value.reserve(static_cast<size_t>(n));
    for (Py_ssize_t i = 0; i < n; ++i) {
      if (!tercel::is_tensor_object(items[i])) return false;
      value.push_back(tercel::tensor_of(items[i]));
    }
    return true;
  }
  static handle cast(const tercel::TensorList& list, return_value_policy, handle) {
    PyObject* out = PyTuple_New(static_cast<Py_ssize_t>(list.size()));
    for (size_t i = 0; i < list.size(); ++i) {
      PyTuple_SET_ITEM(out, static_cast<Py_ssize_t>(i), tercel::wrap_tensor(list[i]));
    }
    return out;
  }
};

}  // namespace pybind11::detail
