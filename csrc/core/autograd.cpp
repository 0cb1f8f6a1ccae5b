// Graph construction: modes, nodes, saved tensors, histories of views and in-place ops.
#include "core/autograd.h"

#include <atomic>

#include "core/engine_ops.h"

namespace tercel {

// ---- modes
// -----------------------------------------------------------------------------------------

namespace {
thread_local bool t_grad = true;
thread_local bool t_inference = false;
std::atomic<bool> g_anomaly{false};
std::atomic<bool> g_check_nan{true};
std::atomic<uint64_t> g_sequence{0};
std::atomic<uint64_t> g_hook_id{1};
}  // namespace

bool grad_enabled() { return t_grad; }
void set_grad_enabled(bool on) { t_grad = on; }
bool inference_mode() { return t_inference; }
void set_inference_mode(bool on) { t_inference = on; }
bool anomaly_enabled() { return g_anomaly.load(std::memory_order_relaxed); }
bool anomaly_checks_nan() { return g_check_nan.load(std::memory_order_relaxed); }
void set_anomaly(bool on, bool check_nan) {
  g_anomaly.store(on);
  g_check_nan.store(check_nan);
}
std::string (*g_python_location)() = nullptr;

// ---- nodes
// -----------------------------------------------------------------------------------------

Node::Node() : sequence(g_sequence.fetch_add(1, std::memory_order_relaxed)) {
  if (anomaly_enabled() && g_python_location)
    where = std::make_shared<std::string>(g_python_location());
}
Node::~Node() = default;

void Node::destroy() {
  // Deleting a node drops its edges and saved tensors, which may drop the next node, and so on: the
  // outermost call collects them in a list instead of recursing.
  thread_local std::vector<Node*>* pending = nullptr;
  if (pending) {
    pending->push_back(this);
    return;
  }
  std::vector<Node*> queue{this};
  pending = &queue;
  while (!queue.empty()) {
    Node* node = queue.back();
    queue.pop_back();
    delete node;
  }
  pending = nullptr;
}

void collect_edges(Node& node, std::initializer_list<const Tensor*> inputs) {
  node.edges.reserve(inputs.size());
  for (const Tensor* t : inputs) node.edges.push_back(gradient_edge(*t));
}

void collect_edges(Node& node, const TensorList& inputs) {
  node.edges.reserve(inputs.size());
  for (const Tensor& t : inputs) node.edges.push_back(gradient_edge(t));
}

bool grad_needed(const TensorList& inputs) {
  if (!grad_enabled()) return false;
  for (const Tensor& t : inputs) {
    if (tracks_grad(t)) return true;
  }
  return false;
}

void set_view_history(const Tensor& y, const Ref<Node>& node) {
  const auto index = static_cast<uint32_t>(node->outputs.size());
  node->outputs.push_back({y.shape(), y.dtype()});
  if (!is_float(y.dtype())) return;
  AutogradMeta& meta = autograd_meta(y);
  meta.grad_fn = node;
  meta.output_index = index;
}

void set_history(const Tensor& y, const Ref<Node>& node) {
  y.impl()->base.reset();
  set_view_history(y, node);
}

// ---- tensors
// ---------------------------------------------------------------------------------------

AutogradMeta& autograd_meta(const Tensor& t) {
  auto& meta = t.impl()->autograd;
  if (!meta) meta = std::make_unique<AutogradMeta>();
  return *meta;
}

namespace {

// History of a view expressed by its place in the memory of its base.
struct AsStridedHistory final : Node {
  Shape base_shape, shape;
  Strides base_strides, strides;
  int64_t offset;  // of the view, relative to the base
  const char* name() const override { return "AsStridedBackward"; }
  TensorList backward(const TensorList& g) override {
    return {as_strided_adjoint(g[0], base_shape, base_strides, strides, offset)};
  }
};

// In-place op through a view: the base's gradient outside the view passes, inside it goes through
// `fn`.
struct CopySlices final : Node {
  Ref<Node> fn;
  Shape base_shape, shape;
  Strides base_strides, strides;
  int64_t offset;  // of the view, relative to the base
  const char* name() const override { return "CopySlices"; }
  TensorList backward(const TensorList& g) override {
    Tensor out = as_strided_adjoint(g[0], base_shape, base_strides, base_strides, 0);
    Tensor window = as_strided(out, shape, strides, offset);
    TensorList grads = fn->backward({clone(window)});
    Tensor inner = !grads.empty() && grads[0].defined() ? grads[0] : zeros(shape, g[0].dtype());
    copy_(window, inner);
    grads.resize(edges.size());
    grads[0] = out;
    return grads;
  }
  // A graph of second order may hold fn too, through the output it saved: then it is still needed.
  void release_saved() override {
    if (fn->use_count() == 1) fn->release_saved();
  }
};

Ref<Node> view_history(const Tensor& view, const Tensor& base) {
  auto node = make_node<AsStridedHistory>({&base});
  node->base_shape = base.shape();
  node->base_strides = base.strides();
  node->shape = view.shape();
  node->strides = view.strides();
  node->offset = view.offset() - base.offset();
  node->outputs.push_back({view.shape(), view.dtype()});
  return node;
}

bool stale_view(const TensorImpl* impl) {
  return impl->base.defined() && impl->view_version != impl->storage->version();
}

}  // namespace

bool Tensor::requires_grad() const {
  const AutogradMeta* meta = impl_->autograd.get();
  if (meta && (meta->requires_grad || meta->grad_fn)) return true;
  return stale_view(impl_.get()) && is_float(dtype()) && impl_->base.requires_grad();
}

Ref<Node> Tensor::grad_fn() const {
  if (stale_view(impl_.get()) && impl_->base.requires_grad() && is_float(dtype()) &&
      !(impl_->autograd && impl_->autograd->requires_grad)) {
    AutogradMeta& meta = autograd_meta(*this);
    meta.grad_fn = view_history(*this, impl_->base);
    meta.output_index = 0;
    impl_->view_version = impl_->storage->version();
  }
  return impl_->autograd ? impl_->autograd->grad_fn : Ref<Node>();
}

bool Tensor::is_leaf() const { return !grad_fn(); }
Tensor Tensor::grad() const { return impl_->autograd ? impl_->autograd->grad : Tensor(); }

void Tensor::set_grad(const Tensor& g) {
  if (g.defined()) {
    TERCEL_CHECK(g.shape() == shape(), Shape, "grad: expected a tensor of shape ", shape(),
                 ", got ", g.shape());
    TERCEL_CHECK(g.dtype() == dtype(), DType, "grad: expected dtype ", dtype_name(dtype()),
                 ", got ", dtype_name(g.dtype()));
    TERCEL_CHECK(!g.is_same(*this), Runtime, "grad: a tensor cannot be its own gradient");
  } else if (!impl_->autograd) {
    return;
  }
  autograd_meta(*this).grad = g;
}

void Tensor::set_requires_grad(bool value) {
  TERCEL_CHECK(!value || is_float(dtype()), Runtime,
               "requires_grad_: only float tensors can require gradients, got ",
               dtype_name(dtype()));
  TERCEL_CHECK(value || is_leaf(), Runtime,
               "requires_grad_: a non-leaf tensor always requires gradients; use detach() to drop "
               "its history");
  TERCEL_CHECK(
      !(value && impl_->inference && !inference_mode()), Runtime,
      "requires_grad_: an inference tensor cannot require gradients outside inference_mode");
  if (value || impl_->autograd) autograd_meta(*this).requires_grad = value && is_leaf();
}

Tensor Tensor::detach() const { return make_alias(*this); }

// ---- saved tensors
// ---------------------------------------------------------------------------------

void Saved::save(const Tensor& t) {
  if (!t.defined()) return;
  TERCEL_CHECK(!t.impl()->inference, Runtime, "autograd: a tensor of shape ", t.shape(),
               " made in inference mode cannot be saved for backward; clone() it first");
  version_ = t.checked_version();
  Ref<Node> fn = t.grad_fn();
  if (!fn && t.requires_grad()) {
    data_ = t;
    return;
  }
  data_ = make_alias(t);
  if (fn) {
    history_ = std::move(fn);
    output_index_ = t.impl()->autograd->output_index;
  }
}

void Saved::save_output(const Tensor& t, uint32_t index) {
  version_ = t.checked_version();
  data_ = make_alias(t);
  output_index_ = index;
  is_output_ = true;
}

namespace {
// Stands in for a tensor that was released: `defined()` stays true, so that a node cannot mistake a
// freed graph for an input that was never saved.
const Tensor& released() {
  static const Tensor* tombstone =
      new Tensor(empty({0}, DType::u8));  // leaked: threads may outlive main
  return *tombstone;
}
}  // namespace

void Saved::reset() {
  if (data_.defined()) data_ = released();
  history_.reset();
}

Tensor Saved::get(Node& node) const {
  if (!data_.defined()) return {};
  TERCEL_CHECK(!data_.is_same(released()), Runtime, node.name(),
               ": backward through a graph that was already freed; pass retain_graph=True to the "
               "first backward");
  TERCEL_CHECK(data_.checked_version() == version_, Runtime, node.name(), ": a tensor of shape ",
               data_.shape(), " saved for backward was overwritten in place by ",
               data_.storage()->last_writer(), " (version ", data_.checked_version(),
               ", saved at version ", version_, ")",
               node.where ? "; the forward op ran at " + *node.where
                          : std::string("; enable anomaly detection to see the forward line"));
  if (!history_ && !is_output_) return data_;
  if (!grad_enabled()) return data_;
  Tensor t = make_alias(data_);
  AutogradMeta& meta = autograd_meta(t);
  meta.grad_fn = is_output_ ? Ref<Node>(&node) : history_;
  meta.output_index = output_index_;
  return t;
}

// ---- in-place
// --------------------------------------------------------------------------------------

void check_inplace(const Tensor& t, const char* op) {
  TensorImpl* impl = t.impl();
  TERCEL_CHECK(!impl->storage->readonly(), Runtime, op, ": the tensor's memory is read-only");
  TERCEL_CHECK(!has_internal_overlap(t), Runtime, op,
               ": elements of the written tensor share memory (shape ", t.shape(), ", strides ",
               t.strides(), "); clone() it first");
  TERCEL_CHECK(!(impl->inference && !inference_mode()), Runtime, op,
               ": an inference tensor cannot be written outside inference_mode; clone() it first");
  if (!grad_enabled()) return;
  TERCEL_CHECK(
      !(impl->autograd && impl->autograd->requires_grad && !impl->autograd->grad_fn), Runtime, op,
      ": a leaf tensor that requires grad cannot be written in place (use no_grad() or detach())");
  if (impl->base.defined()) {
    const TensorImpl* base = impl->base.impl();
    TERCEL_CHECK(!(base->autograd && base->autograd->requires_grad && !base->autograd->grad_fn),
                 Runtime, op,
                 ": a view of a leaf tensor that requires grad cannot be written in place");
  }
}

void finish_inplace(const Tensor& t, const Ref<Node>& node, const char* op) {
  TensorImpl* impl = t.impl();
  if (!node) {
    // Nothing changes in the graph; a view whose history is current stays current.
    const bool current = !stale_view(impl);
    impl->storage->bump_version(op, !impl->unchecked);
    if (current && impl->base.defined()) impl->view_version = impl->storage->version();
    return;
  }
  node->outputs.clear();
  node->outputs.push_back({t.shape(), t.dtype()});
  if (!impl->base.defined()) {
    impl->storage->bump_version(op, !impl->unchecked);
    AutogradMeta& meta = autograd_meta(t);
    meta.grad_fn = node;
    meta.output_index = 0;
    return;
  }
  const Tensor base = impl->base;
  auto slices = make_ref<CopySlices>();
  slices->edges = node->edges;
  if (slices->edges.empty()) slices->edges.resize(1);
  slices->edges[0] = gradient_edge(base);
  slices->fn = node;
  slices->base_shape = base.shape();
  slices->base_strides = base.strides();
  slices->shape = t.shape();
  slices->strides = t.strides();
  slices->offset = t.offset() - base.offset();
  slices->outputs.push_back({base.shape(), base.dtype()});
  impl->storage->bump_version(op, !impl->unchecked);
  AutogradMeta& base_meta = autograd_meta(base);
  base_meta.grad_fn = slices;
  base_meta.output_index = 0;
  AutogradMeta& meta = autograd_meta(t);
  meta.grad_fn = view_history(t, base);
  meta.output_index = 0;
  impl->view_version = impl->storage->version();
}

// ---- hooks
// -----------------------------------------------------------------------------------------

namespace {
NodeHooks& hooks_of(Node& node) {
  if (!node.hooks) node.hooks = std::make_unique<NodeHooks>();
  return *node.hooks;
}
}  // namespace

uint64_t add_tensor_hook(const Tensor& t, TensorHook hook) {
  TERCEL_CHECK(t.requires_grad(), Runtime, "register_hook: the tensor does not require grad");
  const uint64_t id = g_hook_id.fetch_add(1);
  if (Ref<Node> fn = t.grad_fn()) {
    hooks_of(*fn).tensor.push_back({t.impl()->autograd->output_index, id, std::move(hook)});
  } else {
    autograd_meta(t).leaf_hooks.emplace_back(id, std::move(hook));
  }
  return id;
}

void remove_tensor_hook(const Tensor& t, uint64_t id) {
  if (!t.impl()->autograd) return;
  std::erase_if(t.impl()->autograd->leaf_hooks, [id](const auto& h) { return h.first == id; });
  if (Ref<Node> fn = t.impl()->autograd->grad_fn; fn && fn->hooks) {
    std::erase_if(fn->hooks->tensor, [id](const auto& h) { return h.id == id; });
  }
}

uint64_t add_post_accumulate_hook(const Tensor& t, std::function<void(const Tensor&)> hook) {
  TERCEL_CHECK(t.requires_grad() && t.is_leaf(), Runtime,
               "register_post_accumulate_grad_hook: expected a leaf tensor that requires grad");
  const uint64_t id = g_hook_id.fetch_add(1);
  autograd_meta(t).post_accumulate_hooks.emplace_back(id, std::move(hook));
  return id;
}

void remove_post_accumulate_hook(const Tensor& t, uint64_t id) {
  if (!t.impl()->autograd) return;
  std::erase_if(t.impl()->autograd->post_accumulate_hooks,
                [id](const auto& h) { return h.first == id; });
}

void retain_grad(const Tensor& t) {
  TERCEL_CHECK(t.requires_grad(), Runtime, "retain_grad: the tensor does not require grad");
  Ref<Node> fn = t.grad_fn();
  if (!fn) return;
  AutogradMeta& meta = autograd_meta(t);
  if (meta.retains_grad) return;
  meta.retains_grad = true;
  hooks_of(*fn).retain.emplace_back(meta.output_index, t.impl());
}

}  // namespace tercel
