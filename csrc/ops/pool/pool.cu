// Pooling on the GPU: a thread per output (forward), per input (gradient of the average), per plane
// (scatter by the saved indices, in index order, so that overlapping windows add up the same way in
// every run).
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/rows.cuh"
#include "ops/pool/pool_args.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 128;

TERCEL_DEVICE int64_t index_at(const void* p, int bytes, int64_t i) {
  return bytes == 4 ? static_cast<int64_t>(static_cast<const int32_t*>(p)[i])
                    : static_cast<const int64_t*>(p)[i];
}

template <class T>
__global__ void __launch_bounds__(kThreads) pool_kernel(PoolArgs a) {
  using A = Acc<T>;
  const PoolWindows& w = a.windows;
  const int64_t outs = w.out[0] * w.out[1] * w.out[2], ins = w.in[0] * w.in[1] * w.in[2];
  const int64_t total = a.planes * outs, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < total;
       t += step) {
    const int64_t o = t % outs, ox = o % w.out[2], oy = o / w.out[2] % w.out[1],
                  oz = o / w.out[2] / w.out[1];
    const T* x = static_cast<const T*>(a.x) + t / outs * ins;
    A best = 0;
    int64_t where = -1;
    for (int64_t z = 0; z < w.count[0][oz]; ++z) {
      for (int64_t y = 0; y < w.count[1][oy]; ++y) {
        const int64_t row =
            ((w.start[0][oz] + z * w.step[0]) * w.in[1] + w.start[1][oy] + y * w.step[1]) * w.in[2];
        for (int64_t k = 0; k < w.count[2][ox]; ++k) {
          const int64_t i = row + w.start[2][ox] + k * w.step[2];
          const A v = to_float(x[i]);
          if (a.average) {
            best += v;
          } else if (where < 0 || v > best || (v != v && best == best)) {
            best = v;
            where = i;
          }
        }
      }
    }
    if (a.average) {
      const double divisor =
          a.divisor_override != 0
              ? a.divisor_override
              : static_cast<double>(w.divisor[0][oz] * w.divisor[1][oy] * w.divisor[2][ox]);
      best = best / static_cast<A>(divisor);
    }
    static_cast<T*>(a.y)[t] = to_storage<T>(best);
    if (!a.indices) continue;
    if (a.index_bytes == 4) {
      static_cast<int32_t*>(a.indices)[t] = static_cast<int32_t>(where);
    } else {
      static_cast<int64_t*>(a.indices)[t] = where;
    }
  }
}

TERCEL_DEVICE bool holds(const PoolWindows& w, int d, int64_t o, int64_t i) {
  const int64_t from = i - w.start[d][o];
  return from >= 0 && from % w.step[d] == 0 && from / w.step[d] < w.count[d][o];
}

template <class T>
__global__ void __launch_bounds__(kThreads) average_grad_kernel(PoolAverageGradArgs a) {
  using A = Acc<T>;
  const PoolWindows& w = a.windows;
  const int64_t outs = w.out[0] * w.out[1] * w.out[2], ins = w.in[0] * w.in[1] * w.in[2];
  const int64_t total = a.planes * ins, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < total;
       t += step) {
    const int64_t i = t % ins, x = i % w.in[2], y = i / w.in[2] % w.in[1],
                  z = i / w.in[2] / w.in[1];
    const T* dy = static_cast<const T*>(a.dy) + t / ins * outs;
    A sum = 0;
    for (int64_t oz = 0; oz < w.out[0]; ++oz) {
      if (!holds(w, 0, oz, z)) continue;
      for (int64_t oy = 0; oy < w.out[1]; ++oy) {
        if (!holds(w, 1, oy, y)) continue;
        for (int64_t ox = 0; ox < w.out[2]; ++ox) {
          if (!holds(w, 2, ox, x)) continue;
          const double divisor =
              a.divisor_override != 0
                  ? a.divisor_override
                  : static_cast<double>(w.divisor[0][oz] * w.divisor[1][oy] * w.divisor[2][ox]);
          sum += static_cast<A>(to_float(dy[(oz * w.out[1] + oy) * w.out[2] + ox])) /
                 static_cast<A>(divisor);
        }
      }
    }
    static_cast<T*>(a.dx)[t] = to_storage<T>(sum);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) scatter_kernel(PoolIndexArgs a) {
  const int64_t p = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (p >= a.planes) return;
  T* dst = static_cast<T*>(a.dst) + p * a.size;
  const T* src = static_cast<const T*>(a.src) + p * a.width;
  for (int64_t i = 0; i < a.size; ++i) dst[i] = to_storage<T>(Acc<T>(0));
  for (int64_t j = 0; j < a.width; ++j) {
    const int64_t i = index_at(a.indices, a.index_bytes, p * a.width + j);
    dst[i] = a.assign ? src[j]
                      : to_storage<T>(static_cast<Acc<T>>(to_float(dst[i])) +
                                      static_cast<Acc<T>>(to_float(src[j])));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) gather_kernel(PoolIndexArgs a) {
  const int64_t total = a.planes * a.size, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < total; t += step)
    static_cast<T*>(a.dst)[t] =
        static_cast<const T*>(a.src)[t / a.size * a.width + index_at(a.indices, a.index_bytes, t)];
}

void forward(const PoolArgs& a) {
  const int64_t n = a.planes * a.windows.out[0] * a.windows.out[1] * a.windows.out[2];
  with_float_type(a.dtype, [&](auto zero) {
    launch(pool_kernel<decltype(zero)>, grid_for(n, kThreads), kThreads, 0, a);
  });
}
void average_grad(const PoolAverageGradArgs& a) {
  const int64_t n = a.planes * a.windows.in[0] * a.windows.in[1] * a.windows.in[2];
  with_float_type(a.dtype, [&](auto zero) {
    launch(average_grad_kernel<decltype(zero)>, grid_for(n, kThreads), kThreads, 0, a);
  });
}
void scatter(const PoolIndexArgs& a) {
  const unsigned grid = static_cast<unsigned>((a.planes + kThreads - 1) / kThreads);
  with_float_type(a.dtype,
                  [&](auto zero) { launch(scatter_kernel<decltype(zero)>, grid, kThreads, 0, a); });
}
void gather(const PoolIndexArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    launch(gather_kernel<decltype(zero)>, grid_for(a.planes * a.size, kThreads), kThreads, 0, a);
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(PoolKernels, pool_kernels) = {
    .forward = forward, .average_grad = average_grad, .scatter = scatter, .gather = gather};

}  // namespace tercel::cuda
