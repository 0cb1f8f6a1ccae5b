// Fused multi-tensor optimizer kernels: one pass over parameter, gradient and states. Threads take
// runs of units; every element is computed on its own, so the split does not matter.
#include <math.h>

#include "core/parallel.h"
#include "ops/optim/optim_kernels.h"
#include "simd/rows.h"

namespace tercel {
namespace {

// Calls f(item, begin, end) for the runs of elements of units [begin, end).
template <class F>
TERCEL_INLINE void for_items(const OptimItem* items, int64_t count, int64_t begin, int64_t end,
                             F&& f) {
  int64_t lo = 0, hi = count;  // last item that starts at or before `begin`
  while (hi - lo > 1) {
    const int64_t mid = (lo + hi) / 2;
    if (items[mid].first_unit <= begin) {
      lo = mid;
    } else {
      hi = mid;
    }
  }
  for (int64_t i = lo; i < count && items[i].first_unit < end; ++i) {
    const OptimItem& item = items[i];
    const int64_t from = begin > item.first_unit ? (begin - item.first_unit) * kOptimUnit : 0;
    const int64_t last = (end - item.first_unit) * kOptimUnit;
    f(item, from, last < item.numel ? last : item.numel);
  }
}

// Few units are not worth a second thread.
TERCEL_INLINE int64_t grain_for(int64_t units, int64_t count) {
  return units - count <= 16 && units <= 128 ? units : 32;
}

// visit over (dtype of param, dtype of state)
template <class F>
TERCEL_INLINE void visit_pair(const char* op, DType dtype, DType state, F&& f) {
  if (dtype == state) {
    visit<TERCEL_FLOATS>(dtype, op, [&]<class T>() { f.template operator()<T, T>(); });
  } else {
    visit<f16, bf16>(dtype, op, [&]<class T>() { f.template operator()<T, float>(); });
  }
}

template <class T, class S, bool kMomentum>
void sgd_run(const SgdArgs& a, const OptimItem& item, int64_t begin, int64_t end) {
  using A = acc_t<T>;
  using V = Vec<A>;
  T* p = static_cast<T*>(item.param) + begin;
  const T* g = static_cast<const T*>(item.grad) + begin;
  S* m = kMomentum ? static_cast<S*>(item.state[0]) + begin : nullptr;
  const V decay(static_cast<A>(a.weight_decay)), momentum(static_cast<A>(a.momentum));
  const V keep(static_cast<A>(1.0 - a.dampening)), rate(static_cast<A>(-a.lr));
  const bool first = item.a != 0, decays = a.weight_decay != 0;
  for_vectors<V>(end - begin, [&]<bool kFull>(int64_t i, int64_t n) {
    V d = load<kFull, V>(g + i, n);
    const V w = load<kFull, V>(p + i, n);
    if (a.maximize) d = -d;
    if (decays) d = fma(w, decay, d);
    if constexpr (kMomentum) {
      const V buffer = first ? d : fma(load<kFull, V>(m + i, n), momentum, d * keep);
      store<kFull>(buffer, m + i, n);
      d = a.nesterov ? fma(buffer, momentum, d) : buffer;
    }
    store<kFull>(fma(d, rate, w), p + i, n);
  });
}

void sgd(const SgdArgs& a) {
  parallel_for(a.units, grain_for(a.units, a.count), [&](int64_t begin, int64_t end) {
    for_items(a.items, a.count, begin, end, [&](const OptimItem& item, int64_t from, int64_t to) {
      visit_pair("sgd", item.dtype, item.state_dtype, [&]<class T, class S>() {
        a.momentum != 0 ? sgd_run<T, S, true>(a, item, from, to)
                        : sgd_run<T, S, false>(a, item, from, to);
      });
    });
  });
}

template <class T, class S, bool kAmsgrad>
void adam_run(const AdamArgs& a, const OptimItem& item, int64_t begin, int64_t end) {
  using A = acc_t<T>;
  using V = Vec<A>;
  T* p = static_cast<T*>(item.param) + begin;
  const T* g = static_cast<const T*>(item.grad) + begin;
  S *m = static_cast<S*>(item.state[0]) + begin, *v = static_cast<S*>(item.state[1]) + begin;
  S* vmax = kAmsgrad ? static_cast<S*>(item.state[2]) + begin : nullptr;
  const V decay(static_cast<A>(a.decoupled ? 1.0 - a.lr * a.weight_decay : a.weight_decay));
  const V toward(static_cast<A>(1.0 - a.beta1)), beta2(static_cast<A>(a.beta2)),
      fresh(static_cast<A>(1.0 - a.beta2));
  const V step(static_cast<A>(-item.a)), scale(static_cast<A>(item.b)), eps(static_cast<A>(a.eps));
  const bool decays = a.weight_decay != 0;
  for_vectors<V>(end - begin, [&]<bool kFull>(int64_t i, int64_t n) {
    V w = load<kFull, V>(p + i, n), d = load<kFull, V>(g + i, n);
    if (a.maximize) d = -d;
    if (decays) {
      if (a.decoupled) {
        w = w * decay;
      } else {
        d = fma(w, decay, d);
      }
    }
    const V m0 = load<kFull, V>(m + i, n);
    const V m1 = fma(d - m0, toward, m0);
    V v1 = fma(load<kFull, V>(v + i, n), beta2, d * d * fresh);
    store<kFull>(m1, m + i, n);
    store<kFull>(v1, v + i, n);
    if constexpr (kAmsgrad) {
      v1 = simd::maximum(load<kFull, V>(vmax + i, n), v1);
      store<kFull>(v1, vmax + i, n);
    }
    store<kFull>(fma(m1 / fma(sqrt(v1), scale, eps), step, w), p + i, n);
  });
}

void adam(const AdamArgs& a) {
  parallel_for(a.units, grain_for(a.units, a.count), [&](int64_t begin, int64_t end) {
    for_items(a.items, a.count, begin, end, [&](const OptimItem& item, int64_t from, int64_t to) {
      visit_pair("adam", item.dtype, item.state_dtype, [&]<class T, class S>() {
        a.amsgrad ? adam_run<T, S, true>(a, item, from, to)
                  : adam_run<T, S, false>(a, item, from, to);
      });
    });
  });
}

// ---- norms of lists
// --------------------------------------------------------------------------------

TERCEL_INLINE void add_squares(const VecF& x, VecD* lo, VecD* hi) {
  const VecD a = to_double_lo(x), b = to_double_hi(x);
  *lo = fma(a, a, *lo);
  *hi = fma(b, b, *hi);
}
TERCEL_INLINE void add_squares(const VecD& x, VecD* lo, VecD*) { *lo = fma(x, x, *lo); }
TERCEL_INLINE void add_values(const VecF& x, VecD* lo, VecD* hi) {
  *lo = *lo + to_double_lo(x);
  *hi = *hi + to_double_hi(x);
}
TERCEL_INLINE void add_values(const VecD& x, VecD* lo, VecD*) { *lo = *lo + x; }

template <class T>
double unit_norm(const T* x, int64_t n, double p) {
  using V = Vec<acc_t<T>>;
  VecD lo(0.0), hi(0.0);
  if (p == 2.0) {
    for_vectors<V>(n, [&]<bool kFull>(int64_t i, int64_t k) {
      add_squares(load<kFull, V>(x + i, k), &lo, &hi);
    });
    return sum(lo + hi);
  }
  if (p == 1.0) {
    for_vectors<V>(n, [&]<bool kFull>(int64_t i, int64_t k) {
      add_values(simd::abs(load<kFull, V>(x + i, k)), &lo, &hi);
    });
    return sum(lo + hi);
  }
  double s = 0;
  const bool largest = p > 1.7e308, smallest = p < -1.7e308;
  if (smallest) s = p > 0 ? p : -p;
  for (int64_t i = 0; i < n; ++i) {
    const double v = __builtin_fabs(static_cast<double>(static_cast<acc_t<T>>(x[i])));
    if (largest) {
      s = v > s || v != v ? v : s;
    } else if (smallest) {
      s = v < s || v != v ? v : s;
    } else if (p == 0.0) {
      s += v != 0.0 ? 1.0 : 0.0;
    } else {
      s += pow(v, p);
    }
    if (s != s) break;
  }
  return s;
}

void foreach_norm(const ForeachNormArgs& a) {
  parallel_for(a.units, grain_for(a.units, a.count), [&](int64_t begin, int64_t end) {
    for_items(a.items, a.count, begin, end, [&](const OptimItem& item, int64_t from, int64_t to) {
      visit<TERCEL_FLOATS>(item.dtype, "_foreach_norm", [&]<class T>() {
        const T* x = static_cast<const T*>(item.grad);
        for (int64_t i = from; i < to; i += kOptimUnit) {
          a.partial[item.first_unit + i / kOptimUnit] =
              unit_norm(x + i, to - i < kOptimUnit ? to - i : kOptimUnit, a.p);
        }
      });
    });
  });
}

void foreach_axpby(const ForeachAxpbyArgs& a) {
  parallel_for(a.units, grain_for(a.units, a.count), [&](int64_t begin, int64_t end) {
    for_items(a.items, a.count, begin, end, [&](const OptimItem& item, int64_t from, int64_t to) {
      visit<TERCEL_FLOATS>(item.dtype, "_foreach_mul_", [&]<class T>() {
        using A = acc_t<T>;
        using V = Vec<A>;
        T* x = static_cast<T*>(item.param) + from;
        const T* y = item.grad ? static_cast<const T*>(item.grad) + from : nullptr;
        const double factor = a.factor ? *a.factor : 1.0;
        const V s(static_cast<A>(item.a * factor)), t(static_cast<A>(item.b * factor));
        for_vectors<V>(to - from, [&]<bool kFull>(int64_t i, int64_t n) {
          V v = load<kFull, V>(x + i, n) * s;
          if (y) v = fma(load<kFull, V>(y + i, n), t, v);
          store<kFull>(v, x + i, n);
        });
      });
    });
  });
}

void foreach_lerp(const ForeachLerpArgs& a) {
  parallel_for(a.units, grain_for(a.units, a.count), [&](int64_t begin, int64_t end) {
    for_items(a.items, a.count, begin, end, [&](const OptimItem& item, int64_t from, int64_t to) {
      visit<TERCEL_FLOATS>(item.dtype, "_foreach_lerp_", [&]<class T>() {
        using A = acc_t<T>;
        using V = Vec<A>;
        T* x = static_cast<T*>(item.param) + from;
        const T* y = static_cast<const T*>(item.grad) + from;
        // From the nearer end, as lerp does.
        const bool near_start = __builtin_fabs(item.a) < 0.5;
        const V t(static_cast<A>(near_start ? item.a : item.a - 1.0));
        for_vectors<V>(to - from, [&]<bool kFull>(int64_t i, int64_t n) {
          const V s = load<kFull, V>(x + i, n), e = load<kFull, V>(y + i, n);
          store<kFull>(fma(e - s, t, near_start ? s : e), x + i, n);
        });
      });
    });
  });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const OptimKernels optim_kernels = {sgd, adam, foreach_norm, foreach_axpby, foreach_lerp};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
