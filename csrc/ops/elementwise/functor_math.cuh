// Functions of one number that the elementwise ops are made of, in float and double.
#pragma once

#include "cuda/elements.cuh"

namespace tercel::cuda {

// Functions of the C library in both precisions.
#define TERCEL_MATH1(name)                                      \
  TERCEL_DEVICE double m_##name(double x) { return ::name(x); } \
  TERCEL_DEVICE float m_##name(float x) { return ::name##f(x); }
#define TERCEL_MATH2(name)                                                   \
  TERCEL_DEVICE double m_##name(double x, double y) { return ::name(x, y); } \
  TERCEL_DEVICE float m_##name(float x, float y) { return ::name##f(x, y); }
TERCEL_MATH1(fabs)
TERCEL_MATH1(exp)
TERCEL_MATH1(exp2)
TERCEL_MATH1(expm1)
TERCEL_MATH1(log)
TERCEL_MATH1(log2)
TERCEL_MATH1(log10)
TERCEL_MATH1(log1p)
TERCEL_MATH1(sqrt)
TERCEL_MATH1(sin)
TERCEL_MATH1(cos)
TERCEL_MATH1(tan)
TERCEL_MATH1(asin)
TERCEL_MATH1(acos)
TERCEL_MATH1(atan)
TERCEL_MATH1(sinh)
TERCEL_MATH1(cosh)
TERCEL_MATH1(tanh)
TERCEL_MATH1(asinh)
TERCEL_MATH1(acosh)
TERCEL_MATH1(atanh)
TERCEL_MATH1(erf)
TERCEL_MATH1(erfc)
TERCEL_MATH1(ceil)
TERCEL_MATH1(floor)
TERCEL_MATH1(trunc)
TERCEL_MATH1(rint)
TERCEL_MATH2(fmod)
TERCEL_MATH2(pow)
TERCEL_MATH2(atan2)
TERCEL_MATH2(hypot)
TERCEL_MATH2(copysign)
TERCEL_DEVICE double m_fma(double a, double b, double c) { return ::fma(a, b, c); }
TERCEL_DEVICE float m_fma(float a, float b, float c) { return ::fmaf(a, b, c); }
#undef TERCEL_MATH1
#undef TERCEL_MATH2

template <class M>
TERCEL_DEVICE M m_nan() {
  return static_cast<M>(__builtin_nan(""));
}
template <class M>
TERCEL_DEVICE M m_inf() {
  return static_cast<M>(__builtin_inf());
}
// NaN wins; of two zeros the second is kept.
template <class M>
TERCEL_DEVICE M nan_max(M a, M b) {
  return a != a ? a : b != b ? b : a > b ? a : b;
}
template <class M>
TERCEL_DEVICE M nan_min(M a, M b) {
  return a != a ? a : b != b ? b : a < b ? a : b;
}
template <class M>
TERCEL_DEVICE M clamp_to(M x, double lo, double hi) {
  return nan_min(nan_max(x, static_cast<M>(lo)), static_cast<M>(hi));
}
template <class M>
TERCEL_DEVICE M m_sigmoid(M x) {
  const M e = m_exp(-m_fabs(x));
  return (x < M(0) ? e : M(1)) / (M(1) + e);
}
template <class M>
TERCEL_DEVICE M m_softplus(M x) {  // log(1 + e^x)
  if (x != x) return x;
  return (x > M(0) ? x : M(0)) + m_log1p(m_exp(-m_fabs(x)));
}
template <class M>
TERCEL_DEVICE M m_cdf(M x) {  // of the normal distribution
  return M(0.5) * m_erfc(x * M(-0.7071067811865476));
}
template <class M>
TERCEL_DEVICE M gelu_tanh_inner(M x) {  // 2 sqrt(2/pi) (x + 0.044715 x^3)
  return x * m_fma(x * x, M(0.07135481627260025), M(1.5957691216057308));
}
template <class M>
TERCEL_DEVICE M mish_factor(M x) {  // tanh(log(1 + e^x))
  const M e = m_exp(-m_fabs(x));
  const M low = e * (e + M(2)), high = m_fma(e, M(2), M(1));
  return x < M(0) ? low / (low + M(2)) : high / m_fma(e * e, M(2), high);
}
// A product with infinity at the far left end is 0, not NaN.
template <class M>
TERCEL_DEVICE M left_limit(M x, double bound) {
  return x < static_cast<M>(-bound) ? static_cast<M>(-bound) : x;
}

TERCEL_DEVICE double erfinv_of(double x) {
  const double a = ::fabs(x);
  if (!(a < 1.0)) return a == 1.0 ? ::copysign(m_inf<double>(), x) : m_nan<double>();
  // A start good to a few percent (Winitzki 2008), then Halley steps.
  const double l = ::log((1.0 - a) * (1.0 + a)), t = 4.330746750799873 + 0.5 * l;
  double y = a == 0.0 ? 0.0 : ::sqrt(::sqrt(t * t - l / 0.147) - t);
  for (int step = 0; step < 4; ++step) {
    const double error = a < 0.5 ? ::erf(y) - a : (1.0 - a) - ::erfc(y);
    const double newton = error / (1.1283791670955126 * ::exp(-y * y));
    y -= newton / (1.0 + y * newton);
  }
  return ::copysign(y, x);
}
TERCEL_DEVICE double digamma_of(double x) {
  if (x == 0.0) return ::copysign(m_inf<double>(), -x);
  double reflection = 0.0;
  if (x < 0.0) {
    const double fraction = x - ::trunc(x);
    if (fraction == 0.0) return m_nan<double>();
    reflection = -3.141592653589793 / ::tan(3.141592653589793 * fraction);
    x = 1.0 - x;
  }
  double shift = 0.0;
  while (x < 10.0) {
    shift -= 1.0 / x;
    x += 1.0;
  }
  if (x == m_inf<double>()) return x;
  const double coefficients[] = {-2.10927960927960927961e-2, 7.57575757575757575758e-3,
                                 -4.16666666666666666667e-3, 3.96825396825396825397e-3,
                                 -8.33333333333333333333e-3, 8.33333333333333333333e-2};
  const double z = 1.0 / (x * x);
  double series = 8.33333333333333333333e-2;
  for (double c : coefficients) series = c + z * series;
  return ::log(x) - 0.5 / x - z * series + shift + reflection;
}
TERCEL_DEVICE double i0_of(double x) {
  const double a = ::fabs(x);
  double term = 1.0, total = 1.0;
  if (!(a > 30.0)) {
    const double q = 0.25 * a * a;
    for (int k = 1; k < 200 && term > total * 1e-17; ++k) {
      term *= q / (static_cast<double>(k) * k);
      total += term;
    }
    return a == a ? total : a;
  }
  for (int k = 1; k < 30 && term >= 1e-17; ++k) {
    const double odd = 2.0 * k - 1.0;
    term *= odd * odd / (8.0 * k * a);
    total += term;
  }
  return ::exp(a) / ::sqrt(6.283185307179586 * a) * total;
}
TERCEL_DEVICE double round_decimals_of(double x, const double* p) {  // params: 10^|d|, d < 0
  if (!(::fabs(x) < 1e22)) return x;
  return p[1] != 0 ? ::rint(x / p[0]) * p[0] : ::rint(x * p[0]) / p[0];
}

}  // namespace tercel::cuda
