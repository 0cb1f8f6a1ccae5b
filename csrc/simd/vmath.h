// Elementary functions on Vec<float> and Vec<double>; the same bits on avx2 and avx512.
//
// float32: at most 1 ulp, subnormals and special values included; atan, atan2 at most 1.25 ulp,
// erfinv 1.5; sigmoid, silu, softplus and rsqrt 2, gelu 8 for x >= -5. float64:
// vectors with at most 2 ulp (tanh and sinh 3); erfc, erfinv, pow and lgamma call the C library
// lane by lane. tests/test_elementwise_numerics.py measures the bounds.
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
