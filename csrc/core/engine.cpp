// The backward engine: counts how often each node is reached, then runs nodes whose gradients are
// complete, latest first. No recursion: graphs of any depth.
#include <algorithm>
#include <queue>
#include <unordered_map>

#include "core/autograd.h"
#include "core/engine_ops.h"
#include "core/launch.h"

namespace tercel {
namespace {

// Sink of the graph: adds to leaf.grad. The leaf points back at it weakly, so that all ops of one
// graph share it.
struct AccumulateGrad final : Node {
  Tensor leaf;
  explicit AccumulateGrad(const Tensor& t) : leaf(t) {
    sequence = UINT64_MAX;  // run as soon as it is ready: frees the gradient early
    outputs.push_back({t.shape(), t.dtype()});
  }
  ~AccumulateGrad() override {
    if (leaf.impl()->autograd) leaf.impl()->autograd->accumulator = nullptr;
  }
  const char* name() const override { return "AccumulateGrad"; }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"variable", leaf}};
  }
  TensorList backward(const TensorList& grads) override {
    Tensor g = grads[0];
    AutogradMeta& meta = autograd_meta(leaf);
    if (!meta.grad.defined()) {
      meta.grad = !grad_enabled() && exclusive(g) ? g : clone(g);
    } else if (grad_enabled()) {
      meta.grad = add(meta.grad, g);
    } else {
      accumulate_(meta.grad, g);
    }
    const auto post = meta.post_accumulate_hooks;
    for (const auto& [id, hook] : post) hook(leaf);
    return {};
  }
  // The engine's list holds one reference, `g` the other.
  static bool exclusive(const Tensor& g) {
    return g.impl()->use_count() <= 2 && g.storage()->use_count() == 1 && !g.is_view() &&
           g.is_contiguous();
  }
};

struct NodeState {
  int pending = 0;     // gradients still to come
  bool needed = true;  // lies on a path to a wanted input
  TensorList grads;    // sums so far, one per output of the forward op
};

struct LaterFirst {
  bool operator()(const Node* a, const Node* b) const { return a->sequence < b->sequence; }
};

using States = std::unordered_map<Node*, NodeState>;

// Adds `value` into `slot`, in place when nobody else can see the sum.
void add_gradient(Tensor& slot, Tensor value, bool create_graph) {
  if (!slot.defined()) {
    slot = std::move(value);
    return;
  }
  if (!create_graph && slot.impl()->use_count() == 1 && slot.storage()->use_count() == 1 &&
      slot.is_contiguous() && !slot.is_view()) {
    accumulate_(slot, value);
  } else {
    slot = add(slot, value);
  }
}

// Makes a gradient fit the forward output it belongs to: broadcast sizes are summed, the dtype is
// cast.
Tensor fit_gradient(const Node& from, const OutputInfo& info, Tensor g) {
  if (g.shape() != info.shape) {
    bool expandable = g.dim() >= info.shape.size();
    for (int i = 0; expandable && i < info.shape.size(); ++i) {
      const int64_t have = g.size(g.dim() - info.shape.size() + i);
      expandable = info.shape[i] == have || info.shape[i] == 1;
    }
    TERCEL_CHECK(expandable, Runtime, from.name(), ": returned a gradient of shape ", g.shape(),
                 " for an input of shape ", info.shape);
    g = sum_to(g, info.shape);
  }
  if (g.dtype() != info.dtype) g = to(g, info.dtype);
  return g;
}

struct Capture {
  Node* node;
  uint32_t index;
};

class Run {
 public:
  Run(bool retain, bool create) : retain_(retain), create_(create) {}

  // Every node reachable from the roots, with the number of edges that lead to it.
  void discover(const std::vector<Edge>& roots) {
    std::vector<Node*> stack;
    for (const Edge& e : roots) {
      NodeState& s = states_[e.node.get()];
      if (s.grads.empty()) {
        s.grads.resize(e.node->outputs.size());
        stack.push_back(e.node.get());
      }
    }
    while (!stack.empty()) {
      Node* node = stack.back();
      stack.pop_back();
      order_.push_back(node);
      for (const Edge& e : node->edges) {
        if (!e.node) continue;
        NodeState& s = states_[e.node.get()];
        ++s.pending;
        if (s.grads.empty()) {
          s.grads.resize(e.node->outputs.size());
          stack.push_back(e.node.get());
        }
      }
    }
  }

  // Marks the nodes from which a captured node can be reached; the others are not run.
  void restrict_to(const std::vector<Capture>& captures) {
    std::unordered_map<Node*, std::vector<Node*>> users;
    for (Node* node : order_) {
      states_[node].needed = false;
      for (const Edge& e : node->edges) {
        if (e.node) users[e.node.get()].push_back(node);
      }
    }
    std::vector<Node*> stack;
    for (const Capture& c : captures) {
      if (states_.count(c.node)) stack.push_back(c.node);
    }
    while (!stack.empty()) {
      Node* node = stack.back();
      stack.pop_back();
      NodeState& s = states_[node];
      if (s.needed) continue;
      s.needed = true;
      for (Node* user : users[node]) stack.push_back(user);
    }
  }

  TensorList execute(const std::vector<Edge>& roots, const TensorList& grads,
                     const std::vector<Capture>& captures) {
    TensorList captured(captures.size());
    std::unordered_multimap<Node*, size_t> capture_of;
    for (size_t i = 0; i < captures.size(); ++i) capture_of.emplace(captures[i].node, i);

    for (size_t i = 0; i < roots.size(); ++i)
      add_gradient(states_[roots[i].node.get()].grads[roots[i].input], grads[i], create_);
    std::priority_queue<Node*, std::vector<Node*>, LaterFirst> ready;
    for (const Edge& e : roots) {
      NodeState& s = states_[e.node.get()];
      if (s.pending == 0) {
        s.pending = -1;  // queued
        ready.push(e.node.get());
      }
    }
    GradMode mode(create_);
    int steps = 0;
    while (!ready.empty()) {
      Node* node = ready.top();
      ready.pop();
      if ((++steps & 63) == 0 && g_interpreter.check_signals) g_interpreter.check_signals();
      NodeState& state = states_[node];
      TensorList in = std::move(state.grads);
      const bool arrived =
          std::any_of(in.begin(), in.end(), [](const Tensor& g) { return g.defined(); });
      TensorList out;
      if (arrived && state.needed) {
        tensor_hooks(*node, in);
        const auto [first, last] = capture_of.equal_range(node);
        for (auto it = first; it != last; ++it)
          captured[it->second] = in[captures[it->second].index];
        // A captured leaf does not accumulate; a captured inner node runs on if something behind it
        // is wanted.
        const bool leaf_captured = first != last && node->edges.empty();
        if (!leaf_captured && (captures.empty() || wanted_below(*node)))
          out = run_node(*node, std::move(in));
      }
      in.clear();
      for (size_t i = 0; i < node->edges.size(); ++i) {
        const Edge& e = node->edges[i];
        if (!e.node) continue;
        NodeState& next = states_[e.node.get()];
        if (i < out.size() && out[i].defined() && next.needed) {
          add_gradient(next.grads[e.input],
                       fit_gradient(*node, e.node->outputs[e.input], std::move(out[i])), create_);
        }
        if (--next.pending == 0) {
          next.pending = -1;
          ready.push(e.node.get());
        }
      }
    }
    return captured;
  }

 private:
  bool wanted_below(const Node& node) {
    if (node.edges.empty()) return true;
    for (const Edge& e : node.edges) {
      if (e.node && states_[e.node.get()].needed) return true;
    }
    return false;
  }

  static void tensor_hooks(Node& node, TensorList& in) {
    if (node.edges.empty()) {
      if (auto* sink = dynamic_cast<AccumulateGrad*>(&node)) {
        const auto hooks =
            autograd_meta(sink->leaf).leaf_hooks;  // copied: a hook may remove itself
        for (const auto& [id, hook] : hooks) {
          if (Tensor replaced = hook(in[0]); replaced.defined()) in[0] = replaced;
        }
      }
    }
    if (!node.hooks) return;
    const auto hooks = node.hooks->tensor;
    for (const auto& hook : hooks) {
      Tensor& g = in[hook.input];
      if (!g.defined()) continue;
      if (Tensor replaced = hook.fn(g); replaced.defined()) g = replaced;
    }
    for (const auto& [index, impl] : node.hooks->retain) {
      if (!in[index].defined()) continue;
      AutogradMeta& meta = *impl->autograd;
      meta.grad = meta.grad.defined() ? add(meta.grad, in[index]) : in[index];
    }
  }

  TensorList run_node(Node& node, TensorList in) {
    if (node.hooks) {
      const auto pre = node.hooks->pre;
      for (const auto& [id, hook] : pre) hook(in);
    }
    // A node with one output never sees an undefined gradient; with several, `backward` decides.
    TensorList out;
    try {
      out = node.backward(in);
    } catch (const Error& e) {
      if (!node.where) throw;
      throw Error(e.kind(), std::string(e.what()) + "\n  forward op at: " + *node.where);
    }
    if (anomaly_enabled() && anomaly_checks_nan()) check_nan(node, out);
    if (node.hooks) {
      const auto post = node.hooks->post;
      for (const auto& [id, hook] : post) hook(out, in);
    }
    if (!retain_ && !node.edges.empty()) {
      node.release_saved();
    }
    return out;
  }

  static void check_nan(const Node& node, const TensorList& out) {
    for (size_t i = 0; i < out.size(); ++i) {
      TERCEL_CHECK(!out[i].defined() || !has_nan(out[i]), Runtime, node.name(),
                   ": returned NaN in the gradient of input ", i,
                   node.where ? "; the forward op ran at " + *node.where : std::string());
    }
  }

  States states_;
  std::vector<Node*> order_;
  bool retain_, create_;
};

}  // namespace

Edge gradient_edge(const Tensor& t) {
  if (!t.defined() || !t.requires_grad()) return {};
  if (Ref<Node> fn = t.grad_fn()) return {fn, t.impl()->autograd->output_index};
  AutogradMeta& meta = autograd_meta(t);
  if (meta.accumulator) return {Ref<Node>(meta.accumulator), 0};
  auto node = make_ref<AccumulateGrad>(t);
  meta.accumulator = node.get();
  return {node, 0};
}

TensorList run_backward(const TensorList& roots, const TensorList& grads, bool retain_graph,
                        bool create_graph, const TensorList& inputs, bool allow_unused,
                        bool accumulate) {
  std::vector<Edge> root_edges;
  TensorList root_grads;
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tensor& root = roots[i];
    Edge edge = gradient_edge(root);
    TERCEL_CHECK(edge.node, Runtime, "backward: tensor ", i,
                 " does not require grad and has no grad_fn");
    Tensor g = i < grads.size() ? grads[i] : Tensor();
    if (!g.defined()) {
      TERCEL_CHECK(root.numel() == 1, Runtime,
                   "backward: a gradient must be given for a non-scalar output, shape ",
                   root.shape());
      g = ones(root.shape(), root.dtype(), root.device());
    } else {
      TERCEL_CHECK(g.shape() == root.shape(), Shape, "backward: gradient ", i, " must have shape ",
                   root.shape(), ", got ", g.shape());
      TERCEL_CHECK(is_float(g.dtype()), DType, "backward: gradient ", i,
                   " must be a float tensor, got ", dtype_name(g.dtype()));
      if (g.dtype() != root.dtype()) g = to(g, root.dtype());
    }
    root_edges.push_back(std::move(edge));
    root_grads.push_back(std::move(g));
  }
  std::vector<Capture> captures;
  std::vector<Edge> keep;  // keeps accumulators of unused leaves alive during the run
  for (size_t i = 0; i < inputs.size(); ++i) {
    Edge edge = gradient_edge(inputs[i]);
    TERCEL_CHECK(edge.node, Runtime, "grad: input ", i, " does not require grad");
    captures.push_back({edge.node.get(), edge.input});
    keep.push_back(std::move(edge));
  }
  Run run(retain_graph, create_graph);
  run.discover(root_edges);
  if (!captures.empty()) run.restrict_to(captures);
  TensorList captured = run.execute(root_edges, root_grads, captures);
  for (size_t i = 0; i < captured.size(); ++i) {
    if (!captured[i].defined()) {
      TERCEL_CHECK(
          allow_unused || accumulate, Runtime, "grad: input ", i,
          " was not used in the graph of the outputs; pass allow_unused=True to get None for it");
      continue;
    }
    if (!accumulate) continue;
    AutogradMeta& meta = autograd_meta(inputs[i]);
    meta.grad = meta.grad.defined() ? add(meta.grad, captured[i]) : captured[i];
  }
  return captured;
}

TensorList grad(const TensorList& outputs, const TensorList& inputs, const TensorList& grad_outputs,
                bool retain_graph, bool create_graph, bool allow_unused) {
  return run_backward(outputs, grad_outputs, retain_graph || create_graph, create_graph, inputs,
                      allow_unused, false);
}

void Tensor::backward(const Tensor& gradient, bool retain_graph, bool create_graph) const {
  run_backward({*this}, {gradient}, retain_graph || create_graph, create_graph, {}, true, false);
}

}  // namespace tercel
