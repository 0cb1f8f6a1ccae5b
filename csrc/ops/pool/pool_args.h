// Arguments and kernel table of the pooling family (pool.h has the public functions).
//
// A window is a product of one index list per dimension, start[o], start[o] + step, ... (count[o]
// of them, all inside the input), so one kernel serves plain, dilated, ceil-mode and adaptive
// pooling. Dimensions are z, y, x; missing ones have size 1.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

struct PoolWindows {
  int64_t in[3], out[3], step[3];
  const int64_t* start[3];    // [out]
  const int64_t* count[3];    // [out]
  const int64_t* divisor[3];  // [out], average only
  // x windows are regular: start = o * stride - pad before clipping
  bool regular;
  int64_t kernel, stride, pad;
};

// y[p, o] = max or sum / divisor of x over the window of o, p < planes. x, y contiguous.
struct PoolArgs {
  PoolWindows windows;
  const void* x;
  void* y;
  void* indices;    // of the maximum in its plane; null, or
  int index_bytes;  // 4 or 8 bytes each
  DType dtype;
  int64_t planes;
  bool average;
  double divisor_override;  // 0: the product of the divisors
};

// Average: dx[p, i] = sum over the windows that hold i of dy[p, o] / divisor. float32 or float64.
struct PoolAverageGradArgs {
  PoolWindows windows;
  const void* dy;
  void* dx;
  DType dtype;
  int64_t planes;
  double divisor_override;
};

// scatter: dst[p, index[p, j]] += src[p, j] (or = with `assign`), the rest 0; gather: dst[p, j] =
// src[p, index]. Indices must be in range. `width` src entries and `size` dst entries per plane
// (gather: the reverse).
struct PoolIndexArgs {
  const void* src;
  const void* indices;
  int index_bytes;
  void* dst;
  DType dtype;
  int64_t planes, width, size;
  bool assign;
};

struct PoolKernels {
  void (*forward)(const PoolArgs&);
  void (*average_grad)(const PoolAverageGradArgs&);
  void (*scatter)(const PoolIndexArgs&);
  void (*gather)(const PoolIndexArgs&);
};
TERCEL_KERNEL_TABLE(PoolKernels, pool_kernels)

}  // namespace tercel
