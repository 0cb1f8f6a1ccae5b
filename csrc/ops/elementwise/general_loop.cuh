// Elementwise on the GPU for any strides and dtypes: the loop, around a function of up to three
// operands.
#pragma once

#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "ops/elementwise/device_kernels.h"

namespace tercel::cuda {

inline constexpr int kElementwiseThreads = 256;

template <class M>
TERCEL_DEVICE M operand(const ElementwiseDeviceArgs& a, int k, int64_t offset) {
  if (k > a.inputs) return M(0);
  if (a.data[k]) return load_element<M>(a.data[k] + offset, a.dtype[k]);
  if constexpr (IsReal<M>::value) {
    union {
      uint64_t bits;
      double value;
    } u = {a.value[k]};
    return static_cast<M>(u.value);
  } else {
    return static_cast<M>(a.value[k]);
  }
}

// I: type of the index arithmetic, 32-bit where it suffices (a 64-bit division is about 70
// instructions).
template <class F, class M, class I>
__global__ void __launch_bounds__(kElementwiseThreads) general(ElementwiseDeviceArgs a) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kElementwiseThreads;
  const bool narrow = a.dtype[0] == DType::f32;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x;
       i < a.loop.numel; i += step) {
    int64_t offset[4] = {};
    I rest = static_cast<I>(i);
    for (int d = 0; d < a.loop.dims; ++d) {
      const I size = static_cast<I>(a.loop.sizes[d]);
      const I q = d + 1 < a.loop.dims ? rest / size : 0;
      const int64_t index = rest - q * size;
      rest = q;
      TERCEL_UNROLL
      for (int k = 0; k < 4; ++k) {
        if (k <= a.inputs) offset[k] += index * a.loop.strides[k][d];
      }
    }
    const M x = operand<M>(a, 1, offset[1]), y = operand<M>(a, 2, offset[2]),
            z = operand<M>(a, 3, offset[3]);
    const M result = F::apply(a, x, y, z, narrow);
    store_element<M>(a.data[0] + offset[0], a.dtype[0], result);
  }
}

// F::apply(args, x, y, z, narrow): the value; `narrow`: the result is a float32.
template <class F, class M>
void run_general(const ElementwiseDeviceArgs& a) {
  const unsigned grid = grid_for(a.loop.numel, kElementwiseThreads);
  if (a.loop.numel < (int64_t{1} << 31)) {
    launch(general<F, M, uint32_t>, grid, kElementwiseThreads, 0, a);
  } else {
    launch(general<F, M, uint64_t>, grid, kElementwiseThreads, 0, a);
  }
}

void run_special(const ElementwiseDeviceArgs& a);  // special.cu

}  // namespace tercel::cuda
