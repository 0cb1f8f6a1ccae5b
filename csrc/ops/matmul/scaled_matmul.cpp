// scaled_matmul: a product of narrow floats with factors per tensor, row, column or block.
//
// Factors that are constant along k multiply the finished sum; block factors multiply the elements
// when they are loaded (one rounding to float32 each). Both keep the definition of gemm.h.
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/product.h"
#include "ops/reduce/reduce.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

constexpr int64_t kBlock = 128;
int64_t blocks(int64_t n) { return (n + kBlock - 1) / kBlock; }

// Where the factors of one operand apply. "Row" is M for the left and N for the right operand.
struct Scales {
  Tensor t;                // dense; undefined: none
  GemmBlockScale block;    // data set: per block
  int64_t row_stride = 0;  // 1: a factor per row, 0: one for all
  const float* row_data() const {
    return t.defined() && !block.data ? t.data_as<float>(t.device()) : nullptr;
  }
};

// `row_dim` is the dim of the scale that counts rows: 0 for the left operand, 1 for the right one.
Scales read_scales(const char* name, const Tensor& s, int64_t rows, int64_t K, int row_dim) {
  Scales out;
  if (!s.defined()) return out;
  TERCEL_CHECK(s.dtype() == DType::f32, DType, "scaled_matmul: ", name,
               " must have dtype float32, got ", dtype_name(s.dtype()));
  out.t = contiguous(s.detach());
  if (s.numel() == 1 && s.dim() <= 2) return out;
  int64_t n_rows = -1, n_k = 1;
  if (s.dim() == 1) {
    n_rows = s.size(0);
  } else if (s.dim() == 2) {
    n_rows = s.size(row_dim);
    n_k = s.size(1 - row_dim);
  }
  const bool row_each = n_rows == rows, row_block = s.dim() == 2 && n_rows == blocks(rows);
  const bool whole = n_k == 1 && row_each, by_block = s.dim() == 2 && n_k == blocks(K);
  const Shape list_rows = row_dim == 0 ? Shape{rows, 1} : Shape{1, rows};
  const Shape list_line = row_dim == 0 ? Shape{rows, blocks(K)} : Shape{blocks(K), rows};
  const Shape list_block =
      row_dim == 0 ? Shape{blocks(rows), blocks(K)} : Shape{blocks(K), blocks(rows)};
  TERCEL_CHECK(whole || (by_block && (row_each || row_block)), Shape, "scaled_matmul: ", name,
               " must be a scalar, ", Shape{rows}, " or ", list_rows,
               row_dim == 0 ? " (per row), " : " (per column), ", list_line,
               row_dim == 0 ? " (1x128 blocks) or " : " (128x1 blocks) or ", list_block,
               " (128x128 blocks), got ", s.shape());
  if (whole) {
    out.row_stride = 1;
    return out;
  }
  out.block.data = out.t.data_as<float>(out.t.device());
  out.block.row_stride = row_dim == 0 ? n_k : 1;
  out.block.k_stride = row_dim == 0 ? 1 : n_rows;
  out.block.row_block = row_each ? 1 : kBlock;
  out.block.k_block = kBlock;
  return out;
}

void launch_single(const GemmArgs& args) { gemm(args); }

// x [rows, K] as float32 with its block factors applied, if there are any.
Tensor with_blocks(const Tensor& x, const Scales& s) {
  const Tensor wide = to(x, DType::f32);
  if (!s.block.data) return wide;
  const int64_t rows = x.size(0), K = x.size(1), rb = s.block.row_block, kb = s.block.k_block;
  const Tensor grid = make_view(s.t, {(rows + rb - 1) / rb, (K + kb - 1) / kb},
                                {s.block.row_stride, s.block.k_stride}, s.t.offset());
  const Tensor each = repeat_interleave(repeat_interleave(grid, rb, 0), kb, 1);
  return mul(wide, narrow(narrow(each, 0, 0, rows), 1, 0, K));
}

// CUDA, from public ops: the product in float32 (products of two fp8 numbers are exact in TF32),
// then the factors, the bias and one rounding.
Tensor run_on_device(const Tensor& a, const Tensor& b, const Scales& sa, const Scales& sb,
                     const Tensor& bias, DType out_dtype) {
  GradMode off(false);
  const Tensor x = with_blocks(a, sa), w = with_blocks(transpose(b, 0, 1), sb);
  ProductOptions options;
  options.exact_in_tf32 =
      is_fp8(a.dtype()) && is_fp8(b.dtype()) && !sa.block.data && !sb.block.data;
  Tensor y = product_nt("scaled_matmul", x, contiguous(w), options);
  if (sa.t.defined() && !sa.block.data) y = mul(y, reshape(sa.t, {-1, 1}));
  if (sb.t.defined() && !sb.block.data) y = mul(y, reshape(sb.t, {1, -1}));
  if (bias.defined()) y = add(y, to(bias, DType::f32));
  return to(y, out_dtype);
}

// out[M,N] = row_scale * col_scale * (a b) + bias, a [M,K], b [K,N].
Tensor run(const Tensor& a, const Tensor& b, const Scales& sa, const Scales& sb, const Tensor& bias,
           DType out_dtype) {
  const int64_t M = a.size(0), K = a.size(1), N = b.size(1);
  const Tensor out = empty({M, N}, out_dtype, a.device());
  if (out.numel() == 0) return out;
  if (!a.device().is_cpu()) return run_on_device(a, b, sa, sb, bias, out_dtype);
  GemmArgs g;
  g.M = M;
  g.N = N;
  g.K = K;
  g.a.dtype = a.dtype();
  g.a.data = a.data();
  g.a.row_stride = a.stride(0);
  g.a.k_stride = a.stride(1);
  g.a.scale = sa.block;
  g.b.dtype = b.dtype();
  g.b.data = b.data();
  g.b.row_stride = b.stride(1);
  g.b.k_stride = b.stride(0);
  g.b.scale = sb.block;
  g.out = out.data();
  g.out_dtype = out_dtype;
  g.out_row_stride = N;
  g.epilogue.row_scale = sa.row_data();
  g.epilogue.row_scale_stride = sa.row_stride;
  g.epilogue.col_scale = sb.row_data();
  g.epilogue.col_scale_stride = sb.row_stride;
  if (bias.defined()) {
    g.epilogue.beta = 1.0;
    g.epilogue.c = bias.data();
    g.epilogue.c_col_stride = 1;
  }
  launch(&launch_single, g, gemm_cost_ns(M, N, K, 1));
  return out;
}

// da = scale_a (g scale_b) b^T in the dtype of a; dbias = column sums of g. b is a constant, and so
// are the factors.
struct ScaledMatmulNode final : Node {
  Saved b;
  Tensor scale_a, scale_b;
  DType a_dtype, bias_dtype = DType::f32;
  Shape a_shape;
  const char* name() const override { return "ScaledMatmulBackward"; }
  TensorList backward(const TensorList& grads) override {
    TensorList out(2);
    const Tensor& g = grads[0];
    if (needs(0)) {
      const Tensor weight = b.get(*this);
      const int64_t K = weight.size(0), N = weight.size(1);
      int64_t M = 1;
      for (int d = 0; d + 1 < a_shape.size(); ++d) M *= a_shape[d];
      const Tensor rows = reshape(g, {M, N});
      // The right operand is b^T: its rows are k and its factors change along the summed dim.
      Scales sb = read_scales("scale_b", scale_b, N, K, 1);
      if (sb.block.data) {
        std::swap(sb.block.row_stride, sb.block.k_stride);
        std::swap(sb.block.row_block, sb.block.k_block);
      } else if (sb.row_stride) {
        sb.block = {sb.t.data_as<float>(sb.t.device()), 0, 1, K, 1};
      }
      const Scales sa = read_scales("scale_a", scale_a, M, K, 0);
      const Tensor bt = transpose(weight, 0, 1);
      const Tensor da =
          sa.block.data ? to(mul(run(rows, bt, {}, sb, {}, DType::f32), full_scale(M, K)), a_dtype)
                        : run(rows, bt, sa, sb, {}, a_dtype);
      out[0] = reshape(da, a_shape);
    }
    if (needs(1)) out[1] = to(sum_to(g, {g.size(-1)}), bias_dtype);
    return out;
  }
  void release_saved() override { b.reset(); }

 private:
  // The block factors of a, one per element.
  Tensor full_scale(int64_t M, int64_t K) const {
    Tensor f = narrow(repeat_interleave(scale_a, kBlock, 1), 1, 0, K);
    if (f.size(0) != M) f = narrow(repeat_interleave(f, kBlock, 0), 0, 0, M);
    return f;
  }
};

}  // namespace

Tensor scaled_matmul(const Tensor& a, const Tensor& b, const Tensor& scale_a, const Tensor& scale_b,
                     const Tensor& bias, std::optional<DType> out_dtype) {
  const auto check_operand = [](const char* name, const Tensor& t) {
    if (!is_float(t.dtype()) || t.dtype() == DType::f64)
      fail_dtype("scaled_matmul", name, t.dtype(), kFloatMask & ~dtype_bit(DType::f64));
  };
  check_operand("input", a);
  check_operand("other", b);
  TERCEL_CHECK(a.dim() >= 2, Shape, "scaled_matmul: input must have at least 2 dims, got shape ",
               a.shape());
  TERCEL_CHECK(b.dim() == 2, Shape, "scaled_matmul: other must have 2 dims [K, N], got shape ",
               b.shape());
  const int64_t K = b.size(0), N = b.size(1);
  TERCEL_CHECK(a.size(-1) == K, Shape, "scaled_matmul: the inner sizes must be equal, got ",
               a.shape(), " and ", b.shape());
  TERCEL_CHECK(!tracks_grad(b) || !grad_enabled(), Runtime,
               "scaled_matmul: other gets no gradient; detach it");
  const DType result = out_dtype ? *out_dtype : is_fp8(a.dtype()) ? DType::bf16 : a.dtype();
  if (!is_float(result) || result == DType::f64)
    fail_dtype("scaled_matmul", "out_dtype", result, kFloatMask & ~dtype_bit(DType::f64));
  Tensor added;
  if (bias.defined()) {
    TERCEL_CHECK(bias.dim() == 1 && bias.size(0) == N, Shape,
                 "scaled_matmul: bias must have shape ", Shape{N}, ", got ", bias.shape());
    if (!is_float(bias.dtype())) fail_dtype("scaled_matmul", "bias", bias.dtype(), kFloatMask);
    added = contiguous(to(bias.detach(), result));
  }
  int64_t M = 1;
  for (int d = 0; d + 1 < a.dim(); ++d) M *= a.size(d);
  Tensor rows = a.detach();
  if (a.dim() > 2) rows = reshape(rows, {M, K});
  Tensor factors = scale_a.defined() ? scale_a.detach() : scale_a;
  if (a.dim() > 2 && factors.defined() && factors.dim() == a.dim())
    factors = reshape(factors, {M, factors.size(-1)});
  const Scales sa = read_scales("scale_a", factors, M, K, 0);
  const Scales sb = read_scales("scale_b", scale_b, N, K, 1);
  Tensor y = run(rows, b, sa, sb, added, result);
  if (a.dim() > 2) {
    Shape shape = a.shape();
    shape[shape.size() - 1] = N;
    y = reshape(y, shape);
  }
  if (grad_needed(a, bias)) {
    Ref<ScaledMatmulNode> node = make_node<ScaledMatmulNode>({&a, &bias});
    if (node->needs(0)) node->b.save(b);
    node->scale_a = factors;
    node->scale_b = scale_b.defined() ? scale_b.detach() : scale_b;
    node->a_dtype = a.dtype();
    node->a_shape = a.shape();
    if (bias.defined()) node->bias_dtype = bias.dtype();
    set_history(y, node);
  }
  return y;
}

}  // namespace tercel
