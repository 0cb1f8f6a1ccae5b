// autograd.Function: the graph node of a rule written in Python, and how its outputs join the
// graph.
#include <algorithm>

#include "ops/copy/copy.h"
#include "ops/view/view.h"
#include "python/bind.h"
#include "python/errors.h"
#include "python/tensor_type.h"

namespace tercel {
namespace {

// Node of a rule written in Python. It owns the ctx; ctx.saved_tensors is filled only while
// backward runs, so ctx and node do not form a cycle.
struct PythonNode final : Node {
  py::object cls, ctx;
  std::string label;
  std::vector<Saved> saved;
  std::vector<int> slot_of_argument;  // edge index of each argument of apply, -1 if it is no tensor
  bool materialize = true;

  ~PythonNode() override {
    if (!Py_IsInitialized()) {
      cls.release();
      ctx.release();
      return;
    }
    py::gil_scoped_acquire gil;
    ctx = py::object();
    cls = py::object();
  }
  const char* name() const override { return label.c_str(); }
  bool built_in() const override { return false; }
  void release_saved() override {
    for (Saved& s : saved) s.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    std::vector<std::pair<const char*, Tensor>> out;
    for (const Saved& s : saved) out.emplace_back("saved", s.peek());
    return out;
  }
  TensorList backward(const TensorList& grads) override {
    py::gil_scoped_acquire gil;
    py::tuple unpacked(saved.size());
    for (size_t i = 0; i < saved.size(); ++i) unpacked[i] = py::cast(saved[i].get(*this));
    ctx.attr("_saved") = unpacked;
    py::tuple arguments(grads.size());
    Device where;  // of the gradients that are there: missing ones become zeros beside them
    for (const Tensor& g : grads)
      if (g.defined()) where = g.device();
    for (size_t i = 0; i < grads.size(); ++i) {
      Tensor g = grads[i];
      if (!g.defined() && materialize && is_float(outputs[i].dtype))
        g = zeros(outputs[i].shape, outputs[i].dtype, where);
      arguments[i] = py::cast(g);
    }
    py::object result = cls.attr("backward")(ctx, *arguments);
    ctx.attr("_saved") = py::none();
    if (!PyTuple_Check(result.ptr()) && !PyList_Check(result.ptr()))
      result = py::make_tuple(result);
    const auto returned = py::reinterpret_borrow<py::sequence>(result);
    TERCEL_CHECK(returned.size() >= slot_of_argument.size() || returned.size() == edges.size(),
                 Runtime, label, ": backward must return a gradient for each of the ",
                 slot_of_argument.size(), " arguments of forward, got ", returned.size());
    TensorList out(edges.size());
    for (size_t i = 0; i < returned.size(); ++i) {
      const py::object value = returned[i];
      if (i >= slot_of_argument.size()) {
        TERCEL_CHECK(value.is_none(), Runtime, label,
                     ": backward returned more gradients than forward has arguments");
        continue;
      }
      const int slot = slot_of_argument[i];
      if (value.is_none()) continue;
      TERCEL_CHECK(is_tensor_object(value.ptr()), Type, label,
                   ": backward must return tensors or None, got ", Py_TYPE(value.ptr())->tp_name);
      if (slot >= 0) out[static_cast<size_t>(slot)] = tensor_of(value.ptr());
    }
    return out;
  }
};

// Wires the outputs of forward into the graph. `dirty` and `constant` are tuples of tensors.
py::object function_apply(const py::object& cls, const py::object& ctx, const py::tuple& args,
                          const py::object& result) {
  const bool single = !PyTuple_Check(result.ptr());
  const py::tuple outputs =
      single ? py::make_tuple(result) : py::reinterpret_borrow<py::tuple>(result);
  TensorList inputs;
  std::vector<int> slots;
  for (py::handle a : args) {
    if (is_tensor_object(a.ptr())) {
      slots.push_back(static_cast<int>(inputs.size()));
      inputs.push_back(tensor_of(a.ptr()));
    } else {
      slots.push_back(-1);
    }
  }
  auto contains = [](const py::object& tuple, PyObject* o) {
    if (tuple.is_none()) return false;
    for (py::handle h : tuple) {
      if (h.ptr() == o) return true;
    }
    return false;
  };
  const py::object dirty = ctx.attr("_dirty"), constant = ctx.attr("_non_differentiable");
  const bool record = grad_needed(inputs);
  Ref<PythonNode> node;
  if (record) {
    node = make_ref<PythonNode>();
    collect_edges(*node, inputs);
    node->cls = cls;
    node->ctx = ctx;
    node->label = cls.attr("__name__").cast<std::string>() + "Backward";
    node->slot_of_argument = slots;
    node->materialize = ctx.attr("_materialize_grads").cast<bool>();
  }
  py::tuple wired(outputs.size());
  std::vector<std::pair<PyObject*, uint32_t>> output_index;
  for (size_t i = 0; i < outputs.size(); ++i) {
    py::object value = outputs[i];
    if (!is_tensor_object(value.ptr())) {
      TERCEL_CHECK(!single, Type, cls.attr("__name__").cast<std::string>(),
                   ": forward must return tensors, got ", Py_TYPE(value.ptr())->tp_name);
      wired[i] = value;
      if (node) node->outputs.push_back({Shape{}, DType::i64});
      continue;
    }
    Tensor t = tensor_of(value.ptr());
    if (contains(dirty, value.ptr())) {
      check_inplace(t, "mark_dirty");
      finish_inplace(t, node, "mark_dirty");
    } else {
      bool is_input = false;
      for (const Tensor& in : inputs) is_input |= in.is_same(t);
      if (is_input || (record && t.requires_grad())) t = t.detach();
      if (record) {
        if (contains(constant, value.ptr()) || !is_float(t.dtype())) {
          node->outputs.push_back({t.shape(), t.dtype()});
        } else {
          set_history(t, node);
        }
      }
    }
    output_index.emplace_back(value.ptr(), static_cast<uint32_t>(i));
    wired[i] = py::cast(t);
  }
  if (record) {
    const py::object to_save = ctx.attr("_to_save");
    if (!to_save.is_none()) {
      for (py::handle h : to_save) {
        Saved s;
        if (!h.is_none()) {
          TERCEL_CHECK(is_tensor_object(h.ptr()), Type,
                       "save_for_backward: expected tensors or None, got ",
                       Py_TYPE(h.ptr())->tp_name);
          const auto found = std::find_if(output_index.begin(), output_index.end(),
                                          [&](const auto& o) { return o.first == h.ptr(); });
          if (found != output_index.end()) {
            s.save_output(tensor_of(h.ptr()), found->second);
          } else {
            s.save(tensor_of(h.ptr()));
          }
        }
        node->saved.push_back(std::move(s));
      }
    }
  }
  ctx.attr("_to_save") = py::none();
  return single ? py::object(wired[0]) : py::object(wired);
}

}  // namespace

void bind_function(Binder& b) { b.function("_function_apply", function_apply); }

}  // namespace tercel
