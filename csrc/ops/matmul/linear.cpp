// linear and bilinear.
#include "ops/copy/copy.h"
#include "core/autocast.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/product.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

// dx = dy w, dw = dy^T x, dbias = column sums of dy.
struct LinearNode final : Node {
  Saved x, w;
  const char* name() const override { return "LinearBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(edges.size());
    if (needs(0)) out[0] = linear_input_grad(g[0], w.get(*this));
    if (needs(1)) out[1] = linear_weight_grad(g[0], x.get(*this));
    if (needs(2)) out[2] = g[0].dim() == 1 ? g[0] : sum_to(g[0], {g[0].size(-1)});
    return out;
  }
  void release_saved() override {
    x.reset();
    w.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"input", x.peek()}, {"weight", w.peek()}};
  }
};

// [..., F] as [rows, F] with the same history.
Tensor as_rows(const Tensor& t) { return t.dim() == 2 ? t : reshape(t, {-1, t.size(-1)}); }

}  // namespace

Tensor linear_input_grad(const Tensor& dy, const Tensor& w) { return matmul(dy, w); }

Tensor linear_weight_grad(const Tensor& dy, const Tensor& x) {
  TERCEL_CHECK(dy.dim() >= 1 && x.dim() == dy.dim(), Shape,
               "linear_weight_grad: dy and x must have the same rank >= 1, got shapes ", dy.shape(),
               " and ", x.shape());
  if (dy.dim() != 2 && (dy.numel() == 0 || x.numel() == 0)) {
    // -1 cannot be inferred from an empty tensor.
    int64_t rows = 1;
    for (int d = 0; d + 1 < dy.dim(); ++d) rows *= dy.size(d);
    return matmul(mT(reshape(dy, {rows, dy.size(-1)})), reshape(x, {rows, x.size(-1)}));
  }
  return matmul(mT(as_rows(dy)), as_rows(x));
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  if (autocast_narrows(x, w, bias))
    return linear(autocast_narrow(x), autocast_narrow(w), autocast_narrow(bias));
  TERCEL_CHECK(x.dim() >= 1, Shape, "linear: input must have at least 1 dim, got a 0-d tensor");
  TERCEL_CHECK(w.dim() == 2 || w.dim() == 1, Shape,
               "linear: weight must have shape [out, in] or [in], got ", w.shape());
  const int64_t in = x.size(-1);
  TERCEL_CHECK(w.size(-1) == in, Shape, "linear: weight must have shape [out, ", in,
               "] (last dim of input ", x.shape(), "), got ", w.shape());
  if (w.dim() == 1) {
    const Tensor y = linear(x, unsqueeze(w, 0), bias.defined() ? reshape(bias, {-1}) : bias);
    return squeeze(y, {-1});
  }
  ProductOptions options;
  if (bias.defined()) {
    TERCEL_CHECK(bias.dim() == 1 && bias.size(0) == w.size(0), Shape,
                 "linear: bias must have shape [", w.size(0), "] (rows of weight), got ",
                 bias.shape());
    options.beta = 1.0;
    options.c = bias;
  }
  Tensor y;
  if (x.dim() == 1) {
    y = product_nt("linear", make_view(x, {1, in}, {in, x.stride(0)}, x.offset()), w, options);
    y = make_view(y, {w.size(0)}, {1}, y.offset());
    y.impl()->base.reset();
  } else {
    y = product_nt("linear", x, w, options);
  }
  if (!is_float(y.dtype())) {
    TERCEL_CHECK(!bias.defined(), DType, "linear: bias needs a float dtype, got ",
                 dtype_name(y.dtype()));
  }
  if (grad_needed(x, w, bias)) {
    Ref<LinearNode> node = make_node<LinearNode>({&x, &w, &bias});
    if (node->needs(0)) node->w.save(w);
    if (node->needs(1)) node->x.save(x);
    set_history(y, node);
  }
  return y;
}

Tensor bilinear(const Tensor& x1, const Tensor& x2, const Tensor& w, const Tensor& bias) {
  TERCEL_CHECK(w.dim() == 3, Shape, "bilinear: weight must have shape [out, in1, in2], got ",
               w.shape());
  TERCEL_CHECK(x1.dim() >= 1 && x1.dim() == x2.dim(), Shape,
               "bilinear: input1 and input2 must have the same rank >= 1, got shapes ", x1.shape(),
               " and ", x2.shape());
  TERCEL_CHECK(x1.size(-1) == w.size(1) && x2.size(-1) == w.size(2), Shape,
               "bilinear: last dims of the inputs must be ", w.size(1), " and ", w.size(2),
               " (weight ", w.shape(), "), got shapes ", x1.shape(), " and ", x2.shape());
  for (int d = 0; d + 1 < x1.dim(); ++d) {
    TERCEL_CHECK(x1.size(d) == x2.size(d), Shape,
                 "bilinear: leading dims of the inputs must be equal, got shapes ", x1.shape(),
                 " and ", x2.shape());
  }
  const int64_t O = w.size(0), I = w.size(1), J = w.size(2);
  // t[..., o, j] = sum_i x1[..., i] w[o, i, j], then y[..., o] = sum_j t[..., o, j] x2[..., j].
  const Tensor flat = reshape(permute(w, {1, 0, 2}), {I, checked_mul(O, J, "bilinear")});
  Shape split = x1.shape();
  split[split.size() - 1] = O;
  split.push_back(J);
  const Tensor t = reshape(matmul(unsqueeze(x1, -2), flat), split);
  const Tensor y = squeeze(matmul(t, unsqueeze(x2, -1)), {-1});
  if (!bias.defined()) return y;
  TERCEL_CHECK(bias.dim() == 1 && bias.size(0) == O, Shape, "bilinear: bias must have shape [", O,
               "], got ", bias.shape());
  return add(y, bias);
}

}  // namespace tercel
