// The rules of the two-operand ops, shared by their implementation and the bindings.
#pragma once

#include "core/scalar.h"
#include "ops/elementwise/rules.h"

namespace tercel {

extern const BinaryRule kAdd, kAddScaled, kSub, kMul, kDiv, kFloorDivide, kTruncDivide, kFloorMode,
    kRemainder, kFmod;
extern const BinaryRule kPow, kMaximum, kMinimum, kFmax, kFmin, kClampMin, kClampMax, kAtan2,
    kHypot, kCopysign;
extern const BinaryRule kXlogy, kLogaddexp, kLogaddexp2, kNextafter, kHeaviside, kLdexp, kGcd, kLcm;
extern const BinaryRule kEq, kNe, kLt, kLe, kGt, kGe, kIsclose, kLogicalAnd, kLogicalOr,
    kLogicalXor;
extern const BinaryRule kBitwiseAnd, kBitwiseOr, kBitwiseXor, kShiftLeft, kShiftRight;

// a + sign alpha b; `plain` (kAdd or kSub) serves alpha = 1.
Tensor add_scaled(const BinaryRule& plain, double sign, const Tensor& a, const Tensor& b,
                  const Scalar& alpha, const Tensor* out = nullptr);
Tensor& add_scaled_(const BinaryRule& plain, double sign, Tensor& a, const Tensor& b,
                    const Scalar& alpha);
// Kernels take alpha and value as doubles: of an integer for int32 arithmetic the low bits, for
// int64 what a double holds.
double scale_param(const Scalar& v, DType result);
bool scale_param_holds(const Scalar& v, DType result);
void check_integer_power(const Tensor& a, const Tensor& b);

}  // namespace tercel
