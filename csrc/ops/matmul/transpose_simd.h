// In-register transposes for packing: LANES rows of LANES consecutive k become k vectors with the
// rows across lanes. Included by kernel files only.
#pragma once

#include <cstdint>

#include "core/half.h"

#if defined(TERCEL_LEVEL_AVX2) || defined(TERCEL_LEVEL_AVX512)
#include <immintrin.h>
// gcc 12 warns about its own _mm512_undefined_*.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace tercel {
namespace {

#if defined(TERCEL_LEVEL_AVX512)
inline constexpr int kTransposeF32 = 16;
inline constexpr int kTransposeF64 = 8;

// 128-bit chunk `c` of rows g, g+4, g+8, g+12 in one register: 1 load and 3 inserting loads, which
// keeps the shuffle port free for the second half (2 x 16 unpacks).
TERCEL_INLINE void transpose(const float* src, int64_t stride, __m512 out[16]) {
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    __m512 v[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const float* p = src + g * stride + 4 * c;
      __m512 r = _mm512_castps128_ps512(_mm_loadu_ps(p));
      r = _mm512_insertf32x4(r, _mm_loadu_ps(p + 4 * stride), 1);
      r = _mm512_insertf32x4(r, _mm_loadu_ps(p + 8 * stride), 2);
      v[g] = _mm512_insertf32x4(r, _mm_loadu_ps(p + 12 * stride), 3);
    }
    const __m512 a = _mm512_unpacklo_ps(v[0], v[1]);
    const __m512 b = _mm512_unpackhi_ps(v[0], v[1]);
    const __m512 d = _mm512_unpacklo_ps(v[2], v[3]);
    const __m512 e = _mm512_unpackhi_ps(v[2], v[3]);
    out[4 * c + 0] = _mm512_shuffle_ps(a, d, 0x44);
    out[4 * c + 1] = _mm512_shuffle_ps(a, d, 0xee);
    out[4 * c + 2] = _mm512_shuffle_ps(b, e, 0x44);
    out[4 * c + 3] = _mm512_shuffle_ps(b, e, 0xee);
  }
}

TERCEL_INLINE void transpose(const double* src, int64_t stride, __m512d out[8]) {
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    __m512d v[2];
#pragma GCC unroll 2
    for (int g = 0; g < 2; ++g) {
      const double* p = src + g * stride + 2 * c;
      __m512d r = _mm512_castpd128_pd512(_mm_loadu_pd(p));
      r = _mm512_insertf64x2(r, _mm_loadu_pd(p + 2 * stride), 1);
      r = _mm512_insertf64x2(r, _mm_loadu_pd(p + 4 * stride), 2);
      v[g] = _mm512_insertf64x2(r, _mm_loadu_pd(p + 6 * stride), 3);
    }
    out[2 * c + 0] = _mm512_unpacklo_pd(v[0], v[1]);
    out[2 * c + 1] = _mm512_unpackhi_pd(v[0], v[1]);
  }
}
using TransposeRegF32 = __m512;
using TransposeRegF64 = __m512d;
TERCEL_INLINE void store(float* p, __m512 v) { _mm512_storeu_ps(p, v); }
TERCEL_INLINE void store(double* p, __m512d v) { _mm512_storeu_pd(p, v); }
TERCEL_INLINE void store(float* p, __m512 v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), v);
}
TERCEL_INLINE void store(double* p, __m512d v, int n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1u), v);
}

#elif defined(TERCEL_LEVEL_AVX2)
inline constexpr int kTransposeF32 = 8;
inline constexpr int kTransposeF64 = 4;

TERCEL_INLINE void transpose(const float* src, int64_t stride, __m256 out[8]) {
#pragma GCC unroll 2
  for (int c = 0; c < 2; ++c) {
    __m256 v[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      const float* p = src + g * stride + 4 * c;
      v[g] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)),
                                  _mm_loadu_ps(p + 4 * stride), 1);
    }
    const __m256 a = _mm256_unpacklo_ps(v[0], v[1]);
    const __m256 b = _mm256_unpackhi_ps(v[0], v[1]);
    const __m256 d = _mm256_unpacklo_ps(v[2], v[3]);
    const __m256 e = _mm256_unpackhi_ps(v[2], v[3]);
    out[4 * c + 0] = _mm256_shuffle_ps(a, d, 0x44);
    out[4 * c + 1] = _mm256_shuffle_ps(a, d, 0xee);
    out[4 * c + 2] = _mm256_shuffle_ps(b, e, 0x44);
    out[4 * c + 3] = _mm256_shuffle_ps(b, e, 0xee);
  }
}
TERCEL_INLINE void transpose(const double* src, int64_t stride, __m256d out[4]) {
#pragma GCC unroll 2
  for (int c = 0; c < 2; ++c) {
    __m256d v[2];
#pragma GCC unroll 2
    for (int g = 0; g < 2; ++g) {
      const double* p = src + g * stride + 2 * c;
      v[g] = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)),
                                  _mm_loadu_pd(p + 2 * stride), 1);
    }
    out[2 * c + 0] = _mm256_unpacklo_pd(v[0], v[1]);
    out[2 * c + 1] = _mm256_unpackhi_pd(v[0], v[1]);
  }
}
using TransposeRegF32 = __m256;
using TransposeRegF64 = __m256d;
TERCEL_INLINE void store(float* p, __m256 v) { _mm256_storeu_ps(p, v); }
TERCEL_INLINE void store(double* p, __m256d v) { _mm256_storeu_pd(p, v); }
alignas(32) constexpr int32_t kStoreMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                0,  0,  0,  0,  0,  0,  0,  0};
TERCEL_INLINE void store(float* p, __m256 v, int n) {
  _mm256_maskstore_ps(p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kStoreMask + 8 - n)),
                      v);
}
TERCEL_INLINE void store(double* p, __m256d v, int n) {
  _mm256_maskstore_pd(
      p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kStoreMask + 8 - 2 * n)), v);
}

#else
// Portable stand-in: the same interface on small arrays.
inline constexpr int kTransposeF32 = 4;
inline constexpr int kTransposeF64 = 4;
struct TransposeRegF32 {
  float v[4];
};
struct TransposeRegF64 {
  double v[4];
};
template <class T, class R>
TERCEL_INLINE void transpose(const T* src, int64_t stride, R* out) {
  for (int p = 0; p < 4; ++p) {
    for (int i = 0; i < 4; ++i) out[p].v[i] = src[i * stride + p];
  }
}
template <class T, class R>
TERCEL_INLINE void store(T* p, const R& r) {
  for (int i = 0; i < 4; ++i) p[i] = r.v[i];
}
template <class T, class R>
TERCEL_INLINE void store(T* p, const R& r, int n) {
  for (int i = 0; i < n; ++i) p[i] = r.v[i];
}
#endif

template <class T>
struct TransposeTraits;
template <>
struct TransposeTraits<float> {
  using Reg = TransposeRegF32;
  static constexpr int kLanes = kTransposeF32;
};
template <>
struct TransposeTraits<double> {
  using Reg = TransposeRegF64;
  static constexpr int kLanes = kTransposeF64;
};

}  // namespace
}  // namespace tercel
