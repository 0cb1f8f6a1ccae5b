// Fill on the GPU: one pattern, contiguous destination, eight bytes per store.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"

#include "ops/copy/copy_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

// `pattern` repeats the element to fill 8 bytes; dst is aligned to the element.
template <class T>
__global__ void __launch_bounds__(kThreads) fill_kernel(T* dst, T value, int64_t n) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step)
    dst[i] = value;
}

template <class T>
void run(void* dst, uint64_t pattern, int64_t n) {
  launch(fill_kernel<T>, grid_for(n, kThreads), kThreads, 0, static_cast<T*>(dst),
         static_cast<T>(pattern), n);
}

void fill(const FillArgs& a) {
  uint64_t pattern = a.pattern;
  for (int bytes = a.itemsize; bytes < 8; bytes *= 2) {
    const uint64_t low = pattern & ((uint64_t{1} << (8 * bytes)) - 1);
    pattern = low | low << (8 * bytes);
  }
  const int64_t bytes = a.numel * a.itemsize;
  if (reinterpret_cast<uintptr_t>(a.dst) % 8 == 0 && bytes % 8 == 0)
    return run<uint64_t>(a.dst, pattern, bytes / 8);
  switch (a.itemsize) {
    case 1:
      return run<uint8_t>(a.dst, pattern, a.numel);
    case 2:
      return run<uint16_t>(a.dst, pattern, a.numel);
    case 4:
      return run<uint32_t>(a.dst, pattern, a.numel);
    default:
      return run<uint64_t>(a.dst, pattern, a.numel);
  }
}

}  // namespace

TERCEL_DEVICE_TABLE(CopyKernels, copy_kernels) = {.fill = fill};

}  // namespace tercel::cuda
