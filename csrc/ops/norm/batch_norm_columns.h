// What the column scheme of batch norm does in statistics and gradients: tiles of columns, and sums
// of lanes that are kept in double. For files compiled per ISA level.
#pragma once

#include "core/parallel.h"
#include "ops/norm/norm_kernels.h"
#include "simd/rows.h"

namespace tercel {
namespace {

constexpr int64_t kTileVectors = 4;  // columns in flight

TERCEL_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
TERCEL_INLINE void store_double(const VecF& v, double* p, int64_t n) {
  const VecD lo = to_double_lo(v), hi = to_double_hi(v);
  lo.store_n(p, min64(n, 8));
  if (n > 8) hi.store_n(p + 8, n - 8);
}
TERCEL_INLINE void store_double(const VecD& v, double* p, int64_t n) { v.store_n(p, n); }

// Columns a task takes: enough work, whole tiles.
constexpr int64_t kColumnsPerTask = 256;

// Calls f.operator()<vectors, full>(block, its rows, column, lanes) for every tile of every block
// of kColumnRows rows.
template <class V, class F>
TERCEL_INLINE void for_column_tiles(int64_t batch, int64_t width, F&& f) {
  constexpr int64_t kTile = kTileVectors * V::size;
  const int64_t tasks = (width + kColumnsPerTask - 1) / kColumnsPerTask;
  const int64_t blocks = (batch + kColumnRows - 1) / kColumnRows;
  parallel_for(tasks * blocks, 1, [&](int64_t begin, int64_t last) {
    for (int64_t t = begin; t < last; ++t) {
      const int64_t block = t / tasks, rows = min64(kColumnRows, batch - block * kColumnRows);
      int64_t j = t % tasks * kColumnsPerTask;
      const int64_t end = min64(j + kColumnsPerTask, width);
      for (; j + kTile <= end; j += kTile)
        f.template operator()<kTileVectors, true>(block, rows, j, int64_t{V::size});
      for (; j + V::size <= end; j += V::size)
        f.template operator()<1, true>(block, rows, j, int64_t{V::size});
      if (j < end) f.template operator()<1, false>(block, rows, j, end - j);
    }
  });
}

}  // namespace
}  // namespace tercel
