// cumsum, cumprod, logcumsumexp, cummax, cummin and their gradients.
#include "core/launch.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/reduce/reduce_common.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {

ScanShape::ScanShape(const Shape& shape, int dim) {
  for (int d = 0; d < shape.size(); ++d) (d < dim ? outer : d == dim ? n : inner) *= shape[d];
}

static Tensor run_scan(const Tensor& input, const Tensor& factor, int dim, ScanOp op, bool reverse,
                       DType out) {
  GradMode off(false);
  const Tensor x = contiguous(input), a = factor.defined() ? contiguous(factor) : Tensor();
  const Device dev = x.device();
  Tensor y = empty(x.shape(), out, x.device());
  const ScanShape s(x.shape(), dim);
  const ScanArgs args{x.data(dev), a.defined() ? a.data(dev) : nullptr,
                      y.data(dev), s.outer,
                      s.n,         s.inner,
                      x.dtype(),   out,
                      op,          reverse};
  if (y.numel() > 0)
    launch(scan_kernels(dev).scan, args, op == ScanOp::logsumexp ? x.numel() * 20 : x.numel(), dev);
  return y;
}

// ---- sums
// --------------------------------------------------------------------------------------------

static Tensor cumulative_sum(const Tensor& x, int dim, bool reverse, DType out);

struct CumsumNode final : Node {
  int dim;
  bool reverse;
  DType dtype;
  const char* name() const override { return "CumsumBackward"; }
  TensorList backward(const TensorList& g) override {
    return {cumulative_sum(g[0], dim, !reverse, dtype)};
  }
};

static Tensor cumulative_sum(const Tensor& x, int dim, bool reverse, DType out) {
  Tensor y = run_scan(x, {}, dim, ScanOp::sum, reverse, out);
  if (is_float(out) && grad_needed(x)) {
    auto node = make_node<CumsumNode>({&x});
    node->dim = dim;
    node->reverse = reverse;
    node->dtype = x.dtype();
    set_history(y, node);
  }
  return y;
}

Tensor cumsum(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  const DType out = dtype.value_or(is_float(x.dtype()) ? x.dtype() : DType::i64);
  return cumulative_sum(x, normalize_dim(dim, x.dim(), "cumsum"), false, out);
}

// ---- linear recurrence: y_i = b_i + a_i y_{i-1} (or y_{i+1})
// -------------------------------------------

// x moved by one towards the end (forward) or the start, zero filled.
static Tensor shifted(const Tensor& x, int dim, bool forward, double fill) {
  const int64_t n = x.size(dim);
  if (n == 0) return x;
  Shape edge = x.shape();
  edge[dim] = 1;
  const Tensor one = full(edge, Scalar(fill), x.dtype(), x.device());
  return forward ? cat({one, narrow(x, dim, 0, n - 1)}, dim)
                 : cat({narrow(x, dim, 1, n - 1), one}, dim);
}

static Tensor linear_scan(const Tensor& b, const Tensor& a, int dim, bool reverse);

// With T_i = h_i + a_{i+1} T_{i+1}: db = T, da_i = T_i y_{i-1}.
struct LinearScanNode final : Node {
  Saved a, y;
  int dim;
  bool reverse;
  const char* name() const override { return "LinearScanBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor t = linear_scan(g[0], shifted(a.get(*this), dim, reverse, 0), dim, !reverse);
    return {t, needs(1) ? mul(t, shifted(y.get(*this), dim, !reverse, 0)) : Tensor()};
  }
  void release_saved() override {
    a.reset();
    y.reset();
  }
};

static Tensor linear_scan(const Tensor& b, const Tensor& a, int dim, bool reverse) {
  Tensor y = run_scan(b, a, dim, ScanOp::linear, reverse, b.dtype());
  if (grad_needed(b, a)) {
    auto node = make_node<LinearScanNode>({&b, &a});
    node->dim = dim;
    node->reverse = reverse;
    node->a.save(a);
    node->y.save_output(y, 0);
    set_history(y, node);
  }
  return y;
}

// ---- products
// ----------------------------------------------------------------------------------------

// dx_i = (prod before i) S_i with S_i = g_i + x_{i+1} S_{i+1}: right with zeros in x, O(n).
static Tensor cumulative_prod(const Tensor& x, int dim, bool reverse, DType out);

struct CumprodNode final : Node {
  Saved x;
  int dim;
  bool reverse;
  DType in, out;
  const char* name() const override { return "CumprodBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor v = to(x.get(*this), out);
    const Tensor before = exclusive_cumprod(v, dim, reverse);
    const Tensor s = linear_scan(g[0], shifted(v, dim, reverse, 0), dim, !reverse);
    return {to(mul(before, s), in)};
  }
  void release_saved() override { x.reset(); }
};

static Tensor cumulative_prod(const Tensor& x, int dim, bool reverse, DType out) {
  Tensor y = run_scan(x, {}, dim, ScanOp::prod, reverse, out);
  if (is_float(out) && grad_needed(x)) {
    auto node = make_node<CumprodNode>({&x});
    node->dim = dim;
    node->reverse = reverse;
    node->in = x.dtype();
    node->out = out;
    node->x.save(x);
    set_history(y, node);
  }
  return y;
}

Tensor exclusive_cumprod(const Tensor& x, int64_t dim, bool reverse) {
  const int d = static_cast<int>(dim);
  return shifted(cumulative_prod(x, d, reverse, x.dtype()), d, !reverse, 1);
}

Tensor cumprod(const Tensor& x, int64_t dim, std::optional<DType> dtype) {
  const int d = normalize_dim(dim, x.dim(), "cumprod");
  const DType out = dtype.value_or(is_float(x.dtype()) ? x.dtype() : DType::i64);
  if (x.dim() == 0) return to_copy(x, out);
  return cumulative_prod(x, d, false, out);
}

// ---- logcumsumexp
// ------------------------------------------------------------------------------------

static Tensor cumulative_logsumexp(const Tensor& x, int dim, bool reverse);

// dx_i = sum over j >= i of g_j exp(x_i - y_j); positive and negative g separately, in the log
// domain.
struct LogcumsumexpNode final : Node {
  Saved x, y;
  int dim;
  bool reverse;
  const char* name() const override { return "LogcumsumexpBackward"; }
  TensorList backward(const TensorList& grads) override {
    const Tensor input = x.get(*this), lse = y.get(*this), g = grads[0];
    const double inf = std::numeric_limits<double>::infinity();
    const Tensor out = tercel::where(eq(lse, -inf), zeros_like(lse), lse);
    const Tensor low = full_like(out, Scalar(-inf));
    const auto part = [&](const Tensor& mask, const Tensor& grad) {
      const Tensor log_grad =
          tercel::where(mask, log(tercel::where(mask, grad, ones_like(grad))), low);
      return exp(add(cumulative_logsumexp(sub(log_grad, out), dim, !reverse), input));
    };
    // A NaN gradient belongs to the second part and stays NaN.
    return {sub(part(gt(g, 0.0), g), part(logical_not(ge(g, 0.0)), neg(g)))};
  }
  void release_saved() override {
    x.reset();
    y.reset();
  }
};

static Tensor cumulative_logsumexp(const Tensor& x, int dim, bool reverse) {
  Tensor y = run_scan(x, {}, dim, ScanOp::logsumexp, reverse, x.dtype());
  if (grad_needed(x)) {
    auto node = make_node<LogcumsumexpNode>({&x});
    node->dim = dim;
    node->reverse = reverse;
    node->x.save(x);
    node->y.save_output(y, 0);
    set_history(y, node);
  }
  return y;
}

Tensor logcumsumexp(const Tensor& x, int64_t dim) {
  if (!is_float(x.dtype())) fail_dtype("logcumsumexp", x.dtype(), kFloatMask);
  return cumulative_logsumexp(x, normalize_dim(dim, x.dim(), "logcumsumexp"), false);
}

// ---- cummax, cummin
// ----------------------------------------------------------------------------------

struct CumExtremeNode final : Node {
  Saved index;
  Shape shape;
  int dim;
  const char* name() const override { return "CummaxBackward"; }
  TensorList backward(const TensorList& g) override {
    if (!g[0].defined()) return {Tensor()};
    return {scatter_add(zeros(shape, g[0].dtype(), g[0].device()), dim, index.get(*this), g[0])};
  }
  void release_saved() override { index.reset(); }
};

static std::pair<Tensor, Tensor> cum_extreme(const Tensor& input, int64_t dim, bool largest,
                                             const char* op) {
  const int d = normalize_dim(dim, input.dim(), op);
  const Tensor x = contiguous(detach(input));
  const Device dev = x.device();
  Tensor value = empty(x.shape(), x.dtype(), x.device()),
         index = empty(x.shape(), DType::i64, x.device());
  const ScanShape s(x.shape(), d);
  const CumExtremeArgs args{
      x.data(dev), value.data(dev), index.data_as<int64_t>(dev), s.outer, s.n, s.inner,
      x.dtype(),   largest};
  if (x.numel() > 0) launch(scan_kernels(dev).cum_extreme, args, x.numel() * 2, dev);
  if (grad_needed(input)) {
    auto node = make_node<CumExtremeNode>({&input});
    node->shape = x.shape();
    node->dim = d;
    node->index.save(index);
    set_history(value, node);
  }
  return {value, index};
}

std::pair<Tensor, Tensor> cummax(const Tensor& x, int64_t dim) {
  return cum_extreme(x, dim, true, "cummax");
}
std::pair<Tensor, Tensor> cummin(const Tensor& x, int64_t dim) {
  return cum_extreme(x, dim, false, "cummin");
}

}  // namespace tercel
