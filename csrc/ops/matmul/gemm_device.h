// Contract of the matrix products of the CUDA device library: the driver's own argument structs
// (gemm.h); operands are plain strided matrices (no pack function, no prepacked panels).
#pragma once

#include "ops/matmul/gemm.h"

namespace tercel {

struct GemmDeviceArgs {
  GemmBatchArgs product;  // ndim 0: one product
  bool tf32 = false;      // float32 operands may be rounded to 10 bits behind the point
};

struct GemmDeviceKernels {
  void (*gemm)(const GemmDeviceArgs&);
};

}  // namespace tercel
