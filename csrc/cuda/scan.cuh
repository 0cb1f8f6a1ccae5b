// Prefix sums over the threads of a block.
#pragma once

#include "cuda/compat.cuh"

namespace tercel::cuda {

// Sum over the threads up to this one; *total gets the sum over all. `shared` holds one T per warp
// (at most 32) and may be used again at once. blockDim.x is a multiple of 32.
template <class T>
TERCEL_DEVICE T block_inclusive_sum(T x, T* total, T* shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  T sum = x;
  TERCEL_UNROLL
  for (int d = 1; d < 32; d *= 2) {
    const T before = __shfl_up_sync(kFullMask, sum, d);
    if (lane >= d) sum += before;
  }
  if (lane == 31) shared[warp] = sum;
  __syncthreads();
  T offset = 0, all = 0;
  for (int w = 0; w < warps; ++w) {
    if (w == warp) offset = all;
    all += shared[w];
  }
  __syncthreads();
  *total = all;
  return offset + sum;
}

// The same without this thread's own x; integers only (infinities would not cancel).
template <class T>
TERCEL_DEVICE T block_exclusive_sum(T x, T* total, T* shared) {
  static_assert(std::is_integral<T>::value, "use block_inclusive_sum");
  return block_inclusive_sum(x, total, shared) - x;
}

}  // namespace tercel::cuda
