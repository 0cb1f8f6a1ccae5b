// linear with a quantised weight: paths by rows and device, and its gradient.
#include "ops/quant/qtensor.h"

#include <algorithm>

#include "core/autocast.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "ops/copy/copy.h"
#include "ops/matmul/gemm.h"
#include "ops/matmul/gemm_int8.h"
#include "ops/matmul/int_matmul.h"
#include "ops/matmul/matmul.h"
#include "ops/quant/qlinear_device.h"
#include "ops/quant/qlinear_kernels.h"
#include "ops/quant/quant_kernels.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

// Products with at most this many rows decode in registers; more go through the panels of the float
// product.
constexpr int64_t kGemvRows = 24;

QPanels panels_of(const QTensor& w, const QPacked& p) {
  const int64_t K = w.shape()[1];
  return {static_cast<const uint8_t*>(p.codes.data()),
          int8_lines(code_bytes(w.format(), K)),
          w.format(),
          p.scales.data_as<float>(),
          p.zeros.defined() ? p.zeros.data_as<float>() : nullptr,
          p.groups,
          p.run,
          p.finite,
          w.shape()[0],
          K};
}

void decode_panels(const void* context, int64_t row0, int64_t rows, int64_t k0, int64_t kc,
                   int width, void* dst) {
  qlinear_kernels().decode(
      {*static_cast<const QPanels*>(context), row0, rows, k0, kc, width, static_cast<float*>(dst)});
}

int64_t cost_ns(int64_t M, int64_t N, int64_t K) { return gemm_cost_ns(M, N, K, 1) + N * K / 16; }

// Rows x[M, K] with unit column stride.
struct Rows {
  Tensor t;
  int64_t M, K;
};
Rows rows_of(const Tensor& x) {
  const int64_t K = x.size(-1);
  Tensor t = contiguous(x.detach());
  return {t, x.numel() / std::max<int64_t>(K, 1), K};
}

Tensor weight_only(const Rows& x, const QTensor& w, const Tensor& bias, const Tensor& out) {
  const auto packed = w.packed();
  const QPanels panels = panels_of(w, *packed);
  const int64_t N = w.shape()[0], cost = cost_ns(x.M, N, x.K);
  if (trace_enabled()) {
    trace(str("linear ", x.M, "x", N, "x", x.K, " ", dtype_name(x.t.dtype()), " x ",
              info(w.format()).name,
              x.M <= kGemvRows ? ": codes are decoded in registers (few rows)"
                               : ": codes are decoded into the panels of the float product"));
  }
  if (x.M <= kGemvRows) {
    Tensor xf = to(x.t, DType::f32);
    if (x.M > 1) xf = contiguous(transpose(reshape(xf, {x.M, x.K}), 0, 1));
    const Tensor b = bias.defined() ? contiguous(to(bias.detach(), DType::f32)) : Tensor();
    const Tensor y = out.dtype() == DType::f32 ? out : empty(out.shape(), DType::f32);
    const QGemvArgs a{panels,
                      xf.data_as<float>(),
                      1,
                      x.M,
                      x.M,
                      0,
                      0,
                      b.defined() ? b.data_as<float>() : nullptr,
                      y.data_as<float>(),
                      N};
    {
      InterpreterRelease release(cost > kReleaseNs);
      const int64_t count = int8_panels(N),
                    enough = std::max<int64_t>(1, 256 * 1024 / (16 * x.K * x.M + 1));
      const int64_t grain = std::max({enough, ceil_div(count, 8 * num_threads()), int64_t{4}});
      parallel_for(count, grain, [&](int64_t p0, int64_t p1) {
        QGemvArgs part = a;
        part.p0 = p0;
        part.p1 = p1;
        qlinear_kernels().gemv(part);
      });
    }
    if (!y.is_same(out)) strided_copy(out, y);
    return out;
  }
  GemmArgs g;
  g.M = x.M;
  g.N = N;
  g.K = x.K;
  g.a.dtype = g.b.dtype = g.out_dtype = out.dtype();
  g.a.data = x.t.data();
  g.a.row_stride = x.K;
  g.a.k_stride = 1;
  g.b.pack = &decode_panels;
  g.b.context = &panels;
  g.out = out.data();
  g.out_row_stride = N;
  const Tensor b = bias.defined() ? contiguous(bias.detach()) : Tensor();
  if (b.defined()) {
    g.epilogue.beta = 1.0;
    g.epilogue.c = b.data();
    g.epilogue.c_col_stride = 1;
  }
  InterpreterRelease release(cost > kReleaseNs);
  gemm(g);
  return out;
}

// ---- CUDA: from the canonical layout

// Few rows of bf16 or f16 and one of the formats of qlinear_device.h: decoded on the way. Otherwise
// the weight is decoded into memory first.
bool few_rows_on_device(const Rows& x, const QTensor& w, const Tensor& bias, const Tensor& out) {
  const int64_t N = w.shape()[0], K = w.shape()[1], run = w.block()[1] < K ? w.block()[1] : 0;
  const QFormat f = w.format();
  if (x.M > kQGemvDeviceRows || !is_half(x.t.dtype()) || w.zeros().defined() || run % 32 != 0 ||
      run > INT32_MAX || w.scales().dtype() != DType::f32 ||
      (f != QFormat::i8 && f != QFormat::i4 && f != QFormat::e4m3)) {
    return false;
  }
  const Device dev = x.t.device();
  Tensor scale = w.scales();
  if (w.block()[0] != 1)
    scale = contiguous(narrow(repeat_interleave(scale, w.block()[0], 0), 0, 0, N));
  const Tensor b = bias.defined() ? contiguous(bias.detach()) : Tensor();
  const QGemvDeviceArgs args{x.M,
                             N,
                             K,
                             x.t.data(dev),
                             x.t.dtype(),
                             w.values().data(dev),
                             f,
                             scale.data_as<float>(dev),
                             static_cast<int>(run),
                             b.defined() ? b.data(dev) : nullptr,
                             out.data(dev)};
  launch(static_cast<const QLinearDeviceKernels*>(cuda_kernels("qlinear_device_kernels"))->gemv,
         args, 0, dev);
  return true;
}

Tensor dynamic_int8_on_device(const Rows& x, const QTensor& w, const Tensor& bias) {
  const Device dev = x.t.device();
  const int64_t N = w.shape()[0];
  const Tensor q = empty({x.M, x.K}, DType::i8, dev), scale = empty({x.M}, DType::f32, dev);
  const RowQuantArgs args{x.t.data(dev),
                          x.t.dtype(),
                          x.K,
                          x.K,
                          0,
                          x.M,
                          q.data_as<int8_t>(dev),
                          scale.data_as<float>(dev)};
  launch(quant_kernels(dev).row_quant, args, 0, dev);
  IntMatmulOptions o;
  o.scale_a = scale;
  o.scale_b = w.scales().numel() == 1 ? w.scales() : reshape(w.scales(), {N});
  if (bias.defined()) o.bias = to(bias.detach(), DType::f32);
  o.dtype = x.t.dtype();
  return int_matmul(q, transpose(w.values(), 0, 1), o);
}

Tensor on_device(const Tensor& x, const QTensor& w, const Tensor& bias, const Shape& shape) {
  const Rows rows = rows_of(x);
  if (w.dynamic()) return reshape(dynamic_int8_on_device(rows, w, bias), shape);
  const Tensor y = empty(shape, x.dtype(), x.device());
  if (few_rows_on_device(rows, w, bias, y)) return y;
  return linear(x.detach(), w.dequantize(x.dtype()), bias.defined() ? bias.detach() : bias);
}

Tensor dynamic_int8(const Rows& x, const QTensor& w, const Tensor& bias, const Tensor& out) {
  const auto packed = w.packed();
  const Tensor q = empty({x.M, x.K}, DType::i8), scale = empty({x.M}, DType::f32);
  const Tensor b = bias.defined() ? contiguous(to(bias.detach(), DType::f32)) : Tensor();
  Int8Gemm g;
  g.M = x.M;
  g.N = w.shape()[0];
  g.K = x.K;
  g.a = {q.data(), x.K, 1};
  g.packed_b = packed->codes.data();
  g.out = out.data();
  g.out_row_stride = g.N;
  g.out_dtype = out.dtype();
  g.epilogue.scale_a = scale.data_as<float>();
  g.epilogue.scale_a_stride = 1;
  g.epilogue.scale_b = packed->row_scales.data_as<float>();
  g.epilogue.scale_b_stride = 1;
  if (b.defined()) g.epilogue.bias = b.data_as<float>();
  InterpreterRelease release(cost_ns(x.M, g.N, x.K) / 4 > kReleaseNs);
  const RowQuantArgs args{x.t.data(),          x.t.dtype(),           x.K, x.K, 0, 0,
                          q.data_as<int8_t>(), scale.data_as<float>()};
  parallel_for(x.M, std::max<int64_t>(1, 64 * 1024 / (x.K + 1)), [&](int64_t r0, int64_t r1) {
    RowQuantArgs part = args;
    part.row0 = r0;
    part.row1 = r1;
    quant_kernels().row_quant(part);
  });
  int8_gemm(g);
  return out;
}

// g[..., N] w[N, K] in the dtype of g. float32 decodes kGemmKBlock rows at a time: the sums of
// those blocks, added in order, are those of the whole product, and no float copy of the weight is
// made. 16-bit gradients round the weight to their dtype first.
Tensor input_grad(const Tensor& g, const QTensor& w) {
  const int64_t N = w.shape()[0], K = w.shape()[1];
  const bool whole = N <= kGemmKBlock || w.block()[0] != 1 || g.numel() == 0;
  if (whole || g.dtype() != DType::f32 || grad_needed(g)) return matmul(g, w.dequantize(g.dtype()));
  const Tensor rows = reshape(g.detach(), {g.numel() / N, N});
  Tensor dx;
  for (int64_t n = 0; n < N; n += kGemmKBlock) {
    const int64_t count = std::min(kGemmKBlock, N - n);
    const auto part = [&](const Tensor& t) { return t.defined() ? narrow(t, 0, n, count) : t; };
    const Tensor dense = dequantize_affine(part(w.values()), w.block(), part(w.scales()),
                                           part(w.zeros()), w.format(), DType::f32, K);
    const Tensor left = narrow(rows, 1, n, count);
    dx = dx.defined() ? addmm(dx, left, dense) : matmul(left, dense);
  }
  Shape shape = g.shape();
  shape[shape.size() - 1] = K;
  return reshape(dx, shape);
}

struct QLinearNode final : Node {
  std::shared_ptr<const QTensor> weight;
  const char* name() const override { return "QuantizedLinearBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(edges.size());
    if (needs(0)) {
      TERCEL_CHECK(weight != nullptr, Runtime,
                   "linear: backward through a graph that was already freed");
      out[0] = input_grad(g[0], *weight);
    }
    if (needs(1)) out[1] = g[0].dim() == 1 ? g[0] : sum_to(g[0], {g[0].size(-1)});
    return out;
  }
  void release_saved() override { weight.reset(); }
};

}  // namespace

Tensor linear(const Tensor& x, const std::shared_ptr<const QTensor>& w, const Tensor& bias) {
  if (autocast_narrows(x, bias)) return linear(autocast_narrow(x), w, autocast_narrow(bias));
  constexpr uint32_t kMask = dtype_bit(DType::f32) | dtype_bit(DType::bf16) | dtype_bit(DType::f16);
  if (!(dtype_bit(x.dtype()) & kMask)) fail_dtype("linear", "input", x.dtype(), kMask);
  TERCEL_CHECK(w->shape().size() == 2, Shape,
               "linear: a quantised weight must have shape [out, in], got ", w->shape());
  const int64_t N = w->shape()[0], K = w->shape()[1];
  TERCEL_CHECK(x.dim() >= 1 && x.size(-1) == K, Shape, "linear: last dim of input must be ", K,
               " (weight ", w->shape(), "), got shape ", x.shape());
  TERCEL_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == N), Shape,
               "linear: bias must have shape [", N, "], got ",
               bias.defined() ? bias.shape() : Shape());
  TERCEL_CHECK(!bias.defined() || bias.dtype() == x.dtype(), DType,
               "linear: bias must have the dtype ", dtype_name(x.dtype()), " of input, got ",
               dtype_name(bias.defined() ? bias.dtype() : x.dtype()));
  Shape shape = x.shape();
  shape[shape.size() - 1] = N;
  Tensor y;
  if (K == 0 || x.numel() == 0 || N == 0 || !w->packable()) {
    GradMode off(false);
    const Tensor dense = w->dequantize(DType::f32);
    const Tensor xf = to(x.detach(), DType::f32);
    y = to(linear(xf, dense, bias.defined() ? to(bias.detach(), DType::f32) : Tensor()), x.dtype());
  } else if (!x.device().is_cpu()) {
    GradMode off(false);
    y = on_device(x, *w, bias, shape);
  } else {
    y = empty(shape, x.dtype());
    const Rows rows = rows_of(x);
    w->dynamic() ? dynamic_int8(rows, *w, bias, y) : weight_only(rows, *w, bias, y);
  }
  if (grad_needed(x, bias)) {
    auto node = make_node<QLinearNode>({&x, &bias});
    if (node->needs(0)) node->weight = w;
    set_history(y, node);
  }
  return y;
}

}  // namespace tercel
