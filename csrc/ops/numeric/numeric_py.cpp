// Python bindings of finite differences, integrals, vector products and sample statistics.
#include "ops/numeric/numeric.h"

#include <variant>

#include "ops/copy/copy.h"
#include "ops/copy/out.h"
#include "python/out.h"
#include "python/optional.h"

namespace tercel {

namespace {
using Optional = std::optional<Tensor>;

Tensor trapezoid_any(const Tensor& y, const Optional& x, double dx, int64_t dim) {
  return x ? trapezoid(y, *x, dim) : trapezoid(y, dx, dim);
}

// spacing: a number, or a sequence of numbers or of coordinate tensors.
TensorList gradient_any(const Tensor& x,
                        const std::variant<double, std::vector<double>, TensorList>& spacing,
                        const std::optional<Dims>& dim, int64_t edge_order) {
  Dims dims;
  if (dim) {
    dims = *dim;
  } else {
    for (int d = 0; d < x.dim(); ++d) dims.push_back(d);
  }
  if (const auto* points = std::get_if<TensorList>(&spacing))
    return gradient(x, {}, *points, dims, edge_order);
  if (const auto* steps = std::get_if<std::vector<double>>(&spacing))
    return gradient(x, *steps, {}, dims, edge_order);
  return gradient(x, {std::get<double>(spacing)}, {}, dims, edge_order);
}
}  // namespace

void bind_numeric(Binder& b) {
  both_out(
      b, "diff",
      [](const Tensor& x, int64_t n, int64_t dim, const Optional& prepend, const Optional& append) {
        return diff(x, n, dim, tensor_or_undefined(prepend), tensor_or_undefined(append));
      },
      py::arg("input"), py::arg("n") = 1, py::arg("dim") = -1, py::arg("prepend") = py::none(),
      py::arg("append") = py::none(),
      R"(n-th forward difference along dim: y[i] = x[i + 1] - x[i]; of bools, where neighbours differ.

prepend, append: tensors joined to input along dim first.  Returns n entries fewer along dim (none
when there are not that many).  Gradients of any order.

>>> tercel.diff(tercel.tensor([1, 4, 9]))            # tensor([3, 5]))");
  b.function(
      "gradient", gradient_any, py::arg("input"), py::kw_only(), py::arg("spacing") = 1.0,
      py::arg("dim") = py::none(), py::arg("edge_order") = 1,
      R"(Numerical gradient of samples, one tensor of input's shape for each dim (all by default).

Central differences, at the ends one-sided of order edge_order (1 or 2).  spacing: distance of the
points, one number or one per dim, or a sequence of 1-d tensors of coordinates, one per dim.
Raises ShapeError for fewer than edge_order + 1 points.

>>> tercel.gradient(tercel.tensor([1., 2., 4., 8.]))       # (tensor([1.0, 1.5, 3.0, 4.0]),))");
  const py::object pair = result_tuple("frexp", "mantissa exponent");
  b.both(
      "frexp",
      [pair](const Tensor& x, const OptionalOutPair& out) -> py::object {
        const auto [mantissa, exponent] = frexp(x);
        if (!out) return pair(mantissa, exponent);
        return pair(into_out(mantissa, out->first, "frexp"),
                    into_out(exponent, out->second, "frexp"));
      },
      py::arg("input"), py::kw_only(), py::arg("out") = py::none(),
      R"((mantissa, exponent) with input = mantissa * 2**exponent exactly, |mantissa| in [1/2, 1).

exponent is int32.  Zero, infinities and NaN are their own mantissa, with exponent 0.)");
  for (const char* name : {"trapezoid", "trapz"}) {
    b.function(name, trapezoid_any, py::arg("y"), py::arg("x") = py::none(), py::kw_only(),
               py::arg("dx") = 1.0, py::arg("dim") = -1,
               R"(Integral of samples y along dim by the trapezoidal rule.

x: abscissae, of y's shape or 1-d; without it the samples lie dx apart.  Drops dim.

>>> tercel.trapezoid(tercel.tensor([0., 1., 4.]), dx=2)     # tensor(6.))");
  }
  b.function(
      "cumulative_trapezoid",
      [](const Tensor& y, const Optional& x, double dx, int64_t dim) {
        return x ? cumulative_trapezoid(y, *x, dim) : cumulative_trapezoid(y, dx, dim);
      },
      py::arg("y"), py::arg("x") = py::none(), py::kw_only(), py::arg("dx") = 1.0,
      py::arg("dim") = -1, "Running trapezoid(): one entry fewer than y along dim.");
  both_out(b, "cross", &cross, py::arg("input"), py::arg("other"), py::arg("dim") = py::none(),
           "Product of 3-vectors along dim (None: the first dimension of size 3); the operands "
           "broadcast.");
  b.method(
      "renorm_",
      [](Tensor self, double norm_order, int64_t dim, double maxnorm) {
        return copy_(self, renorm(kept(self), norm_order, dim, maxnorm));
      },
      py::arg("p"), py::arg("dim"), py::arg("maxnorm"), "In-place renorm.");
  both_out(b, "renorm", &renorm, py::arg("input"), py::arg("p"), py::arg("dim"), py::arg("maxnorm"),
           "Scales the sub-tensors along dim whose p-norm is above maxnorm down to it. Float "
           "tensors of at least 2 dimensions.");
  b.both(
      "cov",
      [](const Tensor& x, int64_t correction, const Optional& f, const Optional& a) {
        return cov(x, correction, tensor_or_undefined(f), tensor_or_undefined(a));
      },
      py::arg("input"), py::kw_only(), py::arg("correction") = 1, py::arg("fweights") = py::none(),
      py::arg("aweights") = py::none(),
      R"(Covariance matrix [V, V] of V variables (rows of input [V, N]) over N observations.

correction: subtracted from N in the divisor.  fweights [N], integers: how often each observation
counts.  aweights [N], floats: its importance.  A 1-d input gives the 0-d variance.)");
  b.both("corrcoef", &corrcoef, py::arg("input"),
         "Correlation coefficients [V, V] of the rows of input [V, N], within [-1, 1]; 0-d for a "
         "1-d input.");
  b.function(
      "gumbel_softmax",
      [](const Tensor& logits, double tau, bool hard, double, int64_t dim) {
        return gumbel_softmax(logits, tau, hard, dim);
      },
      py::arg("logits"), py::arg("tau") = 1.0, py::arg("hard") = false, py::arg("eps") = 1e-10,
      py::arg("dim") = -1,
      R"(Differentiable samples of categories: softmax((logits + Gumbel noise) / tau) along dim.

logits: [..., C], unnormalised log probabilities.  tau > 0: temperature.  hard: one-hot samples with
the gradient of the soft ones.  eps is accepted for compatibility and unused.

Jang, Gu, Poole 2017, arXiv:1611.01144; Maddison, Mnih, Teh 2017, arXiv:1611.00712.)");
  b.function("unravel_index", &unravel_index, py::arg("indices"), py::arg("shape"),
             "Flat row-major indices as one index tensor per dimension of shape. IndexError if one "
             "is outside.");
}

}  // namespace tercel
