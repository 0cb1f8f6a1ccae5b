// Kernel contract of the ranges: each element is computed from its index alone, in double or int64,
// and rounded once (float16, bfloat16 and fp8 by way of float32).
#pragma once

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// out[i] = i < half ? start + i step : end - (n - 1 - i) step, contiguous. `integer` selects exact
// int64 arithmetic with istart, istep (half is then n).
struct RangeArgs {
  void* out;
  int64_t n;
  int64_t half;
  DType dtype;
  bool integer;
  int64_t istart, istep;
  double start, end, step;
};
// istart + i istep: the element fits, the product need not.
TERCEL_INLINE int64_t range_element(const RangeArgs& a, int64_t i) {
  return static_cast<int64_t>(static_cast<uint64_t>(a.istart) +
                              static_cast<uint64_t>(i) * static_cast<uint64_t>(a.istep));
}
TERCEL_INLINE double range_value(const RangeArgs& a, int64_t i) {
  if (a.integer) return static_cast<double>(range_element(a, i));
  return i < a.half ? a.start + static_cast<double>(i) * a.step
                    : a.end - static_cast<double>(a.n - 1 - i) * a.step;
}

struct CreationKernels {
  void (*range)(const RangeArgs&);
};
TERCEL_KERNEL_TABLE(CreationKernels, creation_kernels)

}  // namespace tercel
