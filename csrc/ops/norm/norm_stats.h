// Mean and variance of a row, and grains, for the files of this family that are compiled per ISA
// level.
#pragma once

#include "simd/lanes.h"
#include "simd/rows.h"

namespace tercel {
namespace {

// Items a task takes: enough elements; more where it ends in waiting for its stores past the
// caches.
TERCEL_INLINE int64_t grain_for(int64_t elements_per_item, bool past = false) {
  const int64_t elements = past ? 131072 : 16384;
  const int64_t g = elements / (elements_per_item < 1 ? 1 : elements_per_item);
  return g < 1 ? 1 : g;
}

// Sums of kRows rows of n elements, each in the order of a single one: together they wait less for
// memory and for the last additions.
template <int kRows, class T>
TERCEL_INLINE void row_sums(const T* x, int64_t n, double* s) {
  using A = acc_t<T>;
  using V = Vec<A>;
  blocked_sums<A, kRows>(n, s, [&]<bool kFull>(int64_t i, int64_t m, V* acc) {
    for (int k = 0; k < kRows; ++k) acc[k] = acc[k] + load<kFull, V>(x + k * n + i, m);
  });
}
// sum (x - shift)^2
template <int kRows, class T>
TERCEL_INLINE void row_sums_of_squares(const T* x, int64_t n, const double* shift, double* s) {
  using A = acc_t<T>;
  using V = Vec<A>;
  V c[kRows];
  for (int k = 0; k < kRows; ++k) c[k] = V(static_cast<A>(shift[k]));
  blocked_sums<A, kRows>(n, s, [&]<bool kFull>(int64_t i, int64_t m, V* acc) {
    for (int k = 0; k < kRows; ++k) {
      V d = load<kFull, V>(x + k * n + i, m) - c[k];
      if constexpr (!kFull) d = keep_lanes(d, m);
      acc[k] = fma(d, d, acc[k]);
    }
  });
}

// Partial results of blocks of a row: {mean, sum of squares about it}.
struct Moments {
  double mean, m2;
};
// In two passes: the mean, then the squares about it.
template <int kRows, bool kCentred, class T>
TERCEL_OUTLINE void rows_moments_twice(const T* x, int64_t n, Moments* out) {
  double mean[kRows] = {}, m2[kRows];
  if constexpr (kCentred) {
    row_sums<kRows>(x, n, mean);
    for (int k = 0; k < kRows; ++k) mean[k] /= static_cast<double>(n);
  }
  row_sums_of_squares<kRows>(x, n, mean, m2);
  for (int k = 0; k < kRows; ++k) out[k] = {mean[k], m2[k]};
}
// In one pass, with d = x - c and c the mean of four vectors spread over the row (smooth rows start
// unlike their rest): mean = c + sum d / n, m2 = sum d^2 - (sum d)^2 / n. Where that difference
// would cancel more than a bit, or is not finite, the row takes two passes.
template <int kRows, class T>
TERCEL_OUTLINE void rows_moments_once(const T* x, int64_t n, Moments* out) {
  using A = acc_t<T>;
  using V = Vec<A>;
  A c[kRows];
  V centre[kRows];
  for (int k = 0; k < kRows; ++k) {
    const T* p = x + k * n;
    const V s = (V::load(p) + V::load(p + n / 4)) + (V::load(p + n / 2) + V::load(p + 3 * (n / 4)));
    c[k] = simd::fold(s, [](V u, V v) { return u + v; }) * A(1.0 / (4 * V::size));
    centre[k] = V(c[k]);
  }
  double s[2 * kRows];
  blocked_sums<A, 2 * kRows, 2>(n, s, [&]<bool kFull>(int64_t i, int64_t m, V* acc) {
    for (int k = 0; k < kRows; ++k) {
      V d = load<kFull, V>(x + k * n + i, m) - centre[k];
      if constexpr (!kFull) d = keep_lanes(d, m);
      acc[2 * k] = acc[2 * k] + d;
      acc[2 * k + 1] = fma(d, d, acc[2 * k + 1]);
    }
  });
  for (int k = 0; k < kRows; ++k) {
    const double shift = s[2 * k] / static_cast<double>(n), squares = s[2 * k + 1];
    const double about_mean = squares - s[2 * k] * shift;
    if (about_mean >= 0.5 * squares && squares < __builtin_inf()) {
      out[k] = {static_cast<double>(c[k]) + shift, about_mean};
    } else {
      rows_moments_twice<1, true>(x + k * n, n, out + k);
    }
  }
}
template <int kRows, bool kCentred, class T>
TERCEL_INLINE void rows_moments(const T* x, int64_t n, Moments* out) {
  if (kCentred && n >= 8 * Vec<acc_t<T>>::size) {
    rows_moments_once<kRows>(x, n, out);
  } else {
    rows_moments_twice<kRows, kCentred>(x, n, out);
  }
}
template <class T>
Moments row_moments(const T* x, int64_t n) {
  Moments m;
  rows_moments<1, true>(x, n, &m);
  return m;
}

}  // namespace
}  // namespace tercel
