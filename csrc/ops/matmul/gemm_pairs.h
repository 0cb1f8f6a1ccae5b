// Packing for the bfloat16 dot-product instructions (AMX tdpbf16ps): panels of 32 rows, 32 k at a
// time as two squares of 16 lines of 64 bytes.
//   left:   line i of a square = row i, 32 k
//   right:  line i = k pair i of 16 rows: (r0 k, r0 k+1), (r1 k, r1 k+1), ...
// Rows and k beyond the operand are zero; k is padded to a multiple of 32. Included by kernel
// files.
#pragma once

#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/load_simd.h"

namespace tercel {
namespace {

// 16 x 16 four-byte words, transposed.
TERCEL_INLINE void transpose_words(const char* src, int64_t stride_bytes, char* dst) {
#if defined(TERCEL_LEVEL_AVX512)
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    __m512i v[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) v[g] = four_rows(src + g * stride_bytes + 16 * c, stride_bytes);
    const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i d = _mm512_unpacklo_epi32(v[2], v[3]), e = _mm512_unpackhi_epi32(v[2], v[3]);
    char* out = dst + 256 * c;
    _mm512_storeu_si512(out, _mm512_unpacklo_epi64(a, d));
    _mm512_storeu_si512(out + 64, _mm512_unpackhi_epi64(a, d));
    _mm512_storeu_si512(out + 128, _mm512_unpacklo_epi64(b, e));
    _mm512_storeu_si512(out + 192, _mm512_unpackhi_epi64(b, e));
  }
#else
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j)
      __builtin_memcpy(dst + 64 * j + 4 * i, src + i * stride_bytes + 4 * j, 4);
  }
#endif
}

// Rows [0, rows) x k [0, cols) of a square as 16 lines of 32 k, zero padded.
TERCEL_INLINE void gather_square(const bf16* src, int64_t rs, int64_t ks, int rows, int cols,
                                 char* dst) {
  if (ks == 1 && rows == 16 && cols == 32) {
    for (int i = 0; i < 16; ++i) __builtin_memcpy(dst + 64 * i, src + i * rs, 64);
    return;
  }
  uint16_t line[16][32] = {};
  if (rs == 1) {
    for (int k = 0; k < cols; ++k) {
      for (int i = 0; i < rows; ++i) line[i][k] = src[i + k * ks].bits;
    }
  } else {
    for (int i = 0; i < rows; ++i) {
      for (int k = 0; k < cols; ++k) line[i][k] = src[i * rs + k * ks].bits;
    }
  }
  __builtin_memcpy(dst, line, sizeof(line));
}

// A whole square of a right operand whose rows are contiguous.
TERCEL_INLINE void interleave_square(const bf16* src, int64_t ks, char* dst) {
  for (int p = 0; p < 16; ++p) {
    uint16_t line[32];
    const bf16 *even = src + 2 * p * ks, *odd = even + ks;
    for (int i = 0; i < 16; ++i) {
      line[2 * i] = even[i].bits;
      line[2 * i + 1] = odd[i].bits;
    }
    __builtin_memcpy(dst + 64 * p, line, 64);
  }
}

// g.width is 32, g.panel_stride counts bfloat16 elements.
void pack_pairs(const GemmPackArgs& g, bool right) {
  const bf16* src = static_cast<const bf16*>(g.src);
  for (int64_t r0 = 0; r0 < g.rows; r0 += 32) {
    char* out = static_cast<char*>(g.dst) + r0 / 32 * g.panel_stride * 2;
    for (int64_t k = 0; k < g.kc; k += 32) {
      const int cols = g.kc - k < 32 ? static_cast<int>(g.kc - k) : 32;
      for (int half = 0; half < 2; ++half, out += 1024) {
        const int64_t left = g.rows - r0 - 16 * half;
        const int rows = left < 0 ? 0 : left < 16 ? static_cast<int>(left) : 16;
        const bf16* in = src + (rows > 0 ? r0 + 16 * half : 0) * g.row_stride + k * g.k_stride;
        const bool whole = rows == 16 && cols == 32;
        if (!right) {
          gather_square(in, g.row_stride, g.k_stride, rows, cols, out);
        } else if (whole && g.k_stride == 1) {
          transpose_words(reinterpret_cast<const char*>(in), g.row_stride * 2, out);
        } else if (whole && g.row_stride == 1) {
          interleave_square(in, g.k_stride, out);
        } else {
          alignas(64) char square[1024];
          gather_square(in, g.row_stride, g.k_stride, rows, cols, square);
          transpose_words(square, 64, out);
        }
      }
    }
  }
}

}  // namespace
}  // namespace tercel
