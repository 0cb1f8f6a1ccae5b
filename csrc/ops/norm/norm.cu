// Layer, RMS and group normalisation on the GPU, forward and backward.
//
// Row norms: a block owns a row, reads it once into shared memory (rows of up to 64 KB), takes the
// mean, then the variance about it. Parameter gradients come in two steps, blocks of rows and then
// the blocks, without atomics.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/reduce.cuh"
#include "cuda/rows.cuh"
#include "ops/norm/norm_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kColumnThreads = 128;

unsigned blocks_for(int64_t n, int threads) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

// ---- rows
// ----------------------------------------------------------------------------------------
template <class T>
struct RowNorm {
  const T* x;
  const Acc<T>* w;
  const Acc<T>* b;
  T* y;
  Acc<T>*mean, *rstd, *var;
  int64_t n, groups, inner;
  double eps;
  bool rms, cached;
  const T* residual;
  T* sum;
};

// sum[i] = x[i] + residual[i], and f(i, sum[i]), for the calling thread's share of the row.
template <class T, class F>
TERCEL_DEVICE void add_row(const T* x, const T* residual, T* sum, int64_t n, F f) {
  constexpr int kPack = 16 / sizeof(T);
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const auto add = [](T p, T q) {
    return to_storage<T>(static_cast<Acc<T>>(to_float(p)) + static_cast<Acc<T>>(to_float(q)));
  };
  if (takes_packs(x, n) && takes_packs(residual, n) && takes_packs(sum, n)) {
    for (int64_t i = thread; i < n / kPack; i += threads) {
      const Pack<T, kPack> p = load_pack<kPack>(x + i * kPack);
      const Pack<T, kPack> q = load_pack<kPack>(residual + i * kPack);
      Pack<T, kPack> s;
      TERCEL_UNROLL
      for (int j = 0; j < kPack; ++j) {
        s.v[j] = add(p.v[j], q.v[j]);
        f(i * kPack + j, to_float(s.v[j]));
      }
      store_pack<kPack>(sum + i * kPack, s);
    }
  } else {
    for (int64_t i = thread; i < n; i += threads) {
      sum[i] = add(x[i], residual[i]);
      f(i, to_float(sum[i]));
    }
  }
}

template <class T>
__global__ void __launch_bounds__(512) row_norm_fwd(RowNorm<T> a) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  TERCEL_DYNAMIC_SHARED(buffer);
  A* cache = reinterpret_cast<A*>(buffer);
  const int64_t r = blockIdx.x, n = a.n;
  const T* row = a.x + r * n;
  T* out = a.y + r * n;
  const A count = static_cast<A>(n);
  A sum = 0;
  const auto take = [&](int64_t i, A v) {
    if (a.cached) cache[i] = v;
    sum += v;
  };
  if (a.residual) {
    add_row(row, a.residual + r * n, a.sum + r * n, n, take);
    row = a.sum + r * n;
  } else {
    read_row(row, n, take);
  }
  const bool packs = takes_packs(row, n) && takes_packs(out, n);
  A mean = 0;
  if (!a.rms) mean = block_reduce(sum, Sum(), A(0), shared) / count;
  __syncthreads();  // the row is read again, by other threads
  A square = 0;
  const int threads = static_cast<int>(blockDim.x);
  if (a.cached) {
    for (int64_t i = threadIdx.x; i < n; i += threads) {
      const A d = cache[i] - mean;
      square += d * d;
    }
  } else {
    read_row(row, n, [&](int64_t, A v) { square += (v - mean) * (v - mean); });
  }
  const A var = block_reduce(square, Sum(), A(0), shared) / count;
  const A rstd = A(1) / sqrt_of(var + static_cast<A>(a.eps));
  if (threadIdx.x == 0) {
    if (a.mean) a.mean[r] = mean;
    if (a.rstd) a.rstd[r] = rstd;
    if (a.var) a.var[r] = var;
  }
  const int64_t first = r % a.groups * (n / a.inner);
  write_row(out, n, packs, [&](int64_t i) {
    const A v = a.cached ? cache[i] : static_cast<A>(to_float(row[i]));
    const int64_t c = a.inner == 1 ? first + i : first + i / a.inner;
    A z = (v - mean) * rstd;
    if (a.w) z *= a.w[c];
    if (a.b) z += a.b[c];
    return z;
  });
}

void fwd(const RowNormFwdArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    const size_t bytes = row_cache_bytes<A>(a.n);
    const RowNorm<T> p{static_cast<const T*>(a.x),
                       static_cast<const A*>(a.w),
                       static_cast<const A*>(a.b),
                       static_cast<T*>(a.y),
                       static_cast<A*>(a.mean),
                       static_cast<A*>(a.rstd),
                       static_cast<A*>(a.var),
                       a.n,
                       a.groups,
                       a.inner,
                       a.eps,
                       a.rms,
                       bytes != 0,
                       static_cast<const T*>(a.residual),
                       static_cast<T*>(a.sum)};
    launch(row_norm_fwd<T>, static_cast<unsigned>(a.rows), row_threads(a.n), bytes, p);
  });
}

// dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy w
template <class T>
__global__ void __launch_bounds__(512)
    row_norm_dx(const T* x, const T* dy, const Acc<T>* w, const Acc<T>* mean, const Acc<T>* rstd,
                T* dx, int64_t n) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  const int64_t r = blockIdx.x, base = r * n;
  const bool packs =
      takes_packs(x + base, n) && takes_packs(dy + base, n) && takes_packs(dx + base, n);
  const A mu = mean ? mean[r] : A(0), rs = rstd[r];
  A sum = 0, dot = 0;
  read_row(dy + base, n, [&](int64_t i, A d) {
    const A g = d * w[i];
    sum += g;
    dot += g * ((static_cast<A>(to_float(x[base + i])) - mu) * rs);
  });
  const A count = static_cast<A>(n);
  sum = mean ? block_reduce(sum, Sum(), A(0), shared) / count : A(0);
  dot = block_reduce(dot, Sum(), A(0), shared) / count;
  write_row(dx + base, n, packs, [&](int64_t i) {
    const A xhat = (static_cast<A>(to_float(x[base + i])) - mu) * rs;
    return rs * (static_cast<A>(to_float(dy[base + i])) * w[i] - sum - xhat * dot);
  });
}

// Rows [blockIdx.y * per, ...) of the columns of this block: partial[block][0] = sum dy xhat, [1] =
// sum dy.
template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    row_norm_partials(const T* x, const T* dy, const Acc<T>* mean, const Acc<T>* rstd,
                      Acc<T>* partial, int64_t rows, int64_t n, int64_t per) {
  using A = Acc<T>;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kColumnThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t begin = blockIdx.y * per, end = begin + per < rows ? begin + per : rows;
  A dw = 0, db = 0;
  for (int64_t r = begin; r < end; ++r) {
    const A d = to_float(dy[r * n + i]);
    dw += d * ((static_cast<A>(to_float(x[r * n + i])) - (mean ? mean[r] : A(0))) * rstd[r]);
    db += d;
  }
  A* out = partial + static_cast<int64_t>(blockIdx.y) * 2 * n;
  out[i] = dw;
  out[n + i] = db;
}

template <class A>
__global__ void __launch_bounds__(kColumnThreads)
    add_partials(const A* partial, A* dw, A* db, int64_t blocks, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kColumnThreads + threadIdx.x;
  if (i >= n) return;
  A w = 0, b = 0;
  for (int64_t k = 0; k < blocks; ++k) {
    w += partial[k * 2 * n + i];
    b += partial[k * 2 * n + n + i];
  }
  if (dw) dw[i] = w;
  if (db) db[i] = b;
}

void bwd(const RowNormBwdArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    const T* x = static_cast<const T*>(a.x);
    const T* dy = static_cast<const T*>(a.dy);
    const A *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
    if (a.dx) {
      launch(row_norm_dx<T>, static_cast<unsigned>(a.rows), row_threads(a.n), 0, x, dy,
             static_cast<const A*>(a.w), mean, rstd, static_cast<T*>(a.dx), a.n);
    }
    if (a.dw || a.db) {
      const int64_t per = row_norm_block_rows(a.rows), blocks = row_norm_blocks(a.rows);
      A* partial = static_cast<A*>(a.workspace);
      for (int64_t first = 0; first < blocks; first += 65535) {  // limit of gridDim.y
        const int64_t some = blocks - first < 65535 ? blocks - first : 65535, skip = first * per;
        const dim3 grid(blocks_for(a.n, kColumnThreads), static_cast<unsigned>(some));
        launch(row_norm_partials<T>, grid, kColumnThreads, 0, x + skip * a.n, dy + skip * a.n,
               mean ? mean + skip : nullptr, rstd + skip, partial + first * 2 * a.n, a.rows - skip,
               a.n, per);
      }
      launch(add_partials<A>, blocks_for(a.n, kColumnThreads), kColumnThreads, 0, partial,
             static_cast<A*>(a.dw), static_cast<A*>(a.db), blocks, a.n);
    }
  });
}

// ---- groups
// --------------------------------------------------------------------------------------
// sums[b, c] = (sum dy xhat, sum dy), one block per plane.
template <class T>
__global__ void __launch_bounds__(kThreads)
    group_norm_sums(const T* x, const T* dy, const Acc<T>* mean, const Acc<T>* rstd, double* sums,
                    int64_t channels, int64_t groups, int64_t inner) {
  using A = Acc<T>;
  TERCEL_SHARED(double, shared, 32);
  const int64_t plane = blockIdx.x, b = plane / channels, c = plane % channels;
  const int64_t g = b * groups + c / (channels / groups);
  const A mu = mean[g], rs = rstd[g];
  double dot = 0, sum = 0;
  for (int64_t i = threadIdx.x; i < inner; i += kThreads) {
    const A d = to_float(dy[plane * inner + i]);
    dot += static_cast<double>(d) *
           static_cast<double>((static_cast<A>(to_float(x[plane * inner + i])) - mu) * rs);
    sum += static_cast<double>(d);
  }
  dot = block_reduce(dot, Sum(), 0.0, shared);
  sum = block_reduce(sum, Sum(), 0.0, shared);
  if (threadIdx.x == 0) {
    sums[2 * plane] = dot;
    sums[2 * plane + 1] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    group_norm_dx(const T* x, const T* dy, const Acc<T>* w, const Acc<T>* mean, const Acc<T>* rstd,
                  const double* sums, T* dx, int64_t channels, int64_t groups, int64_t inner) {
  using A = Acc<T>;
  const int64_t plane = blockIdx.x, b = plane / channels, c = plane % channels,
                per = channels / groups;
  const int64_t g = c / per;
  const A mu = mean[b * groups + g], rs = rstd[b * groups + g];
  double dot = 0, sum = 0;  // every thread adds the few channels of its group, in order
  for (int64_t k = g * per; k < (g + 1) * per; ++k) {
    const double factor = w ? static_cast<double>(w[k]) : 1.0;
    dot += factor * sums[2 * (b * channels + k)];
    sum += factor * sums[2 * (b * channels + k) + 1];
  }
  const double n = static_cast<double>(per * inner);
  const A mean_dot = static_cast<A>(dot / n), mean_sum = static_cast<A>(sum / n),
          factor = w ? w[c] : A(1);
  for (int64_t i = threadIdx.x; i < inner; i += kThreads) {
    const int64_t at = plane * inner + i;
    const A xhat = (static_cast<A>(to_float(x[at])) - mu) * rs;
    dx[at] = to_storage<T>(
        rs * (static_cast<A>(to_float(dy[at])) * factor - mean_sum - xhat * mean_dot));
  }
}

template <class A>
__global__ void __launch_bounds__(kColumnThreads)
    group_norm_params(const double* sums, A* dw, A* db, int64_t batch, int64_t channels) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kColumnThreads + threadIdx.x;
  if (c >= channels) return;
  double dot = 0, sum = 0;
  for (int64_t b = 0; b < batch; ++b) {
    dot += sums[2 * (b * channels + c)];
    sum += sums[2 * (b * channels + c) + 1];
  }
  if (dw) dw[c] = static_cast<A>(dot);
  if (db) db[c] = static_cast<A>(sum);
}

void group_bwd(const GroupNormBwdArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    const T* x = static_cast<const T*>(a.x);
    const T* dy = static_cast<const T*>(a.dy);
    const A *mean = static_cast<const A*>(a.mean), *rstd = static_cast<const A*>(a.rstd);
    const unsigned planes = static_cast<unsigned>(a.batch * a.channels);
    launch(group_norm_sums<T>, planes, kThreads, 0, x, dy, mean, rstd, a.workspace, a.channels,
           a.groups, a.inner);
    if (a.dx) {
      launch(group_norm_dx<T>, planes, kThreads, 0, x, dy, static_cast<const A*>(a.w), mean, rstd,
             a.workspace, static_cast<T*>(a.dx), a.channels, a.groups, a.inner);
    }
    if (a.dw || a.db) {
      launch(group_norm_params<A>, blocks_for(a.channels, kColumnThreads), kColumnThreads, 0,
             a.workspace, static_cast<A*>(a.dw), static_cast<A*>(a.db), a.batch, a.channels);
    }
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(RowNormKernels, row_norm_kernels) = {.fwd = fwd, .bwd = bwd};
TERCEL_DEVICE_TABLE(GroupNormKernels, group_norm_kernels) = {.bwd = group_bwd};

}  // namespace tercel::cuda
