// Kernel tables of the elementwise ops. An Op holds one loop per work type: float32 (also for the
// 16- and 8-bit floats), float64, int32 (also for the narrower integers and bool) and int64.
#pragma once

#include "core/kernel_table.h"
#include "ops/elementwise/op.h"

namespace tercel {

struct UnaryKernels {
  // any numeric dtype
  Op abs, neg, sign, square, bitwise_not, relu;
  // floats
  Op exp, exp2, expm1, log, log2, log10, log1p, sqrt, rsqrt, reciprocal;
  Op sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, asinh, acosh, atanh;
  Op erf, erfc, erfinv, lgamma, digamma, sigmoid, logit, i0, sinc;
  Op ceil, floor, round, trunc, frac, round_decimals, scale, nan_to_num;
  // result bool
  Op isnan, isinf, isfinite, isposinf, isneginf, signbit, logical_not;
};
TERCEL_KERNEL_TABLE(UnaryKernels, unary_kernels)

struct BinaryKernels {
  Op add, add_scaled, sub, mul, div, floor_divide, trunc_divide, remainder, fmod, pow;
  Op maximum, minimum, fmax, fmin, clamp_min, clamp_max;
  Op atan2, hypot, copysign, xlogy, logaddexp, logaddexp2, nextafter, heaviside, ldexp;
  Op gcd, lcm, bitwise_and, bitwise_or, bitwise_xor, shift_left, shift_right;
  // result bool
  Op eq, ne, lt, le, gt, ge, logical_and, logical_or, logical_xor;
  Op isclose;  // params: rtol, atol, equal_nan
};
TERCEL_KERNEL_TABLE(BinaryKernels, binary_kernels)

struct TernaryKernels {
  Op where8, where16, where32, where64;  // by element size; condition is bool
  Op clamp;                              // x, low, high
  Op lerp, addcmul, addcdiv;             // params: value (addc*)
};
TERCEL_KERNEL_TABLE(TernaryKernels, ternary_kernels)

// Activations f(x) and their gradients f'(g, x) or f'(g, y) in one pass.
struct ActivationKernels {
  Op leaky_relu, elu, gelu, gelu_tanh, silu, mish, hardswish, hardsigmoid, hardtanh, softplus,
      softsign;
  Op tanhshrink, softshrink, hardshrink, threshold, logsigmoid;
  Op relu_backward, leaky_relu_backward, elu_backward, gelu_backward, gelu_tanh_backward,
      silu_backward;
  Op mish_backward, hardswish_backward, hardsigmoid_backward, hardtanh_backward, softplus_backward;
  Op softsign_backward, softshrink_backward, hardshrink_backward, threshold_backward,
      logsigmoid_backward;
  Op sigmoid_backward, tanh_backward;
  Op glu;                                                 // a, b: a sigmoid(b)
  Op prelu, prelu_backward_input, prelu_backward_weight;  // x, weight; g, x, weight; g, x
};
TERCEL_KERNEL_TABLE(ActivationKernels, activation_kernels)

}  // namespace tercel
