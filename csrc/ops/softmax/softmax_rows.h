// Passes over one row or one tile of columns, shared by softmax and cross entropy. For ISA files
// only.
#pragma once

#include <math.h>

#include <type_traits>

#include "core/parallel.h"
#include "simd/lanes.h"
#include "simd/rows.h"
#include "simd/vmath.h"

namespace tercel {
namespace {

template <class T>
struct compute_impl {
  using Scalar = float;
  using V = simd::VecF;
};
template <>
struct compute_impl<double> {
  using Scalar = double;
  using V = simd::VecD;
};
template <class T>
using ComputeVec = typename compute_impl<T>::V;
template <class T>
using ComputeScalar = typename compute_impl<T>::Scalar;

template <class S>
TERCEL_INLINE S log_scalar(S v) {
  using V = simd::Vec<S>;
  alignas(64) S lanes[V::size];
  simd::log(V(v)).store(lanes);
  return lanes[0];
}

// Largest element; a NaN may be ignored (it shows in the sum of exponentials anyway).
template <class T>
TERCEL_INLINE ComputeScalar<T> row_max(const T* x, int64_t n) {
  using V = ComputeVec<T>;
  constexpr int64_t kStep = V::size;
  V m0(-static_cast<ComputeScalar<T>>(INFINITY)), m1 = m0, m2 = m0, m3 = m0;
  int64_t i = 0;
  for (; i + 4 * kStep <= n; i += 4 * kStep) {
    m0 = max_or_second(V::load(x + i), m0);
    m1 = max_or_second(V::load(x + i + kStep), m1);
    m2 = max_or_second(V::load(x + i + 2 * kStep), m2);
    m3 = max_or_second(V::load(x + i + 3 * kStep), m3);
  }
  for (; i + kStep <= n; i += kStep) m0 = max_or_second(V::load(x + i), m0);
  if (i < n)
    m1 = max_or_second(simd::load_fill<V>(x + i, n - i, -static_cast<ComputeScalar<T>>(INFINITY)),
                       m1);
  return max_lanes(max_or_second(max_or_second(m0, m1), max_or_second(m2, m3)));
}

// One copy of the exponential and no unrolling on the generic level, for the sake of build time.
#if defined(TERCEL_LEVEL_GENERIC)
template <class V>
TERCEL_OUTLINE void exp_in_place(V* x) {
  *x = exp(*x);
}
template <class V>
TERCEL_INLINE V exp_of(V x) {
  exp_in_place(&x);
  return x;
}
constexpr bool kUnroll = false;
#else
template <class V>
TERCEL_INLINE V exp_of(V x) {
  return exp(x);
}
constexpr bool kUnroll = true;
#endif

constexpr int kBlockVecs = 64;  // vectors per block of a sum: 4 accumulators, chains of 16

// Sum over i < n of f(i, lanes), where f returns the vector of elements [i, i + V::size) and, for
// the last one, is told how many lanes count (the others are zeroed here).
template <class V, class F>
TERCEL_INLINE typename V::Scalar row_sum(int64_t n, F f) {
  constexpr int64_t kStep = V::size;
  V total(0);
  int64_t i = 0;
  while (i < n) {
    const int64_t end = i + kBlockVecs * kStep < n ? i + kBlockVecs * kStep : n;
    V a0(0), a1(0), a2(0), a3(0);
    if constexpr (kUnroll) {
      for (; i + 4 * kStep <= end; i += 4 * kStep) {
        a0 = a0 + f(i, kStep);
        a1 = a1 + f(i + kStep, kStep);
        a2 = a2 + f(i + 2 * kStep, kStep);
        a3 = a3 + f(i + 3 * kStep, kStep);
      }
    } else {
      for (; i + 4 * kStep <= end;) {
        V* const all[] = {&a0, &a1, &a2, &a3};
        for (V* a : all) {
          *a = *a + f(i, kStep);
          i += kStep;
        }
      }
    }
    for (; i + kStep <= end; i += kStep) a0 = a0 + f(i, kStep);
    if (i < end) {
      a1 = a1 + select(simd::lanes_below<V>(end - i), f(i, end - i), V(0));
      i = end;
    }
    total = total + ((a0 + a1) + (a2 + a3));
  }
  return sum(total);
}

// f(i, lanes) for each vector of a row.
template <class V, class F>
TERCEL_INLINE void row_each(int64_t n, F f) {
  constexpr int64_t kStep = V::size;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) f(i, kStep);
  if (i < n) f(i, n - i);
}

template <class V, class T>
TERCEL_INLINE V load_lanes(const T* p, int64_t lanes) {
  return lanes == V::size ? V::load(p) : V::load_n(p, lanes);
}
template <class V, class T>
TERCEL_INLINE void store_lanes(V v, T* p, int64_t lanes) {
  if (lanes == V::size)
    v.store(p);
  else
    v.store_n(p, lanes);
}
// The same past the caches, if `past` (core/streaming.h).
template <class V, class T>
TERCEL_INLINE void store_lanes(V v, T* p, int64_t lanes, bool past) {
  lanes == V::size ? store<true>(v, p, lanes, past) : store<false>(v, p, lanes);
}

// What is subtracted before exp in logsumexp: the maximum, or 0 if that is infinite.
template <class S>
TERCEL_INLINE S finite_or_zero(S m) {
  return m - m == 0 ? m : S(0);
}

// log sum exp(x) = shift + log_total, kept apart: their sum would lose the digits of log_total when
// the logits are large.
template <class S>
struct LogSum {
  S shift, log_total;
};
template <class T>
TERCEL_INLINE LogSum<ComputeScalar<T>> row_logsumexp(const T* x, int64_t n) {
  using V = ComputeVec<T>;
  const auto shift = finite_or_zero(row_max(x, n));
  const auto total = row_sum<V>(n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
    return exp_of(load_lanes<V>(x + i, lanes) - V(shift));
  });
  return {shift, log_scalar(total)};
}

// ---- columns: a tile of up to kTile columns, n rows `stride` apart
// ----------------------------------

// Wide tiles read whole stretches of each row: a narrow tile of many rows would be kept in the
// cache between passes only if the row stride were not a multiple of a large power of two, which it
// often is.
constexpr int kTile = 512;
constexpr int64_t kStatRows = 8;
constexpr int64_t kBlockRows = 16;
constexpr int64_t kSuperRows = 128;

template <class S>
struct ColumnStats {
  alignas(64) S max[kTile];
  alignas(64) S sum[kTile];  // of exp(x - shift), shift = finite_or_zero(max)
};

template <class V>
TERCEL_INLINE int64_t padded_width(int64_t width) {
  return (width + V::size - 1) / V::size * V::size;
}
template <class V>
TERCEL_INLINE V finite_or_zero_of(V m) {
  return select(m - m == V(0), m, V(0));
}

// One read of the tile, kStatRows rows at a time: when the maximum grows, the sum so far is
// rescaled (Milakov and Gimelshein, 2018).
template <class T>
TERCEL_INLINE void column_stats(const T* x, int64_t n, int64_t stride, int64_t width,
                                ColumnStats<ComputeScalar<T>>* stats) {
  using V = ComputeVec<T>;
  using S = ComputeScalar<T>;
  alignas(64) S super[kTile];
  const int64_t padded = padded_width<V>(width);
  for (int64_t c = 0; c < padded; ++c) {
    stats->max[c] = -static_cast<S>(INFINITY);
    stats->sum[c] = super[c] = 0;
  }
  for (int64_t r0 = 0; r0 < n; r0 += kStatRows) {
    const int64_t rows = n - r0 < kStatRows ? n - r0 : kStatRows;
    const bool flush = (r0 + rows) % kSuperRows == 0 || r0 + rows == n;
    const auto add_rows = [&](auto fixed) TERCEL_LAMBDA_INLINE {
      const int64_t count = fixed ? fixed : rows;
      row_each<V>(width, [&](int64_t c, int64_t lanes) TERCEL_LAMBDA_INLINE {
        const T* at = x + r0 * stride + c;
        V v[kStatRows];
        const V old = V::load(stats->max + c);
        V m = old;
        for (int64_t r = 0; r < count; ++r) {
          v[r] = load_lanes<V>(at + r * stride, lanes);
          // the next tile: short stretches far apart, which the hardware does not foresee
          __builtin_prefetch(at + r * stride + width);
          m = max_or_second(v[r], m);
        }
        const V shift = finite_or_zero_of(m);
        V total = V::load(stats->sum + c), part = V::load(super + c);
        const auto grown = m > old;
        if (any(grown)) {
          const V scale = select(grown, exp_of(old - shift), V(1));
          total = total * scale;
          part = part * scale;
          m.store(stats->max + c);
        }
        V block(0);
        for (int64_t r = 0; r < count; ++r) block = block + exp_of(v[r] - shift);
        part = part + block;
        if (flush) {
          total = total + part;
          part = V(0);
        }
        total.store(stats->sum + c);
        part.store(super + c);
      });
    };
    if (kUnroll && rows == kStatRows)
      add_rows(std::integral_constant<int64_t, kUnroll ? kStatRows : 0>{});
    else
      add_rows(std::integral_constant<int64_t, 0>{});
  }
}

// total[c] = sum over rows of f(row, column, lanes): chains of 16 rows, of 8 such blocks, and of
// those.
template <class V, class F>
TERCEL_INLINE void column_sum(int64_t n, int64_t width, typename V::Scalar* total, F f) {
  using S = typename V::Scalar;
  alignas(64) S super[kTile];
  alignas(64) S block[kTile];
  const int64_t padded = padded_width<V>(width);
  for (int64_t c = 0; c < padded; ++c) total[c] = super[c] = 0;
  for (int64_t r0 = 0; r0 < n; r0 += kBlockRows) {
    const int64_t r1 = r0 + kBlockRows < n ? r0 + kBlockRows : n;
    for (int64_t c = 0; c < padded; ++c) block[c] = 0;
    for (int64_t r = r0; r < r1; ++r) {
      row_each<V>(width, [&](int64_t c, int64_t lanes) TERCEL_LAMBDA_INLINE {
        (V::load(block + c) + f(r, c, lanes)).store(block + c);
      });
    }
    for (int64_t c = 0; c < padded; ++c) super[c] += block[c];
    if (r1 % kSuperRows == 0 || r1 == n) {
      for (int64_t c = 0; c < padded; ++c) {
        total[c] += super[c];
        super[c] = 0;
      }
    }
  }
}

// shift[c] and log_total[c] of each column, as row_logsumexp.
template <class T>
TERCEL_INLINE void column_logsumexp(const T* x, int64_t n, int64_t stride, int64_t width,
                                    ComputeScalar<T>* shift, ComputeScalar<T>* log_total) {
  using V = ComputeVec<T>;
  ColumnStats<ComputeScalar<T>> stats;
  column_stats(x, n, stride, width, &stats);
  for (int64_t c = 0; c < width; c += V::size) {
    finite_or_zero_of(V::load(stats.max + c)).store(shift + c);
    simd::log(V::load(stats.sum + c)).store(log_total + c);
  }
}

TERCEL_INLINE int64_t tile_width(int64_t inner) { return kTile < inner ? kTile : inner; }
TERCEL_INLINE int64_t softmax_grain(int64_t elements_per_task) {
  const int64_t grain = 8192 / (elements_per_task > 0 ? elements_per_task : 1);
  return grain > 0 ? grain : 1;
}

}  // namespace
}  // namespace tercel
