// Shared by the .cpp files of the family: geometry, output shapes, and undoing a reduction in a
// gradient.
#pragma once

#include "ops/copy/copy.h"
#include "ops/reduce/reduce.h"
#include "ops/reduce/reduce_kernels.h"

namespace tercel {

// Shape of x with the dims of `mask` removed or kept as 1.
Shape reduced_shape(const Shape& shape, uint32_t mask, bool keepdim);
// Number of elements per output.
int64_t reduced_count(const Shape& shape, uint32_t mask);
// x if its layout is one the kernels read well, else a contiguous copy.
Tensor readable(const Tensor& x, uint32_t mask);
void fill_geometry(const Tensor& x, uint32_t mask, ReduceGeometry* g);

Tensor run_reduce(const Tensor& x, uint32_t mask, bool keepdim, ReduceOp op, ReduceLoad load,
                  ReducePost post, DType acc, DType out);

// `y` of the reduced shape, with the reduced dims back as size 1 ...
Tensor with_dims(const Tensor& y, uint32_t mask, bool keepdim);
// ... and expanded to `shape`.
Tensor spread(const Tensor& y, uint32_t mask, bool keepdim, const Shape& shape);

// What every reduction node keeps to undo the shapes.
struct ReduceNode : Node {
  Shape shape;
  DType dtype;
  uint32_t mask;
  bool keepdim;
  void describe(const Tensor& x, uint32_t reduced, bool keep) {
    shape = x.shape();
    dtype = x.dtype();
    mask = reduced;
    keepdim = keep;
  }
  Tensor spread_grad(const Tensor& g) const { return spread(to(g, dtype), mask, keepdim, shape); }
};

// Tensor along one dim as contiguous [outer, n, inner].
struct ScanShape {
  int64_t outer = 1, n = 1, inner = 1;
  ScanShape(const Shape& shape, int dim);
};
// prod of x before (reverse: after) each position along dim.
Tensor exclusive_cumprod(const Tensor& x, int64_t dim, bool reverse);

// Raises unless every reduced dim has elements (or nothing is asked for).
void check_not_empty(const Tensor& x, uint32_t mask, const char* op);

}  // namespace tercel
