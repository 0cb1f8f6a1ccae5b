// Shared by embedding.cpp and embedding_bag.cpp.
#pragma once

#include <vector>

#include "ops/embedding/embedding.h"

namespace tercel::embedding_detail {

// int64, dense, without history; every value in [0, rows), else IndexError naming op, place and
// value.
Tensor checked_indices(const char* op, const Tensor& indices, int64_t rows);
// -1 for none; negative counts from the end; ValueError outside.
int64_t checked_padding(const char* op, std::optional<int64_t> padding_idx, int64_t rows);
void check_table(const char* op, const Tensor& weight);
Tensor dense(const Tensor& t);

// Positions sorted by index (stable): row v owns order[start[v] .. start[v + 1]).
struct RowOrder {
  Tensor order, start;  // int64 [n], [rows + 1]
};
RowOrder sort_by_row(const Tensor& indices, int64_t rows);

}  // namespace tercel::embedding_detail
