// The elementwise ops of one operand as device functions of one element. Each switch names its op by
// its place in the CPU's kernel table; functors.cuh has the types they compute in.
#pragma once

#include <stddef.h>

#include "ops/elementwise/functor_math.cuh"
#include "ops/elementwise/kernels.h"

namespace tercel::cuda {

#define TERCEL_OP_INDEX(Table, name) (offsetof(Table, name) / sizeof(Op))

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

}  // namespace tercel::cuda
