// Boolean masks on the GPU: counts, coordinates and values of the true elements, fills.
//
// A block owns kMaskBlock elements, each of its warps a contiguous eighth of them. A warp walks its
// part 32 elements at a time; the ballot of a step gives every true element its place, so the
// result is in order and nothing is counted with atomics. The starts of the blocks come from the
// counts through the host, which needs their sum anyway (the size of the result).
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "ops/index/index_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kMaskThreads = 256, kMaskWarps = kMaskThreads / 32;
constexpr int64_t kPerWarp = kMaskBlock / kMaskWarps;

unsigned mask_blocks(int64_t n) { return static_cast<unsigned>((n + kMaskBlock - 1) / kMaskBlock); }

// f(i, rank) for the true elements i of the calling warp's part, in order, by the lane that holds
// i; returns how many there are.
template <class F>
TERCEL_DEVICE int64_t for_true(const uint8_t* mask, int64_t n, F f) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t begin = blockIdx.x * kMaskBlock + warp * kPerWarp;
  int64_t found = 0;
  for (int64_t step = 0; step < kPerWarp; step += 32) {
    const int64_t i = begin + step + lane;
    const bool own = i < n && mask[i] != 0;
    const unsigned votes = __ballot_sync(kFullMask, own);
    if (own) f(i, found + __popc(votes & ((1u << lane) - 1u)));
    found += __popc(votes);
  }
  return found;
}

// True elements of the block before the calling warp's; *total: of the whole block.
TERCEL_DEVICE int64_t warp_start(const uint8_t* mask, int64_t n, int64_t* total) {
  TERCEL_SHARED(int64_t, counts, kMaskWarps);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t own = for_true(mask, n, [](int64_t, int64_t) {});
  if (threadIdx.x % 32 == 0) counts[warp] = own;
  __syncthreads();
  int64_t start = 0, all = 0;
  TERCEL_UNROLL
  for (int w = 0; w < kMaskWarps; ++w) {
    if (w == warp) start = all;
    all += counts[w];
  }
  *total = all;
  return start;
}

__global__ void __launch_bounds__(kMaskThreads) mask_count_kernel(MaskCountArgs a) {
  int64_t total;
  warp_start(a.mask, a.n, &total);
  if (threadIdx.x == 0) a.block_count[blockIdx.x] = total;
}
void count(const MaskCountArgs& a) {
  if (a.n > 0) launch(mask_count_kernel, mask_blocks(a.n), kMaskThreads, 0, a);
}

__global__ void __launch_bounds__(kMaskThreads) mask_positions_kernel(MaskSelectArgs a) {
  int64_t total;
  const int64_t start = a.block_start[blockIdx.x] + warp_start(a.mask, a.n, &total);
  for_true(a.mask, a.n, [&](int64_t i, int64_t rank) {
    int64_t* out = a.coordinates + (start + rank) * a.rank;
    for (int d = a.rank - 1; d > 0; --d) {
      const int64_t q = i / a.size[d];
      out[d] = i - q * a.size[d];
      i = q;
    }
    out[0] = i;
  });
}
void positions(const MaskSelectArgs& a) {
  launch(mask_positions_kernel, mask_blocks(a.n), kMaskThreads, 0, a);
}

template <class T>
__global__ void __launch_bounds__(kMaskThreads) mask_compress_kernel(MaskSelectArgs a) {
  int64_t total;
  const int64_t start = a.block_start[blockIdx.x] + warp_start(a.mask, a.n, &total);
  const T* x = reinterpret_cast<const T*>(a.x);
  T* out = reinterpret_cast<T*>(a.out) + start;
  for_true(a.mask, a.n, [&](int64_t i, int64_t rank) { out[rank] = x[i]; });
}

template <class T>
__global__ void __launch_bounds__(kMaskThreads) mask_fill_kernel(MaskFillArgs a, T value) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kMaskThreads;
  T* x = reinterpret_cast<T*>(a.x);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kMaskThreads + threadIdx.x; i < a.n;
       i += step) {
    if (a.mask[i]) x[i] = value;
  }
}
template <class T>
void run_fill(const MaskFillArgs& a) {  // `value` is host memory
  T value;
  __builtin_memcpy(&value, a.value, sizeof value);
  if (a.n > 0) launch(mask_fill_kernel<T>, grid_for(a.n, kMaskThreads), kMaskThreads, 0, a, value);
}

// f(unsigned integer of itemsize bytes)
template <class F>
void with_item(int itemsize, F f) {
  switch (itemsize) {
    case 1:
      return f(uint8_t{});
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

void compress(const MaskSelectArgs& a) {
  with_item(a.itemsize, [&](auto zero) {
    launch(mask_compress_kernel<decltype(zero)>, mask_blocks(a.n), kMaskThreads, 0, a);
  });
}
void fill(const MaskFillArgs& a) {
  with_item(a.itemsize, [&](auto zero) { run_fill<decltype(zero)>(a); });
}

}  // namespace

TERCEL_DEVICE_TABLE(MaskKernels, mask_kernels) = {
    .count = count, .positions = positions, .compress = compress, .fill = fill};

}  // namespace tercel::cuda
