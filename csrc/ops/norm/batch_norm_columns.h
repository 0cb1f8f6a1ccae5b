// What the column scheme of batch norm does in statistics and gradients: tiles of columns, and sums
// of lanes that are kept in double. For files compiled per ISA level.
#pragma once

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

// Calls f.operator()<vectors, full>(column, lanes) over [0, width) in tiles.
template <class V, class F>
TERCEL_INLINE void for_tiles(int64_t begin, int64_t end, F&& f) {
  int64_t j = begin;
  for (; j + kTileVectors * V::size <= end; j += kTileVectors * V::size) {
    f.template operator()<kTileVectors, true>(j, static_cast<int64_t>(V::size));
  }
  for (; j + V::size <= end; j += V::size)
    f.template operator()<1, true>(j, static_cast<int64_t>(V::size));
  if (j < end) f.template operator()<1, false>(j, end - j);
}

// Columns a task takes: enough work, whole tiles.
constexpr int64_t kColumnsPerTask = 256;

}  // namespace
}  // namespace tercel
