// Finite differences, integrals on a grid, products of vectors and sample statistics, written with
// public ops: gradients of any order come free, any strides.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "core/autograd.h"

namespace tercel {

// n-th forward difference along dim: y[i] = x[i + 1] - x[i]; of bools: exclusive or. prepend and
// append are joined to x first. n beyond the length gives an empty result.
Tensor diff(const Tensor& x, int64_t n = 1, int64_t dim = -1, const Tensor& prepend = {},
            const Tensor& append = {});

// Numerical gradient along each of dims: central differences, one-sided of order edge_order at the
// ends. Points lie `spacing` apart (one number, or one per dim) or at `coordinates` (one 1-d tensor
// per dim; then spacing is not read). Integers are computed in the default dtype.
TensorList gradient(const Tensor& x, const std::vector<double>& spacing,
                    const TensorList& coordinates, const Dims& dims, int64_t edge_order = 1);

// (mantissa in [1/2, 1), int32 exponent): x = mantissa 2^exponent, exactly; zero, infinities and
// NaN are their own mantissa, with exponent 0.
std::pair<Tensor, Tensor> frexp(const Tensor& x);

// Integral by the trapezoidal rule along dim over the abscissae x (of y's shape, or 1-d) or a
// constant spacing dx; cumulative: the running integral, one entry shorter than y.
Tensor trapezoid(const Tensor& y, const Tensor& x, int64_t dim = -1);
Tensor trapezoid(const Tensor& y, double dx = 1, int64_t dim = -1);
Tensor cumulative_trapezoid(const Tensor& y, const Tensor& x, int64_t dim = -1);
Tensor cumulative_trapezoid(const Tensor& y, double dx = 1, int64_t dim = -1);

// Product of 3-vectors along dim (none: the first dim of size 3); a and b broadcast.
Tensor cross(const Tensor& a, const Tensor& b, std::optional<int64_t> dim = {});

// Sub-tensors along dim whose p-norm is above maxnorm are scaled down to it.
Tensor renorm(const Tensor& x, double p, int64_t dim, double maxnorm);

// Covariance of variables (rows) over observations (columns); 1-d: one variable, 0-d result.
// fweights (integers) repeat observations, aweights weigh them; divisor as in numpy.cov.
Tensor cov(const Tensor& x, int64_t correction = 1, const Tensor& fweights = {},
           const Tensor& aweights = {});
Tensor corrcoef(const Tensor& x);  // covariance of the standardised variables, within [-1, 1]

// Samples that are almost one-hot (Jang et al. 2017; Maddison et al. 2017):
// softmax((logits + Gumbel noise) / tau). hard: one-hot forward, gradient of the soft sample.
Tensor gumbel_softmax(const Tensor& logits, double tau = 1, bool hard = false, int64_t dim = -1);

// One index tensor per dim of `shape` for flat row-major indices.
TensorList unravel_index(const Tensor& indices, const Dims& shape);

}  // namespace tercel
