// Memory shared with other Python objects through the buffer protocol.
#pragma once

#include <pybind11/pybind11.h>

#include "core/tensor.h"

namespace tercel {

// A Py_buffer that is released unless it is given away.
struct BufferOwner {
  Py_buffer* view = new Py_buffer;
  bool held = false;
  ~BufferOwner() {
    if (held) PyBuffer_Release(view);
    delete view;
  }
  Py_buffer* give() {
    Py_buffer* v = view;
    view = new Py_buffer;
    held = false;
    return v;
  }
};

// Releases a Py_buffer made with new; the deleter of a Storage that wraps one.
void release_buffer(void* context);

// Shares the memory of an object with the buffer protocol; keeps it alive; respects read-only.
Tensor from_buffer_object(PyObject* object, const char* op);

}  // namespace tercel
