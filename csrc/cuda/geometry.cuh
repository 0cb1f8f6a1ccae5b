// Offset of a flat index over strided dims, and sizes of dtypes on the host side of a launcher.
#pragma once

#include "cuda/compat.cuh"

#include "core/dtype.h"

namespace tercel::cuda {

TERCEL_DEVICE int64_t place(int64_t i, int dims, const int64_t* size, const int64_t* stride) {
  int64_t offset = 0;
  for (int d = dims - 1; d > 0; --d) {
    const int64_t q = i / size[d];
    offset += (i - q * size[d]) * stride[d];
    i = q;
  }
  return dims > 0 ? offset + i * stride[0] : 0;
}

inline int item_of(DType t) {
  const int sizes[kNumDTypes] = {8, 4, 2, 2, 1, 1, 1, 1, 2, 4, 8, 1};
  return sizes[static_cast<int>(t)];
}

}  // namespace tercel::cuda
