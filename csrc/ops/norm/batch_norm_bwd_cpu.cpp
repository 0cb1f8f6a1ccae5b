// Batch norm backward over x [B, C, S]: the two sums of a channel by the schemes of the statistics
// (batch_norm_by_columns), blocks added in double in index order, then dx.
#include "core/parallel.h"
#include "core/streaming.h"
#include "ops/norm/batch_norm_columns.h"
#include "ops/norm/norm_kernels.h"
#include "ops/norm/norm_stats.h"

namespace tercel {
namespace {

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
  for (int64_t c = 0, j = 0; c < a.channels; ++c)
    for (int64_t k = 0; k < S; ++k) expanded_mean[j++] = mean[c];
  double *s0 = a.workspace, *s1 = s0 + blocks * width;
  for_column_tiles<V>(
      a.batch, width, [&]<int kN, bool kFull>(int64_t block, int64_t rows, int64_t j, int64_t n) {
        const int64_t from = block * kColumnRows * width + j, to = block * width + j;
        column_grad_sums<T, kN, kFull>(x + from, dy + from, expanded_mean + j, width, rows, n,
                                       s0 + to, s1 + to);
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
    const bool past = streams_rows(dx, a.batch * C, S * static_cast<int64_t>(sizeof(T)));
    parallel_for(a.batch * C, grain_for(S, past), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const GradCoefficients<A> g = grad_coefficients<A>(a, i % C);
        const V scale(g.scale);
        const T *xi = x + i * S, *gi = dy + i * S;
        T* di = dx + i * S;
        if (!a.training) {
          for_vectors<V>(S, [&]<bool kFull>(int64_t k, int64_t n) {
            store<kFull>(load<kFull, V>(gi + k, n) * scale, di + k, n, past);
          });
          continue;
        }
        const V mean(g.mean), shift(g.shift), slope(g.slope);
        for_vectors<V>(S, [&]<bool kFull>(int64_t k, int64_t n) {
          const V t = load<kFull, V>(gi + k, n) - shift;
          store<kFull>(simd::fnma(load<kFull, V>(xi + k, n) - mean, slope, t) * scale, di + k, n,
                       past);
        });
      }
      if (past) simd::stream_fence();
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
extern const BatchNormBwdKernels batch_norm_bwd_kernels = {batch_norm_bwd};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
