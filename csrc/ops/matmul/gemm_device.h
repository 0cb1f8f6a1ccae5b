// Contract of the matrix products of the CUDA device library: the driver's own argument structs
// (gemm.h); operands are plain strided matrices (no pack function, no prepacked panels).
#pragma once

#include "ops/matmul/gemm.h"

namespace tercel {

struct GemmDeviceKernels {
  void (*gemm)(const GemmBatchArgs&);  // ndim 0: one product
};

}  // namespace tercel
