// Layer and rms norm kernels, and group norm forward. A row is read from memory once: the passes
// for moments and output (or for the two gradient sums and dx) hit the cache. Threads take whole
// rows, or fixed chunks of very long rows. Parameter gradients: fixed blocks of rows, then the
// blocks in order.
#include "core/parallel.h"
#include "core/streaming.h"
#include "ops/norm/norm_kernels.h"
#include "ops/norm/norm_stats.h"

namespace tercel {
namespace {

// y = (x - mean) * rstd * w + b for n elements, parameters per element
template <class T, bool kW, bool kB>
void apply_elementwise(const T* x, T* y, const acc_t<T>* w, const acc_t<T>* b, acc_t<T> mean,
                       acc_t<T> rstd, int64_t n, int64_t ahead, bool past) {
  using V = Vec<acc_t<T>>;
  const V m(mean), r(rstd);
  for_vectors<V>(n, [&]<bool kFull>(int64_t i, int64_t k) {
    __builtin_prefetch(x + i + ahead);
    V v = (load<kFull, V>(x + i, k) - m) * r;
    if constexpr (kW && kB) {
      v = fma(v, load<kFull, V>(w + i, k), load<kFull, V>(b + i, k));
    } else if constexpr (kW) {
      v = v * load<kFull, V>(w + i, k);
    } else if constexpr (kB) {
      v = v + load<kFull, V>(b + i, k);
    }
    store<kFull>(v, y + i, k, past);
  });
}

// y = (x - mean) * scale + shift for n elements of one channel
template <class T>
void apply_uniform(const T* x, T* y, acc_t<T> mean, acc_t<T> scale, acc_t<T> shift, int64_t n,
                   int64_t ahead, bool past) {
  using V = Vec<acc_t<T>>;
  const V m(mean), s(scale), b(shift);
  for_vectors<V>(n, [&]<bool kFull>(int64_t i, int64_t k) {
    __builtin_prefetch(x + i + ahead, 0, 2);
    store<kFull>(fma(load<kFull, V>(x + i, k) - m, s, b), y + i, k, past);
  });
}

// What is normalised.
template <class T>
TERCEL_INLINE const T* source_of(const RowNormFwdArgs& a) {
  return static_cast<const T*>(a.residual ? a.sum : a.x);
}
// The sums of n elements from `first` on, if there is a residual.
template <class T>
TERCEL_INLINE void add_residual(const RowNormFwdArgs& a, int64_t first, int64_t n) {
  if (!a.residual) return;
  using V = Vec<acc_t<T>>;
  const T *x = static_cast<const T*>(a.x) + first, *r = static_cast<const T*>(a.residual) + first;
  T* sum = static_cast<T*>(a.sum) + first;
  for_vectors<V>(n, [&]<bool kFull>(int64_t i, int64_t k) {
    store<kFull>(load<kFull, V>(x + i, k) + load<kFull, V>(r + i, k), sum + i, k);
  });
}

// Elements [begin, end) of row r; those `ahead` elements further are fetched.
template <class T>
void apply_row(const RowNormFwdArgs& a, int64_t r, int64_t begin, int64_t end, acc_t<T> mean,
               acc_t<T> rstd, int64_t ahead, bool past) {
  using A = acc_t<T>;
  const T* x = source_of<T>(a) + r * a.n;
  T* y = static_cast<T*>(a.y) + r * a.n;
  const int64_t first_channel = (r % a.groups) * (a.n / a.inner);
  const A* w = a.w ? static_cast<const A*>(a.w) + first_channel : nullptr;
  const A* b = a.b ? static_cast<const A*>(a.b) + first_channel : nullptr;
  const int64_t n = end - begin;
  if (!w && !b) {
    apply_elementwise<T, false, false>(x + begin, y + begin, nullptr, nullptr, mean, rstd, n, ahead,
                                       past);
  } else if (a.inner == 1) {
    if (w && b) {
      apply_elementwise<T, true, true>(x + begin, y + begin, w + begin, b + begin, mean, rstd, n,
                                       ahead, past);
    } else if (w) {
      apply_elementwise<T, true, false>(x + begin, y + begin, w + begin, nullptr, mean, rstd, n,
                                        ahead, past);
    } else {
      apply_elementwise<T, false, true>(x + begin, y + begin, nullptr, b + begin, mean, rstd, n,
                                        ahead, past);
    }
  } else {
    for (int64_t i = begin; i < end;) {
      const int64_t c = i / a.inner;
      const int64_t stop = (c + 1) * a.inner < end ? (c + 1) * a.inner : end;
      apply_uniform<T>(x + i, y + i, mean, w ? rstd * w[c] : rstd, b ? b[c] : A(0), stop - i, ahead,
                       past);
      i = stop;
    }
  }
}

template <class A>
TERCEL_INLINE A finish_row(const RowNormFwdArgs& a, int64_t r, double mean, double m2) {
  const double var = m2 / static_cast<double>(a.n);
  const A rstd = static_cast<A>(1.0 / __builtin_sqrt(var + a.eps));
  if (a.mean) static_cast<A*>(a.mean)[r] = static_cast<A>(mean);
  if (a.rstd) static_cast<A*>(a.rstd)[r] = rstd;
  if (a.var) static_cast<A*>(a.var)[r] = static_cast<A>(var);
  return rstd;
}

// Rows [r, r + kRows), which stay in the cache between the passes; those that follow are fetched
// while these are written.
template <class T, int kRows, bool kRms>
TERCEL_INLINE void fwd_rows(const RowNormFwdArgs& a, int64_t r, bool past) {
  using A = acc_t<T>;
  Moments m[kRows];
  add_residual<T>(a, r * a.n, kRows * a.n);
  rows_moments<kRows, !kRms>(source_of<T>(a) + r * a.n, a.n, m);
  A rstd[kRows];
  for (int k = 0; k < kRows; ++k) rstd[k] = finish_row<A>(a, r + k, m[k].mean, m[k].m2);
  for (int k = 0; k < kRows; ++k)
    apply_row<T>(a, r + k, 0, a.n, static_cast<A>(m[k].mean), rstd[k], kRows * a.n, past);
}

template <class T, bool kRms>
void fwd(const RowNormFwdArgs& a) {
  using A = acc_t<T>;
  const T* x = source_of<T>(a);
  const int64_t n = a.n, chunks = row_norm_chunks(n, sizeof(T));
  const int64_t channel_bytes = a.inner * static_cast<int64_t>(sizeof(T));
  const bool past = streams_rows(a.y, a.rows, n * static_cast<int64_t>(sizeof(T))) &&
                    (a.inner == 1 || channel_bytes % 64 == 0);
  if (chunks == 1) {
    parallel_for(a.rows, grain_for(n, past), [&](int64_t begin, int64_t end) {
      int64_t r = begin;
      // Rows taken together wait for their last sums at once. More than 8 KiB of them, often at
      // distances of a power of two, and their outputs do not stay in the L1 cache.
      const int64_t row_bytes = n * static_cast<int64_t>(sizeof(T));
      if (row_bytes <= 2048) {
        for (; r + 4 <= end; r += 4) fwd_rows<T, 4, kRms>(a, r, past);
      }
      if (row_bytes <= 4096) {
        for (; r + 2 <= end; r += 2) fwd_rows<T, 2, kRms>(a, r, past);
      }
      for (; r < end; ++r) fwd_rows<T, 1, kRms>(a, r, past);
      if (past) simd::stream_fence();
    });
    return;
  }
  Moments* part = reinterpret_cast<Moments*>(a.workspace);
  parallel_for(a.rows * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = i / chunks, start = i % chunks * kRowChunk;
      const int64_t len = n - start < kRowChunk ? n - start : kRowChunk;
      add_residual<T>(a, r * n + start, len);
      rows_moments<1, !kRms>(x + r * n + start, len, part + i);
    }
  });
  // Every row's first partial becomes {mean, rstd}.
  for (int64_t r = 0; r < a.rows; ++r) {
    Moments* p = part + r * chunks;
    double total = 0, m2 = 0;
    for (int64_t k = 0; k < chunks; ++k) {
      const int64_t len = k + 1 < chunks ? kRowChunk : n - k * kRowChunk;
      total += p[k].mean * static_cast<double>(len);
    }
    const double mean = total / static_cast<double>(n);
    for (int64_t k = 0; k < chunks; ++k) {
      const int64_t len = k + 1 < chunks ? kRowChunk : n - k * kRowChunk;
      const double d = p[k].mean - mean;
      m2 += p[k].m2 + static_cast<double>(len) * d * d;
    }
    p[0] = {mean, static_cast<double>(finish_row<A>(a, r, mean, m2))};
  }
  parallel_for(a.rows * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = i / chunks, start = i % chunks * kRowChunk;
      const Moments p = part[r * chunks];
      apply_row<T>(a, r, start, n - start < kRowChunk ? n : start + kRowChunk,
                   static_cast<A>(p.mean), static_cast<A>(p.m2), kRowChunk, past);
    }
    if (past) simd::stream_fence();
  });
}

void row_norm_fwd(const RowNormFwdArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, a.rms ? "rms_norm" : "layer_norm",
                       [&]<class T>() { a.rms ? fwd<T, true>(a) : fwd<T, false>(a); });
}

// ---- layer norm / rms norm backward
// ----------------------------------------------------------------

template <class T>
struct BwdPointers {
  using A = acc_t<T>;
  const T *x, *dy;
  const A *w, *mean, *rstd;
  T* dx;
  int64_t n;
  bool past;  // dx goes past the caches
};

// sum dy w and rstd * sum dy w (x - mean) of a row, over n
template <class T, bool kRms>
TERCEL_OUTLINE void row_means(const BwdPointers<T>& p, int64_t r, acc_t<T>* c1, acc_t<T>* c2) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const T *x = p.x + r * p.n, *dy = p.dy + r * p.n;
  const V mean(kRms ? A(0) : p.mean[r]);
  double s[2];
  if constexpr (kRms) {
    blocked_sums<A, 1>(p.n, s + 1, [&]<bool kFull>(int64_t i, int64_t m, V* acc) {
      V g = load<kFull, V>(dy + i, m);
      g = g * load<kFull, V>(p.w + i, m);
      acc[0] = fma(g, load<kFull, V>(x + i, m), acc[0]);
    });
    *c1 = A(0);
  } else {
    blocked_sums<A, 2>(p.n, s, [&]<bool kFull>(int64_t i, int64_t m, V* acc) {
      V g = load<kFull, V>(dy + i, m);  // lanes beyond m are zero, and so are their terms
      g = g * load<kFull, V>(p.w + i, m);
      acc[0] = acc[0] + g;
      V d = load<kFull, V>(x + i, m) - mean;
      if constexpr (!kFull) d = keep_lanes(d, m);
      acc[1] = fma(g, d, acc[1]);
    });
    *c1 = static_cast<A>(s[0] / static_cast<double>(p.n));
  }
  *c2 = static_cast<A>(s[1] * static_cast<double>(p.rstd[r]) / static_cast<double>(p.n));
}

// dx of rows [r, r + kRows), unless null, and their terms added to dw and db, unless null. The two
// tests cost nothing beside the memory traffic, their four combinations half the file.
template <class T, int kRows, bool kRms>
TERCEL_OUTLINE void bwd_rows(const BwdPointers<T>& p, int64_t r, acc_t<T>* dw, acc_t<T>* db) {
  using A = acc_t<T>;
  using V = Vec<A>;
  A c1[kRows] = {}, c2[kRows] = {};
  T* const dx = p.dx;
  if (dx) {
    for (int g = 0; g < kRows; ++g) row_means<T, kRms>(p, r + g, &c1[g], &c2[g]);
  }
  for_vectors<V>(p.n, [&]<bool kFull>(int64_t i, int64_t m) {
    V w(A(1)), aw(A(0)), ab(A(0));
    if (dx) w = load<kFull, V>(p.w + i, m);
    if (dw) {
      aw = load<kFull, V>(dw + i, m);
      if constexpr (!kRms) ab = load<kFull, V>(db + i, m);
    }
#pragma GCC unroll 4
    for (int g = 0; g < kRows; ++g) {
      const int64_t at = (r + g) * p.n + i;
      __builtin_prefetch(p.dy + at + kRows * p.n);  // the rows that follow
      __builtin_prefetch(p.x + at + kRows * p.n);
      const V dy = load<kFull, V>(p.dy + at, m), rstd(p.rstd[r + g]);
      V xhat = load<kFull, V>(p.x + at, m);
      if constexpr (!kRms) xhat = xhat - V(p.mean[r + g]);
      xhat = xhat * rstd;
      if (dx) {
        V t = dy * w;
        if constexpr (!kRms) t = t - V(c1[g]);
        store<kFull>(simd::fnma(xhat, V(c2[g]), t) * rstd, dx + at, m, p.past);
      }
      aw = fma(dy, xhat, aw);
      if constexpr (!kRms) ab = ab + dy;
    }
    if (dw) {
      store<kFull>(aw, dw + i, m);
      if constexpr (!kRms) store<kFull>(ab, db + i, m);
    }
  });
}

template <class T, bool kRms>
void bwd(const RowNormBwdArgs& a) {
  using A = acc_t<T>;
  const BwdPointers<T> p{static_cast<const T*>(a.x),
                         static_cast<const T*>(a.dy),
                         static_cast<const A*>(a.w),
                         static_cast<const A*>(a.mean),
                         static_cast<const A*>(a.rstd),
                         static_cast<T*>(a.dx),
                         a.n,
                         a.dx && streams_rows(a.dx, a.rows, a.n * static_cast<int64_t>(sizeof(T)))};
  const int64_t n = a.n, per = row_norm_block_rows(a.rows), blocks = row_norm_blocks(a.rows);
  A* partial = static_cast<A*>(a.workspace);
  const bool wants_parameters = a.dw || a.db;
  const int64_t at_once = grain_for(n * per, p.past);
  parallel_for(blocks, at_once, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      A *dw = nullptr, *db = nullptr;
      if (wants_parameters) {
        dw = partial + block * 2 * n;
        db = dw + n;
        for (int64_t i = 0; i < 2 * n; ++i) dw[i] = A(0);
      }
      int64_t r = block * per;
      const int64_t stop = r + per < a.rows ? r + per : a.rows;
      // Four rows share the loads and stores of the sums while they fit the cache together.
      if (n <= 16384) {
        for (; r + 4 <= stop; r += 4) bwd_rows<T, 4, kRms>(p, r, dw, db);
      }
      for (; r < stop; ++r) bwd_rows<T, 1, kRms>(p, r, dw, db);
    }
    if (p.past) simd::stream_fence();
  });
  if (!wants_parameters) return;
  using V = Vec<A>;
  A *dw = static_cast<A*>(a.dw), *db = static_cast<A*>(a.db);
  parallel_for(n, 1024, [&](int64_t begin, int64_t end) {
    for (int which = 0; which < (kRms ? 1 : 2); ++which) {
      A* out = which == 0 ? dw : db;
      if (!out) continue;
      for_vectors<V>(end - begin, [&]<bool kFull>(int64_t i, int64_t m) {
        const A* q = partial + which * n + begin + i;
        if constexpr (sizeof(A) == 4) {
          VecD lo(0.0), hi(0.0);
          for (int64_t k = 0; k < blocks; ++k) {
            const V v = load<kFull, V>(q + k * 2 * n, m);
            lo = lo + to_double_lo(v);
            hi = hi + to_double_hi(v);
          }
          store<kFull>(simd::to_float(lo, hi), out + begin + i, m);
        } else {
          V s(A(0));
          for (int64_t k = 0; k < blocks; ++k) s = s + load<kFull, V>(q + k * 2 * n, m);
          store<kFull>(s, out + begin + i, m);
        }
      });
    }
  });
}

void row_norm_bwd(const RowNormBwdArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "layer_norm backward",
                       [&]<class T>() { a.mean ? bwd<T, false>(a) : bwd<T, true>(a); });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const RowNormKernels row_norm_kernels = {row_norm_fwd, row_norm_bwd};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
