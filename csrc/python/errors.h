// Exception classes and the boundary between C++ errors and Python exceptions.
#pragma once

#include <pybind11/pybind11.h>

#include "core/error.h"

namespace tercel {

// Creates the exception classes in the module and registers the translator with pybind11.
void bind_errors(pybind11::module_& module);
// Sets the Python exception for the C++ exception in flight (call inside a catch block).
void set_python_error() noexcept;

// Runs `f`, turning any C++ exception into a Python one; for raw CPython slots.
template <class F, class R = decltype(std::declval<F>()())>
R guarded(F&& f, R failure) noexcept {
  try {
    return f();
  } catch (...) {
    set_python_error();
    return failure;
  }
}

}  // namespace tercel
