// The Python Tensor: a raw CPython heap type that holds one Tensor handle.
#pragma once

#include <pybind11/pybind11.h>

#include "core/autograd.h"
#include "python/errors.h"

namespace tercel {

struct PyTensor {
  PyObject_HEAD Tensor tensor;
  PyObject* dict;
  PyObject* weakrefs;
};

// A Python callable used as a C++ hook; the reference is visible to Python's garbage collector
// through the tensor that owns it.
struct PyHook {
  explicit PyHook(PyObject* f) : callable(f) { Py_INCREF(callable); }
  PyHook(const PyHook& o) : callable(o.callable) { retain(); }
  ~PyHook();
  PyHook& operator=(const PyHook&) = delete;
  Tensor operator()(const Tensor& grad) const;
  void retain() const;
  PyObject* callable;
};

inline PyTensor* py_tensor(PyObject* o) { return reinterpret_cast<PyTensor*>(o); }

// Runs `f` and returns its object; null with a Python exception if it throws.
template <class F>
PyObject* object_or_null(F&& f) {
  return guarded([&]() -> PyObject* { return f(); }, static_cast<PyObject*>(nullptr));
}

extern PyTypeObject* g_tensor_type;
void bind_tensor_type(pybind11::module_& module);

// self[index] and self[index] = value (indexing.cpp).
PyObject* tensor_getitem(PyObject* self, PyObject* index);
int tensor_setitem(PyObject* self, PyObject* index, PyObject* value);

// Slots of the operators (tensor_operators.cpp).
void add_operator_slots(std::vector<PyType_Slot>& slots);

// A new Python object of `type` (a Tensor subclass) around `t`; steals nothing.
PyObject* wrap_tensor_as(PyTypeObject* type, const Tensor& t);

// Tensor from nested sequences, numbers, buffers (data.cpp; the buffer protocol: buffers.cpp).
// `dtype` nullopt: inferred.
Tensor tensor_from_data(PyObject* data, std::optional<DType> dtype, bool copy);
int tensor_getbuffer(PyObject* self, Py_buffer* view, int flags);
void tensor_releasebuffer(PyObject* self, Py_buffer* view);

}  // namespace tercel
