// out= and in-place variants of the three-operand ops, for the bindings. `out` may be null.
#pragma once

#include "ops/elementwise/elementwise.h"

namespace tercel {

Tensor where_out(const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor* out);
// Raises unless the bounds of clamp (one may be null) fit the result's dtype.
void check_bounds(const char* op, const Tensor& x, const Tensor* min, const Tensor* max);
Tensor clamp_out(const Tensor& x, const std::optional<Tensor>& min,
                 const std::optional<Tensor>& max, const Tensor* out);
Tensor lerp_out(const Tensor& a, const Tensor& b, const Tensor& w, const Tensor* out);
Tensor addcmul_out(const Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value,
                   const Tensor* out);
Tensor addcdiv_out(const Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value,
                   const Tensor* out);
Tensor& lerp_(Tensor& a, const Tensor& b, const Tensor& w);
Tensor& addcmul_(Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value);
Tensor& addcdiv_(Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value);

}  // namespace tercel
