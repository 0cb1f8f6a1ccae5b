// AVX2 int8 micro-kernel, 6 x 16, without saturation: bytes are widened to 16 bits and multiplied
// with vpmaddwd, whose pair sums stay below 2^31 (2 * 255 * 128).
//
// A line of b holds k0 k1 k2 k3 of 8 columns per register. Shifts inside 16-bit lanes give (k0, k2)
// and (k1, k3) as int16 pairs without leaving the port of the multiplier's lane; a is packed in the
// same order. Per line and 6 rows: 24 vpmaddwd + 24 vpaddd + 6 shifts, 18 cycles on three ports,
// against 24 for float32. With many rows the driver does the shifts once for all (`widen_b`): 16
// cycles, and 66 instructions, which four per cycle bring to 16.5: hence the unrolled loop, and
// every second multiplication takes its line from memory, which saves two of them.
#include <immintrin.h>

#include "core/half.h"
#include "ops/matmul/gemm_int8_ukr.h"

namespace tercel {
namespace {

alignas(32) constexpr int32_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

// Opaque to the compiler, which would otherwise add the products of a line first and run out of
// registers.
TERCEL_INLINE void add(__m256i& acc, __m256i v) {
  __asm__("vpaddd %1, %0, %0" : "+x"(acc) : "x"(v));
}

// Opaque too: a load that the compiler would do once for all rows.
TERCEL_INLINE __m256i madd_memory(__m256i x, const int8_t* p) {
  __m256i r;
  __asm__("vpmaddwd %2, %1, %0" : "=x"(r) : "x"(x), "m"(*reinterpret_cast<const __m256i*>(p)));
  return r;
}

template <int M, bool kWide>
TERCEL_INLINE void tile(int64_t lines, const int32_t* a, const int8_t* b, const int32_t* start,
                        int64_t start_ld, int32_t* c, int64_t ldc, int64_t n) {
  __m256i acc[M][2];
#pragma GCC unroll 6
  for (int i = 0; i < M; ++i) acc[i][0] = acc[i][1] = _mm256_setzero_si256();
#pragma GCC unroll 2
  for (int64_t l = 0; l < lines; ++l, a += 12, b += kWide ? 128 : 64) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {  // bytes 0 and 2, then bytes 1 and 3, of each column
      __m256i v[2];
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const __m256i line = _mm256_load_si256(
            reinterpret_cast<const __m256i*>(b + 32 * j + (kWide ? 64 * half : 0)));
        v[j] = line;
        if (!kWide) v[j] = _mm256_srai_epi16(half == 0 ? _mm256_slli_epi16(line, 8) : line, 8);
      }
#pragma GCC unroll 6
      for (int i = 0; i < M; ++i) {
        const __m256i x = _mm256_set1_epi32(a[2 * i + half]);
        add(acc[i][0], _mm256_madd_epi16(x, v[0]));
        add(acc[i][1], kWide ? madd_memory(x, b + 32 + 64 * half) : _mm256_madd_epi16(x, v[1]));
      }
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const int64_t left = n - 8 * j;
      if (left <= 0) continue;
      int32_t* dst = c + i * ldc + 8 * j;
      const __m256i mask =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + 8 - (left < 8 ? left : 8)));
      __m256i v = acc[i][j];
      if (start) {
        v = _mm256_add_epi32(v, _mm256_maskload_epi32(start + i * start_ld + 8 * j, mask));
      }
      _mm256_maskstore_epi32(dst, mask, v);
    }
  }
}

template <bool kWide>
TERCEL_INLINE void rows(int64_t lines, const int32_t* a, const int8_t* b, const int32_t* start,
                        int64_t start_ld, int32_t* c, int64_t ldc, int64_t m, int64_t n) {
  switch (m) {
    case 1:
      return tile<1, kWide>(lines, a, b, start, start_ld, c, ldc, n);
    case 2:
      return tile<2, kWide>(lines, a, b, start, start_ld, c, ldc, n);
    case 3:
      return tile<3, kWide>(lines, a, b, start, start_ld, c, ldc, n);
    case 4:
      return tile<4, kWide>(lines, a, b, start, start_ld, c, ldc, n);
    case 5:
      return tile<5, kWide>(lines, a, b, start, start_ld, c, ldc, n);
    default:
      return tile<6, kWide>(lines, a, b, start, start_ld, c, ldc, n);
  }
}

}  // namespace

void gemm_ukr_int8_6x16_avx2(int64_t lines, const void* a, bool, const void* b, int64_t b_panel,
                             const int32_t* start, int64_t start_ld, int32_t* c, int64_t ldc,
                             int64_t m, int64_t n, const void*) {
  const int32_t* ap = static_cast<const int32_t*>(a);
  const int8_t* bp = static_cast<const int8_t*>(b);
  if (b_panel == 0) return rows<true>(lines, ap, bp, start, start_ld, c, ldc, m, n);
  rows<false>(lines, ap, bp, start, start_ld, c, ldc, m, n);
}

}  // namespace tercel
