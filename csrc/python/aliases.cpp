// pybind11 binds arguments by one name. A call with keywords passes through rename_keywords, which
// hands the dispatcher the names it knows; a call without keywords pays one comparison.
#include "python/aliases.h"

#include <cstring>
#include <string>
#include <string_view>

namespace tercel {
namespace {

namespace py = pybind11;

using FastFunction = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
using Alias = std::pair<PyObject*, PyObject*>;  // NumPy's name, ours

FastFunction g_dispatcher = nullptr;
Alias g_aliases[2];

PyObject* own_name(PyObject* name) {
  for (const Alias& alias : g_aliases) {
    if (name == alias.first || PyUnicode_Compare(name, alias.first) == 0) return alias.second;
  }
  return nullptr;
}

PyObject* rename_keywords(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  if (!names) return g_dispatcher(self, args, n, nullptr);
  PyObject* renamed = nullptr;
  const Py_ssize_t count = PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* name = own_name(PyTuple_GET_ITEM(names, i));
    if (!name) continue;
    // Both names given: the dispatcher meets one it does not know and says so.
    if (PySequence_Contains(names, name) == 1) continue;
    if (!renamed) {
      renamed = PyTuple_GetSlice(names, 0, count);
      if (renamed == names) {  // a slice of everything may be the tuple itself
        Py_DECREF(renamed);
        renamed = PyTuple_New(count);
        for (Py_ssize_t j = 0; renamed && j < count; ++j) {
          PyTuple_SET_ITEM(renamed, j, Py_NewRef(PyTuple_GET_ITEM(names, j)));
        }
      }
      if (!renamed) return nullptr;
    }
    PyObject* old = PyTuple_GET_ITEM(renamed, i);
    PyTuple_SET_ITEM(renamed, i, Py_NewRef(name));
    Py_DECREF(old);
  }
  PyObject* result = g_dispatcher(self, args, n, renamed ? renamed : names);
  Py_XDECREF(renamed);
  return result;
}

bool has_argument(PyObject* function, std::string_view name) {
  const char* doc = reinterpret_cast<PyCFunctionObject*>(function)->m_ml->ml_doc;
  if (!doc) return false;
  const std::string_view text = doc;
  return text.find(std::string(", ") + std::string(name) + ": ") != std::string_view::npos;
}

}  // namespace

void accept_numpy_names(py::handle scope) {
  g_aliases[0] = {PyUnicode_InternFromString("axis"), PyUnicode_InternFromString("dim")};
  g_aliases[1] = {PyUnicode_InternFromString("keepdims"), PyUnicode_InternFromString("keepdim")};
  const py::dict names = scope.attr("__dict__").attr("copy")();
  for (auto [key, value] : names) {
    PyObject* f = value.ptr();
    if (PyInstanceMethod_Check(f)) f = PyInstanceMethod_GET_FUNCTION(f);
    if (!PyCFunction_Check(f) || !(has_argument(f, "dim") || has_argument(f, "keepdim"))) continue;
    PyMethodDef* def = reinterpret_cast<PyCFunctionObject*>(f)->m_ml;
    if (def->ml_flags != (METH_FASTCALL | METH_KEYWORDS)) continue;
    const auto fn = reinterpret_cast<FastFunction>(reinterpret_cast<void (*)()>(def->ml_meth));
    if (fn == &rename_keywords) continue;
    g_dispatcher = fn;
    def->ml_meth = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&rename_keywords));
  }
}

}  // namespace tercel
