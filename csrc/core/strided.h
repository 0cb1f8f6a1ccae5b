// Iteration over strided operands of one shape: dims are sorted by the first operand's strides and
// merged where every operand allows it, so that most calls end as one or two long loops.
//
//   StridedLoop loop;
//   loop.init(shape, {out strides, a strides, b strides}, {4, 4, 2});   // strides in elements,
//   itemsizes
//   // loop.sizes[0] is the fastest dim; loop.strides[operand][dim] is in bytes
#pragma once

#include <cstdint>

#include "core/half.h"
#include "core/shape.h"

namespace tercel {

inline constexpr int kMaxOperands = 5;

struct StridedLoop {
  int num_operands;
  int dims;  // >= 1
  int64_t numel;
  int64_t sizes[kMaxDims];                  // fastest first
  int64_t strides[kMaxOperands][kMaxDims];  // bytes

  // True if operand k is one arithmetic sequence over the whole index space, with step
  // strides[k][0].
  bool is_linear(int k) const {
    for (int d = 1; d < dims; ++d) {
      if (strides[k][d] != strides[k][d - 1] * sizes[d - 1]) return false;
    }
    return true;
  }

  void init(const Shape& shape, int operands, const Strides* const* element_strides,
            const int64_t* itemsizes) {
    num_operands = operands;
    dims = 0;
    numel = 1;
    // Drop dims of size 1; last dim first, which is the usual order already.
    for (int d = shape.size() - 1; d >= 0; --d) {
      numel *= shape[d];
      if (shape[d] == 1) continue;
      sizes[dims] = shape[d];
      for (int k = 0; k < operands; ++k) strides[k][dims] = (*element_strides[k])[d] * itemsizes[k];
      ++dims;
    }
    sort();
    merge();
    if (dims == 0) {
      dims = 1;
      sizes[0] = 1;
      for (int k = 0; k < operands; ++k) strides[k][0] = itemsizes[k];
    }
  }

 private:
  // Order of two dims: by the first operand that tells them apart.
  bool before(int a, int b) const {
    for (int k = 0; k < num_operands; ++k) {
      if (strides[k][a] == 0 || strides[k][b] == 0) continue;
      if (strides[k][a] != strides[k][b]) return strides[k][a] < strides[k][b];
    }
    return false;
  }
  void exchange(int a, int b) {
    auto swap = [](int64_t& x, int64_t& y) {
      const int64_t t = x;
      x = y;
      y = t;
    };
    swap(sizes[a], sizes[b]);
    for (int k = 0; k < num_operands; ++k) swap(strides[k][a], strides[k][b]);
  }
  void sort() {
    for (int i = 1; i < dims; ++i) {
      for (int j = i; j > 0 && before(j, j - 1); --j) exchange(j, j - 1);
    }
  }
  void merge() {
    int last = 0;
    for (int d = 1; d < dims; ++d) {
      bool joins = true;
      for (int k = 0; k < num_operands; ++k)
        joins &= strides[k][d] == strides[k][last] * sizes[last];
      if (joins) {
        sizes[last] *= sizes[d];
      } else {
        ++last;
        sizes[last] = sizes[d];
        for (int k = 0; k < num_operands; ++k) strides[k][last] = strides[k][d];
      }
    }
    if (dims > 0) dims = last + 1;
  }
};

}  // namespace tercel
