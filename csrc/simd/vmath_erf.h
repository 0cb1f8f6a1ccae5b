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
// erf(x) / x - 1 for z = x^2 <= 1, 2^-56
TERCEL_INLINE VecD erf_ratio(VecD z) {
  static constexpr double c[] = {
      0.1283791670955126,      -0.37612638903183754,    0.1128379167095512,
      -0.02686617064512984,    0.0052239776254232985,   -0.000854832702193483,
      0.00012055332902888736,  -1.4925647567519332e-05, 1.6462045441468418e-06,
      -1.6364642158167608e-07, 1.4792401209404742e-08,  -1.2164560057283045e-09,
      8.70904512905176e-11,    -4.2309458242933425e-12};
  return horner(z, c);
}
// beyond 1: 1 - e^(-a^2) r P((a - 3) r), r = 1 / (a + 3), 2^-52
TERCEL_SIMD VecD erf(VecD x) {
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
  const VecD near = fma(x, erf_ratio(x * x), x);
  return select(abs(x) < VecD(1.0), near, copysign(far, x));
}
// erfcx(a) = e^(a^2) erfc(a) = r P(z), r = 1 / (a + 4), z = (a - 4) r, a in [0.78, 28], 2^-57, with
// what r, z and the last two steps of P lose by rounding
TERCEL_SIMD Pair<VecD> erfcx_parts(VecD a) {
  static constexpr double kLeading = 1.0959956610004911;
  static constexpr double c[] = {-0.97654872908088197, 0.77320870226523652, -0.54085383131323406,
                                 0.33085158787805163};
  static constexpr double rest[] = {
      -0.17401093723996422,    0.076381514908239995,    -0.026370053339933218,
      0.0061120556706714497,   -0.00028095886843939829, -0.00045505280760737025,
      0.0001768128333191178,   -3.6345340990184152e-06, -1.8860942026327674e-05,
      4.6923233085544544e-06,  1.4243449029660414e-06,  -8.4187543084729813e-07,
      -7.5805160775897619e-08, 1.1876302486857596e-07,  1.1599114282622279e-09,
      -1.1826180546909135e-08};
  const VecD s = a + VecD(4.0), s_low = a - (s - VecD(4.0));
  const VecD r = VecD(1.0) / s;
  const VecD r_low = r * fnma(r, s_low, fnma(s, r, VecD(1.0)));
  const VecD z = fnma(VecD(8.0), r, VecD(1.0));
  const VecD z_low = fnma(VecD(8.0), r, VecD(1.0) - z) - VecD(8.0) * r_low;
  VecD q = poly(z, rest);
  for (int i = 3; i >= 1; --i) q = fma(q, z, VecD(c[i]));
  const VecD inner = q;
  q = fma(inner, z, VecD(c[0]));
  const VecD q_low = fma(inner, z, VecD(c[0]) - q);
  const VecD t = z * q;
  const Pair<VecD> p = exact_sum(VecD(kLeading), t);
  const VecD slope = fma(z, fma(z, VecD(3.0 * c[2]), VecD(2.0 * c[1])), VecD(c[0]));
  const VecD p_low = p.low + fma(z, q, -t) + fma(slope, z_low, z * q_low);
  return Pair<VecD>{r, r_low} * Pair<VecD>{p.high, p_low};
}
// e^-(square + low) erfcx(a)
TERCEL_SIMD VecD erfc_from_square(VecD a, VecD square, VecD low) {
  const VecD k = fma(square, VecD(-kLog2E), VecD(kRoundMagic)) - VecD(kRoundMagic);
  const VecD h = -fma(k, VecD(kLn2Hi), square), f = fnma(k, VecD(kLn2Lo), h);
  const VecD r = f - low, r_low = fnma(k, VecD(kLn2Lo), h - f) + ((f - r) - low);
  const Pair<VecD> e = fast_sum(VecD(1.0), r), x = erfcx_parts(a);
  const VecD e_low = e.low + fma(r * r, exp_poly_d(r), r_low);
  return scale_by_power(fma(e.high, x.high, fma(e.high, x.low, e_low * x.high)), k);
}
// |x| < 0.8: (1 - x) - x E(x^2). 1.7 ulp
TERCEL_SIMD VecD erfc(VecD x) {
  const VecD a = max_or_second(VecD(0.8), min_or_second(VecD(28.0), abs(x)));
  const VecD square = a * a;
  const VecD c = erfc_from_square(a, square, fma(a, a, -square));
  const VecD far = select(x < VecD(0.0), VecD(2.0) - c, c);
  const VecD near = fnma(x, erf_ratio(x * x), VecD(1.0) - x);
  return select(abs(x) < VecD(0.8), near, far);
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
// x sigmoid(u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3)
TERCEL_OUTLINE VecF gelu_tanh_far_left(VecF x) {
  const Wide t = map(widen(x), [](VecD v) { return max_or_second(VecD(-20.0), v); });
  const Wide u = map(t, [](VecD v) {
    return v * fma(v * v, VecD(0.07135481627260025), VecD(1.5957691216057308));
  });
  return narrow(map(t, sigmoid_wide(u), [](VecD v, VecD s) { return v * s; }));
}
// In float32 u is carried in two parts: to the left e^-u multiplies its error by |u|.
TERCEL_SIMD VecF gelu_tanh(VecF x) {
  constexpr float kLinear[] = {1.59576917f, -4.53406805e-08f};
  constexpr float kCubic[] = {0.0713548139f, 2.39883247e-09f};
  const VecF t = min_or_second(VecF(10.5f), max_or_second(VecF(-10.5f), x));
  const VecF z = t * t, z_low = fma(t, t, -z);
  const VecF p = z * VecF(kCubic[0]);
  const VecF p_low = fma(z_low, VecF(kCubic[0]), fma(z, VecF(kCubic[0]), -p));
  const Pair<VecF> w = exact_sum(VecF(kLinear[0]), p);
  const VecF w_low = w.low + p_low + fma(z, VecF(kCubic[1]), VecF(kLinear[1]));
  const VecF u = t * w.high, u_low = fma(t, w_low, fma(t, w.high, -u));
  const ExpPartsF e = exp_parts(min_or_second(VecF(86.0f), max_or_second(VecF(-86.0f), -u)));
  const VecF scale = power_of_two(e.k), q = e.high + e.low;
  const Pair<VecF> base = fast_sum(scale, VecF(1.0f));
  const VecF y = x / (base.high + fma(scale, q - fma(u_low, q, u_low), base.low));
  const auto far_left = x < VecF(-9.8f);  // u = -84
  if (any(far_left)) [[unlikely]]
    return select(far_left, gelu_tanh_far_left(x), y);
  return y;
}
// Left of -39 the result is below 1e-324.
TERCEL_SIMD VecD gelu(VecD x) {
  const VecD a = min_or_second(VecD(39.0), abs(x)), b = a * VecD(0.7071067811865476);
  const VecD half = VecD(0.5) * a, square = half * a;
  const VecD tail = erfc_from_square(max_or_second(VecD(0.8), b), square, fma(half, a, -square));
  const VecD far = fnma(half, tail, max_or_second(VecD(0.0), x));
  const VecD t = copysign(b, x);
  const VecD near = VecD(0.5) * x * fma(t, erf_ratio(b * b), VecD(1.0) + t);
  return select(b < VecD(0.8), near, far);
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
// The same two polynomials (2^-27 and 2^-21), then one step of Halley on erf(y) - a or, where erfc
// is the smaller one, on erfcx(y) - e^(y^2) (1 - a), which is cubic. 1.8 ulp
TERCEL_SIMD VecD erfinv(VecD x) {
  static constexpr double c[] = {0.88622692420110283,     0.23201371276329269,
                                 0.011549165111949408,    -0.0023352705856459831,
                                 -0.00012653948320052574, 4.404880922984038e-05,
                                 4.1506616293392337e-06,  -2.0082710298706141e-06,
                                 2.2430426926625654e-07,  -8.9319245630480695e-09};
  static constexpr double far[] = {
      0.17451226262912445,    3.6755460082132632,      -6.6604468903974849,
      6.7815717638218045,     -4.0085141177480139,     1.5418669244212508,
      -0.40447777002841162,   0.073347193181221945,    -0.0090804631455805185,
      0.00073450975500743564, -3.5052474645268506e-05, 7.493860145860755e-07};
  const VecD a = abs(x), rest = VecD(1.0) - a;
  const VecD product = max_or_second(VecD(0x1p-60), rest * (VecD(1.0) + a));
  const VecD w = min_or_second(VecD(37.0), -log_positive_f(product));
  const VecD y = a * select(w > VecD(5.0), poly(sqrt(w), far), poly(w, c)), square = y * y;
  const auto central = y < VecD(1.0);
  const VecD numerator = select(central, fnma(y, erf_ratio(square), a - y), -rest);
  const VecD scaled = erfcx_parts(max_or_second(VecD(0.8), y)).high;
  const VecD error = numerator / exp(-square) + select(central, VecD(0.0), scaled);
  const VecD step = error * VecD(0.88622692545275805);
  const VecD better = y + step / fnma(y, step, VecD(1.0));
  const VecD limit = select(a == VecD(1.0), VecD(INFINITY), VecD(NAN));
  return copysign(select(a < VecD(1.0), better, limit), x);
}

}  // namespace
}  // namespace tercel::simd
