// Arguments and kernel table of interpolation: y = product of one weighted index list per
// dimension.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// Output coordinate o of a dimension reads index[o * taps + t] with weight[o * taps + t].
struct ResampleDim {
  int64_t in, out;
  int taps;
  const int64_t* index;
  const double* weight;
};

// The same as lists, for CUDA: dst[c] = sum over k in [first[c], first[c + 1]) of weight[k] *
// src[place[k]], forward and adjoint alike.
struct ResampleLists {
  struct Dim {
    int64_t src, dst;
    const int64_t *first, *place;
    const double* weight;
  } dim[3];
};

// forward: y[p, o] = sum over taps of weights * x[p, index]; src = x [planes, in...], dst = y
// [planes, out...]. adjoint: src = y's gradient [planes, out...], dst = x's gradient. Contiguous,
// dimensions z, y, x.
struct ResampleArgs {
  const void* src;
  void* dst;
  DType dtype;  // adjoint: float32 or float64
  int64_t planes;
  ResampleDim dim[3];
  ResampleLists lists;  // CUDA only, in the place of `dim`
  void* rows;           // kResampleChunks * in[2] compute elements
};
inline constexpr int64_t kResampleChunks = 64;  // planes are split into at most so many chunks

struct ResampleKernels {
  void (*forward)(const ResampleArgs&);
  void (*adjoint)(const ResampleArgs&);
};
TERCEL_KERNEL_TABLE(ResampleKernels, resample_kernels)

}  // namespace tercel
