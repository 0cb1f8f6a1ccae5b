// Softmax, log-softmax, logsumexp and their gradients on the GPU, float32 inside (float64 for
// float64).
//
// Along the last dim a block owns a row: the row is read once into shared memory (rows of up to 64
// KB; longer ones are read again from the caches), then maximum, sum, result. Along other dims a
// thread owns a column.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/error_slot.cuh"
#include "cuda/reduce.cuh"
#include "cuda/rows.cuh"
#include "ops/softmax/softmax_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kColumnThreads = 128;

template <class T>
__global__ void __launch_bounds__(512)
    softmax_rows(const T* x, T* y, int64_t n, bool log, bool cached) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  TERCEL_DYNAMIC_SHARED(buffer);
  A* cache = reinterpret_cast<A*>(buffer);
  const T* row = x + static_cast<int64_t>(blockIdx.x) * n;
  T* out = y + static_cast<int64_t>(blockIdx.x) * n;
  const bool packs = takes_packs(row, n) && takes_packs(out, n);
  const A low = static_cast<A>(-__builtin_inf());
  A m = low;
  read_row(row, n, [&](int64_t i, A v) {
    if (cached) cache[i] = v;
    m = Max()(m, v);
  });
  m = block_reduce(m, Max(), low, shared);
  __syncthreads();
  A sum = 0;
  const int threads = static_cast<int>(blockDim.x);
  if (cached) {
    for (int64_t i = threadIdx.x; i < n; i += threads) {
      const A e = exp_of(cache[i] - m);
      if (!log) cache[i] = e;
      sum += e;
    }
  } else {
    read_row(row, n, [&](int64_t, A v) { sum += exp_of(v - m); });
  }
  sum = block_reduce(sum, Sum(), A(0), shared);
  const A scale = A(1) / sum, shift = log_of(sum);
  if (cached) {
    write_row(out, n, packs,
              [&](int64_t i) { return log ? cache[i] - m - shift : cache[i] * scale; });
  } else {
    write_row(out, n, packs, [&](int64_t i) {
      const A v = to_float(row[i]) - m;
      return log ? v - shift : exp_of(v) * scale;
    });
  }
}

// Column (o, k) of [outer, n, inner]: running maximum and rescaled sum, then the results.
template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    softmax_columns(const T* x, T* y, int64_t outer, int64_t n, int64_t inner, bool log) {
  using A = Acc<T>;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kColumnThreads + threadIdx.x;
  if (c >= outer * inner) return;
  const int64_t base = c / inner * n * inner + c % inner;
  A m = static_cast<A>(-__builtin_inf());
  for (int64_t i = 0; i < n; ++i) m = Max()(m, static_cast<A>(to_float(x[base + i * inner])));
  A sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += exp_of(static_cast<A>(to_float(x[base + i * inner])) - m);
  const A scale = A(1) / sum, shift = log_of(sum);
  for (int64_t i = 0; i < n; ++i) {
    const A v = static_cast<A>(to_float(x[base + i * inner])) - m;
    y[base + i * inner] = to_storage<T>(log ? v - shift : exp_of(v) * scale);
  }
}

template <class T>
__global__ void __launch_bounds__(512, 2)
    softmax_bwd_rows(const T* y, const T* g, T* dx, int64_t n, bool log) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  const int64_t base = static_cast<int64_t>(blockIdx.x) * n;
  const bool packs =
      takes_packs(y + base, n) && takes_packs(g + base, n) && takes_packs(dx + base, n);
  A sum = 0;
  if (log) {
    read_row(g + base, n, [&](int64_t, A v) { sum += v; });
  } else {
    read_row(g + base, n,
             [&](int64_t i, A v) { sum += v * static_cast<A>(to_float(y[base + i])); });
  }
  sum = block_reduce(sum, Sum(), A(0), shared);
  write_row(dx + base, n, packs, [&](int64_t i) {
    const A p = to_float(y[base + i]), d = to_float(g[base + i]);
    return log ? d - exp_of(p) * sum : p * (d - sum);
  });
}

template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    softmax_bwd_columns(const T* y, const T* g, T* dx, int64_t outer, int64_t n, int64_t inner,
                        bool log) {
  using A = Acc<T>;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kColumnThreads + threadIdx.x;
  if (c >= outer * inner) return;
  const int64_t base = c / inner * n * inner + c % inner;
  A sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const A d = to_float(g[base + i * inner]);
    sum += log ? d : d * static_cast<A>(to_float(y[base + i * inner]));
  }
  for (int64_t i = 0; i < n; ++i) {
    const A p = to_float(y[base + i * inner]), d = to_float(g[base + i * inner]);
    dx[base + i * inner] = to_storage<T>(log ? d - exp_of(p) * sum : p * (d - sum));
  }
}

// One block per sample; inner > 1 strides through memory.
template <class T>
__global__ void __launch_bounds__(512)
    logsumexp_kernel(const T* x, T* lse, int64_t n, int64_t inner) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  const int64_t s = blockIdx.x, base = s / inner * n * inner + s % inner;
  const A low = static_cast<A>(-__builtin_inf());
  A m = low;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
    m = Max()(m, static_cast<A>(to_float(x[base + i * inner])));
  m = block_reduce(m, Max(), low, shared);
  const A shift = m == low || m == -low ? A(0) : m;  // infinities stay what they are
  A sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
    sum += exp_of(static_cast<A>(to_float(x[base + i * inner])) - shift);
  sum = block_reduce(sum, Sum(), A(0), shared);
  if (threadIdx.x == 0) lse[s] = to_storage<T>(shift + log_of(sum));
}

unsigned blocks_for(int64_t n, int threads) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

void softmax(const SoftmaxArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = static_cast<const T*>(a.x);
    T* y = static_cast<T*>(a.y);
    if (a.inner == 1) {
      const size_t bytes = row_cache_bytes<Acc<T>>(a.n);
      launch(softmax_rows<T>, static_cast<unsigned>(a.outer), row_threads(a.n), bytes, x, y, a.n,
             a.log, bytes != 0);
    } else {
      launch(softmax_columns<T>, blocks_for(a.outer * a.inner, kColumnThreads), kColumnThreads, 0,
             x, y, a.outer, a.n, a.inner, a.log);
    }
  });
}

void softmax_bwd(const SoftmaxBwdArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* y = static_cast<const T*>(a.y);
    const T* g = static_cast<const T*>(a.g);
    T* dx = static_cast<T*>(a.dx);
    if (a.inner == 1) {
      launch(softmax_bwd_rows<T>, static_cast<unsigned>(a.outer), row_threads(a.n), 0, y, g, dx,
             a.n, a.log);
    } else {
      launch(softmax_bwd_columns<T>, blocks_for(a.outer * a.inner, kColumnThreads), kColumnThreads,
             0, y, g, dx, a.outer, a.n, a.inner, a.log);
    }
  });
}

void logsumexp(const LogSumExpArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(logsumexp_kernel<T>, static_cast<unsigned>(a.outer * a.inner), row_threads(a.n), 0,
           static_cast<const T*>(a.x), static_cast<T*>(a.lse), a.n, a.inner);
  });
}

// ---- cross entropy
// -------------------------------------------------------------------------------

template <class T>
struct CrossEntropy {
  const T* x;
  const int64_t* target;
  const Acc<T>* weight;
  Acc<T>* lse;  // maxima, then logarithms of the sums
  int64_t samples, n, inner, ignore_index;
  Acc<T> smoothing;
};

template <class T>
__global__ void __launch_bounds__(512)
    cross_entropy_fwd(CrossEntropy<T> a, Acc<T>* loss, TercelCudaErrorSlot* slot) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  const int64_t s = blockIdx.x, base = s / a.inner * a.n * a.inner + s % a.inner;
  const A low = static_cast<A>(-__builtin_inf());
  A m = low;
  for (int64_t i = threadIdx.x; i < a.n; i += blockDim.x)
    m = Max()(m, static_cast<A>(to_float(a.x[base + i * a.inner])));
  m = block_reduce(m, Max(), low, shared);
  A sum = 0;
  for (int64_t i = threadIdx.x; i < a.n; i += blockDim.x)
    sum += exp_of(static_cast<A>(to_float(a.x[base + i * a.inner])) - m);
  sum = block_reduce(sum, Sum(), A(0), shared);
  const A log_sum = log_of(sum);
  A spread = 0;
  if (a.smoothing != A(0)) {
    for (int64_t i = threadIdx.x; i < a.n; i += blockDim.x)
      spread += (a.weight ? a.weight[i] : A(1)) *
                (m - static_cast<A>(to_float(a.x[base + i * a.inner])) + log_sum);
    spread = block_reduce(spread, Sum(), A(0), shared);
  }
  if (threadIdx.x != 0) return;
  a.lse[s] = m;
  a.lse[a.samples + s] = log_sum;
  A value = 0;
  if (a.target[s] != a.ignore_index) {
    const int64_t t = checked(a.target[s], a.n, false, slot);
    const A own = m - static_cast<A>(to_float(a.x[base + t * a.inner])) + log_sum;
    value = (A(1) - a.smoothing) * (a.weight ? a.weight[t] : A(1)) * own;
    if (a.smoothing != A(0)) value += a.smoothing / static_cast<A>(a.n) * spread;
  }
  loss[s] = value;
}

template <class T>
__global__ void __launch_bounds__(512)
    cross_entropy_bwd(CrossEntropy<T> a, const Acc<T>* scale, bool per_sample, T* dx) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  const int64_t s = blockIdx.x, base = s / a.inner * a.n * a.inner + s % a.inner;
  const int64_t t = a.target[s];
  A total = static_cast<A>(a.n);
  if (a.smoothing != A(0) && a.weight) {
    total = 0;
    for (int64_t i = threadIdx.x; i < a.n; i += blockDim.x) total += a.weight[i];
    total = block_reduce(total, Sum(), A(0), shared);
  }
  const A m = a.lse[s], log_sum = a.lse[a.samples + s], g = scale[per_sample ? s : 0];
  const bool used = t != a.ignore_index && t >= 0 && t < a.n;  // reported in the forward pass
  const A own = (A(1) - a.smoothing) * (used && a.weight ? a.weight[t] : A(1));
  const A rest = a.smoothing / static_cast<A>(a.n);
  for (int64_t i = threadIdx.x; i < a.n; i += blockDim.x) {
    A d = 0;
    if (used) {
      const A p = exp_of(static_cast<A>(to_float(a.x[base + i * a.inner])) - m - log_sum);
      d = own * (i == t ? p - A(1) : p);
      if (a.smoothing != A(0)) d += rest * (total * p - (a.weight ? a.weight[i] : A(1)));
      d *= g;
    }
    dx[base + i * a.inner] = to_storage<T>(d);
  }
}

template <class T, class Args>
CrossEntropy<T> geometry(const Args& a) {
  return {static_cast<const T*>(a.x),
          a.target,
          static_cast<const Acc<T>*>(a.weight),
          const_cast<Acc<T>*>(static_cast<const Acc<T>*>(a.lse)),
          a.outer * a.inner,
          a.n,
          a.inner,
          a.ignore_index,
          static_cast<Acc<T>>(a.smoothing)};
}

void fwd(const CrossEntropyFwdArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(cross_entropy_fwd<T>, static_cast<unsigned>(a.outer * a.inner), row_threads(a.n), 0,
           geometry<T>(a), static_cast<Acc<T>*>(a.loss), error_slot());
  });
}
void bwd(const CrossEntropyBwdArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(cross_entropy_bwd<T>, static_cast<unsigned>(a.outer * a.inner), row_threads(a.n), 0,
           geometry<T>(a), static_cast<const Acc<T>*>(a.scale), a.scale_per_sample,
           static_cast<T*>(a.dx));
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(SoftmaxKernels, softmax_kernels) = {
    .softmax = softmax, .softmax_bwd = softmax_bwd, .logsumexp = logsumexp};
TERCEL_DEVICE_TABLE(CrossEntropyKernels, cross_entropy_kernels) = {.fwd = fwd, .bwd = bwd};

}  // namespace tercel::cuda
