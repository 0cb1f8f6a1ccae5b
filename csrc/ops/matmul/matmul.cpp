// matmul, mm, bmm, mv, dot, outer and the add* forms.
#include "ops/matmul/matmul.h"

#include "core/autocast.h"
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/product.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

void check_rank(const char* op, const char* name, const Tensor& t, int rank) {
  TERCEL_CHECK(t.dim() == rank, Shape, op, ": ", name, " must have ", rank, " dims, got shape ",
               t.shape());
}

// factor * t, without a kernel when factor is 1.
Tensor scaled(const Tensor& t, const Scalar& factor) {
  return factor.to_double() == 1.0 ? t : mul(t, wrap_number(factor));
}

Tensor scaled_product(const char* op, const Tensor& a, const Tensor& b, const Scalar& alpha);

// c_out = beta * c + alpha * a b, leading dims broadcast.
//   dc = beta * sum_to(g), da = alpha * g b^T, db = alpha * a^T g, summed over broadcast dims.
struct ProductNode final : Node {
  Saved a, b;
  Shape shape_a, shape_b, shape_c;
  Scalar alpha, beta;
  ProductNode(const Scalar& alpha_, const Scalar& beta_) : alpha(alpha_), beta(beta_) {}
  const char* name() const override { return "MatmulBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(edges.size());
    if (needs(0)) out[0] = sum_to(scaled_product("matmul", g[0], mT(b.get(*this)), alpha), shape_a);
    if (needs(1)) {
      const Tensor x = a.get(*this);
      if (shape_b.size() == 2 && x.dim() > 2) {
        // The batch joins the summed dim: one product instead of a batch of them and a sum.
        const Tensor rows = reshape(x, {-1, x.size(-1)});
        const Tensor grads = reshape(g[0], {rows.size(0), g[0].size(-1)});
        out[1] = scaled_product("matmul", mT(rows), grads, alpha);
      } else {
        out[1] = sum_to(scaled_product("matmul", mT(x), g[0], alpha), shape_b);
      }
    }
    if (needs(2)) out[2] = scaled(sum_to(g[0], shape_c), beta);
    return out;
  }
  void release_saved() override {
    a.reset();
    b.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"self", a.peek()}, {"mat2", b.peek()}};
  }
};

void record(const Tensor& y, const Tensor& a, const Tensor& b, const Tensor& c, const Scalar& alpha,
            const Scalar& beta) {
  Ref<ProductNode> node = make_node<ProductNode>({&a, &b, &c}, alpha, beta);
  node->shape_a = a.shape();
  node->shape_b = b.shape();
  if (c.defined()) node->shape_c = c.shape();
  if (node->needs(0)) node->b.save(b);
  if (node->needs(1)) node->a.save(a);
  set_history(y, node);
}

Tensor scaled_product(const char* op, const Tensor& a, const Tensor& b, const Scalar& alpha) {
  ProductOptions options;
  options.alpha = alpha.to_double();
  const Tensor y = product(op, a, b, options);
  if (grad_needed(a, b)) record(y, a, b, {}, alpha, Scalar(0));
  return y;
}

// Integers take the number's integer part, as PyTorch does after refusing fractions.
void check_factor(const char* op, const char* name, const Scalar& s, DType dtype) {
  TERCEL_CHECK(!s.is_float() || is_float(dtype), Type, op, ": ", name,
               " must be an integer for dtype ", dtype_name(dtype), ", got ", s.to_double());
}

Tensor add_product(const char* op, const Tensor& c, const Tensor& a, const Tensor& b,
                   const Scalar& beta, const Scalar& alpha) {
  check_factor(op, "beta", beta, a.dtype());
  check_factor(op, "alpha", alpha, a.dtype());
  if (!is_float(a.dtype())) {
    TERCEL_CHECK(c.dtype() == a.dtype(), DType, op, ": input must have dtype ",
                 dtype_name(a.dtype()), " like the operands, got ", dtype_name(c.dtype()));
    const Tensor ab = scaled(product(op, a, b), alpha);
    return beta.to_double() == 0.0 ? ab : add(ab, scaled(expand(c, ab.shape()), beta));
  }
  ProductOptions options;
  options.alpha = alpha.to_double();
  options.beta = beta.to_double();
  options.c = c;
  const Tensor y = product(op, a, b, options);
  if (grad_needed(c, a, b)) record(y, a, b, c, alpha, beta);
  return y;
}

// dot: da = g b, db = g a.
struct DotNode final : Node {
  Saved a, b;
  const char* name() const override { return "DotBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(2);
    if (needs(0)) out[0] = mul(b.get(*this), g[0]);
    if (needs(1)) out[1] = mul(a.get(*this), g[0]);
    return out;
  }
  void release_saved() override {
    a.reset();
    b.reset();
  }
};

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  if (autocast_narrows(a, b)) return matmul(autocast_narrow(a), autocast_narrow(b));
  const int ra = a.dim(), rb = b.dim();
  if (ra >= 2 && rb >= 2) return scaled_product("matmul", a, b, Scalar(1));
  TERCEL_CHECK(ra > 0 && rb > 0, Shape,
               "matmul: both operands must have at least 1 dim, got shapes ", a.shape(), " and ",
               b.shape());
  if (ra == 1 && rb == 1) return dot(a, b);
  if (ra == 1) return squeeze(scaled_product("matmul", unsqueeze(a, 0), b, Scalar(1)), {-2});
  return squeeze(scaled_product("matmul", a, unsqueeze(b, 1), Scalar(1)), {-1});
}

Tensor mm(const Tensor& a, const Tensor& b) {
  if (autocast_narrows(a, b)) return mm(autocast_narrow(a), autocast_narrow(b));
  check_rank("mm", "input", a, 2);
  check_rank("mm", "mat2", b, 2);
  return scaled_product("mm", a, b, Scalar(1));
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  if (autocast_narrows(a, b)) return bmm(autocast_narrow(a), autocast_narrow(b));
  check_rank("bmm", "input", a, 3);
  check_rank("bmm", "mat2", b, 3);
  TERCEL_CHECK(a.size(0) == b.size(0), Shape, "bmm: batch sizes must be equal, got ", a.shape(),
               " and ", b.shape());
  return scaled_product("bmm", a, b, Scalar(1));
}

Tensor mv(const Tensor& a, const Tensor& v) {
  if (autocast_narrows(a, v)) return mv(autocast_narrow(a), autocast_narrow(v));
  check_rank("mv", "input", a, 2);
  check_rank("mv", "vec", v, 1);
  return squeeze(scaled_product("mv", a, unsqueeze(v, 1), Scalar(1)), {-1});
}

Tensor dot(const Tensor& a, const Tensor& b) {
  check_rank("dot", "input", a, 1);
  check_rank("dot", "tensor", b, 1);
  TERCEL_CHECK(a.size(0) == b.size(0), Shape, "dot: sizes must be equal, got ", a.shape(), " and ",
               b.shape());
  TERCEL_CHECK(a.dtype() == b.dtype(), DType, "dot: the operands must have one dtype, got ",
               dtype_name(a.dtype()), " and ", dtype_name(b.dtype()));
  if (is_bool(a.dtype())) fail_dtype("dot", a.dtype(), kFloatMask | kIntMask);
  if (!a.device().is_cpu() &&
      is_float(a.dtype())) {  // a product has one chain of additions: too long
    const DType wide = accumulate_dtype(a.dtype());
    return to(sum(mul(to(a, wide), to(b, wide))), a.dtype());
  }
  if (is_int(a.dtype())) {
    return reshape(product("dot", unsqueeze(a, 0), unsqueeze(b, 1)), {});
  }
  const Tensor y = empty({}, a.dtype());
  const DotArgs args{a.data(),  a.size(0) == 1 ? 1 : a.stride(0),
                     b.data(),  b.size(0) == 1 ? 1 : b.stride(0),
                     a.size(0), y.data(),
                     a.dtype()};
  launch(gemm_kernels().dot, args, a.size(0) / 4);
  if (grad_needed(a, b)) {
    Ref<DotNode> node = make_node<DotNode>({&a, &b});
    if (node->needs(0)) node->b.save(b);
    if (node->needs(1)) node->a.save(a);
    set_history(y, node);
  }
  return y;
}

Tensor outer(const Tensor& a, const Tensor& b) {
  check_rank("outer", "input", a, 1);
  check_rank("outer", "vec2", b, 1);
  return mul(unsqueeze(a, 1), b);
}

Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  if (autocast_narrows(input, a, b))
    return addmm(autocast_narrow(input), autocast_narrow(a), autocast_narrow(b), beta, alpha);
  check_rank("addmm", "mat1", a, 2);
  check_rank("addmm", "mat2", b, 2);
  return add_product("addmm", input, a, b, beta, alpha);
}

Tensor addmv(const Tensor& input, const Tensor& a, const Tensor& v, Scalar beta, Scalar alpha) {
  if (autocast_narrows(input, a, v))
    return addmv(autocast_narrow(input), autocast_narrow(a), autocast_narrow(v), beta, alpha);
  check_rank("addmv", "mat", a, 2);
  check_rank("addmv", "vec", v, 1);
  TERCEL_CHECK(input.dim() <= 1, Shape, "addmv: input must have at most 1 dim, got shape ",
               input.shape());
  const Tensor column = input.dim() == 1 ? unsqueeze(input, 1) : input;
  return squeeze(add_product("addmv", column, a, unsqueeze(v, 1), beta, alpha), {-1});
}

Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  if (autocast_narrows(input, a, b))
    return baddbmm(autocast_narrow(input), autocast_narrow(a), autocast_narrow(b), beta, alpha);
  check_rank("baddbmm", "batch1", a, 3);
  check_rank("baddbmm", "batch2", b, 3);
  TERCEL_CHECK(a.size(0) == b.size(0), Shape, "baddbmm: batch sizes must be equal, got ", a.shape(),
               " and ", b.shape());
  return add_product("baddbmm", input, a, b, beta, alpha);
}

// sum_b a[b] c[b] is one product over the joined dims (b, k).
Tensor addbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  if (autocast_narrows(input, a, b))
    return addbmm(autocast_narrow(input), autocast_narrow(a), autocast_narrow(b), beta, alpha);
  check_rank("addbmm", "batch1", a, 3);
  check_rank("addbmm", "batch2", b, 3);
  TERCEL_CHECK(a.size(0) == b.size(0) && a.size(2) == b.size(1), Shape,
               "addbmm: batch1 [B,M,K] and batch2 [B,K,N] do not fit, got ", a.shape(), " and ",
               b.shape());
  const Tensor left =
      reshape(permute(a, {1, 0, 2}), {a.size(1), checked_mul(a.size(0), a.size(2), "addbmm")});
  const Tensor right = reshape(b, {left.size(1), b.size(2)});
  return add_product("addbmm", input, left, right, beta, alpha);
}

Tensor addr(const Tensor& input, const Tensor& v1, const Tensor& v2, Scalar beta, Scalar alpha) {
  check_rank("addr", "vec1", v1, 1);
  check_rank("addr", "vec2", v2, 1);
  return add_product("addr", input, unsqueeze(v1, 1), unsqueeze(v2, 0), beta, alpha);
}

}  // namespace tercel
