// One-operand ops: one rule each, with the derivative beside it.
#include <cmath>
#include <limits>

#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/elementwise/kernels.h"
#include "ops/elementwise/rules.h"
#include "ops/elementwise/special_kernels.h"
#include "ops/elementwise/special_scalar.h"

namespace tercel {
namespace {

using D = const UnaryGrad&;
constexpr double kTwoOverSqrtPi = 1.1283791670955126, kHalfSqrtPi = 0.886226925452758;

Tensor zero_grad(D d) { return zeros_like(d.g); }
// 1 - x^2 and 1 + x^2
Tensor one_minus_square(const Tensor& x) { return sub(1.0, square(x)); }
Tensor one_plus_square(const Tensor& x) { return add(square(x), 1.0); }

}  // namespace

#define TERCEL_OP(name) []() -> const Op& { return unary_kernels().name; }
#define TERCEL_SPECIAL(name) []() -> const Op& { return special_kernels().name; }
#define TERCEL_TEST(symbol, text, what)                                                     \
  const UnaryRule symbol {                                                                  \
    .name = #text, .op = TERCEL_OP(text), .domain = Domain::any, .result = Result::boolean, \
    .doc = what                                                                             \
  }

// clang-format off
const UnaryRule kAbs{.name = "abs", .op = TERCEL_OP(abs), .domain = Domain::numeric, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, sign(d.x)); }, .doc = "|x|"};
const UnaryRule kNeg{.name = "neg", .op = TERCEL_OP(neg), .domain = Domain::numeric,
  .grad = [](D d) { return neg(d.g); }, .doc = "-x"};
const UnaryRule kSign{.name = "sign", .op = TERCEL_OP(sign), .domain = Domain::any,
  .grad = zero_grad, .doc = "-1, 0 or 1; 0 for NaN"};
const UnaryRule kSgn{.name = "sgn", .op = TERCEL_OP(sign), .domain = Domain::any,
  .grad = zero_grad, .doc = "-1, 0 or 1; 0 for NaN (same as sign for real numbers)"};
const UnaryRule kSquare{.name = "square", .op = TERCEL_OP(square), .domain = Domain::numeric, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, mul(d.x, 2.0)); }, .doc = "x^2"};
const UnaryRule kExp{.name = "exp", .op = TERCEL_OP(exp), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) { return mul(d.g, d.y); }, .doc = "e^x, 1 ulp"};
const UnaryRule kExp2{.name = "exp2", .op = TERCEL_OP(exp2), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) { return mul(d.g, mul(d.y, M_LN2)); }, .doc = "2^x, 1 ulp"};
const UnaryRule kExpm1{.name = "expm1", .op = TERCEL_OP(expm1), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) { return mul(d.g, add(d.y, 1.0)); }, .doc = "e^x - 1 without cancellation, 1 ulp"};
const UnaryRule kLog{.name = "log", .op = TERCEL_OP(log), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return div(d.g, d.x); }, .doc = "natural logarithm, 1 ulp"};
const UnaryRule kLog2{.name = "log2", .op = TERCEL_OP(log2), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return div(d.g, mul(d.x, M_LN2)); }, .doc = "logarithm to base 2, 1 ulp"};
const UnaryRule kLog10{.name = "log10", .op = TERCEL_OP(log10), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return div(d.g, mul(d.x, M_LN10)); }, .doc = "logarithm to base 10, 1 ulp"};
const UnaryRule kLog1p{.name = "log1p", .op = TERCEL_OP(log1p), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return div(d.g, add(d.x, 1.0)); }, .doc = "log(1 + x) without cancellation, 1 ulp"};
const UnaryRule kSqrt{.name = "sqrt", .op = TERCEL_OP(sqrt), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) { return div(d.g, mul(d.y, 2.0)); }, .doc = "square root, correctly rounded"};
const UnaryRule kRsqrt{.name = "rsqrt", .op = TERCEL_OP(rsqrt), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) { return mul(mul(d.g, mul(square(d.y), d.y)), -0.5); }, .doc = "1 / sqrt(x), 2 ulp"};
const UnaryRule kReciprocal{.name = "reciprocal", .op = TERCEL_OP(reciprocal), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) { return neg(mul(d.g, square(d.y))); }, .doc = "1 / x, correctly rounded"};
const UnaryRule kSin{.name = "sin", .op = TERCEL_OP(sin), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, cos(d.x)); }, .doc = "sine of radians, 1 ulp at any magnitude"};
const UnaryRule kCos{.name = "cos", .op = TERCEL_OP(cos), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return neg(mul(d.g, sin(d.x))); }, .doc = "cosine of radians, 1 ulp at any magnitude"};
const UnaryRule kTan{.name = "tan", .op = TERCEL_OP(tan), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) { return mul(d.g, one_plus_square(d.y)); }, .doc = "tangent of radians, 1 ulp"};
const UnaryRule kAsin{.name = "asin", .op = TERCEL_OP(asin), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, rsqrt(one_minus_square(d.x))); }, .doc = "inverse sine, 1 ulp"};
const UnaryRule kAcos{.name = "acos", .op = TERCEL_OP(acos), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return neg(mul(d.g, rsqrt(one_minus_square(d.x)))); }, .doc = "inverse cosine, 1 ulp"};
const UnaryRule kAtan{.name = "atan", .op = TERCEL_OP(atan), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return div(d.g, one_plus_square(d.x)); }, .doc = "inverse tangent, 1.25 ulp"};
const UnaryRule kSinh{.name = "sinh", .op = TERCEL_OP(sinh), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, cosh(d.x)); }, .doc = "hyperbolic sine, 1 ulp"};
const UnaryRule kCosh{.name = "cosh", .op = TERCEL_OP(cosh), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, sinh(d.x)); }, .doc = "hyperbolic cosine, 1 ulp"};
const UnaryRule kTanh{.name = "tanh", .op = TERCEL_OP(tanh), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) {
    if (!grad_enabled()) return apply_binary(activation_kernels().tanh_backward, d.g, d.y);
    return mul(d.g, one_minus_square(d.y));
  }, .doc = "hyperbolic tangent, 1 ulp"};
const UnaryRule kAsinh{.name = "asinh", .op = TERCEL_OP(asinh), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, rsqrt(one_plus_square(d.x))); }, .doc = "inverse hyperbolic sine"};
const UnaryRule kAcosh{.name = "acosh", .op = TERCEL_OP(acosh), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, rsqrt(sub(square(d.x), 1.0))); }, .doc = "inverse hyperbolic cosine"};
const UnaryRule kAtanh{.name = "atanh", .op = TERCEL_OP(atanh), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return div(d.g, one_minus_square(d.x)); }, .doc = "inverse hyperbolic tangent"};
const UnaryRule kErf{.name = "erf", .op = TERCEL_OP(erf), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, mul(exp(neg(square(d.x))), kTwoOverSqrtPi)); }, .doc = "error function, 1 ulp"};
const UnaryRule kErfc{.name = "erfc", .op = TERCEL_OP(erfc), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, mul(exp(neg(square(d.x))), -kTwoOverSqrtPi)); },
  .doc = "1 - erf(x) with full relative accuracy, 1 ulp"};
const UnaryRule kErfinv{.name = "erfinv", .op = TERCEL_OP(erfinv), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) { return mul(d.g, mul(exp(square(d.y)), kHalfSqrtPi)); }, .doc = "inverse of erf on (-1, 1)"};
const UnaryRule kLgamma{.name = "lgamma", .op = TERCEL_OP(lgamma), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, digamma(d.x)); }, .doc = "log |gamma(x)|"};
const UnaryRule kDigamma{.name = "digamma", .op = TERCEL_OP(digamma), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, polygamma(1, d.x)); }, .doc = "derivative of lgamma"};
const UnaryRule kPolygamma{.name = "polygamma", .op = TERCEL_SPECIAL(polygamma), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, polygamma(static_cast<int64_t>(d.p[0]) + 1, d.x)); }};
const UnaryRule kI0{.name = "i0", .op = TERCEL_OP(i0), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, i1(d.x)); }, .doc = "modified Bessel function of the first kind, order 0"};
const UnaryRule kI1{.name = "i1", .op = TERCEL_SPECIAL(i1), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) {  // i0(x) - i1(x) / x, 1/2 at 0
    const Tensor slope = sub(i0(d.x), div(i1(d.x), d.x));
    return mul(d.g, where(eq(d.x, 0), wrap_number(0.5), slope));
  }, .doc = "modified Bessel function of the first kind, order 1"};
const UnaryRule kSinc{.name = "sinc", .op = TERCEL_OP(sinc), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) {  // (cos(pi x) - sinc(x)) / x, 0 at 0
    const Tensor slope = div(sub(cos(mul(d.x, M_PI)), sinc(d.x)), d.x);
    return mul(d.g, where(eq(d.x, 0), wrap_number(0.0), slope));
  }, .doc = "sin(pi x) / (pi x), 1 at 0"};
const UnaryRule kSigmoid{.name = "sigmoid", .op = TERCEL_OP(sigmoid), .domain = Domain::floats, .keep = UnaryRule::output,
  .grad = [](D d) {
    if (!grad_enabled()) return apply_binary(activation_kernels().sigmoid_backward, d.g, d.y);
    return mul(d.g, mul(d.y, sub(1.0, d.y)));
  }, .doc = "1 / (1 + e^-x), 1 ulp"};
const UnaryRule kLogit{.name = "logit", .op = TERCEL_OP(logit), .domain = Domain::floats, .keep = UnaryRule::input,
  .grad = [](D d) { return div(d.g, mul(d.x, sub(1.0, d.x))); }, .doc = "log(x / (1 - x))"};
const UnaryRule kCeil{.name = "ceil", .op = TERCEL_OP(ceil), .domain = Domain::numeric, .grad = zero_grad,
  .doc = "smallest integer >= x"};
const UnaryRule kFloor{.name = "floor", .op = TERCEL_OP(floor), .domain = Domain::numeric, .grad = zero_grad,
  .doc = "largest integer <= x"};
const UnaryRule kTrunc{.name = "trunc", .op = TERCEL_OP(trunc), .domain = Domain::numeric, .grad = zero_grad,
  .doc = "integer part"};
const UnaryRule kRound{.name = "round", .op = TERCEL_OP(round), .domain = Domain::numeric, .grad = zero_grad,
  .doc = "nearest integer, ties to even"};
const UnaryRule kRoundDecimals{.name = "round", .op = TERCEL_OP(round_decimals), .domain = Domain::strict, .grad = zero_grad};
const UnaryRule kFrac{.name = "frac", .op = TERCEL_OP(frac), .domain = Domain::strict,
  .grad = [](D d) { return d.g; }, .doc = "x - trunc(x)"};
const UnaryRule kDeg2rad{.name = "deg2rad", .op = TERCEL_OP(scale), .domain = Domain::floats,
  .grad = [](D d) { return mul(d.g, d.p[0]); }};
const UnaryRule kRad2deg{.name = "rad2deg", .op = TERCEL_OP(scale), .domain = Domain::floats,
  .grad = [](D d) { return mul(d.g, d.p[0]); }};
const UnaryRule kNanToNum{.name = "nan_to_num", .op = TERCEL_OP(nan_to_num), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, to(isfinite(d.x), d.g.dtype())); }};
TERCEL_TEST(kIsnan, isnan, "x is NaN");
TERCEL_TEST(kIsinf, isinf, "x is +-infinity");
TERCEL_TEST(kIsfinite, isfinite, "x is neither infinite nor NaN");
TERCEL_TEST(kIsposinf, isposinf, "x is +infinity");
TERCEL_TEST(kIsneginf, isneginf, "x is -infinity");
TERCEL_TEST(kSignbit, signbit, "the sign bit is set (also for -0.0)");
TERCEL_TEST(kLogicalNot, logical_not, "x is zero");
const UnaryRule kBitwiseNot{.name = "bitwise_not", .op = TERCEL_OP(bitwise_not), .domain = Domain::integer,
  .doc = "~x: bits inverted; logical not for bool",
  .for_bool = &kLogicalNot};
// clang-format on
#undef TERCEL_OP
#undef TERCEL_SPECIAL
#undef TERCEL_TEST

#define TERCEL_UNARY(name, rule) \
  Tensor name(const Tensor& x) { return unary(rule, x); }
TERCEL_UNARY(abs, kAbs)
TERCEL_UNARY(neg, kNeg)
TERCEL_UNARY(sign, kSign)
TERCEL_UNARY(square, kSquare)
TERCEL_UNARY(exp, kExp)
TERCEL_UNARY(exp2, kExp2)
TERCEL_UNARY(expm1, kExpm1)
TERCEL_UNARY(log, kLog)
TERCEL_UNARY(log2, kLog2)
TERCEL_UNARY(log10, kLog10)
TERCEL_UNARY(log1p, kLog1p)
TERCEL_UNARY(sqrt, kSqrt)
TERCEL_UNARY(rsqrt, kRsqrt)
TERCEL_UNARY(reciprocal, kReciprocal)
TERCEL_UNARY(sin, kSin)
TERCEL_UNARY(cos, kCos)
TERCEL_UNARY(tan, kTan)
TERCEL_UNARY(asin, kAsin)
TERCEL_UNARY(acos, kAcos)
TERCEL_UNARY(atan, kAtan)
TERCEL_UNARY(sinh, kSinh)
TERCEL_UNARY(cosh, kCosh)
TERCEL_UNARY(tanh, kTanh)
TERCEL_UNARY(asinh, kAsinh)
TERCEL_UNARY(acosh, kAcosh)
TERCEL_UNARY(atanh, kAtanh)
TERCEL_UNARY(erf, kErf)
TERCEL_UNARY(erfc, kErfc)
TERCEL_UNARY(erfinv, kErfinv)
TERCEL_UNARY(lgamma, kLgamma)
TERCEL_UNARY(digamma, kDigamma)
TERCEL_UNARY(i0, kI0)
TERCEL_UNARY(i1, kI1)
TERCEL_UNARY(sinc, kSinc)
TERCEL_UNARY(sigmoid, kSigmoid)
TERCEL_UNARY(ceil, kCeil)
TERCEL_UNARY(floor, kFloor)
TERCEL_UNARY(trunc, kTrunc)
TERCEL_UNARY(frac, kFrac)
TERCEL_UNARY(isnan, kIsnan)
TERCEL_UNARY(isinf, kIsinf)
TERCEL_UNARY(isfinite, kIsfinite)
TERCEL_UNARY(isposinf, kIsposinf)
TERCEL_UNARY(isneginf, kIsneginf)
TERCEL_UNARY(signbit, kSignbit)
TERCEL_UNARY(logical_not, kLogicalNot)
TERCEL_UNARY(bitwise_not, kBitwiseNot)
#undef TERCEL_UNARY

Tensor logit(const Tensor& x, std::optional<double> eps) {
  if (!eps) return unary(kLogit, x);
  return unary(kLogit, clamp(x, wrap_number(*eps), wrap_number(1.0 - *eps)));
}

Tensor polygamma(int64_t n, const Tensor& x) {
  TERCEL_CHECK(n >= 0 && n <= 150, Value, "polygamma: n must be in [0, 150], got ", n);
  if (n == 0) return digamma(x);
  PolygammaOrder order{static_cast<int>(n), 1.0, 1.0};
  if (n > kPolygammaPolynomial) {
    order.unit = std::exp(std::lgamma(static_cast<double>(n + 1)) / static_cast<double>(n + 1));
  } else {
    for (int64_t i = 2; i <= n; ++i) order.factor *= static_cast<double>(i);
  }
  const ParamList p = {static_cast<double>(n), order.unit, order.factor};
  return unary(kPolygamma, x, p);
}

Tensor round(const Tensor& x, int64_t decimals) {
  if (decimals == 0) return unary(kRound, x);
  TERCEL_CHECK(decimals >= -300 && decimals <= 300, Value,
               "round: decimals must be in [-300, 300], got ", decimals);
  const ParamList p = {std::pow(10.0, static_cast<double>(decimals < 0 ? -decimals : decimals)),
                       decimals < 0 ? 1.0 : 0.0};
  return unary(kRoundDecimals, x, p);
}
Tensor deg2rad(const Tensor& x) {
  const ParamList p = {M_PI / 180.0};
  return unary(kDeg2rad, x, p);
}
Tensor rad2deg(const Tensor& x) {
  const ParamList p = {180.0 / M_PI};
  return unary(kRad2deg, x, p);
}
Tensor positive(const Tensor& x) {
  TERCEL_CHECK(!is_bool(x.dtype()), DType, "positive: dtype bool not supported");
  return x;
}

Tensor nan_to_num(const Tensor& x, std::optional<double> nan, std::optional<double> posinf,
                  std::optional<double> neginf) {
  if (!is_float(x.dtype())) return clone(x);
  double largest = 0;
  visit<TERCEL_FLOATS, TERCEL_FP8>(x.dtype(), "nan_to_num", [&]<class T>() {
    if constexpr (std::is_same_v<T, double>) {
      largest = std::numeric_limits<double>::max();
    } else if constexpr (std::is_same_v<T, float>) {
      largest = std::numeric_limits<float>::max();
    } else if constexpr (std::is_same_v<T, f16>) {
      largest = 65504.0;
    } else if constexpr (std::is_same_v<T, bf16>) {
      largest = 0x1.fep127;
    } else {
      largest = std::is_same_v<T, f8e4m3> ? 448.0 : 57344.0;
    }
  });
  const ParamList p = {nan.value_or(0.0), posinf.value_or(largest), neginf.value_or(-largest)};
  return unary(kNanToNum, x, p);
}

bool has_nan(const Tensor& t) {
  if (!is_float(t.dtype()) || t.numel() == 0) return false;
  GradMode off(false);
  return any_zero(logical_not(isnan(t)));
}

UnaryRuleList unary_rules() {
  static const UnaryRule* const rules[] = {
      &kAbs,      &kNeg,      &kSign,     &kSgn,     &kSquare,     &kExp,        &kExp2,
      &kExpm1,    &kLog,      &kLog2,     &kLog10,   &kLog1p,      &kSqrt,       &kRsqrt,
      &kSin,      &kCos,      &kTan,      &kAsin,    &kAcos,       &kAtan,       &kSinh,
      &kCosh,     &kTanh,     &kAsinh,    &kAcosh,   &kAtanh,      &kErf,        &kErfc,
      &kErfinv,   &kLgamma,   &kI0,       &kI1,      &kDigamma,    &kSinc,       &kReciprocal,
      &kCeil,     &kFloor,    &kSigmoid,  &kTrunc,   &kFrac,       &kIsnan,      &kIsinf,
      &kIsfinite, &kIsposinf, &kIsneginf, &kSignbit, &kLogicalNot, &kBitwiseNot,
  };
  return {rules, static_cast<int>(sizeof(rules) / sizeof(rules[0]))};
}

}  // namespace tercel
