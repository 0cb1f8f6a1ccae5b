#include "python/bind.h"

#include "python/out.h"

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

py::object result_tuple(const char* name, const char* fields) {
  const py::object type = py::module_::import("collections").attr("namedtuple")(name, fields);
  const std::string title = "tercel.return_types." + std::string(name) + "(\n";
  type.attr("__module__") = "tercel.return_types";
  type.attr("__repr__") = py::cpp_function(
      [title](const py::tuple& self) {
        std::string text = title;
        const py::tuple fields = self.attr("_fields");
        for (size_t i = 0; i < self.size(); ++i)
          text += (i ? ",\n" : "") + py::str(fields[i]).cast<std::string>() + "=" +
                  py::repr(self[i]).cast<std::string>();
        return text + ")";
      },
      py::is_method(type));
  return type;
}

}  // namespace tercel
