// QTensor: checks, packing, printing.
#include "ops/quant/qtensor.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "ops/copy/copy.h"
#include "ops/creation/creation.h"
#include "ops/matmul/gemm_int8.h"
#include "ops/quant/quant.h"

namespace tercel {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

}  // namespace

QTensor::QTensor(Tensor values, Tensor scales, Tensor zeros, QFormat format, Shape shape,
                 Dims block, bool dynamic)
    : values_(contiguous(values.detach())),
      scales_(contiguous(scales.detach())),
      zeros_(zeros.defined() ? contiguous(zeros.detach()) : Tensor()),
      format_(format),
      shape_(shape),
      block_(block),
      dynamic_(dynamic) {
  const char* op = "QTensor";
  const QFormatInfo& f = info(format);
  checked_numel(shape, op);
  TERCEL_CHECK(shape.size() >= 1, Shape, op, ": shape must have at least 1 dim");
  TERCEL_CHECK(block.size() == shape.size(), Shape, op, ": block_size must have ", shape.size(),
               " entries, got ", block.size());
  Shape codes = shape, grid;
  codes[shape.size() - 1] = code_bytes(format, shape.back());
  for (int d = 0; d < shape.size(); ++d) {
    if (block_[d] == -1) block_[d] = std::max<int64_t>(1, shape[d]);
    TERCEL_CHECK(block_[d] >= 1, Value, op, ": block_size must be at least 1 (or -1), got ",
                 block_[d]);
    grid.push_back(ceil_div(shape[d], block_[d]));
  }
  TERCEL_CHECK(values_.dtype() == f.storage, DType, op, ": values of ", f.name, " must have dtype ",
               dtype_name(f.storage), ", got ", dtype_name(values_.dtype()));
  TERCEL_CHECK(values_.shape() == codes, Shape, op, ": values of ", f.name, " must have shape ",
               codes, ", got ", values_.shape());
  TERCEL_CHECK(scales_.dtype() == DType::f32 || (scales_.dtype() == DType::u8 && !f.integer), DType,
               op, ": scales must be float32, or uint8 (e8m0) for float formats, got ",
               dtype_name(scales_.dtype()));
  TERCEL_CHECK(scales_.shape() == grid, Shape, op, ": scales must have shape ", grid, ", got ",
               scales_.shape());
  if (zeros_.defined()) {
    TERCEL_CHECK(f.integer, Value, op, ": zero_points need an integer format, got ", f.name);
    TERCEL_CHECK(zeros_.shape() == grid, Shape, op, ": zero_points must have shape ", grid,
                 ", got ", zeros_.shape());
    TERCEL_CHECK(zeros_.dtype() == DType::i8 || zeros_.dtype() == DType::u8, DType, op,
                 ": zero_points must be int8 or uint8, got ", dtype_name(zeros_.dtype()));
  }
  TERCEL_CHECK(!dynamic || (format == QFormat::i8 && !zeros_.defined() && shape.size() == 2 &&
                            (grid[1] == 1 || shape[1] == 0)),
               NotImplemented, op,
               ": dynamic quantisation of activations needs a symmetric int8 matrix with one scale "
               "per row or tensor");
}

int64_t QTensor::nbytes() const {
  const auto size = [](const Tensor& t) {
    return t.defined() ? t.numel() * t.itemsize() : int64_t{0};
  };
  return size(values_) + size(scales_) + size(zeros_);
}

std::string QTensor::text() const {
  const double bits = 8.0 * static_cast<double>(nbytes()) /
                      static_cast<double>(std::max<int64_t>(1, numel_of(shape_)));
  std::ostringstream out;
  out.precision(3);
  out << "QTensor(" << info(format_).name << ", shape=" << shape_ << ", block_size=" << block_
      << (scales_.dtype() == DType::u8 ? ", e8m0 scales" : "")
      << (zeros_.defined() ? ", zero points" : "") << (dynamic_ ? ", dynamic int8 activations" : "")
      << ", " << bits << " bits per element)";
  return out.str();
}

Tensor QTensor::dequantize(DType dtype) const {
  return dequantize_affine(values_, block_, scales_, zeros_, format_, dtype, shape_.back());
}

std::shared_ptr<QTensor> QTensor::on(Device device) const {
  return std::make_shared<QTensor>(to_device(values_, device), to_device(scales_, device),
                                   zeros_.defined() ? to_device(zeros_, device) : zeros_, format_,
                                   shape_, block_, dynamic_);
}

bool QTensor::packable() const {
  return shape_.size() == 2 && (block_[1] % 8 == 0 || block_[1] >= shape_[1]);
}

// See QPacked::finite.
static bool is_finite_float8(const Tensor& codes, QFormat format, const Tensor& scales) {
  if (format != QFormat::e4m3 && format != QFormat::e5m2) return false;
  const int most = format == QFormat::e4m3 ? 0x7e : 0x7b;
  const uint8_t* c = static_cast<const uint8_t*>(codes.data());
  int largest = 0;
  for (int64_t i = 0; i < codes.numel(); ++i) largest = std::max(largest, c[i] & 0x7f);
  const float* s = scales.data_as<float>();
  const auto small = [](float x) { return std::abs(x) < 128.0f; };
  return largest <= most && std::all_of(s, s + scales.numel(), small);
}

std::shared_ptr<const QPacked> QTensor::packed() const {
  std::lock_guard<std::mutex> lock(mutex_);
  const uint32_t zv = zeros_.defined() ? zeros_.version() : 0;
  if (packed_ && packed_->values_version == values_.version() &&
      packed_->scales_version == scales_.version() && packed_->zeros_version == zv) {
    return packed_;
  }
  auto p = std::make_shared<QPacked>();
  p->values_version = values_.version();
  p->scales_version = scales_.version();
  p->zeros_version = zv;
  const int64_t N = shape_[0], K = shape_[1], bytes = code_bytes(format_, K),
                panels = int8_panels(N);
  p->run = std::max<int64_t>(1, std::min(block_[1], K));
  p->groups = std::max<int64_t>(1, ceil_div(K, p->run));
  p->codes = empty({int8_packed_bytes(N, bytes)}, DType::i8);
  int8_pack({values_.data(), bytes, 1}, N, bytes, p->codes.data());
  const auto spread = [&](const Tensor& grid) {
    const bool e8m0 = grid.is_same(scales_) && grid.dtype() == DType::u8;
    const Tensor src = e8m0 ? e8m0_to_float(grid) : contiguous(to(grid, DType::f32));
    const Tensor dst = tercel::zeros({panels, p->groups, 16}, DType::f32);
    if (src.numel() == 0) return dst;
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t k = 0; k < p->groups; ++k) {
        dst.data_as<float>()[((n / 16) * p->groups + k) * 16 + n % 16] =
            src.data_as<float>()[n / block_[0] * p->groups + k];
      }
    }
    return dst;
  };
  p->scales = spread(scales_);
  if (zeros_.defined()) p->zeros = spread(zeros_);
  p->finite = is_finite_float8(values_, format_, p->scales);
  if (p->groups == 1) {
    p->row_scales = empty({N}, DType::f32);
    for (int64_t n = 0; n < N; ++n)
      p->row_scales.data_as<float>()[n] = p->scales.data_as<float>()[n];
  }
  packed_ = p;
  return p;
}

}  // namespace tercel
