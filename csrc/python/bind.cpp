#include "python/bind.h"

namespace tercel {

void Binder::set_type_attr(const char* name, const py::object& value) {
  if (PyObject_SetAttrString(type_.ptr(), name, value.ptr()) != 0) throw py::error_already_set();
}

Dims dims_from_args(const py::args& args, const char* op) {
  Dims dims;
  PyObject* source = args.ptr();
  if (args.size() == 1 && (PyTuple_Check(args[0].ptr()) || PyList_Check(args[0].ptr())))
    source = args[0].ptr();
  const bool ok = dims_from_object(source, &dims);
  TERCEL_CHECK(ok, Type, op, ": expected ints or a sequence of ints, got ",
               std::string(py::repr(py::handle(source))).substr(0, 200));
  return dims;
}

}  // namespace tercel
