// Pooling, separable: the rows of a window are first combined into one row buffer (vector axis x,
// whatever the stride), then the buffer is combined along x with strided vector loads. Maxima carry
// the row they come from; ties go to the first element in memory order and NaN wins, as in PyTorch.
// Sums run over rows, then columns, in float32 or better. Work is split over planes, so nothing
// depends on the threads.
#include "core/parallel.h"
#include "ops/pool/pool_rows.h"

namespace tercel {
namespace {

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
