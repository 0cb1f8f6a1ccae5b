// Contract of the CUDA kernel of the weight-only linear layer with few rows; codes as they are
// stored (qtensor.h), row-major.
#pragma once

#include <stdint.h>

#include "ops/quant/quant_format.h"

namespace tercel {

inline constexpr int64_t kQGemvDeviceRows = 16;

// out[M, N] = x[M, K] w[N, K]^T + bias, all dense; x, bias and out of one dtype, bf16 or f16.
// Formats int8, int4, e4m3. scale: [N] (group 0) or [N, ceil(K / group)], group a multiple of 32.
struct QGemvDeviceArgs {
  int64_t M, N, K;
  const void* x;
  DType dtype;
  const void* codes;
  QFormat format;
  const float* scale;
  int group;
  const void* bias;  // or null
  void* out;
};

struct QLinearDeviceKernels {
  void (*gemv)(const QGemvDeviceArgs&);
};

}  // namespace tercel
