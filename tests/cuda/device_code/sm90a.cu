// The Hopper kernel for the PTX and SASS checks.
#include "ops/matmul/gemm_wgmma.cuh"

namespace tercel::cuda {
template __global__ void gemm_wgmma_kernel<bf16>(const WgmmaArgs, const __grid_constant__ TensorMap,
                                                 const __grid_constant__ TensorMap,
                                                 const __grid_constant__ TensorMap);
}  // namespace tercel::cuda
