// Losses that act element by element.
#include <cmath>
#include <numbers>

#include "core/launch.h"
#include "core/autocast.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/loss/loss.h"
#include "ops/loss/loss_kernels.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

Reduction reduction_of(const std::string& name, const char* op) {
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  TERCEL_CHECK(name == "none", Value, op, ": reduction must be none, mean or sum, got '", name,
               "'");
  return Reduction::none;
}
Tensor reduce_loss(const Tensor& loss, Reduction reduction) {
  return reduction == Reduction::none ? loss : reduction == Reduction::sum ? sum(loss) : mean(loss);
}

// ---- the fused ones
// ----------------------------------------------------------------------------------

// d value / dx in public ops, for gradients of gradients.
static Tensor slope(PointwiseLoss kind, const Tensor& x, const Tensor& t, double param) {
  const Tensor d = sub(x, t);
  switch (kind) {
    case PointwiseLoss::mse:
      return mul(d, 2.0);
    case PointwiseLoss::l1:
      return sign(d);
    case PointwiseLoss::smooth_l1:
      return tercel::where(lt(abs(d), param), div(d, param), sign(d));
    case PointwiseLoss::huber:
      return tercel::where(lt(abs(d), param), d, mul(sign(d), param));
    case PointwiseLoss::bce:
      return div(d, clamp_min(mul(x, sub(1.0, x)), wrap_number(Scalar(1e-12))));
    case PointwiseLoss::bce_logits:
      return sub(sigmoid(x), t);
  }
  return d;
}
// d value / dt
static Tensor target_slope(PointwiseLoss kind, const Tensor& x, const Tensor& t, double param) {
  if (kind == PointwiseLoss::bce) return sub(log1p(neg(x)), log(x));
  if (kind == PointwiseLoss::bce_logits) return neg(x);
  return neg(slope(kind, x, t, param));
}

struct PointwiseLossNode final : Node {
  Saved x, t;
  PointwiseLoss kind;
  double param, divisor;
  const char* name() const override {
    switch (kind) {
      case PointwiseLoss::mse:
        return "MseLossBackward";
      case PointwiseLoss::smooth_l1:
        return "SmoothL1LossBackward";
      case PointwiseLoss::huber:
        return "HuberLossBackward";
      case PointwiseLoss::bce:
        return "BinaryCrossEntropyBackward";
      case PointwiseLoss::bce_logits:
        return "BinaryCrossEntropyWithLogitsBackward";
      case PointwiseLoss::l1:
        break;
    }
    return "L1LossBackward";
  }
  TensorList backward(const TensorList& grads) override {
    const Tensor xs = x.get(*this), ts = t.get(*this);
    const Tensor& g = grads[0];
    TensorList out(2);
    if (grad_enabled() || needs(1)) {
      const Tensor scale = div(g, divisor);
      if (needs(0)) out[0] = mul(slope(kind, xs, ts, param), scale);
      if (needs(1)) out[1] = mul(target_slope(kind, xs, ts, param), scale);
      return out;
    }
    const Tensor gc = contiguous(g);
    const Device dev = xs.device();
    out[0] = empty(xs.shape(), xs.dtype(), xs.device());
    const PointwiseLossBwdArgs args{xs.data(dev), ts.data(dev), gc.data(dev), out[0].data(dev),
                                    xs.numel(),   param,        divisor,      xs.dtype(),
                                    kind,         gc.dim() > 0};
    if (xs.numel() > 0) launch(loss_kernels(dev).bwd, args, xs.numel() / 2, dev);
    return out;
  }
  void release_saved() override {
    x.reset();
    t.reset();
  }
};

static Tensor pointwise(PointwiseLoss kind, const char* op, const Tensor& x_in, const Tensor& t_in,
                        Reduction reduction, double param = 0) {
  if (autocast_widens(x_in, t_in))
    return pointwise(kind, op, autocast_wide(x_in), autocast_wide(t_in), reduction, param);
  const DType dtype = result_type({&x_in, &t_in});
  if (!is_float(dtype)) fail_dtype(op, dtype, kFloatMask);
  if (is_fp8(dtype)) {
    return to(pointwise(kind, op, to(x_in, DType::f32), to(t_in, DType::f32), reduction, param),
              dtype);
  }
  const Shape shape = broadcast_shapes(x_in.shape(), t_in.shape(), op);
  const auto prepare = [&](const Tensor& v) {
    const Tensor same = to(v, dtype);
    return contiguous(same.shape() == shape ? same : expand(same, shape));
  };
  const Tensor x = prepare(x_in), t = prepare(t_in);
  const Device dev = x.device();
  const bool reduced = reduction != Reduction::none && shape.size() > 0;
  const double divisor =
      reduction == Reduction::mean && reduced ? static_cast<double>(x.numel()) : 1.0;
  Tensor y = empty(reduced ? Shape{} : shape, dtype, x.device()), workspace;
  PointwiseLossArgs args{x.data(dev), t.data(dev), y.data(dev), nullptr, x.numel(),
                         param,       divisor,     dtype,       kind,    reduced};
  if (reduced) {
    workspace = empty({x.numel() / kLossBlock + 1}, accumulate_dtype(dtype), x.device());
    args.workspace = workspace.data(dev);
  }
  if (y.numel() > 0) launch(loss_kernels(dev).fwd, args, x.numel() / 2, dev);
  if (grad_needed(x, t)) {
    auto node = make_node<PointwiseLossNode>({&x, &t});
    node->kind = kind;
    node->param = param;
    node->divisor = divisor;
    node->x.save(x);
    node->t.save(t);
    set_history(y, node);
  }
  return y;
}

// sum or mean of weight * loss; a weighted mean divides by the sum of weights.
static Tensor weighted(const Tensor& loss, const Tensor& weight, Reduction reduction) {
  const Tensor product = mul(loss, weight);
  if (reduction != Reduction::mean) return reduce_loss(product, reduction);
  return div(sum(product), sum(expand(weight, loss.shape())));
}

Tensor mse_loss(const Tensor& x, const Tensor& t, Reduction reduction,
                const std::optional<Tensor>& weight) {
  if (!weight) return pointwise(PointwiseLoss::mse, "mse_loss", x, t, reduction);
  return weighted(pointwise(PointwiseLoss::mse, "mse_loss", x, t, Reduction::none), *weight,
                  reduction);
}
Tensor l1_loss(const Tensor& x, const Tensor& t, Reduction reduction,
               const std::optional<Tensor>& weight) {
  if (!weight) return pointwise(PointwiseLoss::l1, "l1_loss", x, t, reduction);
  return weighted(pointwise(PointwiseLoss::l1, "l1_loss", x, t, Reduction::none), *weight,
                  reduction);
}
Tensor smooth_l1_loss(const Tensor& x, const Tensor& t, Reduction reduction, double beta) {
  TERCEL_CHECK(beta >= 0, Value, "smooth_l1_loss: beta must not be negative, got ", beta);
  if (beta == 0) return l1_loss(x, t, reduction);
  return pointwise(PointwiseLoss::smooth_l1, "smooth_l1_loss", x, t, reduction, beta);
}
Tensor huber_loss(const Tensor& x, const Tensor& t, Reduction reduction, double delta,
                  const std::optional<Tensor>& weight) {
  TERCEL_CHECK(delta > 0, Value, "huber_loss: delta must be positive, got ", delta);
  if (!weight) return pointwise(PointwiseLoss::huber, "huber_loss", x, t, reduction, delta);
  return weighted(pointwise(PointwiseLoss::huber, "huber_loss", x, t, Reduction::none, delta),
                  *weight, reduction);
}

// ---- binary cross entropy
// ----------------------------------------------------------------------------

static void check_same_shape(const Tensor& x, const Tensor& t, const char* op) {
  TERCEL_CHECK(x.shape() == t.shape(), Shape, op, ": target must have the input's shape ",
               x.shape(), ", got ", t.shape());
}

Tensor binary_cross_entropy(const Tensor& x, const Tensor& t, const std::optional<Tensor>& weight,
                            Reduction reduction) {
  check_same_shape(x, t, "binary_cross_entropy");
  if (x.numel() > 0 && x.device().is_cpu()) {  // on a GPU the kernel reports it
    const Tensor seen = detach(x);
    const double low = item(amin(seen)).to_double(), high = item(amax(seen)).to_double();
    TERCEL_CHECK(!(low < 0) && !(high > 1), Value,
                 "binary_cross_entropy: input must be in [0, 1], got values from ", low, " to ",
                 high);
  }
  if (!weight) return pointwise(PointwiseLoss::bce, "binary_cross_entropy", x, t, reduction);
  const Tensor loss = pointwise(PointwiseLoss::bce, "binary_cross_entropy", x, t, Reduction::none);
  return reduce_loss(mul(loss, *weight), reduction);
}

Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& t,
                                        const std::optional<Tensor>& weight, Reduction reduction,
                                        const std::optional<Tensor>& pos_weight) {
  const char* op = "binary_cross_entropy_with_logits";
  check_same_shape(x, t, op);
  if (!weight && !pos_weight) return pointwise(PointwiseLoss::bce_logits, op, x, t, reduction);
  Tensor loss;
  if (pos_weight) {  // (1 - t) x + (1 + (w - 1) t) log(1 + e^-x)
    const Tensor softplus =
        pointwise(PointwiseLoss::bce_logits, op, x, ones_like(detach(x)), Reduction::none);
    loss = add(mul(sub(1.0, t), x), mul(add(mul(sub(*pos_weight, 1.0), t), 1.0), softplus));
  } else {
    loss = pointwise(PointwiseLoss::bce_logits, op, x, t, Reduction::none);
  }
  return reduce_loss(weight ? mul(loss, *weight) : loss, reduction);
}

// log(1 + e^(-t x)) is the cross entropy of the logit t x with target 1.
Tensor soft_margin_loss(const Tensor& x, const Tensor& t, Reduction reduction) {
  check_same_shape(x, t, "soft_margin_loss");
  const Tensor z = mul(x, t);
  return pointwise(PointwiseLoss::bce_logits, "soft_margin_loss", z, ones_like(detach(z)),
                   reduction);
}

// ---- composites
// --------------------------------------------------------------------------------------

static Tensor relu_of(const Tensor& x) { return clamp_min(x, wrap_number(Scalar(0.0))); }

Tensor kl_div(const Tensor& x, const Tensor& t, const std::string& reduction, bool log_target) {
  if (autocast_widens(x, t))
    return kl_div(autocast_wide(x), autocast_wide(t), reduction, log_target);
  const bool batch = reduction == "batchmean";
  const Reduction kind = batch ? Reduction::sum : reduction_of(reduction, "kl_div");
  const Tensor loss = log_target ? mul(exp(t), sub(t, x)) : sub(xlogy(t, t), mul(t, x));
  const Tensor y = reduce_loss(loss, kind);
  return batch && x.dim() > 0 ? div(y, static_cast<double>(x.size(0))) : y;
}

Tensor poisson_nll_loss(const Tensor& x, const Tensor& t, bool log_input, bool full, double eps,
                        Reduction reduction) {
  if (autocast_widens(x, t))
    return poisson_nll_loss(autocast_wide(x), autocast_wide(t), log_input, full, eps, reduction);
  Tensor loss = log_input ? sub(exp(x), mul(t, x)) : sub(x, mul(t, log(add(x, eps))));
  if (full) {  // Stirling's approximation of log t!
    const Tensor safe = clamp_min(t, wrap_number(Scalar(1.0)));
    const Tensor stirling =
        add(sub(mul(safe, log(safe)), safe), mul(log(mul(safe, 2 * std::numbers::pi)), 0.5));
    loss = add(loss, tercel::where(gt(t, 1.0), stirling, zeros_like(stirling)));
  }
  return reduce_loss(loss, reduction);
}

Tensor gaussian_nll_loss(const Tensor& x, const Tensor& t, const Tensor& variance, bool full,
                         double eps, Reduction reduction) {
  Tensor v = variance;
  if (v.shape() != x.shape()) {
    // one variance per sample, with or without the last dim
    Shape sample = x.shape();
    if (sample.size() > 0) sample.erase(sample.size() - 1);
    if (v.shape() == sample) {
      v = unsqueeze(v, -1);
    } else {
      Shape with_one = x.shape();
      if (with_one.size() > 0) with_one[with_one.size() - 1] = 1;
      TERCEL_CHECK(v.shape() == with_one || v.dim() == 0, Shape,
                   "gaussian_nll_loss: var must have the input's shape ", x.shape(), ", ", with_one,
                   " or ", sample, ", got ", v.shape());
    }
  }
  if (v.numel() > 0) {
    TERCEL_CHECK(!(item(amin(detach(v))).to_double() < 0), Value,
                 "gaussian_nll_loss: var has a negative entry");
  }
  v = add(v, relu_of(sub(eps, detach(v))));  // max(var, eps); the clamp is not part of the gradient
  Tensor loss = mul(add(log(v), div(square(sub(x, t)), v)), 0.5);
  if (full) loss = add(loss, 0.5 * std::log(2 * std::numbers::pi));
  return reduce_loss(loss, reduction);
}

Tensor hinge_embedding_loss(const Tensor& x, const Tensor& t, double margin, Reduction reduction) {
  const Tensor zero = zeros_like(detach(x));
  const Tensor far = tercel::where(ne(t, 1.0), relu_of(sub(margin, x)), zero);
  const Tensor near = tercel::where(ne(t, -1.0), x, zero);
  return reduce_loss(add(far, near), reduction);
}

Tensor margin_ranking_loss(const Tensor& a, const Tensor& b, const Tensor& t, double margin,
                           Reduction reduction) {
  return reduce_loss(relu_of(add(mul(neg(t), sub(a, b)), margin)), reduction);
}

}  // namespace tercel
