// The elementwise ops of two and three operands as device functions of one element.
#pragma once

#include "ops/elementwise/functors_unary.cuh"

namespace tercel::cuda {

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

}  // namespace tercel::cuda
