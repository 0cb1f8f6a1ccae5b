// Kernel contracts of sorting and selection.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// Sorts (k = 0) or takes the first k of the order of each contiguous row [rows, n]. The work space
// holds `slots` areas (sort_area bytes each; CUDA: sort_device_area); rows are dealt to the slots.
struct SortArgs {
  const void* src;
  void* values;      // [rows, n] or [rows, k], dtype of src; may be null
  int64_t* indices;  // same shape
  int64_t rows, n, k;
  DType dtype;
  bool descending;
  char* work;
  int slots;
};

// Bytes of work space one row needs: two copies of (64-bit key, 32-bit index).
inline int64_t sort_area(int64_t n) { return (n * 24 + 255) / 128 * 128; }

// CUDA: rows of at most kSortBlock elements are sorted in shared memory, as are selections of at
// most kSelectMost; longer ones take keys and indices twice, and the digit counts of the tiles.
inline constexpr int64_t kSortBlock = 2048, kSelectMost = 2048, kSortTile = 4096;
inline int64_t sort_device_area(int64_t n, int64_t itemsize) {
  const int64_t entry = itemsize == 8 ? 12 : 8, tiles = (n + kSortTile - 1) / kSortTile;
  return (2 * n * entry + 256 * (tiles + 1) * 4 + 127) / 128 * 128;
}

struct SortKernels {
  void (*sort)(const SortArgs&);
  void (*select)(const SortArgs&);  // 0 < k < n; CPU: dtypes of at most 32 bits
};
TERCEL_KERNEL_TABLE(SortKernels, sort_kernels)

}  // namespace tercel
