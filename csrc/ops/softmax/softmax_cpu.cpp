// Kernels of softmax, log_softmax, their gradients, and logsumexp.
//
// A row goes through the cache three times (maximum, exponentials and their sum, scaling) but is
// read from memory once; along another dim a tile of columns is read twice. Exponentials of 16-bit
// rows are not rounded in between: they wait in a buffer, those of long rows are computed twice.
// Work is split over rows or tiles.
#include "core/streaming.h"
#include "ops/softmax/softmax_kernels.h"
#include "ops/softmax/softmax_rows.h"

namespace tercel {
namespace {

constexpr int64_t kGroupRows = 8;          // at most the lanes of a Vec<double>
constexpr int64_t kGroupElements = 4096;   // of x and of y: the first-level cache
constexpr int64_t kBufferElements = 8192;  // exponentials of 16-bit rows, kept in float32

// Rows that go through each pass one after another: a pass over a short row would otherwise end in
// waiting for its sum.
TERCEL_INLINE int64_t group_rows(int64_t n) {
  const int64_t rows = n > 0 ? kGroupElements / n : 1;
  return rows < 1 ? 1 : rows < kGroupRows ? rows : kGroupRows;
}
template <class T>
void softmax_rows(const T* x, T* y, int64_t rows, int64_t n, bool log) {
  using V = ComputeVec<T>;
  using S = ComputeScalar<T>;
  alignas(64) S m[kGroupRows], total[V::size] = {};
  for (int64_t r = 0; r < rows; ++r) m[r] = row_max(x + r * n, n);
  const auto e = [&](int64_t r, int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
    return exp_of(load_lanes<V>(x + r * n + i, lanes) - V(m[r]));
  };
  const auto sums = [&](auto keep) TERCEL_LAMBDA_INLINE {
    for (int64_t r = 0; r < rows; ++r) {
      total[r] = row_sum<V>(n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
        const V v = e(r, i, lanes);
        keep(v, r * n + i, lanes);
        return v;
      });
    }
  };
  const auto each = [&](auto value) TERCEL_LAMBDA_INLINE {
    for (int64_t r = 0; r < rows; ++r) {
      row_each<V>(n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
        store_lanes(value(r, i, lanes), y + r * n + i, lanes);
      });
    }
  };
  if (log) {
    sums([&](V, int64_t i, int64_t) TERCEL_LAMBDA_INLINE { __builtin_prefetch(y + i, 1); });
    simd::log(V::load(total)).store(total);
    return each([&](int64_t r, int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
      return (load_lanes<V>(x + r * n + i, lanes) - V(m[r])) - V(total[r]);
    });
  }
  const auto invert = [&]() TERCEL_LAMBDA_INLINE { (V(1) / V::load(total)).store(total); };
  const auto scale_from = [&](const S* buffer) TERCEL_LAMBDA_INLINE {
    invert();
    each([&](int64_t r, int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
      return load_lanes<V>(buffer + r * n + i, lanes) * V(total[r]);
    });
  };
  const auto keep_in = [](S* buffer) TERCEL_LAMBDA_INLINE {
    return [buffer](V v, int64_t i, int64_t lanes)
               TERCEL_LAMBDA_INLINE { store_lanes(v, buffer + i, lanes); };
  };
  if constexpr (std::is_same_v<T, S>) {
    sums(keep_in(y));
    scale_from(y);
  } else if (rows * n <= kBufferElements) {
    alignas(64) S buffer[kBufferElements];
    sums(keep_in(buffer));
    scale_from(buffer);
  } else {
    sums([](V, int64_t, int64_t) TERCEL_LAMBDA_INLINE {});
    invert();
    each([&](int64_t r, int64_t i, int64_t lanes)
             TERCEL_LAMBDA_INLINE { return e(r, i, lanes) * V(total[r]); });
  }
}

template <class T>
void softmax_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t width, bool log) {
  using V = ComputeVec<T>;
  using S = ComputeScalar<T>;
  ColumnStats<S> s;
  column_stats(x, n, stride, width, &s);
  for (int64_t c = 0; c < width; c += V::size) {
    const V m = V::load(s.max + c);
    // An infinite maximum makes the whole column NaN, as it does a row.
    const V total = select(m - m == V(0), V::load(s.sum + c), V(static_cast<S>(NAN)));
    (log ? simd::log(total) : V(1) / total).store(s.sum + c);
  }
  for (int64_t r = 0; r < n; ++r) {
    row_each<V>(width, [&](int64_t c, int64_t lanes) TERCEL_LAMBDA_INLINE {
      const V v = load_lanes<V>(x + r * stride + c, lanes) - V::load(s.max + c);
      const V scale = V::load(s.sum + c);
      store_lanes(log ? v - scale : exp_of(v) * scale, y + r * stride + c, lanes);
    });
  }
}

template <class T>
void softmax_typed(const SoftmaxArgs& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  if (a.inner == 1) {
    parallel_for(a.outer, softmax_grain(a.n), [&](int64_t begin, int64_t end) {
      const int64_t group = group_rows(a.n);
      for (int64_t o = begin; o < end; o += group) {
        softmax_rows(x + o * a.n, y + o * a.n, group < end - o ? group : end - o, a.n, a.log);
      }
    });
    return;
  }
  const int64_t width = tile_width(a.inner), tiles = (a.inner + width - 1) / width;
  parallel_for(a.outer * tiles, softmax_grain(a.n * width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t c = t % tiles * width, offset = t / tiles * a.n * a.inner + c;
      const int64_t w = width < a.inner - c ? width : a.inner - c;
      softmax_columns(x + offset, y + offset, a.n, a.inner, w, a.log);
    }
  });
}

template <class T>
void softmax_bwd_row(const T* y, const T* g, T* dx, int64_t n, bool log, bool past) {
  using V = ComputeVec<T>;
  if (log) {
    const V total(row_sum<V>(n, [&](int64_t i, int64_t lanes)
                                    TERCEL_LAMBDA_INLINE { return load_lanes<V>(g + i, lanes); }));
    row_each<V>(n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
      const V p = exp_of(load_lanes<V>(y + i, lanes));
      store_lanes(fnma(p, total, load_lanes<V>(g + i, lanes)), dx + i, lanes, past);
    });
  } else {
    const V dot(row_sum<V>(n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
      return load_lanes<V>(g + i, lanes) * load_lanes<V>(y + i, lanes);
    }));
    row_each<V>(n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
      store_lanes((load_lanes<V>(g + i, lanes) - dot) * load_lanes<V>(y + i, lanes), dx + i, lanes,
                  past);
    });
  }
}

template <class T>
void softmax_bwd_columns(const T* y, const T* g, T* dx, int64_t n, int64_t stride, int64_t width,
                         bool log) {
  using V = ComputeVec<T>;
  using S = ComputeScalar<T>;
  alignas(64) S total[kTile];
  column_sum<V>(n, width, total, [&](int64_t r, int64_t c, int64_t lanes) TERCEL_LAMBDA_INLINE {
    const V v = load_lanes<V>(g + r * stride + c, lanes);
    return log ? v : v * load_lanes<V>(y + r * stride + c, lanes);
  });
  for (int64_t r = 0; r < n; ++r) {
    row_each<V>(width, [&](int64_t c, int64_t lanes) TERCEL_LAMBDA_INLINE {
      const int64_t i = r * stride + c;
      const V v = load_lanes<V>(g + i, lanes), p = load_lanes<V>(y + i, lanes),
              t = V::load(total + c);
      store_lanes(log ? fnma(exp_of(p), t, v) : (v - t) * p, dx + i, lanes);
    });
  }
}

template <class T>
void softmax_bwd_typed(const SoftmaxBwdArgs& a) {
  const T* y = static_cast<const T*>(a.y);
  const T* g = static_cast<const T*>(a.g);
  T* dx = static_cast<T*>(a.dx);
  if (a.inner == 1) {
    const bool past = streams_rows(dx, a.outer, a.n * static_cast<int64_t>(sizeof(T)));
    parallel_for(a.outer, softmax_grain(a.n) * (past ? 16 : 1), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        softmax_bwd_row(y + o * a.n, g + o * a.n, dx + o * a.n, a.n, a.log, past);
      }
      if (past) simd::stream_fence();
    });
    return;
  }
  const int64_t width = tile_width(a.inner), tiles = (a.inner + width - 1) / width;
  parallel_for(a.outer * tiles, softmax_grain(a.n * width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t c = t % tiles * width, offset = t / tiles * a.n * a.inner + c;
      const int64_t w = width < a.inner - c ? width : a.inner - c;
      softmax_bwd_columns(y + offset, g + offset, dx + offset, a.n, a.inner, w, a.log);
    }
  });
}

template <class T>
void logsumexp_typed(const LogSumExpArgs& a) {
  using S = ComputeScalar<T>;
  const T* x = static_cast<const T*>(a.x);
  // The result has the input's dtype or the accumulation dtype.
  const auto store = [&](int64_t i, S v) {
    if (a.out == a.dtype)
      static_cast<T*>(a.lse)[i] = T(v);
    else
      static_cast<S*>(a.lse)[i] = v;
  };
  if (a.inner == 1) {
    parallel_for(a.outer, softmax_grain(a.n), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const LogSum<S> s = row_logsumexp(x + o * a.n, a.n);
        store(o, s.shift + s.log_total);
      }
    });
    return;
  }
  const int64_t width = tile_width(a.inner), tiles = (a.inner + width - 1) / width;
  parallel_for(a.outer * tiles, softmax_grain(a.n * width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t c = t % tiles * width, o = t / tiles;
      const int64_t w = width < a.inner - c ? width : a.inner - c;
      alignas(64) S shift[kTile], log_total[kTile];
      column_logsumexp(x + o * a.n * a.inner + c, a.n, a.inner, w, shift, log_total);
      for (int64_t i = 0; i < w; ++i) store(o * a.inner + c + i, shift[i] + log_total[i]);
    }
  });
}

#define TERCEL_BY_DTYPE(dtype, fn, args) \
  switch (dtype) {                       \
    case DType::f64:                     \
      return fn<double>(args);           \
    case DType::f16:                     \
      return fn<f16>(args);              \
    case DType::bf16:                    \
      return fn<bf16>(args);             \
    default:                             \
      return fn<float>(args);            \
  }
void softmax(const SoftmaxArgs& a) { TERCEL_BY_DTYPE(a.dtype, softmax_typed, a) }
void softmax_bwd(const SoftmaxBwdArgs& a) { TERCEL_BY_DTYPE(a.dtype, softmax_bwd_typed, a) }
void logsumexp(const LogSumExpArgs& a) { TERCEL_BY_DTYPE(a.dtype, logsumexp_typed, a) }

}  // namespace

namespace TERCEL_LEVEL {
extern const SoftmaxKernels softmax_kernels = {softmax, softmax_bwd, logsumexp};
}
}  // namespace tercel
