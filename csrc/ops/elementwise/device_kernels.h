// Contract of the elementwise kernel of the CUDA device library: one launch for any op, dtypes and
// strides.
#pragma once

#include "core/kernel_table.h"
#include "core/strided.h"
#include "ops/elementwise/op.h"

namespace tercel {

enum class OpTable : uint8_t { copy, unary, binary, ternary, activation, special };

// out[i] = op(in[0][i], ...), operand 0 is the output. Strides in bytes. An operand given by value
// has `value` (bits of its compute type: double for floats, int64 for the rest) and data = null.
struct ElementwiseDeviceArgs {
  OpTable table;
  int op;     // index in UnaryKernels, BinaryKernels, ...; copy: unused
  Work work;  // type the op computes in; copy: decides between float64 and int64
  int inputs;
  StridedLoop loop;
  char* data[kMaxOperands];
  DType dtype[kMaxOperands];
  uint64_t value[kMaxOperands];
  double params[kMaxParams];
};

struct ElementwiseDeviceKernels {
  void (*run)(const ElementwiseDeviceArgs&);
};

}  // namespace tercel
