// gather and scatter. Kernels in gather_cpu.cpp.
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/index/index.h"
#include "ops/index/index_geometry.h"
#include "ops/index/index_kernels.h"
#include "ops/index/scatter_plan.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// A 0-d tensor takes part as [1].
Tensor lifted(const Tensor& t) { return t.dim() == 0 ? reshape(t, {1}) : t; }

// index may be smaller than x outside dim.
void check_index_shape(const Tensor& x, int dim, const Tensor& index, const char* op) {
  bool fits = index.dim() == x.dim() || index.numel() == 0;
  for (int d = 0; fits && index.numel() > 0 && d < x.dim(); ++d)
    fits = d == dim || index.size(d) <= x.size(d);
  TERCEL_CHECK(fits, Shape, op,
               ": index must have the rank of the tensor and no larger sizes outside dim ", dim,
               ", got index ", index.shape(), " for ", x.shape());
}

// All tensors have rank >= 1. `other` may be 0-d: one value. index contiguous.
GatherArgs gather_args(const Tensor& x, int dim, const Tensor& index, const Tensor& other) {
  GatherArgs a{};
  const int last = x.dim() - 1;
  const bool single = other.dim() == 0;
  auto other_stride = [&](int d) { return single ? 0 : other.stride(d); };
  const Device dev = x.device();
  a.index = index.data_as<int64_t>(dev);
  a.outer_numel = 1;
  for (int d = 0; d < last; ++d) {
    if (d == dim) continue;
    const int k = a.outer.rank++;
    a.outer.size[k] = index.size(d);
    a.outer.stride[k] = x.stride(d);
    a.outer_index[k] = index.stride(d);
    a.outer_other[k] = other_stride(d);
    a.outer_numel *= index.size(d);
  }
  a.k_numel = index.size(dim);
  a.index_k = index.stride(dim);
  a.other_k = other_stride(dim);
  a.j_numel = dim == last ? 1 : index.size(last);
  a.index_j = 1;
  a.other_j = dim == last ? 0 : other_stride(last);
  a.x_column = dim == last ? 0 : x.stride(last);
  a.x_stride = x.stride(dim);
  a.size = x.size(dim);
  a.x = static_cast<char*>(x.data(dev));
  a.other = static_cast<char*>(other.data(dev));
  a.dtype = x.dtype();
  a.itemsize = static_cast<int>(x.itemsize());
  return a;
}

// Raises before anything is written.
void check_values(const Tensor& index, int dim, int64_t size, const char* op) {
  int bad = 0;
  const Device dev = index.device();
  RangeCheckArgs args{index.data_as<int64_t>(dev), index.numel(), size, &bad};
  launch(gather_kernels(dev).check, args, index.numel() / 2, dev);
  if (bad) fail_index(index, 0, dim, size, op);
}

// x[index] (op)= src, both lifted; src may be 0-d.
void scatter_into(const Tensor& x, int dim, const Tensor& index, const Tensor& src,
                  Combine combine) {
  if (index.numel() == 0) return;
  if (combine != Combine::assign && sums_in_float(x.dtype())) {  // one rounding at the end
    const Tensor wide = to(make_alias(x), DType::f32);
    scatter_into(wide, dim, index, to(make_alias(src), DType::f32), combine);
    strided_copy(x, wide);
    return;
  }
  Tensor source =
      to(make_alias(src.dim() == 0 ? to_device(src.detach(), x.device()) : src), x.dtype());
  if (source.storage() == x.storage()) source = clone_contiguous(source);
  GatherArgs args = gather_args(x, dim, index, source);
  args.combine = combine;
  launch(gather_kernels(x.device()).scatter, args, index.numel() * 2, x.device());
}

}  // namespace

ScatterPlan check_scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
                          const char* op) {
  ScatterPlan s;
  s.dim = normalize_dim(dim, x.dim(), op);
  s.index = as_index(index, op);
  s.value = src.dim() == 0 && (src.impl()->wrapped_number || index.dim() > 0);
  const Tensor lifted_index = lifted(s.index);
  check_index_shape(lifted(make_alias(x)), s.dim, lifted_index, op);
  if (!s.value) {
    const Tensor lifted_src = lifted(make_alias(src));
    bool fits = lifted_src.dim() == lifted_index.dim() || lifted_index.numel() == 0;
    for (int d = 0; fits && lifted_index.numel() > 0 && d < lifted_index.dim(); ++d) {
      fits = lifted_index.size(d) <= lifted_src.size(d);
    }
    TERCEL_CHECK(fits, Shape, op, ": src must have at least the sizes of index, ", index.shape(),
                 ", got ", src.shape());
    TERCEL_CHECK(src.dtype() == x.dtype(), DType, op, ": src must have the dtype of the tensor, ",
                 dtype_name(x.dtype()), ", got ", dtype_name(src.dtype()));
  } else {
    check_fits(src, x.dtype(), op);
  }
  check_values(s.index, s.dim, x.dim() == 0 ? 1 : x.size(s.dim), op);
  if (s.index.storage() == x.storage()) s.index = clone_contiguous(s.index);
  return s;
}

void run_scatter(const Tensor& x, const ScatterPlan& s, const Tensor& src, Combine combine) {
  const Tensor plain = make_alias(src);
  scatter_into(lifted(make_alias(x)), s.dim, lifted(s.index), s.value ? plain : lifted(plain),
               combine);
}

Tensor place_in_corner(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  std::vector<int64_t> amounts;
  for (int d = t.dim() - 1; d >= 0; --d) {
    amounts.push_back(0);
    amounts.push_back(shape[d] - t.size(d));
  }
  return pad(t, amounts);
}

// ---- gather
// ------------------------------------------------------------------------------------------

struct GatherNode final : Node {
  Saved index;
  Shape shape;
  int dim = 0;
  const char* name() const override { return "GatherBackward"; }
  TensorList backward(const TensorList& g) override {
    return {scatter_add(zeros(shape, g[0].dtype(), g[0].device()), dim, index.get(*this), g[0])};
  }
  void release_saved() override { index.reset(); }
};

Tensor gather(const Tensor& x, int64_t dim, const Tensor& index) {
  const int d = normalize_dim(dim, x.dim(), "gather");
  const Tensor list = as_index(index, "gather");
  const Tensor lx = lifted(make_alias(x)), li = lifted(list);
  check_index_shape(lx, d, li, "gather");
  Tensor out = empty(index.shape(), x.dtype(), x.device());
  if (index.numel() > 0) {
    int bad = 0;
    GatherArgs args = gather_args(lx, d, li, lifted(out));
    args.bad = &bad;
    check_indexable(lx, d, index.numel(), "gather");
    launch(gather_kernels(x.device()).gather, args, index.numel() * 2, x.device());
    if (bad) fail_index(list, 0, d, lx.size(d), "gather");
  }
  if (grad_needed(x)) {
    auto node = make_node<GatherNode>({&x});
    node->index.save(list);
    node->shape = x.shape();
    node->dim = d;
    set_history(out, node);
  }
  return out;
}

Tensor take_along_dim(const Tensor& x, const Tensor& index, std::optional<int64_t> dim) {
  if (!dim) return gather(reshape(x, {x.numel()}), 0, reshape(index, {index.numel()}));
  TERCEL_CHECK(x.dim() == index.dim(), Shape,
               "take_along_dim: index must have the rank of the tensor, got ", index.shape(),
               " for ", x.shape());
  const int d = normalize_dim(*dim, x.dim(), "take_along_dim");
  if (x.dim() == 0) return gather(x, 0, index);
  Shape a = x.shape(), b = index.shape();
  a[d] = b[d] = 1;
  Shape x_shape = broadcast_shapes(a, b, "take_along_dim"), index_shape = x_shape;
  x_shape[d] = x.size(d);
  index_shape[d] = index.size(d);
  return gather(expand(x, x_shape), d, expand(index, index_shape));
}

// ---- scatter and scatter_add
// -------------------------------------------------------------------------------

struct ScatterNode final : Node {
  Saved index;
  Shape src_shape;
  int dim = 0;
  bool add = false, value = false;
  const char* name() const override { return add ? "ScatterAddBackward" : "ScatterBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor list = index.get(*this);
    TensorList out(2);
    if (needs(0)) out[0] = add ? g[0] : scatter(g[0], dim, list, zeros({}, g[0].dtype()));
    if (needs(1)) {
      out[1] = value ? sum_to(gather(g[0], dim, list), {})
                     : place_in_corner(gather(g[0], dim, list), src_shape);
    }
    return out;
  }
  void release_saved() override { index.reset(); }
};

namespace {

Combine parse_scatter_reduce(const std::string& reduce, const char* op) {
  if (reduce.empty()) return Combine::assign;
  if (reduce == "add") return Combine::add;
  TERCEL_CHECK(reduce == "multiply", Value, op, ": reduce must be 'add' or 'multiply', got '",
               reduce, "'");
  return Combine::multiply;
}

Ref<Node> scatter_node_and_run(const Tensor& out, const Tensor& x, int64_t dim, const Tensor& index,
                               const Tensor& src, Combine combine, const char* op) {
  const ScatterPlan s = check_scatter(x, dim, index, src, op);
  Ref<Node> result;
  if (is_float(x.dtype()) && grad_needed(x, src)) {
    TERCEL_CHECK(combine != Combine::multiply, NotImplemented, op,
                 ": reduce='multiply' has no gradient; use scatter_reduce(reduce='prod')");
    auto node = make_node<ScatterNode>({&x, &src});
    if (combine == Combine::assign || node->needs(1)) node->index.save(s.index);
    node->src_shape = src.shape();
    node->dim = s.dim;
    node->add = combine == Combine::add;
    node->value = s.value;
    result = node;
  }
  run_scatter(out, s, src, combine);
  return result;
}

}  // namespace

Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
               const std::string& reduce) {
  const Combine combine = parse_scatter_reduce(reduce, "scatter");
  Tensor out = clone(make_alias(x));
  if (Ref<Node> n = scatter_node_and_run(out, x, dim, index, src, combine, "scatter"))
    set_history(out, n);
  return out;
}
Tensor scatter_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
                const std::string& reduce) {
  const Combine combine = parse_scatter_reduce(reduce, "scatter_");
  check_inplace(x, "scatter_");
  finish_inplace(x, scatter_node_and_run(x, x, dim, index, src, combine, "scatter_"), "scatter_");
  return x;
}
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  Tensor out = clone(make_alias(x));
  if (Ref<Node> n = scatter_node_and_run(out, x, dim, index, src, Combine::add, "scatter_add"))
    set_history(out, n);
  return out;
}
Tensor scatter_add_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src) {
  check_inplace(x, "scatter_add_");
  finish_inplace(x, scatter_node_and_run(x, x, dim, index, src, Combine::add, "scatter_add_"),
                 "scatter_add_");
  return x;
}

}  // namespace tercel
