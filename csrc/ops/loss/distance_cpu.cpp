// Distances between all rows of two matrices.
//
// `b` is packed into panels of 16 (8) rows, element k of all of them side by side, so that a vector
// holds 16 pairs and nothing is added across lanes: per element a difference and a multiply-add,
// with eight rows of `a` to one load of the panel. Sums run over 16 elements in the dtype, those
// into double. Threads take blocks of 64 rows of `a`; a pair does not depend on its neighbours.
#include "core/parallel.h"
#include "ops/loss/distance_kernels.h"
#include "simd/rows.h"

namespace tercel {
namespace {

constexpr int64_t kRowBlock = 64, kSumBlock = 16;
constexpr int kTileRows = 8;

template <Distance kKind, class V>
TERCEL_INLINE V accumulate(V total, V d) {
  if constexpr (kKind == Distance::l2) {
    return fma(d, d, total);
  } else if constexpr (kKind == Distance::l1) {
    return total + abs(d);
  } else {
    return maximum(total, abs(d));
  }
}

TERCEL_INLINE VecF collect(const LaneSumF& s) { return simd::to_float(s.lo, s.hi); }
TERCEL_INLINE VecD collect(const LaneSumD& s) { return s.lanes; }

// Distances of rows a[0..kRows) to the rows of one panel.
template <Distance kKind, class A, int kRows>
TERCEL_INLINE void tile(const A* a, int64_t M, const A* panel, Vec<A>* y) {
  using V = Vec<A>;
  constexpr int64_t kLanes = V::size;
  typename LaneSumOf<A>::type total[kRows];
  V s[kRows];
  for (int i = 0; i < kRows; ++i) s[i] = V(A(0));
  for (int64_t start = 0; start < M; start += kSumBlock) {
    const int64_t end = M - start < kSumBlock ? M : start + kSumBlock;
    for (int64_t k = start; k < end; ++k) {
      const V v = V::load(panel + k * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) s[i] = accumulate<kKind>(s[i], v - V(a[i * M + k]));
    }
    if constexpr (kKind != Distance::linf) {
      for (int i = 0; i < kRows; ++i) {
        total[i].add(s[i]);
        s[i] = V(A(0));
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    if constexpr (kKind == Distance::linf) {
      y[i] = s[i];
    } else {
      y[i] = kKind == Distance::l2 ? sqrt(collect(total[i])) : collect(total[i]);
    }
  }
}

// y to columns [first, end) of row i, where only those above the diagonal count for pairs
template <class A>
TERCEL_INLINE void write(const DistanceArgs& p, const Vec<A>& y, int64_t n, int64_t i,
                         int64_t first) {
  constexpr int64_t kLanes = Vec<A>::size;
  A* out = static_cast<A*>(p.out);
  const int64_t end = p.R - first < kLanes ? p.R : first + kLanes;
  if (!p.pairs) {
    y.store_n(out + (n * p.P + i) * p.R + first, end - first);
    return;
  }
  alignas(64) A lane[kLanes];
  y.store(lane);
  A* row = out + i * (2 * p.R - i - 1) / 2 - (i + 1);
  for (int64_t j = first > i ? first : i + 1; j < end; ++j) row[j] = lane[j - first];
}

template <Distance kKind, class A>
void compute(const DistanceArgs& p) {
  using V = Vec<A>;
  constexpr int64_t kLanes = V::size;
  const int64_t panels = (p.R + kLanes - 1) / kLanes, M = p.M;
  const A *a = static_cast<const A*>(p.a), *b = static_cast<const A*>(p.b);
  A* packed = static_cast<A*>(p.panels);
  parallel_for(p.B * panels, 1 + 4096 / (M * kLanes), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t n = t / panels, first = t % panels * kLanes;
      for (int64_t j = 0; j < kLanes; ++j) {
        const int64_t row = first + j < p.R ? first + j : p.R - 1;
        const A* from = b + (n * p.R + row) * M;
        A* to = packed + t * M * kLanes + j;
        for (int64_t k = 0; k < M; ++k) to[k * kLanes] = from[k];
      }
    }
  });
  const int64_t blocks = (p.P + kRowBlock - 1) / kRowBlock;
  parallel_for(p.B * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t n = t / blocks, from = t % blocks * kRowBlock;
      const int64_t to = p.P - from < kRowBlock ? p.P : from + kRowBlock;
      for (int64_t q = p.pairs ? from / kLanes : 0; q < panels; ++q) {
        const A* panel = packed + (n * panels + q) * M * kLanes;
        const A* row = a + (n * p.P + from) * M;
        V y[kTileRows];
        int64_t i = from;
        for (; i + kTileRows <= to; i += kTileRows, row += kTileRows * M) {
          tile<kKind, A, kTileRows>(row, M, panel, y);
          for (int r = 0; r < kTileRows; ++r) write<A>(p, y[r], n, i + r, q * kLanes);
        }
        for (; i < to; ++i, row += M) {
          tile<kKind, A, 1>(row, M, panel, y);
          write<A>(p, y[0], n, i, q * kLanes);
        }
      }
    }
  });
}

template <class A>
void by_kind(const DistanceArgs& p) {
  switch (p.kind) {
    case Distance::l1:
      return compute<Distance::l1, A>(p);
    case Distance::l2:
      return compute<Distance::l2, A>(p);
    case Distance::linf:
      return compute<Distance::linf, A>(p);
  }
}
void distance_fwd(const DistanceArgs& p) {
  p.dtype == DType::f64 ? by_kind<double>(p) : by_kind<float>(p);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const DistanceKernels distance_kernels = {distance_fwd};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
