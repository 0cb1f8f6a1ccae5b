// A checked scatter, shared by scatter and scatter_reduce (private to this folder).
#pragma once

#include "core/tensor.h"
#include "ops/index/index_kernels.h"

namespace tercel {

struct ScatterPlan {
  int dim;
  Tensor index;  // int64, contiguous, every value in range
  bool value;    // src is one value for all positions
};

// Checks everything before a single element is written.
ScatterPlan check_scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
                          const char* op);
void run_scatter(const Tensor& x, const ScatterPlan& s, const Tensor& src, Combine combine);
// Zeros of `shape` with t in the corner at the origin: the gradient of the part of src that index
// covers.
Tensor place_in_corner(const Tensor& t, const Shape& shape);

}  // namespace tercel
