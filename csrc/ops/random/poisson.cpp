// Poisson draws, element by element on the host.
#include <cmath>

#include "ops/copy/copy.h"
#include "ops/random/random.h"

namespace tercel {

namespace {

// Uniforms of one element: element i draws from its own Philox stream (seed, offset + i) by
// counting in the third word, so the number of rejections of one element does not move the others.
struct Stream {
  PhiloxKey key;
  uint64_t element;
  uint64_t used = 0;
  double next() {
    const Philox4 w = philox({key.seed ^ (used / 2 * 0x9E3779B97F4A7C15ull), key.offset}, element);
    const int h = static_cast<int>(used++ % 2) * 2;
    return uniform_double(w.v[h], w.v[h + 1]);
  }
};

double poisson_one(double rate, Stream s) {
  if (rate < 10) {
    const double limit = std::exp(-rate);
    double product = 1;
    int64_t k = -1;
    do {
      product *= s.next();
      ++k;
    } while (product > limit);
    return static_cast<double>(k);
  }
  const double root = std::sqrt(rate), b = 0.931 + 2.53 * root, a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2);
  const double log_rate = std::log(rate);
  while (true) {
    const double u = s.next() - 0.5, v = s.next(), us = 0.5 - std::fabs(u);
    const double k = std::floor((2 * a / us + b) * u + rate + 0.43);
    if (us >= 0.07 && v <= v_r) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (std::log(v * inverse_alpha / (a / (us * us) + b)) <=
        k * log_rate - rate - std::lgamma(k + 1))
      return k;
  }
}

}  // namespace

Tensor poisson(const Tensor& rate, const GeneratorRef& g) {
  if (!(dtype_bit(rate.dtype()) & kWideFloatMask))
    fail_dtype("poisson", rate.dtype(), kWideFloatMask);
  if (rate.device().is_cuda()) {
    return to_device(poisson(to_device(make_alias(rate), {}), g), rate.device());
  }
  const Tensor wide = clone_contiguous(to(make_alias(rate), DType::f64));
  double* v = wide.data_as<double>();
  for (int64_t i = 0; i < wide.numel(); ++i) {
    TERCEL_CHECK(v[i] >= 0 && v[i] < 0x1p62, Value, "poisson: rate must be finite and >= 0, got ",
                 v[i], " at position ", i);
  }
  const PhiloxKey key = (g ? g : default_generator())->take(static_cast<uint64_t>(wide.numel()));
  for (int64_t i = 0; i < wide.numel(); ++i)
    v[i] = poisson_one(v[i], {key, static_cast<uint64_t>(i)});
  return to(wide, rate.dtype());
}

}  // namespace tercel
