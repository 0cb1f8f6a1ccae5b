// The ops the number slots call.
#pragma once
#include "ops/elementwise/elementwise.h"
namespace tercel {
Tensor matmul(const Tensor& a, const Tensor& b);
}
