// Kernels of cross entropy with class indices: log-probabilities are never written to memory.
//
// Forward: one pass of logsumexp per sample, then the loss from it and x[target]. Backward: one
// pass dx = a p_c - b w_c with p_c = exp((x_c - max) - log_total), and the target's element once
// more with the indicator. A sample is a row (inner = 1) or a column of a tile. Work is split over
// samples; computes in float32 (float64).
#include "ops/softmax/softmax_kernels.h"
#include "ops/softmax/softmax_rows.h"

namespace tercel {
namespace {

template <class T>
struct Forward {
  using V = ComputeVec<T>;
  using S = ComputeScalar<T>;
  const CrossEntropyFwdArgs& a;
  const S* weight;
  S keep, smooth, weight_sum;

  explicit Forward(const CrossEntropyFwdArgs& args)
      : a(args),
        weight(static_cast<const S*>(args.weight)),
        keep(static_cast<S>(1.0 - args.smoothing)),
        smooth(static_cast<S>(args.smoothing / static_cast<double>(args.n))),
        weight_sum(static_cast<S>(args.n)) {
    if (weight && a.smoothing != 0) {
      weight_sum = row_sum<V>(a.n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
        return load_lanes<V>(weight + i, lanes);
      });
    }
  }
  // weighted: sum over classes of w_c (shift - x_c), used when smoothing
  TERCEL_INLINE S loss(const LogSum<S>& s, S x_target, int64_t target, S weighted) const {
    const S w = weight ? weight[target] : S(1);
    S v = w * ((s.shift - x_target) + s.log_total);
    if (a.smoothing != 0) v = keep * v + smooth * (weight_sum * s.log_total + weighted);
    return v;
  }
  void write(int64_t sample, const LogSum<S>& s, S loss) const {
    static_cast<S*>(a.lse)[sample] = s.shift;
    static_cast<S*>(a.lse)[a.outer * a.inner + sample] = s.log_total;
    static_cast<S*>(a.loss)[sample] = loss;
  }
  void rows(int64_t begin, int64_t end) const {
    const T* x = static_cast<const T*>(a.x);
    for (int64_t o = begin; o < end; ++o) {
      const int64_t t = a.target[o];
      const T* row = x + o * a.n;
      if (t == a.ignore_index) {
        write(o, {S(0), S(0)}, S(0));
        continue;
      }
      const LogSum<S> s = row_logsumexp(row, a.n);
      S weighted = 0;
      if (a.smoothing != 0) {
        weighted = row_sum<V>(a.n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
          const V v = V(s.shift) - load_lanes<V>(row + i, lanes);
          return weight ? v * load_lanes<V>(weight + i, lanes) : v;
        });
      }
      write(o, s, loss(s, static_cast<S>(row[t]), t, weighted));
    }
  }
  void columns(int64_t o, int64_t c, int64_t width) const {
    const T* x = static_cast<const T*>(a.x) + o * a.n * a.inner + c;
    const int64_t sample = o * a.inner + c;
    alignas(64) S shift[kTile], log_total[kTile], weighted[kTile];
    column_logsumexp(x, a.n, a.inner, width, shift, log_total);
    if (a.smoothing != 0) {
      column_sum<V>(a.n, width, weighted,
                    [&](int64_t r, int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
                      const V v = V::load(shift + i) - load_lanes<V>(x + r * a.inner + i, lanes);
                      return weight ? v * V(weight[r]) : v;
                    });
    }
    for (int64_t i = 0; i < width; ++i) {
      const int64_t t = a.target[sample + i];
      if (t == a.ignore_index) {
        write(sample + i, {S(0), S(0)}, S(0));
        continue;
      }
      const LogSum<S> s{shift[i], log_total[i]};
      const S w = a.smoothing != 0 ? weighted[i] : S(0);
      write(sample + i, s, loss(s, static_cast<S>(x[t * a.inner + i]), t, w));
    }
  }
};

template <class T>
struct Backward {
  using V = ComputeVec<T>;
  using S = ComputeScalar<T>;
  const CrossEntropyBwdArgs& a;
  const S* weight;
  S keep, smooth, weight_sum;

  explicit Backward(const CrossEntropyBwdArgs& args)
      : a(args),
        weight(static_cast<const S*>(args.weight)),
        keep(static_cast<S>(1.0 - args.smoothing)),
        smooth(static_cast<S>(args.smoothing / static_cast<double>(args.n))),
        weight_sum(static_cast<S>(args.n)) {
    if (weight && a.smoothing != 0) {
      weight_sum = row_sum<V>(a.n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
        return load_lanes<V>(weight + i, lanes);
      });
    }
  }
  struct Coefficients {
    S probability, constant,
        indicator;  // dx_c = probability p_c - constant w_c - indicator [c == t]
  };
  TERCEL_INLINE Coefficients coefficients(int64_t sample, int64_t t) const {
    const S* scale = static_cast<const S*>(a.scale);
    const S g = scale[a.scale_per_sample ? sample : 0];
    const S indicator = g * keep * (weight ? weight[t] : S(1));
    return {indicator + g * smooth * weight_sum, g * smooth, indicator};
  }
  TERCEL_INLINE LogSum<S> saved(int64_t sample) const {
    const S* lse = static_cast<const S*>(a.lse);
    return {lse[sample], lse[a.outer * a.inner + sample]};
  }
  static TERCEL_INLINE V probability(V x, V shift, V log_total) {
    return exp_of((x - shift) - log_total);
  }
  // The target's element, rounded once.
  TERCEL_INLINE T target_gradient(T x, const LogSum<S>& s, const Coefficients& k, int64_t t) const {
    alignas(64) S p[V::size];
    exp_of(V((static_cast<S>(x) - s.shift) - s.log_total)).store(p);
    const S w = weight ? weight[t] : S(1);
    S v = k.probability * p[0];
    if (a.smoothing != 0) v -= k.constant * w;
    return T(v - k.indicator);
  }
  void rows(int64_t begin, int64_t end) const {
    for (int64_t o = begin; o < end; ++o) {
      const T* x = static_cast<const T*>(a.x) + o * a.n;
      T* dx = static_cast<T*>(a.dx) + o * a.n;
      const int64_t t = a.target[o];
      if (t == a.ignore_index) {
        row_each<V>(a.n, [&](int64_t i, int64_t lanes)
                             TERCEL_LAMBDA_INLINE { store_lanes(V(0), dx + i, lanes); });
        continue;
      }
      const LogSum<S> s = saved(o);
      const Coefficients k = coefficients(o, t);
      const T at_target = target_gradient(x[t], s, k, t);
      if (a.smoothing == 0) {
        row_each<V>(a.n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
          store_lanes(V(k.probability) *
                          probability(load_lanes<V>(x + i, lanes), V(s.shift), V(s.log_total)),
                      dx + i, lanes);
        });
      } else {
        row_each<V>(a.n, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
          const V w = weight ? load_lanes<V>(weight + i, lanes) : V(1);
          const V p = probability(load_lanes<V>(x + i, lanes), V(s.shift), V(s.log_total));
          store_lanes(V(k.probability) * p - V(k.constant) * w, dx + i, lanes);
        });
      }
      dx[t] = at_target;
    }
  }
  void columns(int64_t o, int64_t c, int64_t width) const {
    const int64_t offset = o * a.n * a.inner + c, sample = o * a.inner + c;
    const T* x = static_cast<const T*>(a.x) + offset;
    T* dx = static_cast<T*>(a.dx) + offset;
    alignas(64) S shift[kTile] = {}, log_total[kTile] = {}, factor[kTile] = {},
                  constant[kTile] = {};
    T at_target[kTile];
    for (int64_t i = 0; i < width; ++i) {
      const int64_t t = a.target[sample + i];
      if (t == a.ignore_index) continue;
      const Coefficients k = coefficients(sample + i, t);
      const LogSum<S> s = saved(sample + i);
      shift[i] = s.shift;
      log_total[i] = s.log_total;
      factor[i] = k.probability;
      constant[i] = k.constant;
      at_target[i] = target_gradient(x[t * a.inner + i], s, k, t);
    }
    for (int64_t r = 0; r < a.n; ++r) {
      const V w(weight ? weight[r] : S(1));
      row_each<V>(width, [&](int64_t i, int64_t lanes) TERCEL_LAMBDA_INLINE {
        V v = V::load(factor + i) * probability(load_lanes<V>(x + r * a.inner + i, lanes),
                                                V::load(shift + i), V::load(log_total + i));
        if (a.smoothing != 0) v = v - V::load(constant + i) * w;
        store_lanes(v, dx + r * a.inner + i, lanes);
      });
    }
    for (int64_t i = 0; i < width; ++i) {
      const int64_t t = a.target[sample + i];
      if (t == a.ignore_index) {
        for (int64_t r = 0; r < a.n; ++r) dx[r * a.inner + i] = T(0.0f);
      } else {
        dx[t * a.inner + i] = at_target[i];
      }
    }
  }
};

template <class Pass, class Args>
void run(const Args& a) {
  const Pass pass(a);
  if (a.inner == 1) {
    parallel_for(a.outer, softmax_grain(a.n),
                 [&](int64_t begin, int64_t end) { pass.rows(begin, end); });
    return;
  }
  const int64_t width = tile_width(a.inner), tiles = (a.inner + width - 1) / width;
  parallel_for(a.outer * tiles, softmax_grain(a.n * width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t c = t % tiles * width;
      pass.columns(t / tiles, c, width < a.inner - c ? width : a.inner - c);
    }
  });
}

void fwd(const CrossEntropyFwdArgs& a) {
  switch (a.dtype) {
    case DType::f64:
      return run<Forward<double>>(a);
    case DType::f16:
      return run<Forward<f16>>(a);
    case DType::bf16:
      return run<Forward<bf16>>(a);
    default:
      return run<Forward<float>>(a);
  }
}
void bwd(const CrossEntropyBwdArgs& a) {
  switch (a.dtype) {
    case DType::f64:
      return run<Backward<double>>(a);
    case DType::f16:
      return run<Backward<f16>>(a);
    case DType::bf16:
      return run<Backward<bf16>>(a);
    default:
      return run<Backward<float>>(a);
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const CrossEntropyKernels cross_entropy_kernels = {fwd, bwd};
}
}  // namespace tercel
