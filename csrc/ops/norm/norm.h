// Normalisation: y = (x - mean) / sqrt(var + eps) * weight + bias with mean and (biased) variance
// over
//   layer_norm      the last dims (normalized_shape)       weight, bias [normalized_shape]
//   rms_norm        the same, mean taken as 0               weight [normalized_shape]
//   group_norm      (C / G) * S elements of each sample     weight, bias [C]
//   instance_norm   S elements of each channel of a sample  weight, bias [C]
//   batch_norm      B * S elements of each channel          weight, bias [C]
// for x = [B, C, S...].
//
// Common to all: x is float64, float32, float16 or bfloat16, any strides; y has its dtype.
// Parameters and running statistics have x's dtype, or float32 with a 16-bit x. Undefined weight =
// 1, undefined bias = 0. Statistics: about a mean in float32 (float64 for float64) per cache block,
// blocks merged in double in index order; the bits depend neither on threads nor, except batch_norm
// in training, on the other samples. Saved for backward: x, weight and the two statistics, only as
// far as a needed gradient uses them. Gradients of any order. Cost: memory traffic, one read and
// one write (batch_norm training: two reads).
#pragma once

#include <optional>

#include "core/autograd.h"

namespace tercel {

// Ba, Kiros, Hinton 2016.
Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);
// Zhang, Sennrich 2019. eps: default the machine epsilon of x's dtype.
Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                std::optional<double> eps = {});
// {norm(s), s} with s = x + residual, rounded to their dtype: one pass over memory, the bits of the
// two calls. x and residual have one shape and dtype.
std::pair<Tensor, Tensor> add_layer_norm(const Tensor& x, const Tensor& residual,
                                         const Shape& normalized_shape, const Tensor& weight = {},
                                         const Tensor& bias = {}, double eps = 1e-5);
std::pair<Tensor, Tensor> add_rms_norm(const Tensor& x, const Tensor& residual,
                                       const Shape& normalized_shape, const Tensor& weight = {},
                                       std::optional<double> eps = {});
// Wu, He 2018. num_groups divides C.
Tensor group_norm(const Tensor& x, int64_t num_groups, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);
// Ioffe, Szegedy 2015. training: statistics of this batch (B * S > 1), and the running ones, if
// defined, are updated in place: r = (1 - momentum) r + momentum * batch, with the unbiased
// variance. Otherwise the running statistics are used.
Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                  const Tensor& weight = {}, const Tensor& bias = {}, bool training = false,
                  double momentum = 0.1, double eps = 1e-5);
// Ulyanov et al. 2016. Running statistics are averages over the samples.
Tensor instance_norm(const Tensor& x, const Tensor& running_mean = {},
                     const Tensor& running_var = {}, const Tensor& weight = {},
                     const Tensor& bias = {}, bool use_input_stats = true, double momentum = 0.1,
                     double eps = 1e-5);

// x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta (Krizhevsky et al.
// 2012).
Tensor local_response_norm(const Tensor& x, int64_t size, double alpha = 1e-4, double beta = 0.75,
                           double k = 1.0);
// x / max(||x||_p over dim, eps)
Tensor normalize(const Tensor& x, double p = 2.0, const Dims& dim = {1}, double eps = 1e-12);

}  // namespace tercel
