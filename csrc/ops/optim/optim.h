// Fused multi-tensor optimizer steps and list operations (updates in place, no gradient is
// recorded).
//
// All lists have one entry per parameter (or are empty where said). A gradient has its parameter's
// shape and dtype; states have the parameter's dtype, or float32 beside a 16-bit parameter. Any
// dense memory layout; tensors whose layout differs from their parameter's are handled through a
// copy. Versions of everything written are bumped. Cost: one read of each buffer, one write of
// parameter and states.
#pragma once

#include "core/autograd.h"

namespace tercel {

struct SgdOptions {
  double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
  bool nesterov = false, maximize = false;
};
// `momentum_buffers`: empty when momentum == 0. `first_step`: per parameter, whether its buffer is
// new (it becomes the gradient, undamped, as in PyTorch); empty = none is.
void sgd_step(const TensorList& params, const TensorList& grads, const TensorList& momentum_buffers,
              const std::vector<bool>& first_step, const SgdOptions& options);

// Kingma, Ba 2015; decoupled: AdamW (Loshchilov, Hutter 2019); amsgrad: Reddi et al. 2018.
struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool amsgrad = false, decoupled = false, maximize = false;
};
// `max_exp_avg_sqs`: empty unless amsgrad. `steps`: one-element float32 or float64 tensors,
// incremented here.
void adam_step(const TensorList& params, const TensorList& grads, const TensorList& exp_avgs,
               const TensorList& exp_avg_sqs, const TensorList& max_exp_avg_sqs,
               const TensorList& steps, const AdamOptions& options);

// ||x||_ord of each tensor (0-d, its dtype); accumulated in double, no overflow.
TensorList foreach_norm(const TensorList& tensors, double ord = 2.0);
// Scales all tensors by min(1, max_norm / (norm + 1e-6)) where norm is that of all of them
// together; returns the norm (0-d, float32 or float64). error_if_nonfinite: RuntimeError, nothing
// is changed.
Tensor clip_grad_norm_(const TensorList& grads, double max_norm, double norm_type = 2.0,
                       bool error_if_nonfinite = false);
void foreach_mul_(const TensorList& tensors, double factor);
// self += weight (end - self)
void foreach_lerp_(const TensorList& self, const TensorList& end, double weight);

}  // namespace tercel
