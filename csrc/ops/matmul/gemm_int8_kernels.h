// Per-level helpers of the integer product: packing and epilogue.
#pragma once

#include "core/kernel_table.h"
#include "ops/matmul/gemm_int8.h"

namespace tercel {

// Panels [p0, p1) of b.
struct Int8PackBArgs {
  Int8Matrix b;
  int64_t N, K;
  int64_t p0, p1;
  int8_t* panels;
  int32_t* sums;
};

// Rows [0, rows) of a as panels of `mr` rows: dst[rows / mr][K / group][mr][group] bytes, zero
// padded, each byte xored with `flip` (padding of k keeps the value 0 in the flipped domain's
// weight: b is zero there).
struct Int8PackAArgs {
  const void* a;  // of the first row
  int64_t row_stride, k_stride;
  int64_t rows, K;
  int mr, group;
  bool widen;  // int16 elements (group counts elements): a_signed or not by `flip` being unused
  bool a_signed;
  uint8_t flip;
  void* dst;
};

struct Int8EpilogueArgs {
  int32_t* acc;  // row stride ld
  int64_t ld;
  int64_t m, n;
  int32_t shift;  // added to every zero point of a
  const int32_t* zero_a;
  int64_t zero_a_stride;
  const int32_t* sums;  // of b
  void* out;            // of element (0, 0)
  int64_t out_row_stride;
  DType out_dtype;
  Int8Epilogue e;  // pointers of element (0, 0)
};

struct Int8Kernels {
  void (*pack_b)(const Int8PackBArgs&);
  void (*pack_a)(const Int8PackAArgs&);
  // Lines of 64 bytes as 128: int16 pairs (k0, k2) of 16 columns, then (k1, k3).
  void (*widen_b)(const void* src, int64_t lines, void* dst);
  void (*epilogue)(const Int8EpilogueArgs&);
};
TERCEL_KERNEL_TABLE(Int8Kernels, int8_kernels)

}  // namespace tercel
