// What the files of the quantisation ops share: blocks of a tensor, inputs of kernels, ranges of
// codes.
#pragma once

#include <optional>
#include <vector>

#include "core/tensor.h"
#include "ops/quant/quant.h"
#include "ops/quant/quant_kernels.h"

namespace tercel {

// The tensor as dense [rows, cols], and for each row its first scale.
struct QuantGeometry {
  int64_t rows = 1, cols = 1, run = 1;
  Shape scales;  // expected shape
  std::vector<int64_t> base;
};

// Blocks of size `block` (-1: the whole dim) in a tensor of this shape.
QuantGeometry geometry_of(const char* op, const Shape& shape, const Dims& block);
// x without history, contiguous, float64 as float32.
Tensor quant_input(const char* op, const Tensor& x);
// The format's codes, within [lo, hi] where given; narrow: symmetric about zero.
QRange quant_range_of(const char* op, QFormat f, const std::optional<double>& lo,
                      const std::optional<double>& hi, bool narrow);

}  // namespace tercel
