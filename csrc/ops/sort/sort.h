// Sorting and selection along a dim. Order: NaN is the largest value (last ascending, first
// descending), -0 equals +0. Every sort is stable, in both directions, whatever `stable` says; topk
// breaks ties towards the smaller index. All dtypes; values are differentiable (the gradient goes
// back to the chosen elements).
#pragma once

#include <optional>
#include <tuple>

#include "core/kernel_table.h"
#include "core/tensor.h"

namespace tercel {

using ValuesIndices = std::tuple<Tensor, Tensor>;  // indices int64

ValuesIndices sort(const Tensor& x, int64_t dim = -1, bool descending = false, bool stable = false);
Tensor argsort(const Tensor& x, int64_t dim = -1, bool descending = false, bool stable = false);
// The k largest (smallest) along dim; `sorted` is always honoured.
ValuesIndices topk(const Tensor& x, int64_t k, int64_t dim = -1, bool largest = true,
                   bool sorted = true);
// The k-th smallest, k from 1.
ValuesIndices kthvalue(const Tensor& x, int64_t k, int64_t dim = -1, bool keepdim = false);
Tensor msort(const Tensor& x);

// Sorts (k = 0) or takes the first k of the order of each contiguous row [rows, n]. The work space
// holds `slots` areas of sort_area(n) bytes; rows are dealt to the slots in turn.
struct SortArgs {
  const void* src;
  void* values;      // [rows, n] or [rows, k], dtype of src; may be null
  int64_t* indices;  // same shape
  int64_t rows, n, k;
  DType dtype;
  bool descending;
  char* work;
  int slots;
};

// Bytes of work space one row needs: two copies of (64-bit key, 32-bit index).
inline int64_t sort_area(int64_t n) { return (n * 24 + 255) / 128 * 128; }

struct SortKernels {
  void (*sort)(const SortArgs&);
  void (*select)(const SortArgs&);  // dtypes of at most 32 bits, 0 < k < n
};
TERCEL_KERNEL_TABLE(SortKernels, sort_kernels)

}  // namespace tercel
