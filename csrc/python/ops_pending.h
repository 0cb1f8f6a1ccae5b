// Declarations of ops that have not landed yet.
#pragma once
#include "core/autograd.h"
namespace tercel {
// clang-format off
#define P2(n) Tensor n(const Tensor& a, const Tensor& b); Tensor& n##_(Tensor& a, const Tensor& b);
P2(sub) P2(mul) P2(div) P2(floor_divide) P2(remainder) P2(pow) P2(bitwise_and) P2(bitwise_or) P2(bitwise_xor)
Tensor add(const Tensor& a, const Tensor& b); Tensor& add_(Tensor& a, const Tensor& b);
Tensor matmul(const Tensor& a, const Tensor& b);
Tensor bitwise_left_shift(const Tensor& a, const Tensor& b); Tensor bitwise_right_shift(const Tensor& a, const Tensor& b);
Tensor eq(const Tensor& a, const Tensor& b); Tensor ne(const Tensor& a, const Tensor& b); Tensor lt(const Tensor& a, const Tensor& b);
Tensor le(const Tensor& a, const Tensor& b); Tensor gt(const Tensor& a, const Tensor& b); Tensor ge(const Tensor& a, const Tensor& b);
Tensor neg(const Tensor& a); Tensor abs(const Tensor& a); Tensor bitwise_not(const Tensor& a);
}
