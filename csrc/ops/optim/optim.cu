// Multi-tensor optimizer steps on the GPU: a block takes one unit (kOptimUnit elements) of one
// tensor; up to kItems tensors travel in the kernel's arguments, longer lists take several
// launches.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/reduce.cuh"
#include "cuda/rows.cuh"
#include "ops/optim/optim_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kItems = 36;  // 36 x 88 bytes: kernel arguments end at 4 KB

struct Batch {
  OptimItem items[kItems];
  int count;
};

// What a step does with one element, in the accumulation type of the parameter.
struct SgdStep {
  SgdArgs o;
  template <class T, class S>
  TERCEL_DEVICE void one(const OptimItem& item, int64_t i) const {
    using A = Acc<T>;
    T* p = static_cast<T*>(item.param);
    const A w = to_float(p[i]);
    A d = to_float(static_cast<const T*>(item.grad)[i]);
    if (o.maximize) d = -d;
    d += static_cast<A>(o.weight_decay) * w;
    if (o.momentum != 0) {
      S* buffer = static_cast<S*>(item.state[0]);
      const A m = static_cast<A>(o.momentum);
      const A b = item.a != 0 ? d
                              : m * static_cast<A>(to_float(buffer[i])) +
                                    static_cast<A>(1.0 - o.dampening) * d;
      buffer[i] = to_storage<S>(static_cast<Acc<S>>(b));
      d = o.nesterov ? d + m * b : b;
    }
    p[i] = to_storage<T>(w - static_cast<A>(o.lr) * d);
  }
};

struct AdamStep {
  AdamArgs o;
  template <class T, class S>
  TERCEL_DEVICE void one(const OptimItem& item, int64_t i) const {
    using A = Acc<T>;
    T* p = static_cast<T*>(item.param);
    A w = to_float(p[i]), g = to_float(static_cast<const T*>(item.grad)[i]);
    if (o.maximize) g = -g;
    if (o.decoupled) {
      w *= static_cast<A>(1.0 - o.lr * o.weight_decay);
    } else {
      g += static_cast<A>(o.weight_decay) * w;
    }
    S *ms = static_cast<S*>(item.state[0]), *vs = static_cast<S*>(item.state[1]);
    A m = to_float(ms[i]), v = to_float(vs[i]);
    m += static_cast<A>(1.0 - o.beta1) * (g - m);
    v = static_cast<A>(o.beta2) * v + static_cast<A>(1.0 - o.beta2) * g * g;
    ms[i] = to_storage<S>(static_cast<Acc<S>>(m));
    vs[i] = to_storage<S>(static_cast<Acc<S>>(v));
    if (o.amsgrad) {
      S* xs = static_cast<S*>(item.state[2]);
      v = Max()(static_cast<A>(to_float(xs[i])), v);
      xs[i] = to_storage<S>(static_cast<Acc<S>>(v));
    }
    w -= static_cast<A>(item.a) * m / (static_cast<A>(item.b) * sqrt_of(v) + static_cast<A>(o.eps));
    p[i] = to_storage<T>(w);
  }
};

struct AxpbyStep {
  const double* factor;
  template <class T, class S>
  TERCEL_DEVICE void one(const OptimItem& item, int64_t i) const {
    using A = Acc<T>;
    T* p = static_cast<T*>(item.param);
    const double f = factor ? *factor : 1.0;
    A y = static_cast<A>(item.a * f) * static_cast<A>(to_float(p[i]));
    if (item.grad)
      y += static_cast<A>(item.b * f) *
           static_cast<A>(to_float(static_cast<const T*>(item.grad)[i]));
    p[i] = to_storage<T>(y);
  }
};

struct LerpStep {
  template <class T, class S>
  TERCEL_DEVICE void one(const OptimItem& item, int64_t i) const {
    using A = Acc<T>;
    T* p = static_cast<T*>(item.param);
    const A from = to_float(p[i]), end = to_float(static_cast<const T*>(item.grad)[i]);
    const A w = static_cast<A>(item.a);
    p[i] = to_storage<T>(w < A(0.5) ? from + w * (end - from) : end - (A(1) - w) * (end - from));
  }
};

TERCEL_DEVICE int find_item(const Batch& b, int64_t unit) {
  int low = 0, high = b.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (b.items[middle].first_unit <= unit) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

template <class T, class S, class Step>
TERCEL_DEVICE void run_unit(const OptimItem& item, int64_t begin, const Step& step) {
  TERCEL_UNROLL
  for (int j = 0; j < kOptimUnit / kThreads; ++j) {
    const int64_t i = begin + j * kThreads + threadIdx.x;
    if (i < item.numel) step.template one<T, S>(item, i);
  }
}

template <class Step>
__global__ void __launch_bounds__(kThreads, 4) step_kernel(Batch b, int64_t first_unit, Step step) {
  const int64_t unit = first_unit + blockIdx.x;
  const OptimItem& item = b.items[find_item(b, unit)];
  const int64_t begin = (unit - item.first_unit) * kOptimUnit;
  const bool wide = item.state_dtype == DType::f32;
  switch (item.dtype) {
    case DType::f64:
      return run_unit<double, double>(item, begin, step);
    case DType::f32:
      return run_unit<float, float>(item, begin, step);
    case DType::f16:
      return wide ? run_unit<f16, float>(item, begin, step) : run_unit<f16, f16>(item, begin, step);
    default:
      return wide ? run_unit<bf16, float>(item, begin, step)
                  : run_unit<bf16, bf16>(item, begin, step);
  }
}

// f(batch, first unit, number of units) for groups of at most kItems tensors.
template <class F>
void for_batches(const OptimItem* items, int64_t count, int64_t units, F f) {
  for (int64_t first = 0; first < count; first += kItems) {
    Batch b;
    b.count = static_cast<int>(count - first < kItems ? count - first : kItems);
    for (int i = 0; i < b.count; ++i) b.items[i] = items[first + i];
    const int64_t begin = items[first].first_unit;
    const int64_t end = first + b.count < count ? items[first + b.count].first_unit : units;
    if (end > begin) f(b, begin, end - begin);
  }
}

template <class Step>
void run(const OptimItem* items, int64_t count, int64_t units, const Step& step) {
  for_batches(items, count, units, [&](const Batch& b, int64_t begin, int64_t n) {
    launch(step_kernel<Step>, static_cast<unsigned>(n), kThreads, 0, b, begin, step);
  });
}

void sgd(const SgdArgs& a) { run(a.items, a.count, a.units, SgdStep{a}); }
void adam(const AdamArgs& a) { run(a.items, a.count, a.units, AdamStep{a}); }
void axpby(const ForeachAxpbyArgs& a) { run(a.items, a.count, a.units, AxpbyStep{a.factor}); }
void lerp(const ForeachLerpArgs& a) { run(a.items, a.count, a.units, LerpStep{}); }

// ---- norms
// ---------------------------------------------------------------------------------------
TERCEL_DEVICE double power_of(double x, double p) {
  const double a = ::fabs(x);
  if (p == 2.0) return a * a;
  if (p == 1.0) return a;
  if (p == 0.0) return a != 0.0 ? 1.0 : 0.0;
  return ::fabs(p) == __builtin_inf() ? a : ::pow(a, p);
}
struct NormCombine {
  double p;
  TERCEL_DEVICE double operator()(double a, double b) const {
    if (::fabs(p) != __builtin_inf()) return a + b;
    if (a != a || b != b) return a != a ? a : b;
    return p > 0 ? (a > b ? a : b) : (a < b ? a : b);
  }
};

__global__ void __launch_bounds__(kThreads)
    norm_kernel(Batch b, int64_t first_unit, double p, double* partial) {
  TERCEL_SHARED(double, shared, 32);
  const int64_t unit = first_unit + blockIdx.x;
  const OptimItem& item = b.items[find_item(b, unit)];
  const int64_t begin = (unit - item.first_unit) * kOptimUnit;
  const NormCombine f{p};
  const double identity = ::fabs(p) == __builtin_inf() && p < 0 ? __builtin_inf() : 0.0;
  double sum = identity;
  for (int j = 0; j < kOptimUnit / kThreads; ++j) {
    const int64_t i = begin + j * kThreads + threadIdx.x;
    if (i >= item.numel) continue;
    double x;
    switch (item.dtype) {
      case DType::f64:
        x = static_cast<const double*>(item.grad)[i];
        break;
      case DType::f32:
        x = static_cast<double>(static_cast<const float*>(item.grad)[i]);
        break;
      case DType::f16:
        x = static_cast<double>(to_float(static_cast<const f16*>(item.grad)[i]));
        break;
      default:
        x = static_cast<double>(to_float(static_cast<const bf16*>(item.grad)[i]));
    }
    sum = f(sum, power_of(x, p));
  }
  sum = block_reduce(sum, f, identity, shared);
  if (threadIdx.x == 0) partial[unit] = sum;
}

void norm(const ForeachNormArgs& a) {
  for_batches(a.items, a.count, a.units, [&](const Batch& b, int64_t begin, int64_t n) {
    launch(norm_kernel, static_cast<unsigned>(n), kThreads, 0, b, begin, a.p, a.partial);
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(OptimKernels, optim_kernels) = {
    .sgd = sgd, .adam = adam, .norm = norm, .axpby = axpby, .lerp = lerp};

}  // namespace tercel::cuda
