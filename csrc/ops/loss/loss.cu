// Pointwise losses on the GPU: value and slope in one pass; sums over blocks of kLossBlock
// elements, then over the blocks, in a fixed order.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/error_slot.cuh"
#include "cuda/reduce.cuh"
#include "cuda/rows.cuh"
#include "ops/loss/loss_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

TERCEL_DEVICE float log1p_of(float x) { return ::log1pf(x); }
TERCEL_DEVICE double log1p_of(double x) { return ::log1p(x); }
template <class A>
TERCEL_DEVICE A magnitude(A x) {
  return x < A(0) ? -x : x;
}
template <class A>
TERCEL_DEVICE A sign_of(A d) {
  return d != d ? d : A((d > A(0)) - (d < A(0)));
}
template <class A>
TERCEL_DEVICE A at_least(A low, A x) {  // NaN passes
  return x < low ? low : x;
}

template <class A>
TERCEL_DEVICE A loss_value(PointwiseLoss kind, A x, A t, A param) {
  const A d = x - t, a = magnitude(d);
  switch (kind) {
    case PointwiseLoss::mse:
      return d * d;
    case PointwiseLoss::l1:
      return a;
    case PointwiseLoss::smooth_l1:
      return a < param ? A(0.5) * a * a / param : a - A(0.5) * param;
    case PointwiseLoss::huber:
      return a < param ? A(0.5) * a * a : param * (a - A(0.5) * param);
    case PointwiseLoss::bce:
      return (t - A(1)) * at_least(A(-100), log1p_of(-x)) - t * at_least(A(-100), log_of(x));
    default:
      return (at_least(A(0), x) - x * t) + log1p_of(exp_of(-magnitude(x)));
  }
}
template <class A>
TERCEL_DEVICE A loss_slope(PointwiseLoss kind, A x, A t, A param) {
  const A d = x - t;
  switch (kind) {
    case PointwiseLoss::mse:
      return d * A(2);
    case PointwiseLoss::l1:
      return sign_of(d);
    case PointwiseLoss::smooth_l1:
      return magnitude(d) < param ? d / param : sign_of(d);
    case PointwiseLoss::huber:
      return magnitude(d) < param ? d : param * sign_of(d);
    case PointwiseLoss::bce:
      return d / at_least(static_cast<A>(1e-12), x * (A(1) - x));
    default: {
      const A e = exp_of(-magnitude(x));
      return (x < A(0) ? e : A(1)) / (A(1) + e) - t;
    }
  }
}

// The loss of element i, with the check of its input.
template <class T>
TERCEL_DEVICE Acc<T> loss_at(PointwiseLoss kind, const T* x, const T* t, int64_t i, Acc<T> param,
                             TercelCudaErrorSlot* slot) {
  const Acc<T> v = to_float(x[i]);
  if (kind == PointwiseLoss::bce && (v < Acc<T>(0) || v > Acc<T>(1))) report_probability(slot, v);
  return loss_value<Acc<T>>(kind, v, to_float(t[i]), param);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    loss_kernel(const T* x, const T* t, T* out, int64_t n, PointwiseLoss kind, Acc<T> param,
                TercelCudaErrorSlot* slot) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step)
    out[i] = to_storage<T>(loss_at(kind, x, t, i, param, slot));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    loss_blocks(const T* x, const T* t, Acc<T>* partial, int64_t n, PointwiseLoss kind,
                Acc<T> param, TercelCudaErrorSlot* slot) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kLossBlock;
  const int64_t end = begin + kLossBlock < n ? begin + kLossBlock : n;
  A sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads)
    sum += loss_at(kind, x, t, i, param, slot);
  sum = block_reduce(sum, Sum(), A(0), shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    loss_total(const Acc<T>* partial, T* out, int64_t blocks, Acc<T> divisor) {
  using A = Acc<T>;
  TERCEL_SHARED(A, shared, 32);
  A sum = 0;
  for (int64_t i = threadIdx.x; i < blocks; i += kThreads) sum += partial[i];
  sum = block_reduce(sum, Sum(), A(0), shared);
  if (threadIdx.x == 0) *out = to_storage<T>(sum / divisor);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    loss_grad(const T* x, const T* t, const T* g, T* dx, int64_t n, PointwiseLoss kind,
              Acc<T> param, Acc<T> divisor, bool g_per_element) {
  using A = Acc<T>;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    const A scale = static_cast<A>(to_float(g[g_per_element ? i : 0])) / divisor;
    dx[i] = to_storage<T>(loss_slope<A>(kind, to_float(x[i]), to_float(t[i]), param) * scale);
  }
}

void fwd(const PointwiseLossArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    const T *x = static_cast<const T*>(a.x), *t = static_cast<const T*>(a.t);
    const A param = static_cast<A>(a.param);
    if (!a.reduced) {
      launch(loss_kernel<T>, grid_for(a.n, kThreads), kThreads, 0, x, t, static_cast<T*>(a.out),
             a.n, a.kind, param, error_slot());
      return;
    }
    const int64_t blocks = (a.n + kLossBlock - 1) / kLossBlock;
    A* partial = static_cast<A*>(a.workspace);
    if (blocks > 0)
      launch(loss_blocks<T>, static_cast<unsigned>(blocks), kThreads, 0, x, t, partial, a.n, a.kind,
             param, error_slot());
    launch(loss_total<T>, 1u, kThreads, 0, partial, static_cast<T*>(a.out), blocks,
           static_cast<A>(a.divisor));
  });
}

void bwd(const PointwiseLossBwdArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    using A = Acc<T>;
    launch(loss_grad<T>, grid_for(a.n, kThreads), kThreads, 0, static_cast<const T*>(a.x),
           static_cast<const T*>(a.t), static_cast<const T*>(a.g), static_cast<T*>(a.dx), a.n,
           a.kind, static_cast<A>(a.param), static_cast<A>(a.divisor), a.g_per_element);
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(LossKernels, loss_kernels) = {.fwd = fwd, .bwd = bwd};

}  // namespace tercel::cuda
