// The elementwise ops as device functions of one element. M is the type an op computes in: double
// for float32 and float64 (one rounding at the end, so the bounds of the CPU's vector functions
// hold), float for the 16- and 8-bit floats, int32_t and int64_t. Each switch names its op by its
// place in the CPU's kernel table.
#pragma once

#include "ops/elementwise/functors_binary.cuh"

namespace tercel::cuda {

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
