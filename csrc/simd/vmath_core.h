// Building blocks of vmath.h: polynomials and double-precision cores.
//
// Most float32 functions are evaluated in double vectors with polynomials good to 2^-30 or better
// and rounded once, so their error stays near 0.5 ulp with no special care for cancellation or
// subnormals. "Grade F" cores serve float32 (relative error < 2^-30); the grade D ones serve
// float64 (< 2 ulp). Polynomials are Chebyshev interpolants of the function named beside them, on
// the interval stated.
#pragma once

#include <math.h>

#include "simd/vec.h"

namespace tercel::simd {
namespace {

// c0 + c1 x + c2 x^2 + ...: even and odd coefficients in two independent Horner chains.
template <class V, int N>
TERCEL_INLINE V poly(V x, const typename V::Scalar (&c)[N]) {
  const V x2 = x * x;
  constexpr int kEven = (N - 1) / 2 * 2, kOdd = N / 2 * 2 - 1;
  V even(c[kEven]), odd(c[kOdd]);
  for (int i = kEven - 2; i >= 0; i -= 2) even = fma(even, x2, V(c[i]));
  for (int i = kOdd - 2; i >= 1; i -= 2) odd = fma(odd, x2, V(c[i]));
  return fma(odd, x, even);
}

// The same as one chain: fewer operations and smaller intermediate values where signs alternate.
template <class V, int N>
TERCEL_INLINE V horner(V x, const typename V::Scalar (&c)[N]) {
  V y(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, V(c[i]));
  return y;
}

// A value and what rounding it has lost.
template <class V>
struct Pair {
  V high, low;
};
// a + b exactly, for |a| >= |b| or a = 0
template <class V>
TERCEL_INLINE Pair<V> fast_sum(V a, V b) {
  const V s = a + b;
  return {s, b - (s - a)};
}
// a + b exactly, whichever is larger
template <class V>
TERCEL_INLINE Pair<V> exact_sum(V a, V b) {
  const V s = a + b, back = s - a;
  return {s, (a - (s - back)) + (b - back)};
}
template <class V>
TERCEL_INLINE Pair<V> operator*(Pair<V> a, Pair<V> b) {
  const V p = a.high * b.high;
  return {p, fma(a.high, b.high, -p) + fma(a.high, b.low, a.low * b.high)};
}
template <class V>
TERCEL_INLINE V rounded(Pair<V> x) {
  return x.high + x.low;
}

// Applies f to both halves of a float vector in double precision.
template <class F>
TERCEL_INLINE VecF in_double(VecF x, F f) {
  return to_float(f(to_double_lo(x)), f(to_double_hi(x)));
}
template <class F>
TERCEL_INLINE VecF in_double(VecF x, VecF y, F f) {
  return to_float(f(to_double_lo(x), to_double_lo(y)), f(to_double_hi(x), to_double_hi(y)));
}
// Applies a scalar double function to every lane.
template <class F>
TERCEL_INLINE VecF by_lane(VecF x, F f) {
  float t[16];
  x.store(t);
  for (int i = 0; i < 16; ++i) t[i] = static_cast<float>(f(static_cast<double>(t[i])));
  return VecF::load(t);
}
template <class F>
TERCEL_INLINE VecD by_lane(VecD x, F f) {
  double t[8];
  x.store(t);
  for (int i = 0; i < 8; ++i) t[i] = f(t[i]);
  return VecD::load(t);
}
template <class F>
TERCEL_INLINE VecF by_lane(VecF x, VecF y, F f) {
  float t[16], u[16];
  x.store(t);
  y.store(u);
  for (int i = 0; i < 16; ++i)
    t[i] = static_cast<float>(f(static_cast<double>(t[i]), static_cast<double>(u[i])));
  return VecF::load(t);
}
template <class F>
TERCEL_INLINE VecD by_lane(VecD x, VecD y, F f) {
  double t[8], u[8];
  x.store(t);
  y.store(u);
  for (int i = 0; i < 8; ++i) t[i] = f(t[i], u[i]);
  return VecD::load(t);
}

// Both halves of 16 float lanes held in double.
struct Wide {
  VecD lo, hi;
};
TERCEL_INLINE Wide widen(VecF x) { return {to_double_lo(x), to_double_hi(x)}; }
TERCEL_INLINE VecF narrow(Wide x) { return to_float(x.lo, x.hi); }
template <class F>
TERCEL_INLINE Wide map(Wide x, F f) {
  return {f(x.lo), f(x.hi)};
}
template <class F>
TERCEL_INLINE Wide map(Wide x, Wide y, F f) {
  return {f(x.lo, y.lo), f(x.hi, y.hi)};
}
// 1 / x to 2^-46 for |x| within float's normal range: one float division and a Newton step, a third
// of the cost of two double divisions.
TERCEL_INLINE Wide reciprocal(Wide x) {
  const Wide y = widen(VecF(1.0f) / narrow(x));
  return map(x, y, [](VecD d, VecD r) { return fma(r, fnma(d, r, VecD(1.0)), r); });
}

inline constexpr double kLog2E = 1.4426950408889634, kLn2 = 0.6931471805599453;
inline constexpr double kLn2Hi = 0x1.62e42fefa0000p-1, kLn2Lo = 0x1.cf79abc9e3b3ap-40;
inline constexpr double kRoundMagic =
    0x1.8p52;  // adding it leaves the nearest integer in the low bits

// k = nearest integer to x / ln2 (as double), 2^k for |k| <= 1022 and r = x - k ln2.
struct ExpParts {
  VecD k, r, scale;
};
TERCEL_INLINE ExpParts exp_parts(VecD x) {
  const VecD shifted = fma(x, VecD(kLog2E), VecD(kRoundMagic));
  const VecD k = shifted - VecD(kRoundMagic);
  const VecD r = fnma(k, VecD(kLn2Lo), fnma(k, VecD(kLn2Hi), x));
  const VecD scale = as_double(shift_left<52>(as_int(shifted)) + as_int(VecD(1.0)));
  return {k, r, scale};
}
// (e^r - 1) / r, |r| <= ln2 / 2, 2^-37.5
TERCEL_INLINE VecD expm1_poly_f(VecD r) {
  static constexpr double c[] = {
      0.9999999999955055,   0.4999999999995507,   0.1666666678638044,     0.041666666786337556,
      0.008333283518768105, 0.001388883909064138, 0.00019907582591325134, 2.4867883453521802e-05};
  return poly(r, c);
}
// (e^r - 1 - r) / r^2, |r| <= ln2 / 2, 2^-57
TERCEL_INLINE VecD exp_poly_d(VecD r) {
  static constexpr double c[] = {0.5,
                                 0.1666666666666667,
                                 0.04166666666666667,
                                 0.008333333333326136,
                                 0.0013888888888883748,
                                 0.00019841269874820627,
                                 2.4801587325547743e-05,
                                 2.7557255400206422e-06,
                                 2.75572736431103e-07,
                                 2.5105217004720745e-08,
                                 2.0914686968086876e-09};
  return poly(r, c);
}
TERCEL_INLINE VecD clamp_keep_nan(VecD x, double lo, double hi) {
  return min_or_second(VecD(hi), max_or_second(VecD(lo), x));
}

// e^x for |x| <= 700, grade F. NaN stays NaN.
TERCEL_INLINE VecD exp_f(VecD x) {
  const VecD shifted = fma(x, VecD(kLog2E), VecD(kRoundMagic));
  const VecD r = fnma(shifted - VecD(kRoundMagic), VecD(kLn2), x);
  const VecD p = fma(r, expm1_poly_f(r), VecD(1.0));
  return as_double(as_int(p) + shift_left<52>(as_int(shifted)));
}
// e^x - 1 for |x| <= 700, grade F relative to the result.
TERCEL_INLINE VecD expm1_f(VecD x) {
  const ExpParts e = exp_parts(x);
  return fma(e.scale, e.r * expm1_poly_f(e.r), e.scale - VecD(1.0));
}

// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); x positive, finite, normal.
struct LogParts {
  VecD e, f;
};
TERCEL_INLINE LogParts log_parts(VecD x) {
  constexpr int64_t kSqrtHalf = 0x3fe6a09e667f3bcd;
  const VecL shifted = as_int(x) - VecL(kSqrtHalf);
  const VecL biased = shift_right<52>(shifted + VecL(static_cast<int64_t>(1023) << 52));
  const VecD e = as_double(biased | VecL(0x4330000000000000)) - VecD(0x1p52 + 1023.0);
  const VecL exponent_bits = shifted & VecL(static_cast<int64_t>(0xfff0000000000000ull));
  return {e, as_double(as_int(x) - exponent_bits) - VecD(1.0)};
}
// log(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1], 2^-33
TERCEL_INLINE VecD log1p_poly_f(VecD f) {
  static constexpr double c[] = {1.000000000048012,    -0.5000000030845538,  0.3333333084628052,
                                 -0.24999936585814816, 0.2000016963794254,   -0.16670383652377296,
                                 0.14283798395270253,  -0.12410885665961421, 0.11042736039719009,
                                 -0.10898112577877182, 0.10636542375579953,  -0.058456713350896375};
  return poly(f, c);
}
// log(x), positive normal x, grade F.
TERCEL_INLINE VecD log_positive_f(VecD x) {
  const LogParts p = log_parts(x);
  return fma(p.e, VecD(kLn2), p.f * log1p_poly_f(p.f));
}
// log(1 + f) for the reduced f, grade D, split so that `e ln2` can be added last.
TERCEL_INLINE VecD log1p_reduced_d(VecD f, VecD e) {
  static constexpr double c[] = {0.6666666666666666,  0.4000000000000094,  0.2857142857076445,
                                 0.2222222240054776,  0.18181794700897794, 0.15386290534659228,
                                 0.13267418596469616, 0.13100721383550756};
  const VecD s = f / (VecD(2.0) + f);
  const VecD z = s * s;
  const VecD half_square = VecD(0.5) * f * f;
  const VecD tail = fma(s, fma(z, poly(z, c), half_square), e * VecD(kLn2Lo));
  return fma(e, VecD(kLn2Hi), f - (half_square - tail));
}
TERCEL_INLINE VecD log_positive_d(VecD x) {
  const LogParts p = log_parts(x);
  return log1p_reduced_d(p.f, p.e);
}
// Corrects log at 0, negative numbers, infinity and NaN.
TERCEL_INLINE VecD log_special(VecD x, VecD y) {
  y = select(x == VecD(0.0), VecD(-INFINITY), y);
  y = select(x < VecD(0.0), VecD(NAN), y);
  return select((x == VecD(INFINITY)) | isnan(x), x, y);
}

}  // namespace
}  // namespace tercel::simd
