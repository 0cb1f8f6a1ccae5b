// Vector Philox and the short logarithm, sine and cosine of the random kernels. The arguments are
// known to be in range (u in (0, 1], an angle given as a 32-bit fraction of a turn), so there are
// no special cases.
#pragma once

#include <math.h>

#include "core/random.h"
#include "simd/vec.h"

namespace tercel {
namespace {

using namespace simd;

// Products of the low halves of 8 lanes with k (64 bits).
TERCEL_INLINE VecL multiply_low(const VecL& a, uint32_t k) {
#if defined(TERCEL_LEVEL_AVX512)
  return _mm512_mul_epu32(a.v, _mm512_set1_epi64(k));
#elif defined(TERCEL_LEVEL_AVX2)
  const __m256i kk = _mm256_set1_epi64x(k);
  return VecL(_mm256_mul_epu32(a.lo, kk), _mm256_mul_epu32(a.hi, kk));
#else
  int64_t x[8];
  a.store(x);
  for (int i = 0; i < 8; ++i) {
    x[i] = static_cast<int64_t>(static_cast<uint64_t>(static_cast<uint32_t>(x[i])) * k);
  }
  return VecL::load(x);
#endif
}

// 16 lanes of 32 bits from the low halves of the even and the odd lanes.
TERCEL_INLINE VecI interleave_low(const VecL& even, const VecL& odd) {
#if defined(TERCEL_LEVEL_AVX512)
  return _mm512_mask_blend_epi32(0xaaaa, even.v, _mm512_slli_epi64(odd.v, 32));
#elif defined(TERCEL_LEVEL_AVX2)
  return VecI(_mm256_blend_epi32(even.lo, _mm256_slli_epi64(odd.lo, 32), 0xaa),
              _mm256_blend_epi32(even.hi, _mm256_slli_epi64(odd.hi, 32), 0xaa));
#else
  int64_t e[8], o[8];
  int32_t out[16];
  even.store(e);
  odd.store(o);
  for (int i = 0; i < 8; ++i) {
    out[2 * i] = static_cast<int32_t>(e[i]);
    out[2 * i + 1] = static_cast<int32_t>(o[i]);
  }
  return VecI::load(out);
#endif
}

// Words of the 16 blocks from `first[c]` on, for kGroups independent groups: w[c][k] holds word k
// of each. A 32-bit word lives in the low half of a 64-bit lane, where the widening multiply wants
// it; the high halves are garbage that no operation reads. The even and odd blocks and the groups
// are chains that hide each other's multiply latency.
template <int kGroups>
TERCEL_INLINE void philox_16(PhiloxKey key, uint64_t first, VecI (&w)[kGroups][4]) {
  constexpr int kChains = 2 * kGroups;
  alignas(64) static constexpr int64_t kEven[8] = {0, 2, 4, 6, 8, 10, 12, 14};
  VecL c0[kChains], c1[kChains], c2[kChains], c3[kChains];
  for (int c = 0; c < kChains; ++c) {
    const uint64_t base = key.offset + first + static_cast<uint64_t>(c / 2 * 16 + c % 2);
    c0[c] = VecL(static_cast<int64_t>(base)) + VecL::load(kEven);
    c1[c] = shift_right<32>(c0[c]);
    c2[c] = c3[c] = VecL(0);
  }
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const VecL key0(static_cast<int64_t>(k0)), key1(static_cast<int64_t>(k1));
    for (int c = 0; c < kChains; ++c) {
      const VecL p0 = multiply_low(c0[c], 0xD2511F53u), p1 = multiply_low(c2[c], 0xCD9E8D57u);
      c0[c] = shift_right<32>(p1) ^ c1[c] ^ key0;
      c2[c] = shift_right<32>(p0) ^ c3[c] ^ key1;
      c1[c] = p1;
      c3[c] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int g = 0; g < kGroups; ++g) {
    w[g][0] = interleave_low(c0[2 * g], c0[2 * g + 1]);
    w[g][1] = interleave_low(c1[2 * g], c1[2 * g + 1]);
    w[g][2] = interleave_low(c2[2 * g], c2[2 * g + 1]);
    w[g][3] = interleave_low(c3[2 * g], c3[2 * g + 1]);
  }
}

// (0, 1] from 32 bits.
TERCEL_INLINE VecF open_uniform(const VecI& w) {
  return (to_float(shift_right<1>(w)) + VecF(0.5f)) * VecF(0x1p-31f);
}

// ln u for normal u: u = m 2^e, m in [sqrt(1/2), sqrt 2), ln m by a degree-9 series in m - 1 (about
// 1 ulp; coefficients: Chebyshev fit on that interval). ln 2 is split so that e * high is exact.
TERCEL_INLINE VecF log_fast(VecF u) {
  const VecI b = as_int(u) - VecI(0x3f3504f3);
  const VecF e = to_float(shift_right_signed<23>(b));
  const VecF t = as_float((b & VecI(0x007fffff)) + VecI(0x3f3504f3)) - VecF(1.0f);
  VecF p(7.0376836292e-2f);
  p = fma(p, t, VecF(-1.1514610310e-1f));
  p = fma(p, t, VecF(1.1676998740e-1f));
  p = fma(p, t, VecF(-1.2420140846e-1f));
  p = fma(p, t, VecF(1.4249322787e-1f));
  p = fma(p, t, VecF(-1.6668057665e-1f));
  p = fma(p, t, VecF(2.0000714765e-1f));
  p = fma(p, t, VecF(-2.4999993993e-1f));
  p = fma(p, t, VecF(3.3333331174e-1f));
  const VecF t2 = t * t;
  VecF y = p * t * t2;
  y = fma(e, VecF(-2.12194440e-4f), y);
  y = fma(t2, VecF(-0.5f), y);
  return fma(e, VecF(0.693359375f), t + y);
}

// cos and sin of 2 pi w 2^-32. The two top bits (after rounding) are the quadrant, the rest is
// exact.
TERCEL_INLINE void sincos_turn(const VecI& w, VecF* cosine, VecF* sine) {
  const VecI q = shift_right<30>(w + VecI(1 << 29));
  const VecF x = to_float(w - shift_left<30>(q)) * VecF(1.46291807926715968e-9f);  // pi/2 2^-30
  const VecF z = x * x;
  VecF s(-1.9515295891e-4f);
  s = fma(s, z, VecF(8.3321608736e-3f));
  s = fma(s, z, VecF(-1.6666654611e-1f));
  s = fma(s * z, x, x);
  VecF c(2.443315711809948e-5f);
  c = fma(c, z, VecF(-1.388731625493765e-3f));
  c = fma(c, z, VecF(4.166664568298827e-2f));
  c = fma(c * z, z, fma(z, VecF(-0.5f), VecF(1.0f)));
  const auto odd = (q & VecI(1)) == VecI(1);
  const VecF sin_part = select(odd, c, s), cos_part = select(odd, s, c);
  *sine = as_float(as_int(sin_part) ^ shift_left<30>(q & VecI(2)));
  *cosine = as_float(as_int(cos_part) ^ shift_left<30>((q + VecI(1)) & VecI(2)));
}

// The same in double for one value; u in [0, 1) is the fraction of a turn.
TERCEL_INLINE void sincos_turn(double u, double* cosine, double* sine) {
  const int q = static_cast<int>(u * 4.0 + 0.5);
  const double x = (u - q * 0.25) * 6.283185307179586477;
  const double z = x * x;
  const double s =
      x + x * z *
              (-1.66666666666666324348e-01 +
               z * (8.33333333332248946124e-03 +
                    z * (-1.98412698298579493134e-04 +
                         z * (2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 +
                                                                z * 1.58969099521155010221e-10)))));
  const double c =
      1.0 - 0.5 * z +
      z * z *
          (4.16666666666666019037e-02 +
           z * (-1.38888888888741095749e-03 +
                z * (2.48015872894767294178e-05 +
                     z * (-2.75573143513906633035e-07 +
                          z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  const double sin_part = q & 1 ? c : s, cos_part = q & 1 ? s : c;
  *sine = q & 2 ? -sin_part : sin_part;
  *cosine = (q + 1) & 2 ? -cos_part : cos_part;
}

}  // namespace
}  // namespace tercel
