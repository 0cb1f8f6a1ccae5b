// Activation functions: elementwise, differentiable twice; forward and first derivative are one
// kernel each. Float dtypes; `relu`, `relu6` and `hardtanh` take integers too. Formulas stand
// beside the rules in activation.cpp.
#pragma once

#include <optional>

#include "core/autograd.h"
#include "core/random.h"

namespace tercel {

Tensor relu(const Tensor& x);
Tensor& relu_(Tensor& x);
Tensor relu6(const Tensor& x);
Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
// weight: one value, or one per channel (dim 1 of x).
Tensor prelu(const Tensor& x, const Tensor& weight);
// Random slope in [lower, upper] per element when training (He et al. 2015), their mean otherwise.
Tensor rrelu(const Tensor& x, double lower = 1.0 / 8, double upper = 1.0 / 3, bool training = false,
             const Ref<Generator>& generator = {});
Tensor elu(const Tensor& x, double alpha = 1.0);
Tensor celu(const Tensor& x, double alpha = 1.0);
Tensor selu(const Tensor& x);
Tensor gelu(const Tensor& x, const std::string& approximate = "none");  // "none" (erf) or "tanh"
Tensor silu(const Tensor& x);
Tensor mish(const Tensor& x);
Tensor hardswish(const Tensor& x);
Tensor hardsigmoid(const Tensor& x);
Tensor hardtanh(const Tensor& x, double min_val = -1.0, double max_val = 1.0);
Tensor softplus(const Tensor& x, double beta = 1.0, double threshold = 20.0);
Tensor softsign(const Tensor& x);
Tensor tanhshrink(const Tensor& x);
Tensor softshrink(const Tensor& x, double lambd = 0.5);
Tensor hardshrink(const Tensor& x, double lambd = 0.5);
Tensor threshold(const Tensor& x, double threshold, double value);
Tensor logsigmoid(const Tensor& x);
Tensor glu(const Tensor& x, int64_t dim = -1);  // a sigmoid(b), x split in halves a, b along dim

}  // namespace tercel
