// Numerical gradient of samples on a grid: central differences inside, one-sided ones of first or
// second order at the ends (Fornberg 1988, "Generation of finite difference formulas on arbitrarily
// spaced grids").
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/numeric/numeric.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

Tensor constant(double value, const Tensor& like) {
  return full({}, Scalar(value), like.dtype(), like.device());
}

// Distances between neighbours as [n - 1] in the dtype of x; one number for a constant spacing.
struct Spacing {
  Tensor steps;
  double step = 1;

  Tensor part(int64_t start, int64_t length, int rank, int d) const {
    Shape shape = Dims::filled(rank, 1);
    shape[d] = length;
    return reshape(narrow(steps, 0, start, length), shape);
  }
};

Tensor one_dim(const Tensor& x, const Spacing& s, int d, int edge_order) {
  const int64_t n = x.size(d);
  TERCEL_CHECK(n > edge_order, Shape, "gradient: edge_order ", edge_order, " expects at least ",
               edge_order + 1, " elements in dimension ", d, ", got ", n);
  const auto at = [&](int64_t start, int64_t length) { return narrow(x, d, start, length); };
  const bool even = !s.steps.defined();
  // Distances before and after three neighbouring points, and the weights of the points.
  const auto gaps = [&](int64_t start, int64_t length) {
    if (even) return std::pair{constant(s.step, x), constant(s.step, x)};
    return std::pair{s.part(start, length, x.dim(), d), s.part(start + 1, length, x.dim(), d)};
  };
  const auto three = [&](int64_t start, int64_t length, const Tensor& a, const Tensor& b,
                         const Tensor& c) {
    return add(add(mul(a, at(start, length)), mul(b, at(start + 1, length))),
               mul(c, at(start + 2, length)));
  };
  TensorList parts;
  const auto first_order_end = [&](int64_t start) {
    const Tensor gap = even ? constant(s.step, x) : s.part(start, 1, x.dim(), d);
    parts.push_back(div(sub(at(start + 1, 1), at(start, 1)), gap));
  };
  if (edge_order == 1) {
    first_order_end(0);
  } else {
    const auto [p, q] = gaps(0, 1);
    const Tensor both = add(p, q);
    parts.push_back(three(0, 1, neg(div(add(p, both), mul(p, both))), div(both, mul(p, q)),
                          neg(div(p, mul(q, both)))));
  }
  if (n > 2) {
    if (even) {
      parts.push_back(div(sub(at(2, n - 2), at(0, n - 2)), constant(2 * s.step, x)));
    } else {
      const auto [p, q] = gaps(0, n - 2);
      const Tensor both = add(p, q);
      parts.push_back(three(0, n - 2, neg(div(q, mul(p, both))), div(sub(q, p), mul(p, q)),
                            div(p, mul(q, both))));
    }
  }
  if (edge_order == 1) {
    first_order_end(n - 2);
  } else {
    const auto [p, q] = gaps(n - 3, 1);
    const Tensor both = add(p, q);
    parts.push_back(three(n - 3, 1, div(q, mul(p, both)), neg(div(both, mul(p, q))),
                          div(add(q, both), mul(q, both))));
  }
  return cat(parts, d);
}

}  // namespace

TensorList gradient(const Tensor& input, const std::vector<double>& spacing,
                    const TensorList& coordinates, const Dims& dims, int64_t edge_order) {
  TERCEL_CHECK(edge_order == 1 || edge_order == 2, Value,
               "gradient: expected edge_order 1 or 2, got ", edge_order);
  const Tensor x = is_float(input.dtype()) ? input : to(input, default_dtype());
  const size_t given = coordinates.empty() ? spacing.size() : coordinates.size();
  TERCEL_CHECK(given == static_cast<size_t>(dims.size()) || (coordinates.empty() && given == 1),
               Value, "gradient: expected one spacing for each of ", dims.size(),
               " dimensions, got ", given);
  TensorList out;
  for (int i = 0; i < dims.size(); ++i) {
    const int d = normalize_dim(dims[i], x.dim(), "gradient");
    for (int j = 0; j < i; ++j)
      TERCEL_CHECK(normalize_dim(dims[j], x.dim(), "gradient") != d, Value, "gradient: dimension ",
                   d, " is named twice");
    Spacing s;
    if (coordinates.empty()) {
      s.step = spacing[given == 1 ? 0 : static_cast<size_t>(i)];
    } else {
      const Tensor& points = coordinates[static_cast<size_t>(i)];
      TERCEL_CHECK(points.dim() == 1 && points.size(0) == x.size(d), Shape, "gradient: expected ",
                   x.size(d), " coordinates for dimension ", d, ", got shape ", points.shape());
      s.steps = diff(to(points, x.dtype()));
    }
    out.push_back(one_dim(x, s, d, static_cast<int>(edge_order)));
  }
  return out;
}

}  // namespace tercel
