// Kernel contracts of the weight-only linear layer on packed panels (gemm_int8.h).
#pragma once

#include <stdint.h>

#include "core/kernel_table.h"
#include "ops/quant/quant_format.h"

namespace tercel {

struct QPanels {
  const uint8_t* codes;
  int64_t lines;  // of 64 bytes per panel: 16 columns x 4 bytes = 4 or 8 k
  QFormat format;
  const float* scales;  // [panels][groups][16]
  const float* zeros;   // null: symmetric
  int64_t groups, run;  // run: k per group, a multiple of 8 unless groups == 1
  bool finite;          // float8: codes are numbers, and scales below 128 (QPacked)
  int64_t N, K;
};

// out[m][n] = sum_k x[m][k] w[n][k] + bias[n] for panels [p0, p1), any M (meant for few). The sum
// is gemm.h's.
struct QGemvArgs {
  QPanels w;
  const float* x;
  int64_t x_row_stride, x_k_stride, M;  // several rows: k-major, rows 4 KB apart share a cache set
  int64_t p0, p1;
  const float* bias;  // null: none
  float* out;
  int64_t ld;
};

// GemmPackFn for w as right operand.
struct QDecodeArgs {
  QPanels w;
  int64_t row0, rows, k0, kc;
  int width;
  float* dst;
};

struct QLinearKernels {
  void (*gemv)(const QGemvArgs&);
  void (*decode)(const QDecodeArgs&);
};
TERCEL_KERNEL_TABLE(QLinearKernels, qlinear_kernels)

}  // namespace tercel
