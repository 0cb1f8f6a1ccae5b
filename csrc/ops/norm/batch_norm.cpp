// batch_norm: checks, output, launch, Node.
#include "core/launch.h"
#include "ops/elementwise/elementwise.h"
#include "core/autocast.h"
#include "ops/norm/norm_common.h"
#include "ops/norm/norm_kernels.h"
#include "ops/view/view.h"

#include <cmath>

namespace tercel {

using namespace norm_detail;

namespace {

struct BatchNormNode final : NormNode {
  Shape x_shape;
  bool training = false;

  const char* name() const override { return "BatchNormBackward"; }

  TensorList backward(const TensorList& g) override {
    TensorList out(3);
    const int64_t B = x_shape[0], C = x_shape[1], S = spatial_size(x_shape);
    const bool uses_x = needs(1) || (needs(0) && training);
    const Tensor ws = w.defined() ? w.get(*this) : Tensor();
    if (grad_enabled() && uses_x) {
      NormGrads d = batch_norm_grads(g[0], x.get(*this), ws, training ? Tensor() : mean,
                                     training ? Tensor() : rstd, eps);
      if (needs(0)) out[0] = d.dx;
      if (needs(1)) out[1] = to(d.dw, w_dtype);
      if (needs(2)) out[2] = to(d.db, b_dtype);
      return out;
    }
    if (grad_enabled()) {  // linear in dy and w
      NormGrads d = batch_norm_grads(g[0], Tensor(), ws, mean, rstd, eps);
      if (needs(0)) out[0] = d.dx;
      if (needs(2)) out[2] = to(d.db, b_dtype);
      return out;
    }
    const Device dev = g[0].device();
    const DType dtype = g[0].dtype(), acc = accumulate_dtype(dtype);
    if (!needs(0) && !needs(1)) {
      out[2] = to(reshape(sum_to(reshape(g[0], {B, C, S}), {1, C, 1}), {C}), b_dtype);
      return out;
    }
    const Tensor dy = dense(g[0], dtype), xd = uses_x ? dense(x.get(*this), dtype) : dy,
                 wd = dense(ws, acc);
    Tensor dx, sum_dy, sum_dyx;
    if (needs(0)) dx = empty(x_shape, dtype, dev);
    if (training || needs(1) || needs(2)) {
      sum_dy = empty({C}, acc, dev);
      sum_dyx = empty({C}, acc, dev);
    }
    if (dy.numel() == 0) {
      if (sum_dy.defined()) zero_(sum_dy);
      if (sum_dyx.defined()) zero_(sum_dyx);
    } else {
      const Tensor workspace = empty({batch_norm_bwd_workspace(B, C, S)}, DType::f64, dev);
      const BatchNormBwdArgs args{xd.data(dev),
                                  dy.data(dev),
                                  data_or_null(wd, dev),
                                  mean.data(dev),
                                  rstd.data(dev),
                                  writable_or_null(dx, dev),
                                  writable_or_null(sum_dy, dev),
                                  writable_or_null(sum_dyx, dev),
                                  workspace.data_as<double>(dev),
                                  B,
                                  C,
                                  S,
                                  dtype,
                                  training};
      launch(batch_norm_bwd_kernels(dev).bwd, args, 2 * cost_ns(dy.numel()), dev);
    }
    out[0] = dx;
    if (needs(1)) out[1] = to(sum_dyx, w_dtype);
    if (needs(2)) out[2] = to(sum_dy, b_dtype);
    return out;
  }
};

// 1 / sqrt(var + eps)
Tensor inverse_std(const Tensor& var, double eps) {
  if (!var.device().is_cpu()) return rsqrt(add(to(var, DType::f64), eps));
  const Tensor v = dense(var, DType::f64);
  const Tensor r = empty(var.shape(), DType::f64);
  const double* p = v.data_as<double>();
  double* q = r.data_as<double>();
  for (int64_t c = 0; c < r.numel(); ++c) q[c] = 1.0 / std::sqrt(p[c] + eps);
  return r;
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                  const Tensor& weight, const Tensor& bias, bool training, double momentum,
                  double eps) {
  if (autocast_widens(x, weight, bias)) {
    return batch_norm(autocast_wide(x), running_mean, running_var, autocast_wide(weight),
                      autocast_wide(bias), training, momentum, eps);
  }
  const char* op = "batch_norm";
  check_input(op, x);
  TERCEL_CHECK(x.dim() >= 2, Shape,
               "batch_norm: input must have at least 2 dims [B, C, ...], got shape ", x.shape());
  const int64_t B = x.size(0), C = x.size(1), S = spatial_size(x.shape());
  check_parameter(op, "weight", weight, {C}, x.dtype());
  check_parameter(op, "bias", bias, {C}, x.dtype());
  check_parameter(op, "running_mean", running_mean, {C}, x.dtype());
  check_parameter(op, "running_var", running_var, {C}, x.dtype());
  TERCEL_CHECK(training || (running_mean.defined() && running_var.defined()), Value,
               "batch_norm: running_mean and running_var are required when training is False");
  TERCEL_CHECK(
      !training || B * S != 1, Value,
      "batch_norm: expected more than 1 value per channel when training, got input of shape ",
      x.shape());

  const Device dev = x.device();
  const DType acc = accumulate_dtype(x.dtype());
  Tensor y = empty(x.shape(), x.dtype(), dev);
  Tensor mean, rstd;
  const Tensor xd = dense(x, x.dtype());
  if (!training) {
    mean = dense(running_mean, acc);
    rstd = dense(inverse_std(running_var, eps), acc);
  } else {
    mean = empty({C}, acc, dev);
    rstd = empty({C}, acc, dev);
    if (x.numel() > 0) {
      if (running_mean.defined()) check_inplace(running_mean, op);
      if (running_var.defined()) check_inplace(running_var, op);
      const Tensor new_mean = dense(running_mean, acc), new_var = dense(running_var, acc);
      const Tensor workspace = empty({2 * (batch_norm_blocks(B, C, S) + C)}, DType::f64, dev);
      const BatchNormStatsArgs args{xd.data(dev),
                                    mean.data(dev),
                                    rstd.data(dev),
                                    writable_or_null(new_mean, dev),
                                    writable_or_null(new_var, dev),
                                    workspace.data_as<double>(dev),
                                    B,
                                    C,
                                    S,
                                    eps,
                                    momentum,
                                    x.dtype()};
      launch(batch_norm_kernels(dev).stats, args, cost_ns(x.numel()), dev);
      for (const auto& [running, updated] :
           {std::pair(running_mean, new_mean), std::pair(running_var, new_var)}) {
        if (!running.defined()) continue;
        if (running.is_same(updated)) {
          running.storage()->bump_version(op);
        } else {
          GradMode off(false);
          Tensor target = running;
          copy_(target, updated);
        }
      }
    }
  }
  if (x.numel() > 0) {
    const Tensor w = dense(weight, acc), b = dense(bias, acc);
    Tensor workspace;
    if (S < kMinPlane) workspace = empty({3 * C * S}, acc, dev);
    const BatchNormApplyArgs args{xd.data(dev),
                                  mean.data(dev),
                                  rstd.data(dev),
                                  data_or_null(w, dev),
                                  data_or_null(b, dev),
                                  y.data(dev),
                                  writable_or_null(workspace, dev),
                                  B,
                                  C,
                                  S,
                                  x.dtype()};
    launch(batch_norm_kernels(dev).apply, args, cost_ns(x.numel()), dev);
  }
  if (grad_needed(x, weight, bias)) {
    auto node = make_node<BatchNormNode>({&x, &weight, &bias});
    if (node->needs(1) || (node->needs(0) && training)) node->x.save(x);
    if (weight.defined() && node->needs(0)) node->w.save(weight);
    // Running statistics may change before backward.
    node->mean = !training && mean.is_same(running_mean) ? clone(mean.detach()) : mean;
    node->rstd = rstd;
    node->x_shape = x.shape();
    node->eps = eps;
    node->training = training;
    if (weight.defined()) node->w_dtype = weight.dtype();
    if (bias.defined()) node->b_dtype = bias.dtype();
    set_history(y, node);
  }
  return y;
}

}  // namespace tercel
