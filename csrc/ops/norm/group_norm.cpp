// group_norm and instance_norm on the row kernels: checks, output, launch, Node.
#include "core/launch.h"
#include "core/autocast.h"
#include "ops/elementwise/elementwise.h"
#include "ops/norm/norm_common.h"
#include "ops/norm/norm_kernels.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

using namespace norm_detail;

// ---- group_norm
// ------------------------------------------------------------------------------------

namespace {

struct GroupNormNode final : NormNode {
  Shape x_shape;
  int64_t groups = 1;

  const char* name() const override { return "GroupNormBackward"; }

  TensorList backward(const TensorList& g) override {
    TensorList out(3);
    const int64_t B = x_shape[0], C = x_shape[1];
    if (!needs(0) && !needs(1)) {
      out[2] = to(reshape(sum_to(reshape(g[0], {B, C, spatial_size(x_shape)}), {1, C, 1}), {C}),
                  b_dtype);
      return out;
    }
    const Tensor xs = x.get(*this);
    const Device dev = xs.device();
    const Tensor ws = w.defined() ? w.get(*this) : Tensor();
    if (grad_enabled()) {
      NormGrads d = group_norm_grads(g[0], xs, ws, groups, eps);
      if (needs(0)) out[0] = d.dx;
      if (needs(1)) out[1] = to(d.dw, w_dtype);
      if (needs(2)) out[2] = to(d.db, b_dtype);
      return out;
    }
    const DType acc = accumulate_dtype(xs.dtype());
    const Tensor xd = dense(xs, xs.dtype()), dy = dense(g[0], xs.dtype());
    Tensor dx, dw, db;
    const Tensor wd = dense(ws, acc);
    if (needs(0)) dx = empty(xs.shape(), xs.dtype(), dev);
    if (needs(1)) dw = empty({C}, acc, dev);
    if (needs(2)) db = empty({C}, acc, dev);
    if (xs.numel() == 0) {
      if (dw.defined()) zero_(dw);
      if (db.defined()) zero_(db);
    } else {
      const Tensor workspace = empty({B, C, 2}, DType::f64, dev);
      const GroupNormBwdArgs args{xd.data(dev),
                                  dy.data(dev),
                                  data_or_null(wd, dev),
                                  mean.data(dev),
                                  rstd.data(dev),
                                  writable_or_null(dx, dev),
                                  writable_or_null(dw, dev),
                                  writable_or_null(db, dev),
                                  workspace.data_as<double>(dev),
                                  B,
                                  C,
                                  groups,
                                  spatial_size(x_shape),
                                  xs.dtype()};
      launch(group_norm_kernels(dev).bwd, args, 2 * cost_ns(xs.numel()), dev);
    }
    out[0] = dx;
    if (dw.defined()) out[1] = to(dw, w_dtype);
    if (db.defined()) out[2] = to(db, b_dtype);
    return out;
  }
};

// `mean` and `var` [B * G], if not null, receive the statistics.
Tensor grouped(const char* op, const Tensor& x, int64_t groups, const Tensor& weight,
               const Tensor& bias, double eps, Tensor* mean_out, Tensor* var_out) {
  const int64_t B = x.size(0), C = x.size(1);
  check_parameter(op, "weight", weight, {C}, x.dtype());
  check_parameter(op, "bias", bias, {C}, x.dtype());
  const Device dev = x.device();
  const DType acc = accumulate_dtype(x.dtype());
  const bool record = grad_needed(x, weight, bias);
  const bool statistics = record && (tracks_grad(x) || tracks_grad(weight));
  Tensor y = empty(x.shape(), x.dtype(), dev);
  Tensor mean, rstd, workspace;
  if (statistics || mean_out) mean = empty({B * groups}, acc, dev);
  if (statistics) rstd = empty({B * groups}, acc, dev);
  if (mean_out) *mean_out = mean;
  if (var_out) *var_out = empty({B * groups}, acc, dev);
  if (x.numel() > 0) {
    const int64_t rows = B * groups, n = x.numel() / rows,
                  chunks = row_norm_chunks(n, x.itemsize());
    const Tensor xd = dense(x, x.dtype()), w = dense(weight, acc), b = dense(bias, acc);
    if (chunks > 1) workspace = empty({rows * chunks * 2}, DType::f64, dev);
    const RowNormFwdArgs args{xd.data(dev),
                              data_or_null(w, dev),
                              data_or_null(b, dev),
                              y.data(dev),
                              writable_or_null(mean, dev),
                              writable_or_null(rstd, dev),
                              var_out ? var_out->data(dev) : nullptr,
                              static_cast<double*>(writable_or_null(workspace, dev)),
                              rows,
                              n,
                              groups,
                              spatial_size(x.shape()),
                              eps,
                              x.dtype(),
                              false};
    launch(row_norm_kernels(dev).fwd, args, cost_ns(x.numel()), dev);
  }
  if (record) {
    auto node = make_node<GroupNormNode>({&x, &weight, &bias});
    if (statistics) {
      node->x.save(x);
      if (weight.defined() && node->needs(0)) node->w.save(weight);
      node->mean = mean;
      node->rstd = rstd;
    }
    node->x_shape = x.shape();
    node->groups = groups;
    node->eps = eps;
    if (weight.defined()) node->w_dtype = weight.dtype();
    if (bias.defined()) node->b_dtype = bias.dtype();
    set_history(y, node);
  }
  return y;
}

}  // namespace

Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& weight, const Tensor& bias,
                  double eps) {
  if (autocast_widens(x, weight, bias))
    return group_norm(autocast_wide(x), num_groups, autocast_wide(weight), autocast_wide(bias),
                      eps);
  check_input("group_norm", x);
  TERCEL_CHECK(x.dim() >= 2, Shape,
               "group_norm: input must have at least 2 dims [B, C, ...], got shape ", x.shape());
  const int64_t C = x.size(1);
  TERCEL_CHECK(num_groups > 0 && C % num_groups == 0, Value,
               "group_norm: num_groups must be positive and divide the ", C, " channels, got ",
               num_groups);
  TERCEL_CHECK(x.size(0) * C == 0 || x.numel() / num_groups != 1, Value,
               "group_norm: expected more than 1 value per channel, got input of shape ",
               x.shape());
  return grouped("group_norm", x, num_groups, weight, bias, eps, nullptr, nullptr);
}

// ---- instance_norm
// ---------------------------------------------------------------------------------

namespace {

// r = (1 - momentum) r + momentum * average over the batch of value[b, c] * scale
void update_running(const Tensor& running, const Tensor& value, int64_t batch, double scale,
                    double momentum) {
  if (!running.defined()) return;
  Tensor target = running;
  check_inplace(target, "instance_norm");
  GradMode off(false);
  const Tensor average = mean(reshape(to(value, DType::f64), {batch, running.numel()}), Dims{0});
  copy_(target, add(mul(to(running, DType::f64), 1.0 - momentum), mul(average, momentum * scale)));
}

}  // namespace

Tensor instance_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& weight, const Tensor& bias, bool use_input_stats,
                     double momentum, double eps) {
  if (autocast_widens(x, weight, bias)) {
    return instance_norm(autocast_wide(x), running_mean, running_var, autocast_wide(weight),
                         autocast_wide(bias), use_input_stats, momentum, eps);
  }
  const char* op = "instance_norm";
  check_input(op, x);
  TERCEL_CHECK(x.dim() >= 2, Shape,
               "instance_norm: input must have at least 2 dims [B, C, ...], got shape ", x.shape());
  const int64_t B = x.size(0), C = x.size(1);
  TERCEL_CHECK(
      use_input_stats || (running_mean.defined() && running_var.defined()), Value,
      "instance_norm: running_mean and running_var are required when use_input_stats is False");
  check_parameter(op, "running_mean", running_mean, {C}, x.dtype());
  check_parameter(op, "running_var", running_var, {C}, x.dtype());
  if (!use_input_stats)
    return batch_norm(x, running_mean, running_var, weight, bias, false, momentum, eps);
  const int64_t S = spatial_size(x.shape());
  TERCEL_CHECK(
      B * C == 0 || S != 1, Value,
      "instance_norm: expected more than 1 spatial element when training, got input of shape ",
      x.shape());
  const bool update = (running_mean.defined() || running_var.defined()) && x.numel() > 0;
  if (C == 0) return grouped(op, x, 1, weight, bias, eps, nullptr, nullptr);
  Tensor mean, var;
  Tensor y =
      grouped(op, x, C, weight, bias, eps, update ? &mean : nullptr, update ? &var : nullptr);
  if (update) {
    update_running(running_mean, mean, B, 1.0, momentum);
    update_running(running_var, var, B, static_cast<double>(S) / static_cast<double>(S - 1),
                   momentum);
  }
  return y;
}

}  // namespace tercel
