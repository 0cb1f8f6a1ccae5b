// Kernel table of special functions that only derivatives of common ones need.
#pragma once

#include "core/kernel_table.h"
#include "ops/elementwise/op.h"

namespace tercel {

struct SpecialKernels {
  Op polygamma;  // params: order
  Op i1;
};
TERCEL_KERNEL_TABLE(SpecialKernels, special_kernels)

}  // namespace tercel
