// Softmax family along one dim. dtypes: every float (float8 computes through float32).
//
// softmax: y = exp(x - max) / sum exp(x - max). `dtype` converts x first. Rows of -inf, or with NaN
// or +inf, give NaN. Error: rows sum to 1 within 4 eps; log_softmax within 2 ulp of max |x|.
// Independent of the other rows and of the number of threads. The output is saved for backward (one
// fused pass). Errors: dim out of range, integer dtype. Cost: one read and one write of the tensor.
#pragma once

#include <optional>

#include "core/autograd.h"

namespace tercel {

Tensor softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
Tensor log_softmax(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
Tensor softmin(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});  // softmax(-x)

// [outer, n, inner] around `dim`.
struct DimSplit {
  int64_t outer, n, inner;
};
DimSplit split_at_dim(const Shape& shape, int dim);

}  // namespace tercel
