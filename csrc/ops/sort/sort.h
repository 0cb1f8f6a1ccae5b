// Sorting and selection along a dim. Order: NaN is the largest value (last ascending, first
// descending), -0 equals +0. Every sort is stable, in both directions, whatever `stable` says; topk
// breaks ties towards the smaller index. All dtypes; values are differentiable (the gradient goes
// back to the chosen elements).
#pragma once

#include <optional>
#include <tuple>

#include "core/tensor.h"

namespace tercel {

using ValuesIndices = std::tuple<Tensor, Tensor>;  // indices int64

ValuesIndices sort(const Tensor& x, int64_t dim = -1, bool descending = false, bool stable = false);
Tensor argsort(const Tensor& x, int64_t dim = -1, bool descending = false, bool stable = false);
// The k largest (smallest) along dim; `sorted` is always honoured.
ValuesIndices topk(const Tensor& x, int64_t k, int64_t dim = -1, bool largest = true,
                   bool sorted = true);
// The k-th smallest, k from 1.
ValuesIndices kthvalue(const Tensor& x, int64_t k, int64_t dim = -1, bool keepdim = false);
Tensor msort(const Tensor& x);

}  // namespace tercel
