// Elementary functions on Vec<float> and Vec<double>; the same bits on avx2 and avx512.
//
// float32: at most 1 ulp (nearly always correctly rounded), subnormals and special values included;
// sigmoid, silu, softplus and rsqrt at most 2 ulp, gelu at most 8 ulp for x >= -5. float64: exp,
// expm1, log*, tanh, sigmoid and what follows from them are vectors with at most 2 ulp; the rest
// calls the C library lane by lane. tests/test_elementwise_numerics.py measures the bounds.
#pragma once

#include "simd/vmath_core.h"

namespace tercel::simd {
namespace {

// ---- exp
// ---------------------------------------------------------------------------------------------

// 2^k y for integral |k| <= 252 and y in [1/2, 2): rounds once, subnormal results included.
TERCEL_SIMD VecF scale_by_power(VecF y, VecI k) {
  const VecI half = shift_right_signed<1>(k);
  const VecF first = as_float(shift_left<23>(half + VecI(127)));
  const VecF second = as_float(shift_left<23>(k - half + VecI(127)));
  return y * first * second;
}
TERCEL_SIMD VecD scale_by_power(VecD y, VecD k) {  // |k| <= 2000
  const VecD half = floor(k * VecD(0.5));
  const VecL first = as_int(half + VecD(kRoundMagic)) + VecL(1023);
  const VecL second = as_int(k - half + VecD(kRoundMagic)) + VecL(1023);
  return y * as_double(shift_left<52>(first)) * as_double(shift_left<52>(second));
}

// e^x = 2^k (1 + q): x = k ln2 + r, q = e^r - 1 to 2^-26, degree 7, wholly in float32. `high` is
// exact and the rounding of r matters only in the small quadratic part.
constexpr float kExpF[] = {0.5f,         0.16666667f,  0.041666465f,
                           0.008333311f, 0.001393365f, 0.00019890991f};
struct ExpPartsF {
  VecI k;
  VecF q;
};
TERCEL_INLINE ExpPartsF exp_parts(VecF x) {
  constexpr float kMagic = 0x1.8p23f;
  const VecF shifted = fma(x, VecF(1.44269504f), VecF(kMagic));
  const VecF k = shifted - VecF(kMagic);
  const VecF high = fnma(k, VecF(0.693145752f), x);
  const VecF low = k * VecF(1.42860677e-6f);
  const VecF r = high - low;
  return {as_int(shifted) - as_int(VecF(kMagic)), high + fma(r * r, poly(r, kExpF), -low)};
}
TERCEL_INLINE VecF power_of_two(VecI k) {
  return as_float(shift_left<23>(k + VecI(127)));
}  // |k| <= 126
// 0.8 ulp
TERCEL_SIMD VecF exp(VecF x) {
  const ExpPartsF e = exp_parts(min_or_second(VecF(89.0f), max_or_second(VecF(-104.0f), x)));
  return scale_by_power(e.q + VecF(1.0f), e.k);
}
TERCEL_SIMD VecD exp(VecD x) {
  const VecD clamped = clamp_keep_nan(x, -746.0, 710.0);
  const ExpParts e = exp_parts(clamped);
  const VecD p = fma(e.r * e.r, exp_poly_d(e.r), e.r) + VecD(1.0);
  return scale_by_power(p, e.k);
}

TERCEL_SIMD VecF expm1(VecF x) {
  const VecF y = in_double(x, [](VecD v) { return expm1_f(clamp_keep_nan(v, -104.0, 90.0)); });
  return select(x == VecF(0.0f), x, y);  // keeps -0
}
TERCEL_SIMD VecD expm1(VecD x) {
  const VecD clamped = clamp_keep_nan(x, -746.0, 709.9);
  const ExpParts e = exp_parts(clamped);
  const VecD p = fma(e.r * e.r, exp_poly_d(e.r), e.r);
  // 2^k p + (2^k - 1); halved for the largest k, whose 2^k overflows
  const VecD k = e.k - VecD(1.0);
  const VecD half_scale = scale_by_power(VecD(1.0), k);
  const VecD y = fma(half_scale, p, half_scale - VecD(0.5)) * VecD(2.0);
  return select(abs(x) < VecD(0x1p-54), x, select(x > VecD(709.8), VecD(INFINITY), y));
}

// x = k + r exactly; e^(r ln2) with the rounding of r ln2 carried along. 0.8 ulp
TERCEL_SIMD VecF exp2(VecF x) {
  constexpr float kMagic = 0x1.8p23f, kLn2 = 0.693147182f, kLn2Low = -1.90465421e-9f;
  const VecF y = min_or_second(VecF(129.0f), max_or_second(VecF(-151.0f), x));
  const VecF shifted = y + VecF(kMagic);
  const VecF r = y - (shifted - VecF(kMagic));
  const VecF t = r * VecF(kLn2), low = fma(r, VecF(kLn2), -t) + r * VecF(kLn2Low);
  const VecF q = t + fma(t * t, poly(t, kExpF), low);
  return scale_by_power(q + VecF(1.0f), as_int(shifted) - as_int(VecF(kMagic)));
}
TERCEL_SIMD VecD exp2(VecD x) {
  return by_lane(x, [](double v) { return ::exp2(v); });
}

// ---- logarithms
// --------------------------------------------------------------------------------------

TERCEL_SIMD VecF log(VecF x) {
  return in_double(x, [](VecD v) { return log_special(v, log_positive_f(v)); });
}
TERCEL_SIMD VecF log2(VecF x) {
  return in_double(x, [](VecD v) {
    const LogParts p = log_parts(v);
    return log_special(v, fma(p.f * log1p_poly_f(p.f), VecD(kLog2E), p.e));
  });
}
TERCEL_SIMD VecF log10(VecF x) {
  return in_double(
      x, [](VecD v) { return log_special(v, log_positive_f(v) * VecD(0.4342944819032518)); });
}
// log(1 + x): c / u corrects the rounding of u = 1 + x.
TERCEL_SIMD VecD log1p_f(VecD x) {
  const VecD u = VecD(1.0) + x;
  return log_positive_f(u) + (x - (u - VecD(1.0)));
}
TERCEL_SIMD VecF log1p(VecF x) {
  const VecF y = in_double(x, [](VecD v) {
    const VecD u = VecD(1.0) + v;
    const VecD bounded = log_positive_f(u) + (v - (u - VecD(1.0)));
    return log_special(u, bounded);
  });
  return select(x == VecF(0.0f), x, y);
}

TERCEL_SIMD VecD log(VecD x) {
  const auto tiny = x < VecD(0x1p-1022);
  const LogParts p = log_parts(select(tiny, x * VecD(0x1p54), x));
  return log_special(x, log1p_reduced_d(p.f, p.e - select(tiny, VecD(54.0), VecD(0.0))));
}
TERCEL_SIMD VecD log1p(VecD x) {
  const VecD u = VecD(1.0) + x;
  const LogParts p = log_parts(u);
  const VecD c = select(u == VecD(INFINITY), VecD(0.0),
                        select(x < VecD(0x1p53), x - (u - VecD(1.0)), VecD(0.0)));
  const VecD y = log1p_reduced_d(p.f, p.e) + c / u;
  return select(abs(x) < VecD(0x1p-54), x, log_special(u, y));
}
TERCEL_SIMD VecD log2(VecD x) {
  return by_lane(x, [](double v) { return ::log2(v); });
}
TERCEL_SIMD VecD log10(VecD x) {
  return by_lane(x, [](double v) { return ::log10(v); });
}

// ---- logistic functions
// ------------------------------------------------------------------------------

// 1 / (1 + e^-t) = n / (1 + e), e = e^-|t|, n = t < 0 ? e : 1: no overflow, full relative accuracy.
TERCEL_INLINE Wide sigmoid_wide(Wide t) {
  const Wide e = map(t, [](VecD v) { return exp_f(-min_or_second(VecD(700.0), abs(v))); });
  const Wide r = reciprocal(map(e, [](VecD v) { return VecD(1.0) + v; }));
  const Wide n = map(t, e, [](VecD v, VecD w) { return select(v < VecD(0.0), w, VecD(1.0)); });
  return map(n, r, [](VecD v, VecD w) { return v * w; });
}
// In float32 with the rounding errors of 1 + e and of the quotient fed back: y + correction, 0.6
// ulp.
struct SigmoidParts {
  VecF y, correction;
};
TERCEL_INLINE SigmoidParts sigmoid_parts(VecF x) {  // x >= -86 or NaN
  const ExpPartsF p = exp_parts(-min_or_second(VecF(86.0f), abs(x)));
  const VecF scale = power_of_two(p.k), tail = scale * p.q;  // e = scale + tail
  const VecF base = scale + VecF(1.0f), s = base + tail;
  const VecF s_low = tail - (s - base) + (scale - (base - VecF(1.0f)));
  const VecF e = scale + tail, e_low = tail - (e - scale);
  const auto negative = x < VecF(0.0f);
  const VecF n = select(negative, e, VecF(1.0f)), n_low = select(negative, e_low, VecF(0.0f));
  const VecF y = n / s;
  const VecF residual = fnma(y, s, n) + fnma(y, s_low, n_low);
  return {y, residual * fnma(s, VecF(0.4857f), VecF(1.4571f))};  // 1 / s on [1, 2] to 6 %
}
// Below -86 the result is nearly subnormal; those lanes are recomputed in double.
TERCEL_SIMD VecF sigmoid(VecF x) {
  const SigmoidParts p = sigmoid_parts(x);
  const VecF y = p.y + p.correction;
  const auto tiny = x < VecF(-86.0f);
  if (any(tiny)) [[unlikely]]
    return select(tiny, narrow(sigmoid_wide(widen(x))), y);
  return y;
}
TERCEL_SIMD VecD sigmoid(VecD x) {
  const VecD e = exp(-abs(x));
  return select(x < VecD(0.0), e, VecD(1.0)) / (VecD(1.0) + e);
}
// x sigmoid(x); the limit at -infinity is 0
TERCEL_SIMD VecF silu(VecF x) {
  const SigmoidParts p = sigmoid_parts(x);
  const VecF t = x * p.y;
  const VecF y = t + fma(x, p.correction, fma(x, p.y, -t));
  const auto special = !(abs(x) < VecF(80.0f));
  if (any(special)) [[unlikely]] {
    const Wide w = map(widen(x), [](VecD v) { return max_or_second(VecD(-600.0), v); });
    return select(special, narrow(map(w, sigmoid_wide(w), [](VecD v, VecD s) { return v * s; })),
                  y);
  }
  return y;
}
TERCEL_SIMD VecD silu(VecD x) {
  const VecD t = max_or_second(VecD(-1e300), x);
  return t * sigmoid(t);
}
// log(1 + e^x)
TERCEL_SIMD VecF softplus(VecF x) {
  return in_double(x, [](VecD v) {
    const VecD e = exp_f(-min_or_second(VecD(700.0), abs(v)));
    return max_or_second(VecD(0.0), v) + log1p_f(e);
  });
}
TERCEL_SIMD VecD softplus(VecD x) { return maximum(x, VecD(0.0)) + log1p(exp(-abs(x))); }

// tanh |x| = 1 - d, d = 2 / (e^(2|x|) + 1) with the roundings of sum and quotient fed back; an odd
// polynomial below 0.64. 0.9 ulp.
TERCEL_SIMD VecF tanh(VecF x) {
  static constexpr float c[] = {-0.333333331f, 0.133332964f,    -0.0539575951f,
                                0.0217557003f, -0.00830169536f, 0.00224600369f};
  const VecF a = min_or_second(VecF(10.0f), abs(x));
  const ExpPartsF p = exp_parts(a + a);
  const VecF scale = power_of_two(p.k), base = scale + VecF(1.0f), tail = scale * p.q;
  const VecF s = base + tail, s_low = tail - (s - base);
  const VecF d = VecF(2.0f) / s;
  const VecF residual = fnma(d, s_low, fnma(d, s, VecF(2.0f)));
  const VecF far = VecF(1.0f) - fma(residual * d, VecF(0.5f), d);
  const VecF z = x * x;
  const VecF near = fma(a * z, poly(z, c), a);
  return copysign(select(a < VecF(0.64f), near, far), x);
}
// (e^(2|x|) - 1) / (e^(2|x|) + 1)
TERCEL_SIMD VecD tanh(VecD x) {
  const VecD m = expm1(min_or_second(VecD(44.0), abs(x) + abs(x)));
  return copysign(m / (m + VecD(2.0)), x);
}

// ---- hyperbolic
// --------------------------------------------------------------------------------------

TERCEL_SIMD VecF sinh(VecF x) {
  const VecF y = in_double(abs(x), [](VecD v) {
    const VecD m = expm1_f(min_or_second(VecD(91.0), v));
    return VecD(0.5) * (m + m / (m + VecD(1.0)));
  });
  return copysign(y, x);
}
TERCEL_SIMD VecF cosh(VecF x) {
  return in_double(abs(x), [](VecD v) {
    const VecD e = exp_f(min_or_second(VecD(91.0), v));
    return VecD(0.5) * (e + VecD(1.0) / e);
  });
}
TERCEL_SIMD VecF asinh(VecF x) {
  const VecF y = in_double(abs(x), [](VecD v) {
    const VecD square = v * v;
    const VecD near = log1p_f(v + square / (VecD(1.0) + sqrt(square + VecD(1.0))));
    return select(v > VecD(1e15), log_positive_f(v) + VecD(kLn2), near);
  });
  return copysign(select(abs(x) == VecF(INFINITY), abs(x), y), x);
}
TERCEL_SIMD VecF acosh(VecF x) {
  const VecF y = in_double(x, [](VecD v) {
    const VecD t = v - VecD(1.0);
    const VecD near = log1p_f(t + sqrt(t * (v + VecD(1.0))));
    return log_special(t, select(v > VecD(1e15), log_positive_f(v) + VecD(kLn2), near));
  });
  return select(x == VecF(1.0f), VecF(0.0f), y);
}
TERCEL_SIMD VecF atanh(VecF x) {
  const VecF y = in_double(abs(x), [](VecD v) {
    const VecD u = VecD(1.0) - v;
    const VecD t = VecD(0.5) * log1p_f((v + v) / u);
    return select(u == VecD(0.0), VecD(INFINITY), select(u < VecD(0.0), VecD(NAN), t));
  });
  return copysign(y, x);
}

// ---- trigonometric
// -----------------------------------------------------------------------------------

// x = q pi/2 + r, |r| <= pi/4, for |x| < 2^30; low bits of `quadrant` hold q.
struct Quadrant {
  VecL quadrant;
  VecD r;
};
TERCEL_INLINE Quadrant reduce_half_pi(VecD x) {
  const VecD shifted = fma(x, VecD(0.6366197723675814), VecD(kRoundMagic));
  const VecD k = shifted - VecD(kRoundMagic);
  const VecD r = fnma(k, VecD(0x1.1a62633145c07p-54), fnma(k, VecD(0x1.921fb54442d18p+0), x));
  return {as_int(shifted), r};
}
// |r| <= pi/4, 2^-42 and 2^-40
TERCEL_SIMD VecD sin_poly(VecD r) {
  static constexpr double c[] = {-0.1666666666666387, 0.00833333333107021, -0.00019841266908224796,
                                 2.7555988280021408e-06, -2.4805390945765667e-08};
  const VecD z = r * r;
  return fma(r * z, poly(z, c), r);
}
TERCEL_SIMD VecD cos_poly(VecD r) {
  static constexpr double c[] = {-0.4999999999996371, 0.04166666663727906, -0.001388888508002599,
                                 2.479985875074885e-05, -2.723682200188568e-07};
  const VecD z = r * r;
  return fma(z, poly(z, c), VecD(1.0));
}
// sin(r + q pi/2); cos is one quadrant further
template <int kShift>
TERCEL_SIMD VecD sin_quadrant(VecD x) {
  const Quadrant p = reduce_half_pi(x);
  const VecL q = p.quadrant + VecL(kShift);
  const VecD y = select((q & VecL(1)) == VecL(0), sin_poly(p.r), cos_poly(p.r));
  return as_double(as_int(y) ^ shift_left<62>(q & VecL(2)));
}
// Angles from 2^30 on go to the C library, lane by lane: a lane's result never depends on its
// neighbours.
template <class F>
TERCEL_SIMD VecF with_huge_angles(VecF x, VecF y, F scalar) {
  const auto huge = !(abs(x) < VecF(0x1p30f));
  if (any(huge)) [[unlikely]]
    return select(huge, by_lane(x, scalar), y);
  return y;
}
TERCEL_SIMD VecF sin(VecF x) {
  const VecF y = in_double(x, [](VecD v) { return sin_quadrant<0>(v); });
  return with_huge_angles(x, select(x == VecF(0.0f), x, y), [](double v) { return ::sin(v); });
}
TERCEL_SIMD VecF cos(VecF x) {
  const VecF y = in_double(x, [](VecD v) { return sin_quadrant<1>(v); });
  return with_huge_angles(x, y, [](double v) { return ::cos(v); });
}
TERCEL_SIMD VecF tan(VecF x) {
  const VecF y = in_double(x, [](VecD v) {
    const Quadrant p = reduce_half_pi(v);
    const VecD s = sin_poly(p.r), c = cos_poly(p.r);
    const auto even = (p.quadrant & VecL(1)) == VecL(0);
    return select(even, s, -c) / select(even, c, s);
  });
  return with_huge_angles(x, select(x == VecF(0.0f), x, y), [](double v) { return ::tan(v); });
}

// (atan(t) / t - 1) / t^2, |t| <= tan(pi/8), 2^-39
TERCEL_SIMD VecD atan_reduced(VecD t) {
  static constexpr double c[] = {-0.33333333333265697, 0.1999999994953061,  -0.14285708076608972,
                                 0.11110818413358015,  -0.0908407814166329, 0.0760457948685042,
                                 -0.06026298394694589, 0.03293875797459693};
  const VecD z = t * t;
  return fma(t * z, poly(z, c), t);
}
// atan(n / d) for n, d >= 0, in [0, pi/2]: one division after choosing the interval.
TERCEL_SIMD VecD atan_ratio(VecD n, VecD d) {
  const auto large = n > VecD(2.414213562373095) * d;
  const auto middle = (!large) & (n > VecD(0.4142135623730950) * d);
  const VecD num = select(large, -d, select(middle, n - d, n));
  const VecD den = select(large, n, select(middle, n + d, d));
  const VecD base =
      select(large, VecD(1.5707963267948966), select(middle, VecD(0.7853981633974483), VecD(0.0)));
  return base + atan_reduced(num / den);
}
TERCEL_SIMD VecF atan(VecF x) {
  const VecF y = in_double(min_or_second(VecF(0x1p100f), abs(x)),
                           [](VecD v) { return atan_ratio(v, VecD(1.0)); });
  return copysign(y, x);
}
TERCEL_SIMD VecF atan2(VecF y, VecF x) {
  const VecF angle = in_double(y, x, [](VecD v, VecD u) {
    const VecD n = abs(v), d = abs(u);
    const auto both_infinite = (n == VecD(INFINITY)) & (d == VecD(INFINITY));
    const auto both_zero = (n == VecD(0.0)) & (d == VecD(0.0));
    const VecD top = select(both_infinite, VecD(1.0), min_or_second(VecD(1e300), n));
    const VecD bottom = select(both_infinite | both_zero, VecD(1.0), min_or_second(VecD(1e300), d));
    const VecD a = atan_ratio(top, bottom);
    const auto negative = as_int(u) < VecL(0);
    const VecD t = select(negative, VecD(3.141592653589793) - a, a);
    return select(isnan(u) | isnan(v), u + v, copysign(t, v));
  });
  return angle;
}
// (asin(x) / x - 1) / x^2 in z = x^2 <= 1/4, 2^-42
TERCEL_SIMD VecD asin_reduced(VecD x) {
  static constexpr double c[] = {0.1666666666666218,   0.07500000003584559,  0.04464285243793872,
                                 0.030382182776212505, 0.022366065938884676, 0.01744149568549626,
                                 0.013187916136732687, 0.015675662527148217, -0.0029397929068793382,
                                 0.027907031432797182};
  const VecD z = x * x;
  return fma(x * z, poly(z, c), x);
}
// asin(a) for a > 1/2 as pi/2 - 2 asin(sqrt((1 - a) / 2))
TERCEL_SIMD VecF asin(VecF x) {
  const VecF y = in_double(abs(x), [](VecD v) {
    const auto large = v > VecD(0.5);
    const VecD s = asin_reduced(select(large, sqrt((VecD(1.0) - v) * VecD(0.5)), v));
    return select(large, VecD(1.5707963267948966) - (s + s), s);
  });
  return copysign(y, x);
}
TERCEL_SIMD VecF acos(VecF x) {
  return in_double(x, [](VecD v) {
    const VecD a = abs(v);
    const auto large = a > VecD(0.5);
    const VecD s = asin_reduced(select(large, sqrt((VecD(1.0) - a) * VecD(0.5)), v));
    const VecD twice = s + s;
    const VecD far = select(v < VecD(0.0), VecD(3.141592653589793) - twice, twice);
    return select(large, far, VecD(1.5707963267948966) - s);
  });
}

// ---- error function
// ----------------------------------------------------------------------------------

// erfc(a) = e^(-a^2) r P((a - 3) r), r = 1 / (a + 3), a in [0, 10.3], 2^-33
TERCEL_INLINE Wide erfc_positive(Wide a) {
  static constexpr double c[] = {
      1.074006907056657,      -0.8833944538312013,    0.5902283618105488,     -0.31046722592018794,
      0.11952766224269216,    -0.026827822952250835,  -0.0012118587003840033, 0.0030381649292226054,
      -0.0005479922914070011, -0.0002893784487262687, 9.803716350411861e-05,  4.309408288841706e-05,
      1.2605377122776752e-06};
  const Wide r = reciprocal(map(a, [](VecD v) { return v + VecD(3.0); }));
  return map(a, r,
             [](VecD v, VecD w) { return w * poly((v - VecD(3.0)) * w, c) * exp_f(-(v * v)); });
}
TERCEL_SIMD VecF erfc(VecF x) {
  const Wide c =
      erfc_positive(map(widen(abs(x)), [](VecD v) { return min_or_second(VecD(10.3), v); }));
  return narrow(
      map(widen(x), c, [](VecD v, VecD w) { return select(v < VecD(0.0), VecD(2.0) - w, w); }));
}
// |x| < 1: x E(x^2), 2^-40; beyond: 1 - e^(-L(|x|)), L = -log(erfc) on [1, 3.95] to 2^-30 of the
// result.
TERCEL_SIMD VecF erf(VecF x) {
  const VecF y = in_double(abs(x), [](VecD v) {
    static constexpr double e[] = {
        1.1283791670946768,    -0.3761263888963531,     0.11283791308604582,
        -0.026866133235095593, 0.0052237834771892465,   -0.0008542637997087197,
        0.0001195656256820697, -1.3909340021872547e-05, 1.05893806410702e-06};
    static constexpr double l[] = {
        -0.00032935708916175096, 1.1302720746674073,    0.631757550491118,
        0.11014717947379468,     -0.026460879151718537, 0.004774191028112514,
        -0.0006000554789651303,  4.645992365415976e-05, -1.6583205215661658e-06};
    const VecD a = min_or_second(VecD(3.95), v);
    const VecD far = VecD(1.0) - exp_f(-poly(a, l));
    return select(v < VecD(1.0), v * poly(v * v, e), far);
  });
  return copysign(y, x);
}
// erfcx(a) = r P((a - 3) r), r = 1 / (a + 3), a in [0, 10.3], in float32: 2^-22
TERCEL_SIMD VecF erfcx_positive(VecF a) {
  static constexpr float c[] = {1.07400691f,      -0.883394489f,    0.59022838f,     -0.310465944f,
                                0.119528008f,     -0.0268406713f,   -0.00122206977f, 0.00308496267f,
                                -0.000488118908f, -0.000333316784f, -2.56155597e-06f};
  const VecF r = VecF(1.0f) / (a + VecF(3.0f));
  return r * poly((a - VecF(3.0f)) * r, c);
}
// e^(-x^2 / 2): the square is carried exactly, in two parts
TERCEL_SIMD VecF exp_half_square(VecF x) {
  const VecF square = x * x, low = fma(x, x, -square);
  const VecF e = exp(square * VecF(-0.5f));
  return fma(e, low * VecF(-0.5f), e);
}
// x / 2 erfc(-x / sqrt(2)): no cancellation in the left tail. Left of -14.5 the result is below
// 1e-45.
TERCEL_SIMD VecF gelu(VecF x) {
  const VecF a = min_or_second(VecF(14.5f), abs(x));
  const VecF c = erfcx_positive(a * VecF(0.707106781f)) * exp_half_square(a);
  // To the right, x minus the mirrored tail: one rounding. `a` is finite where x is not.
  return fma(VecF(-0.5f) * a, c, select(x < VecF(0.0f), VecF(0.0f), x));
}
// x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3)
TERCEL_SIMD VecF gelu_tanh(VecF x) {
  const Wide t = map(widen(x), [](VecD v) { return max_or_second(VecD(-20.0), v); });
  const Wide u = map(t, [](VecD v) {
    return v * fma(v * v, VecD(0.07135481627260025), VecD(1.5957691216057308));
  });
  return narrow(map(t, sigmoid_wide(u), [](VecD v, VecD s) { return v * s; }));
}
TERCEL_SIMD VecD gelu(VecD x) {
  const VecD t = max_or_second(VecD(-40.0), x);
  return VecD(0.5) * t * by_lane(t * VecD(-0.7071067811865476), [](double v) { return ::erfc(v); });
}
TERCEL_SIMD VecD gelu_tanh(VecD x) {
  const VecD t = max_or_second(VecD(-40.0), x);
  return t * sigmoid(t * fma(t * t, VecD(0.07135481627260025), VecD(1.5957691216057308)));
}

// Giles (2012) gives seven digits; two Newton steps on erf or erfc the rest.
TERCEL_INLINE double erfinv_scalar(double x) {
  const double a = ::fabs(x);
  if (!(a < 1.0)) return a == 1.0 ? ::copysign(INFINITY, x) : NAN;
  double w = -::log((1.0 - a) * (1.0 + a)), p;
  if (w < 5.0) {
    w -= 2.5;
    p = 2.81022636e-08;
    p = 3.43273939e-07 + p * w;
    p = -3.5233877e-06 + p * w;
    p = -4.39150654e-06 + p * w;
    p = 0.00021858087 + p * w;
    p = -0.00125372503 + p * w;
    p = -0.00417768164 + p * w;
    p = 0.246640727 + p * w;
    p = 1.50140941 + p * w;
  } else {
    w = ::sqrt(w) - 3.0;
    p = -0.000200214257;
    p = 0.000100950558 + p * w;
    p = 0.00134934322 + p * w;
    p = -0.00367342844 + p * w;
    p = 0.00573950773 + p * w;
    p = -0.0076224613 + p * w;
    p = 0.00943887047 + p * w;
    p = 1.00167406 + p * w;
    p = 2.83297682 + p * w;
  }
  double y = p * a;
  for (int step = 0; step < 2; ++step) {
    const double error = a < 0.5 ? ::erf(y) - a : (1.0 - a) - ::erfc(y);
    const double slope = 1.1283791670955126 * ::exp(-y * y);
    const double newton = error / slope;
    y -= newton / (1.0 + y * newton);  // Halley
  }
  return ::copysign(y, x);
}

// ---- powers
// ------------------------------------------------------------------------------------------

// |x|^y = 2^(y log2|x|) in double, then the sign and special cases of C99 pow.
TERCEL_SIMD VecF pow(VecF base, VecF exponent) {
  return in_double(base, exponent, [](VecD x, VecD y) {
    const VecD a = abs(x);
    const VecD magnitude = log_special(a, log_positive_d(a));
    const VecD product = y * magnitude;
    VecD p = exp_f(clamp_keep_nan(product, -700.0, 700.0));
    const VecD rounded = round(y);
    const auto integral = rounded == y;
    const auto odd = integral & !(round(y * VecD(0.5)) * VecD(2.0) == y);
    const auto negative = as_int(x) < VecL(0);
    p = select(negative & odd, -p, p);
    p = select((x < VecD(0.0)) & !integral & (a < VecD(INFINITY)), VecD(NAN), p);
    p = select(isnan(x) | isnan(y), x + y, p);
    const auto one =
        (y == VecD(0.0)) | (x == VecD(1.0)) | ((a == VecD(1.0)) & (abs(y) == VecD(INFINITY)));
    return select(one, VecD(1.0), p);
  });
}
TERCEL_SIMD VecD pow(VecD x, VecD y) {
  return by_lane(x, y, [](double a, double b) { return ::pow(a, b); });
}

template <class V>
TERCEL_INLINE V rsqrt(V x) {
  return V(1) / sqrt(x);
}

}  // namespace
}  // namespace tercel::simd

#include "simd/vmath_scalar.h"
