// Loads that convert: elements of any float format arrive as registers of the accumulation type.
// Included by kernel files only.
//
//   load_lanes(p), load_lanes(p, n)   L (or the first n, the rest zero) consecutive elements
//   transpose(p, stride, out)         L rows of L consecutive k become L registers, rows across
//   lanes
//
// bfloat16 is the upper half of a float32. float16 has its own instruction, which float8 borrows:
// e5m2 is the upper byte of a float16, e4m3fn is one with the exponent off by 8 (its NaN code is
// patched). That way subnormal codes cost nothing, unlike a multiplication of float32 subnormals.
// Transposes move the narrow elements and convert afterwards: fewer shuffles.
#pragma once

#include "ops/matmul/transpose_simd.h"

namespace tercel {
namespace {

#if defined(TERCEL_LEVEL_AVX512)

TERCEL_INLINE __m512 load_lanes(const float* p) { return _mm512_loadu_ps(p); }
TERCEL_INLINE __m512 load_lanes(const float* p, int n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
}
TERCEL_INLINE __m512d load_lanes(const double* p) { return _mm512_loadu_pd(p); }
TERCEL_INLINE __m512d load_lanes(const double* p, int n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1u), p);
}

TERCEL_INLINE __m512 widen(bf16, __m256i words) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}
TERCEL_INLINE __m512 widen(f16, __m256i words) { return _mm512_cvtph_ps(words); }
// 32 codes as 32 float16, e4m3 divided by 256.
TERCEL_INLINE __m512i to_half(f8e5m2, __m256i bytes) {
  return _mm512_slli_epi16(_mm512_cvtepu8_epi16(bytes), 8);
}
TERCEL_INLINE __m512i to_half(f8e4m3, __m256i bytes) {
  const __m512i shifted = _mm512_slli_epi16(_mm512_cvtepi8_epi16(bytes), 7);
  const __m512i w = _mm512_and_si512(shifted, _mm512_set1_epi16(static_cast<int16_t>(0xbfff)));
  const __mmask32 finite = _mm512_cmpneq_epi16_mask(_mm512_and_si512(w, _mm512_set1_epi16(0x7fff)),
                                                    _mm512_set1_epi16(0x3f80));
  return _mm512_mask_blend_epi16(finite, _mm512_set1_epi16(0x7e00), w);
}
TERCEL_INLINE __m512 from_half(f8e5m2, __m256i w) { return _mm512_cvtph_ps(w); }
TERCEL_INLINE __m512 from_half(f8e4m3, __m256i w) {
  return _mm512_mul_ps(_mm512_cvtph_ps(w), _mm512_set1_ps(256.0f));
}
template <class S>
TERCEL_INLINE __m512 widen8(S tag, __m128i bytes) {
  return from_half(tag, _mm512_castsi512_si256(to_half(tag, _mm256_castsi128_si256(bytes))));
}

template <class S>
TERCEL_INLINE __m512 load_lanes(const S* p) {
  if constexpr (sizeof(S) == 2) {
    return widen(S(), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  } else {
    return widen8(S(), _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
}
template <class S>
TERCEL_INLINE __m512 load_lanes(const S* p, int n) {
  const __mmask16 mask = static_cast<__mmask16>((1u << n) - 1u);
  if constexpr (sizeof(S) == 2) {
    return widen(S(), _mm256_maskz_loadu_epi16(mask, p));
  } else {
    return widen8(S(), _mm_maskz_loadu_epi8(mask, p));
  }
}

// 16 bytes of rows g, g+4, g+8, g+12.
TERCEL_INLINE __m512i four_rows(const char* p, int64_t stride_bytes) {
  const auto at = [&](int64_t row) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + row * stride_bytes));
  };
  __m512i r = _mm512_castsi128_si512(at(0));
  r = _mm512_inserti32x4(r, at(4), 1);
  r = _mm512_inserti32x4(r, at(8), 2);
  return _mm512_inserti32x4(r, at(12), 3);
}

TERCEL_INLINE void transpose(const bf16* src, int64_t stride, __m512 out[16]) {
  const __m512i high = _mm512_set1_epi32(static_cast<int32_t>(0xffff0000u));
#pragma GCC unroll 2
  for (int c = 0; c < 2; ++c) {  // 8 k as 4 pairs
    __m512i v[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g)
      v[g] = four_rows(reinterpret_cast<const char*>(src + g * stride + 8 * c), stride * 2);
    const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i d = _mm512_unpacklo_epi32(v[2], v[3]), e = _mm512_unpackhi_epi32(v[2], v[3]);
    const __m512i pair[4] = {_mm512_unpacklo_epi64(a, d), _mm512_unpackhi_epi64(a, d),
                             _mm512_unpacklo_epi64(b, e), _mm512_unpackhi_epi64(b, e)};
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      out[8 * c + 2 * j] = _mm512_castsi512_ps(_mm512_slli_epi32(pair[j], 16));
      out[8 * c + 2 * j + 1] = _mm512_castsi512_ps(_mm512_and_si512(pair[j], high));
    }
  }
}

TERCEL_INLINE void transpose(const f16* src, int64_t stride, __m512 out[16]) {
  const __m512i by_k = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
#pragma GCC unroll 2
  for (int c = 0; c < 2; ++c) {
    __m512i v[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g)
      v[g] = four_rows(reinterpret_cast<const char*>(src + g * stride + 8 * c), stride * 2);
    const __m512i a = _mm512_unpacklo_epi16(v[0], v[1]), b = _mm512_unpackhi_epi16(v[0], v[1]);
    const __m512i d = _mm512_unpacklo_epi16(v[2], v[3]), e = _mm512_unpackhi_epi16(v[2], v[3]);
    // Two k per register, four rows in each 128-bit lane.
    const __m512i two[4] = {_mm512_unpacklo_epi32(a, d), _mm512_unpackhi_epi32(a, d),
                            _mm512_unpacklo_epi32(b, e), _mm512_unpackhi_epi32(b, e)};
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i z = _mm512_permutexvar_epi64(by_k, two[j]);
      out[8 * c + 2 * j] = _mm512_cvtph_ps(_mm512_castsi512_si256(z));
      out[8 * c + 2 * j + 1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(z, 1));
    }
  }
}

template <class S>
TERCEL_INLINE void transpose_f8(const S* src, int64_t stride, __m512 out[16]) {
  const __m512i by_k = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i v[4];
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g)
    v[g] = four_rows(reinterpret_cast<const char*>(src + g * stride), stride);
  const __m512i a = _mm512_unpacklo_epi8(v[0], v[1]), b = _mm512_unpackhi_epi8(v[0], v[1]);
  const __m512i d = _mm512_unpacklo_epi8(v[2], v[3]), e = _mm512_unpackhi_epi8(v[2], v[3]);
  // Four k per register, four rows in each 128-bit lane.
  const __m512i four[4] = {_mm512_unpacklo_epi16(a, d), _mm512_unpackhi_epi16(a, d),
                           _mm512_unpacklo_epi16(b, e), _mm512_unpackhi_epi16(b, e)};
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i z = _mm512_permutexvar_epi32(by_k, four[j]);
    const __m512i lo = to_half(S(), _mm512_castsi512_si256(z));
    const __m512i hi = to_half(S(), _mm512_extracti64x4_epi64(z, 1));
    out[4 * j + 0] = from_half(S(), _mm512_castsi512_si256(lo));
    out[4 * j + 1] = from_half(S(), _mm512_extracti64x4_epi64(lo, 1));
    out[4 * j + 2] = from_half(S(), _mm512_castsi512_si256(hi));
    out[4 * j + 3] = from_half(S(), _mm512_extracti64x4_epi64(hi, 1));
  }
}
TERCEL_INLINE void transpose(const f8e4m3* src, int64_t stride, __m512 out[16]) {
  transpose_f8(src, stride, out);
}
TERCEL_INLINE void transpose(const f8e5m2* src, int64_t stride, __m512 out[16]) {
  transpose_f8(src, stride, out);
}

#elif defined(TERCEL_LEVEL_AVX2)

TERCEL_INLINE __m256 load_lanes(const float* p) { return _mm256_loadu_ps(p); }
TERCEL_INLINE __m256d load_lanes(const double* p) { return _mm256_loadu_pd(p); }

TERCEL_INLINE __m256 widen(bf16, __m128i words) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}
TERCEL_INLINE __m256 widen(f16, __m128i words) { return _mm256_cvtph_ps(words); }
// `words` hold a code in their upper byte.
TERCEL_INLINE __m256 widen(f8e5m2, __m128i words) { return _mm256_cvtph_ps(words); }
TERCEL_INLINE __m256 widen(f8e4m3, __m128i words) {
  const __m128i w =
      _mm_and_si128(_mm_srai_epi16(words, 1), _mm_set1_epi16(static_cast<int16_t>(0xbfff)));
  const __m128i nan =
      _mm_cmpeq_epi16(_mm_and_si128(w, _mm_set1_epi16(0x7fff)), _mm_set1_epi16(0x3f80));
  return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(w, nan)), _mm256_set1_ps(256.0f));
}

template <class S>
TERCEL_INLINE __m256 load_lanes(const S* p) {
  if constexpr (sizeof(S) == 2) {
    return widen(S(), _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  } else {
    return widen(S(), _mm_unpacklo_epi8(_mm_setzero_si128(),
                                        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
}

// 16 bytes of rows g and g + 4.
TERCEL_INLINE __m256i two_rows(const char* p, int64_t stride_bytes) {
  const auto at = [&](int64_t row) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + row * stride_bytes));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(at(0)), at(4), 1);
}

TERCEL_INLINE void transpose(const bf16* src, int64_t stride, __m256 out[8]) {
  const __m256i high = _mm256_set1_epi32(static_cast<int32_t>(0xffff0000u));
  __m256i v[4];
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g)
    v[g] = two_rows(reinterpret_cast<const char*>(src + g * stride), stride * 2);
  const __m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpackhi_epi32(v[0], v[1]);
  const __m256i d = _mm256_unpacklo_epi32(v[2], v[3]), e = _mm256_unpackhi_epi32(v[2], v[3]);
  const __m256i pair[4] = {_mm256_unpacklo_epi64(a, d), _mm256_unpackhi_epi64(a, d),
                           _mm256_unpacklo_epi64(b, e), _mm256_unpackhi_epi64(b, e)};
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    out[2 * j] = _mm256_castsi256_ps(_mm256_slli_epi32(pair[j], 16));
    out[2 * j + 1] = _mm256_castsi256_ps(_mm256_and_si256(pair[j], high));
  }
}

TERCEL_INLINE void transpose(const f16* src, int64_t stride, __m256 out[8]) {
  __m256i v[4];
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g)
    v[g] = two_rows(reinterpret_cast<const char*>(src + g * stride), stride * 2);
  const __m256i a = _mm256_unpacklo_epi16(v[0], v[1]), b = _mm256_unpackhi_epi16(v[0], v[1]);
  const __m256i d = _mm256_unpacklo_epi16(v[2], v[3]), e = _mm256_unpackhi_epi16(v[2], v[3]);
  const __m256i two[4] = {_mm256_unpacklo_epi32(a, d), _mm256_unpackhi_epi32(a, d),
                          _mm256_unpacklo_epi32(b, e), _mm256_unpackhi_epi32(b, e)};
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m256i z = _mm256_permute4x64_epi64(two[j], 0xd8);
    out[2 * j] = _mm256_cvtph_ps(_mm256_castsi256_si128(z));
    out[2 * j + 1] = _mm256_cvtph_ps(_mm256_extracti128_si256(z, 1));
  }
}

template <class S>
TERCEL_INLINE void transpose_f8(const S* src, int64_t stride, __m256 out[8]) {
  __m128i pair[4];  // rows 2g, 2g+1 interleaved
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    const S* p = src + 2 * g * stride;
    pair[g] = _mm_unpacklo_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)),
                                _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + stride)));
  }
  const __m128i a = _mm_unpacklo_epi16(pair[0], pair[1]), b = _mm_unpackhi_epi16(pair[0], pair[1]);
  const __m128i d = _mm_unpacklo_epi16(pair[2], pair[3]), e = _mm_unpackhi_epi16(pair[2], pair[3]);
  const __m128i two[4] = {_mm_unpacklo_epi32(a, d), _mm_unpackhi_epi32(a, d),
                          _mm_unpacklo_epi32(b, e), _mm_unpackhi_epi32(b, e)};
  const __m128i zero = _mm_setzero_si128();
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    out[2 * j] = widen(S(), _mm_unpacklo_epi8(zero, two[j]));
    out[2 * j + 1] = widen(S(), _mm_unpackhi_epi8(zero, two[j]));
  }
}
TERCEL_INLINE void transpose(const f8e4m3* src, int64_t stride, __m256 out[8]) {
  transpose_f8(src, stride, out);
}
TERCEL_INLINE void transpose(const f8e5m2* src, int64_t stride, __m256 out[8]) {
  transpose_f8(src, stride, out);
}

#else

template <class S>
TERCEL_INLINE auto load_lanes(const S* p) {
  typename TransposeTraits<acc_t<S>>::Reg r;
  for (int i = 0; i < 4; ++i) r.v[i] = static_cast<acc_t<S>>(p[i]);
  return r;
}

#endif

#if !defined(TERCEL_LEVEL_AVX512)
template <class S>
TERCEL_INLINE auto load_lanes(const S* p, int n) {
  S buffer[TransposeTraits<acc_t<S>>::kLanes];
  __builtin_memset(static_cast<void*>(buffer), 0, sizeof(buffer));
  __builtin_memcpy(static_cast<void*>(buffer), p, static_cast<size_t>(n) * sizeof(S));
  return load_lanes(buffer);
}
#endif

// A square of which only `rows` x `cols` exist; the rest reads as zero.
template <class S, class Reg>
TERCEL_INLINE void transpose_part(const S* src, int64_t stride, int rows, int cols, Reg* out) {
  using T = acc_t<S>;
  constexpr int L = TransposeTraits<T>::kLanes;
  alignas(64) T square[L * L];
  for (int i = 0; i < L; ++i) {
    if (i < rows) {
      store(square + i * L,
            cols == L ? load_lanes(src + i * stride) : load_lanes(src + i * stride, cols));
    } else {
      for (int j = 0; j < L; ++j) square[i * L + j] = T(0);
    }
  }
  transpose(square, L, out);
}

}  // namespace
}  // namespace tercel
