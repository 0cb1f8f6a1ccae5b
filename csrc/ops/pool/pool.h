// Max, average, adaptive and power-average pooling in one to three dimensions, and max unpooling.
//
// Input [N, C, in...] or [C, in...] (N and C together are `planes`), float64, float32, float16,
// bfloat16; output
// [.., out...] of the same dtype. Averages accumulate in float32 (float64 for float64) and round
// once. A NaN in a window makes its maximum NaN; ties go to the first element. stride {} means
// kernel_size. Indices are int64 places in the input plane. Gradients are differentiable any number
// of times. Cost: reads the input once, writes the output (and indices) once.
#pragma once

#include <optional>
#include <utility>

#include "core/autograd.h"

namespace tercel {

// y = max over the window; `dims` is 1, 2 or 3.
Tensor max_pool(int dims, const Tensor& x, const Dims& kernel_size, const Dims& stride = {},
                const Dims& padding = {0}, const Dims& dilation = {1}, bool ceil_mode = false);
std::pair<Tensor, Tensor> max_pool_with_indices(int dims, const Tensor& x, const Dims& kernel_size,
                                                const Dims& stride = {}, const Dims& padding = {0},
                                                const Dims& dilation = {1}, bool ceil_mode = false);

// y = sum over the window / divisor: divisor_override, or the elements of the window (with or
// without the padded ones).
Tensor avg_pool(int dims, const Tensor& x, const Dims& kernel_size, const Dims& stride = {},
                const Dims& padding = {0}, bool ceil_mode = false, bool count_include_pad = true,
                std::optional<int64_t> divisor_override = {});

// Windows floor(o in / out) .. ceil((o + 1) in / out). A size of -1 keeps that of the input.
Tensor adaptive_avg_pool(int dims, const Tensor& x, const Dims& output_size);
Tensor adaptive_max_pool(int dims, const Tensor& x, const Dims& output_size);
std::pair<Tensor, Tensor> adaptive_max_pool_with_indices(int dims, const Tensor& x,
                                                         const Dims& output_size);

// (sum over the window of x^p)^(1/p); p = inf: the largest |x|, p = -inf: the smallest
Tensor lp_pool(int dims, const Tensor& x, double norm_type, const Dims& kernel_size,
               const Dims& stride = {}, bool ceil_mode = false);

// Windows whose borders are random so that any output size is reached (Graham 2014): values and
// their places. samples: [N, C, dims] (or [C, dims]) in [0, 1), one per plane and dim; none: drawn
// from the default generator.
std::pair<Tensor, Tensor> fractional_max_pool(int dims, const Tensor& x, const Dims& kernel_size,
                                              const Dims& output_size, const Tensor& samples = {});

// Writes x to the places `indices` of a plane of zeros; indices are range-checked.
Tensor max_unpool(int dims, const Tensor& x, const Tensor& indices, const Dims& kernel_size,
                  const Dims& stride = {}, const Dims& padding = {0},
                  const std::optional<Dims>& output_size = {});

}  // namespace tercel
