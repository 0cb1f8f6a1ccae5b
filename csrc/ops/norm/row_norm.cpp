// layer_norm and rms_norm on the row kernels, alone or after an addition: checks, output, launch,
// Node.
#include <cmath>
#include <limits>

#include "core/launch.h"
#include "core/autocast.h"
#include "ops/norm/norm_common.h"
#include "ops/norm/norm_kernels.h"

namespace tercel {

using namespace norm_detail;

namespace {

double machine_epsilon(DType t) {
  switch (t) {
    case DType::f64:
      return std::numeric_limits<double>::epsilon();
    case DType::f16:
      return 0x1p-10;
    case DType::bf16:
      return 0x1p-7;
    default:
      return std::numeric_limits<float>::epsilon();
  }
}

// ---- layer_norm and rms_norm
// -----------------------------------------------------------------------

struct RowNormNode final : NormNode {
  Shape normalized;
  bool rms = false;

  const char* name() const override { return rms ? "RmsNormBackward" : "LayerNormBackward"; }

  TensorList backward(const TensorList& g) override {
    TensorList out(3);
    if (!needs(0) && !needs(1)) {
      out[2] = to(sum_to(g[0], normalized), b_dtype);
      return out;
    }
    const Tensor xs = x.get(*this);
    const Device dev = xs.device();
    const Tensor ws = w.defined() ? w.get(*this) : Tensor();
    if (grad_enabled()) {
      NormGrads d = row_norm_grads(g[0], xs, ws, normalized.size(), eps, rms);
      if (needs(0)) out[0] = d.dx;
      if (needs(1)) out[1] = to(d.dw, w_dtype);
      if (needs(2)) out[2] = to(d.db, b_dtype);
      return out;
    }
    const DType acc = accumulate_dtype(xs.dtype());
    const int64_t n = numel_of(normalized), rows = n ? xs.numel() / n : 0;
    const Tensor xd = dense(xs, xs.dtype()), dy = dense(g[0], xs.dtype());
    Tensor dx, dw, db, workspace, wd;
    if (needs(0)) {
      dx = empty(xs.shape(), xs.dtype(), dev);
      wd = ws.defined() ? dense(ws, acc) : ones(normalized, acc, dev);
    }
    if (needs(1)) dw = empty(normalized, acc, dev);
    if (needs(2)) db = empty(normalized, acc, dev);
    if (rows == 0) {
      if (dw.defined()) zero_(dw);
      if (db.defined()) zero_(db);
    } else {
      if (dw.defined() || db.defined()) workspace = empty({row_norm_blocks(rows), 2, n}, acc, dev);
      const RowNormBwdArgs args{xd.data(dev),
                                dy.data(dev),
                                data_or_null(wd, dev),
                                data_or_null(mean, dev),
                                rstd.data(dev),
                                writable_or_null(dx, dev),
                                writable_or_null(dw, dev),
                                writable_or_null(db, dev),
                                writable_or_null(workspace, dev),
                                rows,
                                n,
                                xs.dtype()};
      launch(row_norm_kernels(dev).bwd, args, 2 * cost_ns(xs.numel()), dev);
    }
    out[0] = dx;
    if (dw.defined()) out[1] = to(dw, w_dtype);
    if (db.defined()) out[2] = to(db, b_dtype);
    return out;
  }
};

struct AddResidualNode final : Node {
  const char* name() const override { return "AddResidualBackward"; }
  TensorList backward(const TensorList& g) override { return {g[0], g[0]}; }
};

// Of given = x, or of *sum = x + residual when `sum` is wanted: the history of the result then goes
// through that of *sum, so that its gradients meet there.
Tensor row_norm(const char* op, const Tensor& given, const Shape& normalized, const Tensor& weight,
                const Tensor& bias, double eps, bool rms, const Tensor& residual = {},
                Tensor* sum = nullptr) {
  check_input(op, given);
  if (sum) {
    TERCEL_CHECK(residual.shape() == given.shape(), Shape, op,
                 ": residual must have the input's shape ", given.shape(), ", got ",
                 residual.shape());
    TERCEL_CHECK(residual.dtype() == given.dtype(), DType, op,
                 ": residual must have the input's dtype ", dtype_name(given.dtype()), ", got ",
                 dtype_name(residual.dtype()));
    *sum = empty(given.shape(), given.dtype(), given.device());
    if (grad_needed(given, residual))
      set_history(*sum, make_node<AddResidualNode>({&given, &residual}));
  }
  const Tensor& x = sum ? *sum : given;
  const int k = normalized.size(), lead = x.dim() - k;
  TERCEL_CHECK(k >= 1, Shape, op, ": normalized_shape must have at least one size, got []");
  bool fits = lead >= 0;
  for (int i = 0; fits && i < k; ++i) fits = normalized[i] == x.size(lead + i);
  TERCEL_CHECK(fits, Shape, op, ": normalized_shape must be the last dims of input, got ",
               normalized, " for input of shape ", x.shape());
  check_parameter(op, "weight", weight, normalized, x.dtype());
  check_parameter(op, "bias", bias, normalized, x.dtype());

  const Device dev = x.device();
  const DType acc = accumulate_dtype(x.dtype());
  const int64_t n = numel_of(normalized), rows = n ? x.numel() / n : 0;
  const bool record = grad_needed(x, weight, bias);
  const bool statistics = record && (tracks_grad(x) || tracks_grad(weight));
  Tensor y = empty(x.shape(), x.dtype(), dev);
  Tensor mean, rstd, workspace;
  if (statistics) {
    if (!rms) mean = empty({rows}, acc, dev);
    rstd = empty({rows}, acc, dev);
  }
  if (rows > 0) {
    const Tensor xd = dense(given, x.dtype()), w = dense(weight, acc), b = dense(bias, acc);
    const Tensor rd = dense(residual, x.dtype());
    const int64_t chunks = row_norm_chunks(n, x.itemsize());
    if (chunks > 1) workspace = empty({rows * chunks * 2}, DType::f64, dev);
    const RowNormFwdArgs args{xd.data(dev),
                              data_or_null(w, dev),
                              data_or_null(b, dev),
                              y.data(dev),
                              writable_or_null(mean, dev),
                              writable_or_null(rstd, dev),
                              nullptr,
                              static_cast<double*>(writable_or_null(workspace, dev)),
                              rows,
                              n,
                              1,
                              1,
                              eps,
                              x.dtype(),
                              rms,
                              data_or_null(rd, dev),
                              sum ? sum->data(dev) : nullptr};
    launch(row_norm_kernels(dev).fwd, args, cost_ns(x.numel()), dev);
  }
  if (record) {
    auto node = make_node<RowNormNode>({&x, &weight, &bias});
    if (statistics) {
      node->x.save(x);
      if (weight.defined() && node->needs(0)) node->w.save(weight);
      node->mean = mean;
      node->rstd = rstd;
    }
    node->normalized = normalized;
    node->eps = eps;
    node->rms = rms;
    if (weight.defined()) node->w_dtype = weight.dtype();
    if (bias.defined()) node->b_dtype = bias.dtype();
    set_history(y, node);
  }
  return y;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight,
                  const Tensor& bias, double eps) {
  if (autocast_widens(x, weight, bias))
    return layer_norm(autocast_wide(x), normalized_shape, autocast_wide(weight),
                      autocast_wide(bias), eps);
  return row_norm("layer_norm", x, normalized_shape, weight, bias, eps, false);
}

Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight,
                std::optional<double> eps) {
  if (autocast_widens(x, weight))
    return rms_norm(autocast_wide(x), normalized_shape, autocast_wide(weight), eps);
  return row_norm("rms_norm", x, normalized_shape, weight, {},
                  eps ? *eps : machine_epsilon(x.dtype()), true);
}

std::pair<Tensor, Tensor> add_layer_norm(const Tensor& x, const Tensor& residual,
                                         const Shape& normalized_shape, const Tensor& weight,
                                         const Tensor& bias, double eps) {
  if (autocast_widens(x, residual, weight, bias)) {
    return add_layer_norm(autocast_wide(x), autocast_wide(residual), normalized_shape,
                          autocast_wide(weight), autocast_wide(bias), eps);
  }
  Tensor sum;
  Tensor y =
      row_norm("add_layer_norm", x, normalized_shape, weight, bias, eps, false, residual, &sum);
  return {y, sum};
}

std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual,
                                       const Shape& normalized_shape, const Tensor& weight,
                                       std::optional<double> eps) {
  if (autocast_widens(x, residual, weight)) {
    return add_rms_norm(autocast_wide(x), autocast_wide(residual), normalized_shape,
                        autocast_wide(weight), eps);
  }
  Tensor sum;
  Tensor y = row_norm("add_rms_norm", x, normalized_shape, weight, {},
                      eps ? *eps : machine_epsilon(x.dtype()), true, residual, &sum);
  return {y, sum};
}

}  // namespace tercel
