// Checks, output and batch geometry of a product, then one launch of the driver.
#include "ops/matmul/product.h"

#include <atomic>

#include "core/launch.h"
#include "ops/matmul/gemm_device.h"
#include "ops/matmul/matmul.h"

namespace tercel {
namespace {

std::atomic<MatmulPrecision> g_precision{MatmulPrecision::highest};

// One matrix operand: strides of the last two dims and of the batch dims of the result.
struct Side {
  int64_t row, col;
  Strides batch;
};

void launch_batched(const GemmBatchArgs& args) { gemm_batched(args); }
void launch_single(const GemmArgs& args) { gemm(args); }

Tensor run(const char* op, const Tensor& a, const Tensor& b, bool b_transposed,
           const ProductOptions& x) {
  const int ra = a.dim(), rb = b.dim();
  const int64_t M = a.size(-2), K = a.size(-1);
  const int64_t N = b_transposed ? b.size(-2) : b.size(-1),
                K_b = b_transposed ? b.size(-1) : b.size(-2);
  const DType dtype = a.dtype();
  const Device dev = a.device();
  TERCEL_CHECK(K == K_b, Shape, op, ": the inner sizes must be equal, got ", a.shape(), " and ",
               b.shape(), b_transposed ? " (transposed)" : "");
  TERCEL_CHECK(dtype == b.dtype(), DType, op, ": the operands must have one dtype, got ",
               dtype_name(dtype), " and ", dtype_name(b.dtype()));
  if (is_bool(dtype)) fail_dtype(op, dtype, kFloatMask | kIntMask);

  Shape shape;  // of the batch, then of the result
  if (ra == 2 && rb == 2) {
    shape = {};
  } else if (rb == 2) {
    shape = Shape(a.shape().data(), ra - 2);
  } else if (ra == 2) {
    shape = Shape(b.shape().data(), rb - 2);
  } else {
    shape = broadcast_shapes(Shape(a.shape().data(), ra - 2), Shape(b.shape().data(), rb - 2), op);
  }
  const int batch_dims = shape.size();
  shape.push_back(M);
  shape.push_back(N);

  const bool has_c = x.beta != 0.0 && x.c.defined();
  if (has_c) {
    TERCEL_CHECK(x.c.dtype() == dtype, DType, op, ": input must have dtype ", dtype_name(dtype),
                 " like the operands, got ", dtype_name(x.c.dtype()));
    const bool fits =
        x.c.dim() <= shape.size() && broadcast_shapes(x.c.shape(), shape, op) == shape;
    TERCEL_CHECK(fits, Shape, op, ": input must broadcast to ", shape, ", got ", x.c.shape());
  }
  Tensor out = x.out.defined() ? x.out : empty(shape, dtype, dev);
  if (out.numel() == 0) return out;

  GemmBatchArgs args;
  GemmArgs& g = args.gemm;
  g.M = M;
  g.N = N;
  g.K = K;
  g.a.dtype = g.b.dtype = g.out_dtype = dtype;
  g.f32_products = x.true_float32 ? 0 : float32_products();
  g.a.data = a.data(dev);
  g.a.row_stride = a.stride(-2);
  g.a.k_stride = a.stride(-1);
  g.b.data = b.data(dev);
  g.b.row_stride = b_transposed ? b.stride(-2) : b.stride(-1);
  g.b.k_stride = b_transposed ? b.stride(-1) : b.stride(-2);
  g.out = out.data(dev);
  g.out_row_stride = out.stride(-2);
  g.out_col_stride = out.stride(-1);
  g.epilogue.alpha = x.alpha;
  g.epilogue.activation = x.activation;
  Strides c_strides;
  if (has_c) {
    c_strides = broadcast_strides(x.c.shape(), x.c.strides(), shape);
    g.epilogue.beta = x.beta;
    g.epilogue.c = x.c.data(dev);
    g.epilogue.c_row_stride = c_strides[batch_dims];
    g.epilogue.c_col_stride = c_strides[batch_dims + 1];
  }

  Strides residual_strides;
  if (x.residual.defined()) {
    residual_strides = broadcast_strides(x.residual.shape(), x.residual.strides(), shape);
    g.epilogue.residual = x.residual.data(dev);
    g.epilogue.residual_row_stride = residual_strides[batch_dims];
    g.epilogue.residual_col_stride = residual_strides[batch_dims + 1];
  }
  if (x.pre.defined()) g.epilogue.pre = x.pre.data(dev);

  // Batch dims from the innermost outwards: those that continue the rows of a (and of the result)
  // while b stays are folded into M, neighbours that are one run in every operand are merged.
  int n = 0;
  int64_t count = 1;
  bool folding = true;
  for (int d = batch_dims - 1; d >= 0; --d) {
    const int64_t size = shape[d];
    if (size == 1) continue;
    const int da = d - (batch_dims - (ra - 2)), db = d - (batch_dims - (rb - 2));
    const int64_t sa = da >= 0 && a.size(da) != 1 ? a.stride(da) : 0;
    const int64_t sb = db >= 0 && b.size(db) != 1 ? b.stride(db) : 0;
    const int64_t so = out.stride(d), sc = has_c ? c_strides[d] : 0;
    const int64_t sr = x.residual.defined() ? residual_strides[d] : 0;
    if (folding && sb == 0) {
      if (g.M == 1) {
        g.M = size;
        g.a.row_stride = sa;
        g.out_row_stride = so;
        g.epilogue.c_row_stride = sc;
        g.epilogue.residual_row_stride = sr;
        continue;
      }
      if (sa == g.M * g.a.row_stride && so == g.M * g.out_row_stride &&
          sc == g.M * g.epilogue.c_row_stride && sr == g.M * g.epilogue.residual_row_stride) {
        g.M *= size;
        continue;
      }
    }
    folding = false;
    count *= size;
    if (n > 0 && sa == args.a_stride[n - 1] * args.size[n - 1] &&
        sb == args.b_stride[n - 1] * args.size[n - 1] &&
        so == args.out_stride[n - 1] * args.size[n - 1] &&
        sc == args.c_stride[n - 1] * args.size[n - 1] &&
        sr == args.residual_stride[n - 1] * args.size[n - 1]) {
      args.size[n - 1] *= size;
      continue;
    }
    args.size[n] = size;
    args.a_stride[n] = sa;
    args.b_stride[n] = sb;
    args.out_stride[n] = so;
    args.c_stride[n] = sc;
    args.residual_stride[n] = sr;
    ++n;
  }
  const int64_t cost = gemm_cost_ns(g.M, g.N, g.K, count);
  if (n == 0 && dev.is_cpu()) {
    launch(&launch_single, g, cost);
    return out;
  }
  for (int i = 0; i < n / 2; ++i) {  // outermost first
    std::swap(args.size[i], args.size[n - 1 - i]);
    std::swap(args.a_stride[i], args.a_stride[n - 1 - i]);
    std::swap(args.b_stride[i], args.b_stride[n - 1 - i]);
    std::swap(args.c_stride[i], args.c_stride[n - 1 - i]);
    std::swap(args.out_stride[i], args.out_stride[n - 1 - i]);
    std::swap(args.residual_stride[i], args.residual_stride[n - 1 - i]);
  }
  args.ndim = n;
  if (!dev.is_cpu()) {
    const auto& kernels = *static_cast<const GemmDeviceKernels*>(cuda_kernels("gemm_kernels"));
    launch(kernels.gemm, GemmDeviceArgs{args, x.exact_in_tf32 || tf32_allowed()}, 0, dev);
    return out;
  }
  launch(&launch_batched, args, cost);
  return out;
}

}  // namespace

void set_float32_matmul_precision(MatmulPrecision precision) {
  g_precision.store(precision, std::memory_order_relaxed);
}
MatmulPrecision float32_matmul_precision() { return g_precision.load(std::memory_order_relaxed); }
int float32_products() {
  const MatmulPrecision p = float32_matmul_precision();
  return p == MatmulPrecision::highest ? 0 : p == MatmulPrecision::high ? 6 : 1;
}
bool tf32_allowed() { return float32_matmul_precision() != MatmulPrecision::highest; }

Tensor product(const char* op, const Tensor& a, const Tensor& b, const ProductOptions& options) {
  return run(op, a, b, false, options);
}

Tensor product_nt(const char* op, const Tensor& a, const Tensor& b, const ProductOptions& options) {
  return run(op, a, b, true, options);
}

}  // namespace tercel
