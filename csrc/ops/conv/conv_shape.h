// The shape oracle of convolution, transposed convolution and pooling, one dimension at a time.
//
// All arithmetic is checked: sizes that do not fit int64 raise OverflowError, arguments out of
// range raise ValueError / ShapeError naming op, argument and dimension.
#pragma once

#include <cstdint>

#include "core/shape.h"

namespace tercel {

// A list of 1 or `n` values per spatial dimension, expanded to n. `low` is the smallest allowed
// value.
Dims spatial_dims(const Dims& values, int n, int64_t low, const char* op, const char* argument);

// dilation * (kernel - 1) + 1
int64_t window_extent(int64_t kernel, int64_t dilation, const char* op);

// floor((in + pad_low + pad_high - extent) / stride) + 1; the window must fit the padded input.
int64_t conv_output_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad_low,
                         int64_t pad_high, int64_t dilation, const char* op);

// (in - 1) stride - 2 pad + extent + output_pad, which must be positive.
int64_t conv_transpose_output_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad,
                                   int64_t output_pad, int64_t dilation, const char* op);

// Like conv_output_size; ceil_mode rounds up but drops windows that would start in the right
// padding. pad may be at most half the window.
int64_t pool_output_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                         bool ceil_mode, const char* op);

}  // namespace tercel
