// Packing for the dot-product instructions on pairs (AMX tdpbf16ps, tdpfp16ps): panels of 32 rows,
// 32 k at a time as two squares of 16 lines of 64 bytes, of bfloat16 or float16.
//   left:   line i of a square = row i, 32 k
//   right:  line i = k pair i of 16 rows: (r0 k, r0 k+1), (r1 k, r1 k+1), ...
// Rows and k beyond the operand are zero; k is padded to a multiple of 32. float8 is converted on
// the way, exactly. Included by kernel files.
//
// float32 is split into three parts, x = x1 + x2 + x3: x1 the nearest bfloat16 of x, x2 that of x -
// x1, x3 the rest. With 6 products each 32 k appear six times, on the left as a1 a1 a1 a2 a2 a3, on
// the right as b1 b2 b3 b1 b2 b1, and the same micro-kernel sums what is larger than 2^-24 a b
// (Henry, Tang, Heinecke 2019). Two parts and three products would leave 2^-16 a b. With 1 product
// there is x1 only. float16 is not split so: an infinite element meets parts that are zero, and the
// result would be NaN.
#pragma once

#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/load_simd.h"

// Vectors are only passed between inlined functions.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace tercel {
namespace {

#if defined(TERCEL_LEVEL_AVX512)
// use(i, v): line i of 16 x 16 four-byte words, transposed.
template <class Use>
TERCEL_INLINE void each_transposed(const char* src, int64_t stride_bytes, const Use& use) {
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    __m512i v[4];
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) v[g] = four_rows(src + g * stride_bytes + 16 * c, stride_bytes);
    const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i d = _mm512_unpacklo_epi32(v[2], v[3]), e = _mm512_unpackhi_epi32(v[2], v[3]);
    use(4 * c, _mm512_unpacklo_epi64(a, d));
    use(4 * c + 1, _mm512_unpackhi_epi64(a, d));
    use(4 * c + 2, _mm512_unpacklo_epi64(b, e));
    use(4 * c + 3, _mm512_unpackhi_epi64(b, e));
  }
}
#endif

// 16 x 16 four-byte words, transposed.
TERCEL_INLINE void transpose_words(const char* src, int64_t stride_bytes, char* dst) {
#if defined(TERCEL_LEVEL_AVX512)
  each_transposed(src, stride_bytes, [&](int i, __m512i v) TERCEL_LAMBDA_INLINE {
    _mm512_storeu_si512(dst + 64 * i, v);
  });
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

typedef uint32_t Words __attribute__((vector_size(64)));
typedef int32_t SignedWords __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

// The nearest bfloat16 in the upper half of each lane; a finite value stays finite (the largest are
// cut off), infinities stay, NaN becomes quiet.
TERCEL_INLINE Words nearest_bf16(Words u) {
  const SignedWords size = (SignedWords)(u & 0x7fffffffu);
  const Words cut = u | ((Words)(size > 0x7f800000) & 0x00400000u);
  const Words up = u + 0x7fffu + ((u >> 16) & 1u);
  return ((Words)(size > 0x7f7f7fff) ? cut : up) & 0xffff0000u;
}
// 16 elements as floats.
template <class S>
TERCEL_INLINE Floats load_floats(const S* p) {
  Floats x;
  if constexpr (sizeof(S) == 4) {
    __builtin_memcpy(&x, p, 64);
  } else {
#if defined(TERCEL_LEVEL_AVX512)
    x = (Floats)load_lanes(p);
#else
    for (int i = 0; i < 16; ++i) x[i] = static_cast<float>(p[i]);
#endif
  }
  return x;
}
// Codes in the lower halves of the lanes: of x, a value of S, as float16, or of its first kParts
// parts as bfloat16. An infinity has the second part NaN.
template <class S, class E, int kParts>
TERCEL_INLINE void to_codes(Floats x, Words* code) {
  if constexpr (dtype_of<E> == DType::f16) {
#if defined(TERCEL_LEVEL_AVX512)
    code[0] = (Words)_mm512_cvtepu16_epi32(
        _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
    for (int i = 0; i < 16; ++i) code[0][i] = f16(x[i]).bits;
#endif
  } else if constexpr (sizeof(S) == 1) {
    code[0] = (Words)x >> 16;  // exact
  } else {
#pragma GCC unroll 3
    for (int i = 0; i < kParts; ++i) {
      const Words part = nearest_bf16((Words)x);
      code[i] = part >> 16;
      x -= (Floats)part;
    }
  }
}
TERCEL_INLINE void store_codes(Words w, char* out) {
  const Halves h = __builtin_convertvector(w, Halves);
  __builtin_memcpy(out, &h, 32);
}

// A square of another dtype as kParts squares at `out`.
template <class S, class E, int kParts>
TERCEL_INLINE void convert_square(const S* src, int64_t rs, int64_t ks, int rows, int cols,
                                  bool right, char* out) {
  const bool whole = rows == 16 && cols == 32;
  if (right && whole && rs == 1) {
    for (int p = 0; p < 16; ++p) {
      Words even[kParts], odd[kParts];
      to_codes<S, E, kParts>(load_floats(src + 2 * p * ks), even);
      to_codes<S, E, kParts>(load_floats(src + (2 * p + 1) * ks), odd);
      for (int i = 0; i < kParts; ++i) {
        const Words line = even[i] | odd[i] << 16;
        __builtin_memcpy(out + 1024 * i + 64 * p, &line, 64);
      }
    }
    return;
  }
  alignas(64) char lines[kParts][1024];
  char* const to = right ? lines[0] : out;
  const auto convert = [&](const auto* from, int64_t stride) TERCEL_LAMBDA_INLINE {
    for (int i = 0; i < 16; ++i) {
      for (int k = 0; k < 32; k += 16) {
        Words code[kParts];
        to_codes<S, E, kParts>(load_floats(from + i * stride + k), code);
        for (int p = 0; p < kParts; ++p) store_codes(code[p], to + 1024 * p + 64 * i + 2 * k);
      }
    }
  };
  if (whole && ks == 1) {
    convert(src, rs);
  } else {
    alignas(64) float square[16][32] = {};
    for (int i = 0; i < rows; ++i) {
      for (int k = 0; k < cols; ++k) square[i][k] = static_cast<float>(src[i * rs + k * ks]);
    }
    convert(square[0], 32);
  }
  if (!right) return;
  for (int p = 0; p < kParts; ++p) transpose_words(lines[p], 64, out + 1024 * p);
}

template <class S, class E, int kParts>
TERCEL_OUTLINE void convert_pairs(const GemmPackArgs& g, bool right) {
  constexpr int kProducts = kParts == 1 ? 1 : 6;
  constexpr int kOrder[2][6] = {{0, 0, 0, 1, 1, 2}, {0, 1, 2, 0, 1, 0}};
  const S* src = static_cast<const S*>(g.src);
  for (int64_t r0 = 0; r0 < g.rows; r0 += 32) {
    char* out = static_cast<char*>(g.dst) + r0 / 32 * g.panel_stride * 2;
    for (int64_t k = 0; k < g.kc; k += 32, out += 2048 * kProducts) {
      const int cols = g.kc - k < 32 ? static_cast<int>(g.kc - k) : 32;
      for (int half = 0; half < 2; ++half) {
        const int64_t left = g.rows - r0 - 16 * half;
        const int rows = left < 0 ? 0 : left < 16 ? static_cast<int>(left) : 16;
        const S* in = src + (rows > 0 ? r0 + 16 * half : 0) * g.row_stride + k * g.k_stride;
        if (kParts == 1) {
          convert_square<S, E, 1>(in, g.row_stride, g.k_stride, rows, cols, right,
                                  out + 1024 * half);
          continue;
        }
        alignas(64) char part[kParts][1024];
        convert_square<S, E, kParts>(in, g.row_stride, g.k_stride, rows, cols, right, part[0]);
        for (int p = 0; p < kProducts; ++p)
          __builtin_memcpy(out + 2048 * p + 1024 * half, part[kOrder[right][p]], 1024);
      }
    }
  }
}

// g.width is 32, g.panel_stride counts elements of the panels.
void pack_pairs(const GemmPackArgs& g, bool right) {
  if (g.src_dtype == DType::f32) {
    return g.products == 1 ? convert_pairs<float, bf16, 1>(g, right)
                           : convert_pairs<float, bf16, 3>(g, right);
  }
  const bool to_f16 = g.element == DType::f16;
  if (g.src_dtype == DType::f8e4m3) {
    return to_f16 ? convert_pairs<f8e4m3, f16, 1>(g, right)
                  : convert_pairs<f8e4m3, bf16, 1>(g, right);
  }
  if (g.src_dtype == DType::f8e5m2) {
    return to_f16 ? convert_pairs<f8e5m2, f16, 1>(g, right)
                  : convert_pairs<f8e5m2, bf16, 1>(g, right);
  }
  const bf16* src = static_cast<const bf16*>(g.src);  // or float16: only the bits move
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
