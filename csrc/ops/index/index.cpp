// Advanced indexing: index and index_put. See index.h for the rules; kernels in index_cpu.cpp.
#include "ops/index/index.h"

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/index/index_geometry.h"
#include "ops/view/view.h"

namespace tercel {

Tensor as_index(const Tensor& index, const char* op) {
  if (!is_int(index.dtype())) fail_dtype(op, "index", index.dtype(), kIntMask);
  const Tensor plain = index.is_contiguous() && index.dtype() == DType::i64
                           ? index
                           : to(make_alias(index), DType::i64);
  return contiguous(plain);
}

void fail_index(const Tensor& index, int64_t low, int64_t dim, int64_t size, const char* op) {
  const int64_t* v = index.data_as<int64_t>();
  for (int64_t p = 0; p < index.numel(); ++p) {
    TERCEL_CHECK(v[p] >= low && v[p] < size, Index, op, ": index ", v[p], " at position ", p,
                 " is out of range for dim ", dim, " of size ", size);
  }
  fail(ErrorKind::Runtime, str(op, ": the index changed while it was read"));
}

namespace {

// indices with masks replaced by their coordinate lists and one entry per dim of self; a 0-d mask
// adds a dim of size 1 to self, indexed by [0] or [].
struct Expanded {
  Tensor self;
  std::vector<Tensor> indices;  // size self.dim(); int64 or undefined
};

Expanded expand_indices(const Tensor& self, const std::vector<Tensor>& given, const char* op) {
  Expanded e{self, {}};
  int dim = 0;
  for (size_t i = 0; i < given.size(); ++i) {
    const Tensor& ix = given[i];
    if (!ix.defined()) {
      e.indices.push_back({});
      ++dim;
    } else if (is_bool(ix.dtype())) {
      if (ix.dim() == 0) {
        e.self = unsqueeze(e.self, dim);
        e.indices.push_back(zeros({item(ix).to_int() ? 1 : 0}, DType::i64, self.device()));
        ++dim;
        continue;
      }
      for (int k = 0; k < ix.dim(); ++k) {
        TERCEL_CHECK(dim + k < e.self.dim() && ix.size(k) == e.self.size(dim + k), Index, op,
                     ": mask of shape ", ix.shape(), " at position ", i,
                     " does not match the tensor of shape ", e.self.shape(), " from dim ", dim);
      }
      for (const Tensor& column : nonzero_tuple(ix)) e.indices.push_back(column);
      dim += ix.dim();
    } else {
      TERCEL_CHECK(ix.dtype() != DType::u8, DType, op,
                   ": a uint8 index is ambiguous; use .bool() for a mask or .long() for positions");
      e.indices.push_back(is_int(ix.dtype()) ? ix : as_index(ix, op));
      ++dim;
    }
  }
  TERCEL_CHECK(dim <= e.self.dim(), Index, op, ": too many indices (", dim,
               ") for a tensor of shape ", e.self.shape());
  e.indices.resize(static_cast<size_t>(e.self.dim()));
  return e;
}

}  // namespace

IndexGeometry index_geometry(const Tensor& self, const std::vector<Tensor>& indices,
                             const char* op) {
  IndexGeometry g;
  Shape broadcast;
  int first = -1, last = -1, used = 0;
  for (int d = 0; d < self.dim(); ++d) {
    const Tensor& ix = indices[static_cast<size_t>(d)];
    if (!ix.defined()) continue;
    broadcast = broadcast_shapes(broadcast, ix.shape(), op);
    if (first < 0) first = d;
    last = d;
    ++used;
  }
  const bool adjacent = last - first + 1 == used;
  const int split =
      adjacent ? first : 0;  // dims before it come before the broadcast dims in the result
  for (int d = 0; d < self.dim(); ++d) {
    if (indices[static_cast<size_t>(d)].defined()) continue;
    const bool before = d < split;
    if (before) g.shape.push_back(self.size(d));
    append_dim(before ? g.outer : g.inner, self.size(d), self.stride(d));
    (before ? g.outer_numel : g.inner_numel) *= self.size(d);
  }
  for (int64_t s : broadcast) g.shape.push_back(s);
  for (int d = split; d < self.dim(); ++d) {
    if (!indices[static_cast<size_t>(d)].defined()) g.shape.push_back(self.size(d));
  }
  g.n = checked_numel(broadcast, op);
  checked_numel(g.shape, op);
  const Device dev = self.device();
  g.offsets = empty({g.n}, DType::i64, dev);
  bool accumulate = false;
  for (int d = 0; d < self.dim(); ++d) {
    const Tensor& ix = indices[static_cast<size_t>(d)];
    if (!ix.defined()) continue;
    const Tensor flat = to_device(as_index(expand(make_alias(ix), broadcast), op), dev);
    check_indexable(self, d, g.n, op);
    int bad = 0;
    OffsetsArgs args{flat.data_as<int64_t>(dev),
                     g.offsets.data_as<int64_t>(dev),
                     g.n,
                     self.size(d),
                     self.stride(d),
                     true,
                     accumulate,
                     &bad};
    launch(index_kernels(dev).offsets, args, g.n, dev);
    if (bad) fail_index(flat, -self.size(d), d, self.size(d), op);
    accumulate = true;
    if (self.size(d) > 0) g.limit += (self.size(d) - 1) * self.stride(d);
  }
  g.limit += 1;
  if (!accumulate) g.offsets = zeros({1}, DType::i64, dev);
  return g;
}

Tensor index_get(const Tensor& self, const IndexGeometry& g) {
  Tensor out = empty(g.shape, self.dtype(), self.device());
  if (out.numel() == 0) return out;
  IndexArgs args = g.args(self);
  const Device dev = self.device();
  args.dense = static_cast<char*>(out.data(dev));
  launch(index_kernels(dev).get, args, out.numel() + g.n * 2, dev);
  return out;
}

namespace {

void index_set(const Tensor& self, const IndexGeometry& g, const Tensor& value, bool accumulate,
               const char* op) {
  TERCEL_CHECK(broadcast_shapes(g.shape, value.shape(), op) == g.shape, Shape, op,
               ": value of shape ", value.shape(), " cannot be broadcast to the indexed shape ",
               g.shape);
  const int64_t total = g.outer_numel * g.n * g.inner_numel;
  if (total == 0) return;
  // A number (0-d on the CPU) goes along with any device.
  Tensor source =
      to(make_alias(value.dim() == 0 ? to_device(value.detach(), self.device()) : value),
         self.dtype());
  const bool single = source.numel() == 1;
  if (!single) source = contiguous(make_alias(expand(source, g.shape)));
  if (source.storage() == self.storage()) source = clone_contiguous(source);
  IndexArgs args = g.args(self);
  const Device dev = self.device();
  args.dense = static_cast<char*>(source.data(dev));
  args.dense_inner = single ? 0 : 1;
  args.dense_row = single ? 0 : g.inner_numel;
  args.dense_outer = single ? 0 : g.inner_numel * g.n;
  args.combine = accumulate ? Combine::add : Combine::assign;
  launch(index_kernels(dev).put, args, total + g.n * 2, dev);
}

}  // namespace

void index_write(const Tensor& self, const GeometryFn& geometry, const Tensor& value,
                 bool accumulate, const char* op) {
  if (accumulate && sums_in_float(self.dtype())) {  // one rounding, after the sum
    const Tensor wide = to(make_alias(self), DType::f32);
    index_set(wide, geometry(wide), to(make_alias(value), DType::f32), true, op);
    strided_copy(self, wide);
  } else {
    index_set(self, geometry(self), value, accumulate, op);
  }
}

// ---- index
// -----------------------------------------------------------------------------------------

struct IndexNode final : Node {
  std::vector<Saved> indices;
  Shape shape;
  const char* name() const override { return "IndexBackward"; }
  TensorList backward(const TensorList& g) override {
    std::vector<Tensor> ix;
    for (const Saved& s : indices) ix.push_back(s.get(*this));
    return {index_put(zeros(shape, g[0].dtype(), g[0].device()), ix, g[0], true)};
  }
  void release_saved() override {
    for (Saved& s : indices) s.reset();
  }
};

Tensor index(const Tensor& self, const std::vector<Tensor>& indices) {
  TERCEL_CHECK(!indices.empty(), Index, "index: expected at least one index");
  if (indices.size() == 1 && indices[0].defined() && is_bool(indices[0].dtype()) &&
      self.dim() > 0 && indices[0].shape() == self.shape()) {
    return masked_select(self, indices[0]);
  }
  const Expanded e = expand_indices(self, indices, "index");
  Tensor out = index_get(e.self, index_geometry(e.self, e.indices, "index"));
  if (grad_needed(self)) {
    auto node = make_node<IndexNode>({&e.self});
    node->shape = e.self.shape();
    node->indices.resize(e.indices.size());
    for (size_t i = 0; i < e.indices.size(); ++i) {
      if (e.indices[i].defined()) node->indices[i].save(e.indices[i]);
    }
    set_history(out, node);
  }
  return out;
}

// ---- index_put
// ---------------------------------------------------------------------------------------

struct IndexPutNode final : Node {
  std::vector<Saved> indices;
  Shape value_shape;
  DType value_dtype = DType::f32;
  bool accumulate = false;
  const char* name() const override { return "IndexPutBackward"; }
  TensorList backward(const TensorList& g) override {
    std::vector<Tensor> ix;
    for (const Saved& s : indices) ix.push_back(s.get(*this));
    TensorList out(2);
    if (needs(0)) out[0] = accumulate ? g[0] : index_put(g[0], ix, zeros({}, g[0].dtype()));
    if (needs(1)) out[1] = to(sum_to(index(g[0], ix), value_shape), value_dtype);
    return out;
  }
  void release_saved() override {
    for (Saved& s : indices) s.reset();
  }
};

namespace {

Ref<Node> index_put_node(const Tensor& self, const Expanded& e, const Tensor& value,
                         bool accumulate) {
  if (!is_float(self.dtype()) || !grad_needed(self, value)) return {};
  auto node = make_node<IndexPutNode>({&self, &value});
  node->indices.resize(e.indices.size());
  for (size_t i = 0; i < e.indices.size(); ++i) {
    if (e.indices[i].defined()) node->indices[i].save(e.indices[i]);
  }
  node->value_shape = value.shape();
  node->value_dtype = value.dtype();
  node->accumulate = accumulate;
  return node;
}

void write_expanded(const Tensor& self, const std::vector<Tensor>& indices, const Tensor& value,
                    bool accumulate, const char* op) {
  index_write(
      self, [&](const Tensor& target) { return index_geometry(target, indices, op); }, value,
      accumulate, op);
}

void check_value_dtype(const Tensor& self, const Tensor& value, const char* op) {
  TERCEL_CHECK(value.dtype() == self.dtype() || value.dim() == 0 || value.impl()->wrapped_number,
               DType, op, ": value must have the dtype of the tensor, ", dtype_name(self.dtype()),
               ", got ", dtype_name(value.dtype()));
}

}  // namespace

Tensor index_put(const Tensor& self, const std::vector<Tensor>& indices, const Tensor& value,
                 bool accumulate) {
  check_value_dtype(self, value, "index_put");
  const Expanded e = expand_indices(self, indices, "index_put");
  if (!e.self.is_same(self)) {  // 0-d mask: the same op on the widened tensor
    return reshape(index_put(e.self, e.indices, value, accumulate), self.shape());
  }
  Tensor out = clone(make_alias(self));
  write_expanded(out, e.indices, value, accumulate, "index_put");
  if (Ref<Node> node = index_put_node(self, e, value, accumulate)) set_history(out, node);
  return out;
}

Tensor index_put_(const Tensor& self, const std::vector<Tensor>& indices, const Tensor& value,
                  bool accumulate) {
  check_inplace(self, "index_put_");
  check_value_dtype(self, value, "index_put_");
  if (!accumulate && value.numel() == 1 && indices.size() == 1 && indices[0].defined() &&
      is_bool(indices[0].dtype()) && self.dim() > 0 && indices[0].shape() == self.shape()) {
    return masked_fill_(self, indices[0], reshape(value, {}));
  }
  const Expanded e = expand_indices(self, indices, "index_put_");
  if (!e.self.is_same(self)) {  // 0-d mask: write through the widened view
    index_put_(e.self, e.indices, value, accumulate);
    return self;
  }
  Ref<Node> node = index_put_node(self, e, value, accumulate);
  write_expanded(self, e.indices, value, accumulate, "index_put_");
  finish_inplace(self, node, "index_put_");
  return self;
}

}  // namespace tercel
