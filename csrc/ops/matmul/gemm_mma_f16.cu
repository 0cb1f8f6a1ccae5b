// Tensor-core products: float16.
#define TERCEL_GEMM_INSTANTIATE
#include "ops/matmul/gemm_launch.cuh"

namespace tercel::cuda {
template bool try_mma<f16, f16>(const GemmBatchArgs&, const GemmPlan&);
}  // namespace tercel::cuda
