// Contract between ctc_loss and its kernels.
#pragma once

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// States of one sample: blank, t_0, blank, t_1, ..., blank (2 targets + 1). Rows of states are
// `row` doubles long: kCtcPad of padding, the states, and padding up to whole vectors.
inline constexpr int64_t kCtcPad = 8;

struct CtcArgs {
  const void* log_probs;          // [T, N, C], contiguous, f32 or f64
  const int64_t* targets;         // sample n starts at target_offset[n]
  const int64_t* target_offset;   // [N]
  const int64_t* input_lengths;   // [N]
  const int64_t* target_lengths;  // [N]
  double* alpha;                  // [N, T, row]: log of the total probability of prefixes
  double* nll;                    // [N]
  double* workspace;              // [N, 4 row + C]
  int64_t frames, samples, classes, row, blank;
  DType dtype;
  // backward only
  const double* g;  // [N], gradient of nll
  void* dx;         // like log_probs
  bool zero_infinity;
};

struct CtcKernels {
  void (*fwd)(const CtcArgs&);
  void (*bwd)(const CtcArgs&);
};
TERCEL_KERNEL_TABLE(CtcKernels, ctc_kernels)

}  // namespace tercel
