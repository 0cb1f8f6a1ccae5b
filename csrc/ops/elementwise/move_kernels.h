// Kernels that move elements without computing: dtype conversion, gather and scatter of strided
// runs, streaming copies and transposes. The elementwise engine and strided_copy are built on them.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// dst[0..n) = cast(src[0..n)), both contiguous.
using ConvertFn = void (*)(void* dst, const void* src, int64_t n);
// dst contiguous, src with a step in bytes (0 repeats one element); and the reverse.
using GatherFn = void (*)(void* dst, const void* src, int64_t step_bytes, int64_t n);
using ScatterFn = void (*)(void* dst, int64_t step_bytes, const void* src, int64_t n);
// dst[r * dst_row + c] = src[c * src_row + r] for r < rows, c < cols (row strides in bytes).
// `next`: the source of the block after this one, with the same strides (asked for). `stream` asks
// for stores that bypass the caches; finish with `fence`.
using TransposeFn = void (*)(void* dst, int64_t dst_row_bytes, const void* src,
                             int64_t src_row_bytes, int64_t rows, int64_t cols, const void* next,
                             bool stream);

// Bytes that will be read soon.
struct Ahead {
  const void* at;
  int64_t nbytes;
};

struct MoveKernels {
  ConvertFn convert[kNumDTypes][kNumDTypes];  // [src][dst]
  GatherFn gather[4];                         // by log2 of the element size
  ScatterFn scatter[4];
  TransposeFn transpose[4];
  // Copies to a multiple of 64 bytes past the caches, while the next `ahead` are asked for. Other
  // cores see the bytes after `fence` only, which waits for memory: once per task, not per call.
  void (*stream_bytes)(void* dst, const void* src, int64_t nbytes, const Ahead* ahead, int count);
  void (*fence)();
  // `rows` runs of `nbytes`, each step apart.
  void (*copy_rows)(void* dst, int64_t dst_step_bytes, const void* src, int64_t src_step_bytes,
                    int64_t nbytes, int64_t rows, bool stream);
};
TERCEL_KERNEL_TABLE(MoveKernels, move_kernels)

inline int log2_itemsize(DType t) {
  const int64_t s = dtype_size(t);
  return s == 1 ? 0 : s == 2 ? 1 : s == 4 ? 2 : 3;
}

}  // namespace tercel
