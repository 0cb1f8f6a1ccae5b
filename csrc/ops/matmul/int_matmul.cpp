// Checks and shapes of int_matmul.
#include "ops/matmul/int_matmul.h"

#include <algorithm>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/gemm_device.h"
#include "ops/matmul/gemm_int8.h"
#include "ops/matmul/gemm_int8_kernels.h"
#include "ops/quant/qtensor.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

constexpr uint32_t kOutMask = dtype_bit(DType::i32) | dtype_bit(DType::f32) |
                              dtype_bit(DType::bf16) | dtype_bit(DType::f16) |
                              dtype_bit(DType::i8) | dtype_bit(DType::u8);

// A vector of `n` values, or one value, in `dtype`. Fills the stride.
Tensor per_row(const char* name, const Tensor& t, int64_t n, DType dtype, int64_t* stride) {
  if (!t.defined()) return {};
  const bool ok = dtype == DType::i32 ? is_int(t.dtype()) : is_float(t.dtype());
  TERCEL_CHECK(ok, DType, "int_matmul: ", name, " must have a",
               dtype == DType::i32 ? "n integer" : " float", " dtype, got ", dtype_name(t.dtype()));
  TERCEL_CHECK(t.numel() == 1 || (t.dim() >= 1 && t.numel() == n), Shape, "int_matmul: ", name,
               " must have one element or ", n, ", got shape ", t.shape());
  *stride = t.numel() == 1 ? 0 : 1;
  return contiguous(to(t.detach(), dtype));
}

// CUDA: the sums of all products in one launch, then the epilogue of each. a [B, M, K], b [B, K,
// N].
void int_matmul_on_device(const Tensor& a, const Tensor& b, const Int8Gemm& g, const Tensor& out) {
  const Device dev = out.device();
  const int64_t batch = a.size(0);
  // Both operands with k contiguous, which the matrix units want; uint8 shifted to int8.
  const Tensor left =
      contiguous(g.a_signed ? a : to(sub(to(a, DType::i32), wrap_number(Scalar(128))), DType::i8));
  const Tensor right = contiguous(transpose(b, 1, 2));
  const bool plain = g.out_dtype == DType::i32 && g.a_signed && !g.zero_a;
  const Tensor sums = plain ? out : empty({batch, g.M, g.N}, DType::i32, dev);
  GemmBatchArgs p;
  p.gemm.M = g.M;
  p.gemm.N = g.N;
  p.gemm.K = g.K;
  p.gemm.a.dtype = p.gemm.b.dtype = DType::i8;
  p.gemm.out_dtype = DType::i32;
  p.gemm.a.data = left.data(dev);
  p.gemm.b.data = right.data(dev);
  p.gemm.a.row_stride = p.gemm.b.row_stride = g.K;
  p.gemm.a.k_stride = p.gemm.b.k_stride = 1;
  p.gemm.out = sums.data(dev);
  p.gemm.out_row_stride = g.N;
  if (batch > 1) {
    p.ndim = 1;
    p.size[0] = batch;
    p.a_stride[0] = g.M * g.K;
    p.b_stride[0] = g.N * g.K;
    p.out_stride[0] = g.M * g.N;
    p.c_stride[0] = p.residual_stride[0] = 0;
  }
  const auto& products = *static_cast<const GemmDeviceKernels*>(cuda_kernels("gemm_kernels"));
  launch(products.gemm, GemmDeviceArgs{p}, 0, dev);
  if (plain) return;
  const Tensor columns = sum(right, {2}, false, DType::i32);
  for (int64_t i = 0; i < batch; ++i) {
    Int8EpilogueArgs e{};
    e.acc = sums.data_as<int32_t>(dev) + i * g.M * g.N;
    e.ld = e.out_row_stride = e.n = g.N;
    e.m = g.M;
    e.shift = g.a_signed ? 0 : -128;
    e.zero_a = g.zero_a;
    e.zero_a_stride = g.zero_a_stride;
    e.sums = g.a_signed && !g.zero_a ? nullptr : columns.data_as<int32_t>(dev) + i * g.N;
    e.out = static_cast<char*>(out.data(dev)) + i * g.M * g.N * dtype_size(g.out_dtype);
    e.out_dtype = g.out_dtype;
    e.e = g.epilogue;
    launch(int8_kernels(dev).epilogue, e, 0, dev);
  }
}

// b undefined: its shape is shape_b, its panels are packed_b.
Tensor run(const Tensor& a, const Tensor& b, const Shape& shape_b, const Tensor& packed_b,
           const IntMatmulOptions& o) {
  const int dims_b = shape_b.size();
  TERCEL_CHECK(a.dtype() == DType::i8 || a.dtype() == DType::u8, DType,
               "int_matmul: a must be int8 or uint8, got ", dtype_name(a.dtype()));
  TERCEL_CHECK(a.dim() >= 2 && dims_b >= 2, Shape,
               "int_matmul: a and b must have at least 2 dims, got shapes ", a.shape(), " and ",
               shape_b);
  const int64_t K = shape_b[dims_b - 2], N = shape_b[dims_b - 1];
  TERCEL_CHECK(a.size(-1) == K, Shape, "int_matmul: a ", a.shape(), " and b ", shape_b,
               " do not fit: last dim of a is ", a.size(-1), ", second-last of b is ", K);
  if (!(dtype_bit(o.dtype) & kOutMask)) fail_dtype("int_matmul", "dtype", o.dtype, kOutMask);
  const bool sums = o.dtype == DType::i32;
  TERCEL_CHECK(!sums || (!o.scale_a.defined() && !o.scale_b.defined() && !o.bias.defined()), Value,
               "int_matmul: scales and bias need a dtype of float32, bfloat16, float16, int8 or "
               "uint8, got int32");
  TERCEL_CHECK(o.out_scale > 0 && o.out_scale <= 3.4028234663852886e38, Value,
               "int_matmul: out_scale must be positive and finite, got ", o.out_scale);
  const bool u8 = o.dtype == DType::u8;
  TERCEL_CHECK(o.out_zero_point >= (u8 ? 0 : -128) && o.out_zero_point <= (u8 ? 255 : 127), Value,
               "int_matmul: out_zero_point must be a value of ",
               dtype_name(u8 ? DType::u8 : DType::i8), ", got ", o.out_zero_point);
  Shape batch_a, batch_b;
  for (int d = 0; d + 2 < a.dim(); ++d) batch_a.push_back(a.size(d));
  for (int d = 0; d + 2 < dims_b; ++d) batch_b.push_back(shape_b[d]);

  Int8Gemm g;
  g.N = N;
  g.K = K;
  g.a_signed = a.dtype() == DType::i8;
  g.out_dtype = o.dtype;
  g.out_row_stride = N;
  g.epilogue.out_scale = static_cast<float>(o.out_scale);
  g.epilogue.out_zero = static_cast<int32_t>(o.out_zero_point);
  // One b for all: the batch dims of a are rows.
  const bool joined = dims_b == 2;
  const Tensor rows =
      joined && a.dim() > 2 ? reshape(a, {a.numel() / std::max<int64_t>(K, 1), K}) : a;
  Shape out_shape = joined ? batch_a : broadcast_shapes(batch_a, batch_b, "int_matmul");
  const Shape batch = out_shape;
  out_shape.push_back(a.size(-2));
  out_shape.push_back(N);
  const Device dev = a.device();
  const Tensor out = empty(out_shape, o.dtype, dev);
  g.M = joined && a.dim() > 2 ? (K > 0 ? rows.size(0) : out.numel() / std::max<int64_t>(N, 1))
                              : a.size(-2);
  int64_t bias_stride = 1;
  const Tensor zero_a = per_row("zero_point_a", o.zero_point_a, g.M, DType::i32, &g.zero_a_stride);
  const Tensor scale_a = per_row("scale_a", o.scale_a, g.M, DType::f32, &g.epilogue.scale_a_stride);
  const Tensor scale_b = per_row("scale_b", o.scale_b, N, DType::f32, &g.epilogue.scale_b_stride);
  TERCEL_CHECK(!o.bias.defined() || (o.bias.dim() == 1 && o.bias.numel() == N), Shape,
               "int_matmul: bias must have shape [", N, "], got ",
               o.bias.defined() ? o.bias.shape() : Shape());
  const Tensor bias = per_row("bias", o.bias, N, DType::f32, &bias_stride);
  if (out.numel() == 0) return out;
  if (zero_a.defined()) g.zero_a = zero_a.data_as<int32_t>(dev);
  if (scale_a.defined()) g.epilogue.scale_a = scale_a.data_as<float>(dev);
  if (scale_b.defined()) g.epilogue.scale_b = scale_b.data_as<float>(dev);
  if (bias.defined()) g.epilogue.bias = bias.data_as<float>(dev);

  if (joined && !dev.is_cpu()) {
    int_matmul_on_device(reshape(rows.detach(), {1, g.M, K}), unsqueeze(b.detach(), 0), g, out);
    return out;
  }
  const Tensor packed = b.defined() ? empty({int8_packed_bytes(N, K)}, DType::i8) : packed_b;
  g.packed_b = packed.data();
  const double work = static_cast<double>(g.M) * static_cast<double>(N) * static_cast<double>(K);
  const int64_t cost = work < 1e17 ? static_cast<int64_t>(work / 128) : int64_t{1} << 50;
  const auto product = [&](const Tensor& x, const Tensor& w, int64_t index) {
    g.a = {x.data(), x.stride(-2), x.stride(-1)};
    g.out = static_cast<char*>(out.data()) + index * g.M * N * dtype_size(o.dtype);
    InterpreterRelease release(cost > kReleaseNs);
    if (w.defined()) int8_pack({w.data(), w.stride(-1), w.stride(-2)}, N, K, packed.data());
    int8_gemm(g);
  };
  if (joined) {
    product(rows, b, 0);
    return out;
  }
  Shape a_shape = batch, b_shape = batch;
  a_shape.push_back(a.size(-2));
  a_shape.push_back(K);
  b_shape.push_back(K);
  b_shape.push_back(N);
  const Tensor ae = reshape(expand(a.detach(), a_shape), {-1, a.size(-2), K});
  const Tensor be = reshape(expand(b.detach(), b_shape), {-1, K, N});
  if (!dev.is_cpu()) {
    int_matmul_on_device(ae, be, g, out);
    return out;
  }
  for (int64_t i = 0; i < be.size(0); ++i) product(select(ae, 0, i), select(be, 0, i), i);
  return out;
}

}  // namespace

Tensor int_matmul(const Tensor& a, const Tensor& b, const IntMatmulOptions& options) {
  TERCEL_CHECK(b.dtype() == DType::i8, DType, "int_matmul: b must be int8, got ",
               dtype_name(b.dtype()));
  return run(a, b, b.shape(), {}, options);
}

Tensor int_matmul(const Tensor& a, const QTensor& w, const IntMatmulOptions& options) {
  const Shape& shape = w.shape();
  TERCEL_CHECK(w.format() == QFormat::i8 && !w.zeros().defined() && shape.size() == 2 &&
                   (w.scales().size(1) == 1 || shape[1] == 0),
               Value,
               "int_matmul: a QTensor must be a symmetric int8 matrix [N, K] with one scale per "
               "row, got ",
               w.text());
  IntMatmulOptions o = options;
  if (!w.values().device().is_cpu()) {
    if (!o.scale_b.defined() && o.dtype != DType::i32)
      o.scale_b = w.scales().numel() == 1 ? w.scales() : reshape(w.scales(), {shape[0]});
    return int_matmul(a, transpose(w.values(), 0, 1), o);
  }
  const auto packed = w.packed();
  if (!o.scale_b.defined() && o.dtype != DType::i32) o.scale_b = packed->row_scales;
  return run(a, {}, {shape[1], shape[0]}, packed->codes, o);
}

}  // namespace tercel
