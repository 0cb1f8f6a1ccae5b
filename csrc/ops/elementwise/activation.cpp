// Activations. Each gradient is a fused kernel of (g, x); while a second derivative is being
// recorded it is written with public ops instead.
#include "ops/elementwise/activation.h"

#include <cmath>
#include <limits>

#include "ops/copy/copy.h"
#include "ops/elementwise/activation_rules.h"
#include "ops/elementwise/elementwise.h"
#include "ops/elementwise/engine.h"
#include "ops/elementwise/kernels.h"
#include "ops/random/random.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

using D = const UnaryGrad&;

// Fused kernel, or null while a graph of the gradient is wanted.
Tensor fused(const Op& op, D d) { return apply_binary(op, d.g, d.x, d.p); }
// g where mask, else 0
Tensor masked(const Tensor& g, const Tensor& mask) { return mul(g, to(mask, g.dtype())); }
Tensor pdf(const Tensor& x) { return mul(exp(mul(square(x), -0.5)), 0.3989422804014327); }

Tensor gelu_tanh_slope(const Tensor& x) {
  const double k = 1.5957691216057308, c = 0.044715;
  const Tensor x2 = square(x);
  const Tensor s = sigmoid(mul(mul(add(mul(x2, c), 1.0), x), k));
  const Tensor du = mul(add(mul(x2, 3 * c), 1.0), k);
  return mul(s, add(mul(mul(x, sub(1.0, s)), du), 1.0));
}
Tensor mish_slope(const Tensor& x) {
  const Tensor t = tanh(softplus(x)), s = sigmoid(x);
  return add(t, mul(mul(x, s), sub(1.0, square(t))));
}
// params: alpha, scale, input_scale
Tensor elu_slope(D d) {
  const Tensor negative = mul(exp(mul(d.x, d.p[2])), d.p[0] * d.p[1] * d.p[2]);
  return where(gt(d.x, 0), wrap_number(d.p[1]), negative);
}

}  // namespace

#define TERCEL_OP(name) []() -> const Op& { return activation_kernels().name; }
#define TERCEL_GRAD(kernel, composite) \
  [](D d) { return grad_enabled() ? (composite) : fused(activation_kernels().kernel, d); }

// clang-format off
const UnaryRule kRelu{.name = "relu", .op = []() -> const Op& { return unary_kernels().relu; }, .domain = Domain::numeric,
  .keep = UnaryRule::output,
  .grad = [](D d) { return grad_enabled() ? masked(d.g, gt(d.y, 0)) : apply_binary(activation_kernels().relu_backward, d.g, d.y); },
  .doc = "max(x, 0)"};
const UnaryRule kLeakyRelu{.name = "leaky_relu", .op = TERCEL_OP(leaky_relu), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(leaky_relu_backward, where(gt(d.x, 0), d.g, mul(d.g, d.p[0])))};
const UnaryRule kElu{.name = "elu", .op = TERCEL_OP(elu), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(elu_backward, mul(d.g, elu_slope(d)))};
const UnaryRule kGelu{.name = "gelu", .op = TERCEL_OP(gelu), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(gelu_backward,
    mul(d.g, add(mul(erfc(mul(d.x, -M_SQRT1_2)), 0.5), mul(d.x, pdf(d.x)))))};
const UnaryRule kGeluTanh{.name = "gelu", .op = TERCEL_OP(gelu_tanh), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(gelu_tanh_backward, mul(d.g, gelu_tanh_slope(d.x)))};
const UnaryRule kSilu{.name = "silu", .op = TERCEL_OP(silu), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = [](D d) {
    if (!grad_enabled()) return fused(activation_kernels().silu_backward, d);
    const Tensor s = sigmoid(d.x);
    return mul(d.g, mul(s, add(mul(d.x, sub(1.0, s)), 1.0)));
  }, .doc = "x sigmoid(x)"};
const UnaryRule kMish{.name = "mish", .op = TERCEL_OP(mish), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(mish_backward, mul(d.g, mish_slope(d.x))), .doc = "x tanh(softplus(x)) (Misra 2019)"};
const UnaryRule kHardswish{.name = "hardswish", .op = TERCEL_OP(hardswish), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(hardswish_backward, where(lt(d.x, -3), mul(d.g, 0.0),
    where(le(d.x, 3), mul(d.g, add(div(d.x, 3.0), 0.5)), d.g))), .doc = "x clamp(x + 3, 0, 6) / 6 (Howard et al. 2019)"};
const UnaryRule kHardsigmoid{.name = "hardsigmoid", .op = TERCEL_OP(hardsigmoid), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(hardsigmoid_backward, div(masked(d.g, logical_and(gt(d.x, -3), lt(d.x, 3))), 6.0)),
  .doc = "clamp(x + 3, 0, 6) / 6"};
const UnaryRule kHardtanh{.name = "hardtanh", .op = TERCEL_OP(hardtanh), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(hardtanh_backward, masked(d.g, logical_and(gt(d.x, d.p[0]), lt(d.x, d.p[1]))))};
const UnaryRule kSoftplus{.name = "softplus", .op = TERCEL_OP(softplus), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = [](D d) {
    if (!grad_enabled()) return fused(activation_kernels().softplus_backward, d);
    const Tensor z = mul(d.x, d.p[0]);
    return where(gt(z, d.p[1]), d.g, mul(d.g, sigmoid(z)));
  }};
const UnaryRule kSoftsign{.name = "softsign", .op = TERCEL_OP(softsign), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(softsign_backward, div(d.g, square(add(abs(d.x), 1.0)))), .doc = "x / (1 + |x|)"};
const UnaryRule kTanhshrink{.name = "tanhshrink", .op = TERCEL_OP(tanhshrink), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = [](D d) { return mul(d.g, square(tanh(d.x))); }, .doc = "x - tanh(x)"};
const UnaryRule kSoftshrink{.name = "softshrink", .op = TERCEL_OP(softshrink), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(softshrink_backward, masked(d.g, gt(abs(d.x), d.p[0])))};
const UnaryRule kHardshrink{.name = "hardshrink", .op = TERCEL_OP(hardshrink), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(hardshrink_backward, masked(d.g, gt(abs(d.x), d.p[0])))};
const UnaryRule kThreshold{.name = "threshold", .op = TERCEL_OP(threshold), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(threshold_backward, masked(d.g, gt(d.x, d.p[0])))};
const UnaryRule kLogsigmoid{.name = "logsigmoid", .op = TERCEL_OP(logsigmoid), .domain = Domain::strict, .keep = UnaryRule::input,
  .grad = TERCEL_GRAD(logsigmoid_backward, mul(d.g, sigmoid(neg(d.x)))), .doc = "log(sigmoid(x)) without overflow"};
// clang-format on
#undef TERCEL_OP
#undef TERCEL_GRAD

Tensor relu(const Tensor& x) { return unary(kRelu, x); }
Tensor& relu_(Tensor& x) { return unary_(kRelu, x); }
Tensor silu(const Tensor& x) { return unary(kSilu, x); }
Tensor mish(const Tensor& x) { return unary(kMish, x); }
Tensor hardswish(const Tensor& x) { return unary(kHardswish, x); }
Tensor hardsigmoid(const Tensor& x) { return unary(kHardsigmoid, x); }
Tensor softsign(const Tensor& x) { return unary(kSoftsign, x); }
Tensor tanhshrink(const Tensor& x) { return unary(kTanhshrink, x); }
Tensor logsigmoid(const Tensor& x) { return unary(kLogsigmoid, x); }

Tensor leaky_relu(const Tensor& x, double negative_slope) {
  const ParamList p = {negative_slope};
  return unary(kLeakyRelu, x, p);
}
Tensor elu(const Tensor& x, double alpha) {
  const ParamList p = {alpha, 1.0, 1.0};
  return unary(kElu, x, p);
}
Tensor celu(const Tensor& x, double alpha) {
  TERCEL_CHECK(alpha != 0.0, Value, "celu: alpha must not be 0");
  const ParamList p = {alpha, 1.0, 1.0 / alpha};
  return unary(kElu, x, p);
}
// Klambauer et al. 2017
Tensor selu(const Tensor& x) {
  const ParamList p = {1.6732632423543772, 1.0507009873554805, 1.0};
  return unary(kElu, x, p);
}
Tensor gelu(const Tensor& x, const std::string& approximate) {
  const bool tanh_form = approximate == "tanh";
  TERCEL_CHECK(tanh_form || approximate == "none", Value,
               "gelu: approximate must be 'none' or 'tanh', got '", approximate, "'");
  return unary(tanh_form ? kGeluTanh : kGelu, x);
}
Tensor hardtanh(const Tensor& x, double min_val, double max_val) {
  TERCEL_CHECK(min_val <= max_val, Value, "hardtanh: min_val must not exceed max_val, got ",
               min_val, " and ", max_val);
  if (is_int(x.dtype())) {
    const auto bound = [&x](double v) {  // truncated, and limited to what the dtype holds
      int64_t n = 0;
      visit<TERCEL_INTS>(x.dtype(), "hardtanh", [&]<class T>() {
        constexpr T low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
        n = v <= static_cast<double>(low)    ? low
            : v >= static_cast<double>(high) ? high
                                             : static_cast<int64_t>(v);
      });
      return wrap_number(Scalar(n));
    };
    return clamp(x, bound(min_val), bound(max_val));
  }
  const ParamList p = {min_val, max_val};
  return unary(kHardtanh, x, p);
}
Tensor relu6(const Tensor& x) { return hardtanh(x, 0.0, 6.0); }
Tensor softplus(const Tensor& x, double beta, double threshold) {
  TERCEL_CHECK(beta != 0.0, Value, "softplus: beta must not be 0");
  const ParamList p = {beta, threshold};
  return unary(kSoftplus, x, p);
}
Tensor softshrink(const Tensor& x, double lambd) {
  TERCEL_CHECK(lambd >= 0.0, Value, "softshrink: lambd must not be negative, got ", lambd);
  const ParamList p = {lambd};
  return unary(kSoftshrink, x, p);
}
Tensor hardshrink(const Tensor& x, double lambd) {
  const ParamList p = {lambd};
  return unary(kHardshrink, x, p);
}
Tensor threshold(const Tensor& x, double threshold, double value) {
  const ParamList p = {threshold, value};
  return unary(kThreshold, x, p);
}

// ---- prelu: x > 0 ? x : w x
// --------------------------------------------------------------------------

const BinaryRule kPrelu{
    .name = "prelu",
    .op = []() -> const Op& { return activation_kernels().prelu; },
    .domain = Domain::strict,
    .keep_for_a = kKeepA | kKeepB,
    .keep_for_b = kKeepA,
    .grad_a = [](const BinaryGrad& d) { return where(gt(d.a, 0), d.g, mul(d.g, d.b)); },
    .grad_b = [](const BinaryGrad& d) { return where(gt(d.a, 0), mul(d.g, 0.0), mul(d.g, d.a)); }};

Tensor prelu(const Tensor& x, const Tensor& weight) {
  TERCEL_CHECK(weight.dim() <= 1, Shape, "prelu: weight must have 0 or 1 dimensions, got shape ",
               weight.shape());
  TERCEL_CHECK(x.dtype() == weight.dtype(), DType,
               "prelu: input and weight must have one dtype, got ", dtype_name(x.dtype()), " and ",
               dtype_name(weight.dtype()));
  if (weight.numel() == 1) return binary(kPrelu, x, reshape(weight, Dims::filled(x.dim(), 1)));
  const int64_t channels = x.dim() >= 2 ? x.size(1) : x.dim() == 1 ? 1 : 0;
  TERCEL_CHECK(weight.numel() == channels, Shape, "prelu: weight must have 1 or ", channels,
               " values (channels of input), got ", weight.numel());
  Shape shape = Dims::filled(x.dim(), 1);
  shape[1] = channels;
  return binary(kPrelu, x, reshape(weight, shape));
}

Tensor rrelu(const Tensor& x, double lower, double upper, bool training,
             const Ref<Generator>& generator) {
  TERCEL_CHECK(lower <= upper && std::isfinite(lower) && std::isfinite(upper), Value,
               "rrelu: lower must not exceed upper, both finite, got ", lower, " and ", upper);
  if (!training) return leaky_relu(x, 0.5 * (lower + upper));
  if (!is_float(x.dtype())) fail_dtype("rrelu", x.dtype(), kFloatMask);
  const Tensor slopes = empty(x.shape(), DType::f32, x.device());
  uniform_(slopes, lower, upper, generator);
  return binary(kPrelu, x, to(slopes, x.dtype()));
}

// a sigmoid(b)
const BinaryRule kGlu{.name = "glu",
                      .op = []() -> const Op& { return activation_kernels().glu; },
                      .domain = Domain::strict,
                      .keep_for_a = kKeepB,
                      .keep_for_b = kKeepA | kKeepB,
                      .grad_a = [](const BinaryGrad& d) { return mul(d.g, sigmoid(d.b)); },
                      .grad_b =
                          [](const BinaryGrad& d) {
                            const Tensor s = sigmoid(d.b);
                            return mul(mul(d.g, d.a), mul(s, sub(1.0, s)));
                          }};

Tensor glu(const Tensor& x, int64_t dim) {
  TERCEL_CHECK(x.dim() > 0, Shape, "glu: expected at least 1 dimension, got a 0-d tensor");
  const int d = normalize_dim(dim, x.dim(), "glu");
  TERCEL_CHECK(x.size(d) % 2 == 0, Shape, "glu: size of dimension ", d, " must be even, got ",
               x.size(d));
  const int64_t half = x.size(d) / 2;
  return binary(kGlu, narrow(x, d, 0, half), narrow(x, d, half, half));
}

}  // namespace tercel
