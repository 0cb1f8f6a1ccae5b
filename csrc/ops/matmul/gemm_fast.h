// Fast CUDA products behind the general one (gemm_any.cu); gemm_launch.cuh has the choice.
#pragma once

#include "ops/matmul/gemm.h"

namespace tercel::cuda {

// Runs the product on the current stream if a fast kernel fits it; false: nothing was done.
bool gemm_fast(const GemmBatchArgs& args);

}  // namespace tercel::cuda
