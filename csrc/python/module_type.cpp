// _core.ModuleBase: the base type of nn.Module, for its call.
//
// A Python-level __call__ that forwards *args and **kwargs to forward() costs two interpreter
// entries, a dict and a tuple; this one calls forward directly with the arguments it got. The path
// with hooks is taken only if some module has hooks (a process-wide flag, set by nn when the first
// hook is registered), so the common case does not even look for them. The type adds no fields:
// Python subclasses may mix it with other base types.
#include "python/bind.h"

namespace tercel {
namespace {

bool g_hooks_in_use = false;
PyObject* g_forward = nullptr;          // "forward"
PyObject* g_call_with_hooks = nullptr;  // "_call_with_hooks"

constexpr Py_ssize_t kInlineArgs = 6;

PyObject* module_call(PyObject* self, PyObject* args, PyObject* kwargs) {
  if (g_hooks_in_use) {
    PyObject* empty = kwargs ? nullptr : PyDict_New();
    if (!kwargs && !empty) return nullptr;
    PyObject* result =
        PyObject_CallMethodObjArgs(self, g_call_with_hooks, args, kwargs ? kwargs : empty, nullptr);
    Py_XDECREF(empty);
    return result;
  }
  const Py_ssize_t n = PyTuple_GET_SIZE(args);
  if (n <= kInlineArgs && (!kwargs || PyDict_GET_SIZE(kwargs) == 0)) {
    PyObject* stack[kInlineArgs + 1];
    stack[0] = self;
    for (Py_ssize_t i = 0; i < n; ++i) stack[i + 1] = PyTuple_GET_ITEM(args, i);
    return PyObject_VectorcallMethod(g_forward, stack, static_cast<size_t>(n) + 1, nullptr);
  }
  PyObject* forward = PyObject_GetAttr(self, g_forward);
  if (!forward) return nullptr;
  PyObject* result = PyObject_Call(forward, args, kwargs);
  Py_DECREF(forward);
  return result;
}

PyType_Slot module_slots[] = {
    {Py_tp_call, reinterpret_cast<void*>(module_call)},
    {Py_tp_doc, const_cast<char*>("Base type of tercel.nn.Module: calls forward(), or the hooks.")},
    {0, nullptr}};
PyType_Spec module_spec = {"tercel._core.ModuleBase", 0, 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, module_slots};

}  // namespace

void bind_module_type(Binder& b) {
  g_forward = PyUnicode_InternFromString("forward");
  g_call_with_hooks = PyUnicode_InternFromString("_call_with_hooks");
  PyObject* type = PyType_FromSpec(&module_spec);
  if (!g_forward || !g_call_with_hooks || !type) throw py::error_already_set();
  b.module().attr("ModuleBase") = py::reinterpret_steal<py::object>(type);
  b.function(
      "_use_module_hooks", [](bool on) { g_hooks_in_use = on; }, py::arg("on"),
      "Whether calls of modules look for hooks.");
}

}  // namespace tercel
