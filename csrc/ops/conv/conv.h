// Convolution in one, two and three dimensions, its transpose, and both gradients.
//
//   y[n, o, p] = bias[o] + sum_{c, k} w[o, c, k] x[n, group(o) C + c, p stride + k dilation -
//   padding]
//
// Shapes: x [N, groups C, in...] or unbatched [groups C, in...]; w [groups O, C, kernel...]; bias
// [groups O]; y [N, groups O, out...]. dtypes float64, float32, float16, bfloat16, all operands the
// same; 16-bit formats accumulate in float32 and round once. Inputs of any strides (copied if not
// contiguous). Numerics: one fused-multiply-add chain per output in the order (c, k), so a sample's
// result depends neither on its batch nor on the threads, and float32 is equal on avx2 and avx512.
// With algorithm="auto", float32 3x3 convolutions whose sample is large enough use Winograd's
// F(4x4, 3x3), with the error bound of reliability contract N7, and 1x1 convolutions are matrix
// products with the sums of gemm.h. Gradients are differentiable any number of times. Cost: 2 N
// groups O C K P flops.
#pragma once

#include <optional>

#include "core/autograd.h"

namespace tercel {

// A value per spatial dimension, or one for all. `algorithm`: "auto", "direct" or "winograd".
Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
              const Dims& stride = {1}, const Dims& padding = {0}, const Dims& dilation = {1},
              int64_t groups = 1, const std::string& algorithm = "auto");
Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
              const Dims& stride = {1}, const Dims& padding = {0}, const Dims& dilation = {1},
              int64_t groups = 1, const std::string& algorithm = "auto");
Tensor conv3d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
              const Dims& stride = {1}, const Dims& padding = {0}, const Dims& dilation = {1},
              int64_t groups = 1, const std::string& algorithm = "auto");

// Padding "valid" (none) or "same" (output size = input size, stride 1; an odd total pads the end
// more).
Tensor conv_named_padding(int dims, const Tensor& input, const Tensor& weight, const Tensor& bias,
                          const Dims& stride, const std::string& padding, const Dims& dilation,
                          int64_t groups, const std::string& algorithm);

// The adjoint of convN in its input. weight [groups C, O, kernel...], input [N, groups C, in...].
Tensor conv_transpose1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const Dims& stride = {1}, const Dims& padding = {0},
                        const Dims& output_padding = {0}, int64_t groups = 1,
                        const Dims& dilation = {1});
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const Dims& stride = {1}, const Dims& padding = {0},
                        const Dims& output_padding = {0}, int64_t groups = 1,
                        const Dims& dilation = {1});
Tensor conv_transpose3d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const Dims& stride = {1}, const Dims& padding = {0},
                        const Dims& output_padding = {0}, int64_t groups = 1,
                        const Dims& dilation = {1});

// The gradients by themselves: of input (shape `input_size`) and of weight (shape `weight_size`),
// given the gradient of the output. Rank 3, 4 or 5 (batched).
Tensor conv_input_grad(const Shape& input_size, const Tensor& weight, const Tensor& grad_output,
                       const Dims& stride = {1}, const Dims& padding = {0},
                       const Dims& dilation = {1}, int64_t groups = 1);
Tensor conv_weight_grad(const Tensor& input, const Shape& weight_size, const Tensor& grad_output,
                        const Dims& stride = {1}, const Dims& padding = {0},
                        const Dims& dilation = {1}, int64_t groups = 1);

}  // namespace tercel
