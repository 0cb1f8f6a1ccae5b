// The few operations the autograd engine itself performs on gradients. Declared here because core
// knows no op family; implemented in ops/.
#pragma once

#include "core/tensor.h"

namespace tercel {

Tensor add(const Tensor& a, const Tensor& b);
void accumulate_(const Tensor& into, const Tensor& value);  // into += value, no history
Tensor clone(const Tensor& t);
Tensor zeros(const Shape& shape, DType dtype, Device device = {});
Tensor ones(const Shape& shape, DType dtype, Device device = {});
Tensor to(const Tensor& t, DType dtype);
Tensor sum_to(const Tensor& t, const Shape& shape);  // reverse of broadcasting
Tensor as_strided(const Tensor& t, const Shape& shape, const Strides& strides, int64_t offset);
// Gradient of a tensor of (base_shape, base_strides) from the gradient `g` of the view of its
// memory with `strides` and g's shape at `offset`; overlapping elements are summed.
Tensor as_strided_adjoint(const Tensor& g, const Shape& base_shape, const Strides& base_strides,
                          const Strides& strides, int64_t offset);
Tensor& copy_(Tensor& dst, const Tensor& src);
bool has_nan(const Tensor& t);

}  // namespace tercel
