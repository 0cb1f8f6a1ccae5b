// Exponentials, logistic and hyperbolic functions on Vec<float> and Vec<double>. Part of vmath.h.
#pragma once

#include "simd/vmath_log.h"
#include "simd/vmath_pieces.h"

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
#if defined(TERCEL_LEVEL_AVX512)
  return _mm512_scalef_pd(y.v, k.v);
#else
  const VecD half = floor(k * VecD(0.5));
  const VecL first = as_int(half + VecD(kRoundMagic)) + VecL(1023);
  const VecL second = as_int(k - half + VecD(kRoundMagic)) + VecL(1023);
  return y * as_double(shift_left<52>(first)) * as_double(shift_left<52>(second));
#endif
}

// e^x = 2^k (1 + q): x = k ln2 + r, q = e^r - 1 to 2^-28, degree 6, wholly in float32. `high` is
// exact and the rounding of r matters only in the small quadratic part.
constexpr float kExpF[] = {0.49999994f, 0.16666521f, 0.041668266f, 0.008368674f, 0.0013820634f};
struct ExpPartsF {
  VecF k, high, low;  // q = high + low
};
TERCEL_INLINE ExpPartsF exp_parts(VecF x) {
  constexpr float kMagic = 0x1.8p23f;
  const VecF shifted = fma(x, VecF(1.44269504f), VecF(kMagic));
  const VecF k = shifted - VecF(kMagic);
  const VecF high = fnma(VecF(0.693145752f), k, x);
  const VecF low = k * VecF(-1.42860677e-6f);
  const VecF r = high + low;
  return {k, high, fma(r * r, poly(r, kExpF), low)};
}
TERCEL_INLINE VecF power_of_two(VecF k) {  // |k| <= 126
  return as_float(shift_left<23>(as_int(k + VecF(0x1.8p23f + 127.0f))));
}
// 0.91 ulp
TERCEL_SIMD VecF exp(VecF x) {
  const ExpPartsF e = exp_parts(min_or_second(VecF(89.0f), max_or_second(VecF(-104.0f), x)));
  return scale_by_power(e.high + e.low + VecF(1.0f), e.k);
}
TERCEL_SIMD VecD exp(VecD x) {
  const VecD clamped = clamp_keep_nan(x, -746.0, 710.0);
  const ExpParts e = exp_parts(clamped);
  const VecD p = fma(e.r * e.r, exp_poly_d(e.r), e.r) + VecD(1.0);
  return scale_by_power(p, e.k);
}

// (2^k - 1) + 2^k q, halved for the largest k, whose 2^k overflows; 1 ulp
TERCEL_SIMD VecF expm1(VecF x) {
  const ExpPartsF e = exp_parts(min_or_second(VecF(89.0f), max_or_second(VecF(-20.0f), x)));
  const VecF half = power_of_two(e.k - VecF(1.0f));
  const Pair<VecF> base = fast_sum(half, VecF(-0.5f));
  const Pair<VecF> s = fast_sum(base.high, half * e.high);
  const VecF y = (s.high + fma(half, e.low, s.low + base.low)) * VecF(2.0f);
  return copysign(select(e.k == VecF(0.0f), e.high + e.low, y), x);
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
// 1 + e^-x for x >= -86 or NaN, in float32: rounds once
TERCEL_INLINE VecF logistic_denominator(VecF x) {
  const ExpPartsF e = exp_parts(min_or_second(VecF(86.0f), max_or_second(VecF(-86.0f), -x)));
  const VecF scale = power_of_two(e.k);
  const Pair<VecF> base = fast_sum(scale, VecF(1.0f));
  return base.high + fma(scale, e.high + e.low, base.low);
}
// Below -86 the result is nearly subnormal; those lanes are recomputed in double.
TERCEL_SIMD VecF sigmoid(VecF x) {
  const VecF y = VecF(1.0f) / logistic_denominator(x);
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
  const VecF y = x / logistic_denominator(x);
  const auto tiny = x < VecF(-86.0f);
  if (any(tiny)) [[unlikely]] {
    const Wide w = map(widen(x), [](VecD v) { return max_or_second(VecD(-600.0), v); });
    return select(tiny, narrow(map(w, sigmoid_wide(w), [](VecD v, VecD s) { return v * s; })), y);
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

}  // namespace
}  // namespace tercel::simd
