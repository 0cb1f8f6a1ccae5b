// Kernels of cumsum, cumprod, logcumsumexp, linear recurrences, cummax and cummin.
//
// Strictly sequential along the dim, in float64 (int64 for integers), so the result does not depend
// on layout or threads. Rows: four at a time, since one chain of dependent additions is latency
// bound. Columns: a tile of running values. Work is split over rows or tiles.
#include <math.h>

#include "ops/reduce/reduce_iter.h"

namespace tercel {
namespace {

template <class A>
struct SumStep {
  A total = 0;
  TERCEL_INLINE A operator()(A x, A) {
    if constexpr (std::is_same_v<A, int64_t>)
      return total = (Int(total) + Int(x)).v;
    else
      return total = total + x;
  }
};
template <class A>
struct ProdStep {
  A total = 1;
  TERCEL_INLINE A operator()(A x, A) {
    if constexpr (std::is_same_v<A, int64_t>)
      return total = (Int(total) * Int(x)).v;
    else
      return total = total * x;
  }
};
template <class A>
struct LinearStep {
  A y = 0;
  TERCEL_INLINE A operator()(A x, A a) {
    if constexpr (std::is_same_v<A, int64_t>)
      return y = (Int(x) + Int(a) * Int(y)).v;
    else
      return y = x + a * y;
  }
};
// log(s) + m with s = sum exp(x - m), m the maximum so far.
struct LogSumExpStep {
  double m = -INFINITY, s = 0;
  TERCEL_INLINE double operator()(double x, double) {
    if (x == m) {
      s += 1;
    } else if (x < m) {
      s += ::exp(x - m);
    } else {  // a new maximum, or NaN
      s = s * ::exp(m - x) + 1;
      m = x;
    }
    return m - m == 0 ? m + ::log(s) : m;
  }
};

constexpr int64_t kChunk = 256;
constexpr int kRows = 4;

template <class Step, class A, int R>
void scan_rows(const ScanArgs& a, LoadFn<A> load, StoreFn<A> store, int64_t o) {
  const int64_t in_size = item_size(a.in), out_size = item_size(a.out);
  Step step[R];
  alignas(64) A x[R][kChunk];
  alignas(64) A factor[R][kChunk];
  for (int64_t done = 0; done < a.n; done += kChunk) {
    const int64_t n = min64(kChunk, a.n - done);
    const int64_t first = a.reverse ? a.n - done - n : done;
    for (int r = 0; r < R; ++r) {
      const int64_t at = (o + r) * a.n + first;
      load(static_cast<const char*>(a.x) + at * in_size, 1, n, x[r]);
      if (a.a) load(static_cast<const char*>(a.a) + at * in_size, 1, n, factor[r]);
    }
    if (a.reverse) {
      for (int64_t i = n - 1; i >= 0; --i) {
        for (int r = 0; r < R; ++r) x[r][i] = step[r](x[r][i], factor[r][i]);
      }
    } else {
      for (int64_t i = 0; i < n; ++i) {
        for (int r = 0; r < R; ++r) x[r][i] = step[r](x[r][i], factor[r][i]);
      }
    }
    for (int r = 0; r < R; ++r)
      store(static_cast<char*>(a.y) + ((o + r) * a.n + first) * out_size, x[r], n);
  }
}

template <class Step, class A>
void scan_columns(const ScanArgs& a, LoadFn<A> load, StoreFn<A> store, int64_t o, int64_t c,
                  int64_t width) {
  const int64_t in_size = item_size(a.in), out_size = item_size(a.out);
  Step step[kChunk];
  alignas(64) A x[kChunk];
  alignas(64) A factor[kChunk] = {};
  for (int64_t k = 0; k < a.n; ++k) {
    const int64_t r = a.reverse ? a.n - 1 - k : k;
    const int64_t at = (o * a.n + r) * a.inner + c;
    load(static_cast<const char*>(a.x) + at * in_size, 1, width, x);
    if (a.a) load(static_cast<const char*>(a.a) + at * in_size, 1, width, factor);
    for (int64_t i = 0; i < width; ++i) x[i] = step[i](x[i], factor[i]);
    store(static_cast<char*>(a.y) + at * out_size, x, width);
  }
}

template <class Step, class A>
void scan_step(const ScanArgs& a) {
  const LoadFn<A> load = load_fn<A>(a.in, false);
  const StoreFn<A> store = store_fn<A>(a.out);
  if (a.inner == 1) {
    const int64_t groups = (a.outer + kRows - 1) / kRows;
    parallel_for(groups, grain_of(a.n * kRows), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t o = t * kRows;
        if (o + kRows <= a.outer) {
          scan_rows<Step, A, kRows>(a, load, store, o);
        } else {
          for (int64_t r = o; r < a.outer; ++r) scan_rows<Step, A, 1>(a, load, store, r);
        }
      }
    });
    return;
  }
  const int64_t width = min64(kChunk, a.inner), tiles = (a.inner + width - 1) / width;
  parallel_for(a.outer * tiles, grain_of(a.n * width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t c = t % tiles * width;
      scan_columns<Step, A>(a, load, store, t / tiles, c, min64(width, a.inner - c));
    }
  });
}

template <class A>
void scan_acc(const ScanArgs& a) {
  switch (a.op) {
    case ScanOp::sum:
      return scan_step<SumStep<A>, A>(a);
    case ScanOp::prod:
      return scan_step<ProdStep<A>, A>(a);
    case ScanOp::linear:
      return scan_step<LinearStep<A>, A>(a);
    case ScanOp::logsumexp:
      if constexpr (std::is_same_v<A, double>) return scan_step<LogSumExpStep, A>(a);
  }
}

void scan(const ScanArgs& a) {
  if (a.out <= DType::f8e5m2)
    scan_acc<double>(a);
  else
    scan_acc<int64_t>(a);
}

template <class A>
void cum_extreme_acc(const CumExtremeArgs& a) {
  const LoadFn<A> load = load_fn<A>(a.in, false);
  const StoreFn<A> store = store_fn<A>(a.in);
  const int64_t size = item_size(a.in);
  // One row is a tile of width 1.
  const int64_t width = min64(kChunk, a.inner), tiles = (a.inner + width - 1) / width;
  parallel_for(a.outer * tiles, grain_of(a.n * width), [&](int64_t begin, int64_t end) {
    alignas(64) A x[kChunk];
    alignas(64) A best[kChunk];
    int64_t index[kChunk];
    for (int64_t t = begin; t < end; ++t) {
      const int64_t c = t % tiles * width, o = t / tiles, w = min64(width, a.inner - c);
      for (int64_t r = 0; r < a.n; ++r) {
        const int64_t at = (o * a.n + r) * a.inner + c;
        load(static_cast<const char*>(a.x) + at * size, 1, w, x);
        for (int64_t i = 0; i < w; ++i) {
          const bool beats = a.largest ? x[i] >= best[i] : x[i] <= best[i];
          if (r == 0 || x[i] != x[i] || (best[i] == best[i] && beats)) {
            best[i] = x[i];
            index[i] = r;
          }
        }
        store(static_cast<char*>(a.value) + at * size, best, w);
        for (int64_t i = 0; i < w; ++i) a.index[at + i] = index[i];
      }
    }
  });
}

void cum_extreme(const CumExtremeArgs& a) {
  if (a.in == DType::f64)
    cum_extreme_acc<double>(a);
  else if (a.in <= DType::f8e5m2)
    cum_extreme_acc<float>(a);
  else
    cum_extreme_acc<int64_t>(a);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const ScanKernels scan_kernels = {scan, cum_extreme};
}
}  // namespace tercel
