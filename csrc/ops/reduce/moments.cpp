// var, std, norms and logsumexp with their gradients.
#include <cmath>

#include "core/launch.h"
#include "ops/elementwise/elementwise.h"
#include "ops/reduce/reduce_common.h"
#include "ops/softmax/softmax_kernels.h"
#include "ops/view/view.h"

namespace tercel {

static void check_float(const Tensor& x, const char* op) {
  if (!is_float(x.dtype())) fail_dtype(op, x.dtype(), kFloatMask);
}
static Dims dims_of(uint32_t mask) {
  Dims dims;
  for (int d = 0; d < kMaxDims; ++d) {
    if (mask >> d & 1) dims.push_back(d);
  }
  return dims;
}

// ---- var, std
// ----------------------------------------------------------------------------------------

// The two kernels (rows, columns) have different trees, so which one runs must follow from the
// shape: rows if the last dim is reduced. A layout that would lead to the other one is copied.
static Tensor as_if_contiguous(const Tensor& x, uint32_t mask) {
  if (x.is_contiguous()) return x;
  int64_t last_kept = 0, last_reduced = 0;
  bool reduced_last = false;
  for (int d = 0; d < x.dim(); ++d) {
    if (x.size(d) == 1) continue;
    reduced_last = mask >> d & 1;
    (reduced_last ? last_reduced : last_kept) = x.stride(d);
  }
  const bool same = reduced_last ? last_reduced == 1 : last_kept == 1 && last_reduced != 1;
  return same ? x : contiguous(x);
}

static std::pair<Tensor, Tensor> run_var(const Tensor& input, uint32_t mask, double correction,
                                         bool keepdim, bool sqrt, bool want_mean) {
  GradMode off(false);
  const Tensor x = as_if_contiguous(input, mask);
  const Device dev = x.device();
  const Shape shape = reduced_shape(x.shape(), mask, keepdim);
  Tensor v = empty(shape, x.dtype(), x.device()), m;
  if (want_mean) m = empty(shape, x.dtype(), x.device());
  if (v.numel() == 0) return {v, m};
  VarArgs args{};
  fill_geometry(x, mask, &args.g);
  args.x = x.data(dev);
  args.var = v.data(dev);
  args.mean = want_mean ? m.data(dev) : nullptr;
  args.in = args.out = x.dtype();
  args.correction = correction;
  args.sqrt = sqrt;
  Tensor workspace;
  if (args.g.outputs < kReduceFewOutputs) {
    workspace = empty({args.g.outputs * (args.g.n / kVarBlock + 1) * 2}, DType::f64, x.device());
    args.workspace = workspace.data(dev);
  }
  launch(var_kernels(dev).var, args, x.numel() * x.itemsize() / 8, dev);
  return {v, m};
}

// d var = 2 (x - mean) / (n - correction); d std = that / (2 std), 0 where std is 0; d mean = 1 /
// n.
struct VarNode final : ReduceNode {
  Saved x, y;
  double correction;
  bool sqrt, pair;
  const char* name() const override { return sqrt ? "StdBackward" : "VarBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor input = x.get(*this);
    const double n = static_cast<double>(reduced_count(shape, mask));
    Tensor dx;
    if (g[0].defined()) {
      Tensor scale = with_dims(g[0], mask, keepdim);
      if (sqrt) {
        const Tensor s = with_dims(y.get(*this), mask, keepdim);
        scale = tercel::where(eq(s, 0.0), zeros_like(s), div(scale, mul(s, 2.0)));
      }
      const Tensor centered = sub(input, mean(input, dims_of(mask), true));
      dx = mul(centered, mul(scale, 2.0 / std::fmax(0.0, n - correction)));
    }
    if (g.size() > 1 && g[1].defined()) {
      const Tensor dm = spread(div(g[1], n), mask, keepdim, shape);
      dx = dx.defined() ? add(dx, dm) : dm;
    }
    return {dx};
  }
  void release_saved() override {
    x.reset();
    y.reset();
  }
};

static std::pair<Tensor, Tensor> var_op(const Tensor& x, const Dims& dims, double correction,
                                        bool keepdim, bool sqrt, bool want_mean, const char* op) {
  check_float(x, op);
  const uint32_t mask = dims_mask(dims, x.dim(), op);
  const auto result = run_var(x, mask, correction, keepdim, sqrt, want_mean);
  if (grad_needed(x)) {
    auto node = make_node<VarNode>({&x});
    node->describe(x, mask, keepdim);
    node->correction = correction;
    node->sqrt = sqrt;
    node->pair = want_mean;
    node->x.save(x);
    if (sqrt) node->y.save_output(result.first, 0);
    set_history(result.first, node);
    if (want_mean) set_history(result.second, node);
  }
  return result;
}

Tensor var(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  return var_op(x, dims, correction, keepdim, false, false, "var").first;
}
Tensor std(const Tensor& x, const Dims& dims, double correction, bool keepdim) {
  return var_op(x, dims, correction, keepdim, true, false, "std").first;
}
std::pair<Tensor, Tensor> var_mean(const Tensor& x, const Dims& dims, double correction,
                                   bool keepdim) {
  return var_op(x, dims, correction, keepdim, false, true, "var_mean");
}
std::pair<Tensor, Tensor> std_mean(const Tensor& x, const Dims& dims, double correction,
                                   bool keepdim) {
  return var_op(x, dims, correction, keepdim, true, true, "std_mean");
}

// ---- norms
// -------------------------------------------------------------------------------------------

// dx = g x / norm (p = 2), g sign(x) (p = 1), 0 where the norm is 0.
struct NormNode final : ReduceNode {
  Saved x, y;
  double p;
  const char* name() const override { return "NormBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor input = x.get(*this);
    const Tensor scale = with_dims(g[0], mask, keepdim);
    if (p == 1) return {mul(sign(input), scale)};
    const Tensor norm = with_dims(y.get(*this), mask, keepdim);
    const Tensor zero = eq(norm, 0.0);
    return {mul(input, tercel::where(zero, zeros_like(norm),
                                     div(scale, tercel::where(zero, ones_like(norm), norm))))};
  }
  void release_saved() override {
    x.reset();
    y.reset();
  }
};

Tensor vector_norm(const Tensor& input, double p, const Dims& dims, bool keepdim,
                   std::optional<DType> dtype) {
  const Tensor x = dtype ? to(input, *dtype) : input;
  check_float(x, "vector_norm");
  const uint32_t mask = dims_mask(dims, x.dim(), "vector_norm");
  if (std::isinf(p)) {
    check_not_empty(x, mask, "vector_norm");
    const Tensor a = abs(x);
    return p > 0 ? amax(a, dims, keepdim) : amin(a, dims, keepdim);
  }
  if (p == 0) return sum(to(ne(detach(x), 0.0), x.dtype()), dims, keepdim);
  if (p != 1 && p != 2) return pow(sum(pow(abs(x), p), dims, keepdim), 1.0 / p);
  Tensor y = run_reduce(x, mask, keepdim, p == 1 ? ReduceOp::abs_sum : ReduceOp::square_sum,
                        ReduceLoad::value, p == 2 ? ReducePost::sqrt : ReducePost::none,
                        accumulate_dtype(x.dtype()), x.dtype());
  if (grad_needed(x)) {
    auto node = make_node<NormNode>({&x});
    node->describe(x, mask, keepdim);
    node->p = p;
    node->x.save(x);
    if (p == 2) node->y.save_output(y, 0);
    set_history(y, node);
  }
  return y;
}

Tensor norm(const Tensor& x, double p, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  return vector_norm(x, p, dims, keepdim, dtype);
}

Tensor dist(const Tensor& a, const Tensor& b, double p) { return vector_norm(sub(a, b), p); }

// ---- logsumexp
// ---------------------------------------------------------------------------------------

struct LogSumExpNode final : ReduceNode {
  Saved x, y;
  const char* name() const override { return "LogSumExpBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor lse = with_dims(y.get(*this), mask, keepdim);
    // exp(-inf - -inf): a row of -inf has no gradient
    const Tensor shift = tercel::where(isinf(lse), zeros_like(lse), lse);
    return {mul(exp(sub(x.get(*this), shift)), with_dims(g[0], mask, keepdim))};
  }
  void release_saved() override {
    x.reset();
    y.reset();
  }
};

Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim) {
  if (!is_float(x.dtype())) return logsumexp(to(x, default_dtype()), dims, keepdim);
  if (is_fp8(x.dtype())) return to(logsumexp(to(x, DType::f32), dims, keepdim), x.dtype());
  const uint32_t mask = dims_mask(dims, x.dim(), "logsumexp");
  Tensor y = empty(reduced_shape(x.shape(), mask, keepdim), x.dtype(), x.device());
  {
    GradMode off(false);
    // Reduced dims that are not neighbours are moved to the end.
    Dims kept, reduced;
    for (int d = 0; d < x.dim(); ++d) (mask >> d & 1 ? reduced : kept).push_back(d);
    bool neighbours = true;
    for (int i = 1; i < reduced.size(); ++i) neighbours &= reduced[i] == reduced[i - 1] + 1;
    LogSumExpArgs args{};
    Tensor xc;
    args.outer = args.inner = 1;
    if (neighbours && reduced.size() > 0) {
      xc = contiguous(x);
      for (int d = 0; d < reduced[0]; ++d) args.outer *= x.size(d);
      for (int d = static_cast<int>(reduced[reduced.size() - 1]) + 1; d < x.dim(); ++d)
        args.inner *= x.size(d);
    } else {
      Dims order = kept;
      for (int64_t d : reduced) order.push_back(d);
      xc = contiguous(permute(x, order));
      args.outer = y.numel();
    }
    args.n = reduced_count(x.shape(), mask);
    const Device dev = x.device();
    args.x = xc.data(dev);
    args.lse = y.data(dev);
    args.dtype = args.out = x.dtype();
    if (y.numel() > 0) launch(softmax_kernels(dev).logsumexp, args, x.numel(), dev);
  }
  if (grad_needed(x)) {
    auto node = make_node<LogSumExpNode>({&x});
    node->describe(x, mask, keepdim);
    node->x.save(x);
    node->y.save_output(y, 0);
    set_history(y, node);
  }
  return y;
}

}  // namespace tercel
