// Sorting and selection inside one block: bitonic sort in shared memory (Batcher 1968), and the k
// first elements of a row by radix selection.
//
// Entries are (key, index); indices differ, so the order is total and the sort stable.
#pragma once

#include "cuda/scan.cuh"
#include "ops/sort/sort_kernels.h"
#include "ops/sort/sort_key.cuh"

namespace tercel::cuda {

template <class K>
struct SharedEntries {
  K* key;
  uint32_t* index;
};
template <class K>
TERCEL_DEVICE SharedEntries<K> shared_entries(unsigned char* buffer, int capacity) {
  K* keys = reinterpret_cast<K*>(buffer);
  return {keys, reinterpret_cast<uint32_t*>(keys + capacity)};
}
template <class K>
size_t entry_bytes(int capacity) {
  return static_cast<size_t>(capacity) * (sizeof(K) + 4);
}
inline int power_of_two_from(int64_t n) {
  int p = 64;
  while (p < n) p *= 2;
  return p;
}

// Sorts `size` entries (a power of two) that all threads have written; a barrier comes last.
template <class K>
TERCEL_DEVICE void bitonic_sort(SharedEntries<K> e, int size) {
  const int threads = static_cast<int>(blockDim.x);
  for (int run = 2; run <= size; run *= 2) {
    for (int d = run / 2; d > 0; d /= 2) {
      __syncthreads();
      for (int t = static_cast<int>(threadIdx.x); t < size / 2; t += threads) {
        const int i = 2 * d * (t / d) + t % d, j = i + d;
        const bool up = (i & run) == 0;
        const K a = e.key[i], b = e.key[j];
        const uint32_t p = e.index[i], q = e.index[j];
        const bool greater = a > b || (a == b && p > q);
        if (greater == up) {
          e.key[i] = b;
          e.key[j] = a;
          e.index[i] = q;
          e.index[j] = p;
        }
      }
    }
  }
  __syncthreads();
}

// Writes the first `take` entries of a row.
template <class K>
TERCEL_DEVICE void write_entries(SharedEntries<K> e, const SortArgs& a, int64_t take,
                                 const void* row, int itemsize) {
  const int64_t base = blockIdx.x * take;
  for (int64_t i = threadIdx.x; i < take; i += blockDim.x) {
    a.indices[base + i] = e.index[i];
    if (a.values) move_value(a.values, base + i, row, e.index[i], itemsize);
  }
}

// A block sorts a row; n <= size.
template <class K>
__global__ void __launch_bounds__(512) sort_block_kernel(SortArgs a, int size, int itemsize) {
  TERCEL_DYNAMIC_SHARED(buffer);
  const SharedEntries<K> e = shared_entries<K>(buffer, size);
  const char* row = static_cast<const char*>(a.src) + blockIdx.x * a.n * itemsize;
  for (int i = static_cast<int>(threadIdx.x); i < size; i += static_cast<int>(blockDim.x)) {
    e.key[i] = i < a.n ? load_key<K>(row, i, a.dtype, a.descending) : ~K(0);
    e.index[i] = static_cast<uint32_t>(i);  // fillers come after all elements
  }
  bitonic_sort(e, size);
  write_entries(e, a, a.k > 0 ? a.k : a.n, row, itemsize);
}

// A block finds the k first elements of a row. Digit by digit from the top, the counts of the keys
// that share the digits found so far give the next digit of the k-th key; then the elements below
// it and the first ones equal to it are gathered in the order of their indices and sorted. The
// counters are integers: their order of arrival does not matter.
template <class K>
__global__ void __launch_bounds__(512)
    select_block_kernel(SortArgs a, int size, int itemsize, int bits) {
  TERCEL_DYNAMIC_SHARED(buffer);
  TERCEL_SHARED(uint32_t, counts, 256);
  TERCEL_SHARED(uint32_t, warp_sums, 32);
  TERCEL_SHARED(K, found, 1);
  TERCEL_SHARED(uint32_t, left, 1);
  const SharedEntries<K> e = shared_entries<K>(buffer, size);
  const char* row = static_cast<const char*>(a.src) + blockIdx.x * a.n * itemsize;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);

  K prefix = 0;
  uint32_t need = static_cast<uint32_t>(a.k);  // how many of the keys with this prefix are taken
  for (int shift = bits - 8; shift >= 0; shift -= 8) {
    for (int d = thread; d < 256; d += threads) counts[d] = 0;
    __syncthreads();
    for (int64_t i = thread; i < a.n; i += threads) {
      const K key = load_key<K>(row, i, a.dtype, a.descending);
      if (shift + 8 == bits || key >> (shift + 8) == prefix)
        atomicAdd(&counts[static_cast<int>(key >> shift & 0xff)], 1u);
    }
    __syncthreads();
    if (thread == 0) {
      uint32_t before = 0;
      int d = 0;
      while (before + counts[d] < need) before += counts[d++];
      found[0] = prefix << 8 | static_cast<K>(d);
      left[0] = need - before;
    }
    __syncthreads();
    prefix = found[0];
    need = left[0];
  }

  const uint32_t below = static_cast<uint32_t>(a.k) - need;
  uint32_t taken_below = 0, taken_equal = 0;
  for (int64_t first = 0; first < a.n; first += threads) {
    const int64_t i = first + thread;
    const K key = i < a.n ? load_key<K>(row, i, a.dtype, a.descending) : ~K(0);
    const uint32_t is_below = i < a.n && key < prefix, is_equal = i < a.n && key == prefix;
    uint32_t total;
    const uint32_t before =
        block_exclusive_sum<uint32_t>(is_below | is_equal << 16, &total, warp_sums);
    const uint32_t rank_below = taken_below + (before & 0xffff),
                   rank_equal = taken_equal + (before >> 16);
    if (is_below) {
      e.key[rank_below] = key;
      e.index[rank_below] = static_cast<uint32_t>(i);
    } else if (is_equal && rank_equal < need) {
      e.key[below + rank_equal] = key;
      e.index[below + rank_equal] = static_cast<uint32_t>(i);
    }
    taken_below += total & 0xffff;
    taken_equal += total >> 16;
  }
  for (int i = static_cast<int>(a.k) + thread; i < size; i += threads) {
    e.key[i] = ~K(0);
    e.index[i] = ~0u;
  }
  bitonic_sort(e, size);
  write_entries(e, a, a.k, row, itemsize);
}

}  // namespace tercel::cuda
