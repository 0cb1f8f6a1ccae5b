// softmax, log_softmax, softmin and their gradients.
#include "ops/softmax/softmax.h"

#include "core/autocast.h"
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/reduce/reduce.h"
#include "ops/softmax/softmax_kernels.h"
#include "ops/view/view.h"

namespace tercel {

DimSplit split_at_dim(const Shape& shape, int dim) {
  DimSplit s{1, 1, 1};
  for (int d = 0; d < shape.size(); ++d) {
    (d < dim ? s.outer : d == dim ? s.n : s.inner) *= shape[d];
  }
  return s;
}

struct SoftmaxNode final : Node {
  Saved y;
  int dim;
  bool log;
  const char* name() const override { return log ? "LogSoftmaxBackward" : "SoftmaxBackward"; }
  TensorList backward(const TensorList& grads) override {
    const Tensor out = y.get(*this);
    if (grad_enabled()) {  // a graph of the gradient is wanted
      if (log) return {sub(grads[0], mul(exp(out), sum(grads[0], {dim}, true)))};
      return {mul(sub(grads[0], sum(mul(grads[0], out), {dim}, true)), out)};
    }
    const Device dev = out.device();
    const Tensor yc = contiguous(out), g = contiguous(grads[0]);
    Tensor dx = empty(yc.shape(), yc.dtype(), yc.device());
    const DimSplit s = split_at_dim(yc.shape(), dim);
    const SoftmaxBwdArgs args{yc.data(dev), g.data(dev), dx.data(dev), s.outer,
                              s.n,          s.inner,     yc.dtype(),   log};
    if (dx.numel() > 0)
      launch(softmax_kernels(dev).softmax_bwd, args, dx.numel() / (log ? 2 : 4), dev);
    return {dx};
  }
  void release_saved() override { y.reset(); }
};

static Tensor softmax_along(const char* op, const Tensor& input, int64_t dim,
                            std::optional<DType> dtype, bool log) {
  const int d = normalize_dim(dim, input.dim(), op);
  const Tensor x = dtype ? to(input, *dtype) : input;
  if (!is_float(x.dtype())) fail_dtype(op, x.dtype(), kFloatMask);
  if (is_fp8(x.dtype())) return to(softmax_along(op, to(x, DType::f32), d, {}, log), x.dtype());
  const Device dev = x.device();
  const Tensor xc = contiguous(detach(x));
  Tensor y = empty(x.shape(), x.dtype(), x.device());
  const DimSplit s = split_at_dim(x.shape(), d);
  const SoftmaxArgs args{xc.data(dev), y.data(dev), s.outer, s.n, s.inner, x.dtype(), log};
  if (y.numel() > 0) launch(softmax_kernels(dev).softmax, args, y.numel(), dev);
  if (grad_needed(x)) {
    auto node = make_node<SoftmaxNode>({&x});
    node->dim = d;
    node->log = log;
    node->y.save_output(y, 0);
    set_history(y, node);
  }
  return y;
}

Tensor softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  if (autocast_widens(x)) return softmax(autocast_wide(x), dim, dtype);
  return softmax_along("softmax", x, dim, dtype, false);
}
Tensor log_softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  if (autocast_widens(x)) return log_softmax(autocast_wide(x), dim, dtype);
  return softmax_along("log_softmax", x, dim, dtype, true);
}
Tensor softmin(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  if (autocast_widens(x)) return softmin(autocast_wide(x), dim, dtype);
  return softmax_along("softmin", neg(dtype ? to(x, *dtype) : x), dim, {}, false);
}

}  // namespace tercel
