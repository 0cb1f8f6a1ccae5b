// Fast CUDA products behind the general one (gemm_any.cu); gemm_launch.cuh has the choice.
#pragma once

#include "ops/matmul/gemm_device.h"

namespace tercel::cuda {

// Runs the product on the current stream if a fast kernel fits it; false: nothing was done.
bool gemm_fast(const GemmDeviceArgs& args);

}  // namespace tercel::cuda
