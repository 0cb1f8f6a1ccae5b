// Logarithms on Vec<float> and Vec<double>. Part of vmath.h.
//
// x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)): log x = e ln2 + f - f^2 / 2 + f^3 P(f). float32
// adds the exact part of e ln2 + f first and keeps what that rounding loses, 0.8 ulp; its zero,
// negative, subnormal and infinite lanes are recomputed in double.
#pragma once

#include "simd/vmath_core.h"

namespace tercel::simd {
namespace {

template <class F>
TERCEL_OUTLINE VecF log_of_any_lane(VecF x, F f) {
  return in_double(x, [f](VecD v) { return log_special(v, f(v)); });
}
// Base b: log_b 2 in two parts, the first exact in products with e; 1 / ln b in two.
struct LogBase {
  float two_high, two_low, unit_high, unit_low;
};
constexpr LogBase kBaseE{0x1.62e4p-1f, 1.42860677e-6f, 1.0f, 0.0f};
constexpr LogBase kBase2{1.0f, 0.0f, 0x1.715476p+0f, 0x1.4ae0cp-26f};
constexpr LogBase kBase10{0x1.344p-2f, 4.60503907e-6f, 0x1.bcb7b2p-2f, -0x1.5b235ep-27f};

struct LogPartsF {
  VecI k;
  VecF f;
};
TERCEL_INLINE LogPartsF log_parts(VecF x) {  // positive normal x
  const VecI shifted = as_int(x) - VecI(0x3f3504f3);
  const VecI exponent_bits = shifted & VecI(static_cast<int32_t>(0xff800000u));
  return {shift_right_signed<23>(shifted), as_float(as_int(x) - exponent_bits) - VecF(1.0f)};
}
// log_b(2^k (1 + f)) + low
template <const LogBase& kBase>
TERCEL_INLINE Pair<VecF> log_sum(LogPartsF x, VecF low) {
  // (log(1 + f) - f + f^2 / 2) / f^3
  static constexpr float c[] = {0.333333135f,  -0.250000089f, 0.20002073f,
                                -0.166679963f, 0.142203271f,  -0.124060318f,
                                0.118835695f,  -0.11671453f,  0.0675095618f};
  const VecF e = to_float(x.k), f = x.f, square = f * f;
  VecF tail = fma(square * f, horner(f, c), fma(square, VecF(-0.5f), low)), head = f;
  if constexpr (kBase.unit_high != 1.0f) {
    head = f * VecF(kBase.unit_high);
    const VecF lost = fma(f, VecF(kBase.unit_low), fma(f, VecF(kBase.unit_high), -head));
    tail = fma(tail, VecF(kBase.unit_high), lost);
  }
  const Pair<VecF> sum = fast_sum(e * VecF(kBase.two_high), head);
  return {sum.high, sum.low + fma(e, VecF(kBase.two_low), tail)};
}
template <const LogBase& kBase, class F>
TERCEL_INLINE VecF log_any(VecF x, F special) {
  const VecF y = rounded(log_sum<kBase>(log_parts(x), VecF(0.0f)));
  const auto usual = (x >= VecF(0x1p-126f)) & (x < VecF(INFINITY));
  if (!all(usual)) [[unlikely]]
    return select(usual, y, log_of_any_lane(x, special));
  return y;
}
TERCEL_SIMD VecF log(VecF x) {
  return log_any<kBaseE>(x, [](VecD v) { return log_positive_f(v); });
}
TERCEL_SIMD VecF log2(VecF x) {
  return log_any<kBase2>(x, [](VecD v) { return log_positive_f(v) * VecD(kLog2E); });
}
TERCEL_SIMD VecF log10(VecF x) {
  return log_any<kBase10>(x, [](VecD v) { return log_positive_f(v) * VecD(0.4342944819032518); });
}
// log(1 + x), x > -1 in double. u = 1 + x, and what that rounding loses is added.
TERCEL_SIMD VecD log1p_f(VecD x) {
  const VecD u = VecD(1.0) + x;
  return log_positive_f(u) + (x - (u - VecD(1.0)));
}
// 1 + x = u + c = 2^k (1 + f + d), log(1 + f + d) = log(1 + f) + d / (1 + f) for d < 2^-23
TERCEL_INLINE VecF log_of_sum(VecF u, VecF c) {
  const LogPartsF p = log_parts(u);
  const VecF d = c * as_float(shift_left<23>(VecI(127) - p.k));
  return rounded(log_sum<kBaseE>(p, d * fma(p.f, p.f, VecF(1.0f) - p.f)));
}
TERCEL_SIMD VecF log1p(VecF x) {
  const VecF u = VecF(1.0f) + x;
  const VecF c = select(x > VecF(1.0f), VecF(1.0f) - (u - x), x - (u - VecF(1.0f)));
  const VecF y = select(x == VecF(0.0f), x, log_of_sum(u, c));  // keeps -0
  const auto usual = (x > VecF(-1.0f)) & (x < VecF(0x1p100f));
  if (!all(usual)) [[unlikely]]
    return select(usual, y, log_of_any_lane(u, [](VecD v) { return log_positive_f(v); }));
  return y;
}
// log(x / (1 - x)) with the roundings of difference and quotient fed back
TERCEL_SIMD VecF logit(VecF x) {
  const VecF rest = VecF(1.0f) - x, rest_low = (VecF(1.0f) - rest) - x;
  const VecF inverse = VecF(1.0f) / rest, q = x * inverse;
  const VecF lost = fnma(q, rest_low, fnma(q, rest, x)) * inverse;
  const VecF y = log_of_sum(q, lost);
  const auto usual = (x > VecF(0x1p-90f)) & (x < VecF(1.0f));
  if (!all(usual)) [[unlikely]] {
    const VecF z = in_double(x, [](VecD v) {
      const VecD ratio = v / (VecD(1.0) - v);
      return log_special(ratio, log_positive_f(ratio));
    });
    return select(usual, y, z);
  }
  return y;
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
  const auto tiny = x < VecD(0x1p-1022);
  const LogParts p = log_parts(select(tiny, x * VecD(0x1p54), x));
  const VecD e = p.e - select(tiny, VecD(54.0), VecD(0.0));
  return log_special(x, fma(log1p_reduced_d(p.f, VecD(0.0)), VecD(kLog2E), e));
}
TERCEL_SIMD VecD log10(VecD x) { return log(x) * VecD(0.4342944819032518); }
TERCEL_SIMD VecD logit(VecD x) { return log(x / (VecD(1.0) - x)); }

}  // namespace
}  // namespace tercel::simd
