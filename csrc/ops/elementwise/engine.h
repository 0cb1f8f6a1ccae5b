// The elementwise engine: runs one op on strided, broadcast operands of any dtype.
//
// An op is a plain loop over contiguous arrays of its work dtypes (OpFn). The engine walks the
// output in chunks of at most kChunk elements. An operand that already is contiguous and of its
// work dtype is used in place; any other one is gathered and converted into a buffer in L1, and
// results are converted and scattered the same way. Where all are used in place a thread's share
// is one chunk. So an op is compiled for a few types only, and
// every dtype combination, broadcast and stride works. Chunks never exchange values: the bits do
// not depend on threads, strides or level.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "core/tensor.h"
#include "ops/elementwise/move_kernels.h"
#include "ops/elementwise/op.h"

namespace tercel {

inline constexpr int kMaxInputs = 4;

struct ElementwiseCall {
  OpFn fn;                    // null: the value of input 0, converted
  const double* params;       // kMaxParams scalar arguments of the op
  int cost;                   // single-thread picoseconds per element when data is in cache
  DType out_work;             // dtype fn writes
  DType in_work[kMaxInputs];  // dtypes fn reads
  const Op* op = nullptr;     // whose loop fn is; devices other than the CPU go by it
};

// Device of the result of an op on these: that of the first one that is not on the CPU (0-d CPU
// tensors mix with any device; whether the rest fit is seen when their data is asked for).
// Undefined tensors are skipped.
Device common_device(const Tensor* const* tensors, int n);
inline Device common_device(std::initializer_list<const Tensor*> tensors) {
  return common_device(tensors.begin(), static_cast<int>(tensors.size()));
}
// run_elementwise for an output on a CUDA device (device_engine.cpp).
void run_elementwise_cuda(const ElementwiseCall& call, const Tensor& out,
                          const Tensor* const* inputs, int num_inputs);

// `out` has the broadcast shape and no internal overlap; inputs broadcast to it. An input may be
// the same view as `out`, but must not overlap it otherwise. No checks, no autograd.
void run_elementwise(const ElementwiseCall& call, const Tensor& out, const Tensor* const* inputs,
                     int num_inputs);
inline void run_elementwise(const ElementwiseCall& call, const Tensor& out,
                            std::initializer_list<const Tensor*> inputs) {
  run_elementwise(call, out, inputs.begin(), static_cast<int>(inputs.size()));
}

}  // namespace tercel
