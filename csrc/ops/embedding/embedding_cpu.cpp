// Embedding kernels: row gathers, sums of rows per destination, bags.
#include <math.h>

#include "core/parallel.h"
#include "ops/embedding/embedding_kernels.h"
#include "simd/rows.h"

namespace tercel {
namespace {

TERCEL_INLINE int64_t grain_for(int64_t elements_per_item) {
  const int64_t g = 16384 / (elements_per_item < 1 ? 1 : elements_per_item);
  return g < 1 ? 1 : g;
}

void gather_rows(const GatherRowsArgs& a) {
  const char* table = static_cast<const char*>(a.table);
  char* out = static_cast<char*>(a.out);
  parallel_for(a.n, grain_for(a.row_bytes / 4), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (i + 4 < end) {  // the next rows are far apart: start fetching
        const char* next = table + a.idx[i + 4] * a.row_bytes;
        for (int64_t b = 0; b < a.row_bytes && b < 512; b += 64) __builtin_prefetch(next + b);
      }
      __builtin_memcpy(out + i * a.row_bytes, table + a.idx[i] * a.row_bytes,
                       static_cast<size_t>(a.row_bytes));
    }
  });
}

// Columns summed at once: kept in registers while the rows pass by.
constexpr int kTile = 4;
// float32 terms are added in runs of this many before they join a double sum.
constexpr int64_t kRun = 64;

// Sum of terms(k) for k in [0, count) over vectors of columns; term.operator()<full>(k, offset,
// lanes, acc).
template <class A, int kVectors, bool kFull, class F>
TERCEL_INLINE void sum_terms(int64_t count, int64_t lanes, Vec<A>* out, F&& term) {
  using V = Vec<A>;
  V acc[kVectors];
  for (int u = 0; u < kVectors; ++u) acc[u] = V(A(0));
  if (count <= kRun || sizeof(A) == 8) {
    for (int64_t k = 0; k < count; ++k) {
      for (int u = 0; u < kVectors; ++u)
        acc[u] = term.template operator()<kFull>(k, u * V::size, lanes, acc[u]);
    }
    for (int u = 0; u < kVectors; ++u) out[u] = acc[u];
    return;
  }
  if constexpr (sizeof(A) == 4) {
    VecD lo[kVectors], hi[kVectors];
    for (int u = 0; u < kVectors; ++u) lo[u] = hi[u] = VecD(0.0);
    for (int64_t first = 0; first < count; first += kRun) {
      const int64_t stop = count - first < kRun ? count : first + kRun;
      for (int u = 0; u < kVectors; ++u) acc[u] = V(A(0));
      for (int64_t k = first; k < stop; ++k) {
        for (int u = 0; u < kVectors; ++u)
          acc[u] = term.template operator()<kFull>(k, u * V::size, lanes, acc[u]);
      }
      for (int u = 0; u < kVectors; ++u) {
        lo[u] = lo[u] + to_double_lo(acc[u]);
        hi[u] = hi[u] + to_double_hi(acc[u]);
      }
    }
    for (int u = 0; u < kVectors; ++u) out[u] = simd::to_float(lo[u], hi[u]);
  }
}

// f.operator()<vectors, full>(column, lanes) over the columns of a row
template <class V, class F>
TERCEL_INLINE void for_tiles(int64_t dim, F&& f) {
  int64_t j = 0;
  for (; j + kTile * V::size <= dim; j += kTile * V::size) {
    f.template operator()<kTile, true>(j, static_cast<int64_t>(V::size));
  }
  for (; j + V::size <= dim; j += V::size)
    f.template operator()<1, true>(j, static_cast<int64_t>(V::size));
  if (j < dim) f.template operator()<1, false>(j, dim - j);
}

template <class T>
void sum_row(const RowSumsArgs& a, int64_t v) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const T* src = static_cast<const T*>(a.src);
  const A* scale = static_cast<const A*>(a.scale);
  const int64_t* order = a.order + a.start[v];
  const int64_t count = a.start[v + 1] - a.start[v];
  T* out = static_cast<T*>(a.out) + v * a.dim;
  const V factor(a.by_count ? A(1) / static_cast<A>(count) : A(1));
  for_tiles<V>(a.dim, [&]<int kN, bool kFull>(int64_t j, int64_t lanes) {
    V s[kN];
    sum_terms<A, kN, kFull>(
        count, lanes, s, [&]<bool kF>(int64_t k, int64_t offset, int64_t m, const V& acc) -> V {
          const int64_t at = order[k];
          const V x = load<kF, V>(src + (a.source ? a.source[at] : at) * a.dim + j + offset, m);
          return scale ? fma(x, V(scale[at]), acc) : acc + x;
        });
    for (int u = 0; u < kN; ++u)
      store<kFull>(a.by_count ? s[u] * factor : s[u], out + j + u * V::size, lanes);
  });
}

void row_sums(const RowSumsArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "embedding backward", [&]<class T>() {
    parallel_for(a.rows, grain_for(a.dim), [&](int64_t begin, int64_t end) {
      for (int64_t v = begin; v < end; ++v) {
        if (v == a.skip || a.start[v] == a.start[v + 1]) {
          __builtin_memset(static_cast<T*>(a.out) + v * a.dim, 0,
                           static_cast<size_t>(a.dim) * sizeof(T));
        } else {
          sum_row<T>(a, v);
        }
      }
    });
  });
}

template <class T, bool kScale>
void sum_bag(const BagArgs& a, int64_t b) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const T* table = static_cast<const T*>(a.table);
  const A* scale = kScale ? static_cast<const A*>(a.scale) + a.start[b] : nullptr;
  const int64_t* idx = a.idx + a.start[b];
  const int64_t count = a.start[b + 1] - a.start[b];
  int64_t used = count;
  if (a.skip >= 0) {
    for (int64_t k = 0; k < count; ++k) used -= idx[k] == a.skip;
  }
  // As many rows further on are fetched meanwhile: the next bag's, if it is as large.
  const bool more = a.start[a.bags] - a.start[b] >= 2 * count;
  const int64_t* next = more ? idx + count : idx;
  T* out = static_cast<T*>(a.out) + b * a.dim;
  const V divisor(static_cast<A>(used < 1 ? 1 : used));
  for_tiles<V>(a.dim, [&]<int kN, bool kFull>(int64_t j, int64_t lanes) {
    V s[kN];
    sum_terms<A, kN, kFull>(count, lanes, s,
                            [&]<bool kF>(int64_t k, int64_t offset, int64_t m, const V& acc) -> V {
                              __builtin_prefetch(table + next[k] * a.dim + j + offset);
                              if (idx[k] == a.skip) return acc;
                              const V x = load<kF, V>(table + idx[k] * a.dim + j + offset, m);
                              if constexpr (kScale) return fma(x, V(scale[k]), acc);
                              return acc + x;
                            });
    for (int u = 0; u < kN; ++u) {
      store<kFull>(a.mode == BagMode::mean ? s[u] / divisor : s[u], out + j + u * V::size, lanes);
    }
  });
}

template <class T>
void max_bag(const BagArgs& a, int64_t b) {
  const T* table = static_cast<const T*>(a.table);
  T* out = static_cast<T*>(a.out) + b * a.dim;
  for (int64_t d = 0; d < a.dim; ++d) {
    acc_t<T> best = 0;
    int64_t row = -1;
    for (int64_t k = a.start[b]; k < a.start[b + 1]; ++k) {
      if (a.idx[k] == a.skip) continue;
      const acc_t<T> x = static_cast<acc_t<T>>(table[a.idx[k] * a.dim + d]);
      if (row < 0 || x > best || (x != x && best == best)) {
        best = x;
        row = a.idx[k];
      }
    }
    out[d] = static_cast<T>(best);
    if (a.argmax) a.argmax[b * a.dim + d] = row;
  }
}

void bag(const BagArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "embedding_bag", [&]<class T>() {
    const int64_t average = a.bags > 0 ? (a.start[a.bags] - a.start[0]) / a.bags + 1 : 1;
    parallel_for(a.bags, grain_for(a.dim * average), [&](int64_t begin, int64_t end) {
      const auto one = a.mode == BagMode::max ? max_bag<T>
                       : a.scale              ? sum_bag<T, true>
                                              : sum_bag<T, false>;
      for (int64_t b = begin; b < end; ++b) one(a, b);
    });
  });
}

void row_dots(const RowDotsArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "embedding_bag backward", [&]<class T>() {
    using A = acc_t<T>;
    using V = Vec<A>;
    parallel_for(a.n, grain_for(a.dim), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        const T *x = static_cast<const T*>(a.a) + a.ia[k] * a.dim,
                *y = static_cast<const T*>(a.b) + a.ib[k] * a.dim;
        double s[1] = {0};
        if (a.ib[k] != a.skip) {
          blocked_sums<A, 1>(a.dim, s, [&]<bool kFull>(int64_t i, int64_t m, V* acc) {
            acc[0] = fma(load<kFull, V>(x + i, m), load<kFull, V>(y + i, m), acc[0]);
          });
        }
        static_cast<A*>(a.out)[k] = static_cast<A>(s[0]);
      }
    });
  });
}

template <class T>
double row_norm(const T* x, int64_t n, double p) {
  double s = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double v = __builtin_fabs(static_cast<double>(static_cast<acc_t<T>>(x[i])));
    if (p == 2.0) {
      s += v * v;
    } else if (p > 1.7e308) {
      s = v > s || v != v ? v : s;
    } else {
      s += p == 1.0 ? v : pow(v, p);
    }
  }
  return p == 2.0 ? __builtin_sqrt(s) : p == 1.0 || p > 1.7e308 ? s : pow(s, 1.0 / p);
}

void renorm(const RenormArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "embedding", [&]<class T>() {
    parallel_for(a.count, grain_for(a.dim), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        T* x = static_cast<T*>(a.table) + a.rows[k] * a.dim;
        const double norm = row_norm(x, a.dim, a.p);
        if (!(norm > a.max_norm)) continue;
        const acc_t<T> factor = static_cast<acc_t<T>>(a.max_norm / (norm + 1e-7));
        for (int64_t i = 0; i < a.dim; ++i)
          x[i] = static_cast<T>(static_cast<acc_t<T>>(x[i]) * factor);
      }
    });
  });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const EmbeddingKernels embedding_kernels = {gather_rows, row_sums, bag, row_dots, renorm};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
