// Functions without a vector version: evaluated lane by lane in double. Part of vmath.h.
#pragma once

namespace tercel::simd {
namespace {

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
  if (x == INFINITY) return x + reflection;  // NaN for -infinity
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
TERCEL_OUTLINE VecD lgamma(VecD x) {
  return by_lane(x, [](double v) { return lgamma_scalar(v); });
}
TERCEL_OUTLINE VecD digamma(VecD x) {
  return by_lane(x, [](double v) { return digamma_scalar(v); });
}
TERCEL_OUTLINE VecF lgamma_of_any_lane(VecF x) {
  return by_lane(x, [](double v) { return lgamma_scalar(v); });
}
TERCEL_OUTLINE VecF digamma_of_any_lane(VecF x) {
  return by_lane(x, [](double v) { return digamma_scalar(v); });
}
// Stirling's series at z = x + 8, or x if that is at least 8; log(x (x + 1) ... (x + 7)) is taken
// off. Negative numbers and the neighbourhoods of the zeros 1 and 2 go lane by lane.
TERCEL_SIMD VecF lgamma(VecF x) {
  const VecF y = in_double(x, [](VecD v) {
    static constexpr double c[] = {1.0 / 12,   -1.0 / 360,      1.0 / 1260, -1.0 / 1680,
                                   1.0 / 1188, -691.0 / 360360, 1.0 / 156};
    const auto shifted = v < VecD(8.0);
    VecD product = v;
    for (int i = 1; i < 8; ++i) product = product * (v + VecD(static_cast<double>(i)));
    const VecD z = select(shifted, v + VecD(8.0), v), w = VecD(1.0) / z;
    const VecD removed = log_positive_d(select(shifted, product, VecD(1.0)));
    const VecD series = fma(w, poly(w * w, c), VecD(0.9189385332046728) - z);
    return fma(z - VecD(0.5), log_positive_d(z), series - removed);
  });
  const auto usual = (x > VecF(0x1p-60f)) & (x < VecF(0x1p100f)) &
                     (abs(x - VecF(1.0f)) > VecF(0x1p-18f)) &
                     (abs(x - VecF(2.0f)) > VecF(0x1p-18f));
  if (!all(usual)) [[unlikely]]
    return select(usual, y, lgamma_of_any_lane(x));
  return y;
}
// The asymptotic series at the same z; 1/x + ... + 1/(x + 7), as one fraction, is taken off.
TERCEL_SIMD VecF digamma(VecF x) {
  const VecF y = in_double(x, [](VecD v) {
    static constexpr double c[] = {1.0 / 12,  -1.0 / 120,     1.0 / 252, -1.0 / 240,
                                   1.0 / 132, -691.0 / 32760, 1.0 / 12};
    const auto shifted = v < VecD(8.0);
    VecD above(1.0), below = v;
    for (int i = 1; i < 8; ++i) {
      const VecD t = v + VecD(static_cast<double>(i));
      above = fma(above, t, below);
      below = below * t;
    }
    const VecD removed = select(shifted, above / below, VecD(0.0));
    const VecD z = select(shifted, v + VecD(8.0), v), w = VecD(1.0) / z;
    const VecD series = fma(w * w, poly(w * w, c), fma(VecD(0.5), w, removed));
    return log_positive_d(z) - series;
  });
  const auto usual = (x > VecF(0x1p-60f)) & (x < VecF(0x1p100f));
  if (!all(usual)) [[unlikely]]
    return select(usual, y, digamma_of_any_lane(x));
  return y;
}

}  // namespace
}  // namespace tercel::simd
