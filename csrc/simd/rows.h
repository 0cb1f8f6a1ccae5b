// Loops over a dense row of elements in vectors, and sums in one fixed order. Only for files
// compiled per ISA level.
//
// Order of a sum, fixed by the length alone: 16 lanes x 4 accumulators (or 2) over blocks of 1,024
// elements, each block added to 16 double lanes, which a tree folds at the end. For double: 8
// lanes.
#pragma once

#include "core/dtype.h"
#include "simd/vec.h"

namespace tercel {
namespace {

using simd::Vec;
using simd::VecD;
using simd::VecF;

constexpr float kIotaF[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr double kIotaD[8] = {0, 1, 2, 3, 4, 5, 6, 7};

// v with the lanes from n on set to zero
TERCEL_INLINE VecF keep_lanes(const VecF& v, int64_t n) {
  return select(VecF::load(kIotaF) < VecF(static_cast<float>(n)), v, VecF(0.0f));
}
TERCEL_INLINE VecD keep_lanes(const VecD& v, int64_t n) {
  return select(VecD::load(kIotaD) < VecD(static_cast<double>(n)), v, VecD(0.0));
}

template <bool kFull, class V, class T>
TERCEL_INLINE V load(const T* p, int64_t n) {
  if constexpr (kFull) {
    return V::load(p);
  } else {
    return V::load_n(p, n);
  }
}
template <bool kFull, class V, class T>
TERCEL_INLINE void store(const V& v, T* p, int64_t n) {
  if constexpr (kFull) {
    v.store(p);
  } else {
    v.store_n(p, n);
  }
}
// The same past the caches, if `past` (core/streaming.h): p at the start of a cache line then, and
// simd::stream_fence() at the end of the task.
template <bool kFull, class V, class T>
TERCEL_INLINE void store(const V& v, T* p, int64_t n, bool past) {
  if constexpr (kFull && sizeof(T) * V::size == 64) {
    if (past) return v.stream(p);
  }
  store<kFull>(v, p, n);
}

// Calls f.operator()<full>(i, count) for each vector of [0, n).
template <class V, class F>
TERCEL_INLINE void for_vectors(int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + V::size <= n; i += V::size)
    f.template operator()<true>(i, static_cast<int64_t>(V::size));
  if (i < n) f.template operator()<false>(i, n - i);
}

struct LaneSumF {
  VecD lo{0.0}, hi{0.0};
  TERCEL_INLINE void add(const VecF& v) {
    lo = lo + to_double_lo(v);
    hi = hi + to_double_hi(v);
  }
  TERCEL_INLINE double total() const { return sum(lo + hi); }
};
struct LaneSumD {
  VecD lanes{0.0};
  TERCEL_INLINE void add(const VecD& v) { lanes = lanes + v; }
  TERCEL_INLINE double total() const { return sum(lanes); }
};
template <class A>
struct LaneSumOf {
  using type = LaneSumF;
};
template <>
struct LaneSumOf<double> {
  using type = LaneSumD;
};

// K sums over n elements at once: f.operator()<full>(i, count, acc) adds the terms of elements
// [i, i + count) to acc[0..K). Many sums at once leave registers for two accumulators of each
// (kChains).
template <class A, int K, int kChains = 4, class F>
TERCEL_INLINE void blocked_sums(int64_t n, double* out, F&& f) {
  using V = Vec<A>;
  static_assert(kChains == 2 || kChains == 4);
  constexpr int64_t kSize = V::size, kBlock = 64 * kSize;
  typename LaneSumOf<A>::type total[K];
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t end = n - start < kBlock ? n : start + kBlock;
    V acc[kChains][K];
    for (int u = 0; u < kChains; ++u)
      for (int k = 0; k < K; ++k) acc[u][k] = V(A(0));
    int64_t i = start;
    for (; i + kChains * kSize <= end; i += kChains * kSize) {
      f.template operator()<true>(i, kSize, acc[0]);
      f.template operator()<true>(i + kSize, kSize, acc[1]);
      if constexpr (kChains == 4) {
        f.template operator()<true>(i + 2 * kSize, kSize, acc[2]);
        f.template operator()<true>(i + 3 * kSize, kSize, acc[3]);
      }
    }
    if (kChains == 4 && i + 2 * kSize <= end) {
      f.template operator()<true>(i, kSize, acc[0]);
      f.template operator()<true>(i + kSize, kSize, acc[1]);
      i += 2 * kSize;
    }
    if (i + kSize <= end) {
      f.template operator()<true>(i, kSize, acc[kChains - 2]);
      i += kSize;
    }
    if (i < end) f.template operator()<false>(i, end - i, acc[kChains - 1]);
    for (int k = 0; k < K; ++k) {
      V s = acc[0][k] + acc[1][k];
      if constexpr (kChains == 4) s = s + (acc[2][k] + acc[3][k]);
      total[k].add(s);
    }
  }
  for (int k = 0; k < K; ++k) out[k] = total[k].total();
}

}  // namespace
}  // namespace tercel
