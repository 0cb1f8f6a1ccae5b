// Kernels of mse, l1, smooth l1, huber and binary cross entropy: value and slope in one pass each.
//
// Reduced losses never write the elements: blocks of 4096 are summed in lanes (softmax_rows.h) and
// the block sums as a balanced tree. Work is split over blocks; computes in float32 (float64 for
// float64).
#include "ops/loss/loss_kernels.h"
#include "ops/softmax/softmax_rows.h"

namespace tercel {
namespace {

template <class V>
TERCEL_INLINE V sign_of(V d) {
  return select(d == V(0), V(0), copysign(V(1), d));
}

// value(x, t) and slope(x, t) = d value / dx
template <class V>
struct Mse {
  explicit Mse(double) {}
  TERCEL_INLINE V value(V x, V t) const { return (x - t) * (x - t); }
  TERCEL_INLINE V slope(V x, V t) const { return (x - t) * V(2); }
};
template <class V>
struct L1 {
  explicit L1(double) {}
  TERCEL_INLINE V value(V x, V t) const { return abs(x - t); }
  TERCEL_INLINE V slope(V x, V t) const { return sign_of(x - t); }
};
template <class V>
struct SmoothL1 {
  V beta;
  explicit SmoothL1(double b) : beta(static_cast<typename V::Scalar>(b)) {}
  TERCEL_INLINE V value(V x, V t) const {
    const V d = abs(x - t);
    return select(d < beta, V(0.5) * d * d / beta, d - V(0.5) * beta);
  }
  TERCEL_INLINE V slope(V x, V t) const {
    const V d = x - t;
    return select(abs(d) < beta, d / beta, sign_of(d));
  }
};
template <class V>
struct Huber {
  V delta;
  explicit Huber(double d) : delta(static_cast<typename V::Scalar>(d)) {}
  TERCEL_INLINE V value(V x, V t) const {
    const V d = abs(x - t);
    return select(d < delta, V(0.5) * d * d, delta * (d - V(0.5) * delta));
  }
  TERCEL_INLINE V slope(V x, V t) const {
    const V d = x - t;
    return select(abs(d) < delta, d, delta * sign_of(d));
  }
};
template <class V>
struct Bce {
  explicit Bce(double) {}
  TERCEL_INLINE V value(V x, V t) const {
    const V low(-100);
    const V yes = max_or_second(low, simd::log(x)), no = max_or_second(low, simd::log1p(-x));
    return (t - V(1)) * no - t * yes;
  }
  TERCEL_INLINE V slope(V x, V t) const {
    return (x - t) / max_or_second(V(static_cast<typename V::Scalar>(1e-12)), x * (V(1) - x));
  }
};
// (1 - t) x + log(1 + e^-x)
template <class V>
struct BceLogits {
  explicit BceLogits(double) {}
  TERCEL_INLINE V value(V x, V t) const {
    const V tail = simd::log1p(exp_of(-abs(x)));
    return (max_or_second(V(0), x) - x * t) + tail;
  }
  TERCEL_INLINE V slope(V x, V t) const { return simd::sigmoid(x) - t; }
};

template <class T, class F>
void run_fwd(const PointwiseLossArgs& a, F f) {
  using V = ComputeVec<T>;
  using S = ComputeScalar<T>;
  const T* x = static_cast<const T*>(a.x);
  const T* t = static_cast<const T*>(a.t);
  if (!a.reduced) {
    T* out = static_cast<T*>(a.out);
    parallel_for(a.n, 4 * kLossBlock, [&](int64_t begin, int64_t end) {
      row_each<V>(end - begin, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
        const int64_t k = begin + i;
        store_lanes(f.value(load_lanes<V>(x + k, lanes), load_lanes<V>(t + k, lanes)), out + k,
                    lanes);
      });
    });
    return;
  }
  S* partial = static_cast<S*>(a.workspace);
  const int64_t blocks = (a.n + kLossBlock - 1) / kLossBlock;
  parallel_for(blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * kLossBlock, n = a.n - first < kLossBlock ? a.n - first : kLossBlock;
      partial[b] = row_sum<V>(n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
        return f.value(load_lanes<V>(x + first + i, lanes), load_lanes<V>(t + first + i, lanes));
      });
    }
  });
  for (int64_t step = 1; step < blocks; step *= 2) {
    for (int64_t b = 0; b + step < blocks; b += 2 * step) partial[b] += partial[b + step];
  }
  const S total = blocks > 0 ? partial[0] : S(0);
  *static_cast<T*>(a.out) = T(total / static_cast<S>(a.divisor));
}

template <class T, class F>
void run_bwd(const PointwiseLossBwdArgs& a, F f) {
  using V = ComputeVec<T>;
  using S = ComputeScalar<T>;
  const T* x = static_cast<const T*>(a.x);
  const T* t = static_cast<const T*>(a.t);
  const T* g = static_cast<const T*>(a.g);
  T* dx = static_cast<T*>(a.dx);
  const S divisor = static_cast<S>(a.divisor);
  const V one(a.g_per_element ? S(1) / divisor : static_cast<S>(g[0]) / divisor);
  parallel_for(a.n, 4 * kLossBlock, [&](int64_t begin, int64_t end) {
    row_each<V>(end - begin, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
      const int64_t k = begin + i;
      V v = f.slope(load_lanes<V>(x + k, lanes), load_lanes<V>(t + k, lanes)) * one;
      if (a.g_per_element) v = v * load_lanes<V>(g + k, lanes);
      store_lanes(v, dx + k, lanes);
    });
  });
}

template <template <class> class F, class T, class Args>
void run(const Args& a) {
  const F<ComputeVec<T>> f(a.param);
  if constexpr (std::is_same_v<Args, PointwiseLossArgs>)
    run_fwd<T>(a, f);
  else
    run_bwd<T>(a, f);
}
template <class T, class Args>
void by_kind(const Args& a) {
  switch (a.kind) {
    case PointwiseLoss::mse:
      return run<Mse, T>(a);
    case PointwiseLoss::l1:
      return run<L1, T>(a);
    case PointwiseLoss::smooth_l1:
      return run<SmoothL1, T>(a);
    case PointwiseLoss::huber:
      return run<Huber, T>(a);
    case PointwiseLoss::bce:
      return run<Bce, T>(a);
    case PointwiseLoss::bce_logits:
      return run<BceLogits, T>(a);
  }
}
template <class Args>
void by_dtype(const Args& a) {
  switch (a.dtype) {
    case DType::f64:
      return by_kind<double>(a);
    case DType::f16:
      return by_kind<f16>(a);
    case DType::bf16:
      return by_kind<bf16>(a);
    default:
      return by_kind<float>(a);
  }
}
void fwd(const PointwiseLossArgs& a) { by_dtype(a); }
void bwd(const PointwiseLossBwdArgs& a) { by_dtype(a); }

}  // namespace

namespace TERCEL_LEVEL {
extern const LossKernels loss_kernels = {fwd, bwd};
}
}  // namespace tercel
