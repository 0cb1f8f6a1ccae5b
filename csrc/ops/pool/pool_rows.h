// The two steps of a pooled output row (pool_cpu.cpp): rows of the window into one buffer, then the
// buffer along x.
#pragma once

#include <type_traits>

#include "ops/conv/conv_lane.h"
#include "ops/pool/pool_args.h"
#include "simd/vec.h"

namespace tercel {
namespace {

inline constexpr int64_t kSpan = 2048;   // columns of the row buffer
inline constexpr int64_t kMargin = 160;  // vectors may read and write this far behind it

template <class T>
struct IndexOf;
template <>
struct IndexOf<float> {
  using type = int32_t;
};
template <>
struct IndexOf<double> {
  using type = int64_t;
};

template <class T>
struct Lanes {
  using R = Reg<T>;
  using I = typename IndexOf<T>::type;
  using V = typename R::V;
  typedef I VI __attribute__((vector_size(kRegBytes)));
  typedef std::make_unsigned_t<I> VU __attribute__((vector_size(kRegBytes)));
  typedef I UnalignedI __attribute__((vector_size(kRegBytes), aligned(sizeof(I)), may_alias));
  static constexpr int lanes = R::lanes;

  static TERCEL_INLINE VI load_i(const I* p) { return *reinterpret_cast<const UnalignedI*>(p); }
  static TERCEL_INLINE void store_i(I* p, VI v) { *reinterpret_cast<UnalignedI*>(p) = v; }
  static TERCEL_INLINE VI splat_i(I x) {
    VI v;
    for (int i = 0; i < lanes; ++i) v[i] = x;
    return v;
  }
  // elements p[0], p[2], ... of two vectors
  template <class X>
  static TERCEL_INLINE X even(X a, X b) {
    VI pick;
    for (int i = 0; i < lanes; ++i) pick[i] = 2 * i;
    return __builtin_shuffle(a, b, pick);
  }
  static TERCEL_INLINE V load_strided(const T* p, int64_t stride) {
    if (stride == 1) return R::load(p);
    if (stride == 2) return even(R::load(p), R::load(p + lanes));
    V v;
    for (int i = 0; i < lanes; ++i) v[i] = p[i * stride];
    return v;
  }
  static TERCEL_INLINE VI load_strided_i(const I* p, int64_t stride) {
    if (stride == 1) return load_i(p);
    if (stride == 2) return even(load_i(p), load_i(p + lanes));
    VI v;
    for (int i = 0; i < lanes; ++i) v[i] = p[i * stride];
    return v;
  }
};

template <class T>
struct Buffers {
  alignas(64) T row[kSpan + kMargin];     // combined rows
  alignas(64) T loaded[kSpan + kMargin];  // a row converted from 16 bits
  alignas(64) T result[kSpan + kMargin];
  alignas(64) typename IndexOf<T>::type origin[kSpan + kMargin];  // row of each maximum
  alignas(64) typename IndexOf<T>::type best[kSpan + kMargin];
};

template <class S, class T>
TERCEL_INLINE const T* as_compute(const S* row, int64_t n, T* buffer) {
  if constexpr (sizeof(S) == sizeof(T)) {
    return row;
  } else {
    using V = simd::Vec<T>;
    int64_t i = 0;
    for (; i + V::size <= n; i += V::size) V::load(row + i).store(buffer + i);
    if (i < n) V::load_n(row + i, n - i).store(buffer + i);
    return buffer;
  }
}

// row[0, n) = combination of `value`, which comes from input row `id`.
template <class T, bool kAverage, bool kIndices>
TERCEL_INLINE void add_row(T* row, typename IndexOf<T>::type* origin, const T* value, int64_t n,
                           typename IndexOf<T>::type id, bool first) {
  using L = Lanes<T>;
  using V = typename L::V;
  using VI = typename L::VI;
  const VI ids = L::splat_i(id);
  int64_t x = 0;
  for (; x + L::lanes <= n; x += L::lanes) {
    const V v = L::R::load(value + x);
    if (first) {
      L::R::store(row + x, v);
      if (kIndices) L::store_i(origin + x, ids);
      continue;
    }
    const V old = L::R::load(row + x);
    if (kAverage) {
      L::R::store(row + x, old + v);
    } else {
      const VI better = (VI)(v > old) | (VI)(v != v);
      L::R::store(row + x, better ? v : old);
      if (kIndices) L::store_i(origin + x, better ? ids : L::load_i(origin + x));
    }
  }
  for (; x < n; ++x) {
    const T v = value[x];
    if (first) {
      row[x] = v;
      if (kIndices) origin[x] = id;
    } else if (kAverage) {
      row[x] += v;
    } else if (v > row[x] || v != v) {
      row[x] = v;
      if (kIndices) origin[x] = id;
    }
  }
}

// result[j] = combination of row[j stride + k step], k < kernel, for regular windows; best[j] =
// place in the plane of the maximum, counted from column `x0` of row 0.
template <class T, bool kAverage, bool kIndices>
TERCEL_INLINE void combine_columns(Buffers<T>& b, int64_t n, int64_t stride, int64_t kernel,
                                   int64_t step, int64_t width) {
  using L = Lanes<T>;
  using I = typename L::I;
  using V = typename L::V;
  using VI = typename L::VI;
  VI column;
  for (int i = 0; i < L::lanes; ++i) column[i] = static_cast<I>(i * stride);
  for (int64_t j = 0; j < n;
       j += L::lanes, column += L::splat_i(static_cast<I>(L::lanes * stride))) {
    const T* p = b.row + j * stride;
    V best = L::load_strided(p, stride);
    VI from{}, at{};
    if (kIndices) {
      from = L::load_strided_i(b.origin + j * stride, stride);
      at = column;
    }
    for (int64_t k = 1; k < kernel; ++k) {
      const V v = L::load_strided(p + k * step, stride);
      if (kAverage) {
        best += v;
        continue;
      }
      VI better = (VI)(v > best) | (VI)(v != v);
      if (kIndices) {
        const VI f = L::load_strided_i(b.origin + j * stride + k * step, stride);
        better |= (VI)(v == best) & (VI)(f < from);
        from = better ? f : from;
        at = better ? column + L::splat_i(static_cast<I>(k * step)) : at;
      }
      best = better ? v : best;
    }
    L::R::store(b.result + j, best);
    if (kIndices) {  // unsigned: lanes behind n hold anything
      using VU = typename L::VU;
      const VU place = (VU)from * (VU)L::splat_i(static_cast<I>(width)) + (VU)at;
      L::store_i(b.best + j, (VI)place);
    }
  }
}

// The same for arbitrary windows (adaptive): one output at a time.
template <class T, bool kAverage, bool kIndices>
TERCEL_INLINE void combine_windows(Buffers<T>& b, const PoolWindows& w) {
  using I = typename IndexOf<T>::type;
  for (int64_t j = 0; j < w.out[2]; ++j) {
    const int64_t s = w.start[2][j];
    T best = b.row[s];
    I from = kIndices ? b.origin[s] : 0, at = static_cast<I>(s);
    for (int64_t k = 1; k < w.count[2][j]; ++k) {
      const int64_t x = s + k * w.step[2];
      const T v = b.row[x];
      if (kAverage) {
        best += v;
      } else if (v > best || v != v || (kIndices && v == best && b.origin[x] < from)) {
        best = v;
        if (kIndices) {
          from = b.origin[x];
          at = static_cast<I>(x);
        }
      }
    }
    b.result[j] = best;
    if (kIndices) b.best[j] = from * static_cast<I>(w.in[2]) + at;
  }
}

TERCEL_INLINE void put_index(const PoolArgs& a, int64_t at, int64_t value) {
  if (a.index_bytes == 8)
    static_cast<int64_t*>(a.indices)[at] = value;
  else
    static_cast<int32_t*>(a.indices)[at] = static_cast<int32_t>(value);
}

template <class S, class T>
TERCEL_INLINE void store_row(const T* src, S* dst, int64_t n) {
  using V = simd::Vec<T>;
  int64_t i = 0;
  for (; i + V::size <= n; i += V::size) V::load(src + i).store(dst + i);
  if (i < n) V::load_n(src + i, n - i).store_n(dst + i, n - i);
}

}  // namespace
}  // namespace tercel
