// Contracts between softmax, log_softmax, logsumexp, cross entropy and their kernels.
//
// Tensors are contiguous [outer, n, inner]; the op runs along n. float16 and bfloat16 compute in
// float32. The maximum is subtracted first; sums are chains of 16 per lane, then a chain of blocks,
// the same for avx2 and avx512 and independent of outer and inner.
#pragma once

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// y = exp(x - max) / sum exp(x - max), or its logarithm. x and y may be the same memory.
// A row of -inf gives NaN. Reads x once from memory, writes y once.
struct SoftmaxArgs {
  const void* x;
  void* y;
  int64_t outer, n, inner;
  DType dtype;
  bool log;
};

// dx = y (g - sum g y), or g - exp(y) sum g for the logarithm.
struct SoftmaxBwdArgs {
  const void* y;
  const void* g;
  void* dx;
  int64_t outer, n, inner;
  DType dtype;
  bool log;
};

// lse[outer, inner] = log sum exp(x) in dtype `out`; -inf for rows of -inf, n = 0 gives -inf.
struct LogSumExpArgs {
  const void* x;
  void* lse;
  int64_t outer, n, inner;
  DType dtype, out;
};

// Cross entropy with class indices, per sample i = (outer, inner) with target t:
//   loss_i = (1 - eps) w_t (lse - x_t) + eps / n * sum_c w_c (lse - x_c);  0 if t == ignore_index.
// lse is kept as the maximum m and log sum exp(x - m) (lse[0..samples) and lse[samples..)), so that
// the probabilities exp((x - m) - log_sum) are accurate for logits of any size. lse, loss and
// weight are float32 (float64 for float64). Targets are in range (checked before; by the kernel
// on a GPU).
struct CrossEntropyFwdArgs {
  const void* x;
  const int64_t* target;
  const void* weight;  // [n] in the accumulation dtype, or null
  void* lse;
  void* loss;
  int64_t outer, n, inner;
  int64_t ignore_index;
  double smoothing;
  DType dtype;
};
// dx_c = scale_i ((1 - eps) w_t (p_c - [c == t]) + eps / n (W p_c - w_c)), W = sum of weights.
struct CrossEntropyBwdArgs {
  const void* x;
  const int64_t* target;
  const void* weight;
  const void* lse;
  const void* scale;  // accumulation dtype; one per sample, or one for all
  bool scale_per_sample;
  void* dx;
  int64_t outer, n, inner;
  int64_t ignore_index;
  double smoothing;
  DType dtype;
};

struct SoftmaxKernels {
  void (*softmax)(const SoftmaxArgs&);
  void (*softmax_bwd)(const SoftmaxBwdArgs&);
  void (*logsumexp)(const LogSumExpArgs&);
};
TERCEL_KERNEL_TABLE(SoftmaxKernels, softmax_kernels)

struct CrossEntropyKernels {
  void (*fwd)(const CrossEntropyFwdArgs&);
  void (*bwd)(const CrossEntropyBwdArgs&);
};
TERCEL_KERNEL_TABLE(CrossEntropyKernels, cross_entropy_kernels)

}  // namespace tercel
