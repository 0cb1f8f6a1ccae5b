// Norms and gradients of norms written with public ops: local_response_norm and the second
// path of the fused backward passes, taken when a gradient is itself differentiated.
#include "ops/elementwise/elementwise.h"
#include "ops/norm/norm_common.h"
#include "ops/reduce/reduce.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace norm_detail {

namespace {

// Mean over dims, kept.
Tensor average(const Tensor& x, const Dims& dims) {
  int64_t n = 1;
  for (int64_t d : dims) n *= x.size(d);
  return mul(sum(x, dims, true), wrap_number(1.0 / static_cast<double>(n)));
}
// dx of xhat = xm rstd for upstream g, where mean and variance are over `dims`.
Tensor input_gradient(const Tensor& g, const Tensor& xhat, const Tensor& rstd, const Dims& dims,
                      bool rms) {
  Tensor t = sub(g, mul(xhat, average(mul(g, xhat), dims)));
  if (!rms) t = sub(t, average(g, dims));
  return mul(rstd, t);
}
Tensor inverse_std(const Tensor& xm, const Dims& dims, double eps) {
  return rsqrt(add(average(mul(xm, xm), dims), wrap_number(eps)));
}

}  // namespace

NormGrads row_norm_grads(const Tensor& dy, const Tensor& x, const Tensor& w, int count, double eps,
                         bool rms) {
  const DType acc = accumulate_dtype(x.dtype());
  const Tensor xa = to(x, acc), ga = to(dy, acc);
  Dims dims;
  Shape normalized;
  for (int i = x.dim() - count; i < x.dim(); ++i) {
    dims.push_back(i);
    normalized.push_back(x.size(i));
  }
  const Tensor xm = rms ? xa : sub(xa, average(xa, dims));
  const Tensor rstd = inverse_std(xm, dims, eps), xhat = mul(xm, rstd);
  const Tensor g = w.defined() ? mul(ga, to(w, acc)) : ga;
  return {to(input_gradient(g, xhat, rstd, dims, rms), x.dtype()),
          sum_to(mul(ga, xhat), normalized), sum_to(ga, normalized)};
}

NormGrads group_norm_grads(const Tensor& dy, const Tensor& x, const Tensor& w, int64_t groups,
                           double eps) {
  const DType acc = accumulate_dtype(x.dtype());
  const int64_t B = x.size(0), C = x.size(1), S = spatial_size(x.shape());
  const Shape grouped{B, groups, C / groups * S}, channels{B, C, S};
  const Tensor xa = reshape(to(x, acc), grouped), ga = reshape(to(dy, acc), channels);
  const Dims dims{2};
  const Tensor xm = sub(xa, average(xa, dims));
  const Tensor rstd = inverse_std(xm, dims, eps), xhat = mul(xm, rstd);
  const Tensor g = w.defined() ? mul(ga, reshape(to(w, acc), {1, C, 1})) : ga;
  const Tensor dx = input_gradient(reshape(g, grouped), xhat, rstd, dims, false);
  return {to(reshape(dx, x.shape()), x.dtype()), sum(mul(ga, reshape(xhat, channels)), {0, 2}),
          sum(ga, {0, 2})};
}

NormGrads batch_norm_grads(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean_c,
                           const Tensor& rstd_c, double eps) {
  const DType acc = accumulate_dtype(dy.dtype());
  const int64_t B = dy.size(0), C = dy.size(1), S = spatial_size(dy.shape());
  const Shape channels{B, C, S}, per_channel{1, C, 1};
  const Dims dims{0, 2};
  const Tensor ga = reshape(to(dy, acc), channels);
  const Tensor g = w.defined() ? mul(ga, reshape(to(w, acc), per_channel)) : ga;
  const Tensor db = sum(ga, dims);
  if (mean_c.defined()) {
    const Tensor rstd = reshape(to(rstd_c, acc), per_channel);
    const Tensor dx = to(reshape(mul(g, rstd), dy.shape()), dy.dtype());
    if (!x.defined()) return {dx, {}, db};
    const Tensor xm = sub(reshape(to(x, acc), channels), reshape(to(mean_c, acc), per_channel));
    return {dx, sum(mul(ga, mul(xm, rstd)), dims), db};
  }
  const Tensor xa = reshape(to(x, acc), channels);
  const Tensor xm = sub(xa, average(xa, dims));
  const Tensor rstd = inverse_std(xm, dims, eps), xhat = mul(xm, rstd);
  const Tensor dx = input_gradient(g, xhat, rstd, dims, false);
  return {to(reshape(dx, dy.shape()), dy.dtype()), sum(mul(ga, xhat), dims), db};
}

}  // namespace norm_detail

Tensor local_response_norm(const Tensor& x, int64_t size, double alpha, double beta, double k) {
  norm_detail::check_input("local_response_norm", x);
  TERCEL_CHECK(x.dim() >= 3, Shape,
               "local_response_norm: input must have at least 3 dims [B, C, ...], got shape ",
               x.shape());
  TERCEL_CHECK(size >= 1, Value, "local_response_norm: size must be at least 1, got ", size);
  if (x.numel() == 0) return clone(x);
  // Channel c sums the squares of channels [c - size / 2, c + (size - 1) / 2].
  const int64_t C = x.size(1), before = size / 2, after = (size - 1) / 2;
  const Tensor xa = to(x, accumulate_dtype(x.dtype())), squares = mul(xa, xa);
  Tensor total = squares;
  for (int64_t d = 1; d < C && (d <= before || d <= after); ++d) {
    Shape rest = x.shape();
    rest[1] = d;
    const Tensor gap = zeros(rest, xa.dtype(), xa.device());
    if (d <= before) total = add(total, cat({gap, narrow(squares, 1, 0, C - d)}, 1));
    if (d <= after) total = add(total, cat({narrow(squares, 1, d, C - d), gap}, 1));
  }
  const Tensor base =
      add(mul(total, wrap_number(alpha / static_cast<double>(size))), wrap_number(k));
  return to(div(xa, pow(base, wrap_number(beta))), x.dtype());
}

Tensor normalize(const Tensor& x, double p, const Dims& dim, double eps) {
  norm_detail::check_input("normalize", x);
  TERCEL_CHECK(eps >= 0, Value, "normalize: eps must not be negative, got ", eps);
  const Tensor xa = to(x, accumulate_dtype(x.dtype()));
  return to(div(xa, clamp_min(vector_norm(xa, p, dim, true), wrap_number(eps))), x.dtype());
}

}  // namespace tercel
