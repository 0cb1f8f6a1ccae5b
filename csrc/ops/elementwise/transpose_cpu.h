// Transposes of 1-, 2-, 4- and 8-byte elements, per ISA level.
//
// Every 16 x 16 tile (4-byte elements) is read and leaves as whole cache lines, so power-of-two row
// strides, which map a column to one cache set, do no harm. Tiles follow each other along the
// destination, which memory likes of stores past the caches; the source, more rows than the
// hardware follows, is prefetched.
#pragma once

#include <string.h>

#include "simd/vec.h"

namespace tercel::TERCEL_LEVEL {
namespace {

using namespace simd;

#if defined(TERCEL_LEVEL_AVX512)
// Transposes 16 x 16 floats in registers: pairs, quads, then 128-bit lanes.
TERCEL_INLINE void transpose_tile(__m512 (&r)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    const __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
    const __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
    r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
  }
}
// dst: 16 rows of 16 floats
TERCEL_INLINE void transpose_16x16(float* dst, int64_t dst_row, const float* src, int64_t src_row,
                                   bool stream) {
  __m512 r[16];
  for (int i = 0; i < 16; ++i) {
    r[i] = _mm512_loadu_ps(reinterpret_cast<const char*>(src) + i * src_row);
  }
  transpose_tile(r);
  for (int i = 0; i < 16; ++i) {
    float* p = reinterpret_cast<float*>(reinterpret_cast<char*>(dst) + i * dst_row);
    if (stream) {
      _mm512_stream_ps(p, r[i]);
    } else {
      _mm512_storeu_ps(p, r[i]);
    }
  }
}
#elif defined(TERCEL_LEVEL_AVX2)
TERCEL_INLINE void transpose_tile(__m256 (&r)[8]) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
    t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
  }
  for (int i = 0; i < 8; ++i) r[i] = t[i];
}
TERCEL_INLINE void transpose_16x16(float* dst, int64_t dst_row, const float* src, int64_t src_row,
                                   bool stream) {
  for (int half = 0; half < 2;
       ++half) {  // 8 destination rows of 16: both halves of a line together
    __m256 a[8], b[8];
    for (int i = 0; i < 8; ++i) {
      const char* p = reinterpret_cast<const char*>(src + 8 * half) + i * src_row;
      a[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(p));
      b[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(p + 8 * src_row));
    }
    transpose_tile(a);
    transpose_tile(b);
    for (int i = 0; i < 8; ++i) {
      float* p = reinterpret_cast<float*>(reinterpret_cast<char*>(dst) + (8 * half + i) * dst_row);
      if (stream) {
        _mm256_stream_ps(p, a[i]);
        _mm256_stream_ps(p + 8, b[i]);
      } else {
        _mm256_storeu_ps(p, a[i]);
        _mm256_storeu_ps(p + 8, b[i]);
      }
    }
  }
}
#endif

#if defined(TERCEL_LEVEL_AVX512) || defined(TERCEL_LEVEL_AVX2)
// 8 x 8 elements of 2 bytes: src rows of src_row bytes, dst rows of dst_row bytes.
TERCEL_INLINE void transpose_8x8_16bit(char* dst, int64_t dst_row, const char* src,
                                       int64_t src_row) {
  __m128i r[8], t[8];
  for (int i = 0; i < 8; ++i)
    r[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i * src_row));
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm_unpacklo_epi32(t[i], t[i + 2]);
    r[i + 1] = _mm_unpackhi_epi32(t[i], t[i + 2]);
    r[i + 2] = _mm_unpacklo_epi32(t[i + 1], t[i + 3]);
    r[i + 3] = _mm_unpackhi_epi32(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 2 * i * dst_row),
                     _mm_unpacklo_epi64(r[i], r[i + 4]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + (2 * i + 1) * dst_row),
                     _mm_unpackhi_epi64(r[i], r[i + 4]));
  }
}
// 32 x 32 elements of 2 bytes: whole lines in, transposed between two blocks in L1, whole lines
// out.
TERCEL_INLINE void transpose_32x32_16bit(char* dst, int64_t dst_row, const char* src,
                                         int64_t src_row, bool stream) {
  alignas(64) char in[32 * 64], out[32 * 64];
  for (int i = 0; i < 32; ++i) {
    VecF::load(reinterpret_cast<const float*>(src + i * src_row))
        .store(reinterpret_cast<float*>(in + i * 64));
  }
  for (int r = 0; r < 4; ++r) {
    for (int c = 0; c < 4; ++c)
      transpose_8x8_16bit(out + r * 8 * 64 + c * 16, 64, in + c * 8 * 64 + r * 16, 64);
  }
  for (int i = 0; i < 32; ++i) {
    const VecF line = VecF::load(reinterpret_cast<const float*>(out + i * 64));
    float* p = reinterpret_cast<float*>(dst + i * dst_row);
    if (stream) {
      line.stream(p);
    } else {
      line.store(p);
    }
  }
}
#endif

// Tiles of B x B through a local copy: whole lines on both sides, scalar moves in L1.
template <class T>
void transpose_edge(char* dst, int64_t dst_row, const char* src, int64_t src_row, int64_t rows,
                    int64_t cols) {
  constexpr int64_t B = 16;
  for (int64_t r0 = 0; r0 < rows; r0 += B) {
    const int64_t rn = rows - r0 < B ? rows - r0 : B;
    for (int64_t c0 = 0; c0 < cols; c0 += B) {
      const int64_t cn = cols - c0 < B ? cols - c0 : B;
      T tile[B][B];
      for (int64_t c = 0; c < cn; ++c) {
        const T* s = reinterpret_cast<const T*>(src + (c0 + c) * src_row) + r0;
        for (int64_t r = 0; r < rn; ++r) tile[r][c] = s[r];
      }
      for (int64_t r = 0; r < rn; ++r) {
        T* d = reinterpret_cast<T*>(dst + (r0 + r) * dst_row) + c0;
        for (int64_t c = 0; c < cn; ++c) d[c] = tile[r][c];
      }
    }
  }
}

constexpr int64_t kTransposeAhead = 256;  // bytes

template <class T>
void transpose(void* dst, int64_t dst_row, const void* src, int64_t src_row, int64_t rows,
               int64_t cols, bool stream) {
  char* d = static_cast<char*>(dst);
  const char* s = static_cast<const char*>(src);
#if defined(TERCEL_LEVEL_AVX512) || defined(TERCEL_LEVEL_AVX2)
  if constexpr (sizeof(T) == 4 || sizeof(T) == 2) {
    constexpr int64_t kSize = sizeof(T), B = 64 / kSize;
    const bool aligned =
        ((reinterpret_cast<uintptr_t>(d) | static_cast<uintptr_t>(dst_row)) & 63) == 0;
    stream = stream && aligned;
    const int64_t full_rows = rows & ~(B - 1), full_cols = cols & ~(B - 1);
    for (int64_t r = 0; r < full_rows; r += B) {
      for (int64_t c = 0; c < full_cols; c += B) {
        for (int64_t i = 0; i < B; ++i)
          __builtin_prefetch(s + (c + i) * src_row + r * kSize + kTransposeAhead);
        char* tile = d + r * dst_row + c * kSize;
        const char* from = s + c * src_row + r * kSize;
        if constexpr (kSize == 4) {
          transpose_16x16(reinterpret_cast<float*>(tile), dst_row,
                          reinterpret_cast<const float*>(from), src_row, stream);
        } else {
          transpose_32x32_16bit(tile, dst_row, from, src_row, stream);
        }
      }
    }
    if (stream) stream_fence();
    if (full_rows < rows) {
      transpose_edge<T>(d + full_rows * dst_row, dst_row, s + full_rows * kSize, src_row,
                        rows - full_rows, cols);
    }
    if (full_cols < cols) {
      transpose_edge<T>(d + full_cols * kSize, dst_row, s + full_cols * src_row, src_row, full_rows,
                        cols - full_cols);
    }
    return;
  }
#endif
  (void)stream;
  transpose_edge<T>(d, dst_row, s, src_row, rows, cols);
}

}  // namespace
}  // namespace tercel::TERCEL_LEVEL
