// Mean and variance of a row, for the files of this family that are compiled per ISA level.
#pragma once

#include "simd/rows.h"

namespace tercel {
namespace {

template <class T>
double row_sum(const T* x, int64_t n) {
  using A = acc_t<T>;
  using V = Vec<A>;
  double s[1];
  blocked_sums<A, 1>(n, s, [&]<bool kFull>(int64_t i, int64_t m, V* acc) {
    acc[0] = acc[0] + load<kFull, V>(x + i, m);
  });
  return s[0];
}
// sum (x - shift)^2
template <class T>
double row_sum_squares(const T* x, int64_t n, acc_t<T> shift) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const V c(shift);
  double s[1];
  blocked_sums<A, 1>(n, s, [&]<bool kFull>(int64_t i, int64_t m, V* acc) {
    V d = load<kFull, V>(x + i, m) - c;
    if constexpr (!kFull) d = keep_lanes(d, m);
    acc[0] = fma(d, d, acc[0]);
  });
  return s[0];
}

// Partial results of blocks of a row: {mean, sum of squares about it}.
struct Moments {
  double mean, m2;
};
template <class T>
Moments row_moments(const T* x, int64_t n) {
  const double mean = row_sum(x, n) / static_cast<double>(n);
  return {mean, row_sum_squares(x, n, static_cast<acc_t<T>>(mean))};
}

}  // namespace
}  // namespace tercel
