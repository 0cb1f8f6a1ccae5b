// Tensor-core products: tf32 and int8.
#define TERCEL_GEMM_INSTANTIATE
#include "ops/matmul/gemm_launch.cuh"

namespace tercel::cuda {
template bool try_mma<float, float>(const GemmBatchArgs&, const GemmPlan&);
template bool try_mma<int8_t, int32_t>(const GemmBatchArgs&, const GemmPlan&);
template bool try_mma<int8_t, int8_t>(const GemmBatchArgs&, const GemmPlan&);
template bool try_mma<int8_t, float>(const GemmBatchArgs&, const GemmPlan&);
}  // namespace tercel::cuda
