// Kernel contracts of the index family. Every index is checked before a kernel that uses it runs,
// or, in gather, block by block inside it; kernels report a bad index through a flag and never read
// outside.
//
// Order: where several positions write one destination, they do so in index order. Work is split by
// destination, never by position, so sums and overwrites have the same bits for any number of
// threads.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/kernel_table.h"
#include "core/shape.h"

namespace tercel {

enum class Combine : uint8_t { assign, add, multiply, maximum, minimum };

// out[p] (+)= wrap(index[p]) * stride, where negative indices count from the end if `wrap`. Sets
// *bad when an index is outside [-size, size) (or [0, size) without wrap).
struct OffsetsArgs {
  const int64_t* index;
  int64_t* out;
  int64_t n, size, stride;
  bool wrap, accumulate;
  int* bad;
};

// Raw strided dims, at most kMaxDims; a POD so that kernels need no containers.
struct DimList {
  int rank;
  int64_t size[kMaxDims];
  int64_t stride[kMaxDims];
};

// dense[o, p, i] <-> x[outer(o) + offset[p] + inner(i)], strides in elements. `dense` rows have
// strides dense_outer, dense_row, dense_inner (all 0: one value for every destination).
struct IndexArgs {
  char* dense;
  char* x;
  const int64_t* offset;
  int64_t n, outer_numel, inner_numel;
  int64_t dense_outer, dense_row, dense_inner;
  DimList outer, inner;
  DType dtype;  // put with Combine::add
  int itemsize;
  Combine combine;  // put: assign or add
  int64_t limit;    // all offsets lie in [0, limit)
};

struct IndexKernels {
  void (*offsets)(const OffsetsArgs&);
  void (*get)(const IndexArgs&);  // dense = x
  void (*put)(const IndexArgs&);  // x (+)= dense
};
TERCEL_KERNEL_TABLE(IndexKernels, index_kernels)

// Positions of a gather or scatter: index [outer..., K, J] where K runs along `dim` and J along the
// last dim (J = 1 if dim is the last one). x (or out of scatter) is addressed at
//   outer(o) + j * x_column + index * x_stride.
struct GatherArgs {
  const int64_t* index;
  int64_t outer_numel, k_numel, j_numel;
  DimList outer;                  // stride: of x
  int64_t outer_index[kMaxDims];  // strides of index along the outer dims
  int64_t outer_other[kMaxDims];  // strides of `other` along the outer dims
  int64_t index_k, index_j;       // strides of index
  int64_t other_k, other_j;       // strides of other
  int64_t x_column, x_stride, size;
  char* x;
  char* other;  // gather: contiguous result; scatter: source, all strides 0 for one value
  DType dtype;
  int itemsize;
  Combine combine;
  int* bad;
};

struct RangeCheckArgs {
  const int64_t* index;
  int64_t n, size;
  int* bad;  // set if any index is outside [0, size)
};

struct GatherKernels {
  void (*check)(const RangeCheckArgs&);
  void (*gather)(const GatherArgs&);   // other = x[...]; checks the index itself
  void (*scatter)(const GatherArgs&);  // x[...] (op)= other; index already checked
};
TERCEL_KERNEL_TABLE(GatherKernels, gather_kernels)

// Elements are handled in blocks of kMaskBlock; block b has block_count[b] true elements.
inline constexpr int64_t kMaskBlock = 8192;

struct MaskCountArgs {
  const uint8_t* mask;
  int64_t n;
  int64_t* block_count;
};

// Writes, for the true elements in order: their coordinates [count, rank] (positions), or the
// elements of x (compress; contiguous). block_start[b] is the number of true elements before block
// b.
struct MaskSelectArgs {
  const uint8_t* mask;
  int64_t n;
  const int64_t* block_start;
  const int64_t* block_count;
  int64_t* coordinates;
  const char* x;
  char* out;
  int rank;
  int64_t size[kMaxDims];
  int itemsize;
};

// x[i] = value where mask[i], contiguous.
struct MaskFillArgs {
  const uint8_t* mask;
  char* x;
  const char* value;
  int64_t n;
  int itemsize;
};

struct MaskKernels {
  void (*count)(const MaskCountArgs&);
  void (*positions)(const MaskSelectArgs&);
  void (*compress)(const MaskSelectArgs&);
  void (*fill)(const MaskFillArgs&);
};
TERCEL_KERNEL_TABLE(MaskKernels, mask_kernels)

// out[r, v] = number of elements of row r of `sorted` [R, S] that are < value (or <= value if
// right); NaN is the largest value. One row of `sorted` serves all when sorted_pitch is 0. `order`
// (optional, like sorted) gives the sorting permutation of an unsorted row.
struct SearchArgs {
  const void* sorted;
  const void* values;
  const int64_t* order;
  int64_t* out;
  int64_t rows, sorted_size, value_count, sorted_pitch;
  DType dtype;
  bool right;
};

struct SearchKernels {
  void (*search)(const SearchArgs&);
};
TERCEL_KERNEL_TABLE(SearchKernels, search_kernels)

}  // namespace tercel
