// Python side of autograd: backward and grad, modes, hooks, graph nodes. Function is in
// function_py.cpp.
#include "ops/view/view.h"
#include "python/bind.h"
#include "python/errors.h"
#include "python/tensor_type.h"

namespace tercel {
namespace {

// A graph node as a Python object.
struct NodeHandle {
  Ref<Node> node;
};

py::object node_object(const Ref<Node>& node) {
  if (!node) return py::none();
  return py::cast(NodeHandle{node});
}

PyObject* get_grad_fn(PyObject* self, void*) {
  return guarded(
      [&]() -> PyObject* { return node_object(tensor_of(self).grad_fn()).release().ptr(); },
      static_cast<PyObject*>(nullptr));
}

// File and line of the innermost Python frame outside this package.
std::string python_location() {
  if (!PyGILState_Check()) return "unknown";
  py::object frame =
      py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
  while (frame && !frame.is_none()) {
    const py::object code = frame.attr("f_code");
    const auto file = code.attr("co_filename").cast<std::string>();
    if (file.find("/tercel/") == std::string::npos) {
      return str(file, ":", frame.attr("f_lineno").cast<int>(), " in ",
                 code.attr("co_name").cast<std::string>());
    }
    frame = frame.attr("f_back");
  }
  return "unknown";
}

TensorList tensors_of(const py::object& o, const char* op, bool allow_none) {
  TensorList list;
  if (o.is_none()) return list;
  if (is_tensor_object(o.ptr())) return {tensor_of(o.ptr())};
  TERCEL_CHECK(py::isinstance<py::sequence>(o), Type, op,
               ": expected a Tensor or a sequence of tensors, got ", Py_TYPE(o.ptr())->tp_name);
  for (py::handle h : o) {
    if (h.is_none() && allow_none) {
      list.emplace_back();
      continue;
    }
    TERCEL_CHECK(is_tensor_object(h.ptr()), Type, op, ": expected tensors, got ",
                 Py_TYPE(h.ptr())->tp_name);
    list.push_back(tensor_of(h.ptr()));
  }
  return list;
}

void run(const TensorList& tensors, const py::object& grads, std::optional<bool> retain,
         bool create, const py::object& inputs) {
  const TensorList g = tensors_of(grads, "backward", true);
  TERCEL_CHECK(g.empty() || g.size() == tensors.size(), Value, "backward: expected ",
               tensors.size(), " gradients, got ", g.size());
  const TensorList in = tensors_of(inputs, "backward", false);
  TERCEL_CHECK(inputs.is_none() || !in.empty(), Value, "backward: inputs must not be empty");
  run_backward(tensors, g, retain.value_or(create), create, in, true, !inputs.is_none());
}

py::object removable(std::function<void()> remove) {
  return py::module_::import("tercel._handles")
      .attr("RemovableHandle")(py::cpp_function(std::move(remove)));
}

// PyTorch numbers the overloads of its own nodes: MulBackward0.
std::string shown_name(const Node& node) {
  const std::string name = node.name();
  return name.ends_with("Backward") && node.built_in() ? name + "0" : name;
}

void bind_nodes(Binder& b) {
  py::class_<NodeHandle>(b.module(), "Node", "A backward node of the autograd graph.")
      .def("name", [](const NodeHandle& h) { return shown_name(*h.node); })
      .def_property_readonly("next_functions",
                             [](const NodeHandle& h) {
                               py::tuple out(h.node->edges.size());
                               for (size_t i = 0; i < h.node->edges.size(); ++i) {
                                 const Edge& e = h.node->edges[i];
                                 out[i] = py::make_tuple(node_object(e.node), e.input);
                               }
                               return out;
                             })
      .def_property_readonly("saved_tensors",
                             [](const NodeHandle& h) {
                               py::list out;
                               for (const auto& [name, t] : h.node->saved_tensors())
                                 out.append(py::make_tuple(name, py::cast(t)));
                               return out;
                             })
      .def_property_readonly(
          "variable",
          [](const NodeHandle& h) -> py::object {
            for (const auto& [name, t] : h.node->saved_tensors()) {
              if (std::string(name) == "variable") return py::cast(t);
            }
            throw py::attribute_error("only AccumulateGrad nodes have a variable");
          })
      .def("register_hook",
           [](const NodeHandle& h, const py::function& f) {
             if (!h.node->hooks) h.node->hooks = std::make_unique<NodeHooks>();
             static uint64_t next = 1;
             const uint64_t id = next++;
             h.node->hooks->post.emplace_back(id, [f](TensorList& out, const TensorList& in) {
               py::object r = f(out, in);
               if (!r.is_none()) out = r.cast<TensorList>();
             });
             return removable([node = h.node, id] {
               std::erase_if(node->hooks->post, [id](const auto& e) { return e.first == id; });
             });
           })
      .def("register_prehook",
           [](const NodeHandle& h, const py::function& f) {
             if (!h.node->hooks) h.node->hooks = std::make_unique<NodeHooks>();
             static uint64_t next = 1;
             const uint64_t id = next++;
             h.node->hooks->pre.emplace_back(id, [f](TensorList& in) {
               py::object r = f(in);
               if (!r.is_none()) in = r.cast<TensorList>();
             });
             return removable([node = h.node, id] {
               std::erase_if(node->hooks->pre, [id](const auto& e) { return e.first == id; });
             });
           })
      .def("__repr__", [](const NodeHandle& h) { return "<" + shown_name(*h.node) + ">"; })
      .def("__eq__", [](const NodeHandle& a, const NodeHandle& o) { return a.node == o.node; })
      .def("__hash__",
           [](const NodeHandle& h) { return reinterpret_cast<uintptr_t>(h.node.get()) >> 4; });
}

}  // namespace

void bind_autograd(Binder& b) {
  g_python_location = python_location;
  bind_nodes(b);
  static PyGetSetDef grad_fn = {"grad_fn", get_grad_fn, nullptr,
                                "Node that computes this tensor's gradient, or None.", nullptr};
  py::object descriptor =
      py::reinterpret_steal<py::object>(PyDescr_NewGetSet(g_tensor_type, &grad_fn));
  py::setattr(b.tensor_type(), "grad_fn", descriptor);

  b.method(
      "backward",
      [](const Tensor& t, const py::object& gradient, std::optional<bool> retain, bool create,
         const py::object& inputs) {
        run({t}, gradient.is_none() ? gradient : py::make_tuple(gradient), retain, create, inputs);
      },
      py::arg("gradient") = py::none(), py::arg("retain_graph") = py::none(),
      py::arg("create_graph") = false, py::arg("inputs") = py::none(),
      R"(Gradients of this tensor with respect to the leaves of its graph, added to their .grad.

gradient: same shape; may be omitted for one element. retain_graph: keep saved tensors (default:
create_graph). create_graph: record the backward pass too. inputs: accumulate only into these.)");
  b.function(
      "_backward",
      [](const py::object& tensors, const py::object& grads, std::optional<bool> retain,
         bool create, const py::object& inputs) {
        run(tensors_of(tensors, "backward", false), grads, retain, create, inputs);
      },
      py::arg("tensors"), py::arg("grad_tensors") = py::none(),
      py::arg("retain_graph") = py::none(), py::arg("create_graph") = false,
      py::arg("inputs") = py::none());
  b.function(
      "_grad",
      [](const py::object& outputs, const py::object& inputs, const py::object& grads,
         std::optional<bool> retain, bool create, bool unused) {
        const TensorList out = tensors_of(outputs, "grad", false),
                         in = tensors_of(inputs, "grad", false);
        const TensorList g = tensors_of(grads, "grad", true);
        TERCEL_CHECK(!in.empty(), Value, "grad: inputs must not be empty");
        TERCEL_CHECK(g.empty() || g.size() == out.size(), Value, "grad: expected ", out.size(),
                     " grad_outputs, got ", g.size());
        return grad(out, in, g, retain.value_or(create), create, unused);
      },
      py::arg("outputs"), py::arg("inputs"), py::arg("grad_outputs") = py::none(),
      py::arg("retain_graph") = py::none(), py::arg("create_graph") = false,
      py::arg("allow_unused") = false);
  b.function("is_grad_enabled", &grad_enabled, "True if gradients are being recorded.");
  b.function("is_inference_mode_enabled", &inference_mode, "True inside inference_mode.");
  b.function("_set_grad_enabled", [](bool on) {
    const bool previous = grad_enabled();
    set_grad_enabled(on);
    return previous;
  });
  b.function("_set_inference_mode", [](bool on) {
    const bool previous = inference_mode();
    set_inference_mode(on);
    return previous;
  });
  b.function("is_anomaly_enabled", &anomaly_enabled, "True if anomaly detection is on.");
  b.function("is_anomaly_check_nan_enabled", &anomaly_checks_nan,
             "True if anomaly detection checks for NaN.");
  b.function("_set_anomaly", &set_anomaly);

  b.method(
      "requires_grad_",
      [](Tensor t, bool value) {
        t.set_requires_grad(value);
        return t;
      },
      py::arg("requires_grad") = true, "Sets requires_grad; returns the tensor.");
  b.method(
      "register_hook",
      [](const Tensor& t, const py::function& f) {
        const uint64_t id = add_tensor_hook(t, PyHook(f.ptr()));
        const Ref<Node> fn = t.grad_fn();
        // The handle must not keep the tensor alive.
        return removable([impl = t.impl(), weak = py::weakref(py::cast(t)), id] {
          (void)impl;
          const py::object o = weak();
          if (!o.is_none()) remove_tensor_hook(tensor_of(o.ptr()), id);
        });
      },
      py::arg("hook"),
      "Calls hook(grad) when the gradient of this tensor is computed; a returned tensor replaces "
      "it. Returns a handle with remove().");
  b.method(
      "register_post_accumulate_grad_hook",
      [](const Tensor& t, const py::function& f) {
        const uint64_t id = add_post_accumulate_hook(t, [f](const Tensor& leaf) { f(leaf); });
        return removable([weak = py::weakref(py::cast(t)), id] {
          const py::object o = weak();
          if (!o.is_none()) remove_post_accumulate_hook(tensor_of(o.ptr()), id);
        });
      },
      py::arg("hook"), "Calls hook(tensor) after its .grad was accumulated (leaf tensors).");
  b.method("retain_grad", &retain_grad, "Keeps .grad of this non-leaf tensor.");
  b.function(
      "_make_subclass",
      [](const py::object& cls, const Tensor& data, bool requires_grad) {
        TERCEL_CHECK(
            PyType_Check(cls.ptr()) &&
                PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls.ptr()), g_tensor_type),
            Type, "_make_subclass: expected a subclass of Tensor");
        Tensor t = make_alias(data);
        if (requires_grad) t.set_requires_grad(true);
        return py::reinterpret_steal<py::object>(
            wrap_tensor_as(reinterpret_cast<PyTypeObject*>(cls.ptr()), t));
      },
      py::arg("cls"), py::arg("data"), py::arg("requires_grad") = false);
  py::setattr(b.tensor_type(), "_make_subclass",
              py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(&PyStaticMethod_Type))(
                  b.module().attr("_make_subclass")));
}

}  // namespace tercel
