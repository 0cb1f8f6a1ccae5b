// Two-operand ops: one rule each, with the derivatives beside it.
#include <cmath>

#include "ops/copy/copy.h"
#include "ops/elementwise/binary_rules.h"
#include "ops/elementwise/elementwise.h"
#include "ops/elementwise/engine.h"
#include "ops/elementwise/kernels.h"

namespace tercel {
namespace {

using D = const BinaryGrad&;

// 1 where a takes part in max/min, 1/2 at ties, 0 elsewhere, times g.
Tensor share(const Tensor& g, const Tensor& wins, const Tensor& ties) {
  return mul(g, add(to(wins, g.dtype()), mul(to(ties, g.dtype()), 0.5)));
}
ParamList& one_param(ParamList& p, double v) {
  p[0] = v;
  return p;
}
void check_alpha(const char* op, DType result, const Scalar& alpha) {
  TERCEL_CHECK(is_float(result) || !alpha.is_float(), Runtime, op,
               ": alpha must be an integer for integer tensors, got ", alpha.to_double());
  TERCEL_CHECK(is_bool(result) || !alpha.is_bool(), Runtime, op,
               ": alpha must be a number, got a bool");
}
bool is_one(const Scalar& s) { return s.to_double() == 1.0; }

}  // namespace

#define TERCEL_OP(name) []() -> const Op& { return binary_kernels().name; }

// clang-format off
const BinaryRule kAdd{.name = "add", .op = TERCEL_OP(add), .domain = Domain::any,
  .grad_a = [](D d) { return d.g; }, .grad_b = [](D d) { return d.g; }};
const BinaryRule kAddScaled{.name = "add", .op = TERCEL_OP(add_scaled), .domain = Domain::any,
  .grad_a = [](D d) { return d.g; }, .grad_b = [](D d) { return mul(d.g, d.p[0]); }};
const BinaryRule kSub{.name = "sub", .op = TERCEL_OP(sub), .domain = Domain::numeric,
  .grad_a = [](D d) { return d.g; }, .grad_b = [](D d) { return neg(d.g); }};
const BinaryRule kMul{.name = "mul", .op = TERCEL_OP(mul), .domain = Domain::any,
  .keep_for_a = kKeepB, .keep_for_b = kKeepA,
  .grad_a = [](D d) { return mul(d.g, d.b); }, .grad_b = [](D d) { return mul(d.g, d.a); }};
const BinaryRule kDiv{.name = "div", .op = TERCEL_OP(div), .domain = Domain::floats,
  .keep_for_a = kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return div(d.g, d.b); },
  .grad_b = [](D d) { return neg(div(mul(d.g, div(d.a, d.b)), d.b)); }};
const BinaryRule kFloorDivide{.name = "floor_divide", .op = TERCEL_OP(floor_divide), .domain = Domain::any,
  .refuses_zero_divisor = true};
const BinaryRule kTruncDivide{.name = "div", .op = TERCEL_OP(trunc_divide), .domain = Domain::any,
  .grad_a = [](D d) { return zeros_like(d.g); }, .grad_b = [](D d) { return zeros_like(d.g); },
  .refuses_zero_divisor = true};
const BinaryRule kFloorMode{.name = "div", .op = TERCEL_OP(floor_divide), .domain = Domain::any,
  .grad_a = [](D d) { return zeros_like(d.g); }, .grad_b = [](D d) { return zeros_like(d.g); },
  .refuses_zero_divisor = true};
const BinaryRule kRemainder{.name = "remainder", .op = TERCEL_OP(remainder), .domain = Domain::any,
  .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return d.g; },
  .grad_b = [](D d) { return neg(mul(d.g, floor_divide(d.a.detach(), d.b.detach()))); },
  .refuses_zero_divisor = true};
const BinaryRule kFmod{.name = "fmod", .op = TERCEL_OP(fmod), .domain = Domain::any,
  .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return d.g; },
  .grad_b = [](D d) { return neg(mul(d.g, trunc(div(d.a.detach(), d.b.detach())))); },
  .refuses_zero_divisor = true};
// b - 1. Of a number it is taken here: two numbers would meet in the default dtype.
Tensor minus_one(const Tensor& b) {
  if (b.impl()->wrapped_number && is_float(b.dtype())) return wrap_number(*b.data_as<double>() - 1);
  return sub(b, 1);
}
// a^b: b a^(b-1), 0 where b = 0; a^b log a, 0 where a = 0 and b >= 0
const BinaryRule kPow{.name = "pow", .op = TERCEL_OP(pow), .domain = Domain::any,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB | kKeepY,
  .grad_a = [](D d) {
    const Tensor zero = wrap_number(0.0);
    return mul(d.g, where(eq(d.b, 0), zero, mul(d.b, pow(d.a, minus_one(d.b)))));
  },
  .grad_b = [](D d) {
    const Tensor zero = wrap_number(0.0);
    return mul(d.g, where(logical_and(eq(d.a, 0), ge(d.b, 0)), zero, mul(d.y, log(d.a))));
  }};
const BinaryRule kMaximum{.name = "maximum", .op = TERCEL_OP(maximum), .domain = Domain::any,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return share(d.g, gt(d.a, d.b), eq(d.a, d.b)); },
  .grad_b = [](D d) { return share(d.g, gt(d.b, d.a), eq(d.a, d.b)); }};
const BinaryRule kMinimum{.name = "minimum", .op = TERCEL_OP(minimum), .domain = Domain::any,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return share(d.g, lt(d.a, d.b), eq(d.a, d.b)); },
  .grad_b = [](D d) { return share(d.g, lt(d.b, d.a), eq(d.a, d.b)); }};
const BinaryRule kFmax{.name = "fmax", .op = TERCEL_OP(fmax), .domain = Domain::any,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return mul(d.g, to(logical_or(ge(d.a, d.b), isnan(d.b)), d.g.dtype())); },
  .grad_b = [](D d) { return mul(d.g, to(logical_not(logical_or(ge(d.a, d.b), isnan(d.b))), d.g.dtype())); }};
const BinaryRule kFmin{.name = "fmin", .op = TERCEL_OP(fmin), .domain = Domain::any,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return mul(d.g, to(logical_or(le(d.a, d.b), isnan(d.b)), d.g.dtype())); },
  .grad_b = [](D d) { return mul(d.g, to(logical_not(logical_or(le(d.a, d.b), isnan(d.b))), d.g.dtype())); }};
// at a tie clamp lets the gradient pass to x
const BinaryRule kClampMin{.name = "clamp_min", .op = TERCEL_OP(clamp_min), .domain = Domain::numeric,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return mul(d.g, to(ge(d.a, d.b), d.g.dtype())); },
  .grad_b = [](D d) { return mul(d.g, to(lt(d.a, d.b), d.g.dtype())); }};
const BinaryRule kClampMax{.name = "clamp_max", .op = TERCEL_OP(clamp_max), .domain = Domain::numeric,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return mul(d.g, to(le(d.a, d.b), d.g.dtype())); },
  .grad_b = [](D d) { return mul(d.g, to(gt(d.a, d.b), d.g.dtype())); }};
// a^2 + b^2, but 1 where it is 0: the angle of the origin has gradient 0
Tensor squares_or_1(const Tensor& a, const Tensor& b) {
  const Tensor s = add(square(a), square(b));
  return where(eq(s, 0.0), wrap_number(1.0), s);
}
const BinaryRule kAtan2{.name = "atan2", .op = TERCEL_OP(atan2), .domain = Domain::floats,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return mul(d.g, div(d.b, squares_or_1(d.a, d.b))); },
  .grad_b = [](D d) { return mul(d.g, div(neg(d.a), squares_or_1(d.a, d.b))); }};
const BinaryRule kHypot{.name = "hypot", .op = TERCEL_OP(hypot), .domain = Domain::strict,
  .keep_for_a = kKeepA | kKeepY, .keep_for_b = kKeepB | kKeepY,
  .grad_a = [](D d) { return mul(d.g, div(d.a, d.y)); }, .grad_b = [](D d) { return mul(d.g, div(d.b, d.y)); }};
const BinaryRule kCopysign{.name = "copysign", .op = TERCEL_OP(copysign), .domain = Domain::floats,
  .keep_for_a = kKeepA | kKeepY,
  .grad_a = [](D d) { return mul(d.g, mul(sign(d.a.detach()), sign(d.y.detach()))); },
  .grad_b = [](D d) { return zeros_like(d.g); }};
const BinaryRule kXlogy{.name = "xlogy", .op = TERCEL_OP(xlogy), .domain = Domain::floats,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) {
    return mul(d.g, where(logical_and(eq(d.a, 0), le(d.b, 0)), wrap_number(0.0), log(d.b)));
  },
  .grad_b = [](D d) { return mul(d.g, div(d.a, d.b)); }};
const BinaryRule kLogaddexp{.name = "logaddexp", .op = TERCEL_OP(logaddexp), .domain = Domain::floats,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return mul(d.g, sigmoid(sub(d.a, d.b))); },
  .grad_b = [](D d) { return mul(d.g, sigmoid(sub(d.b, d.a))); }};
const BinaryRule kLogaddexp2{.name = "logaddexp2", .op = TERCEL_OP(logaddexp2), .domain = Domain::floats,
  .keep_for_a = kKeepA | kKeepB, .keep_for_b = kKeepA | kKeepB,
  .grad_a = [](D d) { return mul(d.g, sigmoid(mul(sub(d.a, d.b), M_LN2))); },
  .grad_b = [](D d) { return mul(d.g, sigmoid(mul(sub(d.b, d.a), M_LN2))); }};
const BinaryRule kNextafter{.name = "nextafter", .op = TERCEL_OP(nextafter), .domain = Domain::strict};
const BinaryRule kHeaviside{.name = "heaviside", .op = TERCEL_OP(heaviside), .domain = Domain::any};
const BinaryRule kLdexp{.name = "ldexp", .op = TERCEL_OP(ldexp), .domain = Domain::floats,
  .keep_for_a = kKeepB, .keep_for_b = kKeepY,
  .grad_a = [](D d) { return ldexp(d.g, d.b); }, .grad_b = [](D d) { return mul(d.g, mul(d.y, M_LN2)); }};
const BinaryRule kGcd{.name = "gcd", .op = TERCEL_OP(gcd), .domain = Domain::integer};
const BinaryRule kLcm{.name = "lcm", .op = TERCEL_OP(lcm), .domain = Domain::integer};
const BinaryRule kEq{.name = "eq", .op = TERCEL_OP(eq), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kNe{.name = "ne", .op = TERCEL_OP(ne), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kLt{.name = "lt", .op = TERCEL_OP(lt), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kLe{.name = "le", .op = TERCEL_OP(le), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kGt{.name = "gt", .op = TERCEL_OP(gt), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kGe{.name = "ge", .op = TERCEL_OP(ge), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kIsclose{.name = "isclose", .op = TERCEL_OP(isclose), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kLogicalAnd{.name = "logical_and", .op = TERCEL_OP(logical_and), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kLogicalOr{.name = "logical_or", .op = TERCEL_OP(logical_or), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kLogicalXor{.name = "logical_xor", .op = TERCEL_OP(logical_xor), .domain = Domain::any, .result = Result::boolean};
const BinaryRule kBitwiseAnd{.name = "bitwise_and", .op = TERCEL_OP(bitwise_and), .domain = Domain::integer};
const BinaryRule kBitwiseOr{.name = "bitwise_or", .op = TERCEL_OP(bitwise_or), .domain = Domain::integer};
const BinaryRule kBitwiseXor{.name = "bitwise_xor", .op = TERCEL_OP(bitwise_xor), .domain = Domain::integer};
const BinaryRule kShiftLeft{.name = "bitwise_left_shift", .op = TERCEL_OP(shift_left), .domain = Domain::integer};
const BinaryRule kShiftRight{.name = "bitwise_right_shift", .op = TERCEL_OP(shift_right), .domain = Domain::integer};
// clang-format on
#undef TERCEL_OP

#define TERCEL_BINARY(name, rule) \
  Tensor name(const Tensor& a, const Tensor& b) { return binary(rule, a, b); }
TERCEL_BINARY(add, kAdd)
TERCEL_BINARY(sub, kSub)
TERCEL_BINARY(mul, kMul)
TERCEL_BINARY(div, kDiv)
TERCEL_BINARY(floor_divide, kFloorDivide)
TERCEL_BINARY(trunc_divide, kTruncDivide)
TERCEL_BINARY(remainder, kRemainder)
TERCEL_BINARY(fmod, kFmod)
TERCEL_BINARY(maximum, kMaximum)
TERCEL_BINARY(minimum, kMinimum)
TERCEL_BINARY(fmax, kFmax)
TERCEL_BINARY(fmin, kFmin)
TERCEL_BINARY(clamp_min, kClampMin)
TERCEL_BINARY(clamp_max, kClampMax)
TERCEL_BINARY(atan2, kAtan2)
TERCEL_BINARY(hypot, kHypot)
TERCEL_BINARY(copysign, kCopysign)
TERCEL_BINARY(xlogy, kXlogy)
TERCEL_BINARY(logaddexp, kLogaddexp)
TERCEL_BINARY(logaddexp2, kLogaddexp2)
TERCEL_BINARY(nextafter, kNextafter)
TERCEL_BINARY(heaviside, kHeaviside)
TERCEL_BINARY(ldexp, kLdexp)
TERCEL_BINARY(gcd, kGcd)
TERCEL_BINARY(lcm, kLcm)
TERCEL_BINARY(eq, kEq)
TERCEL_BINARY(ne, kNe)
TERCEL_BINARY(lt, kLt)
TERCEL_BINARY(le, kLe)
TERCEL_BINARY(gt, kGt)
TERCEL_BINARY(ge, kGe)
TERCEL_BINARY(logical_and, kLogicalAnd)
TERCEL_BINARY(logical_or, kLogicalOr)
TERCEL_BINARY(logical_xor, kLogicalXor)
TERCEL_BINARY(bitwise_and, kBitwiseAnd)
TERCEL_BINARY(bitwise_or, kBitwiseOr)
TERCEL_BINARY(bitwise_xor, kBitwiseXor)
TERCEL_BINARY(bitwise_left_shift, kShiftLeft)
TERCEL_BINARY(bitwise_right_shift, kShiftRight)
#undef TERCEL_BINARY

double scale_param(const Scalar& v, DType result) {
  if (is_float(result) || v.is_float() || result == DType::i64) return v.to_double();
  return static_cast<double>(static_cast<int32_t>(v.to_int()));
}
// -2^31 is left out, because sub negates it.
bool scale_param_holds(const Scalar& v, DType result) {
  if (is_float(result) || v.is_float()) return true;
  const int64_t n = v.to_int();
  if (result == DType::i64) return n >= -(int64_t{1} << 53) && n <= int64_t{1} << 53;
  return static_cast<int32_t>(n) != INT32_MIN;
}
Tensor add_scaled(const BinaryRule& plain, double sign, const Tensor& a, const Tensor& b,
                  const Scalar& alpha, const Tensor* out) {
  if (is_one(alpha)) return binary(plain, a, b, kNoParams, out);
  const DType t = result_type({&a, &b});
  check_alpha(plain.name, t, alpha);
  if (plain.domain == Domain::numeric && is_bool(t))
    fail_dtype(plain.name, t, kFloatMask | kIntMask);
  if (!scale_param_holds(alpha, t))
    return binary(plain, a, mul(to(b, t), wrap_number(alpha)), kNoParams, out);
  ParamList p{};
  return binary(kAddScaled, a, b, one_param(p, sign * scale_param(alpha, t)), out);
}
Tensor& add_scaled_(const BinaryRule& plain, double sign, Tensor& a, const Tensor& b,
                    const Scalar& alpha) {
  if (is_one(alpha)) return binary_(plain, a, b);
  const DType t = result_type({&a, &b});
  check_alpha(plain.name, t, alpha);
  if (!scale_param_holds(alpha, t)) return binary_(plain, a, mul(to(b, t), wrap_number(alpha)));
  ParamList p{};
  return binary_(kAddScaled, a, b, one_param(p, sign * scale_param(alpha, t)));
}
Tensor add(const Tensor& a, const Tensor& b, const Scalar& alpha) {
  return add_scaled(kAdd, 1, a, b, alpha);
}
Tensor sub(const Tensor& a, const Tensor& b, const Scalar& alpha) {
  return add_scaled(kSub, -1, a, b, alpha);
}
Tensor rsub(const Tensor& a, const Tensor& b, const Scalar& alpha) { return sub(b, a, alpha); }

// Integers to a negative integer number are refused; the common powers avoid the general loop.
void check_integer_power(const Tensor& a, const Tensor& b) {
  if (!b.impl()->wrapped_number || is_float(b.dtype()) || is_float(a.dtype())) return;
  TERCEL_CHECK(item(b).to_int() >= 0, Runtime,
               "pow: integers to negative integer powers are not allowed, got exponent ",
               item(b).to_int());
}
Tensor pow(const Tensor& a, const Tensor& b) {
  if (b.impl()->wrapped_number && is_float(a.dtype())) {
    const double e = item(b).to_double();
    if (e == 2.0) return square(a);
    if (e == 0.5) return sqrt(a);
    if (e == -1.0) return reciprocal(a);
    if (e == -0.5) return rsqrt(a);
    if (e == 3.0) {
      Tensor y = square(a);
      return grad_needed(a) ? mul(y, a) : mul_(y, a);  // in place: one array less to write
    }
  }
  check_integer_power(a, b);
  return binary(kPow, a, b);
}
Tensor float_power(const Tensor& a, const Tensor& b) {
  return pow(to(a, DType::f64), b.impl()->wrapped_number ? b : to(b, DType::f64));
}

Tensor& add_(Tensor& a, const Tensor& b) { return binary_(kAdd, a, b); }
Tensor& add_(Tensor& a, const Tensor& b, const Scalar& alpha) {
  return add_scaled_(kAdd, 1, a, b, alpha);
}
Tensor& sub_(Tensor& a, const Tensor& b) { return binary_(kSub, a, b); }
Tensor& mul_(Tensor& a, const Tensor& b) { return binary_(kMul, a, b); }
Tensor& div_(Tensor& a, const Tensor& b) { return binary_(kDiv, a, b); }
Tensor& floor_divide_(Tensor& a, const Tensor& b) { return binary_(kFloorDivide, a, b); }
Tensor& remainder_(Tensor& a, const Tensor& b) { return binary_(kRemainder, a, b); }
Tensor& pow_(Tensor& a, const Tensor& b) {
  check_integer_power(a, b);
  return binary_(kPow, a, b);
}
Tensor& bitwise_and_(Tensor& a, const Tensor& b) { return binary_(kBitwiseAnd, a, b); }
Tensor& bitwise_or_(Tensor& a, const Tensor& b) { return binary_(kBitwiseOr, a, b); }
Tensor& bitwise_xor_(Tensor& a, const Tensor& b) { return binary_(kBitwiseXor, a, b); }

Tensor add(const Tensor& a, const Scalar& b) { return add(a, wrap_number(b)); }
Tensor sub(const Tensor& a, const Scalar& b) { return sub(a, wrap_number(b)); }
Tensor sub(const Scalar& a, const Tensor& b) { return sub(wrap_number(a), b); }
Tensor mul(const Tensor& a, const Scalar& b) { return mul(a, wrap_number(b)); }
Tensor div(const Tensor& a, const Scalar& b) { return div(a, wrap_number(b)); }
Tensor div(const Scalar& a, const Tensor& b) { return div(wrap_number(a), b); }
Tensor pow(const Tensor& a, const Scalar& b) { return pow(a, wrap_number(b)); }
Tensor& add_(Tensor& a, const Scalar& b) { return add_(a, wrap_number(b)); }
Tensor& mul_(Tensor& a, const Scalar& b) { return mul_(a, wrap_number(b)); }
Tensor eq(const Tensor& a, const Scalar& b) { return eq(a, wrap_number(b)); }
Tensor ne(const Tensor& a, const Scalar& b) { return ne(a, wrap_number(b)); }
Tensor lt(const Tensor& a, const Scalar& b) { return lt(a, wrap_number(b)); }
Tensor le(const Tensor& a, const Scalar& b) { return le(a, wrap_number(b)); }
Tensor gt(const Tensor& a, const Scalar& b) { return gt(a, wrap_number(b)); }
Tensor ge(const Tensor& a, const Scalar& b) { return ge(a, wrap_number(b)); }

void accumulate_(const Tensor& into, const Tensor& value) {
  const Op& op = binary_kernels().add;
  const Work work = work_of(into.dtype());
  const DType t = work_dtype(work);
  const ElementwiseCall call{
      op.fn[static_cast<int>(work)], kNoParams, op.cost, t, {t, t, t, t}, &op};
  run_elementwise(call, into, {&into, &value});
  into.storage()->bump_version("accumulate_");
}

Tensor isclose(const Tensor& a, const Tensor& b, double rtol, double atol, bool equal_nan) {
  TERCEL_CHECK(rtol >= 0 && atol >= 0, Value, "isclose: rtol and atol must not be negative, got ",
               rtol, " and ", atol);
  const ParamList p = {rtol, atol, equal_nan ? 1.0 : 0.0, 0.0};
  return binary(kIsclose, a, b, p);
}
bool allclose(const Tensor& a, const Tensor& b, double rtol, double atol, bool equal_nan) {
  return !any_zero(isclose(a, b, rtol, atol, equal_nan));
}
bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && !any_zero(eq(a, b));
}

}  // namespace tercel
