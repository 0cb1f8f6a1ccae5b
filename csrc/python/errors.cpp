#include "python/errors.h"

#include <new>
#include <string>

namespace tercel {

namespace py = pybind11;

namespace {

PyObject* g_shape_error = nullptr;
PyObject* g_dtype_error = nullptr;
PyObject* g_memory_error = nullptr;

PyObject* class_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Shape:
      return g_shape_error;
    case ErrorKind::DType:
      return g_dtype_error;
    case ErrorKind::Value:
      return PyExc_ValueError;
    case ErrorKind::Type:
      return PyExc_TypeError;
    case ErrorKind::Index:
      return PyExc_IndexError;
    case ErrorKind::Key:
      return PyExc_KeyError;
    case ErrorKind::NotImplemented:
      return PyExc_NotImplementedError;
    case ErrorKind::OutOfMemory:
      return g_memory_error;
    case ErrorKind::Overflow:
      return PyExc_OverflowError;
    case ErrorKind::Buffer:
      return PyExc_BufferError;
    case ErrorKind::OS:
      return PyExc_OSError;
    default:
      return PyExc_RuntimeError;
  }
}

// pybind11 names C++ types ("Unable to cast Python instance of type <class 'int'> to C++ type
// 'x'"): only the Python type is of use.
std::string without_cpp(const std::string& text) {
  const size_t from = text.find("<class '"), to = text.find("'>", from);
  if (from == std::string::npos || to == std::string::npos) return "an argument has a wrong type";
  return "an argument, or what a callback returned, has a wrong type: " +
         text.substr(from + 8, to - from - 8);
}

PyObject* make_class(py::module_& module, const char* name, const char* doc, PyObject* base) {
  const std::string full = std::string("tercel.") + name;
  py::object bases = py::make_tuple(py::handle(base), py::handle(PyExc_RuntimeError));
  PyObject* type = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases.ptr(), nullptr);
  if (!type) throw py::error_already_set();
  module.attr(name) = py::handle(type);
  return type;  // one reference is kept for the life of the process
}

}  // namespace

void set_python_error() noexcept {
  try {
    throw;
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const py::builtin_exception& e) {
    e.set_error();
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::Interrupt && PyErr_Occurred()) return;
    PyErr_SetString(class_of(e.kind()), e.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "out of memory");
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "unknown error");
  }
}

void bind_errors(py::module_& module) {
  g_shape_error =
      make_class(module, "ShapeError", "A tensor has the wrong rank or size.", PyExc_ValueError);
  g_dtype_error =
      make_class(module, "DTypeError", "A tensor has the wrong dtype.", PyExc_TypeError);
  g_memory_error = make_class(module, "OutOfMemoryError", "A request exceeds the available memory.",
                              PyExc_MemoryError);
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error&) {
      set_python_error();
    } catch (const py::cast_error& e) {
      PyErr_SetString(PyExc_TypeError, without_cpp(e.what()).c_str());
    }
  });
}

}  // namespace tercel
