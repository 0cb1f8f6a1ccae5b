// The step between the public products and the driver: geometry, batching, launch. No autograd.
#pragma once

#include "core/tensor.h"
#include "ops/matmul/gemm.h"

namespace tercel {

// Whether products of float32 on CUDA may round their operands to TF32 (10 bits behind the point):
// below the highest precision.
bool tf32_allowed();

struct ProductOptions {
  double alpha = 1.0;
  double beta = 0.0;
  Tensor c;  // broadcasts to the result; not read when beta == 0
  GemmActivation activation = GemmActivation::none;
  Tensor residual;             // added after the activation; broadcasts to the result
  bool exact_in_tf32 = false;  // TF32 loses nothing, so it is used whatever is allowed
  bool true_float32 = false;   // on the CPU, whatever the precision in force (convolutions)
  Tensor pre;  // takes the value before the activation: contiguous, shape of the result
  Tensor
      out;  // written instead of a new tensor; shape and dtype of the result; may be c, not a or b
};

// GemmArgs::f32_products under the precision in force.
int float32_products();

// act(alpha * a[..., M, K] b[..., K, N] + beta * c) + residual with broadcast leading dims.
Tensor product(const char* op, const Tensor& a, const Tensor& b,
               const ProductOptions& options = {});
// a[..., M, K] b[N, K]^T without making the transposed view.
Tensor product_nt(const char* op, const Tensor& a, const Tensor& b,
                  const ProductOptions& options = {});

}  // namespace tercel
