// Dropout (Srivastava et al. 2014): y = x / (1 - p) with probability 1 - p, else 0; the identity
// when not training or p = 0, zero when p = 1.
//
// x: float64, float32, float16 or bfloat16, any strides. One random number per element (or per
// channel of [B, C, ...] for the feature variants) from the default generator: the same numbers for
// any thread count and dtype. Saved for backward: one bit per number. Gradients of any order.
// `inplace` overwrites x. Errors: ValueError unless 0 <= p <= 1. Cost: one read and one write of x.
#pragma once

#include "core/autograd.h"

namespace tercel {

Tensor dropout(const Tensor& x, double p = 0.5, bool training = true, bool inplace = false);
// Dropped elements take the value that keeps SELU activations at mean 0 and variance 1 (Klambauer
// et al. 2017).
Tensor alpha_dropout(const Tensor& x, double p = 0.5, bool training = false, bool inplace = false);
// One decision for each (sample, channel); x has at least 2 dims.
Tensor feature_dropout(const Tensor& x, double p = 0.5, bool training = true, bool inplace = false);
Tensor feature_alpha_dropout(const Tensor& x, double p = 0.5, bool training = false,
                             bool inplace = false);
// The same by layer: [B, C, L] or [C, L]; [B, C, H, W]; [B, C, D, H, W] or [C, D, H, W].
Tensor dropout1d(const Tensor& x, double p = 0.5, bool training = true, bool inplace = false);
Tensor dropout2d(const Tensor& x, double p = 0.5, bool training = true, bool inplace = false);
Tensor dropout3d(const Tensor& x, double p = 0.5, bool training = true, bool inplace = false);

}  // namespace tercel
