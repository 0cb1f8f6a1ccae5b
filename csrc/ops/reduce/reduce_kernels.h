// Contracts between the reductions (reduce.cpp, scan.cpp) and their kernels.
//
// A reduction reads a strided tensor as `outputs` sets of `n` elements. Kept and reduced dims are
// collapsed separately and stay in logical (row-major) order, which is the order that fixes the
// summation tree: results do not depend on strides, threads or on how many outputs there are.
//
// The tree of n values: blocks of kReduceBlock; in a block, groups of 256 = 16 steps x 16 lanes,
// where a lane adds its 16 steps as a balanced tree and chains the groups; lanes are added 8+8,
// 4+4, 2+2, 1+1; blocks are combined as a balanced tree in index order.
#pragma once

#include <type_traits>

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

inline constexpr int kReduceMaxDims = 16;
inline constexpr int64_t kReduceBlock = 4096;
// Below this many outputs the blocks of one output are shared among threads.
inline constexpr int64_t kReduceFewOutputs = 64;

struct ReduceGeometry {
  int kept = 0, reduced = 0;   // collapsed dims of each kind
  int64_t outputs = 1, n = 1;  // products of the sizes
  int64_t kept_size[kReduceMaxDims],
      kept_stride[kReduceMaxDims];  // strides of the input, in elements
  int64_t red_size[kReduceMaxDims], red_stride[kReduceMaxDims];
};

enum class ReduceOp : uint8_t {
  sum,
  nansum,
  prod,
  max,
  min,
  abs_sum,
  abs_max,
  abs_min,
  square_sum
};
enum class ReduceLoad : uint8_t { value, nonzero };      // nonzero: element becomes 0 or 1
enum class ReducePost : uint8_t { none, divide, sqrt };  // divide: by n

// y[o] = post(op over n of load(x)). y is contiguous. acc is f32, f64 or i64.
// max/min propagate NaN. n = 0 gives the identity of the op.
struct ReduceArgs {
  const void* x;
  void* y;
  void* workspace;  // reduce_workspace(args) bytes
  ReduceGeometry g;
  DType in, acc, out;
  ReduceOp op;
  ReduceLoad load;
  ReducePost post;
};
int64_t reduce_workspace(const ReduceArgs& args);

// value[o], index[o] = first position of the maximum (minimum); NaN counts as the largest
// (smallest). value has the dtype of x; either pointer may be null. n >= 1.
struct ArgReduceArgs {
  const void* x;
  void* value;
  int64_t* index;
  ReduceGeometry g;
  void* workspace;  // outputs * blocks * 16 bytes when outputs < kReduceFewOutputs and n >
                    // kReduceBlock
  DType in;
  bool largest;
};

// var[o] = M2 / max(0, n - correction) (or its square root), mean[o]; blocks of 1024 two-pass in
// the input's precision (at least float32), combined by Chan's formula in float64. Pointers may be
// null.
inline constexpr int64_t kVarBlock = 1024;
struct VarArgs {
  const void* x;
  void* var;
  void* mean;
  void* workspace;  // outputs * ceil(n / kVarBlock) * 16 bytes when outputs < kReduceFewOutputs
  ReduceGeometry g;
  DType in, out;
  double correction;
  bool sqrt;
};

// Scans along one dim of a contiguous (outer, n, inner) tensor, sequentially in index order (from
// the end if reverse). Floats run in float64, integers in int64. linear: y_i = x_i + a_i y_{i-1}.
enum class ScanOp : uint8_t { sum, prod, logsumexp, linear };
struct ScanArgs {
  const void* x;
  const void* a;  // linear: same dtype as x
  void* y;
  int64_t outer, n, inner;
  DType in, out;
  ScanOp op;
  bool reverse;
};
struct CumExtremeArgs {
  const void* x;
  void* value;
  int64_t* index;  // last position of the extreme so far
  int64_t outer, n, inner;
  DType in;
  bool largest;
};

struct ReduceKernels {
  void (*reduce)(const ReduceArgs&);
};
TERCEL_KERNEL_TABLE(ReduceKernels, reduce_kernels)

struct ArgReduceKernels {
  void (*arg_reduce)(const ArgReduceArgs&);
};
TERCEL_KERNEL_TABLE(ArgReduceKernels, arg_reduce_kernels)

struct VarKernels {
  void (*var)(const VarArgs&);
};
TERCEL_KERNEL_TABLE(VarKernels, var_kernels)

struct ScanKernels {
  void (*scan)(const ScanArgs&);
  void (*cum_extreme)(const CumExtremeArgs&);
};
TERCEL_KERNEL_TABLE(ScanKernels, scan_kernels)

}  // namespace tercel
