// Entry of the fast products; the tensor-core ones are instantiated in gemm_mma_*.cu.
#include "ops/matmul/gemm_launch.cuh"

#include "ops/matmul/gemm_fast.h"

namespace tercel::cuda {

bool gemm_fast(const GemmDeviceArgs& args) {
  GemmExtras extras;
  extras.allow_tf32 = args.tf32;
  return gemm_fast(args.product, extras);
}

}  // namespace tercel::cuda
