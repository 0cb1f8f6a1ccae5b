// Matrix product driver: out[M,N] = epilogue(A[M,K] B[K,N]), any strides, float dtypes.
//
// Numerics (the definition every path keeps, so that paths may be chosen freely): the sum of an
// output element runs over k in blocks of kGemmKBlock; inside a block it is one chain of fused
// multiply-adds in increasing k that starts at +0; the block sums are added in order. Nothing else
// enters: the bits depend neither on tile, vector width (AVX2 = AVX-512), threads, batch size,
// place in the batch, nor on which of the paths below ran. float16/bfloat16/float8 operands are
// converted to float32 while they are loaded and the result is rounded once. The generic level
// multiplies and adds in two roundings where the processor lacks fma.
//
// Paths: packed (five loops around a register tile, Goto & van de Geijn 2008, BLIS), resident (one
// operand fits L2: the rows are read in place, the other side becomes panels as it is used), direct
// (small matrices, A and often B are read in place), skinny (few rows: B is streamed once).
//
// A convolution plugs its own loader in through GemmOperand::pack (implicit im2col) and reuses
// packed weights through gemm_prepack.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tercel {

// Length of the k blocks. Part of the numeric definition, not only a tuning value.
inline constexpr int64_t kGemmKBlock = 512;

// Fills dst[ceil(rows / width)][kc][width] (accumulation dtype) with rows [row0, row0 + rows),
// columns [k0, k0 + kc) of the operand; lanes past `rows` in the last panel must be zero. Called
// from several threads at once; kc <= kGemmKBlock.
using GemmPackFn = void (*)(const void* context, int64_t row0, int64_t rows, int64_t k0, int64_t kc,
                            int width, void* dst);

// "Row" means M for the left operand and N for the right one: B is described as B^T[N,K].
// Factors per block of an operand, applied in float32 when its elements are loaded:
// data[row / row_block * row_stride + k / k_block * k_stride].
struct GemmBlockScale {
  const float* data = nullptr;  // null: none
  int64_t row_stride = 0, k_stride = 0;
  int64_t row_block = 1, k_block = 128;
};

struct GemmOperand {
  const void* data = nullptr;
  int64_t row_stride = 0;  // in elements; 0 broadcasts
  int64_t k_stride = 0;
  GemmPackFn pack = nullptr;      // replaces the built-in loader; data and strides are then unused
  const void* context = nullptr;  // its first argument
  const void* packed = nullptr;   // panels made by gemm_prepack; everything else is then unused
  bool pairs = false;             // they are those of gemm_pair_kernel
  DType dtype = DType::f32;       // of the elements; the operands may differ, but f64 goes with f64
  GemmBlockScale scale;           // not with float64
};

enum class GemmActivation : uint8_t { none, relu, gelu, gelu_tanh, silu, tanh, sigmoid };

// Applied once per element after the last k block, before the one rounding to the output dtype:
//   pre = alpha * sum * row_scale[i] * col_scale[j] + beta * c[i][j]
//   out = act(pre) + residual[i][j]
struct GemmEpilogue {
  double alpha = 1.0;
  double beta = 0.0;
  const void* c = nullptr;  // dtype of out; not read when beta == 0. A bias has one zero stride
  int64_t c_row_stride = 0;
  int64_t c_col_stride = 0;
  GemmActivation activation = GemmActivation::none;
  const float* row_scale = nullptr;  // null: none. Not with float64
  const float* col_scale = nullptr;
  int64_t row_scale_stride = 0, col_scale_stride = 0;
  const void* residual = nullptr;  // dtype of out; null: none
  int64_t residual_row_stride = 0, residual_col_stride = 0;
  void* pre = nullptr;  // takes pre, rounded; strides of out. null: not wanted
};

struct GemmArgs {
  int64_t M = 0, N = 0, K = 0;
  GemmOperand a, b;
  // Plain float32 operands may become sums of bfloat16 (gemm_pairs.h, gemm_words.h) where these are
  // faster: 0 no, 1 or 6 products; -1: nor may bfloat16 operands use pairs.
  int f32_products = 0;
  DType out_dtype = DType::f32;  // f64 if and only if the operands are
  void* out = nullptr;           // may be epilogue.c itself, with the same strides
  int64_t out_row_stride = 0;
  int64_t out_col_stride = 1;
  GemmEpilogue epilogue;
};

// One product, spread over the threads of the pool (on the calling thread inside a parallel
// region). Workspace comes from the caching allocator. Raises OutOfMemoryError only.
void gemm(const GemmArgs& args);

// Many products of one shape. Strides are in elements per batch index; a zero stride broadcasts.
struct GemmBatchArgs {
  GemmArgs gemm;  // pointers of batch index 0
  int ndim = 0;   // up to 14 batch dimensions, outermost first
  int64_t size[14];
  int64_t a_stride[14], b_stride[14], c_stride[14], out_stride[14], residual_stride[14];
};
void gemm_batched(const GemmBatchArgs& args);

// Gated product: b has 2 N rows, the gates before the factors; out[M, N] = act(a b_gate^T + bias) *
// (a b_up^T + up_bias). The sums of both halves pass through float32 memory. Out rows are dense.
struct GatedGemmArgs {
  GemmArgs gemm;  // out and epilogue unused but out_row_stride and out; N counts both halves
  const void* bias = nullptr;  // [2 N] of out_dtype
  GemmActivation activation = GemmActivation::silu;
  void* pre = nullptr;  // [M, 2 N] dense: the sums with bias, rounded; null: not wanted
};
void gemm_gated(const GatedGemmArgs& args);

// Panels of an operand for repeated use. `side` 0 packs a left operand (width mr), 1 a right one
// (nr). The layout belongs to the ISA level in force: repack when isa_level() has changed.
int64_t gemm_prepack_bytes(int side, int64_t rows, int64_t K, DType in_dtype);
void gemm_prepack(int side, const GemmOperand& src, int64_t rows, int64_t K, void* dst);

// The kernel on pairs (gemm_pairs.h) that would multiply a product like g with any number of rows,
// or null; and the panels of g.b for it.
const void* gemm_pair_kernel(const GemmArgs& g);
int64_t gemm_prepack_bytes(const GemmArgs& g);
void gemm_prepack(const GemmArgs& g, void* dst);

// Register tile of the micro-kernel in use for an accumulation dtype (f32, f64).
struct GemmTile {
  int mr, nr;
};
GemmTile gemm_tile(DType acc);

// Rough single-thread nanoseconds, for launch().
int64_t gemm_cost_ns(int64_t M, int64_t N, int64_t K, int64_t batch);

}  // namespace tercel
