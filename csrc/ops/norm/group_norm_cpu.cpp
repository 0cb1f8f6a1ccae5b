// Group norm backward: sums of each channel of a sample in double, which the group adds up for dx
// and the batch, in index order, for dw and db. Threads take groups, then channels.
#include "core/parallel.h"
#include "core/streaming.h"
#include "ops/norm/norm_kernels.h"
#include "ops/norm/norm_stats.h"

namespace tercel {
namespace {

// sum dy and sum dy (x - mean) over one channel
template <class T>
void channel_sums(const T* x, const T* dy, acc_t<T> mean, int64_t n, double* s) {
  using A = acc_t<T>;
  using V = Vec<A>;
  if (n < V::size) {
    A s0 = 0, s1 = 0;
    for (int64_t i = 0; i < n; ++i) {
      const A g = static_cast<A>(dy[i]);
      s0 += g;
      s1 += g * (static_cast<A>(x[i]) - mean);
    }
    s[0] = s0;
    s[1] = s1;
    return;
  }
  const V m(mean);
  blocked_sums<A, 2>(n, s, [&]<bool kFull>(int64_t i, int64_t k, V* acc) {
    const V g = load<kFull, V>(dy + i, k);
    V d = load<kFull, V>(x + i, k) - m;
    if constexpr (!kFull) d = keep_lanes(d, k);
    acc[0] = acc[0] + g;
    acc[1] = fma(g, d, acc[1]);
  });
}

template <class T>
void group_bwd(const GroupNormBwdArgs& a) {
  using A = acc_t<T>;
  using V = Vec<A>;
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(a.dy);
  const A *w = static_cast<const A*>(a.w), *mean = static_cast<const A*>(a.mean),
          *rstd = static_cast<const A*>(a.rstd);
  T* dx = static_cast<T*>(a.dx);
  const int64_t S = a.inner, C = a.channels, per_group = C / a.groups, n = per_group * S;
  const bool past = dx && streams_rows(dx, a.batch * C, S * static_cast<int64_t>(sizeof(T)));
  parallel_for(a.batch * a.groups, grain_for(n, past), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first_channel = row % a.groups * per_group;
      double* sums = a.workspace + row * per_group * 2;
      double s1 = 0, s2 = 0;
      for (int64_t c = 0; c < per_group; ++c) {
        channel_sums(x + row * n + c * S, dy + row * n + c * S, mean[row], S, sums + 2 * c);
        const double wc = w ? static_cast<double>(w[first_channel + c]) : 1.0;
        s1 += wc * sums[2 * c];
        s2 += wc * sums[2 * c + 1];
      }
      if (!dx) continue;
      // dx = rstd (w dy - mean(g) - (x - mean) rstd^2 mean(g (x - mean)))
      const double r = static_cast<double>(rstd[row]);
      const A c1 = static_cast<A>(s1 / static_cast<double>(n));
      const A c2 = static_cast<A>(s2 * r * r / static_cast<double>(n));
      const V v1(c1), v2(c2), vr(rstd[row]), vm(mean[row]);
      for (int64_t c = 0; c < per_group; ++c) {
        const int64_t at = row * n + c * S;
        const A wc = w ? w[first_channel + c] : A(1);
        const V vw(wc);
        for_vectors<V>(S, [&]<bool kFull>(int64_t i, int64_t k) {
          const V t = fma(load<kFull, V>(dy + at + i, k), vw, -v1);
          const V d = load<kFull, V>(x + at + i, k) - vm;
          store<kFull>(simd::fnma(d, v2, t) * vr, dx + at + i, k, past);
        });
      }
    }
    if (past) simd::stream_fence();
  });
  if (!a.dw && !a.db) return;
  parallel_for(C, grain_for(a.batch), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      double sw = 0, sb = 0;
      for (int64_t b = 0; b < a.batch; ++b) {
        const double* sums = a.workspace + (b * C + c) * 2;
        sb += sums[0];
        sw += sums[1] * static_cast<double>(rstd[b * a.groups + c / per_group]);
      }
      if (a.dw) static_cast<A*>(a.dw)[c] = static_cast<A>(sw);
      if (a.db) static_cast<A*>(a.db)[c] = static_cast<A>(sb);
    }
  });
}

void group_norm_bwd(const GroupNormBwdArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "group_norm backward", [&]<class T>() { group_bwd<T>(a); });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const GroupNormKernels group_norm_kernels = {group_norm_bwd};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
