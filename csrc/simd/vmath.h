// Elementary functions on Vec<float> and Vec<double>; the same bits on avx2 and avx512.
//
// float32: at most 1 ulp, subnormals and special values included; atan, atan2 at most 1.25 ulp,
// erfinv 1.5; sigmoid, silu, softplus and rsqrt 2, gelu 8 for x >= -5. float64:
// vectors with at most 2 ulp (tanh and sinh 3); erfc, erfinv, pow and lgamma call the C library
// lane by lane. tests/test_elementwise_numerics.py measures the bounds.
#pragma once

#include "simd/vmath_log.h"
#include "simd/vmath_trig.h"

namespace tercel::simd {
namespace {

// ---- exp
// ---------------------------------------------------------------------------------------------

// 2^k y for integral |k| <= 252 and y in [1/2, 2): rounds once, subnormal results included.
TERCEL_SIMD VecF scale_by_power(VecF y, VecF k) {
#if defined(TERCEL_LEVEL_AVX512)
  return _mm512_scalef_ps(y.v, k.v);
#else
  const VecI power = to_int(k), half = shift_right_signed<1>(power);
  const VecF first = as_float(shift_left<23>(half + VecI(127)));
  const VecF second = as_float(shift_left<23>(power - half + VecI(127)));
  return y * first * second;
#endif
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
  VecF k, q;
};
TERCEL_INLINE ExpPartsF exp_parts(VecF x) {
  constexpr float kMagic = 0x1.8p23f;
  const VecF shifted = fma(x, VecF(1.44269504f), VecF(kMagic));
  const VecF k = shifted - VecF(kMagic);
  const VecF high = fnma(VecF(0.693145752f), k, x);
  const VecF low = k * VecF(1.42860677e-6f);
  const VecF r = high - low;
  return {k, high + fma(r * r, poly(r, kExpF), -low)};
}
TERCEL_INLINE VecF power_of_two(VecF k) {  // |k| <= 126
  return as_float(shift_left<23>(as_int(k + VecF(0x1.8p23f + 127.0f))));
}
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

// x = k + r exactly; 2^r = 1 + r Q(r), ln2 = Q(0) in two parts. 0.8 ulp
TERCEL_SIMD VecF exp2(VecF x) {
  constexpr float kMagic = 0x1.8p23f;
  static constexpr float c[] = {0.240226507f, 0.055503618f, 0.00961806998f, 0.00133903755f,
                                0.000154596477f};
  const VecF y = min_or_second(VecF(129.0f), max_or_second(VecF(-151.0f), x));
  const VecF shifted = y + VecF(kMagic);
  const VecF k = shifted - VecF(kMagic), r = y - k;
  const VecF q = r * fma(r, horner(r, c), VecF(-1.90465421e-9f));
  return scale_by_power(fma(r, VecF(0.693147182f), q) + VecF(1.0f), k);
}
TERCEL_SIMD VecD exp2(VecD x) {
  const VecD y = clamp_keep_nan(x, -1080.0, 1025.0);
  const VecD k = round(y), r = y - k;
  const VecD t = r * VecD(kLn2), low = fma(r, VecD(kLn2), -t) + r * VecD(0x1.abc9e3b39803fp-56);
  return scale_by_power(t + fma(t * t, exp_poly_d(t), low) + VecD(1.0), k);
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
  return max_or_second(VecF(0.0f), x) + log1p_bounded(exp(-abs(x)));
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

TERCEL_SIMD VecD sinh(VecD x) {  // beyond 709 as (e^(a/2) / 2) e^(a/2)
  const VecD a = abs(x), m = expm1(min_or_second(VecD(709.0), a)), e = exp(VecD(0.5) * a);
  const VecD near = VecD(0.5) * (m + m / (m + VecD(1.0)));
  return copysign(select(a > VecD(709.0), VecD(0.5) * e * e, near), x);
}
TERCEL_SIMD VecD cosh(VecD x) {
  const VecD a = abs(x), e = exp(VecD(0.5) * a), square = exp(min_or_second(VecD(709.0), a));
  const VecD near = VecD(0.5) * (square + VecD(1.0) / square);
  return select(a > VecD(709.0), VecD(0.5) * e * e, near);
}
TERCEL_SIMD VecD asinh(VecD x) {
  const VecD a = abs(x), v = min_or_second(VecD(0x1p100), a), square = v * v;
  const VecD near = log1p(v + square / (VecD(1.0) + sqrt(square + VecD(1.0))));
  return copysign(select(a > VecD(0x1p60), log(a) + VecD(kLn2), near), x);
}
TERCEL_SIMD VecD acosh(VecD x) {
  const VecD v = min_or_second(VecD(0x1p100), x), t = v - VecD(1.0);
  const VecD near = log1p(t + sqrt(t * (v + VecD(1.0))));
  return select(x < VecD(1.0), VecD(NAN), select(x > VecD(0x1p60), log(x) + VecD(kLn2), near));
}
TERCEL_SIMD VecD atanh(VecD x) {
  const VecD a = abs(x);
  return copysign(VecD(0.5) * log1p((a + a) / (VecD(1.0) - a)), x);
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
// Angles that float32 cannot reduce: in double, and from 2^30 on in the C library.
template <class F, class G>
TERCEL_OUTLINE VecF far_angle(VecF x, F reduced, G library) {
  const VecF y = in_double(x, reduced);
  const auto huge = !(abs(x) < VecF(0x1p30f));
  return any(huge) ? select(huge, by_lane(x, library), y) : y;
}
template <class F>
TERCEL_OUTLINE VecD far_angle(VecD x, F library) {
  return by_lane(x, library);
}
TERCEL_SIMD VecF sin(VecF x) {
  return with_large_angles(
      x, [](VecF v) { return sin_near<0>(v); },
      [](VecF v) {
        return far_angle(
            v, [](VecD u) { return sin_quadrant<0>(u); }, [](double u) { return ::sin(u); });
      });
}
TERCEL_SIMD VecF cos(VecF x) {
  return with_large_angles(
      x, [](VecF v) { return sin_near<1>(v); },
      [](VecF v) {
        return far_angle(
            v, [](VecD u) { return sin_quadrant<1>(u); }, [](double u) { return ::cos(u); });
      });
}
TERCEL_SIMD VecF tan(VecF x) {
  return with_large_angles(
      x, [](VecF v) { return tan_near(v); },
      [](VecF v) {
        return far_angle(
            v,
            [](VecD u) {
              const Quadrant p = reduce_half_pi(u);
              const VecD s = sin_poly(p.r), c = cos_poly(p.r);
              const auto even = (p.quadrant & VecL(1)) == VecL(0);
              return select(even, s, -c) / select(even, c, s);
            },
            [](double u) { return ::tan(u); });
      });
}
TERCEL_SIMD VecD sin(VecD x) {
  return with_large_angles(
      x, [](VecD v) { return sin_near<0>(v); },
      [](VecD v) { return far_angle(v, [](double u) { return ::sin(u); }); });
}
TERCEL_SIMD VecD cos(VecD x) {
  return with_large_angles(
      x, [](VecD v) { return sin_near<1>(v); },
      [](VecD v) { return far_angle(v, [](double u) { return ::cos(u); }); });
}
TERCEL_SIMD VecD tan(VecD x) {
  return with_large_angles(
      x, [](VecD v) { return tan_near(v); },
      [](VecD v) { return far_angle(v, [](double u) { return ::tan(u); }); });
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
TERCEL_OUTLINE VecF atan2_of_any_lane(VecF y, VecF x) {
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
TERCEL_OUTLINE VecD atan2_of_any_lane(VecD y, VecD x) {
  return by_lane(y, x, [](double a, double b) { return ::atan2(a, b); });
}
// base +- atan(q), q = the smaller operand over the larger one: base 0, pi/2 or pi. Lanes with
// zero, very small, very large or special operands go the slow way.
template <class V>
TERCEL_SIMD V atan2(V y, V x) {
  using T = Trig<V>;
  const V n = abs(y), d = abs(x);
  const auto steep = n > d, left = x < V(0);
  const V small = select(steep, d, n), large = select(steep, n, d);
  const V inverse = V(1) / large, q = small * inverse;
  const V z = q * q, slope = fnma(V(0.5f), z, V(1));  // of atan, roughly
  const V lost = fnma(q, large, small) * inverse * slope;
  // both steep and left, or neither: + atan
  const V sign = select(steep, select(left, V(1), V(-1)), select(left, V(-1), V(1)));
  const V halves = select(steep, V(1), select(left, V(2), V(0)));
  const Pair<V> s = fast_sum(halves * V(T::kHalfPi[0]), sign * q);
  const V tail = fma(q * z, horner(z, T::kAtan), lost);
  const V angle = s.high + fma(sign, tail, fma(halves, V(T::kHalfPi[1]), s.low));
  const auto usual = (large < V(0x1p60f)) & (small > V(0x1p-60f));
  if (!all(usual)) [[unlikely]]
    return select(usual, copysign(angle, y), atan2_of_any_lane(y, x));
  return copysign(angle, y);
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
// |x| < 1: x + x E(x^2), 2^-29; beyond: 1 - e^(-L(|x|)), L = -log(erfc) on [1, 3.95]. 1 ulp
TERCEL_SIMD VecF erf(VecF x) {
  static constexpr float e[] = {0.128379166f,   -0.376126289f,    0.112836182f,   -0.026855126f,
                                0.00519073382f, -0.000803076138f, 7.92036808e-05f};
  static constexpr float l[] = {1.12957847f,   0.633219779f,     0.108418725f,   -0.025208367f,
                                0.0042046099f, -0.000441347918f, 2.16880489e-05f};
  const VecF a = min_or_second(VecF(3.95f), abs(x));
  const VecF slope = horner(a, l), h = a * slope;
  const VecF h_low = fma(a, slope, -h) + VecF(-0.000188048085f);
  const ExpPartsF p = exp_parts(-h);
  const VecF scale = power_of_two(p.k), c = fma(scale, p.q, scale);
  const VecF far = VecF(1.0f) - fnma(c, h_low, c);
  const VecF near = fma(x, horner(x * x, e), x);
  return select(abs(x) < VecF(1.0f), near, copysign(far, x));
}
// |x| < 1: x + x E(x^2), 2^-56; beyond: 1 - e^(-a^2) r P((a - 3) r), r = 1 / (a + 3), 2^-52
TERCEL_SIMD VecD erf(VecD x) {
  static constexpr double e[] = {
      0.1283791670955126,      -0.37612638903183754,    0.1128379167095512,
      -0.02686617064512984,    0.0052239776254232985,   -0.000854832702193483,
      0.00012055332902888736,  -1.4925647567519332e-05, 1.6462045441468418e-06,
      -1.6364642158167608e-07, 1.4792401209404742e-08,  -1.2164560057283045e-09,
      8.70904512905176e-11,    -4.2309458242933425e-12};
  static constexpr double c[] = {
      1.0740069070883398,      -0.8833944531698836,    0.5902283571041034,
      -0.31046726190055846,    0.11952776128708652,    -0.02682723462533429,
      -0.0012124166174802505,  0.003034062042182937,   -0.0005483098944013238,
      -0.00027677886189937895, 0.00010756316443953365, 3.0411157010566973e-05,
      -1.746894237536358e-05,  -4.828388531106216e-06, 2.6652494134144984e-06,
      1.1509446618286097e-06};
  const VecD a = min_or_second(VecD(6.0), abs(x));
  const VecD r = VecD(1.0) / (a + VecD(3.0));
  const VecD far = fnma(r * poly((a - VecD(3.0)) * r, c), exp(-(a * a)), VecD(1.0));
  const VecD near = fma(x, horner(x * x, e), x);
  return select(abs(x) < VecD(1.0), near, copysign(far, x));
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

// erfinv(x) / x is smooth in w = -log(1 - x^2): a polynomial of degree 9 for w <= 5 (2^-27), that
// is |x| < 0.9966; beyond, in double, one of sqrt(w) (2^-28). w and the sum keep what rounding
// loses.
TERCEL_OUTLINE VecF erfinv_tail(VecF x) {
  return in_double(x, [](VecD v) {
    static constexpr double c[] = {
        -4.189061522849045,    16.88925261689113,     -24.49224538288826,    20.89108552093131,
        -11.246637859441378,   4.050286063762963,     -0.995939468300653,    0.1658856825828661,
        -0.017965904773870854, 0.0011447747643326344, -3.263531825587753e-05};
    const VecD w = -log_positive_f(fnma(v, v, VecD(1.0)));
    const VecD y = v * poly(sqrt(w), c), a = abs(v);
    const VecD limit = select(a == VecD(1.0), v * VecD(INFINITY), VecD(NAN));
    return select(a < VecD(1.0), y, limit);
  });
}
TERCEL_SIMD VecF erfinv(VecF x) {
  static constexpr float c[] = {0.232013762f,     0.0115488423f,   -0.00233458797f,
                                -0.000127234598f, 4.44415818e-05f, 4.02079286e-06f,
                                -1.9832612e-06f,  2.21705335e-07f, -8.81926177e-09f};
  const Pair<VecF> l = log_sum<kBaseE>(log_parts(fnma(x, x, VecF(1.0f))), VecF(0.0f));
  const VecF l_high = rounded(l), l_low = l.low - (l_high - l.high), w = -l_high;
  const VecF q = horner(w, c), rise = w * q;
  const Pair<VecF> ratio = fast_sum(VecF(0.886226952f), rise);
  const VecF lost = fma(w, q, -rise) + ratio.low;
  const VecF low = fnma(VecF(0.21f), l_low, lost + VecF(-2.66232002e-8f));  // the slope is 0.21
  const VecF y = copysign(fma(x, ratio.high, x * low), x);                  // keeps -0
  const auto central = abs(x) < VecF(0.9966f);
  if (!all(central)) [[unlikely]]
    return select(central, y, erfinv_tail(x));
  return y;
}

// ---- powers
// ------------------------------------------------------------------------------------------

// |x|^y = 2^(y log2|x|) in double, then the sign and special cases of C99 pow.
TERCEL_SIMD VecF pow(VecF base, VecF exponent) {
  return in_double(base, exponent, [](VecD x, VecD y) {
    const VecD a = abs(x);
    const VecD magnitude = log_special(a, log_positive_f(a));
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
