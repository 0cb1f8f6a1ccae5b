// Kernel contract of the copy family.
#pragma once

#include <cstdint>

#include "core/kernel_table.h"

namespace tercel {

// dst[0 .. numel) = pattern, contiguous. Bytes written: numel * itemsize.
struct FillArgs {
  void* dst;
  int64_t numel;
  int itemsize;      // 1, 2, 4 or 8
  uint64_t pattern;  // bits of one element
};

struct CopyKernels {
  void (*fill)(const FillArgs&);
};
TERCEL_KERNEL_TABLE(CopyKernels, copy_kernels)

}  // namespace tercel
