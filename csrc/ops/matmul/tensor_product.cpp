// Products built on matrix products: tensordot, inner, kron, matrix_power, multi_dot.
#include <algorithm>
#include <vector>

#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/view/view.h"

namespace tercel {

Tensor tensordot(const Tensor& a, const Tensor& b, const Dims& dims_a, const Dims& dims_b) {
  TERCEL_CHECK(dims_a.size() == dims_b.size(), Value,
               "tensordot: both dim lists must have one length, got ", dims_a.size(), " and ",
               dims_b.size());
  std::vector<bool> used_a(static_cast<size_t>(a.dim()), false),
      used_b(static_cast<size_t>(b.dim()), false);
  Dims order_a, order_b, shape;
  int64_t K = 1, M = 1, N = 1;
  for (int i = 0; i < dims_a.size(); ++i) {
    const int da = normalize_dim(dims_a[i], a.dim(), "tensordot"),
              db = normalize_dim(dims_b[i], b.dim(), "tensordot");
    TERCEL_CHECK(a.dim() > 0 && b.dim() > 0 && !used_a[static_cast<size_t>(da)] &&
                     !used_b[static_cast<size_t>(db)],
                 Value, "tensordot: a dim appears twice in ", dims_a, " or ", dims_b);
    TERCEL_CHECK(a.size(da) == b.size(db), Shape, "tensordot: contracted sizes must be equal, got ",
                 a.shape(), " dim ", da, " and ", b.shape(), " dim ", db);
    used_a[static_cast<size_t>(da)] = used_b[static_cast<size_t>(db)] = true;
    K *= a.size(da);
  }
  for (int d = 0; d < a.dim(); ++d) {
    if (used_a[static_cast<size_t>(d)]) continue;
    order_a.push_back(d);
    shape.push_back(a.size(d));
    M *= a.size(d);
  }
  for (int64_t d : dims_a) order_a.push_back(normalize_dim(d, a.dim(), "tensordot"));
  for (int64_t d : dims_b) order_b.push_back(normalize_dim(d, b.dim(), "tensordot"));
  for (int d = 0; d < b.dim(); ++d) {
    if (used_b[static_cast<size_t>(d)]) continue;
    order_b.push_back(d);
    shape.push_back(b.size(d));
    N *= b.size(d);
  }
  return reshape(matmul(reshape(permute(a, order_a), {M, K}), reshape(permute(b, order_b), {K, N})),
                 shape);
}

Tensor tensordot(const Tensor& a, const Tensor& b, int64_t dims) {
  TERCEL_CHECK(dims >= 0 && dims <= a.dim() && dims <= b.dim(), Value,
               "tensordot: dims must be in [0, ", std::min(a.dim(), b.dim()), "], got ", dims);
  Dims dims_a, dims_b;
  for (int64_t i = 0; i < dims; ++i) {
    dims_a.push_back(a.dim() - dims + i);
    dims_b.push_back(i);
  }
  return tensordot(a, b, dims_a, dims_b);
}

Tensor inner(const Tensor& a, const Tensor& b) {
  if (a.dim() == 0 || b.dim() == 0) return mul(a, b);
  TERCEL_CHECK(a.size(-1) == b.size(-1), Shape, "inner: last sizes must be equal, got ", a.shape(),
               " and ", b.shape());
  return a.dim() == 1 && b.dim() == 1 ? dot(a, b) : tensordot(a, b, {-1}, {-1});
}

// out[i p + k] = a[i] b[k] in every dim: a[i, 1] * b[1, k] merged.
Tensor kron(const Tensor& a, const Tensor& b) {
  const int rank = std::max(a.dim(), b.dim());
  TERCEL_CHECK(2 * rank <= kMaxDims, Shape, "kron: at most ", kMaxDims / 2,
               " dims are supported, got ", rank);
  Shape sa, sb, shape;
  for (int d = 0; d < rank; ++d) {
    const int da = d - (rank - a.dim()), db = d - (rank - b.dim());
    sa.push_back(da >= 0 ? a.size(da) : 1);
    sa.push_back(1);
    sb.push_back(1);
    sb.push_back(db >= 0 ? b.size(db) : 1);
    shape.push_back(checked_mul(sa[2 * d], sb[2 * d + 1], "kron"));
  }
  checked_numel(shape, "kron");
  return reshape(mul(reshape(a, sa), reshape(b, sb)), shape);
}

Tensor matrix_power(const Tensor& a, int64_t n) {
  TERCEL_CHECK(a.dim() >= 2 && a.size(-1) == a.size(-2), Shape,
               "matrix_power: input must be square matrices, got shape ", a.shape());
  TERCEL_CHECK(n >= 0, NotImplemented, "matrix_power: n must be >= 0 (no matrix inverse yet), got ",
               n);
  if (n == 0) {
    Tensor eye = zeros(a.shape(), a.dtype(), a.device());
    Tensor ones_on = diagonal(eye, 0, -2, -1);
    fill_(ones_on, Scalar(1));
    return eye;
  }
  Tensor power = a, result;
  for (;; n >>= 1) {
    if (n & 1) result = result.defined() ? matmul(result, power) : power;
    if (n == 1) break;
    power = matmul(power, power);
  }
  return result.is_same(a) ? clone(a) : result;
}

Tensor multi_dot(const TensorList& matrices) {
  const size_t n = matrices.size();
  TERCEL_CHECK(n >= 2, Value, "multi_dot: expected at least 2 tensors, got ", n);
  std::vector<Tensor> m(matrices.begin(), matrices.end());
  for (size_t i = 0; i < n; ++i) {
    const bool end = i == 0 || i + 1 == n;
    TERCEL_CHECK(m[i].dim() == 2 || (end && m[i].dim() == 1), Shape, "multi_dot: tensor ", i,
                 end ? " must have 1 or 2 dims" : " must have 2 dims", ", got shape ",
                 m[i].shape());
  }
  const bool row = m[0].dim() == 1, column = m[n - 1].dim() == 1;
  if (row) m[0] = unsqueeze(m[0], 0);
  if (column) m[n - 1] = unsqueeze(m[n - 1], 1);
  for (size_t i = 0; i + 1 < n; ++i) {
    TERCEL_CHECK(m[i].size(1) == m[i + 1].size(0), Shape, "multi_dot: tensors ", i, " and ", i + 1,
                 " do not fit, got shapes ", m[i].shape(), " and ", m[i + 1].shape());
  }
  // cost[i][j]: cheapest way to multiply i..j, split[i][j] its last cut (textbook dynamic
  // programme).
  std::vector<double> cost(n * n, 0.0);
  std::vector<size_t> split(n * n, 0);
  const auto size = [&](size_t i) {
    return static_cast<double>(i < n ? m[i].size(0) : m[n - 1].size(1));
  };
  for (size_t length = 2; length <= n; ++length) {
    for (size_t i = 0; i + length <= n; ++i) {
      const size_t j = i + length - 1;
      double best = -1;
      for (size_t k = i; k < j; ++k) {
        const double c =
            cost[i * n + k] + cost[(k + 1) * n + j] + size(i) * size(k + 1) * size(j + 1);
        if (best < 0 || c < best) {
          best = c;
          split[i * n + j] = k;
        }
      }
      cost[i * n + j] = best;
    }
  }
  // Depth is at most the number of operands of one call.
  struct Multiply {
    const std::vector<Tensor>& m;
    const std::vector<size_t>& split;
    Tensor operator()(size_t i, size_t j) const {
      if (i == j) return m[i];
      const size_t k = split[i * m.size() + j];
      return mm((*this)(i, k), (*this)(k + 1, j));
    }
  };
  Tensor y = Multiply{m, split}(0, n - 1);
  if (column) y = squeeze(y, {1});
  if (row) y = squeeze(y, {0});
  return y;
}

}  // namespace tercel
