// Contract between the pointwise losses and their kernels.
#pragma once

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

enum class PointwiseLoss : uint8_t { mse, l1, smooth_l1, huber, bce, bce_logits };

// Arrays are contiguous, of one dtype (f32, f64, f16, bf16).
// elementwise: out[i] = f(x[i], t[i]).  reduced: *out = scale * sum f, out in dtype; workspace
// holds ceil(n / kLossBlock) values of the accumulation dtype; blocks are added as a balanced tree.
inline constexpr int64_t kLossBlock = 4096;
struct PointwiseLossArgs {
  const void* x;
  const void* t;
  void* out;
  void* workspace;
  int64_t n;
  double param;    // beta or delta
  double divisor;  // of the reduced sum
  DType dtype;
  PointwiseLoss kind;
  bool reduced;
};

// dx[i] = g f'(x[i], t[i]) / divisor; g has one element or n.
struct PointwiseLossBwdArgs {
  const void* x;
  const void* t;
  const void* g;
  void* dx;
  int64_t n;
  double param;
  double divisor;
  DType dtype;
  PointwiseLoss kind;
  bool g_per_element;
};

struct LossKernels {
  void (*fwd)(const PointwiseLossArgs&);
  void (*bwd)(const PointwiseLossBwdArgs&);
};
TERCEL_KERNEL_TABLE(LossKernels, loss_kernels)

}  // namespace tercel
