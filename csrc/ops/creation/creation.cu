// Ranges on the GPU: the values of the CPU, bit for bit (compiled without contraction of products
// and sums).
#include "cuda/compat.cuh"

#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "cuda/geometry.cuh"
#include "ops/creation/creation_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

// exact: int64 arithmetic and dtype; narrow: a float of 8 or 16 bits.
__global__ void __launch_bounds__(kThreads)
    range_kernel(RangeArgs a, int item_bytes, bool exact, bool narrow) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < a.n; i += step) {
    void* p = static_cast<char*>(a.out) + i * item_bytes;
    if (exact) {
      store_element(p, a.dtype, range_element(a, i));
      continue;
    }
    const double v = range_value(a, i);
    if (narrow) {
      store_element(p, a.dtype, static_cast<float>(v));
    } else {
      store_element(p, a.dtype, v);
    }
  }
}

void range(const RangeArgs& a) {
  if (a.n == 0) return;
  const int item_bytes = item_of(a.dtype);
  launch(range_kernel, grid_for(a.n, kThreads), kThreads, 0, a, item_bytes,
         a.integer && is_int(a.dtype), is_float(a.dtype) && item_bytes <= 2);
}

}  // namespace

TERCEL_DEVICE_TABLE(CreationKernels, creation_kernels) = {.range = range};

}  // namespace tercel::cuda
