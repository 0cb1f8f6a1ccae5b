// Elementwise ops: arithmetic, comparison, logic, bits, elementary functions, where/clamp/lerp.
//
// Common contract. Operands broadcast (NumPy rules), may be strided and of any dtype; the result
// dtype is PyTorch's (core/tensor.h, result_type); integers become the default float dtype where a
// function is only defined on floats. 16- and 8-bit floats are computed in float32 and rounded
// once. Functions ending in _ write into their first argument. Errors: ShapeError (cannot
// broadcast), DTypeError (undefined for the dtype), RuntimeError (in-place misuse, integer division
// by zero). Cost: memory traffic of the operands. Error bounds of the functions: simd/vmath.h.
#pragma once

#include <optional>

#include "core/autograd.h"
#include "core/scalar.h"

namespace tercel {

// ---- arithmetic (binary.cpp)
// -------------------------------------------------------------------------
Tensor add(const Tensor& a, const Tensor& b);
Tensor add(const Tensor& a, const Tensor& b, const Scalar& alpha);  // a + alpha b
Tensor sub(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b, const Scalar& alpha);
Tensor rsub(const Tensor& a, const Tensor& b, const Scalar& alpha = 1);  // b - alpha a
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor floor_divide(const Tensor& a, const Tensor& b);
Tensor trunc_divide(const Tensor& a, const Tensor& b);
Tensor remainder(const Tensor& a, const Tensor& b);  // sign of b, as Python's %
Tensor fmod(const Tensor& a, const Tensor& b);       // sign of a, as C's fmod
Tensor pow(const Tensor& a, const Tensor& b);
Tensor float_power(const Tensor& a, const Tensor& b);  // in float64
Tensor maximum(const Tensor& a, const Tensor& b);      // NaN if either is NaN
Tensor minimum(const Tensor& a, const Tensor& b);
Tensor fmax(const Tensor& a, const Tensor& b);  // ignores a NaN
Tensor fmin(const Tensor& a, const Tensor& b);
Tensor atan2(const Tensor& a, const Tensor& b);
Tensor hypot(const Tensor& a, const Tensor& b);
Tensor copysign(const Tensor& a, const Tensor& b);
Tensor xlogy(const Tensor& a, const Tensor& b);
Tensor logaddexp(const Tensor& a, const Tensor& b);
Tensor logaddexp2(const Tensor& a, const Tensor& b);
Tensor nextafter(const Tensor& a, const Tensor& b);
Tensor heaviside(const Tensor& a, const Tensor& values);
Tensor ldexp(const Tensor& a, const Tensor& exponent);
Tensor gcd(const Tensor& a, const Tensor& b);
Tensor lcm(const Tensor& a, const Tensor& b);

Tensor& add_(Tensor& a, const Tensor& b);
Tensor& add_(Tensor& a, const Tensor& b, const Scalar& alpha);
Tensor& sub_(Tensor& a, const Tensor& b);
Tensor& mul_(Tensor& a, const Tensor& b);
Tensor& div_(Tensor& a, const Tensor& b);
Tensor& floor_divide_(Tensor& a, const Tensor& b);
Tensor& remainder_(Tensor& a, const Tensor& b);
Tensor& pow_(Tensor& a, const Tensor& b);
Tensor& bitwise_and_(Tensor& a, const Tensor& b);
Tensor& bitwise_or_(Tensor& a, const Tensor& b);
Tensor& bitwise_xor_(Tensor& a, const Tensor& b);

// The same with a number on one side.
Tensor add(const Tensor& a, const Scalar& b);
Tensor sub(const Tensor& a, const Scalar& b);
Tensor sub(const Scalar& a, const Tensor& b);
Tensor mul(const Tensor& a, const Scalar& b);
Tensor div(const Tensor& a, const Scalar& b);
Tensor div(const Scalar& a, const Tensor& b);
Tensor pow(const Tensor& a, const Scalar& b);
Tensor& add_(Tensor& a, const Scalar& b);
Tensor& mul_(Tensor& a, const Scalar& b);

// ---- comparison, logic, bits (binary.cpp)
// --------------------------------------------------------------
Tensor eq(const Tensor& a, const Tensor& b);
Tensor ne(const Tensor& a, const Tensor& b);
Tensor lt(const Tensor& a, const Tensor& b);
Tensor le(const Tensor& a, const Tensor& b);
Tensor gt(const Tensor& a, const Tensor& b);
Tensor ge(const Tensor& a, const Tensor& b);
Tensor eq(const Tensor& a, const Scalar& b);
Tensor ne(const Tensor& a, const Scalar& b);
Tensor lt(const Tensor& a, const Scalar& b);
Tensor le(const Tensor& a, const Scalar& b);
Tensor gt(const Tensor& a, const Scalar& b);
Tensor ge(const Tensor& a, const Scalar& b);
Tensor isclose(const Tensor& a, const Tensor& b, double rtol = 1e-5, double atol = 1e-8,
               bool equal_nan = false);
bool allclose(const Tensor& a, const Tensor& b, double rtol = 1e-5, double atol = 1e-8,
              bool equal_nan = false);
bool equal(const Tensor& a, const Tensor& b);  // same shape and elements
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_xor(const Tensor& a, const Tensor& b);
Tensor bitwise_and(const Tensor& a, const Tensor& b);
Tensor bitwise_or(const Tensor& a, const Tensor& b);
Tensor bitwise_xor(const Tensor& a, const Tensor& b);
Tensor bitwise_left_shift(const Tensor& a, const Tensor& b);
Tensor bitwise_right_shift(const Tensor& a, const Tensor& b);
bool any_zero(const Tensor& t);
bool has_nan(const Tensor& t);

// ---- functions of one tensor (unary.cpp)
// ---------------------------------------------------------------
Tensor abs(const Tensor& x);
Tensor neg(const Tensor& x);
Tensor sign(const Tensor& x);  // 0 for NaN
Tensor square(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor exp2(const Tensor& x);
Tensor expm1(const Tensor& x);
Tensor log(const Tensor& x);
Tensor log2(const Tensor& x);
Tensor log10(const Tensor& x);
Tensor log1p(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);
Tensor reciprocal(const Tensor& x);
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
Tensor tan(const Tensor& x);
Tensor asin(const Tensor& x);
Tensor acos(const Tensor& x);
Tensor atan(const Tensor& x);
Tensor sinh(const Tensor& x);
Tensor cosh(const Tensor& x);
Tensor tanh(const Tensor& x);
Tensor asinh(const Tensor& x);
Tensor acosh(const Tensor& x);
Tensor atanh(const Tensor& x);
Tensor erf(const Tensor& x);
Tensor erfc(const Tensor& x);
Tensor erfinv(const Tensor& x);
Tensor lgamma(const Tensor& x);
Tensor digamma(const Tensor& x);
Tensor polygamma(int64_t n, const Tensor& x);  // n-th derivative of digamma
Tensor i0(const Tensor& x);
Tensor i1(const Tensor& x);
Tensor sinc(const Tensor& x);  // sin(pi x) / (pi x)
Tensor sigmoid(const Tensor& x);
Tensor logit(const Tensor& x,
             std::optional<double> eps = {});  // log(x / (1 - x)), x clamped to [eps, 1 - eps]
Tensor ceil(const Tensor& x);
Tensor floor(const Tensor& x);
Tensor trunc(const Tensor& x);
Tensor frac(const Tensor& x);
Tensor round(const Tensor& x, int64_t decimals = 0);  // ties to even
Tensor deg2rad(const Tensor& x);
Tensor rad2deg(const Tensor& x);
Tensor positive(const Tensor& x);
Tensor nan_to_num(const Tensor& x, std::optional<double> nan = {},
                  std::optional<double> posinf = {}, std::optional<double> neginf = {});
Tensor isnan(const Tensor& x);
Tensor isinf(const Tensor& x);
Tensor isfinite(const Tensor& x);
Tensor isposinf(const Tensor& x);
Tensor isneginf(const Tensor& x);
Tensor signbit(const Tensor& x);
Tensor logical_not(const Tensor& x);
Tensor bitwise_not(const Tensor& x);

// ---- three operands (ternary.cpp)
// ------------------------------------------------------------------------
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
Tensor clamp(const Tensor& x, const std::optional<Tensor>& min, const std::optional<Tensor>& max);
Tensor& clamp_(Tensor& x, const std::optional<Tensor>& min, const std::optional<Tensor>& max);
Tensor clamp_min(const Tensor& x, const Tensor& min);
Tensor clamp_max(const Tensor& x, const Tensor& max);
Tensor lerp(const Tensor& start, const Tensor& end,
            const Tensor& weight);  // start + weight (end - start)
Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b,
               const Scalar& value = 1);  // x + value a b
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b,
               const Scalar& value = 1);  // x + value a / b

}  // namespace tercel
