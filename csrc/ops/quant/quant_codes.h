// Sixteen values <-> sixteen codes of a format. Only for files compiled per ISA level.
#pragma once

#include "ops/quant/quant_format.h"
#include "simd/philox.h"
#include "simd/rows.h"

namespace tercel {
namespace {

using simd::VecI;

// table[code & 15]
TERCEL_INLINE VecF lookup16(const float* table, VecI code) {
#if defined(TERCEL_LEVEL_AVX512)
  return _mm512_permutexvar_ps(code.v, _mm512_loadu_ps(table));
#elif defined(TERCEL_LEVEL_AVX2)
  const __m256 low = _mm256_loadu_ps(table), high = _mm256_loadu_ps(table + 8);
  const auto one = [&](__m256i c) {
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, c), _mm256_permutevar8x32_ps(high, c),
                            _mm256_castsi256_ps(_mm256_slli_epi32(c, 28)));
  };
  return {one(code.lo), one(code.hi)};
#else
  alignas(64) int32_t c[16];
  alignas(64) float v[16];
  code.store(c);
  for (int i = 0; i < 16; ++i) v[i] = table[c[i] & 15];
  return VecF::load(v);
#endif
}

// float8 of byte J of each word in fewer instructions than simd/vec.h, where codes with e = 0 are
// rare, as in scaled weights: multiplying a subnormal costs 150 cycles. The signed shift leaves the
// sign in its place and the rest of the code at the end of the exponent.
template <QFormat F>
inline constexpr float kMoved = F == QFormat::e4m3 ? 0x1p120f : 0x1p112f;  // by so much
template <int J>
TERCEL_INLINE VecF moved_f8e4m3(VecI word) {  // value / kMoved; NaN codes as numbers
  return as_float(simd::shift_right_signed<4>(simd::shift_left<24 - 8 * J>(word)) &
                  VecI(~0x780fffff));
}
template <int J>
TERCEL_INLINE VecF
moved_f8e5m2(VecI word) {  // value / kMoved; codes that are not finite as numbers
  return as_float(simd::shift_right_signed<3>(simd::shift_left<24 - 8 * J>(word)) &
                  VecI(~0x701fffff));
}
template <int J>
TERCEL_INLINE VecF scaled_f8e4m3_to_float(VecI word) {
  constexpr int32_t kMagnitude = 0x7f << 8 * J;
  const VecF value = moved_f8e4m3<J>(word) * VecF(kMoved<QFormat::e4m3>);
  return select((word & VecI(kMagnitude)) == VecI(kMagnitude), as_float(VecI(0x7fc00000)), value);
}
template <int J>
TERCEL_INLINE VecF scaled_f8e5m2_to_float(VecI word) {
  const VecI magnitude = word & VecI(0x7f << 8 * J);
  const VecF moved = moved_f8e5m2<J>(word), value = moved * VecF(kMoved<QFormat::e5m2>);
  const VecF infinite = as_float(as_int(moved) | VecI(0x7f800000));
  return select(magnitude > VecI((0x7c << 8 * J) - 1),
                select(magnitude == VecI(0x7c << 8 * J), infinite, as_float(VecI(0x7fc00000))),
                value);
}
// The value of byte J of each word, or of its first code of 4 bits.
template <QFormat F, int J = 0>
TERCEL_INLINE VecF decode(VecI word) {
  if constexpr (F == QFormat::i8) {
    return to_float(simd::shift_right_signed<24>(simd::shift_left<24 - 8 * J>(word)));
  } else if constexpr (F == QFormat::u8) {
    return to_float(simd::shift_right<8 * J>(word) & VecI(255));
  } else if constexpr (F == QFormat::e4m3) {
    return scaled_f8e4m3_to_float<J>(word);
  } else if constexpr (F == QFormat::e5m2) {
    return scaled_f8e5m2_to_float<J>(word);
  } else {
    return lookup16(table4(F), word);
  }
}

struct Rounding {
  VecF zero, qmin, qmax;
};

// round(t), half to even
TERCEL_INLINE VecF round_nearest(VecF t) { return round(t); }
// floor(t) or floor(t) + 1 with the probability of the fraction; `bits` are uniform
TERCEL_INLINE VecF round_stochastic(VecF t, VecI bits) {
  const VecF down = floor(t);
  const VecF u = to_float(simd::shift_right<8>(bits)) * VecF(0x1p-24f);
  return select(u < t - down, down + VecF(1.0f), down);
}

// Integer formats: the code value after clamping, as a float.
TERCEL_INLINE VecF clamp_code(VecF rounded, const Rounding& r) {
  const VecF v = rounded + r.zero;
  const VecF c = min_or_second(max_or_second(v, r.qmin), r.qmax);
  return select(simd::isnan(v), r.zero, c);
}

// Float formats: the code of t. Finite overflow saturates, NaN stays NaN where the format has one
// and is 0 else.
template <QFormat F>
TERCEL_INLINE VecI encode_float(VecF t) {
  if constexpr (F == QFormat::e4m3) {
    return simd::float_to_f8e4m3(t);
  } else if constexpr (F == QFormat::e5m2) {
    return simd::float_to_f8e5m2(t);
  } else if constexpr (F == QFormat::e2m1) {
    const VecI u = as_int(t), a = u & VecI(0x7fffffff);
    VecI code = simd::round_to_code<1, 0>(a);
    code = select(a > VecI(0x40bfffff), VecI(7), code);  // from 6
    code = select(a > VecI(0x7f800000), VecI(0), code | (simd::shift_right<28>(u) & VecI(8)));
    return code;
  } else {
    // nf4: number of midpoints below t; a tie takes the lower value.
    VecI code(0);
    for (int i = 0; i < 15; ++i) {
      const float middle = 0.5f * (table4(F)[i] + table4(F)[i + 1]);
      code = code + select(t > VecF(middle), VecI(1), VecI(0));
    }
    return select(simd::isnan(t), VecI(7), code);
  }
}

template <QFormat F>
inline constexpr bool kInteger = F <= QFormat::u4;

}  // namespace
}  // namespace tercel
