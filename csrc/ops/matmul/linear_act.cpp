// linear_act and gated_linear: products whose activation, residual or gate is applied to the sums
// before the one rounding.
#include "core/launch.h"
#include "core/autocast.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/activation.h"
#include "ops/elementwise/activation_rules.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/product.h"
#include "ops/reduce/reduce.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

constexpr const char* kActivations[] = {"none", "relu", "gelu",   "gelu_tanh",
                                        "silu", "tanh", "sigmoid"};

GemmActivation activation_of(const char* op, const std::string& name) {
  for (size_t i = 0; i < std::size(kActivations); ++i) {
    if (name == kActivations[i]) return static_cast<GemmActivation>(i);
  }
  std::string known;
  for (const char* k : kActivations) known += (known.empty() ? "'" : ", '") + std::string(k) + "'";
  fail(ErrorKind::Value, str(op, ": activation must be one of ", known, ", got '", name, "'"));
}

Tensor activate(const Tensor& x, GemmActivation f) {
  switch (f) {
    case GemmActivation::relu:
      return relu(x);
    case GemmActivation::gelu:
      return gelu(x);
    case GemmActivation::gelu_tanh:
      return gelu(x, "tanh");
    case GemmActivation::silu:
      return silu(x);
    case GemmActivation::tanh:
      return tanh(x);
    case GemmActivation::sigmoid:
      return sigmoid(x);
    default:
      return x;
  }
}

// g act'(pre), by the rules of the activations (differentiable when that is asked for).
Tensor activation_grad(GemmActivation f, const Tensor& g, const Tensor& pre) {
  const Tensor none;
  switch (f) {
    case GemmActivation::relu:
      return kRelu.grad({g, none, relu(pre), kNoParams});
    case GemmActivation::gelu:
      return kGelu.grad({g, pre, none, kNoParams});
    case GemmActivation::gelu_tanh:
      return kGeluTanh.grad({g, pre, none, kNoParams});
    case GemmActivation::silu:
      return kSilu.grad({g, pre, none, kNoParams});
    case GemmActivation::tanh: {
      const Tensor y = tanh(pre);
      return mul(g, sub(1.0, square(y)));
    }
    case GemmActivation::sigmoid: {
      const Tensor y = sigmoid(pre);
      return mul(g, mul(y, sub(1.0, y)));
    }
    default:
      return g;
  }
}

// pre = x w^T + b, y = act(pre) + residual. Keeps pre, rounded to the dtype of y.
struct LinearActNode final : Node {
  Saved x, w, bias, pre;
  GemmActivation f;
  bool gated;
  Shape residual_shape;
  explicit LinearActNode(GemmActivation f_, bool gated_) : f(f_), gated(gated_) {}
  const char* name() const override { return gated ? "GatedLinearBackward" : "LinearActBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(edges.size());
    if (needs(3)) out[3] = sum_to(g[0], residual_shape);
    if (!needs(0) && !needs(1) && !needs(2)) return out;
    const Tensor x0 = x.get(*this), w0 = w.get(*this);
    // For second derivatives pre must be a function of its operands again.
    const Tensor p = grad_enabled() ? linear(x0, w0, bias.get(*this)) : pre.get(*this);
    Tensor dp;
    if (gated) {
      const int64_t half = p.size(-1) / 2;
      const Tensor gate = narrow(p, -1, 0, half), up = narrow(p, -1, half, half);
      dp = cat({activation_grad(f, mul(g[0], up), gate), mul(g[0], activate(gate, f))}, -1);
    } else {
      dp = activation_grad(f, g[0], p);
    }
    if (needs(0)) out[0] = linear_input_grad(dp, w0);
    if (needs(1)) out[1] = linear_weight_grad(dp, x0);
    if (needs(2)) out[2] = dp.dim() == 1 ? dp : sum_to(dp, {dp.size(-1)});
    return out;
  }
  void release_saved() override {
    x.reset();
    w.reset();
    bias.reset();
    pre.reset();
  }
};

void check(const char* op, const Tensor& x, const Tensor& w, const Tensor& bias) {
  TERCEL_CHECK(x.dim() >= 1, Shape, op, ": input must have at least 1 dim, got a 0-d tensor");
  TERCEL_CHECK(w.dim() == 2 && w.size(1) == x.size(-1), Shape, op,
               ": weight must have shape [out, ", x.size(-1), "] (last dim of input ", x.shape(),
               "), got ", w.shape());
  if (!is_float(x.dtype())) fail_dtype(op, x.dtype(), kFloatMask);
  TERCEL_CHECK(w.dtype() == x.dtype(), DType, op, ": weight must have dtype ",
               dtype_name(x.dtype()), " like input, got ", dtype_name(w.dtype()));
  if (!bias.defined()) return;
  TERCEL_CHECK(bias.dim() == 1 && bias.size(0) == w.size(0), Shape, op, ": bias must have shape [",
               w.size(0), "] (rows of weight), got ", bias.shape());
  TERCEL_CHECK(bias.dtype() == x.dtype(), DType, op, ": bias must have dtype ",
               dtype_name(x.dtype()), " like input, got ", dtype_name(bias.dtype()));
}

void record(const Tensor& y, GemmActivation f, bool gated, const Tensor& x, const Tensor& w,
            const Tensor& bias, const Tensor& residual, const Tensor& pre) {
  Ref<LinearActNode> node = make_node<LinearActNode>({&x, &w, &bias, &residual}, f, gated);
  if (residual.defined()) node->residual_shape = residual.shape();
  if (node->needs(0) || node->needs(1) || node->needs(2)) {
    node->x.save(x);
    node->w.save(w);
    if (bias.defined()) node->bias.save(bias);
    node->pre.save(pre);
  }
  set_history(y, node);
}

void launch_gated(const GatedGemmArgs& args) { gemm_gated(args); }

// CUDA, from public ops in float32. 16-bit operands lose nothing in TF32, so where no gradient is
// wanted their product runs on the matrix units.
Tensor gated_on_device(const Tensor& x, const Tensor& w, const Tensor& bias, GemmActivation f) {
  const Tensor xf = to(x, DType::f32), wf = to(w, DType::f32),
               bf = bias.defined() ? to(bias, DType::f32) : bias;
  Tensor both;
  if (x.dim() == 1 || grad_needed(x, w, bias)) {
    both = linear(xf, wf, bf);
  } else {
    ProductOptions options;
    options.exact_in_tf32 = is_half(x.dtype());
    options.beta = bf.defined() ? 1.0 : 0.0;
    options.c = bf;
    both = product_nt("gated_linear", xf, wf, options);
  }
  const int64_t half = w.size(0) / 2;
  return to(mul(activate(narrow(both, -1, 0, half), f), narrow(both, -1, half, half)), x.dtype());
}

}  // namespace

Tensor linear_act(const Tensor& x, const Tensor& w, const Tensor& bias,
                  const std::string& activation, const Tensor& residual) {
  if (autocast_narrows(x, w, bias, residual))
    return linear_act(autocast_narrow(x), autocast_narrow(w), autocast_narrow(bias), activation,
                      autocast_narrow(residual));
  const GemmActivation f = activation_of("linear_act", activation);
  check("linear_act", x, w, bias);
  Shape shape = x.shape();
  shape[shape.size() - 1] = w.size(0);
  if (residual.defined()) {
    TERCEL_CHECK(residual.dtype() == x.dtype(), DType, "linear_act: residual must have dtype ",
                 dtype_name(x.dtype()), " like input, got ", dtype_name(residual.dtype()));
    TERCEL_CHECK(residual.dim() <= shape.size() &&
                     broadcast_shapes(residual.shape(), shape, "linear_act") == shape,
                 Shape, "linear_act: residual must broadcast to ", shape, ", got ",
                 residual.shape());
  }
  const bool track = grad_needed(x, w, bias, residual);
  if (track &&
      !x.device().is_cpu()) {  // its epilogue does not store the value before the activation
    const Tensor y = activate(linear(x, w, bias), f);
    return residual.defined() ? add(y, residual) : y;
  }
  ProductOptions options;
  options.activation = f;
  options.beta = bias.defined() ? 1.0 : 0.0;
  options.c = bias;
  options.residual = residual;
  const bool vector = x.dim() == 1;
  const Tensor rows =
      vector ? make_view(x, {1, x.size(0)}, {x.size(0), x.stride(0)}, x.offset()) : x;
  Shape row_shape = shape;
  if (vector) row_shape = {1, w.size(0)};
  if (track) options.pre = empty(row_shape, x.dtype());
  Tensor y = product_nt("linear_act", rows, w, options);
  Tensor pre = options.pre;
  if (vector) {
    y = make_view(y, {w.size(0)}, {1}, y.offset());
    y.impl()->base.reset();
    if (track) pre = make_view(pre, {w.size(0)}, {1}, pre.offset());
  }
  if (track) record(y, f, false, x, w, bias, residual, pre);
  return y;
}

Tensor gated_linear(const Tensor& x, const Tensor& w, const Tensor& bias,
                    const std::string& activation) {
  if (autocast_narrows(x, w, bias))
    return gated_linear(autocast_narrow(x), autocast_narrow(w), autocast_narrow(bias), activation);
  const GemmActivation f = activation_of("gated_linear", activation);
  check("gated_linear", x, w, bias);
  TERCEL_CHECK(x.dtype() == DType::f32 || is_half(x.dtype()), DType, "gated_linear: dtype ",
               dtype_name(x.dtype()), " not supported (float32, float16, bfloat16)");
  TERCEL_CHECK(w.size(0) % 2 == 0, Shape,
               "gated_linear: weight must have an even number of rows (gates, then factors), got ",
               w.shape());
  if (!x.device().is_cpu()) return gated_on_device(x, w, bias, f);
  Shape shape = x.shape();
  const int last = shape.size() - 1;
  const int64_t K = shape[last], N = w.size(0);
  int64_t M = 1;
  for (int d = 0; d < last; ++d) M *= shape[d];
  shape[last] = N;
  const bool track = grad_needed(x, w, bias);
  const Tensor pre = track ? empty(shape, x.dtype()) : Tensor();
  shape[last] = N / 2;
  const Tensor y = empty(shape, x.dtype());
  const Tensor rows = contiguous(x.detach()),
               added = bias.defined() ? contiguous(bias.detach()) : bias;
  if (y.numel() > 0) {
    GatedGemmArgs args;
    GemmArgs& g = args.gemm;
    g.M = M;
    g.N = N;
    g.K = K;
    g.a.dtype = g.b.dtype = g.out_dtype = x.dtype();
    g.f32_products = float32_products();
    g.a.data = rows.data();
    g.a.row_stride = K;
    g.a.k_stride = 1;
    g.b.data = w.data();
    g.b.row_stride = w.stride(0);
    g.b.k_stride = w.stride(1);
    g.out = y.data();
    g.out_row_stride = N / 2;
    args.bias = added.defined() ? added.data() : nullptr;
    args.activation = f;
    args.pre = track ? pre.data() : nullptr;
    launch(&launch_gated, args, gemm_cost_ns(M, N, K, 1));
  }
  if (track) record(y, f, true, x, w, bias, {}, pre);
  return y;
}

}  // namespace tercel
