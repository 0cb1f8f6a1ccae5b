// Kernel contracts of the normalisation family, shared by every ISA level.
//
// Letters: R rows, N elements of a row, B batch, C channels, S spatial size, G groups. Data (x, y,
// dy, dx) has `dtype`; parameters, statistics and parameter gradients have its accumulation type A
// (float, double for double). All buffers are dense. Statistics are taken about the mean of blocks
// that fit the cache; blocks are combined in index order in double, so nothing depends on the
// number of threads.
#pragma once

#include <stdint.h>

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// Rows longer than this many bytes are cut into chunks so that statistics read memory once and
// several threads share a row; a function of the row length only.
inline constexpr int64_t kFusedRowBytes = 512 * 1024;
inline constexpr int64_t kRowChunk = 16384;  // elements
inline int64_t row_norm_chunks(int64_t n, int64_t itemsize) {
  return n * itemsize <= kFusedRowBytes ? 1 : (n + kRowChunk - 1) / kRowChunk;
}

// y = (x - mean) * rstd * w + b per row; rms: mean = 0. A row holds channels_per_group channels of
// `inner` elements; the parameters of its i-th element are w[(row % groups) * channels_per_group +
// i / inner]. Layer norm: groups = inner = 1. With `residual`, x stands for sum = x + residual,
// rounded to dtype, which is written on the way.
struct RowNormFwdArgs {
  const void* x;
  const void* w;  // A[C] or null
  const void* b;  // A[C] or null
  void* y;
  void* mean;         // A[R] out or null
  void* rstd;         // A[R] out or null
  void* var;          // A[R] out or null: biased variance
  double* workspace;  // row_norm_chunks > 1: R * chunks * 2, else null
  int64_t rows, n, groups, inner;
  double eps;
  DType dtype;
  bool rms;
  const void* residual = nullptr;
  void* sum = nullptr;
};

// Layer norm / rms norm gradient:
//   g = dy w;  dx = rstd (g - mean(g) - xhat mean(g xhat));  dw = sum_rows dy xhat;  db = sum_rows
//   dy.
struct RowNormBwdArgs {
  const void* x;
  const void* dy;
  const void* w;     // A[N]; may be null when dx is
  const void* mean;  // A[R]; null for rms
  const void* rstd;  // A[R]
  void* dx;          // or null
  void* dw;          // A[N] or null
  void* db;          // A[N] or null
  void* workspace;   // dw or db wanted: A[row_norm_blocks(R) * 2 * N]
  int64_t rows, n;
  DType dtype;
};
// dw, db: rows are cut into blocks of this many, summed in order within and over blocks.
inline int64_t row_norm_block_rows(int64_t rows) {
  const int64_t r = ((rows + 15) / 16 + 3) / 4 * 4;
  return r < 4 ? 4 : r > 64 ? 64 : r;
}
inline int64_t row_norm_blocks(int64_t rows) {
  const int64_t per = row_norm_block_rows(rows);
  return (rows + per - 1) / per;
}

// Group norm gradient; rows = B * G, channels per group = C / G.
struct GroupNormBwdArgs {
  const void* x;
  const void* dy;
  const void* w;      // A[C] or null
  const void* mean;   // A[B * G]
  const void* rstd;   // A[B * G]
  void* dx;           // or null
  void* dw;           // A[C] or null
  void* db;           // A[C] or null
  double* workspace;  // B * C * 2
  int64_t batch, channels, groups, inner;
  DType dtype;
};

struct RowNormKernels {
  void (*fwd)(const RowNormFwdArgs&);
  void (*bwd)(const RowNormBwdArgs&);
};
TERCEL_KERNEL_TABLE(RowNormKernels, row_norm_kernels)
struct GroupNormKernels {  // forward: row_norm_kernels
  void (*bwd)(const GroupNormBwdArgs&);
};
TERCEL_KERNEL_TABLE(GroupNormKernels, group_norm_kernels)

// ---- batch norm: x is [B, C, S]
// ----------------------------------------------------------------------

// Small planes are reduced over the batch first, as B rows of C * S columns; large ones plane by
// plane.
inline bool batch_norm_by_columns(int64_t batch, int64_t inner) {
  return inner <= 16 || (inner <= 256 && batch >= 16);
}
inline constexpr int64_t kMinPlane = 16;    // shorter planes: parameters spread over C * S columns
inline constexpr int64_t kColumnRows = 64;  // batch items per block of the column scheme
inline constexpr int64_t kPlaneChunk = 16384;  // elements per block of the plane scheme
inline int64_t batch_norm_blocks(int64_t batch, int64_t channels, int64_t inner) {
  if (batch_norm_by_columns(batch, inner)) {
    return (batch + kColumnRows - 1) / kColumnRows * channels * inner;
  }
  return batch * channels * ((inner + kPlaneChunk - 1) / kPlaneChunk);
}

// mean[c], rstd[c] of a batch; running statistics r += momentum (batch - r), variance unbiased.
struct BatchNormStatsArgs {
  const void* x;
  void* mean;          // A[C]
  void* rstd;          // A[C]
  void* running_mean;  // A[C] or null
  void* running_var;   // A[C] or null
  double* workspace;   // 2 * batch_norm_blocks + 2 * C
  int64_t batch, channels, inner;
  double eps, momentum;
  DType dtype;
};

// y = (x - mean) * (rstd * w) + b
struct BatchNormApplyArgs {
  const void* x;
  const void* mean;  // A[C]
  const void* rstd;  // A[C]
  const void* w;     // A[C] or null
  const void* b;     // A[C] or null
  void* y;
  void* workspace;  // inner < kMinPlane: A[3 * C * S]
  int64_t batch, channels, inner;
  DType dtype;
};

// sum_dy[c] = sum dy;  sum_dyx[c] = rstd sum dy (x - mean)   (= db, dw)
// train: dx = w rstd (dy - sum_dy / M - xhat sum_dyx / M), M = B S;  eval: dx = w rstd dy.
struct BatchNormBwdArgs {
  const void* x;
  const void* dy;
  const void* w;      // A[C] or null
  const void* mean;   // A[C]
  const void* rstd;   // A[C]
  void* dx;           // or null
  void* sum_dy;       // A[C]; may be null in eval mode when only dx is wanted
  void* sum_dyx;      // A[C]; null together with sum_dy
  double* workspace;  // batch_norm_bwd_workspace doubles
  int64_t batch, channels, inner;
  DType dtype;
  bool training;
};

// The column scheme spreads the means, short planes all four coefficients of dx, over C * S
// columns.
inline int64_t batch_norm_bwd_workspace(int64_t batch, int64_t channels, int64_t inner) {
  const int64_t spread = inner < kMinPlane ? 4 : batch_norm_by_columns(batch, inner) ? 1 : 0;
  return 2 * batch_norm_blocks(batch, channels, inner) + spread * channels * inner;
}

struct BatchNormKernels {
  void (*stats)(const BatchNormStatsArgs&);
  void (*apply)(const BatchNormApplyArgs&);
};
TERCEL_KERNEL_TABLE(BatchNormKernels, batch_norm_kernels)
struct BatchNormBwdKernels {
  void (*bwd)(const BatchNormBwdArgs&);
};
TERCEL_KERNEL_TABLE(BatchNormBwdKernels, batch_norm_bwd_kernels)

}  // namespace tercel
