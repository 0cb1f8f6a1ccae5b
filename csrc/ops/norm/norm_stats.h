// Mean and variance of a row, for the files of this family that are compiled per ISA level.
#pragma once

#include "simd/rows.h"

namespace tercel {
namespace {

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
template <int kRows, bool kCentred, class T>
TERCEL_OUTLINE void rows_moments(const T* x, int64_t n, Moments* out) {
  double mean[kRows] = {}, m2[kRows];
  if constexpr (kCentred) {
    row_sums<kRows>(x, n, mean);
    for (int k = 0; k < kRows; ++k) mean[k] /= static_cast<double>(n);
  }
  row_sums_of_squares<kRows>(x, n, mean, m2);
  for (int k = 0; k < kRows; ++k) out[k] = {mean[k], m2[k]};
}
template <class T>
Moments row_moments(const T* x, int64_t n) {
  Moments m;
  rows_moments<1, true>(x, n, &m);
  return m;
}

}  // namespace
}  // namespace tercel
