// Kernel contracts of the dropout family.
//
// Element i of a call belongs to group i / 64 and reads word (i % 64) / 16 of Philox block
// 16 (i / 64) + i % 16, so a group is four vectors of sixteen. It is kept when the word >=
// threshold. The mask holds one bit per element, element i in bit i % 16 of word i / 16.
#pragma once

#include <stdint.h>

#include "core/dtype.h"
#include "core/kernel_table.h"
#include "core/random.h"

namespace tercel {

inline constexpr int64_t kDropoutGroup = 64;
inline int64_t dropout_groups(int64_t n) { return (n + kDropoutGroup - 1) / kDropoutGroup; }
inline int64_t dropout_mask_bytes(int64_t n) { return dropout_groups(n) * 8; }

// y = keep ? scale x + shift : dropped. y may be x. x, y null: only the mask is made.
struct DropoutArgs {
  const void* x;
  void* y;
  uint16_t* mask;  // out, or null if not wanted
  int64_t n;
  PhiloxKey key;
  uint32_t threshold;
  double scale, shift, dropped;
  DType dtype;
};

// y = keep ? scale x + shift : dropped with a given mask; `inner` consecutive elements share one
// bit.
struct MaskApplyArgs {
  const void* x;
  void* y;
  const uint16_t* mask;
  int64_t n, inner;
  double scale, shift, dropped;
  DType dtype;
};

struct DropoutKernels {
  void (*dropout)(const DropoutArgs&);
  void (*apply)(const MaskApplyArgs&);
};
TERCEL_KERNEL_TABLE(DropoutKernels, dropout_kernels)

}  // namespace tercel
