// Pooling, separable: the rows of a window are first combined into one row buffer (vector axis x,
// whatever the stride), then the buffer is combined along x with strided vector loads. Maxima carry
// the row they come from; ties go to the first element in memory order and NaN wins, as in PyTorch.
// Sums run over rows, then columns, in float32 or better. Work is split over planes, so nothing
// depends on the threads.
#include "core/parallel.h"
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
    if (kIndices) L::store_i(b.best + j, from * L::splat_i(static_cast<I>(width)) + at);
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

// Columns [o0, o1) of one output row.
template <class S, class T, bool kAverage, bool kIndices>
void pool_row(const PoolArgs& a, const S* plane, int64_t oz, int64_t oy, int64_t o0, int64_t o1,
              S* y, int64_t y_at, Buffers<T>& b) {
  using I = typename IndexOf<T>::type;
  const PoolWindows& w = a.windows;
  const int64_t extent = (w.kernel - 1) * w.step[2] + 1;
  // columns [c0, c1) of the input, of which [v0, v1) exist
  const int64_t c0 = w.regular ? o0 * w.stride - w.pad : 0;
  const int64_t c1 = w.regular ? (o1 - 1) * w.stride - w.pad + extent : w.in[2];
  const int64_t v0 = c0 < 0 ? 0 : c0, v1 = c1 > w.in[2] ? w.in[2] : c1;
  const T outside = kAverage ? static_cast<T>(0) : -static_cast<T>(__builtin_inff());
  for (int64_t x = c0; x < v0; ++x) {
    b.row[x - c0] = outside;
    if (kIndices) b.origin[x - c0] = static_cast<I>(INT32_MAX);
  }
  for (int64_t x = v1 > c0 ? v1 : c0; x < c1; ++x) {
    b.row[x - c0] = outside;
    if (kIndices) b.origin[x - c0] = static_cast<I>(INT32_MAX);
  }
  bool first = true;
  for (int64_t i = 0; i < w.count[0][oz]; ++i)
    for (int64_t j = 0; j < w.count[1][oy]; ++j) {
      const int64_t id =
          (w.start[0][oz] + i * w.step[0]) * w.in[1] + w.start[1][oy] + j * w.step[1];
      const T* value = as_compute<S, T>(plane + id * w.in[2] + v0, v1 - v0, b.loaded);
      add_row<T, kAverage, kIndices>(b.row + (v0 - c0), b.origin + (v0 - c0), value, v1 - v0,
                                     static_cast<I>(id), first);
      first = false;
    }
  const int64_t n = o1 - o0;
  if (w.regular)
    combine_columns<T, kAverage, kIndices>(b, n, w.stride, w.kernel, w.step[2], w.in[2]);
  else
    combine_windows<T, kAverage, kIndices>(b, w);
  if (kAverage) {
    const T rows = static_cast<T>(w.divisor[0][oz] * w.divisor[1][oy]);
    if (a.divisor_override != 0) {
      const T d = static_cast<T>(a.divisor_override);
      for (int64_t j = 0; j < n; ++j) b.result[j] /= d;
    } else {
      for (int64_t j = 0; j < n; ++j) b.result[j] /= rows * static_cast<T>(w.divisor[2][o0 + j]);
    }
  }
  store_row(b.result, y + y_at, n);
  if (kIndices) {
    const int64_t shift = w.regular ? c0 : 0;
    const int64_t base = (y - static_cast<S*>(a.y)) + y_at;
    if (a.index_bytes == 4) {
      int32_t* d = static_cast<int32_t*>(a.indices) + base;
      for (int64_t j = 0; j < n; ++j) d[j] = static_cast<int32_t>(b.best[j] + shift);
    } else {
      int64_t* d = static_cast<int64_t*>(a.indices) + base;
      for (int64_t j = 0; j < n; ++j) d[j] = b.best[j] + shift;
    }
  }
}

// Any window, element by element: windows wider than the buffer, empty windows, planes beyond 2^31
// elements.
template <class S, class T, bool kAverage>
void pool_plane_plain(const PoolArgs& a, const S* x, S* y, int64_t p) {
  const PoolWindows& w = a.windows;
  const int64_t out = w.out[0] * w.out[1] * w.out[2];
  int64_t at = 0;
  for (int64_t oz = 0; oz < w.out[0]; ++oz)
    for (int64_t oy = 0; oy < w.out[1]; ++oy)
      for (int64_t ox = 0; ox < w.out[2]; ++ox, ++at) {
        double sum = 0;
        T best = -static_cast<T>(__builtin_inff());
        int64_t best_at = (w.start[0][oz] * w.in[1] + w.start[1][oy]) * w.in[2] + w.start[2][ox];
        for (int64_t i = 0; i < w.count[0][oz]; ++i)
          for (int64_t j = 0; j < w.count[1][oy]; ++j)
            for (int64_t k = 0; k < w.count[2][ox]; ++k) {
              const int64_t e =
                  ((w.start[0][oz] + i * w.step[0]) * w.in[1] + w.start[1][oy] + j * w.step[1]) *
                      w.in[2] +
                  w.start[2][ox] + k * w.step[2];
              const T v = static_cast<T>(x[e]);
              if (kAverage) {
                sum += static_cast<double>(v);
              } else if (v > best || v != v) {
                best = v;
                best_at = e;
              }
            }
        if (kAverage) {
          const double d =
              a.divisor_override != 0
                  ? a.divisor_override
                  : static_cast<double>(w.divisor[0][oz] * w.divisor[1][oy] * w.divisor[2][ox]);
          y[at] = static_cast<S>(static_cast<T>(sum / d));
        } else {
          y[at] = static_cast<S>(best);
          if (a.indices) put_index(a, p * out + at, best_at);
        }
      }
}

// True if the row-buffer path applies; `columns` outputs fit one buffer.
bool fits_buffer(const PoolWindows& w, int64_t* columns) {
  if (w.in[0] * w.in[1] * w.in[2] >= INT32_MAX) return false;
  for (int d = 0; d < 3; ++d)
    for (int64_t o = 0; o < w.out[d]; ++o)
      if (w.count[d][o] == 0) return false;
  if (!w.regular) {
    *columns = w.out[2];
    return w.in[2] <= kSpan && w.out[2] <= kSpan;
  }
  const int64_t extent = (w.kernel - 1) * w.step[2] + 1;
  if (extent > kSpan / 2 || w.stride > 32) return false;
  // the last vector of outputs may read 15 strides behind the span: the margin, for strides to 2
  *columns = (kSpan - extent) / w.stride - (w.stride > 2 ? 15 : 0);
  return true;
}

template <class S, class T, bool kAverage, bool kIndices>
void pool_planes(const PoolArgs& a) {
  const PoolWindows& w = a.windows;
  const int64_t in = w.in[0] * w.in[1] * w.in[2], out = w.out[0] * w.out[1] * w.out[2];
  int64_t columns = 0;
  const bool fast = fits_buffer(w, &columns);
  parallel_for(a.planes, 1 + 16384 / (in + out + 1), [&](int64_t p0, int64_t p1) {
    Buffers<T> b;
    for (int64_t p = p0; p < p1; ++p) {
      const S* x = static_cast<const S*>(a.x) + p * in;
      S* y = static_cast<S*>(a.y) + p * out;
      if (!fast) {
        pool_plane_plain<S, T, kAverage>(a, x, y, p);
        continue;
      }
      for (int64_t oz = 0; oz < w.out[0]; ++oz)
        for (int64_t oy = 0; oy < w.out[1]; ++oy)
          for (int64_t o0 = 0; o0 < w.out[2]; o0 += columns) {
            const int64_t o1 = o0 + columns < w.out[2] ? o0 + columns : w.out[2];
            pool_row<S, T, kAverage, kIndices>(a, x, oz, oy, o0, o1, y,
                                               (oz * w.out[1] + oy) * w.out[2] + o0, b);
          }
    }
  });
}

template <class S, class T>
void forward_typed(const PoolArgs& a) {
  if (a.average)
    pool_planes<S, T, true, false>(a);
  else if (a.indices)
    pool_planes<S, T, false, true>(a);
  else
    pool_planes<S, T, false, false>(a);
}

void forward(const PoolArgs& a) {
  if (a.dtype == DType::f32)
    forward_typed<float, float>(a);
  else if (a.dtype == DType::f64)
    forward_typed<double, double>(a);
  else if (a.dtype == DType::bf16)
    forward_typed<bf16, float>(a);
  else
    forward_typed<f16, float>(a);
}

// ---- gradients
// -------------------------------------------------------------------------------------

template <class T>
void average_grad_typed(const PoolAverageGradArgs& a) {
  const PoolWindows& w = a.windows;
  const int64_t in = w.in[0] * w.in[1] * w.in[2], out = w.out[0] * w.out[1] * w.out[2];
  const bool buffered = w.in[2] <= kSpan;
  parallel_for(a.planes, 1 + 16384 / (in + out + 1), [&](int64_t p0, int64_t p1) {
    alignas(64) T spread[kSpan];
    for (int64_t p = p0; p < p1; ++p) {
      const T* dy = static_cast<const T*>(a.dy) + p * out;
      T* dx = static_cast<T*>(a.dx) + p * in;
      for (int64_t i = 0; i < in; ++i) dx[i] = 0;
      for (int64_t oz = 0; oz < w.out[0]; ++oz)
        for (int64_t oy = 0; oy < w.out[1]; ++oy, dy += w.out[2]) {
          const T rows = static_cast<T>(w.divisor[0][oz] * w.divisor[1][oy]);
          // one output row spread over its columns, then added to each of its input rows
          const auto spread_to = [&](T* to) {
            for (int64_t ox = 0; ox < w.out[2]; ++ox) {
              const T d = a.divisor_override != 0 ? static_cast<T>(a.divisor_override)
                                                  : rows * static_cast<T>(w.divisor[2][ox]);
              const T g = dy[ox] / d;
              T* t = to + w.start[2][ox];
              for (int64_t k = 0; k < w.count[2][ox]; ++k) t[k * w.step[2]] += g;
            }
          };
          if (buffered) {
            for (int64_t x = 0; x < w.in[2]; ++x) spread[x] = 0;
            spread_to(spread);
          }
          for (int64_t i = 0; i < w.count[0][oz]; ++i)
            for (int64_t j = 0; j < w.count[1][oy]; ++j) {
              T* row = dx + ((w.start[0][oz] + i * w.step[0]) * w.in[1] + w.start[1][oy] +
                             j * w.step[1]) *
                                w.in[2];
              if (!buffered)
                spread_to(row);
              else
                for (int64_t x = 0; x < w.in[2]; ++x) row[x] += spread[x];
            }
        }
    }
  });
}

void average_grad(const PoolAverageGradArgs& a) {
  if (a.dtype == DType::f64)
    average_grad_typed<double>(a);
  else
    average_grad_typed<float>(a);
}

template <class T, class I>
void scatter_typed(const PoolIndexArgs& a) {
  parallel_for(a.planes, 1 + 16384 / (a.width + a.size + 1), [&](int64_t p0, int64_t p1) {
    for (int64_t p = p0; p < p1; ++p) {
      const T* src = static_cast<const T*>(a.src) + p * a.width;
      const I* index = static_cast<const I*>(a.indices) + p * a.width;
      T* dst = static_cast<T*>(a.dst) + p * a.size;
      __builtin_memset(dst, 0, static_cast<size_t>(a.size) * sizeof(T));
      if constexpr (sizeof(T) >= 4) {
        if (!a.assign) {
          for (int64_t i = 0; i < a.width; ++i) dst[index[i]] += src[i];
          continue;
        }
      }
      for (int64_t i = 0; i < a.width; ++i) dst[index[i]] = src[i];
    }
  });
}

template <class T, class I>
void gather_typed(const PoolIndexArgs& a) {
  parallel_for(a.planes, 1 + 16384 / (a.size + 1), [&](int64_t p0, int64_t p1) {
    for (int64_t p = p0; p < p1; ++p) {
      const T* src = static_cast<const T*>(a.src) + p * a.width;
      const I* index = static_cast<const I*>(a.indices) + p * a.size;
      T* dst = static_cast<T*>(a.dst) + p * a.size;
      for (int64_t i = 0; i < a.size; ++i) dst[i] = src[index[i]];
    }
  });
}

void scatter(const PoolIndexArgs& a) {
  const bool wide = a.index_bytes == 8;
  if (a.dtype == DType::f32)
    wide ? scatter_typed<float, int64_t>(a) : scatter_typed<float, int32_t>(a);
  else if (a.dtype == DType::f64)
    wide ? scatter_typed<double, int64_t>(a) : scatter_typed<double, int32_t>(a);
  else
    wide ? scatter_typed<bf16, int64_t>(a)
         : scatter_typed<bf16, int32_t>(a);  // moves only: any 16 bits
}

void gather(const PoolIndexArgs& a) {
  const bool wide = a.index_bytes == 8;
  if (a.dtype == DType::f32)
    wide ? gather_typed<float, int64_t>(a) : gather_typed<float, int32_t>(a);
  else if (a.dtype == DType::f64)
    wide ? gather_typed<double, int64_t>(a) : gather_typed<double, int32_t>(a);
  else
    wide ? gather_typed<bf16, int64_t>(a) : gather_typed<bf16, int32_t>(a);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const PoolKernels pool_kernels = {forward, average_grad, scatter, gather};
}

}  // namespace tercel
