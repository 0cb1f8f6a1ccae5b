// Elementary functions on Vec<float> and Vec<double>; the same bits on avx2 and avx512.
//
// float32: at most 1 ulp, subnormals and special values included; atan, atan2 at most 1.25 ulp,
// erfinv 1.5; sigmoid, silu, softplus and rsqrt 2, gelu 8 for x >= -5. float64:
// vectors with at most 2 ulp (tanh and sinh 3); lgamma and digamma call the C library lane by lane.
// tests/test_elementwise_numerics.py measures the bounds.
#pragma once

#include "simd/vmath_erf.h"
#include "simd/vmath_exp.h"
#include "simd/vmath_log.h"
#include "simd/vmath_trig.h"

namespace tercel::simd {
namespace {

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
// log x in two parts, 2^-64, x positive and normal: log(1 + f) = 2 s + 2/3 s^3 + s^5 P(s^2),
// s = f / (2 + f), the first two terms in twice the precision.
TERCEL_SIMD Pair<VecD> log_in_two(VecD x) {
  static constexpr double c[] = {0.40000000000000002, 0.28571428571428564, 0.22222222222228444,
                                 0.18181818179652515, 0.15384615761812731, 0.1333329648396544,
                                 0.11766815303693313, 0.10456278370202374, 0.10762867468209986};
  const LogParts p = log_parts(x);
  const VecD f = p.f, d = f + VecD(2.0), d_low = f - (d - VecD(2.0));
  const VecD r = VecD(1.0) / d, s = f * r;
  const VecD s_low = r * fnma(s, d_low, fnma(s, d, f));
  const VecD z = s * s, z_low = fma(s, s, -z) + VecD(2.0) * s * s_low;
  const Pair<VecD> u = fast_sum(VecD(0x1.5555555555555p-1), z * poly(z, c));
  const Pair<VecD> third{u.high, u.low + VecD(0x1.5555555555555p-55)};
  const Pair<VecD> w = Pair<VecD>{s, s_low} * (Pair<VecD>{z, z_low} * third);
  const Pair<VecD> head = fast_sum(s + s, w.high);
  const Pair<VecD> sum = fast_sum(p.e * VecD(kLn2Hi), head.high);
  const VecD low = fma(p.e, VecD(kLn2Lo), sum.low + (head.low + fma(VecD(2.0), s_low, w.low)));
  return fast_sum(sum.high, low);
}
TERCEL_OUTLINE VecD pow_of_any_lane(VecD x, VecD y) {
  return by_lane(x, y, [](double a, double b) { return ::pow(a, b); });
}
// e^(y log|x|), the product in two parts, and the sign. 1.2 ulp; lanes with special operands, or
// results that leave the range of normal numbers, go the slow way.
TERCEL_SIMD VecD pow(VecD x, VecD y) {
  const VecD a = abs(x);
  const Pair<VecD> l = log_in_two(a);
  const VecD p = y * l.high, p_low = fma(y, l.low, fma(y, l.high, -p));
  const ExpParts e = exp_parts(p);
  const VecD r = e.r + p_low;
  VecD z = scale_by_power(fma(r * r, exp_poly_d(r), r) + VecD(1.0), e.k);
  const auto integral = round(y) == y;
  const auto odd = integral & !(round(y * VecD(0.5)) * VecD(2.0) == y);
  const auto negative = x < VecD(0.0);
  z = select(negative & odd, -z, z);
  z = select(negative & !integral, VecD(NAN), z);
  const auto usual = (a >= VecD(0x1p-1022)) & (a < VecD(INFINITY)) & (abs(p) < VecD(700.0));
  if (!all(usual)) [[unlikely]]
    return select(usual, z, pow_of_any_lane(x, y));
  return z;
}

template <class V>
TERCEL_INLINE V rsqrt(V x) {
  return V(1) / sqrt(x);
}

}  // namespace
}  // namespace tercel::simd

#include "simd/vmath_scalar.h"
