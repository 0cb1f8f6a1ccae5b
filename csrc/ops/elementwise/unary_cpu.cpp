// Loops of the one-operand ops; see simd/vmath.h for the functions and their error bounds.
#include "ops/elementwise/kernels.h"
#include "ops/elementwise/loops_cpu.h"

namespace tercel::TERCEL_LEVEL {
namespace {

// Modified Bessel function of order 0: power series for small |x|, asymptotic series beyond 30.
TERCEL_INLINE double i0_scalar(double x) {
  const double a = ::fabs(x);
  if (a <= 30.0) {
    const double q = 0.25 * a * a;
    double term = 1.0, total = 1.0;
    for (int k = 1; k < 200 && term > total * 1e-17; ++k) {
      term *= q / (static_cast<double>(k) * k);
      total += term;
    }
    return a == a ? total : a;
  }
  double term = 1.0, total = 1.0;
  for (int k = 1; k < 30; ++k) {
    const double odd = 2.0 * k - 1.0;
    term *= odd * odd / (8.0 * k * a);
    total += term;
    if (term < 1e-17) break;
  }
  return ::exp(a) / ::sqrt(6.283185307179586 * a) * total;
}
template <class V>
TERCEL_INLINE V sign_of(V x) {
  return select(x > V(0), V(1), select(x < V(0), V(-1), V(0)));
}
TERCEL_INLINE VecF scaled(VecF x, double c) {
  return in_double(x, [c](VecD v) { return v * VecD(c); });
}
TERCEL_INLINE VecD scaled(VecD x, double c) { return x * VecD(c); }
// round(x * 10^d) / 10^d, or round(x / 10^-d) * 10^-d for negative d. params: 10^|d|, d < 0
TERCEL_INLINE VecD round_decimals(VecD x, const Params& p) {
  const VecD ten(p[0]);
  const VecD y = p[1] != 0 ? round(x / ten) * ten : round(x * ten) / ten;
  return select(abs(x) < VecD(1e22), y, x);
}
TERCEL_INLINE VecF round_decimals(VecF x, const Params& p) {
  return in_double(x, [&p](VecD v) { return round_decimals(v, p); });
}

}  // namespace

#define TERCEL_V(expression)    \
  [](auto x, const Params& p) { \
    (void)p;                    \
    using V = decltype(x);      \
    (void)sizeof(V);            \
    return expression;          \
  }

// clang-format off
extern const UnaryKernels unary_kernels = {
    .abs = any_unary(50, TERCEL_V(abs(x)), TERCEL_V(x < 0 ? wrap_sub<V>(0, x) : x)),
    .neg = any_unary(50, TERCEL_V(-x), TERCEL_V(wrap_sub<V>(0, x))),
    .sign = any_unary(50, TERCEL_V(sign_of(x)), TERCEL_V((x > 0) - (x < 0))),
    .square = any_unary(50, TERCEL_V(x * x), TERCEL_V(wrap_mul(x, x))),
    .bitwise_not = int_unary(50, TERCEL_V(~x)),
    .relu = any_unary(50, TERCEL_V(maximum(x, V(0))), TERCEL_V(x > 0 ? x : 0)),
    .exp = float_unary(400, TERCEL_V(exp(x))),
    .exp2 = float_unary(600, TERCEL_V(exp2(x))),
    .expm1 = float_unary(900, TERCEL_V(expm1(x))),
    .log = float_unary(700, TERCEL_V(log(x))),
    .log2 = float_unary(700, TERCEL_V(log2(x))),
    .log10 = float_unary(700, TERCEL_V(log10(x))),
    .log1p = float_unary(900, TERCEL_V(log1p(x))),
    .sqrt = float_unary(300, TERCEL_V(sqrt(x))),
    .rsqrt = float_unary(400, TERCEL_V(rsqrt(x))),
    .reciprocal = float_unary(200, TERCEL_V(V(1) / x)),
    .sin = float_unary(900, TERCEL_V(sin(x))),
    .cos = float_unary(900, TERCEL_V(cos(x))),
    .tan = float_unary(1200, TERCEL_V(tan(x))),
    .asin = float_unary(900, TERCEL_V(asin(x))),
    .acos = float_unary(900, TERCEL_V(acos(x))),
    .atan = float_unary(900, TERCEL_V(atan(x))),
    .sinh = float_unary(1200, TERCEL_V(sinh(x))),
    .cosh = float_unary(1200, TERCEL_V(cosh(x))),
    .tanh = float_unary(1200, TERCEL_V(tanh(x))),
    .asinh = float_unary(2500, TERCEL_V(asinh(x))),
    .acosh = float_unary(2500, TERCEL_V(acosh(x))),
    .atanh = float_unary(2000, TERCEL_V(atanh(x))),
    .erf = float_unary(1000, TERCEL_V(erf(x))),
    .erfc = float_unary(2000, TERCEL_V(erfc(x))),
    .erfinv = float_unary(1500, TERCEL_V(erfinv(x))),
    .lgamma = float_unary(6000, TERCEL_V(lgamma(x))),
    .digamma = float_unary(4000, TERCEL_V(digamma(x))),
    .sigmoid = float_unary(1200, TERCEL_V(sigmoid(x))),
    .logit = float_unary(2000, TERCEL_V(logit(x))),
    .i0 = float_unary(60000, TERCEL_V(by_lane(x, [](double v) { return i0_scalar(v); }))),
    .sinc = float_unary(1500, TERCEL_V(sinc(x))),
    .ceil = any_unary(50, TERCEL_V(ceil(x)), TERCEL_V(x)),
    .floor = any_unary(50, TERCEL_V(floor(x)), TERCEL_V(x)),
    .round = any_unary(50, TERCEL_V(round(x)), TERCEL_V(x)),
    .trunc = any_unary(50, TERCEL_V(trunc(x)), TERCEL_V(x)),
    .frac = float_unary(50, TERCEL_V(x - trunc(x))),
    .round_decimals = float_unary(500, TERCEL_V(round_decimals(x, p))),
    .scale = float_unary(100, TERCEL_V(scaled(x, p[0]))),
    .nan_to_num = float_unary(100, [](auto x, const Params& p) {
        using V = decltype(x);
        using T = typename V::Scalar;
        V y = select(isnan(x), V(static_cast<T>(p[0])), x);
        y = select(x == V(static_cast<T>(INFINITY)), V(static_cast<T>(p[1])), y);
        return select(x == V(static_cast<T>(-INFINITY)), V(static_cast<T>(p[2])), y); }),
    .isnan = test_unary(50, TERCEL_V(x != x)),
    .isinf = test_unary(50, TERCEL_V((x == x) & (x * 0 != 0))),
    .isfinite = test_unary(50, TERCEL_V(x * 0 == 0)),
    .isposinf = test_unary(50, TERCEL_V((x > 0) & (x * 0 != 0))),
    .isneginf = test_unary(50, TERCEL_V((x < 0) & (x * 0 != 0))),
    .signbit = {{scalar_unary<decltype([](float x, const Params&) { return __builtin_signbit(x) != 0; }), float, uint8_t>,
                 scalar_unary<decltype([](double x, const Params&) { return __builtin_signbit(x) != 0; }), double, uint8_t>,
                 scalar_unary<decltype([](int32_t x, const Params&) { return x < 0; }), int32_t, uint8_t>,
                 scalar_unary<decltype([](int64_t x, const Params&) { return x < 0; }), int64_t, uint8_t>}, 50},
    .logical_not = bit_test_unary(50, TERCEL_V(x == 0)),
};
// clang-format on

}  // namespace tercel::TERCEL_LEVEL
