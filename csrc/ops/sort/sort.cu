// Sorting and selection on the GPU: rows that fit in shared memory there (sort_block.cuh), longer
// ones by radix sort, as many rows at a time as the work space holds (sort_radix.cuh).
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/geometry.cuh"
#include "ops/sort/sort_block.cuh"
#include "ops/sort/sort_radix.cuh"

namespace tercel::cuda {
namespace {

unsigned threads_for(int size) { return size / 2 < 512 ? static_cast<unsigned>(size / 2) : 512u; }

template <class K>
void sort_long(const SortArgs& a, int itemsize) {
  const int64_t n = a.n, tiles = (n + kSortTile - 1) / kSortTile;
  for (int64_t row0 = 0; row0 < a.rows; row0 += a.slots) {
    const int64_t rows = a.rows - row0 < a.slots ? a.rows - row0 : a.slots;
    K* keys = reinterpret_cast<K*>(a.work);
    uint32_t* rest = reinterpret_cast<uint32_t*>(keys + 2 * rows * n);
    RadixEntries<K> from{keys, rest}, to{keys + rows * n, rest + rows * n};
    uint32_t* counts = rest + 2 * rows * n;
    uint32_t* totals = counts + rows * 256 * tiles;
    const dim3 grid(static_cast<unsigned>(rows * tiles)), digits(static_cast<unsigned>(rows * 256));
    launch(radix_load_kernel<K>, grid_for(rows * n, kRadixThreads), kRadixThreads, 0, a, row0, rows,
           from);
    for (int shift = 0; shift < key_bits(a.dtype); shift += 8) {
      launch(radix_count_kernel<K>, grid, kRadixThreads, 0, from.key, n, tiles, shift, counts);
      launch(radix_totals_kernel, digits, kRadixThreads, 0, counts, tiles, totals);
      launch(radix_places_kernel, digits, kRadixThreads, 0, counts, tiles, totals);
      launch(radix_scatter_kernel<K>, grid, kRadixThreads, 0, from, to, n, tiles, shift, counts);
      const RadixEntries<K> t = from;
      from = to;
      to = t;
    }
    const int64_t take = a.k > 0 ? a.k : n;
    launch(radix_store_kernel, grid_for(rows * take, kRadixThreads), kRadixThreads, 0, a, row0,
           rows, from.index, itemsize);
  }
}

template <class K>
void sort_typed(const SortArgs& a, int itemsize) {
  if (a.n > kSortBlock) return sort_long<K>(a, itemsize);
  const int size = power_of_two_from(a.n);
  launch(sort_block_kernel<K>, static_cast<unsigned>(a.rows), threads_for(size),
         entry_bytes<K>(size), a, size, itemsize);
}

void sort(const SortArgs& a) {
  const int itemsize = item_of(a.dtype);
  itemsize == 8 ? sort_typed<uint64_t>(a, itemsize) : sort_typed<uint32_t>(a, itemsize);
}

template <class K>
void select_typed(const SortArgs& a, int itemsize) {
  const int size = power_of_two_from(a.k);
  launch(select_block_kernel<K>, static_cast<unsigned>(a.rows), 512, entry_bytes<K>(size), a, size,
         itemsize, key_bits(a.dtype));
}

void select(const SortArgs& a) {
  if (a.k > kSelectMost || a.n <= kSortBlock) return sort(a);
  const int itemsize = item_of(a.dtype);
  itemsize == 8 ? select_typed<uint64_t>(a, itemsize) : select_typed<uint32_t>(a, itemsize);
}

}  // namespace

TERCEL_DEVICE_TABLE(SortKernels, sort_kernels) = {.sort = sort, .select = select};

}  // namespace tercel::cuda
