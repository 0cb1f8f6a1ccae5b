// In-place changes of a tensor's geometry that may give it other memory, and writes along its
// diagonal.
#pragma once

#include "core/autograd.h"

namespace tercel {

// Gives t the shape, contiguous, from where it begins. Memory is kept where it suffices; otherwise
// t gets new memory that begins with the old elements, the rest unspecified. Raises for a tensor
// that requires grad, and for a view whose storage is too small (its base would be left behind).
Tensor& resize_(Tensor& t, const Shape& shape);

// Writes value along the main diagonal: of a matrix, or of a cube-like tensor of 3 and more dims of
// one size. wrap: in a tall matrix the diagonal starts again after every N rows and one more.
Tensor& fill_diagonal_(Tensor& t, const Scalar& value, bool wrap = false);

}  // namespace tercel
