// Kernels that the PTX and SASS checks look at: one instance of each kind.
#define TERCEL_GEMM_INSTANTIATE
#include "ops/matmul/gemm_launch.cuh"

namespace tercel::cuda {
template __global__ void gemm_mma_kernel<bf16, bf16, 128, 128, 64, 64, 3, true, true>(const __grid_constant__ MmaArgs);
template __global__ void gemm_mma_kernel<bf16, bf16, 64, 64, 32, 32, 3, false, false>(const __grid_constant__ MmaArgs);
template __global__ void gemm_mma_kernel<f16, f16, 64, 64, 32, 32, 3, true, false>(const __grid_constant__ MmaArgs);
template __global__ void gemm_mma_kernel<float, float, 64, 64, 32, 32, 3, true, true>(const __grid_constant__ MmaArgs);
template __global__ void gemm_mma_kernel<int8_t, int32_t, 64, 64, 32, 32, 3, true, true>(const __grid_constant__ MmaArgs);
template __global__ void gemm_simt_kernel<float, 8>(const __grid_constant__ SimtArgs);
template __global__ void gemm_simt_kernel<double, 4>(const __grid_constant__ SimtArgs);
template __global__ void gemv_kernel<bf16, bf16, 1, 2>(const __grid_constant__ GemvArgs);
template __global__ void gemv_kernel<bf16, int4x2, 4, 2>(const __grid_constant__ GemvArgs);
}  // namespace tercel::cuda
