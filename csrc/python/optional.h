// Optional tensors of Python (None) as the undefined tensors of C++.
#pragma once

#include <optional>

#include "core/tensor.h"

namespace tercel {

inline Tensor tensor_or_undefined(const std::optional<Tensor>& t) { return t ? *t : Tensor(); }

}  // namespace tercel
