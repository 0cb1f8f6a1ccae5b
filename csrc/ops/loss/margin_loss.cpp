// Margin losses over classes, composed from public ops.
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/loss/loss.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

static Tensor relu_of(const Tensor& x) { return clamp_min(x, wrap_number(Scalar(0.0))); }

// x as [N, C] and target as [N, ...]; what a 1-d input adds is removed by the caller.
static Tensor batched(const Tensor& x, const char* op) {
  TERCEL_CHECK(x.dim() == 1 || x.dim() == 2, Shape, op, ": input must be [C] or [N, C], got ",
               x.shape());
  TERCEL_CHECK(x.size(-1) > 0, Shape, op, ": input has no classes, shape ", x.shape());
  if (!is_float(x.dtype())) fail_dtype(op, x.dtype(), kFloatMask);
  return x.dim() == 1 ? unsqueeze(x, 0) : x;
}

Tensor multi_margin_loss(const Tensor& input, const Tensor& target, int64_t p, double margin,
                         const std::optional<Tensor>& weight, Reduction reduction) {
  const char* op = "multi_margin_loss";
  TERCEL_CHECK(p == 1 || p == 2, Value, op, ": p must be 1 or 2, got ", p);
  const Tensor x = batched(input, op);
  const int64_t classes = x.size(1);
  TERCEL_CHECK(is_int(target.dtype()), DType, op, ": class indices must be integers, got ",
               dtype_name(target.dtype()));
  TERCEL_CHECK(target.numel() == x.size(0) && target.dim() <= 1, Shape, op,
               ": target must have shape [", x.size(0), "], got ", target.shape());
  if (weight) {
    TERCEL_CHECK(weight->shape() == Shape{classes}, Shape, op, ": weight must have shape [",
                 classes, "], got ", weight->shape());
  }
  const Tensor t = reshape(to(target, DType::i64), {-1, 1});  // gather checks the range
  Tensor cost = relu_of(add(sub(x, gather(x, 1, t)), margin));
  if (p == 2) cost = square(cost);
  if (weight) cost = mul(cost, reshape(index_select(*weight, 0, reshape(t, {-1})), {-1, 1}));
  const Tensor others =
      scatter(ones_like(detach(x)), 1, t, zeros(t.shape(), x.dtype(), x.device()));
  const Tensor loss = div(sum(mul(cost, others), {1}), static_cast<double>(classes));
  return reduce_loss(input.dim() == 1 ? select(loss, 0, 0) : loss, reduction);
}

Tensor multilabel_margin_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  const char* op = "multilabel_margin_loss";
  const Tensor x = batched(input, op);
  TERCEL_CHECK(target.shape() == input.shape(), Shape, op, ": target must have the input's shape ",
               input.shape(), ", got ", target.shape());
  TERCEL_CHECK(is_int(target.dtype()), DType, op, ": targets must be integers, got ",
               dtype_name(target.dtype()));
  const int64_t rows = x.size(0), classes = x.size(1);
  const Tensor t = contiguous(to(to_device(target, Device{}), DType::i64));  // few: counted there
  Tensor times =
      zeros(x.shape(), x.dtype() == DType::f64 ? DType::f64 : DType::f32);  // a label may repeat
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < classes; ++k) {
      const int64_t c = t.data_as<int64_t>()[r * classes + k];
      if (c == -1) break;
      TERCEL_CHECK(c >= 0 && c < classes, Index, op, ": target ", c, " is not in [0, ", classes,
                   ") and not -1");
      if (times.dtype() == DType::f64)
        times.data_as<double>()[r * classes + c] += 1;
      else
        times.data_as<float>()[r * classes + c] += 1;
    }
  }
  times = to_device(times, x.device());
  // cost[n, j, i] = max(0, 1 - (x_j - x_i)) over targets j and other classes i
  const Tensor cost = relu_of(sub(1.0, sub(unsqueeze(x, 2), unsqueeze(x, 1))));
  const Tensor others = to(eq(times, 0.0), times.dtype());
  const Tensor counted = to(mul(unsqueeze(times, 2), unsqueeze(others, 1)), x.dtype());
  const Tensor loss = div(sum(mul(cost, counted), {1, 2}), static_cast<double>(classes));
  return reduce_loss(input.dim() == 1 ? select(loss, 0, 0) : loss, reduction);
}

Tensor multilabel_soft_margin_loss(const Tensor& x, const Tensor& target,
                                   const std::optional<Tensor>& weight, Reduction reduction) {
  TERCEL_CHECK(x.dim() >= 1, Shape,
               "multilabel_soft_margin_loss: input must have a class dim, got a scalar");
  const Tensor loss = binary_cross_entropy_with_logits(x, target, weight, Reduction::none);
  return reduce_loss(mean(loss, {-1}), reduction);
}

}  // namespace tercel
