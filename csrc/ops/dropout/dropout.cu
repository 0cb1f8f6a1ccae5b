// Dropout on the GPU: the decisions of the CPU kernel, bit for bit. A warp takes a group of 64
// elements: lane l computes the Philox block of elements l % 16 of two of its four rows.
#include "cuda/compat.cuh"

#include "core/random.h"
#include "cuda/device_table.h"
#include "cuda/rows.cuh"
#include "ops/dropout/dropout_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

// Thread (group, l < 16): elements 64 g + 16 w + l for w = 0..3 use word w of block 16 g + l.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(const T* x, T* y, uint16_t* mask, int64_t n, PhiloxKey key, uint32_t threshold,
                   Acc<T> scale, Acc<T> shift, Acc<T> dropped) {
  const int64_t groups = (n + 63) / 64, threads = static_cast<int64_t>(gridDim.x) * kThreads;
  const int lane = threadIdx.x % 32;
  key = resolved(key);
  // Whole warps go round together: the votes need every lane.
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
       t - lane < groups * 16; t += threads) {
    const int64_t g = t / 16;
    const int l = static_cast<int>(t % 16);
    const Philox4 words = philox(key, static_cast<uint64_t>(t));
    TERCEL_UNROLL
    for (int w = 0; w < 4; ++w) {
      const int64_t i = 64 * g + 16 * w + l;
      const bool inside = g < groups && i < n;
      const bool keep = words.v[w] >= threshold;
      const unsigned vote = __ballot_sync(kFullMask, inside && keep);
      if (mask && l == 0 && g < groups)
        mask[4 * g + w] = static_cast<uint16_t>(vote >> (lane & 16));
      if (x && inside)
        y[i] = to_storage<T>(keep ? static_cast<Acc<T>>(to_float(x[i])) * scale + shift : dropped);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    apply_kernel(const T* x, T* y, const uint16_t* mask, int64_t n, int64_t inner, Acc<T> scale,
                 Acc<T> shift, Acc<T> dropped) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    const int64_t d = i / inner;
    const bool keep = mask[d / 16] >> (d % 16) & 1;
    y[i] = to_storage<T>(keep ? static_cast<Acc<T>>(to_float(x[i])) * scale + shift : dropped);
  }
}

void dropout(const DropoutArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    launch(dropout_kernel<T>, grid_for(dropout_groups(a.n) * 16, kThreads), kThreads, 0,
           static_cast<const T*>(a.x), static_cast<T*>(a.y), a.mask, a.n, a.key, a.threshold,
           static_cast<A>(a.scale), static_cast<A>(a.shift), static_cast<A>(a.dropped));
  });
}
void apply(const MaskApplyArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    launch(apply_kernel<T>, grid_for(a.n, kThreads), kThreads, 0, static_cast<const T*>(a.x),
           static_cast<T*>(a.y), a.mask, a.n, a.inner, static_cast<A>(a.scale),
           static_cast<A>(a.shift), static_cast<A>(a.dropped));
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(DropoutKernels, dropout_kernels) = {.dropout = dropout, .apply = apply};

}  // namespace tercel::cuda
