// Reverse-mode automatic differentiation: graph nodes, saved tensors and the engine.
//
// Pattern of a differentiable op (the backward node stands right above its forward):
//
//   struct MulNode final : Node {
//     Saved a, b;
//     const char* name() const override { return "MulBackward"; }
//     TensorList backward(const TensorList& g) override {
//       TensorList out(2);
//       if (needs(0)) out[0] = sum_to(mul(g[0], b.get(*this)), shape_a);
//       ...
//       return out;
//     }
//     void release_saved() override { a.reset(); b.reset(); }
//   };
//   Tensor mul(const Tensor& a, const Tensor& b) {
//     ... Tensor y = kernel(a, b);
//     if (grad_needed(a, b)) {
//       auto node = make_node<MulNode>({&a, &b});
//       if (node->needs(1)) node->a.save(a);      // save only what a needed gradient uses
//       if (node->needs(0)) node->b.save(b);
//       set_history(y, node);
//     }
//     return y;
//   }
//
// backward() is written with public ops, so that create_graph=True differentiates it again.
// Gradients passed in may be undefined (zero) only if the node has several outputs.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace tercel {

using TensorList = std::vector<Tensor>;

bool grad_enabled();
void set_grad_enabled(bool on);
bool inference_mode();
void set_inference_mode(bool on);

class GradMode {  // RAII: GradMode off(false);
 public:
  explicit GradMode(bool on) : previous_(grad_enabled()) { set_grad_enabled(on); }
  ~GradMode() { set_grad_enabled(previous_); }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};

struct Edge {
  Ref<Node> node;      // null: no gradient wanted here
  uint32_t input = 0;  // which output of the forward op (= input of the backward node)
};

using TensorHook = std::function<Tensor(const Tensor& grad)>;  // may return undefined = keep
using NodeHook = std::function<void(TensorList& grads_in)>;    // before backward; may replace
using NodePostHook = std::function<void(TensorList& out, const TensorList& in)>;  // after

struct NodeHooks {
  struct OnTensor {
    uint32_t input;
    uint64_t id;
    TensorHook fn;
  };
  std::vector<OnTensor> tensor;
  std::vector<std::pair<uint64_t, NodeHook>> pre;
  std::vector<std::pair<uint64_t, NodePostHook>> post;
  // Tensors that retain their gradient: (output index, impl). Not owned: the impl unregisters
  // itself.
  std::vector<std::pair<uint32_t, TensorImpl*>> retain;
};

// What the engine knows about one output of a forward op.
struct OutputInfo {
  Shape shape;
  DType dtype;
};

class Node : public RefCounted {
 public:
  Node();
  ~Node() override;

  virtual const char* name() const = 0;
  virtual bool built_in() const { return true; }  // false: a Function written in Python
  // Gradients of the outputs in, gradients of the inputs (edges) out; an entry may stay undefined.
  virtual TensorList backward(const TensorList& grads) = 0;
  virtual void release_saved() {}
  // For display and for tools that walk the graph.
  virtual std::vector<std::pair<const char*, Tensor>> saved_tensors() const { return {}; }

  bool needs(size_t i) const { return i < edges.size() && edges[i].node; }

  std::vector<Edge> edges;          // one per differentiable input
  std::vector<OutputInfo> outputs;  // one per output
  std::unique_ptr<NodeHooks> hooks;
  std::shared_ptr<std::string> where;  // anomaly mode: the Python line of the forward op
  uint64_t sequence;                   // creation order: later nodes run first

 protected:
  void destroy() override;  // iterative: chains of any length
};

// A tensor kept for backward. Checks at get() that it has not been overwritten since. Only a leaf
// is kept as it is; anything else is kept as an alias with its history beside it, so that no cycle
// output -> node -> output can arise, not even through an in-place op.
class Saved {
 public:
  void save(const Tensor& t);
  // Use when `t` is output number `index` of the node that saves it.
  void save_output(const Tensor& t, uint32_t index = 0);
  // Undefined if nothing was saved. Raises RuntimeError naming node and last writer if the values
  // were overwritten, or the graph was already freed.
  Tensor get(Node& node) const;
  bool defined() const { return data_.defined(); }
  const Tensor& peek() const { return data_; }
  void reset();

 private:
  Tensor data_;
  Ref<Node> history_;
  uint32_t version_ = 0;
  uint32_t output_index_ = 0;
  bool is_output_ = false;
};

struct AutogradMeta {
  Tensor grad;
  Ref<Node> grad_fn;            // null for a leaf
  Node* accumulator = nullptr;  // weak: AccumulateGrad of a leaf, shared while a graph uses it
  uint32_t output_index = 0;
  bool requires_grad = false;
  bool retains_grad = false;
  std::vector<std::pair<uint64_t, TensorHook>> leaf_hooks;  // run before accumulation
  std::vector<std::pair<uint64_t, std::function<void(const Tensor&)>>> post_accumulate_hooks;
};
AutogradMeta& autograd_meta(const Tensor& t);  // created on demand

// True if a gradient must be recorded for an op on these inputs (undefined ones are ignored).
inline bool tracks_grad(const Tensor& t) {
  return t.defined() && t.impl()->autograd && t.requires_grad();
}
template <class... Ts>
inline bool grad_needed(const Ts&... inputs) {
  return (tracks_grad(inputs) || ...) && grad_enabled();
}
bool grad_needed(const TensorList& inputs);

Edge gradient_edge(const Tensor& t);  // null edge if t does not require grad or is undefined

void collect_edges(Node& node, std::initializer_list<const Tensor*> inputs);
void collect_edges(Node& node, const TensorList& inputs);

template <class N, class... Args>
Ref<N> make_node(std::initializer_list<const Tensor*> inputs, Args&&... args) {
  auto node = make_ref<N>(std::forward<Args>(args)...);
  collect_edges(*node, inputs);
  return node;
}
template <class N, class... Args>
Ref<N> make_node_list(const TensorList& inputs, Args&&... args) {
  auto node = make_ref<N>(std::forward<Args>(args)...);
  collect_edges(*node, inputs);
  return node;
}

// Makes `y` the next output of `node`. For several outputs call once each, in order. Integer
// outputs are registered but stay without gradient. If the op made `y` as a view of memory of its
// own, `y` stops being a view: in-place ops must continue its history, not that of its base.
void set_history(const Tensor& y, const Ref<Node>& node);
// The same for ops whose result is a view of their input.
void set_view_history(const Tensor& y, const Ref<Node>& node);

// In-place ops: call before writing (leaf that requires grad, expanded memory, read-only memory,
// inference tensor -> error naming op), and after writing (bumps the version, rebases the history;
// `node` may be null when no gradient is recorded).
void check_inplace(const Tensor& t, const char* op);
void finish_inplace(const Tensor& t, const Ref<Node>& node, const char* op);

// Runs the graph. `roots` with `grads` (undefined = ones for a scalar). If `inputs` is empty,
// leaves accumulate into .grad; otherwise the gradients of `inputs` are returned instead.
TensorList run_backward(const TensorList& roots, const TensorList& grads, bool retain_graph,
                        bool create_graph, const TensorList& inputs, bool allow_unused,
                        bool accumulate);
TensorList grad(const TensorList& outputs, const TensorList& inputs,
                const TensorList& grad_outputs = {}, bool retain_graph = false,
                bool create_graph = false, bool allow_unused = false);

// Hooks. The id removes them again.
uint64_t add_tensor_hook(const Tensor& t, TensorHook hook);
void remove_tensor_hook(const Tensor& t, uint64_t id);
uint64_t add_post_accumulate_hook(const Tensor& t, std::function<void(const Tensor&)> hook);
void remove_post_accumulate_hook(const Tensor& t, uint64_t id);
void retain_grad(const Tensor& t);

// Anomaly mode: nodes remember the line that made them and NaN gradients raise.
bool anomaly_enabled();
bool anomaly_checks_nan();
void set_anomaly(bool on, bool check_nan);
extern std::string (*g_python_location)();  // installed by the binding

}  // namespace tercel
