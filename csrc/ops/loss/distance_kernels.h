// Contract between cdist, pdist and their kernel.
#pragma once

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

enum class Distance : uint8_t { l1, l2, linf };

// Rows of `b` that are computed together, one in each lane of a vector.
constexpr int64_t distance_lanes(DType dtype) { return dtype == DType::f64 ? 8 : 16; }

// out[n, i, j] = |a[n, i, :] - b[n, j, :]|_p. Arrays are contiguous, of one dtype (f32 or f64).
// `panels` holds B ceil(R / lanes) M lanes elements. With `pairs` B is 1, b is a, and out holds the
// distances of i < j, one row after the other.
struct DistanceArgs {
  const void* a;  // [B, P, M]
  const void* b;  // [B, R, M]
  void* out;      // [B, P, R]
  void* panels;
  int64_t B, P, R, M;
  DType dtype;
  Distance kind;
  bool pairs;
};

struct DistanceKernels {
  void (*fwd)(const DistanceArgs&);
};
TERCEL_KERNEL_TABLE(DistanceKernels, distance_kernels)

}  // namespace tercel
