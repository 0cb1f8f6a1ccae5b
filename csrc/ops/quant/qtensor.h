// QTensor: a frozen quantised tensor (values, scales, zero points, scheme), and linear with one as
// weight.
//
// One canonical layout, in memory and on disk: `values` are the codes row-major (4-bit formats two
// per byte along the last dim), `scales` float32 (or uint8 e8m0) and `zero_points` (int8 for int8,
// uint8 for the others) of shape ceil(size / block). Kernels read a packed copy, made at first use
// and again after the tensors were overwritten: panels of 16 rows, gemm_int8.h; it serves every ISA
// level.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "core/autograd.h"
#include "ops/quant/quant.h"

namespace tercel {

struct QPacked {
  Tensor codes;  // panels of gemm_int8.h over the code bytes of a row
  Tensor scales,
      zeros;  // float32 [panels, groups, 16], 0 past the last row; zeros undefined when symmetric
  Tensor row_scales;  // float32 [N] when a row has one scale
  int64_t groups = 1, run = 1;
  bool finite = false;  // float8: no code is NaN or infinite, no scale 128 or more
  uint32_t values_version = 0, scales_version = 0, zeros_version = 0;
};

class QTensor {
 public:
  // Checks everything; `dynamic`: linear quantises its activations to int8 per token (int8, one
  // scale per row, symmetric).
  QTensor(Tensor values, Tensor scales, Tensor zeros, QFormat format, Shape shape, Dims block,
          bool dynamic);
  const Tensor& values() const { return values_; }
  const Tensor& scales() const { return scales_; }
  const Tensor& zeros() const { return zeros_; }
  QFormat format() const { return format_; }
  const Shape& shape() const { return shape_; }
  const Dims& block() const { return block_; }
  bool dynamic() const { return dynamic_; }
  int64_t nbytes() const;
  std::string text() const;
  Tensor dequantize(DType dtype) const;
  std::shared_ptr<QTensor> on(Device device) const;
  // Only for rank 2.
  std::shared_ptr<const QPacked> packed() const;
  // Groups the packed kernels take: whole multiples of 8 (or the whole row).
  bool packable() const;

 private:
  Tensor values_, scales_, zeros_;
  QFormat format_;
  Shape shape_;
  Dims block_;
  bool dynamic_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const QPacked> packed_;
};

// y[..., N] = x[..., K] w[N, K]^T + bias[N], x float32, bfloat16 or float16.
// Weight only: the same bits as linear(x, w.dequantize(x.dtype as float32), bias), decoded on the
// fly. Dynamic: each row of x is rounded to int8 with scale max|x| / 127, products are exact,
// result = sum * scale_x * scale_w + bias; a row with NaN or an infinity gives NaN. Gradient: dx =
// dy w (straight through for dynamic), dbias; x is not kept.
Tensor linear(const Tensor& x, const std::shared_ptr<const QTensor>& w, const Tensor& bias = {});

}  // namespace tercel
