// Tensors out of Python sequences, with errors that name the function.
#pragma once

#include "core/error.h"
#include "python/bind.h"

namespace tercel {

// The tensors of a list, tuple or *args.
inline TensorList tensors_of(const py::handle& items, const char* op) {
  TERCEL_CHECK(PyList_Check(items.ptr()) || PyTuple_Check(items.ptr()), Type, op,
               ": expected tensors or a sequence of tensors, got ", Py_TYPE(items.ptr())->tp_name);
  TensorList out;
  for (const py::handle& item : items) {
    TERCEL_CHECK(is_tensor_object(item.ptr()), Type, op, ": tensor ", out.size(),
                 " must be a Tensor, got ", Py_TYPE(item.ptr())->tp_name);
    out.push_back(tensor_of(item.ptr()));
  }
  return out;
}

// f(t0, t1, ...) or f([t0, t1, ...])
inline TensorList tensors_from_args(const py::args& args, const char* op) {
  const bool several = args.size() != 1 || is_tensor_object(args[0].ptr());
  return tensors_of(several ? py::handle(args) : py::handle(args[0]), op);
}

}  // namespace tercel
