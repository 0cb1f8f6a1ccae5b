// out=: the result of an op goes into a tensor of the caller.
//
// `out` must have the result's shape, or hold no elements: then it takes the shape (fresh memory of
// its own dtype), as PyTorch's users expect of torch.empty(0). Its dtype may differ where the cast
// keeps the kind of number (float to integer is refused). No gradient is recorded.
#pragma once

#include <optional>
#include <utility>

#include "core/autograd.h"

namespace tercel {

using OptionalOut = std::optional<Tensor>;
using OptionalOutPair = std::optional<std::pair<Tensor, Tensor>>;

// Raises unless a result of this dtype may be stored as `target`.
void check_cast(const char* op, DType result, DType target);
// Checks the shape of `out`, or gives it the shape if it is empty.
void fit_out(const char* op, const Tensor& out, const Shape& shape);
// `result` itself, or `out` after copying the result into it.
Tensor into_out(const Tensor& result, const OptionalOut& out, const char* op);
// What an in-place call computes from when it writes its result over self: a copy if a function
// may keep it for backward.
Tensor kept(const Tensor& self);

}  // namespace tercel
