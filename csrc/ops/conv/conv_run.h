// From checked geometry to kernel launches; no autograd. All tensors contiguous, one dtype.
#pragma once

#include "ops/conv/conv_plan.h"

namespace tercel {

enum class ConvAlgorithm : uint8_t { automatic, direct, winograd };

// Chosen by the shape of one sample and the dtype only, never by batch or threads.
ConvAlgorithm choose_algorithm(const ConvGeometry& g, DType dtype, ConvAlgorithm asked);

Tensor run_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g,
                   ConvAlgorithm algorithm);
// `bias` (one per input channel) may be undefined; transposed convolution passes its own.
Tensor run_input_grad(const Tensor& dy, const Tensor& w, const Tensor& bias, const ConvGeometry& g,
                      ConvAlgorithm algorithm);
Tensor run_weight_grad(const Tensor& x, const Tensor& dy, const ConvGeometry& g);

}  // namespace tercel
