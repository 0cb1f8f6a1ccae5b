// Kernel contracts of the shape family: they move bytes.
#pragma once

#include <cstdint>

#include "core/kernel_table.h"

namespace tercel {

// dst row r = src row r for `rows` rows of row_bytes; rows lie pitch bytes apart. Memory must not
// overlap.
struct CopyRowsArgs {
  const char* src;
  char* dst;
  int64_t rows, row_bytes, src_pitch, dst_pitch;
};

// Contiguous [B, R, C] elements of itemsize bytes; zeroes what lies outside the triangle.
struct TriangleArgs {
  const char* src;
  char* dst;
  int64_t batch, rows, cols, diagonal;
  int itemsize;
  bool upper;
};

struct ShapeKernels {
  void (*copy_rows)(const CopyRowsArgs&);
  void (*triangle)(const TriangleArgs&);
};
TERCEL_KERNEL_TABLE(ShapeKernels, shape_kernels)

}  // namespace tercel
