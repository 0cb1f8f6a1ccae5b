// Functions without a vector version: evaluated lane by lane in double. Part of vmath.h.
#pragma once

namespace tercel::simd {
namespace {

#define TERCEL_LANEWISE(V, name, call)                   \
  TERCEL_INLINE V name(V x) {                            \
    return by_lane(x, [](double v) { return call(v); }); \
  }
TERCEL_LANEWISE(VecD, sin, ::sin)
TERCEL_LANEWISE(VecD, cos, ::cos)
TERCEL_LANEWISE(VecD, tan, ::tan)
TERCEL_LANEWISE(VecD, asin, ::asin)
TERCEL_LANEWISE(VecD, acos, ::acos)
TERCEL_LANEWISE(VecD, atan, ::atan)
TERCEL_LANEWISE(VecD, sinh, ::sinh)
TERCEL_LANEWISE(VecD, cosh, ::cosh)
TERCEL_LANEWISE(VecD, asinh, ::asinh)
TERCEL_LANEWISE(VecD, acosh, ::acosh)
TERCEL_LANEWISE(VecD, atanh, ::atanh)
TERCEL_LANEWISE(VecD, erf, ::erf)
TERCEL_LANEWISE(VecD, erfc, ::erfc)
TERCEL_LANEWISE(VecF, erfinv, erfinv_scalar)
TERCEL_LANEWISE(VecD, erfinv, erfinv_scalar)
#undef TERCEL_LANEWISE

TERCEL_INLINE VecD atan2(VecD y, VecD x) {
  return by_lane(y, x, [](double a, double b) { return ::atan2(a, b); });
}

// lgamma_r: plain lgamma writes the global signgam.
TERCEL_INLINE double lgamma_scalar(double x) {
  int sign;
  return ::lgamma_r(x, &sign);
}

// psi(x): recurrence up to x >= 10, asymptotic series there, reflection for negative x.
TERCEL_INLINE double digamma_scalar(double x) {
  if (x == 0.0) return ::copysign(INFINITY, -x);
  double reflection = 0.0;
  if (x < 0.0) {
    const double fraction = x - ::trunc(x);
    if (fraction == 0.0) return NAN;
    reflection = -3.141592653589793 / ::tan(3.141592653589793 * fraction);
    x = 1.0 - x;
  }
  double shift = 0.0;
  while (x < 10.0) {
    shift -= 1.0 / x;
    x += 1.0;
  }
  if (x == INFINITY) return x;
  const double z = 1.0 / (x * x);
  double series = 8.33333333333333333333e-2;
  series = -2.10927960927960927961e-2 + z * series;
  series = 7.57575757575757575758e-3 + z * series;
  series = -4.16666666666666666667e-3 + z * series;
  series = 3.96825396825396825397e-3 + z * series;
  series = -8.33333333333333333333e-3 + z * series;
  series = 8.33333333333333333333e-2 + z * series;
  return ::log(x) - 0.5 / x - z * series + shift + reflection;
}
template <class V>
TERCEL_INLINE V lgamma(V x) {
  return by_lane(x, [](double v) { return lgamma_scalar(v); });
}
template <class V>
TERCEL_INLINE V digamma(V x) {
  return by_lane(x, [](double v) { return digamma_scalar(v); });
}

}  // namespace
}  // namespace tercel::simd
