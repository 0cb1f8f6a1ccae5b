// Tensor-core products: bfloat16.
#define TERCEL_GEMM_INSTANTIATE
#include "ops/matmul/gemm_launch.cuh"

namespace tercel::cuda {
template bool try_mma<bf16, bf16>(const GemmBatchArgs&, const GemmPlan&);
}  // namespace tercel::cuda
