// Integer matrix product: out[M,N] = epilogue(sum_k (a[m,k] - za[m]) b[k,n]), a int8 or uint8, b
// int8.
//
// Sums are exact modulo 2^32 on every path and every ISA: no instruction that saturates is used on
// values that could reach its limit, so all kernels agree bit for bit. Zero points of a (and the
// +128 that turns int8 into the uint8 operand of VNNI) leave through the column sums of b: sum (a +
// s - z) b = sum (a + s) b - z colsum(b).
//
// Layout of a packed b, the same for every kernel: panels of 16 columns; in a panel, for each group
// of four k a line of 64 bytes, four k of column 0, four of column 1, ... Lines are padded with
// zeros to a multiple of 16 (one AMX tile). Behind the panels: 16 int32 column sums per panel. It
// is the layout of VNNI operands and AMX B tiles.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tercel {

inline constexpr int64_t kInt8Panel = 16;
TERCEL_INLINE int64_t int8_lines(int64_t K) { return (K + 63) / 64 * 16; }  // per panel
TERCEL_INLINE int64_t int8_panels(int64_t N) { return (N + kInt8Panel - 1) / kInt8Panel; }
int64_t int8_packed_bytes(int64_t N, int64_t K);

struct Int8Matrix {
  const void* data = nullptr;
  int64_t row_stride = 0, k_stride = 0;  // elements; "row" of b is a column n, as in gemm.h
};
// Any strides.
void int8_pack(const Int8Matrix& b, int64_t N, int64_t K, void* packed);

// v = float(sum) * scale_a[m] * scale_b[n] + bias[n], each step rounded; then rounded to out_dtype.
// For int8 and uint8: clamp(round(v * (1 / out_scale)) + out_zero), NaN -> out_zero. Null scales
// count as 1. For out_dtype int32 the sum itself is stored and nothing of this is used.
struct Int8Epilogue {
  const float* scale_a = nullptr;
  int64_t scale_a_stride = 0;  // 0: one scale
  const float* scale_b = nullptr;
  int64_t scale_b_stride = 0;
  const float* bias = nullptr;
  float out_scale = 1.0f;
  int32_t out_zero = 0;
};

struct Int8Gemm {
  int64_t M = 0, N = 0, K = 0;
  Int8Matrix a;
  bool a_signed = true;
  const int32_t* zero_a = nullptr;  // null: 0
  int64_t zero_a_stride = 0;
  const void* packed_b = nullptr;
  void* out = nullptr;  // unit column stride
  int64_t out_row_stride = 0;
  DType out_dtype = DType::i32;
  Int8Epilogue epilogue;
};
void int8_gemm(const Int8Gemm& g);
const char* int8_kernel_name();  // of the kernel in use, for tests and traces

}  // namespace tercel
