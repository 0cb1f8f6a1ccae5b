#include "ops/copy/out.h"

#include "ops/copy/copy.h"

namespace tercel {

void check_cast(const char* op, DType result, DType target) {
  const bool loses =
      (is_float(result) && !is_float(target)) || (!is_bool(result) && is_bool(target));
  TERCEL_CHECK(!loses, Runtime, op, ": the result has dtype ", dtype_name(result),
               ", which cannot be cast to the output's dtype ", dtype_name(target));
}

void fit_out(const char* op, const Tensor& out, const Shape& shape) {
  if (out.shape() == shape) return;
  TERCEL_CHECK(out.numel() == 0, Shape, op, ": out must have shape ", shape,
               " or no elements, got ", out.shape());
  TERCEL_CHECK(!out.is_view() && !out.requires_grad(), Runtime, op, ": out must have shape ", shape,
               "; an empty view, or a tensor that requires grad, is not resized");
  const Tensor room = empty(shape, out.dtype(), out.device());
  out.impl()->set_geometry(room.storage(), 0, shape, room.strides());
}

Tensor into_out(const Tensor& result, const OptionalOut& out, const char* op) {
  if (!out || !out->defined()) return result;
  TERCEL_CHECK(!grad_needed(*out, result), Runtime, op,
               ": out= does not record gradients; call it under no_grad");
  check_cast(op, result.dtype(), out->dtype());
  fit_out(op, *out, result.shape());
  Tensor target = *out;
  return copy_(target, result);
}

Tensor kept(const Tensor& self) { return grad_needed(self) ? clone(self) : self; }

}  // namespace tercel
