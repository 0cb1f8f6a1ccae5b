// Loops of the two-operand ops. Integer arithmetic wraps; a zero divisor gives 0 here (the caller
// has refused it) and INT_MIN / -1 wraps.
#include "ops/elementwise/kernels.h"
#include "ops/elementwise/loops_cpu.h"

namespace tercel::TERCEL_LEVEL {
namespace {

template <class T>
TERCEL_INLINE T int_trunc_divide(T a, T b) {
  if (b == 0) return 0;
  return b == -1 ? wrap_sub<T>(0, a) : a / b;
}
template <class T>
TERCEL_INLINE T int_fmod(T a, T b) {
  return b == 0 || b == -1 ? 0 : a % b;
}
template <class T>
TERCEL_INLINE T int_remainder(T a, T b) {
  const T r = int_fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
template <class T>
TERCEL_INLINE T int_floor_divide(T a, T b) {
  const T q = int_trunc_divide(a, b), r = int_fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? q - 1 : q;
}
// Negative exponents: only 1 and -1 have integer powers, everything else truncates to 0.
template <class T>
TERCEL_INLINE T int_pow(T a, T b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
  T r = 1;
  while (b) {
    if (b & 1) r = wrap_mul(r, a);
    a = wrap_mul(a, a);
    b >>= 1;
  }
  return r;
}
template <class T>
TERCEL_INLINE T int_gcd(T a, T b) {
  Unsigned<T> x =
      a < 0 ? Unsigned<T>(0) - static_cast<Unsigned<T>>(a) : static_cast<Unsigned<T>>(a);
  Unsigned<T> y =
      b < 0 ? Unsigned<T>(0) - static_cast<Unsigned<T>>(b) : static_cast<Unsigned<T>>(b);
  while (y) {
    const Unsigned<T> r = x % y;
    x = y;
    y = r;
  }
  return static_cast<T>(x);
}
template <class T>
TERCEL_INLINE T int_lcm(T a, T b) {
  const T g = int_gcd(a, b);
  if (g == 0) return 0;
  const T m = wrap_mul(int_trunc_divide(a, g), b);
  return m < 0 ? wrap_sub<T>(0, m) : m;
}
constexpr int kBits32 = 32, kBits64 = 64;
template <class T>
inline constexpr T kBits = sizeof(T) == 4 ? kBits32 : kBits64;

template <class V>
TERCEL_OUTLINE V far_fmod(V a, V b) {
  return by_lane(a, b, [](double x, double y) { return ::fmod(x, y); });
}
// a - trunc(a / b) b, exact. The quotient may round up to an integer: then the difference has the
// wrong sign and one b too little. Quotients that are not exact integers, infinities and zero
// divisors go to the C library, lane by lane.
template <class V>
TERCEL_SIMD V c_fmod(V a, V b) {
  constexpr typename V::Scalar kExact = sizeof(typename V::Scalar) == 4 ? 0x1p22 : 0x1p51;
  const V x = abs(a), y = abs(b), q = x / y;
  const V r = fnma(trunc(q), y, x);
  const V mod = copysign(select(r < V(0), r + y, r), a);
  const auto usual = (q < V(kExact)) & (y < V(static_cast<typename V::Scalar>(INFINITY)));
  if (!all(usual)) [[unlikely]]
    return select(usual, mod, far_fmod(a, b));
  return mod;
}
template <class V>
TERCEL_INLINE auto opposite_signs(V a, V b) {  // neither is zero
  return ((a < V(0)) & (b > V(0))) | ((a > V(0)) & (b < V(0)));
}
// Python's a % b: the sign of the divisor.
template <class V>
TERCEL_INLINE V float_remainder(V a, V b) {
  const V r = c_fmod(a, b);
  return select(opposite_signs(r, b), r + b, r);
}
// Python's a // b, exact also where a / b rounds up to an integer.
template <class V>
TERCEL_INLINE V float_floor_divide(V a, V b) {
  const V mod = c_fmod(a, b), ratio = a / b;
  V div = (a - mod) / b;
  div = select(opposite_signs(mod, b), div - V(1), div);
  const V whole = floor(div);
  const V y = select(div - whole > V(0.5f), whole + V(1), whole);
  return select(b == V(0), ratio, select(div == V(0), copysign(V(0), ratio), y));
}
TERCEL_INLINE VecF c_hypot(VecF a, VecF b) {
  const VecF y = in_double(a, b, [](VecD x, VecD z) { return sqrt(fma(x, x, z * z)); });
  const auto infinite = (abs(a) == VecF(INFINITY)) | (abs(b) == VecF(INFINITY));
  return select(infinite, VecF(INFINITY), y);
}
TERCEL_OUTLINE VecD hypot_by_lane(VecD a, VecD b) {
  return by_lane(a, b, [](double x, double y) { return ::hypot(x, y); });
}
TERCEL_INLINE VecD c_hypot(VecD a, VecD b) {  // where squares neither overflow nor underflow
  const VecD x = abs(a), y = abs(b), large = max_or_second(x, y);
  const auto usual = (large > VecD(0x1p-480)) & (large < VecD(0x1p500)) & (x == x);
  const VecD r = sqrt(fma(x, x, y * y));
  return all(usual) ? r : select(usual, r, hypot_by_lane(a, b));
}
// log(e^a + e^b) = max + log1p(e^-(|a - b|)); `scale` 1 or ln2 for base 2
TERCEL_INLINE VecD logaddexp_any(VecD a, VecD b, double scale) {
  const VecD top = maximum(a, b), gap = abs(a - b) * VecD(-scale);
  const VecD y = top + log1p(exp(gap)) * VecD(1.0 / scale);
  return select((a == b) & (abs(a) == VecD(INFINITY)), a, y);
}
TERCEL_INLINE VecF logaddexp_any(VecF a, VecF b, double scale) {
  return in_double(a, b, [scale](VecD x, VecD y) {
    const VecD top = maximum(x, y);
    const VecD e = exp_f(max_or_second(VecD(-700.0), abs(x - y) * VecD(-scale)));
    const VecD r = top + log1p_f(e) * VecD(1.0 / scale);
    return select((x == y) & (abs(x) == VecD(INFINITY)), x, r);
  });
}
// x * 2^n; the power of a whole n is exact
TERCEL_INLINE VecF c_ldexp(VecF x, VecF n) {
  return in_double(x, n, [](VecD a, VecD b) {
    const VecD power = max_or_second(VecD(-2000.0), min_or_second(VecD(2000.0), b));
    const VecD whole = floor(power);
    return scale_by_power(a * exp2(power - whole), whole);
  });
}
TERCEL_INLINE VecD c_ldexp(VecD x, VecD n) {
  return by_lane(x, n, [](double a, double b) { return a * ::exp2(b); });
}
// The next bit pattern away from or towards zero; from zero, the smallest number with b's sign.
template <class V>
TERCEL_INLINE V from_bits(typename V::Int bits) {
  if constexpr (sizeof(typename V::Scalar) == 4) {
    return as_float(bits);
  } else {
    return as_double(bits);
  }
}
template <class V>
TERCEL_INLINE V c_nextafter(V a, V b) {
  using I = typename V::Int;
  const auto away = ((a > V(0)) & (b > a)) | ((a < V(0)) & (b < a));
  V y = from_bits<V>(as_int(a) + select(away, I(1), I(-1)));
  y = select(a == V(0), copysign(from_bits<V>(I(1)), b), y);
  return select(isnan(a) | isnan(b), a + b, select(a == b, b, y));
}

}  // namespace

// clang-format off
extern const BinaryKernels binary_kernels = {
    .add = any_binary(50, [](auto a, auto b, const Params&) { return a + b; },
                      [](auto a, auto b, const Params&) { return wrap_add(a, b); }),
    .add_scaled = any_binary(50, [](auto a, auto b, const Params& p) {
                        using V = decltype(a);
                        return fma(b, V(static_cast<typename V::Scalar>(p[0])), a); },
                      [](auto a, auto b, const Params& p) {
                        return wrap_add(a, wrap_mul(b, static_cast<decltype(a)>(p[0]))); }),
    .sub = any_binary(50, [](auto a, auto b, const Params&) { return a - b; },
                      [](auto a, auto b, const Params&) { return wrap_sub(a, b); }),
    .mul = any_binary(50, [](auto a, auto b, const Params&) { return a * b; },
                      [](auto a, auto b, const Params&) { return wrap_mul(a, b); }),
    .div = float_binary(100, [](auto a, auto b, const Params&) { return a / b; }),
    .floor_divide = any_binary(1500, [](auto a, auto b, const Params&) { return float_floor_divide(a, b); },
                      [](auto a, auto b, const Params&) { return int_floor_divide(a, b); }),
    .trunc_divide = any_binary(1000, [](auto a, auto b, const Params&) { return trunc(a / b); },
                      [](auto a, auto b, const Params&) { return int_trunc_divide(a, b); }),
    .remainder = any_binary(1500, [](auto a, auto b, const Params&) { return float_remainder(a, b); },
                      [](auto a, auto b, const Params&) { return int_remainder(a, b); }),
    .fmod = any_binary(1500, [](auto a, auto b, const Params&) { return c_fmod(a, b); },
                      [](auto a, auto b, const Params&) { return int_fmod(a, b); }),
    .pow = any_binary(3000, [](auto a, auto b, const Params&) { return pow(a, b); },
                      [](auto a, auto b, const Params&) { return int_pow(a, b); }),
    .maximum = any_binary(50, [](auto a, auto b, const Params&) { return maximum(a, b); },
                      [](auto a, auto b, const Params&) { return a > b ? a : b; }),
    .minimum = any_binary(50, [](auto a, auto b, const Params&) { return minimum(a, b); },
                      [](auto a, auto b, const Params&) { return a < b ? a : b; }),
    .fmax = any_binary(50, [](auto a, auto b, const Params&) { return fmax(a, b); },
                      [](auto a, auto b, const Params&) { return a > b ? a : b; }),
    .fmin = any_binary(50, [](auto a, auto b, const Params&) { return fmin(a, b); },
                      [](auto a, auto b, const Params&) { return a < b ? a : b; }),
    .clamp_min = any_binary(50, [](auto a, auto b, const Params&) { return maximum(a, b); },
                      [](auto a, auto b, const Params&) { return a > b ? a : b; }),
    .clamp_max = any_binary(50, [](auto a, auto b, const Params&) { return minimum(a, b); },
                      [](auto a, auto b, const Params&) { return a < b ? a : b; }),
    .atan2 = float_binary(3000, [](auto a, auto b, const Params&) { return atan2(a, b); }),
    .hypot = float_binary(1000, [](auto a, auto b, const Params&) { return c_hypot(a, b); }),
    .copysign = float_binary(50, [](auto a, auto b, const Params&) { return copysign(a, b); }),
    .xlogy = float_binary(1500, [](auto a, auto b, const Params&) {
                      using V = decltype(a);
                      return select(isnan(b), b, select(a == V(0), V(0), a * log(b))); }),
    .logaddexp = float_binary(3000, [](auto a, auto b, const Params&) { return logaddexp_any(a, b, 1.0); }),
    .logaddexp2 = float_binary(3000, [](auto a, auto b, const Params&) { return logaddexp_any(a, b, kLn2); }),
    .nextafter = float_binary(200, [](auto a, auto b, const Params&) { return c_nextafter(a, b); }),
    .heaviside = any_binary(100, [](auto x, auto v, const Params&) {
                      using V = decltype(x);
                      const V step = select(x > V(0), V(1), V(0));
                      return select(isnan(x), x, select(x == V(0), v, step)); },
                      [](auto x, auto v, const Params&) { return x == 0 ? v : static_cast<decltype(x)>(x > 0); }),
    .ldexp = float_binary(500, [](auto a, auto b, const Params&) { return c_ldexp(a, b); }),
    .gcd = int_binary(20000, [](auto a, auto b, const Params&) { return int_gcd(a, b); }),
    .lcm = int_binary(20000, [](auto a, auto b, const Params&) { return int_lcm(a, b); }),
    .bitwise_and = bit_binary(50, [](auto a, auto b, const Params&) { return a & b; }),
    .bitwise_or = bit_binary(50, [](auto a, auto b, const Params&) { return a | b; }),
    .bitwise_xor = bit_binary(50, [](auto a, auto b, const Params&) { return a ^ b; }),
    // A shift by a negative amount or by the width or more: 0 to the left, the sign to the right.
    .shift_left = int_binary(50, [](auto a, auto b, const Params&) {
                      using T = decltype(a);
                      const bool valid = b >= 0 && b < kBits<T>;
                      return valid ? static_cast<T>(static_cast<Unsigned<T>>(a) << (b & (kBits<T> - 1))) : T(0); }),
    .shift_right = int_binary(50, [](auto a, auto b, const Params&) {
                      using T = decltype(a);
                      const bool valid = b >= 0 && b < kBits<T>;
                      return a >> (valid ? b : kBits<T> - 1); }),
    .eq = bit_test_binary(80, [](auto a, auto b, const Params&) { return a == b; }),
    .ne = bit_test_binary(80, [](auto a, auto b, const Params&) { return a != b; }),
    .lt = test_binary(80, [](auto a, auto b, const Params&) { return a < b; }),
    .le = test_binary(80, [](auto a, auto b, const Params&) { return a <= b; }),
    .gt = test_binary(80, [](auto a, auto b, const Params&) { return a > b; }),
    .ge = test_binary(80, [](auto a, auto b, const Params&) { return a >= b; }),
    .logical_and = bit_test_binary(80, [](auto a, auto b, const Params&) { return (a != 0) & (b != 0); }),
    .logical_or = bit_test_binary(80, [](auto a, auto b, const Params&) { return (a != 0) | (b != 0); }),
    .logical_xor = bit_test_binary(80, [](auto a, auto b, const Params&) { return (a != 0) != (b != 0); }),
    .isclose = test_binary(150, [](auto a, auto b, const Params& p) {
                      const double x = static_cast<double>(a), y = static_cast<double>(b);
                      const bool near = __builtin_fabs(x - y) <= p[1] + p[0] * __builtin_fabs(y);
                      const bool finite = __builtin_fabs(x) < INFINITY && __builtin_fabs(y) < INFINITY;
                      const bool both_nan = x != x && y != y && p[2] != 0;
                      return (a == b) | (near & finite) | both_nan; }),
};
// clang-format on

}  // namespace tercel::TERCEL_LEVEL
