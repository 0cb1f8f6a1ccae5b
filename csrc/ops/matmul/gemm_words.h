// Packing for vdpbf16ps where it is fast: panels [ceil(kc / 2)][width] of 32-bit words, each two
// bfloat16 of a row, k in the upper half and k + 1 in the lower. Included by kernel files.
//
// The instruction adds the product of the upper halves, then that of the lower ones, each as a
// fused multiply-add: the chain of the float32 micro-kernels, bit for bit, but that it takes
// subnormals, inputs and sums, for zero. Every sum is a multiple of the product of the units in
// the last place of the smallest factors, so none is subnormal if that product is normal: packing
// returns the least exponent it met, and the driver takes a kernel without that flaw for blocks
// whose exponents are too small (`words_are_normal`).
#pragma once

#include "ops/matmul/gemm_pairs.h"

namespace tercel {
namespace {

#if defined(TERCEL_LEVEL_AVX512)

// Smallest magnitude of the 16-bit halves, less one, so that zeros count as the largest.
struct LeastMagnitude {
  __m512i less_one = _mm512_set1_epi16(-1);
  TERCEL_INLINE void add(__m512i words) {
    const __m512i size = _mm512_and_si512(words, _mm512_set1_epi16(0x7fff));
    less_one = _mm512_min_epu16(less_one, _mm512_sub_epi16(size, _mm512_set1_epi16(1)));
  }
  // Its biased exponent.
  TERCEL_INLINE int exponent() const {
    uint16_t lane[32];
    _mm512_storeu_si512(lane, less_one);
    uint16_t least = lane[0];
    for (uint16_t x : lane) least = x < least ? x : least;
    if (least == 0xffff) return kNoExponent;
    const int biased = (least + 1) >> 7;
    return biased == 0 ? kSubnormalExponent : biased;
  }
};

TERCEL_INLINE __mmask16 first_lanes(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xffffu : (1u << n) - 1u);
}

// Rows contiguous. Four pairs of k at a time over all panels.
template <class S>
TERCEL_OUTLINE int words_of_lines(const GemmPackArgs& g) {
  const S* src = static_cast<const S*>(g.src);
  const int64_t w = g.width, pairs = (g.kc + 1) / 2;
  LeastMagnitude least;
  for (int64_t p0 = 0; p0 < pairs; p0 += 4) {
    const int64_t p1 = p0 + 4 < pairs ? p0 + 4 : pairs;
    for (int64_t r = 0; r < g.rows; r += w) {
      char* panel = static_cast<char*>(g.dst) + r / w * g.panel_stride * 2;
      for (int64_t p = p0; p < p1; ++p) {
        const S* upper = src + r + 2 * p * g.k_stride;
        const bool two = 2 * p + 1 < g.kc;
        for (int64_t i = 0; i < w; i += 16) {
          const int64_t left = g.rows - r - i, lanes = w - i < 16 ? w - i : 16;
          const int have = static_cast<int>(left < 0 ? 0 : left < lanes ? left : lanes);
          const auto load = [&](const S* at) TERCEL_LAMBDA_INLINE {
            const __m512 x = have == 16 ? load_lanes(at) : load_lanes(at, have);
            if constexpr (sizeof(S) == 4) return (__m512i)nearest_bf16((Words)x);
            return _mm512_castps_si512(x);  // exact
          };
          __m512i word = _mm512_setzero_si512();
          if (have > 0) word = load(upper + i);
          if (have > 0 && two)
            word = _mm512_or_si512(word, _mm512_srli_epi32(load(upper + g.k_stride + i), 16));
          least.add(word);
          _mm512_mask_storeu_epi32(panel + (p * w + i) * 4, first_lanes(lanes), word);
        }
      }
    }
  }
  return least.exponent();
}

constexpr int64_t kAhead = 256;  // elements of a row

// Any strides: squares of 16 rows x 32 k, transposed.
template <class S>
TERCEL_OUTLINE int words_of_squares(const GemmPackArgs& g) {
  const S* src = static_cast<const S*>(g.src);
  const int64_t w = g.width;
  LeastMagnitude least;
  for (int64_t r = 0; r < g.rows; r += w) {
    char* panel = static_cast<char*>(g.dst) + r / w * g.panel_stride * 2;
    for (int64_t i = 0; i < w; i += 16) {
      const int64_t left = g.rows - r - i, lanes = w - i < 16 ? w - i : 16;
      const int rows = static_cast<int>(left < 0 ? 0 : left < 16 ? left : 16);
      for (int64_t k = 0; k < g.kc; k += 32) {
        const int cols = g.kc - k < 32 ? static_cast<int>(g.kc - k) : 32;
        const S* in = src + (rows > 0 ? (r + i) * g.row_stride : 0) + k * g.k_stride;
        alignas(64) char gathered[1024];
        const char* lines = gathered;
        int64_t stride = 64;
        if constexpr (dtype_of<S> == DType::bf16) {
          if (rows == 16 && cols == 32 && g.k_stride == 1) {
            lines = reinterpret_cast<const char*>(in);
            stride = g.row_stride * 2;
            const int64_t beyond = k + kAhead - g.kc;  // the block's end: the rows that follow
            const bf16* ahead = beyond < 0 ? in + kAhead : in + 16 * g.row_stride + beyond - k;
            for (int64_t line = 0; line < 16; ++line)
              __builtin_prefetch(ahead + line * g.row_stride, 0, 2);
          } else {
            gather_square(in, g.row_stride, g.k_stride, rows, cols, gathered);
          }
        } else {
          convert_square<S, bf16, 1>(in, g.row_stride, g.k_stride, rows, cols, false, gathered);
        }
        char* out = panel + (k / 2 * w + i) * 4;
        const int count = (cols + 1) / 2;
        each_transposed(lines, stride, [&](int p, __m512i word) TERCEL_LAMBDA_INLINE {
          word = _mm512_rol_epi32(word, 16);
          least.add(word);
          if (p < count) _mm512_mask_storeu_epi32(out + p * w * 4, first_lanes(lanes), word);
        });
      }
    }
  }
  return least.exponent();
}

template <class S>
int words_of(const GemmPackArgs& g) {
  return g.row_stride == 1 ? words_of_lines<S>(g) : words_of_squares<S>(g);
}

int pack_words(const GemmPackArgs& g) {
  switch (g.src_dtype) {
    case DType::bf16:
      return words_of<bf16>(g);
    case DType::f8e4m3:
      return words_of<f8e4m3>(g);
    case DType::f8e5m2:
      return words_of<f8e5m2>(g);
    default:
      return words_of<float>(g);
  }
}

#else

constexpr int (*pack_words)(const GemmPackArgs&) = nullptr;  // no micro-kernel at this level

#endif

}  // namespace
}  // namespace tercel
