// Activations and their gradients in one pass. `g` is the incoming gradient, x the input, y the
// output. Half-line formulas stand beside each; derivatives are taken from the right at kinks as
// PyTorch does.
#include "ops/elementwise/kernels.h"
#include "ops/elementwise/loops_cpu.h"

namespace tercel::TERCEL_LEVEL {
namespace {

template <class V>
TERCEL_INLINE V constant(double c) {
  return V(static_cast<typename V::Scalar>(c));
}
template <class V>
TERCEL_INLINE V clamp(V x, double lo, double hi) {
  return minimum(maximum(x, constant<V>(lo)), constant<V>(hi));
}
// d/dx [x sigmoid(x)] = s (1 + x (1 - s))
template <class V>
TERCEL_INLINE V silu_slope(V x) {
  const V s = sigmoid(x);
  return s * fma(clamp(x, -1e30, 1e30), V(1) - s, V(1));
}
// exp for results of float32 or of float64 accuracy
template <bool kFull>
TERCEL_INLINE VecD exp_negative(VecD x) {
  const VecD t = max_or_second(VecD(-700.0), x);
  return kFull ? exp(t) : exp_f(t);
}
// tanh(log(1 + e^x)) = (e^2x + 2 e^x) / (e^2x + 2 e^x + 2); for x > 0 with e^-x to avoid overflow
template <bool kFull>
TERCEL_INLINE VecD mish_factor(VecD x) {
  const VecD e = exp_negative<kFull>(-abs(x));
  const VecD n_negative = e * (e + VecD(2.0)), n_positive = fma(e, VecD(2.0), VecD(1.0));
  const VecD negative = n_negative / (n_negative + VecD(2.0));
  const VecD positive = n_positive / fma(e * e, VecD(2.0), n_positive);
  return select(x < VecD(0.0), negative, positive);
}
template <bool kFull>
TERCEL_INLINE VecD mish_any(VecD x) {
  return max_or_second(VecD(-700.0), x) * mish_factor<kFull>(x);
}
// d/dx [x t] = t + x (1 - t^2) sigmoid(x)
template <bool kFull>
TERCEL_INLINE VecD mish_slope_any(VecD x) {
  const VecD t = mish_factor<kFull>(x),
             c = max_or_second(VecD(-700.0), min_or_second(VecD(700.0), x));
  const VecD e = exp_negative<kFull>(-abs(c));
  const VecD s = select(c < VecD(0.0), e, VecD(1.0)) / (VecD(1.0) + e);
  return fma(c * s, fnma(t, t, VecD(1.0)), t);
}
TERCEL_INLINE VecF mish(VecF x) {
  return in_double(x, [](VecD v) { return mish_any<false>(v); });
}
TERCEL_INLINE VecD mish(VecD x) { return mish_any<true>(x); }
TERCEL_INLINE VecF mish_slope(VecF x) {
  return in_double(x, [](VecD v) { return mish_slope_any<false>(v); });
}
TERCEL_INLINE VecD mish_slope(VecD x) { return mish_slope_any<true>(x); }

// d/dx gelu = Phi(x) + x phi(x)
TERCEL_INLINE VecF gelu_slope(VecF x) {
  const VecF a = min_or_second(VecF(14.5f), abs(x)), e = exp_half_square(a);
  const VecF c = VecF(0.5f) * erfcx_positive(a * VecF(0.707106781f)) * e;
  const VecF t = VecF(0.398942280f) * a * e;
  return select(x < VecF(0.0f), c - t, VecF(1.0f) - c + t);
}
TERCEL_INLINE VecD gelu_slope(VecD x) {
  const VecD v = max_or_second(VecD(-40.0), min_or_second(VecD(40.0), x));
  const VecD cdf = VecD(0.5) * erfc(v * VecD(-0.7071067811865476));
  return fma(v * VecD(0.3989422804014327), exp(VecD(-0.5) * v * v), cdf);
}
// x sigmoid(w), w = 2u(x): s + x s (1 - s) w'
template <bool kFull>
TERCEL_INLINE VecD gelu_tanh_slope_any(VecD x) {
  const VecD v = max_or_second(VecD(-30.0), min_or_second(VecD(30.0), x)), square = v * v;
  const VecD w = v * fma(square, VecD(0.07135481627260025), VecD(1.5957691216057308));
  const VecD slope = fma(square, VecD(0.21406444881780075), VecD(1.5957691216057308));
  const VecD e = exp_negative<kFull>(-abs(w));
  const VecD r = VecD(1.0) / (VecD(1.0) + e);
  const VecD s = select(w < VecD(0.0), e * r, r), other = select(w < VecD(0.0), r, e * r);
  return fma(v * s * other, slope, s);
}
TERCEL_INLINE VecF gelu_tanh_slope(VecF x) {
  return in_double(x, [](VecD v) { return gelu_tanh_slope_any<false>(v); });
}
TERCEL_INLINE VecD gelu_tanh_slope(VecD x) { return gelu_tanh_slope_any<true>(x); }
template <class V>
TERCEL_INLINE V softplus_scaled(V x, const Params& p) {  // params: beta, threshold
  const V z = x * constant<V>(p[0]);
  return select(z > constant<V>(p[1]), x, softplus(z) / constant<V>(p[0]));
}
// elu family: x > 0 ? scale x : alpha scale (e^(input_scale x) - 1); params: alpha, scale,
// input_scale
template <class V>
TERCEL_INLINE V elu(V x, const Params& p) {
  const V negative = expm1(minimum(x, V(0)) * constant<V>(p[2])) * constant<V>(p[0] * p[1]);
  return select(x > V(0), x * constant<V>(p[1]), negative);
}

}  // namespace

#define TERCEL_X(expression)    \
  [](auto x, const Params& p) { \
    (void)p;                    \
    using V = decltype(x);      \
    (void)sizeof(V);            \
    return expression;          \
  }
#define TERCEL_GX(expression)           \
  [](auto g, auto x, const Params& p) { \
    (void)p;                            \
    using V = decltype(x);              \
    (void)sizeof(V);                    \
    return expression;                  \
  }

// clang-format off
extern const ActivationKernels activation_kernels = {
    .leaky_relu = float_unary(60, TERCEL_X(select(x > V(0), x, x * constant<V>(p[0])))),
    .elu = float_unary(1000, TERCEL_X(elu(x, p))),
    .gelu = float_unary(2000, TERCEL_X(gelu(x))),
    .gelu_tanh = float_unary(1500, TERCEL_X(gelu_tanh(x))),
    .silu = float_unary(1300, TERCEL_X(silu(x))),
    .mish = float_unary(2000, TERCEL_X(mish(x))),
    .hardswish = float_unary(80, TERCEL_X(x * clamp(x + V(3), 0, 6) / V(6))),
    .hardsigmoid = float_unary(80, TERCEL_X(clamp(x + V(3), 0, 6) / V(6))),
    .hardtanh = float_unary(60, TERCEL_X(clamp(x, p[0], p[1]))),
    .softplus = float_unary(1800, TERCEL_X(softplus_scaled(x, p))),
    .softsign = float_unary(150, TERCEL_X(x / (V(1) + abs(x)))),
    .tanhshrink = float_unary(1300, TERCEL_X(x - tanh(x))),
    .softshrink = float_unary(80, TERCEL_X(select(x > constant<V>(p[0]), x - constant<V>(p[0]),
                    select(x < constant<V>(-p[0]), x + constant<V>(p[0]), x * V(0))))),
    .hardshrink = float_unary(80, TERCEL_X(select((x >= constant<V>(-p[0])) & (x <= constant<V>(p[0])), V(0), x))),
    .threshold = float_unary(60, TERCEL_X(select(x <= constant<V>(p[0]), constant<V>(p[1]), x))),
    .logsigmoid = float_unary(1800, TERCEL_X(-softplus(-x))),
    .relu_backward = float_binary(60, TERCEL_GX(select(x > V(0), g, V(0)))),  // x: input or output
    .leaky_relu_backward = float_binary(60, TERCEL_GX(select(x > V(0), g, g * constant<V>(p[0])))),
    .elu_backward = float_binary(1000, TERCEL_GX(select(x > V(0), g * constant<V>(p[1]),
                    g * exp(minimum(x, V(0)) * constant<V>(p[2])) * constant<V>(p[0] * p[1] * p[2])))),
    .gelu_backward = float_binary(2500, TERCEL_GX(g * gelu_slope(x))),
    .gelu_tanh_backward = float_binary(2500, TERCEL_GX(g * gelu_tanh_slope(x))),
    .silu_backward = float_binary(1400, TERCEL_GX(g * silu_slope(x))),
    .mish_backward = float_binary(3000, TERCEL_GX(g * mish_slope(x))),
    .hardswish_backward = float_binary(80, TERCEL_GX(select(x < V(-3), V(0),
                    select(x <= V(3), g * (x / V(3) + constant<V>(0.5)), g)))),
    .hardsigmoid_backward = float_binary(60, TERCEL_GX(select((x > V(-3)) & (x < V(3)), g / V(6), V(0)))),
    .hardtanh_backward = float_binary(60, TERCEL_GX(select((x > constant<V>(p[0])) & (x < constant<V>(p[1])), g, V(0)))),
    .softplus_backward = float_binary(1300, TERCEL_GX(select(x * constant<V>(p[0]) > constant<V>(p[1]), g,
                    g * sigmoid(x * constant<V>(p[0]))))),
    .softsign_backward = float_binary(200, [](auto g, auto x, const Params&) {
                    using V = decltype(x);
                    const V d = V(1) + abs(x);
                    return g / (d * d); }),
    .softshrink_backward = float_binary(60, TERCEL_GX(select((x >= constant<V>(-p[0])) & (x <= constant<V>(p[0])), V(0), g))),
    .hardshrink_backward = float_binary(60, TERCEL_GX(select((x >= constant<V>(-p[0])) & (x <= constant<V>(p[0])), V(0), g))),
    .threshold_backward = float_binary(60, TERCEL_GX(select(x <= constant<V>(p[0]), V(0), g))),
    .logsigmoid_backward = float_binary(1300, TERCEL_GX(g * sigmoid(-x))),
    .sigmoid_backward = float_binary(60, TERCEL_GX(g * x * (V(1) - x))),  // x: the output
    .tanh_backward = float_binary(60, TERCEL_GX(g * fnma(x, x, V(1)))),   // x: the output
    .glu = float_binary(1400, [](auto a, auto b, const Params&) { return a * sigmoid(b); }),
    .prelu = float_binary(60, [](auto x, auto w, const Params&) {
                    using V = decltype(x);
                    return select(x > V(0), x, x * w); }),
    .prelu_backward_input = float_ternary(60, [](auto g, auto x, auto w, const Params&) {
                    using V = decltype(x);
                    return select(x > V(0), g, g * w); }),
    .prelu_backward_weight = float_binary(60, TERCEL_GX(select(x > V(0), V(0), g * x))),
};
// clang-format on

}  // namespace tercel::TERCEL_LEVEL
