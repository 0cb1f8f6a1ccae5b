// The elementwise ops as device functions of one element. M is the type an op computes in: double
// for float32 and float64 (one rounding at the end, so the bounds of the CPU's vector functions
// hold), float for the 16- and 8-bit floats, int32_t and int64_t. Each switch names its op by its
// place in the CPU's kernel table.
#pragma once

#include <stddef.h>

#include "cuda/elements.cuh"
#include "ops/elementwise/kernels.h"

namespace tercel::cuda {

#define TERCEL_OP_INDEX(Table, name) (offsetof(Table, name) / sizeof(Op))

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

// ---- one operand
// ---------------------------------------------------------------------------------
template <class M>
TERCEL_DEVICE M unary_float(int op, M x, const double* p) {
#define OP(name) case TERCEL_OP_INDEX(UnaryKernels, name)
  switch (op) {
    OP(abs) : return m_fabs(x);
    OP(neg) : return -x;
    OP(sign) : return M((x > M(0)) - (x < M(0)));
    OP(square) : return x * x;
    OP(relu) : return x != x ? x : x > M(0) ? x : M(0);
    OP(exp) : return m_exp(x);
    OP(exp2) : return m_exp2(x);
    OP(expm1) : return m_expm1(x);
    OP(log) : return m_log(x);
    OP(log2) : return m_log2(x);
    OP(log10) : return m_log10(x);
    OP(log1p) : return m_log1p(x);
    OP(sqrt) : return m_sqrt(x);
    OP(rsqrt) : return M(1) / m_sqrt(x);
    OP(reciprocal) : return M(1) / x;
    OP(sin) : return m_sin(x);
    OP(cos) : return m_cos(x);
    OP(tan) : return m_tan(x);
    OP(asin) : return m_asin(x);
    OP(acos) : return m_acos(x);
    OP(atan) : return m_atan(x);
    OP(sinh) : return m_sinh(x);
    OP(cosh) : return m_cosh(x);
    OP(tanh) : return m_tanh(x);
    OP(asinh) : return m_asinh(x);
    OP(acosh) : return m_acosh(x);
    OP(atanh) : return m_atanh(x);
    OP(erf) : return m_erf(x);
    OP(erfc) : return m_erfc(x);
    OP(erfinv) : return static_cast<M>(erfinv_of(x));
    OP(lgamma) : return static_cast<M>(::lgamma(static_cast<double>(x)));
    OP(digamma) : return static_cast<M>(digamma_of(x));
    OP(sigmoid) : return m_sigmoid(x);
    OP(logit) : return m_log(x / (M(1) - x));
    OP(i0) : return static_cast<M>(i0_of(x));
    OP(sinc)
        : return x == M(0)
        ? M(1)
        : static_cast<M>(::sin(3.141592653589793 * ::remainder(static_cast<double>(x), 2.0)) /
                         (3.141592653589793 * static_cast<double>(x)));
    OP(ceil) : return m_ceil(x);
    OP(floor) : return m_floor(x);
    OP(round) : return m_rint(x);
    OP(trunc) : return m_trunc(x);
    OP(frac) : return x - m_trunc(x);
    OP(round_decimals) : return static_cast<M>(round_decimals_of(x, p));
    OP(scale) : return static_cast<M>(static_cast<double>(x) * p[0]);
    OP(nan_to_num)
        : return x != x
        ? static_cast<M>(p[0])
    : x == m_inf<M>()  ? static_cast<M>(p[1])
    : x == -m_inf<M>() ? static_cast<M>(p[2])
                       : x;
    OP(isnan) : return M(x != x);
    OP(isinf) : return M(m_fabs(x) == m_inf<M>());
    OP(isfinite) : return M(m_fabs(x) < m_inf<M>());
    OP(isposinf) : return M(x == m_inf<M>());
    OP(isneginf) : return M(x == -m_inf<M>());
    OP(signbit) : return M(m_copysign(M(1), x) < M(0));
    OP(logical_not) : return M(x == M(0));
  }
  return m_nan<M>();
}

template <class T>
struct UnsignedOf {
  using type = uint32_t;
};
template <>
struct UnsignedOf<int64_t> {
  using type = uint64_t;
};
template <class T>
TERCEL_DEVICE T wrap_add(T a, T b) {
  using U = typename UnsignedOf<T>::type;
  return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
}
template <class T>
TERCEL_DEVICE T wrap_sub(T a, T b) {
  using U = typename UnsignedOf<T>::type;
  return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
}
template <class T>
TERCEL_DEVICE T wrap_mul(T a, T b) {
  using U = typename UnsignedOf<T>::type;
  return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
}

template <class T>
TERCEL_DEVICE T unary_int(int op, T x) {
  switch (op) {
    OP(abs) : return x < 0 ? wrap_sub<T>(0, x) : x;
    OP(neg) : return wrap_sub<T>(0, x);
    OP(sign) : return T((x > 0) - (x < 0));
    OP(square) : return wrap_mul(x, x);
    OP(bitwise_not) : return ~x;
    OP(relu) : return x > 0 ? x : T(0);
    OP(isfinite) : return T(1);
    OP(signbit) : return T(x < 0);
    OP(logical_not) : return T(x == 0);
    OP(isnan) : OP(isinf) : OP(isposinf) : OP(isneginf) : return T(0);
  }
  return x;  // ceil, floor, round, trunc
#undef OP
}

// ---- two operands
// --------------------------------------------------------------------------------
template <class M>
TERCEL_DEVICE M float_remainder(M a, M b) {
  const M r = m_fmod(a, b);
  return r != M(0) && (r < M(0)) != (b < M(0)) ? r + b : r;
}
template <class M>
TERCEL_DEVICE M float_floor_divide(M a, M b) {
  if (b == M(0)) return a / b;
  const M mod = m_fmod(a, b);
  M div = (a - mod) / b;
  if (mod != M(0) && (b < M(0)) != (mod < M(0))) div -= M(1);
  if (div == M(0)) return m_copysign(M(0), a / b);
  const M whole = m_floor(div);
  return div - whole > M(0.5) ? whole + M(1) : whole;
}
template <class M>
TERCEL_DEVICE M logaddexp_of(M a, M b, M scale) {
  if (a == b && m_fabs(a) == m_inf<M>()) return a;
  const M top = nan_max(a, b);
  return top + m_log1p(m_exp(-m_fabs(a - b) * scale)) / scale;
}

template <class M>
TERCEL_DEVICE M binary_float(int op, M a, M b, const double* p, bool narrow) {
#define OP(name) case TERCEL_OP_INDEX(BinaryKernels, name)
  switch (op) {
    OP(add) : return a + b;
    OP(add_scaled) : return m_fma(b, static_cast<M>(p[0]), a);
    OP(sub) : return a - b;
    OP(mul) : return a * b;
    OP(div) : return a / b;
    OP(floor_divide) : return float_floor_divide(a, b);
    OP(trunc_divide) : return m_trunc(a / b);
    OP(remainder) : return float_remainder(a, b);
    OP(fmod) : return m_fmod(a, b);
    OP(pow) : return static_cast<M>(::pow(static_cast<double>(a), static_cast<double>(b)));
    OP(maximum) : OP(clamp_min) : return nan_max(a, b);
    OP(minimum) : OP(clamp_max) : return nan_min(a, b);
    OP(fmax) : return a != a ? b : b != b ? a : a > b ? a : b;
    OP(fmin) : return a != a ? b : b != b ? a : a < b ? a : b;
    OP(atan2) : return m_atan2(a, b);
    OP(hypot) : return m_hypot(a, b);
    OP(copysign) : return m_copysign(a, b);
    OP(xlogy) : return b != b ? b : a == M(0) ? M(0) : a * m_log(b);
    OP(logaddexp) : return logaddexp_of(a, b, M(1));
    OP(logaddexp2) : return logaddexp_of(a, b, static_cast<M>(0.6931471805599453));
    OP(nextafter)
        : return narrow
          ? static_cast<M>(::nextafterf(static_cast<float>(a), static_cast<float>(b)))
          : static_cast<M>(::nextafter(static_cast<double>(a), static_cast<double>(b)));
    OP(heaviside) : return a != a ? a : a == M(0) ? b : M(a > M(0));
    OP(ldexp) : {
      const double n = static_cast<double>(b);
      const int e = n > 3000.0 ? 3000 : n < -3000.0 ? -3000 : static_cast<int>(n);
      return b != b ? b : static_cast<M>(::ldexp(static_cast<double>(a), e));
    }
    OP(eq) : return M(a == b);
    OP(ne) : return M(a != b);
    OP(lt) : return M(a < b);
    OP(le) : return M(a <= b);
    OP(gt) : return M(a > b);
    OP(ge) : return M(a >= b);
    OP(logical_and) : return M((a != M(0)) && (b != M(0)));
    OP(logical_or) : return M((a != M(0)) || (b != M(0)));
    OP(logical_xor) : return M((a != M(0)) != (b != M(0)));
    OP(isclose) : {
      const double x = static_cast<double>(a), y = static_cast<double>(b);
      const bool near = ::fabs(x - y) <= p[1] + p[0] * ::fabs(y);
      const bool finite = ::fabs(x) < m_inf<double>() && ::fabs(y) < m_inf<double>();
      return M((x == y) || (near && finite) || (x != x && y != y && p[2] != 0));
    }
  }
  return m_nan<M>();
}

template <class T>
TERCEL_DEVICE T int_trunc_divide(T a, T b) {
  if (b == 0) return 0;
  return b == -1 ? wrap_sub<T>(0, a) : a / b;
}
template <class T>
TERCEL_DEVICE T int_fmod(T a, T b) {
  return b == 0 || b == -1 ? T(0) : a % b;
}
template <class T>
TERCEL_DEVICE T int_pow(T a, T b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
  T r = 1;
  while (b) {
    if (b & 1) r = wrap_mul(r, a);
    a = wrap_mul(a, a);
    b >>= 1;
  }
  return r;
}
template <class T>
TERCEL_DEVICE T int_gcd(T a, T b) {
  using U = typename UnsignedOf<T>::type;
  U x = a < 0 ? U(0) - static_cast<U>(a) : static_cast<U>(a);
  U y = b < 0 ? U(0) - static_cast<U>(b) : static_cast<U>(b);
  while (y) {
    const U r = x % y;
    x = y;
    y = r;
  }
  return static_cast<T>(x);
}

template <class T>
TERCEL_DEVICE T binary_int(int op, T a, T b, const double* p) {
  constexpr T kBits = sizeof(T) * 8;
  const T r = int_fmod(a, b);
  const bool inexact = r != 0 && (r < 0) != (b < 0);
  switch (op) {
    OP(add) : return wrap_add(a, b);
    OP(add_scaled) : return wrap_add(a, wrap_mul(b, static_cast<T>(p[0])));
    OP(sub) : return wrap_sub(a, b);
    OP(mul) : return wrap_mul(a, b);
    OP(floor_divide) : return int_trunc_divide(a, b) - (inexact ? 1 : 0);
    OP(trunc_divide) : return int_trunc_divide(a, b);
    OP(remainder) : return inexact ? r + b : r;
    OP(fmod) : return r;
    OP(pow) : return int_pow(a, b);
    OP(maximum) : OP(clamp_min) : OP(fmax) : return a > b ? a : b;
    OP(minimum) : OP(clamp_max) : OP(fmin) : return a < b ? a : b;
    OP(heaviside) : return a == 0 ? b : T(a > 0);
    OP(gcd) : return int_gcd(a, b);
    OP(lcm) : {
      const T g = int_gcd(a, b);
      if (g == 0) return 0;
      const T m = wrap_mul(int_trunc_divide(a, g), b);
      return m < 0 ? wrap_sub<T>(0, m) : m;
    }
    OP(bitwise_and) : return a & b;
    OP(bitwise_or) : return a | b;
    OP(bitwise_xor) : return a ^ b;
    OP(shift_left)
        : return b >= 0 &&
            b < kBits
        ? static_cast<T>(static_cast<typename UnsignedOf<T>::type>(a) << b)
        : T(0);
    OP(shift_right) : return a >> (b >= 0 && b < kBits ? b : kBits - 1);
    OP(eq) : return T(a == b);
    OP(ne) : return T(a != b);
    OP(lt) : return T(a < b);
    OP(le) : return T(a <= b);
    OP(gt) : return T(a > b);
    OP(ge) : return T(a >= b);
    OP(logical_and) : return T(a != 0 && b != 0);
    OP(logical_or) : return T(a != 0 || b != 0);
    OP(logical_xor) : return T((a != 0) != (b != 0));
    OP(isclose) : {
      const double x = static_cast<double>(a), y = static_cast<double>(b);
      return T(a == b || ::fabs(x - y) <= p[1] + p[0] * ::fabs(y));
    }
  }
  return 0;
#undef OP
}

// ---- three operands
// ------------------------------------------------------------------------------
template <class M>
TERCEL_DEVICE M ternary_of(int op, M a, M b, M c, const double* p) {
#define OP(name) case TERCEL_OP_INDEX(TernaryKernels, name)
  switch (op) {
    OP(where8) : OP(where16) : OP(where32) : OP(where64) : return a != M(0) ? b : c;
    OP(clamp) : return nan_min(nan_max(a, b), c);
  }
  if constexpr (IsReal<M>::value) {
    switch (op) {
      OP(lerp) : {
        const M d = b - a;
        return m_fabs(c) < M(0.5) ? m_fma(c, d, a) : m_fma(c - M(1), d, b);
      }
      OP(addcmul) : return m_fma(static_cast<M>(p[0]) * b, c, a);
      OP(addcdiv) : return m_fma(static_cast<M>(p[0]), b / c, a);
    }
  } else {
    if (op == TERCEL_OP_INDEX(TernaryKernels, addcmul))
      return wrap_add(a, wrap_mul(wrap_mul(static_cast<M>(p[0]), b), c));
  }
  return M(0);
#undef OP
}

// ---- activations: x; g, x (the derivative times g); or x, weight
// -----------------------------------
template <class M>
TERCEL_DEVICE M activation_of(int op, M a, M b, M c, const double* p) {
#define OP(name) case TERCEL_OP_INDEX(ActivationKernels, name)
  const M p0 = static_cast<M>(p[0]), p1 = static_cast<M>(p[1]), p2 = static_cast<M>(p[2]);
  switch (op) {
    OP(leaky_relu) : return a > M(0) ? a : a * p0;
    OP(elu) : return a > M(0) ? a * p1 : m_expm1(a * p2) * static_cast<M>(p[0] * p[1]);
    OP(gelu) : return left_limit(a, 50.0) * m_cdf(a);
    OP(gelu_tanh) : return left_limit(a, 50.0) * m_sigmoid(gelu_tanh_inner(a));
    OP(silu) : return left_limit(a, 1000.0) * m_sigmoid(a);
    OP(mish) : return left_limit(a, 1000.0) * mish_factor(a);
    OP(hardswish) : return a * clamp_to(a + M(3), 0, 6) / M(6);
    OP(hardsigmoid) : return clamp_to(a + M(3), 0, 6) / M(6);
    OP(hardtanh) : return clamp_to(a, p[0], p[1]);
    OP(softplus) : return a * p0 > p1 ? a : m_softplus(a * p0) / p0;
    OP(softsign) : return a / (M(1) + m_fabs(a));
    OP(tanhshrink) : return a - m_tanh(a);
    OP(softshrink) : return a > p0 ? a - p0 : a < -p0 ? a + p0 : a * M(0);
    OP(hardshrink) : return a >= -p0 && a <= p0 ? M(0) : a;
    OP(threshold) : return a <= p0 ? p1 : a;
    OP(logsigmoid) : return -m_softplus(-a);
    OP(relu_backward) : return b > M(0) ? a : M(0);
    OP(leaky_relu_backward) : return b > M(0) ? a : a * p0;
    OP(elu_backward)
        : return b > M(0)
        ? a * p1
        : a * m_exp(b * p2) * static_cast<M>(p[0] * p[1] * p[2]);
    OP(gelu_backward) : {
      const M v = clamp_to(b, -40, 40);
      return a * m_fma(v * M(0.3989422804014327), m_exp(M(-0.5) * v * v), m_cdf(v));
    }
    OP(gelu_tanh_backward) : {
      const M v = clamp_to(b, -30, 30), s = m_sigmoid(gelu_tanh_inner(v));
      const M slope = m_fma(v * v, M(0.21406444881780075), M(1.5957691216057308));
      return a * m_fma(v * s * m_sigmoid(-gelu_tanh_inner(v)), slope, s);
    }
    OP(silu_backward) : {
      const M s = m_sigmoid(b);
      return a * (s * m_fma(clamp_to(b, -1e30, 1e30), m_sigmoid(-b), M(1)));
    }
    OP(mish_backward) : {
      const M v = clamp_to(b, -700, 700), t = mish_factor(v);
      return a * m_fma(v * m_sigmoid(v), m_fma(-t, t, M(1)), t);
    }
    OP(hardswish_backward) : return b < M(-3) ? M(0) : b <= M(3) ? a * (b / M(3) + M(0.5)) : a;
    OP(hardsigmoid_backward) : return b > M(-3) && b < M(3) ? a / M(6) : M(0);
    OP(hardtanh_backward) : return b > p0 && b < p1 ? a : M(0);
    OP(softplus_backward) : return b * p0 > p1 ? a : a * m_sigmoid(b * p0);
    OP(softsign_backward) : {
      const M d = M(1) + m_fabs(b);
      return a / (d * d);
    }
    OP(softshrink_backward) : OP(hardshrink_backward) : return b >= -p0 && b <= p0 ? M(0) : a;
    OP(threshold_backward) : return b <= p0 ? M(0) : a;
    OP(logsigmoid_backward) : return a * m_sigmoid(-b);
    OP(sigmoid_backward) : return a * b * (M(1) - b);
    OP(tanh_backward) : return a * m_fma(-b, b, M(1));
    OP(glu) : return a * m_sigmoid(b);
    OP(prelu) : return a > M(0) ? a : a * b;
    OP(prelu_backward_input) : return b > M(0) ? a : a * c;
    OP(prelu_backward_weight) : return b > M(0) ? M(0) : a * b;
  }
  return m_nan<M>();
#undef OP
}

// Any op on up to three operands.
template <class M>
TERCEL_DEVICE M apply_op(OpTable table, int op, M a, M b, M c, const double* p, bool narrow) {
  if (table == OpTable::copy) return a;
  if (table == OpTable::ternary) return ternary_of<M>(op, a, b, c, p);
  if constexpr (IsReal<M>::value) {
    if (table == OpTable::unary) return unary_float<M>(op, a, p);
    if (table == OpTable::binary) return binary_float<M>(op, a, b, p, narrow);
    return activation_of<M>(op, a, b, c, p);
  } else {
    if (table == OpTable::unary) return unary_int<M>(op, a);
    return binary_int<M>(op, a, b, p);
  }
}

}  // namespace tercel::cuda
