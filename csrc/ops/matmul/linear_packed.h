// linear with a weight that is packed once: its panels are kept between calls.
#pragma once

#include <memory>
#include <mutex>

#include "core/tensor.h"
#include "ops/matmul/gemm.h"

namespace tercel {

// The panels of one weight, made at first use and again after it was changed in place (as far as
// its version tells) or another instruction set was chosen. Only products on pairs (gemm_pairs.h)
// keep any: the others read a weight as it lies, or turn over the smaller operand, at next to no
// cost.
class LinearPanels {
 public:
  // Those of w, the right operand of g; undefined where g would not use them.
  Tensor get(const GemmArgs& g, const Tensor& w);
  int64_t nbytes() const;

 private:
  mutable std::mutex mutex_;
  Tensor panels_;
  const void *kernel_ = nullptr, *data_ = nullptr;
  Shape shape_;
  Strides strides_;
  uint32_t version_ = 0;
};

// linear(x, w, bias), bit for bit; without panels where a gradient is wanted, under autocast and on
// other devices.
Tensor linear_packed(const Tensor& x, const Tensor& w, const Tensor& bias, LinearPanels& panels);

}  // namespace tercel
