// scatter_reduce and its gradient.
//
// With y the result and n the number of values that met in an element:
//   sum: dx = g, dsrc = g[i]    mean: both divided by n
//   amax, amin: shared evenly among the values equal to y
//   prod: g * product of the others, as g y / v where v != 0, else the product of the values
//   without the zeros
#include <cmath>

#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/index/scatter_plan.h"
#include "ops/view/view.h"

namespace tercel {

struct ScatterReduceNode final : Node {
  Saved x, src, index, y;
  std::string reduce;
  int dim = 0;
  bool include_self = true;
  const char* name() const override { return "ScatterReduceBackward"; }
  TensorList backward(const TensorList& grads) override;
  void release_saved() override {
    x.reset();
    src.reset();
    index.reset();
    y.reset();
  }
};

namespace {

Tensor zero_of(const Tensor& t) { return zeros({}, t.dtype()); }
Tensor one_of(const Tensor& t) { return ones({}, t.dtype()); }

// Number of values that met in each element of x, at least 1.
Tensor meeting_count(const Tensor& x, int64_t dim, const Tensor& index, bool include_self) {
  const Tensor start = include_self ? ones_like(x) : zeros_like(x);
  const Tensor n = scatter_add(start, dim, index, ones(index.shape(), x.dtype(), x.device()));
  return masked_fill(n, eq(n, zero_of(n)), one_of(n));
}

// Largest or smallest value of a dtype, as a 0-d tensor.
Tensor extreme_value(DType dtype, bool largest) {
  if (is_float(dtype)) return full({}, Scalar(largest ? HUGE_VAL : -HUGE_VAL), dtype);
  if (is_bool(dtype)) return full({}, Scalar(largest), dtype);
  const int bits = static_cast<int>(dtype_size(dtype)) * 8 - (is_unsigned(dtype) ? 0 : 1);
  const int64_t high = static_cast<int64_t>((uint64_t{1} << bits) - 1);
  return full({}, Scalar(largest ? high : is_unsigned(dtype) ? 0 : -high - 1), dtype);
}

// src cut to the part that index covers.
Tensor covered(const Tensor& src, const Tensor& index) {
  Tensor s = src;
  for (int d = 0; d < index.dim(); ++d) s = narrow(s, d, 0, index.size(d));
  return s;
}

// Products of everything but the value itself, for x (first) and src (second). With zeros present
// the quotient y / v fails: an element with exactly one zero passes the product of the rest to that
// zero.
std::pair<Tensor, Tensor> products_of_others(const Tensor& x, int64_t dim, const Tensor& index,
                                             const Tensor& src, bool include_self) {
  const Tensor x_zero = eq(x, zero_of(x)), s_zero = eq(src, zero_of(src));
  const Tensor x1 = masked_fill(x, x_zero, one_of(x)), s1 = masked_fill(src, s_zero, one_of(src));
  const Tensor start = include_self ? x1 : ones_like(x);
  const Tensor product = scatter_reduce(start, dim, index, s1, "prod", true);
  const Tensor x_count = to(x_zero, x.dtype()), s_count = to(s_zero, x.dtype());
  const Tensor zeros_in = scatter_add(include_self ? x_count : zeros_like(x), dim, index, s_count);
  // Others of a value contain no zero iff the element's zeros are that value's own.
  const Tensor x_clear = eq(zeros_in, x_count);
  const Tensor s_clear = eq(gather(zeros_in, dim, index), s_count);
  const Tensor x_others = masked_fill(div(product, x1), logical_not(x_clear), zero_of(x));
  const Tensor s_others =
      masked_fill(div(gather(product, dim, index), s1), logical_not(s_clear), zero_of(x));
  return {x_others, s_others};
}

}  // namespace

TensorList ScatterReduceNode::backward(const TensorList& grads) {
  const DType dtype = grads[0].dtype();
  const DType wide =
      sums_in_float(dtype) ? DType::f32 : dtype;  // counts and quotients need the digits
  const Tensor ix = index.get(*this);
  const Tensor g = to(grads[0], wide), xs = to(x.get(*this), wide), ss = to(src.get(*this), wide);
  const Tensor sc = covered(ss, ix);
  Tensor gx, gs;
  if (reduce == "sum") {
    gx = g;
    gs = gather(g, dim, ix);
  } else if (reduce == "mean") {
    const Tensor share = div(g, meeting_count(xs, dim, ix, include_self));
    gx = share;
    gs = gather(share, dim, ix);
  } else if (reduce == "prod") {
    const auto [others_x, others_s] = products_of_others(xs, dim, ix, sc, include_self);
    gx = mul(g, others_x);
    gs = mul(gather(g, dim, ix), others_s);
  } else {
    const Tensor result = to(y.get(*this), wide);
    const Tensor x_hit = to(eq(xs, result), g.dtype()),
                 s_hit = to(eq(sc, gather(result, dim, ix)), g.dtype());
    const Tensor hits = scatter_add(include_self ? x_hit : zeros_like(xs), dim, ix, s_hit);
    const Tensor share = div(g, masked_fill(hits, eq(hits, zero_of(hits)), one_of(hits)));
    gx = mul(x_hit, share);
    gs = mul(s_hit, gather(share, dim, ix));
  }
  // Elements that were hit lose their old value when it does not take part.
  if (!include_self) gx = scatter(g, dim, ix, zero_of(g));
  TensorList out(2);
  if (needs(0)) out[0] = to(gx, dtype);
  if (needs(1)) out[1] = to(place_in_corner(gs, ss.shape()), dtype);
  return out;
}

namespace {

// out (already holding x) reduced with src; no history.
void reduce_values(const Tensor& out, const ScatterPlan& s, const Tensor& src,
                   const std::string& reduce, Combine combine, bool include_self) {
  const Tensor count =
      reduce == "mean" ? meeting_count(make_alias(out), s.dim, s.index, include_self) : Tensor();
  if (!include_self) {
    // The first value to arrive must find the neutral element.
    Tensor neutral = zeros({}, out.dtype());
    if (combine == Combine::multiply) neutral = ones({}, out.dtype());
    if (combine == Combine::maximum || combine == Combine::minimum) {
      neutral = extreme_value(out.dtype(), combine == Combine::minimum);
    }
    run_scatter(out, ScatterPlan{s.dim, s.index, true}, neutral, Combine::assign);
  }
  run_scatter(out, s, src, combine);
  if (count.defined()) {
    Tensor result =
        is_float(out.dtype()) ? div(make_alias(out), count) : floor_divide(make_alias(out), count);
    strided_copy(out, result);
  }
}

Ref<Node> scatter_reduce_into(const Tensor& out, const Tensor& x, int64_t dim, const Tensor& index,
                              const Tensor& src, const std::string& reduce, bool include_self,
                              const char* op) {
  Combine combine = Combine::add;
  if (reduce == "prod")
    combine = Combine::multiply;
  else if (reduce == "amax")
    combine = Combine::maximum;
  else if (reduce == "amin")
    combine = Combine::minimum;
  else
    TERCEL_CHECK(reduce == "sum" || reduce == "mean", Value, op,
                 ": reduce must be sum, prod, mean, amax or amin, got '", reduce, "'");
  const ScatterPlan s = check_scatter(x, dim, index, src, op);
  Ref<ScatterReduceNode> node;
  if (is_float(x.dtype()) && grad_needed(x, src)) {
    node = make_node<ScatterReduceNode>({&x, &src});
    node->index.save(s.index);
    // An in-place call overwrites x: the node then keeps a copy.
    node->x.save(out.is_same(x) ? clone(x) : x);
    node->src.save(src);
    node->reduce = reduce;
    node->dim = s.dim;
    node->include_self = include_self;
  }
  GradMode off(false);
  if (sums_in_float(x.dtype())) {  // one rounding, at the end
    const Tensor wide = to(make_alias(out), DType::f32);
    reduce_values(wide, s, to(make_alias(src), DType::f32), reduce, combine, include_self);
    strided_copy(out, wide);
  } else {
    reduce_values(out, s, src, reduce, combine, include_self);
  }
  if (node) node->y.save(clone(make_alias(out)));
  return node;
}

}  // namespace

Tensor scatter_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
                      const std::string& reduce, bool include_self) {
  Tensor out = clone(make_alias(x));
  Ref<Node> node =
      scatter_reduce_into(out, x, dim, index, src, reduce, include_self, "scatter_reduce");
  if (node) set_history(out, node);
  return out;
}
Tensor scatter_reduce_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
                       const std::string& reduce, bool include_self) {
  check_inplace(x, "scatter_reduce_");
  finish_inplace(
      x, scatter_reduce_into(x, x, dim, index, src, reduce, include_self, "scatter_reduce_"),
      "scatter_reduce_");
  return x;
}

}  // namespace tercel
