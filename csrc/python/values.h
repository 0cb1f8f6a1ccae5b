// dtype, device and Size types of the Python module.
#pragma once

#include <pybind11/pybind11.h>

namespace tercel {

void bind_values(pybind11::module_& module);
bool is_size_object(PyObject* object);

}  // namespace tercel
