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

TERCEL_INLINE float c_fmod(float a, float b) {
  return static_cast<float>(::fmod(static_cast<double>(a), static_cast<double>(b)));
}
TERCEL_INLINE double c_fmod(double a, double b) { return ::fmod(a, b); }
TERCEL_INLINE float c_floor(float a) { return __builtin_floorf(a); }
TERCEL_INLINE double c_floor(double a) { return __builtin_floor(a); }
TERCEL_INLINE float c_copysign(float a, float b) { return __builtin_copysignf(a, b); }
TERCEL_INLINE double c_copysign(double a, double b) { return __builtin_copysign(a, b); }

// Python's a % b: the sign of the divisor.
template <class T>
TERCEL_INLINE T float_remainder(T a, T b) {
  const T r = c_fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
// Python's a // b, exact also where a / b rounds up to an integer.
template <class T>
TERCEL_INLINE T float_floor_divide(T a, T b) {
  if (b == 0) return a / b;
  const T mod = c_fmod(a, b);
  T div = (a - mod) / b;
  if (mod != 0 && (b < 0) != (mod < 0)) div -= 1;
  if (div == 0) return c_copysign(T(0), a / b);
  const T whole = c_floor(div);
  return div - whole > T(0.5) ? whole + 1 : whole;
}
TERCEL_INLINE VecF c_hypot(VecF a, VecF b) {
  const VecF y = in_double(a, b, [](VecD x, VecD z) { return sqrt(fma(x, x, z * z)); });
  const auto infinite = (abs(a) == VecF(INFINITY)) | (abs(b) == VecF(INFINITY));
  return select(infinite, VecF(INFINITY), y);
}
TERCEL_INLINE VecD c_hypot(VecD a, VecD b) {
  return by_lane(a, b, [](double x, double y) { return ::hypot(x, y); });
}
// log(e^a + e^b) = max + log1p(e^-(|a - b|)); `scale` 1 or ln2 for base 2
TERCEL_INLINE VecD logaddexp_core(VecD a, VecD b, double scale) {
  const VecD top = maximum(a, b), gap = abs(a - b) * VecD(-scale);
  const VecD y = top + log1p(exp(gap)) * VecD(1.0 / scale);
  return select((a == b) & (abs(a) == VecD(INFINITY)), a, y);
}
TERCEL_INLINE VecD logaddexp_any(VecD a, VecD b, double scale) {
  return logaddexp_core(a, b, scale);
}
TERCEL_INLINE VecF logaddexp_any(VecF a, VecF b, double scale) {
  return in_double(a, b, [scale](VecD x, VecD y) {
    const VecD top = maximum(x, y);
    const VecD e = exp_f(max_or_second(VecD(-700.0), abs(x - y) * VecD(-scale)));
    const VecD r = top + log1p_f(e) * VecD(1.0 / scale);
    return select((x == y) & (abs(x) == VecD(INFINITY)), x, r);
  });
}
// x * 2^n, n integral in a float
TERCEL_INLINE VecF c_ldexp(VecF x, VecF n) {
  return in_double(x, n, [](VecD a, VecD b) {
    return scale_by_power(a, max_or_second(VecD(-2000.0), min_or_second(VecD(2000.0), b)));
  });
}
TERCEL_INLINE VecD c_ldexp(VecD x, VecD n) {
  return by_lane(x, n, [](double a, double b) { return a * ::exp2(b); });
}
TERCEL_INLINE float c_nextafter(float a, float b) { return ::nextafterf(a, b); }
TERCEL_INLINE double c_nextafter(double a, double b) { return ::nextafter(a, b); }

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
    .floor_divide = {{scalar_binary<decltype([](float a, float b, const Params&) { return float_floor_divide(a, b); }), float, float>,
                      scalar_binary<decltype([](double a, double b, const Params&) { return float_floor_divide(a, b); }), double, double>,
                      scalar_binary<decltype([](int32_t a, int32_t b, const Params&) { return int_floor_divide(a, b); }), int32_t, int32_t>,
                      scalar_binary<decltype([](int64_t a, int64_t b, const Params&) { return int_floor_divide(a, b); }), int64_t, int64_t>}, 8000},
    .trunc_divide = any_binary(1000, [](auto a, auto b, const Params&) { return trunc(a / b); },
                      [](auto a, auto b, const Params&) { return int_trunc_divide(a, b); }),
    .remainder = {{scalar_binary<decltype([](float a, float b, const Params&) { return float_remainder(a, b); }), float, float>,
                   scalar_binary<decltype([](double a, double b, const Params&) { return float_remainder(a, b); }), double, double>,
                   scalar_binary<decltype([](int32_t a, int32_t b, const Params&) { return int_remainder(a, b); }), int32_t, int32_t>,
                   scalar_binary<decltype([](int64_t a, int64_t b, const Params&) { return int_remainder(a, b); }), int64_t, int64_t>}, 8000},
    .fmod = {{scalar_binary<decltype([](float a, float b, const Params&) { return c_fmod(a, b); }), float, float>,
              scalar_binary<decltype([](double a, double b, const Params&) { return c_fmod(a, b); }), double, double>,
              scalar_binary<decltype([](int32_t a, int32_t b, const Params&) { return int_fmod(a, b); }), int32_t, int32_t>,
              scalar_binary<decltype([](int64_t a, int64_t b, const Params&) { return int_fmod(a, b); }), int64_t, int64_t>}, 8000},
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
    .nextafter = scalar_float_binary(2000, [](auto a, auto b, const Params&) { return c_nextafter(a, b); }),
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
