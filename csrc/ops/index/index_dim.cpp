// Indexing along one dim: index_select, index_add, index_copy, index_fill; take and put.
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/index/index_geometry.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// 1-D int64 form of `index`; a 0-d index counts as one position.
Tensor as_list(const Tensor& index, const char* op) {
  TERCEL_CHECK(index.dim() <= 1, Shape, op, ": index must have 1 dimension, got shape ",
               index.shape());
  const Tensor list = as_index(index, op);
  return list.dim() == 1 ? list : reshape(list, {1});
}

void write_dim(const Tensor& x, int dim, const Tensor& index, const Tensor& value, bool accumulate,
               const char* op) {
  const Tensor target = x.dim() == 0 ? raw_view(x, {1}, {1}, x.offset()) : x;
  index_write(
      target, [&](const Tensor& t) { return index_geometry_dim(t, dim, index, op); }, value,
      accumulate, op);
}

void check_same_dtype(const Tensor& x, const Tensor& source, const char* op) {
  TERCEL_CHECK(x.dtype() == source.dtype(), DType, op,
               ": source must have the dtype of the tensor, ", dtype_name(x.dtype()), ", got ",
               dtype_name(source.dtype()));
}

// source must have the shape of x with size n along dim; a 0-d source stands for one position.
void check_source(const Tensor& x, int dim, int64_t n, const Tensor& source, const char* op) {
  Shape expected = x.shape();
  if (x.dim() > 0) expected[dim] = n;
  const bool scalar = source.dim() == 0 && numel_of(expected) == 1;
  TERCEL_CHECK((source.shape() == expected || scalar) && (x.dim() > 0 || n == 1), Shape, op,
               ": source must have shape ", expected, ", got ", source.shape());
}

Tensor scaled(const Tensor& t, const Scalar& alpha) {
  return alpha.to_double() == 1.0 ? t : mul(t, alpha);
}

}  // namespace

IndexGeometry index_geometry_dim(const Tensor& self, int dim, const Tensor& index, const char* op) {
  IndexGeometry g;
  g.n = index.numel();
  g.shape = self.shape();
  g.shape[dim] = g.n;
  checked_numel(g.shape, op);
  for (int d = 0; d < self.dim(); ++d) {
    if (d == dim) continue;
    append_dim(d < dim ? g.outer : g.inner, self.size(d), self.stride(d));
    (d < dim ? g.outer_numel : g.inner_numel) *= self.size(d);
  }
  const Device dev = self.device();
  g.offsets = empty({g.n}, DType::i64, dev);
  check_indexable(self, dim, g.n, op);
  int bad = 0;
  OffsetsArgs args{index.data_as<int64_t>(dev),
                   g.offsets.data_as<int64_t>(dev),
                   g.n,
                   self.size(dim),
                   self.stride(dim),
                   false,
                   false,
                   &bad};
  launch(index_kernels(dev).offsets, args, g.n, dev);
  if (bad) fail_index(index, 0, dim, self.size(dim), op);
  g.limit = self.size(dim) > 0 ? (self.size(dim) - 1) * self.stride(dim) + 1 : 1;
  return g;
}

// ---- index_select
// ----------------------------------------------------------------------------------

struct IndexSelectNode final : Node {
  Saved index;
  Shape shape;
  int dim = 0;
  const char* name() const override { return "IndexSelectBackward"; }
  TensorList backward(const TensorList& g) override {
    return {index_add(zeros(shape, g[0].dtype(), g[0].device()), dim, index.get(*this), g[0])};
  }
  void release_saved() override { index.reset(); }
};

Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index) {
  const int d = normalize_dim(dim, x.dim(), "index_select");
  const Tensor list = as_list(index, "index_select");
  if (x.dim() == 0) return reshape(index_select(reshape(x, {1}), 0, list), {});
  Tensor out = index_get(x, index_geometry_dim(x, d, list, "index_select"));
  if (grad_needed(x)) {
    auto node = make_node<IndexSelectNode>({&x});
    node->index.save(list);
    node->shape = x.shape();
    node->dim = d;
    set_history(out, node);
  }
  return out;
}

// ---- index_add
// ---------------------------------------------------------------------------------------

struct IndexAddNode final : Node {
  Saved index;
  Shape source_shape;
  Scalar alpha{1};
  int dim = 0;
  const char* name() const override { return "IndexAddBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(2);
    if (needs(0)) out[0] = g[0];
    if (needs(1)) {
      const Tensor picked = reshape(index_select(g[0], dim, index.get(*this)), source_shape);
      out[1] = scaled(picked, alpha);
    }
    return out;
  }
  void release_saved() override { index.reset(); }
};

namespace {

// One body for both forms: `out` is x itself or a copy of it.
Ref<Node> index_add_into(const Tensor& out, const Tensor& x, int64_t dim, const Tensor& index,
                         const Tensor& source, Scalar alpha, const char* op) {
  const int d = normalize_dim(dim, x.dim(), op);
  const Tensor list = as_list(index, op);
  check_same_dtype(x, source, op);
  check_source(x, d, list.numel(), source, op);
  TERCEL_CHECK(is_float(x.dtype()) || !alpha.is_float(), Type, op,
               ": alpha must be an integer for dtype ", dtype_name(x.dtype()), ", got ",
               alpha.to_double());
  Ref<Node> result;
  if (is_float(x.dtype()) && grad_needed(x, source)) {
    auto node = make_node<IndexAddNode>({&x, &source});
    if (node->needs(1)) node->index.save(list);
    node->source_shape = source.shape();
    node->alpha = alpha;
    node->dim = d;
    result = node;
  }
  GradMode off(false);
  write_dim(out, d, list, scaled(source, alpha), true, op);
  return result;
}

}  // namespace

Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                 Scalar alpha) {
  Tensor out = clone(make_alias(x));
  if (Ref<Node> node = index_add_into(out, x, dim, index, source, alpha, "index_add"))
    set_history(out, node);
  return out;
}

Tensor index_add_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                  Scalar alpha) {
  check_inplace(x, "index_add_");
  finish_inplace(x, index_add_into(x, x, dim, index, source, alpha, "index_add_"), "index_add_");
  return x;
}

// ---- index_copy and index_fill
// ---------------------------------------------------------------------------

struct IndexCopyNode final : Node {
  Saved index;
  Shape source_shape;
  int dim = 0;
  bool fill = false;
  DType value_dtype = DType::f32;
  const char* name() const override { return fill ? "IndexFillBackward" : "IndexCopyBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor list = index.get(*this);
    TensorList out(2);
    if (needs(0)) out[0] = index_fill(g[0], dim, list, zeros({}, g[0].dtype()));
    if (needs(1)) {
      const Tensor picked = index_select(g[0], dim, list);
      out[1] = fill ? to(sum_to(picked, {}), value_dtype) : reshape(picked, source_shape);
    }
    return out;
  }
  void release_saved() override { index.reset(); }
};

namespace {

Ref<Node> index_copy_into(const Tensor& out, const Tensor& x, int64_t dim, const Tensor& index,
                          const Tensor& source, bool fill, const char* op) {
  const int d = normalize_dim(dim, x.dim(), op);
  const Tensor list = as_list(index, op);
  if (fill) {
    TERCEL_CHECK(source.dim() == 0, Shape, op,
                 ": value must be a number or a 0-d tensor, got shape ", source.shape());
    check_fits(source, x.dtype(), op);
  } else {
    check_same_dtype(x, source, op);
    check_source(x, d, list.numel(), source, op);
  }
  Ref<Node> result;
  if (is_float(x.dtype()) && grad_needed(x, source)) {
    auto node = make_node<IndexCopyNode>({&x, &source});
    node->index.save(list);
    node->source_shape = source.shape();
    node->dim = d;
    node->fill = fill;
    node->value_dtype = source.dtype();
    result = node;
  }
  write_dim(out, d, list, source, false, op);
  return result;
}

}  // namespace

Tensor index_copy(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  Tensor out = clone(make_alias(x));
  if (Ref<Node> node = index_copy_into(out, x, dim, index, source, false, "index_copy"))
    set_history(out, node);
  return out;
}
Tensor index_copy_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source) {
  check_inplace(x, "index_copy_");
  finish_inplace(x, index_copy_into(x, x, dim, index, source, false, "index_copy_"), "index_copy_");
  return x;
}
Tensor index_fill(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& value) {
  Tensor out = clone(make_alias(x));
  if (Ref<Node> node = index_copy_into(out, x, dim, index, value, true, "index_fill"))
    set_history(out, node);
  return out;
}
Tensor index_fill_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& value) {
  check_inplace(x, "index_fill_");
  finish_inplace(x, index_copy_into(x, x, dim, index, value, true, "index_fill_"), "index_fill_");
  return x;
}

// ---- take and put
// -----------------------------------------------------------------------------------

Tensor take(const Tensor& x, const Tensor& ix) {
  const Tensor list = as_index(ix, "take");
  return index(reshape(x, {x.numel()}), {list});
}

Tensor put(const Tensor& x, const Tensor& ix, const Tensor& source, bool accumulate) {
  const Tensor list = as_index(ix, "put");
  TERCEL_CHECK(source.numel() == list.numel(), Shape, "put: source must have ", list.numel(),
               " elements (as index), got shape ", source.shape());
  check_same_dtype(x, source, "put");
  const Tensor flat = index_put(reshape(x, {x.numel()}), {reshape(list, {list.numel()})},
                                reshape(source, {source.numel()}), accumulate);
  return reshape(flat, x.shape());
}

Tensor put_(const Tensor& x, const Tensor& ix, const Tensor& source, bool accumulate) {
  check_inplace(x, "put_");
  Tensor target = x;
  copy_(target, put(x, ix, source, accumulate));
  return x;
}

}  // namespace tercel
