// Copies, casts and fills: everything that moves values without computing on them.
#pragma once

#include <optional>

#include "core/autograd.h"
#include "core/scalar.h"

namespace tercel {

// dst[i] = src[i] with broadcasting of src and conversion to dst's dtype (floats round to nearest
// even, fp8 saturates, float to integer truncates). No checks on grad, no history: the building
// block.
// Between devices it waits for the copy unless `non_blocking`.
void strided_copy(const Tensor& dst, const Tensor& src, bool non_blocking = false);
// dst[i] += src[i] in index order, for a dst whose elements may share memory. Same shape and dtype.
void strided_add(const Tensor& dst, const Tensor& src);

Tensor clone(const Tensor& t);  // keeps dense strides
Tensor clone_contiguous(const Tensor& t);
Tensor contiguous(const Tensor& t);       // t itself if it is
Tensor to(const Tensor& t, DType dtype);  // t itself if it has the dtype
Tensor to_copy(const Tensor& t, DType dtype);
// t itself if it is there; keeps dense strides, differentiable.
Tensor to_device(const Tensor& t, Device device, bool non_blocking = false);
// A 1-d table of the host, contiguous and not to be written, in the memory of `device`. Small ones
// are kept there: a second call with the same contents copies nothing, waits for nothing, and can
// be captured in a CUDA graph.
Tensor device_constant(const Tensor& host, Device device);
Tensor pin_memory(const Tensor& t);  // copy in page-locked host memory
Tensor& copy_(Tensor& dst, const Tensor& src, bool non_blocking);
Tensor& copy_(Tensor& dst, const Tensor& src);
Tensor& fill_(Tensor& t, const Scalar& value);
Tensor& zero_(Tensor& t);

Tensor zeros(const Shape& shape, DType dtype, Device device = {});
Tensor ones(const Shape& shape, DType dtype, Device device = {});
Tensor full(const Shape& shape, const Scalar& value, DType dtype, Device device = {});
Tensor zeros_like(const Tensor& t);
Tensor zeros_like(const Tensor& t, DType dtype);
Tensor ones_like(const Tensor& t);
Tensor full_like(const Tensor& t, const Scalar& value);

// Sums the dims along which `shape` was broadcast to t's shape.
Tensor sum_to(const Tensor& t, const Shape& shape);

// Raises OverflowError if the number does not fit the dtype (integers only).
void check_fits(const Scalar& value, DType dtype, const char* op);
// The same for a number that was given in place of a tensor.
void check_fits(const Tensor& number, DType dtype, const char* op);

}  // namespace tercel
