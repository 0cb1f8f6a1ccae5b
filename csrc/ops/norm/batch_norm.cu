// Batch normalisation on the GPU, forward and backward: a block owns a channel for the statistics (sums
// in double about the first value), then one pass over all elements.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/reduce.cuh"
#include "cuda/rows.cuh"
#include "ops/norm/norm_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

// Sums of f(batch item, position) over a channel by one block.
template <class F>
TERCEL_DEVICE void over_channel(int64_t batch, int64_t channels, int64_t inner, F f) {
  const int64_t c = blockIdx.x, n = batch * inner;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
    f((i / inner * channels + c) * inner + i % inner);
}

template <class T>
__global__ void __launch_bounds__(512)
    batch_norm_stats(const T* x, Acc<T>* mean, Acc<T>* rstd, Acc<T>* running_mean,
                     Acc<T>* running_var, int64_t batch, int64_t channels, int64_t inner,
                     double eps, double momentum) {
  using A = Acc<T>;
  TERCEL_SHARED(double, shared, 32);
  const int64_t c = blockIdx.x;
  const double origin = static_cast<double>(to_float(x[c * inner])),
               n = static_cast<double>(batch * inner);
  double sum = 0, square = 0;
  over_channel(batch, channels, inner, [&](int64_t at) {
    const double d = static_cast<double>(to_float(x[at])) - origin;
    sum += d;
    square += d * d;
  });
  sum = block_reduce(sum, Sum(), 0.0, shared);
  square = block_reduce(square, Sum(), 0.0, shared);
  if (threadIdx.x != 0) return;
  const double mu = origin + sum / n;
  double m2 = square - sum * sum / n;
  if (m2 < 0) m2 = 0;
  mean[c] = static_cast<A>(mu);
  rstd[c] = static_cast<A>(1.0 / ::sqrt(m2 / n + eps));
  if (running_mean)
    running_mean[c] = static_cast<A>(static_cast<double>(running_mean[c]) +
                                     momentum * (mu - static_cast<double>(running_mean[c])));
  if (running_var)
    running_var[c] =
        static_cast<A>(static_cast<double>(running_var[c]) +
                       momentum * (m2 / (n - 1) - static_cast<double>(running_var[c])));
}

void stats(const BatchNormStatsArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    launch(batch_norm_stats<T>, static_cast<unsigned>(a.channels), row_threads(a.batch * a.inner),
           0, static_cast<const T*>(a.x), static_cast<A*>(a.mean), static_cast<A*>(a.rstd),
           static_cast<A*>(a.running_mean), static_cast<A*>(a.running_var), a.batch, a.channels,
           a.inner, a.eps, a.momentum);
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    batch_norm_apply(const T* x, const Acc<T>* mean, const Acc<T>* rstd, const Acc<T>* w,
                     const Acc<T>* b, T* y, int64_t channels, int64_t inner, int64_t n) {
  using A = Acc<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    const int64_t c = i / inner % channels;
    const A z = (static_cast<A>(to_float(x[i])) - mean[c]) * (rstd[c] * (w ? w[c] : A(1)));
    y[i] = to_storage<T>(b ? z + b[c] : z);
  }
}

void apply(const BatchNormApplyArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    const int64_t n = a.batch * a.channels * a.inner;
    launch(batch_norm_apply<T>, grid_for(n, kThreads), kThreads, 0, static_cast<const T*>(a.x),
           static_cast<const A*>(a.mean), static_cast<const A*>(a.rstd), static_cast<const A*>(a.w),
           static_cast<const A*>(a.b), static_cast<T*>(a.y), a.channels, a.inner, n);
  });
}

template <class T>
__global__ void __launch_bounds__(512)
    batch_norm_sums(const T* x, const T* dy, const Acc<T>* mean, const Acc<T>* rstd, Acc<T>* sum_dy,
                    Acc<T>* sum_dyx, int64_t batch, int64_t channels, int64_t inner) {
  using A = Acc<T>;
  TERCEL_SHARED(double, shared, 32);
  const int64_t c = blockIdx.x;
  const double mu = static_cast<double>(mean[c]);
  double sum = 0, dot = 0;
  over_channel(batch, channels, inner, [&](int64_t at) {
    const double d = static_cast<double>(to_float(dy[at]));
    sum += d;
    dot += d * (static_cast<double>(to_float(x[at])) - mu);
  });
  sum = block_reduce(sum, Sum(), 0.0, shared);
  dot = block_reduce(dot, Sum(), 0.0, shared);
  if (threadIdx.x != 0) return;
  sum_dy[c] = static_cast<A>(sum);
  sum_dyx[c] = static_cast<A>(dot * static_cast<double>(rstd[c]));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    batch_norm_dx(const T* x, const T* dy, const Acc<T>* w, const Acc<T>* mean, const Acc<T>* rstd,
                  const Acc<T>* sum_dy, const Acc<T>* sum_dyx, T* dx, int64_t channels,
                  int64_t inner, int64_t n, Acc<T> count, bool training) {
  using A = Acc<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    const int64_t c = i / inner % channels;
    A d = to_float(dy[i]);
    if (training) {
      const A xhat = (static_cast<A>(to_float(x[i])) - mean[c]) * rstd[c];
      d = d - sum_dy[c] / count - xhat * (sum_dyx[c] / count);
    }
    dx[i] = to_storage<T>((w ? w[c] : A(1)) * rstd[c] * d);
  }
}

void batch_bwd(const BatchNormBwdArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    const T* x = static_cast<const T*>(a.x);
    const T* dy = static_cast<const T*>(a.dy);
    const A *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
    const int64_t n = a.batch * a.channels * a.inner;
    if (a.sum_dy) {
      launch(batch_norm_sums<T>, static_cast<unsigned>(a.channels), row_threads(a.batch * a.inner),
             0, x, dy, mean, rstd, static_cast<A*>(a.sum_dy), static_cast<A*>(a.sum_dyx), a.batch,
             a.channels, a.inner);
    }
    if (a.dx) {
      launch(batch_norm_dx<T>, grid_for(n, kThreads), kThreads, 0, x, dy,
             static_cast<const A*>(a.w), mean, rstd, static_cast<const A*>(a.sum_dy),
             static_cast<const A*>(a.sum_dyx), static_cast<T*>(a.dx), a.channels, a.inner, n,
             static_cast<A>(a.batch * a.inner), a.training);
    }
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(BatchNormKernels, batch_norm_kernels) = {.stats = stats, .apply = apply};
TERCEL_DEVICE_TABLE(BatchNormBwdKernels, batch_norm_bwd_kernels) = {.bwd = batch_bwd};

}  // namespace tercel::cuda
