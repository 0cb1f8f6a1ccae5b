// Transposes of 1-, 2-, 4- and 8-byte elements, per ISA level.
//
// Every tile, one cache line of elements wide and high, is read and leaves as whole lines, so
// power-of-two row strides, which map a column to one cache set, do no harm. Tiles follow each
// other along the destination, which memory likes of stores past the caches; the source, more rows
// than the hardware follows, is prefetched, also of the block that comes next.
#pragma once

#include <string.h>

#include "simd/rows.h"

namespace tercel::TERCEL_LEVEL {
namespace {

using namespace simd;

#if defined(TERCEL_LEVEL_AVX512)
// 4 x 4 lanes of 128 bits
TERCEL_INLINE void transpose_lanes(__m512& a, __m512& b, __m512& c, __m512& d) {
  const __m512 even_ab = _mm512_shuffle_f32x4(a, b, 0x88),
               odd_ab = _mm512_shuffle_f32x4(a, b, 0xdd);
  const __m512 even_cd = _mm512_shuffle_f32x4(c, d, 0x88),
               odd_cd = _mm512_shuffle_f32x4(c, d, 0xdd);
  a = _mm512_shuffle_f32x4(even_ab, even_cd, 0x88);
  b = _mm512_shuffle_f32x4(odd_ab, odd_cd, 0x88);
  c = _mm512_shuffle_f32x4(even_ab, even_cd, 0xdd);
  d = _mm512_shuffle_f32x4(odd_ab, odd_cd, 0xdd);
}
TERCEL_INLINE __m512 unpacklo_64(__m512 a, __m512 b) {
  return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
TERCEL_INLINE __m512 unpackhi_64(__m512 a, __m512 b) {
  return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
TERCEL_INLINE void transpose_square(__m512 (&r)[16]) {  // of 4-byte elements
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int k = 0; k < 2; ++k) {
      r[i + 2 * k] = unpacklo_64(t[i + k], t[i + k + 2]);
      r[i + 2 * k + 1] = unpackhi_64(t[i + k], t[i + k + 2]);
    }
  }
  for (int i = 0; i < 4; ++i) transpose_lanes(r[i], r[i + 4], r[i + 8], r[i + 12]);
}
TERCEL_INLINE void transpose_square(__m512 (&r)[8]) {  // of 8-byte elements
  for (int i = 0; i < 8; i += 2) {
    const __m512 low = unpacklo_64(r[i], r[i + 1]);
    r[i + 1] = unpackhi_64(r[i], r[i + 1]);
    r[i] = low;
  }
  for (int i = 0; i < 2; ++i) transpose_lanes(r[i], r[i + 2], r[i + 4], r[i + 6]);
}
// A square of SIZE-byte elements, one cache line wide, in registers.
template <int SIZE>
TERCEL_INLINE void transpose_tile(char* dst, int64_t dst_row, const char* src, int64_t src_row,
                                  bool stream) {
  constexpr int B = 64 / SIZE;
  __m512 r[B];
  for (int i = 0; i < B; ++i) r[i] = _mm512_loadu_ps(src + i * src_row);
  transpose_square(r);
  for (int i = 0; i < B; ++i)
    store<true>(VecF(r[i]), reinterpret_cast<float*>(dst + i * dst_row), 16, stream);
}
#elif defined(TERCEL_LEVEL_AVX2)
TERCEL_INLINE void transpose_square(__m256 (&r)[8]) {  // of 4-byte elements
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
    const __m256 low = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    r[i] = low;
  }
}
TERCEL_INLINE void transpose_square(__m256 (&r)[4]) {  // of 8-byte elements
  __m256d t[4];
  for (int i = 0; i < 4; i += 2) {
    const __m256d a = _mm256_castps_pd(r[i]), b = _mm256_castps_pd(r[i + 1]);
    t[i] = _mm256_unpacklo_pd(a, b);
    t[i + 1] = _mm256_unpackhi_pd(a, b);
  }
  for (int i = 0; i < 2; ++i) {
    r[i] = _mm256_castpd_ps(_mm256_permute2f128_pd(t[i], t[i + 2], 0x20));
    r[i + 2] = _mm256_castpd_ps(_mm256_permute2f128_pd(t[i], t[i + 2], 0x31));
  }
}
template <int SIZE>
TERCEL_INLINE void transpose_tile(char* dst, int64_t dst_row, const char* src, int64_t src_row,
                                  bool stream) {
  constexpr int B = 32 / SIZE;
  for (int half = 0; half < 2; ++half) {  // B rows of dst: both halves of a line together
    __m256 a[B], b[B];
    for (int i = 0; i < B; ++i) {
      const char* p = src + 32 * half + i * src_row;
      a[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(p));
      b[i] = _mm256_loadu_ps(reinterpret_cast<const float*>(p + B * src_row));
    }
    transpose_square(a);
    transpose_square(b);
    for (int i = 0; i < B; ++i)
      store<true>(VecF{a[i], b[i]}, reinterpret_cast<float*>(dst + (B * half + i) * dst_row), 16,
                  stream);
  }
}
#endif

#if defined(TERCEL_LEVEL_AVX512) || defined(TERCEL_LEVEL_AVX2)
template <int>
struct Width {};
TERCEL_INLINE __m128i unpacklo(__m128i a, __m128i b, Width<1>) { return _mm_unpacklo_epi8(a, b); }
TERCEL_INLINE __m128i unpackhi(__m128i a, __m128i b, Width<1>) { return _mm_unpackhi_epi8(a, b); }
TERCEL_INLINE __m128i unpacklo(__m128i a, __m128i b, Width<2>) { return _mm_unpacklo_epi16(a, b); }
TERCEL_INLINE __m128i unpackhi(__m128i a, __m128i b, Width<2>) { return _mm_unpackhi_epi16(a, b); }

// A square 16 bytes wide of SIZE-byte elements, rows 64 bytes apart: interleaving the first half of
// the rows with the second is a rotation of the index bits (row, column) by one.
template <int SIZE>
TERCEL_INLINE void transpose_square(char* dst, const char* src) {
  constexpr int N = 16 / SIZE;
  __m128i r[N], t[N];
  for (int i = 0; i < N; ++i) r[i] = _mm_load_si128(reinterpret_cast<const __m128i*>(src + i * 64));
  for (int bits = 1; bits < N; bits *= 2) {
    for (int i = 0; i < N / 2; ++i) {
      t[2 * i] = unpacklo(r[i], r[i + N / 2], Width<SIZE>());
      t[2 * i + 1] = unpackhi(r[i], r[i + N / 2], Width<SIZE>());
    }
    for (int i = 0; i < N; ++i) r[i] = t[i];
  }
  for (int i = 0; i < N; ++i) _mm_store_si128(reinterpret_cast<__m128i*>(dst + i * 64), r[i]);
}
// Narrow elements: whole lines in, transposed between two blocks in L1, whole lines out.
template <int SIZE>
void transpose_narrow_tile(char* dst, int64_t dst_row, const char* src, int64_t src_row,
                           bool stream) {
  constexpr int B = 64 / SIZE, N = 16 / SIZE;
  alignas(64) char in[B * 64], out[B * 64];
  for (int i = 0; i < B; ++i) {
    VecF::load(reinterpret_cast<const float*>(src + i * src_row))
        .store(reinterpret_cast<float*>(in + i * 64));
  }
  for (int r = 0; r < 4; ++r) {
    for (int c = 0; c < 4; ++c)
      transpose_square<SIZE>(out + r * N * 64 + c * 16, in + c * N * 64 + r * 16);
  }
  for (int i = 0; i < B; ++i)
    store<true>(VecF::load(reinterpret_cast<const float*>(out + i * 64)),
                reinterpret_cast<float*>(dst + i * dst_row), 16, stream);
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
               int64_t cols, const void* next, bool stream) {
  char* d = static_cast<char*>(dst);
  const char* s = static_cast<const char*>(src);
#if defined(TERCEL_LEVEL_AVX512) || defined(TERCEL_LEVEL_AVX2)
  constexpr int64_t kSize = sizeof(T), B = 64 / kSize;
  stream = stream && ((reinterpret_cast<uintptr_t>(d) | static_cast<uintptr_t>(dst_row)) & 63) == 0;
  const int64_t full_rows = rows & ~(B - 1), full_cols = cols & ~(B - 1);
  for (int64_t r = 0; r < full_rows; r += B) {
    const char* ahead = s + r * kSize + kTransposeAhead;
    if (const int64_t beyond = r * kSize + kTransposeAhead - full_rows * kSize; beyond >= 0)
      ahead = static_cast<const char*>(next) + beyond;
    for (int64_t c = 0; c < full_cols; c += B) {
      asm("" : "+r"(src_row), "+r"(dst_row));  // no pointer per row, kept on the stack
      for (int64_t i = 0; i < B; ++i) __builtin_prefetch(ahead + (c + i) * src_row);
      char* to = d + r * dst_row + c * kSize;
      const char* from = s + c * src_row + r * kSize;
      if constexpr (kSize >= 4)
        transpose_tile<kSize>(to, dst_row, from, src_row, stream);
      else
        transpose_narrow_tile<kSize>(to, dst_row, from, src_row, stream);
    }
  }
  if (full_rows < rows) {
    transpose_edge<T>(d + full_rows * dst_row, dst_row, s + full_rows * kSize, src_row,
                      rows - full_rows, cols);
  }
  if (full_cols < cols) {
    transpose_edge<T>(d + full_cols * kSize, dst_row, s + full_cols * src_row, src_row, full_rows,
                      cols - full_cols);
  }
#else
  (void)next, (void)stream;
  transpose_edge<T>(d, dst_row, s, src_row, rows, cols);
#endif
}

}  // namespace
}  // namespace tercel::TERCEL_LEVEL
