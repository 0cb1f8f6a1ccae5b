// tercel.int_matmul: integer products with exact sums, and the fused step back to floats or to
// int8.
#pragma once

#include <optional>

#include "core/tensor.h"

namespace tercel {

class QTensor;

struct IntMatmulOptions {
  Tensor zero_point_a;  // integer, 0-d or one per row of a
  Tensor scale_a;       // float, 0-d or one per row of a ("token")
  Tensor scale_b;       // float, 0-d or one per column of b ("channel")
  Tensor bias;          // float [N]
  double out_scale = 1.0;
  int64_t out_zero_point = 0;
  DType dtype = DType::i32;  // i32: the sums; f32 bf16 f16: scaled; i8 u8: requantised
};

// a [..., M, K] int8 or uint8, b [K, N] or [..., K, N] int8, any strides -> [..., M, N].
// out = sum_k (a - zero_point_a) b modulo 2^32, equal bit for bit on every ISA; see Int8Epilogue
// for the rest. Cost: 2 M N K operations; b is packed on the way (N K bytes read and written). No
// gradient.
Tensor int_matmul(const Tensor& a, const Tensor& b, const IntMatmulOptions& options = {});
// b = w^T of a symmetric int8 matrix w [N, K] with one scale per row, which stays packed between
// calls; scale_b defaults to its scales where there are any (dtype other than int32).
Tensor int_matmul(const Tensor& a, const QTensor& w, const IntMatmulOptions& options = {});

}  // namespace tercel
