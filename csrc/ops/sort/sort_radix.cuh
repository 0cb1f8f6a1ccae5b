// LSD radix sort of long rows, 8 bits per pass, stable.
//
// A pass: every tile of kSortTile entries counts its digits; a block per digit sums the counts over
// the tiles and turns them into the places where each tile writes; the tiles scatter. Inside a tile
// a warp owns 512 consecutive entries and walks them 32 at a time: ballots of the digit's bits name
// the lanes with the same digit, so ranks follow the order of the entries, without atomics.
#pragma once

#include "cuda/scan.cuh"
#include "ops/sort/sort_kernels.h"
#include "ops/sort/sort_key.cuh"

namespace tercel::cuda {

constexpr int kRadixThreads = 256, kRadixWarps = kRadixThreads / 32;
constexpr int kRadixSteps = static_cast<int>(kSortTile) / kRadixThreads;

// Entries of `rows` rows, key and index apart. Place of (row, i): row * n + i.
template <class K>
struct RadixEntries {
  K* key;
  uint32_t* index;
};

template <class K>
__global__ void __launch_bounds__(kRadixThreads)
    radix_load_kernel(SortArgs a, int64_t row0, int64_t rows, RadixEntries<K> out) {
  const int64_t total = rows * a.n, step = static_cast<int64_t>(gridDim.x) * kRadixThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kRadixThreads + threadIdx.x; t < total;
       t += step) {
    out.key[t] = load_key<K>(a.src, row0 * a.n + t, a.dtype, a.descending);
    out.index[t] = static_cast<uint32_t>(t % a.n);
  }
}

template <class K>
__global__ void __launch_bounds__(kRadixThreads)
    radix_count_kernel(const K* keys, int64_t n, int64_t tiles, int shift, uint32_t* counts) {
  TERCEL_SHARED(uint32_t, count, 256);
  const int64_t row = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  count[threadIdx.x] = 0;
  __syncthreads();
  const K* key = keys + row * n;
  const int64_t begin = tile * kSortTile;
  for (int s = 0; s < kRadixSteps; ++s) {
    const int64_t i = begin + s * kRadixThreads + threadIdx.x;
    if (i < n) atomicAdd(&count[static_cast<int>(key[i] >> shift & 0xff)], 1u);
  }
  __syncthreads();
  counts[(row * 256 + threadIdx.x) * tiles + tile] = count[threadIdx.x];
}

// totals[row, digit], one block each
__global__ void __launch_bounds__(kRadixThreads)
    radix_totals_kernel(const uint32_t* counts, int64_t tiles, uint32_t* totals) {
  TERCEL_SHARED(uint32_t, sums, 32);
  uint32_t sum = 0, total;
  for (int64_t t = threadIdx.x; t < tiles; t += kRadixThreads)
    sum += counts[blockIdx.x * tiles + t];
  block_exclusive_sum<uint32_t>(sum, &total, sums);
  if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

// Counts become first places: smaller digits, then earlier tiles. One block per (row, digit).
__global__ void __launch_bounds__(kRadixThreads)
    radix_places_kernel(uint32_t* counts, int64_t tiles, const uint32_t* totals) {
  TERCEL_SHARED(uint32_t, sums, 32);
  const unsigned digit = blockIdx.x % 256, first = blockIdx.x - digit;
  uint32_t place, total;
  block_exclusive_sum<uint32_t>(threadIdx.x < digit ? totals[first + threadIdx.x] : 0u, &place,
                                sums);
  uint32_t* own = counts + blockIdx.x * tiles;
  for (int64_t begin = 0; begin < tiles; begin += kRadixThreads) {
    const int64_t t = begin + threadIdx.x;
    const uint32_t before = block_exclusive_sum<uint32_t>(t < tiles ? own[t] : 0u, &total, sums);
    if (t < tiles) own[t] = place + before;
    place += total;
  }
}

template <class K>
__global__ void __launch_bounds__(kRadixThreads)
    radix_scatter_kernel(RadixEntries<K> from, RadixEntries<K> to, int64_t n, int64_t tiles,
                         int shift, const uint32_t* places) {
  TERCEL_SHARED_2D(uint32_t, place, kRadixWarps, 256);
  const int64_t row = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const K* key = from.key + row * n;
  const int64_t begin = tile * kSortTile + warp * (kRadixSteps * 32);
  for (int w = 0; w < kRadixWarps; ++w) place[w][thread] = 0;
  __syncthreads();

  uint32_t rank[kRadixSteps];  // among the entries of the warp with the same digit
  TERCEL_UNROLL
  for (int s = 0; s < kRadixSteps; ++s) {
    const int64_t i = begin + s * 32 + lane;
    const bool inside = i < n;
    const int digit = inside ? static_cast<int>(key[i] >> shift & 0xff) : 0;
    unsigned same = __ballot_sync(kFullMask, inside);
    TERCEL_UNROLL
    for (int b = 0; b < 8; ++b) {
      const unsigned set = __ballot_sync(kFullMask, digit >> b & 1);
      same &= digit >> b & 1 ? set : ~set;
    }
    const uint32_t earlier = place[warp][digit];
    rank[s] = earlier + static_cast<uint32_t>(__popc(same & ((1u << lane) - 1u)));
    __syncwarp();
    if (inside && lane == __ffs(static_cast<int>(same)) - 1)
      place[warp][digit] = earlier + static_cast<uint32_t>(__popc(same));
    __syncwarp();
  }
  __syncthreads();

  uint32_t next = places[(row * 256 + thread) * tiles + tile];
  TERCEL_UNROLL
  for (int w = 0; w < kRadixWarps; ++w) {
    const uint32_t count = place[w][thread];
    place[w][thread] = next;
    next += count;
  }
  __syncthreads();
  TERCEL_UNROLL
  for (int s = 0; s < kRadixSteps; ++s) {
    const int64_t i = begin + s * 32 + lane;
    if (i >= n) continue;
    const K k = key[i];
    const int64_t at = row * n + place[warp][static_cast<int>(k >> shift & 0xff)] + rank[s];
    to.key[at] = k;
    to.index[at] = from.index[row * n + i];
  }
}

__global__ void __launch_bounds__(kRadixThreads)
    radix_store_kernel(SortArgs a, int64_t row0, int64_t rows, const uint32_t* index,
                       int itemsize) {
  const int64_t take = a.k > 0 ? a.k : a.n, total = rows * take,
                step = static_cast<int64_t>(gridDim.x) * kRadixThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kRadixThreads + threadIdx.x; t < total;
       t += step) {
    const int64_t r = t / take, i = t - r * take, at = index[r * a.n + i];
    a.indices[row0 * take + t] = at;
    if (a.values) move_value(a.values, row0 * take + t, a.src, (row0 + r) * a.n + at, itemsize);
  }
}

}  // namespace tercel::cuda
