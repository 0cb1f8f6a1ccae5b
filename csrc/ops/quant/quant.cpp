// Checks and geometry of the quantisation ops.
#include "ops/quant/quant.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/quant/quant_geometry.h"
#include "ops/quant/quant_kernels.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

constexpr uint32_t kInputs = kWideFloatMask;

std::string format_names() {
  std::string text;
  for (const QFormatInfo& f : kQFormats) text += (text.empty() ? "" : ", ") + std::string(f.name);
  return text;
}

}  // namespace

QuantGeometry geometry_of(const char* op, const Shape& shape, const Dims& block_in) {
  Dims block = block_in;
  TERCEL_CHECK(block.size() == shape.size(), Shape, op, ": block_size must have ", shape.size(),
               " entries, one per dim of input ", shape, ", got ", block.size());
  QuantGeometry g;
  const int rank = shape.size();
  for (int d = 0; d < rank; ++d) {
    if (block[d] == -1) block[d] = std::max<int64_t>(shape[d], 1);
    TERCEL_CHECK(block[d] >= 1, Value, op,
                 ": block_size must be at least 1 (or -1 for a whole dim), got ", block[d]);
    g.scales.push_back(shape[d] / block[d] + (shape[d] % block[d] != 0));
  }
  if (rank == 0) return g;
  g.cols = shape[rank - 1];
  g.run = block[rank - 1];
  for (int d = 0; d + 1 < rank; ++d) g.rows *= shape[d];
  if (g.rows == 0 || g.cols == 0) return g;
  const Strides strides = contiguous_strides(g.scales);
  bool one = true;
  for (int d = 0; d + 1 < rank; ++d) one = one && g.scales[d] == 1;
  if (one) return g;  // base stays empty: 0 for every row
  g.base.resize(static_cast<size_t>(g.rows));
  int64_t index[kMaxDims] = {};
  for (int64_t r = 0; r < g.rows; ++r) {
    int64_t at = 0;
    for (int d = 0; d + 1 < rank; ++d) at += index[d] / block[d] * strides[d];
    g.base[static_cast<size_t>(r)] = at;
    for (int d = rank - 2; d >= 0; --d) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
  return g;
}

namespace {

struct Params {
  Tensor scale, zero, base;
  QScales view{};
};

// The first scales of the rows, in memory of the device.
Tensor base_on(Device dev, const std::vector<int64_t>& base) {
  if (base.empty() || dev.is_cpu()) return {};
  const Tensor t = empty({static_cast<int64_t>(base.size())}, DType::i64);
  std::copy(base.begin(), base.end(), t.data_as<int64_t>());
  return device_constant(t, dev);
}

// `dev`: where the kernel runs; scales and zero points are there.
Params params(const char* op, const QuantGeometry& g, Device dev, const Tensor& scale,
              const Tensor& zero, bool integer) {
  Params p;
  const auto fits = [&](const Tensor& t) {
    return t.shape() == g.scales || (t.numel() == 1 && numel_of(g.scales) == 1);
  };
  TERCEL_CHECK(is_float(scale.dtype()) || scale.dtype() == DType::u8, DType, op,
               ": scale must be float, or uint8 for e8m0 exponents, got ",
               dtype_name(scale.dtype()));
  TERCEL_CHECK(fits(scale), Shape, op, ": scale must have shape ", g.scales,
               " (sizes over block_size), got ", scale.shape());
  p.scale = scale.dtype() == DType::u8 ? e8m0_to_float(scale)
                                       : contiguous(to(scale.detach(), DType::f32));
  if (zero.defined()) {
    TERCEL_CHECK(integer, Value, op,
                 ": zero_point needs an integer format (int8, uint8, int4, uint4)");
    TERCEL_CHECK(is_int(zero.dtype()), DType, op, ": zero_point must have an integer dtype, got ",
                 dtype_name(zero.dtype()));
    TERCEL_CHECK(fits(zero), Shape, op, ": zero_point must have shape ", g.scales, ", got ",
                 zero.shape());
    p.zero = contiguous(to(zero.detach(), DType::f32));
  }
  // One number for all may come from the host.
  if (p.scale.numel() <= 1) p.scale = device_constant(p.scale, dev);
  if (p.zero.defined() && p.zero.numel() <= 1) p.zero = device_constant(p.zero, dev);
  p.base = base_on(dev, g.base);
  p.view = {p.scale.data_as<float>(dev), p.zero.defined() ? p.zero.data_as<float>(dev) : nullptr,
            p.base.defined() ? p.base.data_as<int64_t>(dev)
            : g.base.empty() ? nullptr
                             : g.base.data(),
            g.run};
  return p;
}

}  // namespace

Tensor quant_input(const char* op, const Tensor& x) {
  if (!(dtype_bit(x.dtype()) & kInputs)) fail_dtype(op, x.dtype(), kInputs);
  const Tensor plain = x.detach();
  return contiguous(x.dtype() == DType::f64 ? to(plain, DType::f32) : plain);
}

QRange quant_range_of(const char* op, QFormat f, const std::optional<double>& lo,
                      const std::optional<double>& hi, bool narrow) {
  const QFormatInfo& i = info(f);
  QRange r{narrow && i.qmin < 0 ? -i.qmax : i.qmin, i.qmax};
  TERCEL_CHECK(i.integer || (!lo && !hi), Value, op,
               ": quant_min and quant_max need an integer format, got ", i.name);
  if (lo) r.qmin = static_cast<float>(*lo);
  if (hi) r.qmax = static_cast<float>(*hi);
  TERCEL_CHECK(r.qmin >= i.qmin && r.qmax <= i.qmax && r.qmin < r.qmax, Value, op, ": expected ",
               i.qmin, " <= quant_min < quant_max <= ", i.qmax, " for ", i.name, ", got ", r.qmin,
               " and ", r.qmax);
  return r;
}

namespace {

struct FakeQuantNode final : Node {
  Tensor mask;
  const char* name() const override { return "FakeQuantizeBackward"; }
  TensorList backward(const TensorList& g) override { return {mul(g[0], to(mask, g[0].dtype()))}; }
  void release_saved() override { mask.reset(); }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"mask", mask}};
  }
};

}  // namespace

QFormat parse_qformat(const char* op, const std::string& name) {
  for (int i = 0; i < kNumQFormats; ++i) {
    if (name == kQFormats[i].name) return static_cast<QFormat>(i);
  }
  fail(ErrorKind::Value, str(op, ": unknown format '", name, "'; there are ", format_names()));
}

QFormat qformat_of(const char* op, DType dtype) {
  switch (dtype) {
    case DType::i8:
      return QFormat::i8;
    case DType::u8:
      return QFormat::u8;
    case DType::f8e4m3:
      return QFormat::e4m3;
    case DType::f8e5m2:
      return QFormat::e5m2;
    default:
      fail(ErrorKind::DType, str(op, ": dtype ", dtype_name(dtype),
                                 " is no quantised format; there are ", format_names()));
  }
}

Tensor e8m0_to_float(const Tensor& codes) {
  if (!codes.device().is_cpu())
    return to_device(e8m0_to_float(to_device(codes, Device{})), codes.device());
  const Tensor c = contiguous(codes);
  const Tensor y = empty(c.shape(), DType::f32);
  const uint8_t* src = c.data_as<uint8_t>();
  float* dst = y.data_as<float>();
  for (int64_t i = 0; i < c.numel(); ++i) {
    const uint32_t e = src[i];
    dst[i] = detail::bits_float(e == 255 ? 0x7fc00000u : e == 0 ? 0x400000u : e << 23);
  }
  return y;
}

Tensor quantize_affine(const Tensor& x, const Dims& block, const Tensor& scale, const Tensor& zero,
                       QFormat format, const QuantizeOptions& o) {
  const char* op = "quantize_affine";
  const Tensor xd = quant_input(op, x);
  const QuantGeometry g = geometry_of(op, x.shape(), block);
  const Device dev = x.device();
  const Params p = params(op, g, dev, scale, zero, info(format).integer);
  TERCEL_CHECK(x.dim() > 0 || info(format).bits == 8, Shape, op,
               ": a 4-bit format needs at least 1 dim");
  Shape shape = x.shape();
  if (info(format).bits == 4) shape[shape.size() - 1] = code_bytes(format, g.cols);
  const Tensor q = empty(shape, info(format).storage, dev);
  QuantizeArgs a{};
  a.range = quant_range_of(op, format, o.quant_min, o.quant_max, false);
  if (q.numel() == 0) return q;
  a.x = xd.data(dev);
  a.dtype = xd.dtype();
  a.rows = g.rows;
  a.cols = g.cols;
  a.s = p.view;
  a.format = format;
  a.stochastic = o.stochastic;
  if (o.stochastic) {
    a.key = (o.generator ? o.generator : default_generator())
                ->take(static_cast<uint64_t>(x.numel()) + 16, dev);
  }
  a.codes = static_cast<uint8_t*>(q.data(dev));
  launch(quant_kernels(dev).quantize, a, x.numel() / 2, dev);
  return q;
}

Tensor dequantize_affine(const Tensor& codes, const Dims& block, const Tensor& scale,
                         const Tensor& zero, QFormat format, DType dtype,
                         std::optional<int64_t> last) {
  const char* op = "dequantize_affine";
  const QFormatInfo& f = info(format);
  TERCEL_CHECK(codes.dtype() == f.storage, DType, op, ": codes of ", f.name, " must have dtype ",
               dtype_name(f.storage), ", got ", dtype_name(codes.dtype()));
  if (!(dtype_bit(dtype) & kInputs)) fail_dtype(op, "dtype", dtype, kInputs);
  Shape shape = codes.shape();
  if (f.bits == 4) {
    TERCEL_CHECK(codes.dim() > 0, Shape, op, ": 4-bit codes need at least 1 dim");
    const int64_t bytes = codes.size(-1), n = last ? *last : 2 * bytes;
    TERCEL_CHECK(n >= 0 && code_bytes(format, n) == bytes, Shape, op, ": ", bytes,
                 " bytes along the last dim hold ", std::max<int64_t>(0, 2 * bytes - 1), " or ",
                 2 * bytes, " elements, got ", n);
    shape[shape.size() - 1] = n;
  }
  const QuantGeometry g = geometry_of(op, shape, block);
  const Device dev = codes.device();
  const Params p = params(op, g, dev, scale, zero, f.integer);
  const DType work = dtype == DType::f64 ? DType::f32 : dtype;
  const Tensor y = empty(shape, work, dev);
  if (y.numel() > 0) {
    const Tensor dense = contiguous(codes);
    const DequantizeArgs a{static_cast<const uint8_t*>(dense.data(dev)),
                           format,
                           g.rows,
                           g.cols,
                           p.view,
                           y.data(dev),
                           work};
    launch(quant_kernels(dev).dequantize, a, y.numel() / 4, dev);
  }
  return to(y, dtype);
}

Dims channel_block(const char* op, const Tensor& x, int64_t axis) {
  const int a = normalize_dim(axis, x.dim(), op);
  Dims block = Dims::filled(x.dim(), -1);
  if (x.dim() > 0) block[a] = 1;
  return block;
}

Tensor along_axis(const char* op, const char* name, const Tensor& vector, const Tensor& x,
                  int64_t axis) {
  const int a = normalize_dim(axis, x.dim(), op);
  const int64_t n = x.dim() > 0 ? x.size(a) : 1;
  TERCEL_CHECK(vector.dim() == 1 && vector.size(0) == n, Shape, op, ": ", name,
               " must have shape [", n, "] (dim ", a, " of input ", x.shape(), "), got ",
               vector.shape());
  Shape shape = Dims::filled(x.dim(), 1);
  for (int d = 0; d < x.dim(); ++d) {
    if (x.size(d) == 0) shape[d] = 0;
  }
  if (x.dim() > 0) shape[a] = n;
  return numel_of(shape) == n ? reshape(vector, shape)
                              : empty(shape, vector.dtype(), vector.device());
}

Tensor fake_quantize_affine(const char* op, const Tensor& x, const Dims& block, const Tensor& scale,
                            const Tensor& zero, double quant_min, double quant_max) {
  const Tensor xd = quant_input(op, x);
  const QuantGeometry g = geometry_of(op, x.shape(), block);
  const Device dev = x.device();
  const Params p = params(op, g, dev, scale, zero, true);
  TERCEL_CHECK(
      quant_min <= quant_max && std::fabs(quant_min) < 0x1p23 && std::fabs(quant_max) < 0x1p23,
      Value, op, ": expected quant_min <= quant_max, both within 2^23, got ", quant_min, " and ",
      quant_max);
  const Tensor y = empty(x.shape(), xd.dtype(), dev);
  const bool record = grad_needed(x);
  const Tensor mask = record ? empty(x.shape(), DType::u8, dev) : Tensor();
  if (x.numel() > 0) {
    QuantizeArgs a{};
    a.x = xd.data(dev);
    a.dtype = xd.dtype();
    a.rows = g.rows;
    a.cols = g.cols;
    a.s = p.view;
    a.format = QFormat::i8;  // any integer format: the range is given
    a.range = {static_cast<float>(quant_min), static_cast<float>(quant_max)};
    a.y = y.data(dev);
    a.mask = record ? mask.data_as<uint8_t>(dev) : nullptr;
    launch(quant_kernels(dev).quantize, a, x.numel() / 2, dev);
  }
  GradMode off(false);
  Tensor out = to(y, x.dtype());
  if (record) {
    GradMode on(true);
    auto node = make_node<FakeQuantNode>({&x});
    node->mask = mask;
    set_history(out, node);
  }
  return out;
}

}  // namespace tercel
