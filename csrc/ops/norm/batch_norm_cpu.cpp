// Batch norm forward over x [B, C, S]. Statistics use one of two fixed schemes
// (batch_norm_by_columns): columns: x is B rows of C * S columns; blocks of 64 rows give two-pass
// moments per column in registers, then blocks and the S columns of a channel are merged. Planes:
// moments of each (b, c) plane while it is in cache, merged over b. Merging is in double,
// in index order (Chan et al. 1979).
#include "core/parallel.h"
#include "core/streaming.h"
#include "ops/norm/batch_norm_columns.h"
#include "ops/norm/norm_kernels.h"
#include "ops/norm/norm_stats.h"

namespace tercel {
namespace {

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

template <class T>
void column_stats(const BatchNormStatsArgs& a, Moments* channel) {
  using V = Vec<acc_t<T>>;
  const T* x = static_cast<const T*>(a.x);
  const int64_t width = a.channels * a.inner, blocks = (a.batch + kColumnRows - 1) / kColumnRows;
  double *mean = a.workspace, *m2 = mean + blocks * width;
  for_column_tiles<V>(a.batch, width,
                      [&]<int kN, bool kFull>(int64_t block, int64_t rows, int64_t j, int64_t n) {
                        const int64_t to = block * width + j;
                        column_moments<T, kN, kFull>(x + block * kColumnRows * width + j, width,
                                                     rows, n, mean + to, m2 + to);
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
    const bool past = streams_rows(y, a.batch * C, S * static_cast<int64_t>(sizeof(T)));
    parallel_for(a.batch * C, grain_for(S, past), [&](int64_t begin, int64_t end) {
      int64_t c = begin % C;
      for (int64_t i = begin; i < end; ++i) {
        const V m(mean[c]), scale(w ? rstd[c] * w[c] : rstd[c]), shift(b ? b[c] : A(0));
        const T* xi = x + i * S;
        T* yi = y + i * S;
        for_vectors<V>(S, [&]<bool kFull>(int64_t k, int64_t n) {
          store<kFull>(fma(load<kFull, V>(xi + k, n) - m, scale, shift), yi + k, n, past);
        });
        if (++c == C) c = 0;
      }
      if (past) simd::stream_fence();
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

}  // namespace

namespace TERCEL_LEVEL {
extern const BatchNormKernels batch_norm_kernels = {batch_norm_stats, batch_norm_apply};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
