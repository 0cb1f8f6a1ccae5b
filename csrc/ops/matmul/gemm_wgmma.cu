// Hopper products. Compiled for sm_90a alone, where CMake defines TERCEL_HAVE_SM90A; elsewhere the
// kernels are empty and never chosen.
#define TERCEL_WGMMA_INSTANTIATE
#include "ops/matmul/gemm_wgmma.cuh"

namespace tercel::cuda {

#if !TERCEL_EMULATED
#if defined(TERCEL_HAVE_SM90A)
bool have_wgmma() { return device_traits().capability == 90; }
#else
bool have_wgmma() { return false; }
#endif
#endif

template bool launch_wgmma<bf16>(const void*, int64_t, const void*, int64_t, void*, int64_t,
                                 int64_t, int64_t, int64_t, const void*, float, bool);
template bool launch_wgmma<f16>(const void*, int64_t, const void*, int64_t, void*, int64_t, int64_t,
                                int64_t, int64_t, const void*, float, bool);

}  // namespace tercel::cuda
