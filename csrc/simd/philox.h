// Sixteen Philox4x32-10 blocks at once (core/random.h has the scalar one). Only for files compiled
// per ISA level.
//
//   PhiloxVec r = philox16(key, index);   // lane l of r.v[j] = word j of philox(key, index + l)
//
// The rounds run on 64-bit lanes that hold one 32-bit word each: the widening multiply reads only
// the low halves, so the garbage that the xors leave in the upper ones never has to be cleared.
#pragma once

#include "core/random.h"
#include "simd/vec.h"

namespace tercel::simd {
namespace {

struct PhiloxVec {
  VecI v[4];
};

#if defined(TERCEL_LEVEL_AVX512)
TERCEL_INLINE VecL mul_low32(VecL a, VecL b) { return _mm512_mul_epu32(a.v, b.v); }
TERCEL_INLINE VecL xor3(VecL a, VecL b, VecL c) {
  return _mm512_ternarylogic_epi64(a.v, b.v, c.v, 0x96);
}
// lane 2l = low half of even[l], lane 2l + 1 = low half of odd[l]
TERCEL_INLINE VecI interleave_low32(VecL even, VecL odd) {
  return _mm512_mask_shuffle_epi32(even.v, 0xaaaa, odd.v, _MM_PERM_CCAA);
}
#elif defined(TERCEL_LEVEL_AVX2)
TERCEL_INLINE VecL mul_low32(VecL a, VecL b) {
  return {_mm256_mul_epu32(a.lo, b.lo), _mm256_mul_epu32(a.hi, b.hi)};
}
TERCEL_INLINE VecL xor3(VecL a, VecL b, VecL c) { return a ^ b ^ c; }
TERCEL_INLINE VecI interleave_low32(VecL even, VecL odd) {
  return {_mm256_blend_epi32(even.lo, _mm256_slli_epi64(odd.lo, 32), 0xaa),
          _mm256_blend_epi32(even.hi, _mm256_slli_epi64(odd.hi, 32), 0xaa)};
}
#else
TERCEL_INLINE VecL mul_low32(const VecL& a, const VecL& b) {
  const RawUL low = RawUL{} + 0xffffffffu;
  return (RawL)(((RawUL)a.v & low) * ((RawUL)b.v & low));
}
TERCEL_INLINE VecL xor3(const VecL& a, const VecL& b, const VecL& c) { return a ^ b ^ c; }
TERCEL_INLINE VecI interleave_low32(const VecL& even, const VecL& odd) {
  VecI r;
  for (int l = 0; l < 8; ++l) {
    r.v[2 * l] = static_cast<int32_t>(even.v[l]);
    r.v[2 * l + 1] = static_cast<int32_t>(odd.v[l]);
  }
  return r;
}
#endif

// Words of the 16 blocks from index + 16 c on, for kGroups groups c: w[c][k] holds word k of each.
// The even and odd blocks and the groups are chains that hide each other's multiply latency.
template <int kGroups>
TERCEL_INLINE void philox16_groups(PhiloxKey key, uint64_t index, VecI (&w)[kGroups][4]) {
  constexpr int kChains = 2 * kGroups;
  alignas(64) static constexpr int64_t kEven[8] = {0, 2, 4, 6, 8, 10, 12, 14};
  const VecL m0(static_cast<int64_t>(0xD2511F53u)), m1(static_cast<int64_t>(0xCD9E8D57u));
  VecL c0[kChains], c1[kChains], c2[kChains], c3[kChains];
  for (int c = 0; c < kChains; ++c) {
    const uint64_t base = key.offset + index + static_cast<uint64_t>(c / 2 * 16 + c % 2);
    c0[c] = VecL(static_cast<int64_t>(base)) + VecL::load(kEven);
    c1[c] = shift_right<32>(c0[c]);
    c2[c] = c3[c] = VecL(static_cast<int64_t>(0));
  }
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const VecL v0(static_cast<int64_t>(k0)), v1(static_cast<int64_t>(k1));
    for (int c = 0; c < kChains; ++c) {
      const VecL p0 = mul_low32(c0[c], m0), p1 = mul_low32(c2[c], m1);
      c0[c] = xor3(shift_right<32>(p1), c1[c], v0);
      c2[c] = xor3(shift_right<32>(p0), c3[c], v1);
      c1[c] = p1;
      c3[c] = p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int g = 0; g < kGroups; ++g) {
    w[g][0] = interleave_low32(c0[2 * g], c0[2 * g + 1]);
    w[g][1] = interleave_low32(c1[2 * g], c1[2 * g + 1]);
    w[g][2] = interleave_low32(c2[2 * g], c2[2 * g + 1]);
    w[g][3] = interleave_low32(c3[2 * g], c3[2 * g + 1]);
  }
}

TERCEL_INLINE PhiloxVec philox16(PhiloxKey key, uint64_t index) {
  VecI w[1][4];
  philox16_groups<1>(key, index, w);
  return {{w[0][0], w[0][1], w[0][2], w[0][3]}};
}

}  // namespace
}  // namespace tercel::simd
