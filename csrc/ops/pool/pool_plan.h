// Where the windows of a pooling lie: tables per dimension, made from the arguments, shared by
// forward and backward.
#pragma once

#include <memory>
#include <vector>

#include "core/tensor.h"
#include "ops/pool/pool_args.h"

namespace tercel {

// Owns the tables that PoolWindows points to.
struct PoolPlan {
  int dims = 0;
  std::vector<int64_t> start[3], count[3], divisor[3];
  PoolWindows windows{};
  double divisor_override = 0;
  Shape in_shape, out_shape;

  void finish() {
    for (int d = 0; d < 3; ++d) {
      windows.start[d] = start[d].data();
      windows.count[d] = count[d].data();
      windows.divisor[d] = divisor[d].data();
    }
  }
  // The windows with tables where `device` reads them; `tables` keeps a copy alive.
  PoolWindows windows_on(Device device, Tensor* tables) const;
  int64_t planes() const {
    int64_t n = 1;
    for (int d = 0; d < in_shape.size() - dims; ++d) n *= in_shape[d];
    return n;
  }
  int64_t in_size() const { return windows.in[0] * windows.in[1] * windows.in[2]; }
  int64_t out_size() const { return windows.out[0] * windows.out[1] * windows.out[2]; }
};
using PoolPlanRef = std::shared_ptr<const PoolPlan>;

// Raises unless x is a float tensor of dims + 1 or dims + 2 dimensions.
void check_pool_input(const char* op, int dims, const Tensor& x);
// Windows of one size and stride; `kernel_size` to `dilation` as in pool.h. Raises naming `op`.
PoolPlanRef regular_pool_plan(const char* op, int dims, const Tensor& x, const Dims& kernel_size,
                              const Dims& stride, const Dims& padding, const Dims& dilation,
                              bool ceil_mode, bool count_include_pad);
// Windows that give an output of output_size (-1: the input's size) and cover the input evenly.
PoolPlanRef adaptive_pool_plan(const char* op, int dims, const Tensor& x, const Dims& output_size);

}  // namespace tercel
