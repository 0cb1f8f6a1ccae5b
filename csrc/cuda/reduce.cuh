// Sums and extremes over the threads of a warp and of a block. The order is fixed: lanes 16, 8, 4,
// 2, 1 apart, then warps the same way, so results do not change from run to run.
#pragma once

#include "cuda/compat.cuh"

namespace tercel::cuda {

struct Sum {
  template <class T>
  TERCEL_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {  // NaN wins
  template <class T>
  TERCEL_DEVICE T operator()(T a, T b) const {
    return a != a ? a : b != b ? b : a > b ? a : b;
  }
};

// `identity` fills lanes past `count`. Every lane gets the result.
template <class T, class F>
TERCEL_DEVICE T warp_reduce(T x, F f) {
  TERCEL_UNROLL
  for (int d = 16; d > 0; d /= 2) x = f(x, __shfl_xor_sync(kFullMask, x, d));
  return x;
}

// Every thread of the block gets the result; `shared` holds one T per warp (at most 32) and may be
// used again at once. blockDim.x is a multiple of 32.
template <class T, class F>
TERCEL_DEVICE T block_reduce(T x, F f, T identity, T* shared) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  x = warp_reduce(x, f);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  x = lane < warps ? shared[lane] : identity;
  x = warp_reduce(x, f);
  __syncthreads();
  return x;
}

}  // namespace tercel::cuda
