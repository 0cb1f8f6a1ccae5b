// NumPy's names of arguments.
#pragma once

#include <pybind11/pybind11.h>

namespace tercel {

// Lets every bound function of `scope` (module or type) that has the argument `dim` or `keepdim`
// take it as `axis` or `keepdims` too, as PyTorch does. Call it after all bindings.
void accept_numpy_names(pybind11::handle scope);

}  // namespace tercel
