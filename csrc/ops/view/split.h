// split_sizes and tensor_split_at for more parts than a Dims holds (kMaxDims).
#pragma once

#include <vector>

#include "ops/view/view.h"

namespace tercel {

TensorList split_sizes(const Tensor& t, const std::vector<int64_t>& sizes, int64_t dim);
TensorList tensor_split_at(const Tensor& t, const std::vector<int64_t>& indices, int64_t dim);

}  // namespace tercel
