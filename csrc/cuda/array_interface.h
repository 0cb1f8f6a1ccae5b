// __cuda_array_interface__, version 3 (python/data.cpp asks for it).
#pragma once

#include <Python.h>

#include "core/tensor.h"

namespace tercel {

// Shares the memory of the object and keeps it alive.
Tensor tensor_from_cuda_array(PyObject* source);

}  // namespace tercel
