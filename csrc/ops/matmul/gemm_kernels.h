// Per-level helpers of the matrix product: packing, epilogue, integer product, skinny products.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/kernel_table.h"
#include "ops/matmul/gemm.h"

namespace tercel {

// dst[ceil(rows / width)][kc][width] = src[row][p] converted to the accumulation dtype, zero
// padded. Panels lie panel_stride elements apart (>= kc * width).
struct GemmPackArgs {
  const void* src;
  DType src_dtype;  // f64 packs to double, the other floats to float
  int64_t row_stride, k_stride;
  int64_t rows, kc;
  int width;
  void* dst;
  int64_t panel_stride;
  GemmBlockScale scale;         // of the whole operand; float formats below float64 only
  int64_t row0, k0;             // place of (0, 0) in it
  int products = 1;             // of pack_pairs, from float32
  DType element = DType::bf16;  // of its panels: bf16 or f16
};

// Least biased exponent of the elements of panels of words (gemm_words.h) that are not zero.
inline constexpr int kNoExponent = 255, kSubnormalExponent = -256;
// No sum of products of elements with these least exponents is subnormal.
TERCEL_INLINE bool words_are_normal(int a, int b) { return a + b - 2 * (127 + 7) >= -126; }

// ---- epilogue (gemm.h): for the driver and the kernels ----

// Sums are the output.
TERCEL_INLINE bool trivial(const GemmEpilogue& e) {
  return e.alpha == 1.0 && e.beta == 0.0 && e.activation == GemmActivation::none && !e.row_scale &&
         !e.col_scale && !e.residual && !e.pre;
}
// That of out^T: rows and columns change places.
TERCEL_INLINE GemmEpilogue transposed(const GemmEpilogue& e) {
  GemmEpilogue t = e;
  t.c_row_stride = e.c_col_stride;
  t.c_col_stride = e.c_row_stride;
  t.row_scale = e.col_scale;
  t.col_scale = e.row_scale;
  t.row_scale_stride = e.col_scale_stride;
  t.col_scale_stride = e.row_scale_stride;
  t.residual_row_stride = e.residual_col_stride;
  t.residual_col_stride = e.residual_row_stride;
  return t;
}
// Moves its pointers to the element (i, j) of an output with these strides, elements of `size`
// bytes.
TERCEL_INLINE void advance(GemmEpilogue& e, int64_t i, int64_t j, int64_t out_row_stride,
                           int64_t out_col_stride, int64_t size) {
  const auto at = [&](const void* p, int64_t row_stride, int64_t col_stride) {
    return static_cast<const char*>(p) + (i * row_stride + j * col_stride) * size;
  };
  if (e.beta != 0.0) e.c = at(e.c, e.c_row_stride, e.c_col_stride);
  if (e.row_scale) e.row_scale += i * e.row_scale_stride;
  if (e.col_scale) e.col_scale += j * e.col_scale_stride;
  if (e.residual) e.residual = at(e.residual, e.residual_row_stride, e.residual_col_stride);
  if (e.pre) e.pre = const_cast<char*>(at(e.pre, out_row_stride, out_col_stride));
}

// The epilogue on an m x n tile.
struct GemmEpilogueArgs {
  const void* acc;  // row stride ld, unit columns; may be out
  int64_t ld;
  int64_t m, n;
  void* out;
  int64_t out_row_stride, out_col_stride;
  DType out_dtype;
  GemmEpilogue epilogue;  // its pointers point at the element of (0, 0)
};

// out[i][j] = act(gate[i][j] + bias[j]) * (up[i][j] + up_bias[j]), one rounding; `pre` takes the
// two factors before the activation, rounded. All rows are dense.
struct GatedArgs {
  const float *gate, *up;
  int64_t ld;
  int64_t m, n;
  const void *bias, *up_bias;  // out_dtype or null
  GemmActivation activation;
  void* out;
  int64_t out_row_stride;
  void *pre_gate, *pre_up;  // null: not wanted
  int64_t pre_row_stride;
  DType out_dtype;  // not f64
};

// out[m][n] = sum_k a[m][k] b[k][n] in wrapping integer arithmetic, rows [m0, m1).
struct IntGemmArgs {
  int64_t N, K;
  const void* a;
  int64_t a_rs, a_ks;
  const void* b;
  int64_t b_ks, b_ns;
  void* out;
  int64_t out_rs, out_cs;
  DType dtype;
  int64_t m0, m1;
};

// acc[m][n] = blocked sum over k of x[m][k] w[n][k] for few rows, columns [0, N), K > 0. Either
// w_ks == 1 (a linear weight: n across lanes by transposing in registers), M <= skinny_rows(), or
// w_ns == 1, M <= kSkinnyStreamedRows (then without block scales).
struct SkinnyArgs {
  int64_t M, N, K;
  const void* x;       // accumulation dtype of w_dtype; row stride x_rs, k stride x_ks; w_ks == 1
                       // and M > 2: zeros up to a multiple of kSkinnyStep rows
  int64_t x_rs, x_ks;  // w_ns == 1: x_ks is 1
  const void* w;
  DType w_dtype;
  int64_t w_ns, w_ks;
  GemmBlockScale scale;  // of w; k_block a multiple of 16
  int64_t row0;          // place of column 0 in it
  void* acc;             // row stride ld
  int64_t ld;
};
// AVX-512 keeps the sums of eight rows in registers, the other levels those of four: more passes
// over squares of w in the caches cost more than packing.
inline int64_t skinny_rows() { return isa_level() == IsaLevel::avx512 ? 16 : 8; }
inline constexpr int64_t kSkinnyStreamedRows = 16, kSkinnyStep = 8;

// out = sum_k a[k] b[k] in the dtype of the operands (floats). Blocks of kDotBlock elements are
// summed in 64 lanes of fma chains and a tree; block sums are added pairwise. No threads: it runs
// at read speed.
struct DotArgs {
  const void* a;
  int64_t a_stride;
  const void* b;
  int64_t b_stride;
  int64_t K;
  void* out;
  DType dtype;
};
inline constexpr int64_t kDotBlock = 4096;

struct GemmKernels {
  void (*pack)(const GemmPackArgs&);
  void (*pack_pairs)(const GemmPackArgs&, bool right);  // gemm_pairs.h
  int (*pack_words)(const GemmPackArgs&);  // gemm_words.h: the least exponent; null below avx512
  void (*int_gemm)(const IntGemmArgs&);
  void (*skinny)(const SkinnyArgs&);
  void (*dot)(const DotArgs&);
};
TERCEL_KERNEL_TABLE(GemmKernels, gemm_kernels)

struct GemmEpilogueKernels {
  void (*epilogue)(const GemmEpilogueArgs&);
  void (*gated)(const GatedArgs&);
};
TERCEL_KERNEL_TABLE(GemmEpilogueKernels, gemm_epilogue_kernels)

}  // namespace tercel
