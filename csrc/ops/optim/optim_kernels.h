// Kernel contracts of the fused multi-tensor optimizers.
//
// A list of tensors is one range of units of kOptimUnit elements (every tensor starts a new unit),
// cut into tasks; nothing is allocated. All buffers of an item are dense with the same order of
// elements. Arithmetic in A (float32; float64 for float64), one rounding per stored value.
#pragma once

#include <stdint.h>

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

inline constexpr int64_t kOptimUnit = 1024;

// One tensor. `dtype` is that of param and grad, `state_dtype` that of the states (equal or wider).
struct OptimItem {
  void* param;
  const void* grad;
  void* state[3];  // SGD: momentum buffer; Adam: exp_avg, exp_avg_sq, max_exp_avg_sq
  int64_t numel;
  int64_t first_unit;
  double a,
      b;  // SGD: a = 1 on the first step; Adam: a = lr / (1 - beta1^t), b = 1 / sqrt(1 - beta2^t)
  DType dtype, state_dtype;
};

// d = +-grad + weight_decay p;  buf = first ? d : momentum buf + (1 - dampening) d;
// p -= lr (momentum == 0 ? d : nesterov ? d + momentum buf : buf)
struct SgdArgs {
  const OptimItem* items;
  int64_t count, units;
  double lr, weight_decay, momentum, dampening;
  bool nesterov, maximize;
};

// g = +-grad (+ weight_decay p, unless decoupled: p *= 1 - lr weight_decay)
// m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2;  vmax = max(vmax, v)
// p -= a m / (b sqrt(v or vmax) + eps)
struct AdamArgs {
  const OptimItem* items;
  int64_t count, units;
  double lr, beta1, beta2, eps, weight_decay;
  bool amsgrad, decoupled, maximize;
};

// partial[u] = sum |x|^p (p = inf: max |x|, 0: nonzeros) of unit u of `grad`, in double.
struct ForeachNormArgs {
  const OptimItem* items;
  int64_t count, units;
  double p;
  double* partial;
};
// param = factor (param * a + grad * b); grad may be null, and factor: 1
struct ForeachAxpbyArgs {
  const OptimItem* items;
  int64_t count, units;
  const double* factor;
};
// param += a (grad - param), written so that a = 1 gives grad exactly
struct ForeachLerpArgs {
  const OptimItem* items;
  int64_t count, units;
};

struct OptimKernels {
  void (*sgd)(const SgdArgs&);
  void (*adam)(const AdamArgs&);
  void (*norm)(const ForeachNormArgs&);
  void (*axpby)(const ForeachAxpbyArgs&);
  void (*lerp)(const ForeachLerpArgs&);
};
TERCEL_KERNEL_TABLE(OptimKernels, optim_kernels)

}  // namespace tercel
