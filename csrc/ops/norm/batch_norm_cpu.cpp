// Batch norm kernels over x [B, C, S]. Statistics use one of two fixed schemes
// (batch_norm_by_columns): columns: x is B rows of C * S columns; blocks of 64 rows give two-pass
// moments per column in registers, then blocks and the S columns of a channel are merged. Planes:
// moments of each (b, c) plane while it is in cache, merged over b. Merging is in double,
// in index order (Chan et al. 1979).
#include "core/parallel.h"
#include "ops/norm/norm_kernels.h"
#include "ops/norm/norm_stats.h"

namespace tercel {
namespace {

constexpr int64_t kTileVectors = 4;  // columns in flight

TERCEL_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
TERCEL_INLINE int64_t grain_for(int64_t elements_per_item) {
  const int64_t g = 16384 / (elements_per_item < 1 ? 1 : elements_per_item);
  return g < 1 ? 1 : g;
}

TERCEL_INLINE void store_double(const VecF& v, double* p, int64_t n) {
  const VecD lo = to_double_lo(v), hi = to_double_hi(v);
  lo.store_n(p, min64(n, 8));
  if (n > 8) hi.store_n(p + 8, n - 8);
}
TERCEL_INLINE void store_double(const VecD& v, double* p, int64_t n) { v.store_n(p, n); }

// ---- statistics
// ------------------------------------------------------------------------------------

// Moments of columns [j, j + kVectors * V::size) (the last `tail` lanes of one vector if kFull is
// not set) over `rows` rows.
template <class T, int kVectors, bool kFull>
TERCEL_INLINE void column_moments(const T* x, int64_t stride, int64_t rows, int64_t tail,
                                  double* mean, double* m2) {
  using A = acc_t<T>;
  using V = Vec<A>;
  V s[kVectors], q[kVectors];
  for (int u = 0; u < kVectors; ++u) s[u] = q[u] = V(A(0));
  for (int64_t r = 0; r < rows; ++r) {
    for (int u = 0; u < kVectors; ++u)
      s[u] = s[u] + load<kFull, V>(x + r * stride + u * V::size, tail);
  }
  const V count(static_cast<A>(rows));
  for (int u = 0; u < kVectors; ++u) s[u] = s[u] / count;
  for (int64_t r = 0; r < rows; ++r) {
    for (int u = 0; u < kVectors; ++u) {
      const V d = load<kFull, V>(x + r * stride + u * V::size, tail) - s[u];
      q[u] = fma(d, d, q[u]);
    }
  }
  for (int u = 0; u < kVectors; ++u) {
    store_double(s[u], mean + u * V::size, tail);
    store_double(q[u], m2 + u * V::size, tail);
  }
}

// Calls f.operator()<vectors, full>(column, lanes) over [0, width) in tiles.
template <class V, class F>
TERCEL_INLINE void for_tiles(int64_t begin, int64_t end, F&& f) {
  int64_t j = begin;
  for (; j + kTileVectors * V::size <= end; j += kTileVectors * V::size) {
    f.template operator()<kTileVectors, true>(j, static_cast<int64_t>(V::size));
  }
  for (; j + V::size <= end; j += V::size)
    f.template operator()<1, true>(j, static_cast<int64_t>(V::size));
  if (j < end) f.template operator()<1, false>(j, end - j);
}

// Columns a task takes: enough work, whole tiles.
constexpr int64_t kColumnsPerTask = 256;

template <class T>
void column_stats(const BatchNormStatsArgs& a, Moments* channel) {
  using V = Vec<acc_t<T>>;
  const T* x = static_cast<const T*>(a.x);
  const int64_t width = a.channels * a.inner, blocks = (a.batch + kColumnRows - 1) / kColumnRows;
  const int64_t tasks = (width + kColumnsPerTask - 1) / kColumnsPerTask;
  double *mean = a.workspace, *m2 = mean + blocks * width;
  parallel_for(tasks * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t block = t / tasks, first = t % tasks * kColumnsPerTask;
      const int64_t row = block * kColumnRows, rows = min64(kColumnRows, a.batch - row);
      for_tiles<V>(first, min64(first + kColumnsPerTask, width),
                   [&]<int kN, bool kFull>(int64_t j, int64_t n) {
                     column_moments<T, kN, kFull>(x + row * width + j, width, rows, n,
                                                  mean + block * width + j, m2 + block * width + j);
                   });
    }
  });
  parallel_for(a.channels, grain_for(blocks * a.inner), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      double total = 0, sum_m2 = 0;
      for (int64_t k = 0; k < blocks; ++k) {
        const double* p = mean + k * width + c * a.inner;
        double s = 0;
        for (int64_t i = 0; i < a.inner; ++i) s += p[i];
        total += s * static_cast<double>(min64(kColumnRows, a.batch - k * kColumnRows));
      }
      const double mu = total / static_cast<double>(a.batch * a.inner);
      for (int64_t k = 0; k < blocks; ++k) {
        const double *p = mean + k * width + c * a.inner, *q = m2 + k * width + c * a.inner;
        const double count = static_cast<double>(min64(kColumnRows, a.batch - k * kColumnRows));
        double s = 0, t = 0;
        for (int64_t i = 0; i < a.inner; ++i) {
          const double d = p[i] - mu;
          s += d * d;
          t += q[i];
        }
        sum_m2 += t + s * count;
      }
      channel[c] = {mu, sum_m2};
    }
  });
}

template <class T>
void plane_stats(const BatchNormStatsArgs& a, Moments* channel) {
  const T* x = static_cast<const T*>(a.x);
  const int64_t S = a.inner, chunks = (S + kPlaneChunk - 1) / kPlaneChunk;
  Moments* part = reinterpret_cast<Moments*>(a.workspace);
  parallel_for(a.batch * a.channels * chunks, grain_for(min64(S, kPlaneChunk)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t start = i % chunks * kPlaneChunk;
                   part[i] = row_moments(x + i / chunks * S + start, min64(kPlaneChunk, S - start));
                 }
               });
  for (int64_t c = 0; c < a.channels; ++c) {
    double total = 0, sum_m2 = 0;
    for (int64_t b = 0; b < a.batch; ++b) {
      for (int64_t k = 0; k < chunks; ++k) {
        const Moments p = part[(b * a.channels + c) * chunks + k];
        total += p.mean * static_cast<double>(min64(kPlaneChunk, S - k * kPlaneChunk));
      }
    }
    const double mu = total / static_cast<double>(a.batch * S);
    for (int64_t b = 0; b < a.batch; ++b) {
      for (int64_t k = 0; k < chunks; ++k) {
        const Moments p = part[(b * a.channels + c) * chunks + k];
        const double d = p.mean - mu;
        sum_m2 += p.m2 + d * d * static_cast<double>(min64(kPlaneChunk, S - k * kPlaneChunk));
      }
    }
    channel[c] = {mu, sum_m2};
  }
}

template <class T>
void stats(const BatchNormStatsArgs& a) {
  using A = acc_t<T>;
  const int64_t count = a.batch * a.inner;
  Moments* channel =
      reinterpret_cast<Moments*>(a.workspace + 2 * batch_norm_blocks(a.batch, a.channels, a.inner));
  batch_norm_by_columns(a.batch, a.inner) ? column_stats<T>(a, channel)
                                          : plane_stats<T>(a, channel);
  A *mean = static_cast<A*>(a.mean), *rstd = static_cast<A*>(a.rstd);
  A *running_mean = static_cast<A*>(a.running_mean), *running_var = static_cast<A*>(a.running_var);
  const double unbiased = count > 1 ? 1.0 / static_cast<double>(count - 1) : 1.0;
  for (int64_t c = 0; c < a.channels; ++c) {
    const Moments m = channel[c];
    mean[c] = static_cast<A>(m.mean);
    rstd[c] = static_cast<A>(1.0 / __builtin_sqrt(m.m2 / static_cast<double>(count) + a.eps));
    if (running_mean) {
      running_mean[c] = static_cast<A>((1.0 - a.momentum) * static_cast<double>(running_mean[c]) +
                                       a.momentum * m.mean);
    }
    if (running_var) {
      running_var[c] = static_cast<A>((1.0 - a.momentum) * static_cast<double>(running_var[c]) +
                                      a.momentum * (m.m2 * unbiased));
    }
  }
}

void batch_norm_stats(const BatchNormStatsArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "batch_norm", [&]<class T>() { stats<T>(a); });
}

// ---- forward
// ---------------------------------------------------------------------------------------

template <class T>
void apply(const BatchNormApplyArgs& a) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const T* x = static_cast<const T*>(a.x);
  const A *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd),
          *w = static_cast<const A*>(a.w), *b = static_cast<const A*>(a.b);
  T* y = static_cast<T*>(a.y);
  const int64_t S = a.inner, C = a.channels;
  if (S >= kMinPlane) {
    parallel_for(a.batch * C, grain_for(S), [&](int64_t begin, int64_t end) {
      int64_t c = begin % C;
      for (int64_t i = begin; i < end; ++i) {
        const V m(mean[c]), scale(w ? rstd[c] * w[c] : rstd[c]), shift(b ? b[c] : A(0));
        const T* xi = x + i * S;
        T* yi = y + i * S;
        for_vectors<V>(S, [&]<bool kFull>(int64_t k, int64_t n) {
          store<kFull>(fma(load<kFull, V>(xi + k, n) - m, scale, shift), yi + k, n);
        });
        if (++c == C) c = 0;
      }
    });
    return;
  }
  // Planes shorter than a vector: spread the parameters over the C * S columns of a batch row.
  const int64_t width = C * S;
  A *em = static_cast<A*>(a.workspace), *es = em + width, *eb = es + width;
  for (int64_t c = 0, j = 0; c < C; ++c) {
    const A scale = w ? rstd[c] * w[c] : rstd[c];
    for (int64_t k = 0; k < S; ++k, ++j) {
      em[j] = mean[c];
      es[j] = scale;
      eb[j] = b ? b[c] : A(0);
    }
  }
  parallel_for(a.batch, grain_for(width), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* xr = x + r * width;
      T* yr = y + r * width;
      for_vectors<V>(width, [&]<bool kFull>(int64_t j, int64_t n) {
        const V d = load<kFull, V>(xr + j, n) - load<kFull, V>(em + j, n);
        store<kFull>(fma(d, load<kFull, V>(es + j, n), load<kFull, V>(eb + j, n)), yr + j, n);
      });
    }
  });
}

void batch_norm_apply(const BatchNormApplyArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "batch_norm", [&]<class T>() { apply<T>(a); });
}

// ---- backward
// --------------------------------------------------------------------------------------

// sum dy and sum dy (x - mean) of columns over `rows` rows; `mean` has one entry per column.
template <class T, int kVectors, bool kFull>
TERCEL_INLINE void column_grad_sums(const T* x, const T* dy, const acc_t<T>* mean, int64_t stride,
                                    int64_t rows, int64_t lanes, double* s0, double* s1) {
  using A = acc_t<T>;
  using V = Vec<A>;
  V p[kVectors], q[kVectors], m[kVectors];
  for (int u = 0; u < kVectors; ++u) {
    p[u] = q[u] = V(A(0));
    m[u] = load<kFull, V>(mean + u * V::size, lanes);
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int u = 0; u < kVectors; ++u) {
      const int64_t at = r * stride + u * V::size;
      const V g = load<kFull, V>(dy + at, lanes);
      p[u] = p[u] + g;
      q[u] = fma(g, load<kFull, V>(x + at, lanes) - m[u], q[u]);
    }
  }
  for (int u = 0; u < kVectors; ++u) {
    store_double(p[u], s0 + u * V::size, lanes);
    store_double(q[u], s1 + u * V::size, lanes);
  }
}

template <class T>
void column_grads(const BatchNormBwdArgs& a, acc_t<T>* expanded_mean) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(a.dy);
  const A *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
  const int64_t S = a.inner, width = a.channels * S,
                blocks = (a.batch + kColumnRows - 1) / kColumnRows;
  const int64_t tasks = (width + kColumnsPerTask - 1) / kColumnsPerTask;
  for (int64_t c = 0, j = 0; c < a.channels; ++c)
    for (int64_t k = 0; k < S; ++k) expanded_mean[j++] = mean[c];
  double *s0 = a.workspace, *s1 = s0 + blocks * width;
  parallel_for(tasks * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t block = t / tasks, first = t % tasks * kColumnsPerTask;
      const int64_t row = block * kColumnRows, rows = min64(kColumnRows, a.batch - row);
      for_tiles<V>(first, min64(first + kColumnsPerTask, width),
                   [&]<int kN, bool kFull>(int64_t j, int64_t n) {
                     column_grad_sums<T, kN, kFull>(x + row * width + j, dy + row * width + j,
                                                    expanded_mean + j, width, rows, n,
                                                    s0 + block * width + j, s1 + block * width + j);
                   });
    }
  });
  A *sum_dy = static_cast<A*>(a.sum_dy), *sum_dyx = static_cast<A*>(a.sum_dyx);
  parallel_for(a.channels, grain_for(blocks * S), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      double t0 = 0, t1 = 0;
      for (int64_t k = 0; k < blocks; ++k) {
        const double *p = s0 + k * width + c * S, *q = s1 + k * width + c * S;
        for (int64_t i = 0; i < S; ++i) {
          t0 += p[i];
          t1 += q[i];
        }
      }
      sum_dy[c] = static_cast<A>(t0);
      sum_dyx[c] = static_cast<A>(t1 * static_cast<double>(rstd[c]));
    }
  });
}

template <class T>
void plane_grads(const BatchNormBwdArgs& a) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(a.dy);
  const A *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
  const int64_t S = a.inner, chunks = (S + kPlaneChunk - 1) / kPlaneChunk;
  double* part = a.workspace;
  parallel_for(a.batch * a.channels * chunks, grain_for(min64(S, kPlaneChunk)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t t = begin; t < end; ++t) {
                   const int64_t plane = t / chunks, start = t % chunks * kPlaneChunk;
                   const T *xp = x + plane * S + start, *gp = dy + plane * S + start;
                   const V m(mean[plane % a.channels]);
                   blocked_sums<A, 2>(min64(kPlaneChunk, S - start), part + 2 * t,
                                      [&]<bool kFull>(int64_t i, int64_t n, V* acc) {
                                        const V g = load<kFull, V>(gp + i, n);
                                        V d = load<kFull, V>(xp + i, n) - m;
                                        if constexpr (!kFull) d = keep_lanes(d, n);
                                        acc[0] = acc[0] + g;
                                        acc[1] = fma(g, d, acc[1]);
                                      });
                 }
               });
  A *sum_dy = static_cast<A*>(a.sum_dy), *sum_dyx = static_cast<A*>(a.sum_dyx);
  for (int64_t c = 0; c < a.channels; ++c) {
    double t0 = 0, t1 = 0;
    for (int64_t b = 0; b < a.batch; ++b) {
      for (int64_t k = 0; k < chunks; ++k) {
        const double* p = part + ((b * a.channels + c) * chunks + k) * 2;
        t0 += p[0];
        t1 += p[1];
      }
    }
    sum_dy[c] = static_cast<A>(t0);
    sum_dyx[c] = static_cast<A>(t1 * static_cast<double>(rstd[c]));
  }
}

// Coefficients of dx = scale (dy - shift - (x - mean) slope) for channel c.
template <class A>
struct GradCoefficients {
  A mean, scale, shift, slope;
};
template <class A>
TERCEL_INLINE GradCoefficients<A> grad_coefficients(const BatchNormBwdArgs& a, int64_t c) {
  const A* w = static_cast<const A*>(a.w);
  const A rstd = static_cast<const A*>(a.rstd)[c];
  GradCoefficients<A> g{static_cast<const A*>(a.mean)[c], w ? w[c] * rstd : rstd, A(0), A(0)};
  if (a.training) {
    const double count = static_cast<double>(a.batch * a.inner);
    g.shift = static_cast<A>(static_cast<double>(static_cast<const A*>(a.sum_dy)[c]) / count);
    g.slope = static_cast<A>(static_cast<double>(static_cast<const A*>(a.sum_dyx)[c]) *
                             static_cast<double>(rstd) / count);
  }
  return g;
}

template <class T>
void input_grad(const BatchNormBwdArgs& a, acc_t<T>* expanded) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(a.dy);
  T* dx = static_cast<T*>(a.dx);
  const int64_t S = a.inner, C = a.channels;
  if (S >= kMinPlane) {
    parallel_for(a.batch * C, grain_for(S), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const GradCoefficients<A> g = grad_coefficients<A>(a, i % C);
        const V scale(g.scale);
        const T *xi = x + i * S, *gi = dy + i * S;
        T* di = dx + i * S;
        if (!a.training) {
          for_vectors<V>(S, [&]<bool kFull>(int64_t k, int64_t n) {
            store<kFull>(load<kFull, V>(gi + k, n) * scale, di + k, n);
          });
          continue;
        }
        const V mean(g.mean), shift(g.shift), slope(g.slope);
        for_vectors<V>(S, [&]<bool kFull>(int64_t k, int64_t n) {
          const V t = load<kFull, V>(gi + k, n) - shift;
          store<kFull>(simd::fnma(load<kFull, V>(xi + k, n) - mean, slope, t) * scale, di + k, n);
        });
      }
    });
    return;
  }
  const int64_t width = C * S;
  A *em = expanded, *escale = em + width, *eshift = escale + width, *eslope = eshift + width;
  for (int64_t c = 0, j = 0; c < C; ++c) {
    const GradCoefficients<A> g = grad_coefficients<A>(a, c);
    for (int64_t k = 0; k < S; ++k, ++j) {
      em[j] = g.mean;
      escale[j] = g.scale;
      eshift[j] = g.shift;
      eslope[j] = g.slope;
    }
  }
  parallel_for(a.batch, grain_for(width), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T *xr = x + r * width, *gr = dy + r * width;
      T* dr = dx + r * width;
      for_vectors<V>(width, [&]<bool kFull>(int64_t j, int64_t n) {
        const V t = load<kFull, V>(gr + j, n) - load<kFull, V>(eshift + j, n);
        const V d = load<kFull, V>(xr + j, n) - load<kFull, V>(em + j, n);
        store<kFull>(
            simd::fnma(d, load<kFull, V>(eslope + j, n), t) * load<kFull, V>(escale + j, n), dr + j,
            n);
      });
    }
  });
}

template <class T>
void bwd(const BatchNormBwdArgs& a) {
  using A = acc_t<T>;
  A* expanded =
      reinterpret_cast<A*>(a.workspace + 2 * batch_norm_blocks(a.batch, a.channels, a.inner));
  if (a.sum_dy)
    batch_norm_by_columns(a.batch, a.inner) ? column_grads<T>(a, expanded) : plane_grads<T>(a);
  if (a.dx) input_grad<T>(a, expanded);
}

void batch_norm_bwd(const BatchNormBwdArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "batch_norm backward", [&]<class T>() { bwd<T>(a); });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const BatchNormKernels batch_norm_kernels = {batch_norm_stats, batch_norm_apply,
                                                    batch_norm_bwd};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
