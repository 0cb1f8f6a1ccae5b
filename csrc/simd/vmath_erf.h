// Error function, its inverse and gelu on Vec<float> and Vec<double>. Part of vmath.h.
#pragma once

#include "simd/vmath_exp.h"

namespace tercel::simd {
namespace {

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
TERCEL_OUTLINE VecF gelu_far_left(VecF x) {
  const VecF a = min_or_second(VecF(14.5f), abs(x));
  return VecF(-0.5f) * a * erfcx_positive(a * VecF(0.707106781f)) * exp_half_square(a);
}
// To the right, x minus the mirrored tail: one rounding.
TERCEL_SIMD VecF gelu(VecF x) {
  const VecF a = min_or_second(VecF(5.4f), abs(x));
  const VecF y = fma(-a, normal_tail(a), max_or_second(VecF(0.0f), x));
  const auto far_left = x < VecF(-5.4f);
  if (any(far_left)) [[unlikely]]
    return select(far_left, gelu_far_left(x), y);
  return y;
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

}  // namespace
}  // namespace tercel::simd
