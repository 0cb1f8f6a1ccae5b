#include "ops/numeric/numeric.h"

#include <algorithm>

#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/loss/loss.h"
#include "ops/matmul/matmul.h"
#include "ops/random/random.h"
#include "ops/reduce/reduce.h"
#include "ops/shape/shape_ops.h"
#include "ops/softmax/softmax.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// x without its last / first entry along dim, and the same cut of another tensor.
Tensor but_last(const Tensor& x, int64_t dim) { return narrow(x, dim, 0, x.size(dim) - 1); }
Tensor but_first(const Tensor& x, int64_t dim) { return narrow(x, dim, 1, x.size(dim) - 1); }

// Areas of the trapezoids between neighbours along dim; x undefined: spacing dx.
Tensor trapezoids(const Tensor& y, const Tensor& x, double dx, int64_t dim, const char* op) {
  TERCEL_CHECK(y.dim() > 0, Shape, op,
               ": expected y with at least one dimension, got a 0-d tensor");
  const int d = normalize_dim(dim, y.dim(), op);
  if (y.size(d) == 0) return narrow(y, d, 0, 0);
  Tensor twice = add(but_last(y, d), but_first(y, d));
  if (!x.defined()) return mul(twice, dx / 2);
  TERCEL_CHECK(x.dim() == 1 || x.shape() == y.shape(), Shape, op, ": expected x of shape ",
               y.shape(), " or 1-d, got ", x.shape());
  TERCEL_CHECK(x.dim() > 1 || x.size(0) == y.size(d), Shape, op, ": expected ", y.size(d),
               " abscissae for dimension ", d, ", got ", x.size(0));
  Tensor step = x.dim() > 1 ? sub(but_first(x, d), but_last(x, d)) : diff(x);
  if (x.dim() == 1) {
    Shape shape = Dims::filled(y.dim(), 1);
    shape[d] = step.numel();
    step = reshape(step, shape);
  }
  return mul(mul(twice, step), 0.5);
}

Tensor weights_of(const Tensor& w, int64_t n, bool integers, const char* name) {
  TERCEL_CHECK(w.dim() <= 1 && w.numel() == n, Shape, "cov: expected ", n, " ", name,
               ", got shape ", w.shape());
  TERCEL_CHECK(integers ? is_int(w.dtype()) : is_float(w.dtype()), DType, "cov: ", name,
               " must be ", integers ? "integers" : "floats", ", got ", dtype_name(w.dtype()));
  return reshape(w, {n});
}

}  // namespace

Tensor diff(const Tensor& x, int64_t n, int64_t dim, const Tensor& prepend, const Tensor& append) {
  TERCEL_CHECK(x.dim() > 0, Shape, "diff: expected at least one dimension, got a 0-d tensor");
  TERCEL_CHECK(n >= 0, Value, "diff: n must not be negative, got ", n);
  const int d = normalize_dim(dim, x.dim(), "diff");
  Tensor y = x;
  if (prepend.defined() || append.defined()) {
    TensorList parts;
    if (prepend.defined()) parts.push_back(prepend);
    parts.push_back(x);
    if (append.defined()) parts.push_back(append);
    y = cat(parts, d);
  }
  if (n == 0) return y.is_same(x) ? clone(x) : y;
  for (int64_t i = 0; i < n && y.size(d) > 0; ++i) {
    y = y.dtype() == DType::b8 ? logical_xor(but_first(y, d), but_last(y, d))
                               : sub(but_first(y, d), but_last(y, d));
  }
  return y;
}

Tensor trapezoid(const Tensor& y, const Tensor& x, int64_t dim) {
  return sum(trapezoids(y, x, 1, dim, "trapezoid"), {dim});
}

Tensor trapezoid(const Tensor& y, double dx, int64_t dim) {
  return sum(trapezoids(y, {}, dx, dim, "trapezoid"), {dim});
}

Tensor cumulative_trapezoid(const Tensor& y, const Tensor& x, int64_t dim) {
  return cumsum(trapezoids(y, x, 1, dim, "cumulative_trapezoid"), dim);
}

Tensor cumulative_trapezoid(const Tensor& y, double dx, int64_t dim) {
  return cumsum(trapezoids(y, {}, dx, dim, "cumulative_trapezoid"), dim);
}

Tensor cross(const Tensor& a, const Tensor& b, std::optional<int64_t> dim) {
  const TensorList both = broadcast_tensors({a, b});
  const Shape& shape = both[0].shape();
  int d = 0;
  if (dim) {
    d = normalize_dim(*dim, shape.size(), "cross");
  } else {
    while (d < shape.size() && shape[d] != 3) ++d;
  }
  TERCEL_CHECK(d < shape.size() && shape[d] == 3, Shape,
               "cross: expected a dimension of size 3, got shape ", shape);
  const TensorList u = unbind(both[0], d), v = unbind(both[1], d);
  auto minor = [&](int i, int j) { return sub(mul(u[i], v[j]), mul(u[j], v[i])); };
  return stack({minor(1, 2), minor(2, 0), minor(0, 1)}, d);
}

Tensor renorm(const Tensor& x, double p, int64_t dim, double maxnorm) {
  TERCEL_CHECK(is_float(x.dtype()), DType, "renorm: expected a float tensor, got ",
               dtype_name(x.dtype()));
  TERCEL_CHECK(p > 0, Value, "renorm: p must be positive, got ", p);
  TERCEL_CHECK(maxnorm >= 0, Value, "renorm: maxnorm must not be negative, got ", maxnorm);
  TERCEL_CHECK(x.dim() > 1, Shape, "renorm: expected at least 2 dimensions, got shape ", x.shape());
  const int d = normalize_dim(dim, x.dim(), "renorm");
  Dims others;
  for (int i = 0; i < x.dim(); ++i)
    if (i != d) others.push_back(i);
  const Tensor length = vector_norm(x, p, others, /*keepdim=*/true);
  const Tensor scale = div(Scalar(maxnorm), add(length, 1e-7));
  return where(gt(length, maxnorm), mul(x, scale), x);
}

Tensor cov(const Tensor& x, int64_t correction, const Tensor& fweights, const Tensor& aweights) {
  TERCEL_CHECK(x.dim() <= 2, Shape, "cov: expected at most 2 dimensions, got shape ", x.shape());
  TERCEL_CHECK(x.dtype() != DType::b8, DType, "cov: bool tensors are not supported");
  const DType dtype = is_float(x.dtype()) ? x.dtype() : default_dtype();
  Tensor rows = to(x.dim() == 2 ? x : reshape(x, {1, x.numel()}), dtype);
  const int64_t n = rows.size(1);
  Tensor w;
  if (fweights.defined()) w = to(weights_of(fweights, n, true, "fweights"), dtype);
  if (aweights.defined()) {
    const Tensor a = to(weights_of(aweights, n, false, "aweights"), dtype);
    w = w.defined() ? mul(w, a) : a;
  }
  const Tensor total = w.defined() ? sum(w) : full({}, Scalar(double(n)), dtype);
  const Tensor mean_of =
      w.defined() ? div(sum(mul(rows, w), {1}, true), total) : mean(rows, {1}, true);
  const Tensor centred = sub(rows, mean_of);
  // numpy.cov: sum w - correction * sum(w a) / sum w
  Tensor lost = full({}, Scalar(double(correction)), dtype);
  if (aweights.defined())
    lost = mul(div(sum(mul(w, to(reshape(aweights, {n}), dtype))), total), double(correction));
  const Tensor divisor = clamp_min(sub(total, lost), full({}, Scalar(0.0), dtype));
  const Tensor y = div(matmul(w.defined() ? mul(centred, w) : centred, mT(centred)), divisor);
  return x.dim() == 2 ? y : reshape(y, {});
}

Tensor corrcoef(const Tensor& x) {
  const Tensor c = cov(x);
  if (c.dim() == 0) return div(c, c);
  const Tensor sigma = sqrt(diagonal(c));
  const Tensor y = div(div(c, unsqueeze(sigma, 1)), unsqueeze(sigma, 0));
  return clamp(y, full({}, Scalar(-1.0), y.dtype()), full({}, Scalar(1.0), y.dtype()));
}

Tensor gumbel_softmax(const Tensor& logits, double tau, bool hard, int64_t dim) {
  TERCEL_CHECK(is_float(logits.dtype()), DType, "gumbel_softmax: expected a float tensor, got ",
               dtype_name(logits.dtype()));
  TERCEL_CHECK(tau > 0, Value, "gumbel_softmax: tau must be positive, got ", tau);
  // -log of an exponential sample is a Gumbel sample.
  const Tensor noise =
      neg(log(exponential_(empty(logits.shape(), logits.dtype(), logits.device()))));
  const Tensor soft = softmax(div(add(logits, noise), tau), dim);
  if (!hard) return soft;
  const Tensor index = argmax(soft, dim, /*keepdim=*/true);
  const Tensor one = scatter(zeros_like(soft), dim, index,
                             expand(full({}, 1.0, soft.dtype(), soft.device()), index.shape()));
  return add(sub(one, soft.detach()), soft);
}

TensorList unravel_index(const Tensor& indices, const Dims& shape) {
  TERCEL_CHECK(is_int(indices.dtype()), DType, "unravel_index: expected integer indices, got ",
               dtype_name(indices.dtype()));
  const int64_t n = checked_numel(shape, "unravel_index");
  if (indices.numel() > 0) {
    const auto [low, high] = aminmax(indices);
    const int64_t a = item(low).to_int(), b = item(high).to_int();
    TERCEL_CHECK(a >= 0 && b < n, Index, "unravel_index: index ", a < 0 ? a : b,
                 " is outside the shape ", shape);
  }
  TensorList out;
  int64_t stride = n;
  for (int64_t size : shape) {
    stride = size > 0 ? stride / size : 0;
    out.push_back(size > 0 ? remainder(floor_divide(indices, full({}, stride, DType::i64)),
                                       full({}, size, DType::i64))
                           : indices);
  }
  return out;
}

}  // namespace tercel
