// Matrix products with PyTorch's names and argument order.
//
// All take float dtypes (float16, bfloat16 and float8 accumulate in float32 and are rounded once)
// and integers (exact modulo 2^bits); both operands must have one dtype. Any strides, read in
// place. The bits of a result do not depend on threads, batch or layout (gemm.h has the
// definition). All are differentiable any number of times and save only the operands that a needed
// gradient uses. Errors: ShapeError, DTypeError naming the op. Cost: 2 M N K flops.
#pragma once

#include <optional>
#include <string>

#include "core/autograd.h"
#include "core/scalar.h"

namespace tercel {

// Accuracy of float32 products in this header from now on, in all threads, backward included (not
// of convolutions and attention). high: six products of bfloat16 parts (gemm_pairs.h); medium:
// operands rounded to bfloat16. Both sum in float32, and only where the processor has tiles for
// bfloat16 (AMX), K >= 32 and N >= 16; elsewhere every value means float32. On CUDA both allow
// TF32.
enum class MatmulPrecision { highest, high, medium };
void set_float32_matmul_precision(MatmulPrecision precision);
MatmulPrecision float32_matmul_precision();

// torch.matmul: 1-D x 1-D is dot, 1-D operands get a size-1 dim that is removed again, leading dims
// broadcast.
Tensor matmul(const Tensor& a, const Tensor& b);
Tensor mm(const Tensor& a, const Tensor& b);     // [M,K] [K,N]
Tensor bmm(const Tensor& a, const Tensor& b);    // [B,M,K] [B,K,N]
Tensor mv(const Tensor& a, const Tensor& v);     // [M,K] [K]
Tensor dot(const Tensor& a, const Tensor& b);    // [K] [K], summed in 64 lanes and pairwise
Tensor outer(const Tensor& a, const Tensor& b);  // [M] [N] -> [M,N]
Tensor inner(const Tensor& a, const Tensor& b);  // over the last dims

// beta * input + alpha * product; input broadcasts to the result and is not read when beta == 0.
Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1,
             Scalar alpha = 1);
Tensor addmv(const Tensor& input, const Tensor& a, const Tensor& v, Scalar beta = 1,
             Scalar alpha = 1);
Tensor baddbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1,
               Scalar alpha = 1);
Tensor addbmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1,
              Scalar alpha = 1);
Tensor addr(const Tensor& input, const Tensor& v1, const Tensor& v2, Scalar beta = 1,
            Scalar alpha = 1);

// y[..., O] = x[..., I] w[O, I]^T + bias[O]; w may be 1-D [I] as in PyTorch. Saves x only if w
// needs a gradient and w only if x does.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {});
Tensor linear_input_grad(const Tensor& dy, const Tensor& w);   // dy w
Tensor linear_weight_grad(const Tensor& dy, const Tensor& x);  // dy^T x, batch dims summed
// act(x w^T + bias) + residual, one rounding. activation: none, relu, gelu, gelu_tanh, silu, tanh,
// sigmoid. The residual broadcasts to the result. Backward keeps x, w and the value before the
// activation (rounded).
Tensor linear_act(const Tensor& x, const Tensor& w, const Tensor& bias,
                  const std::string& activation, const Tensor& residual = {});
// act(x g^T + bias_g) * (x u^T + bias_u), w = [g; u] of shape [2 O, I]: GLU, SwiGLU, GeGLU (Shazeer
// 2020). float32, float16, bfloat16; one rounding.
Tensor gated_linear(const Tensor& x, const Tensor& w, const Tensor& bias,
                    const std::string& activation = "silu");
// (scale_a a[..., M, K]) (scale_b b[K, N]) + bias for float operands below float64, each of its own
// dtype (float8 both, or weights only). Factors are float32: a scalar, one per row [M, 1] / column
// [1, N], 1x128 / 128x1 blocks along K or 128x128 blocks. They and b are constants: gradients go to
// a and bias. out_dtype defaults to a's dtype, bfloat16 for float8.
Tensor scaled_matmul(const Tensor& a, const Tensor& b, const Tensor& scale_a, const Tensor& scale_b,
                     const Tensor& bias = {}, std::optional<DType> out_dtype = {});
// y[..., o] = sum_ij x1[..., i] w[o, i, j] x2[..., j] + bias[o]
Tensor bilinear(const Tensor& x1, const Tensor& x2, const Tensor& w, const Tensor& bias = {});

// Einstein summation, PyTorch's syntax: letters, "...", repeated letters (diagonals), implicit
// output.
Tensor einsum(const std::string& equation, const TensorList& operands);
Tensor tensordot(const Tensor& a, const Tensor& b, int64_t dims = 2);
Tensor tensordot(const Tensor& a, const Tensor& b, const Dims& dims_a, const Dims& dims_b);
Tensor kron(const Tensor& a, const Tensor& b);
Tensor matrix_power(const Tensor& a, int64_t n);  // n >= 0
Tensor multi_dot(const TensorList& matrices);     // in the cheapest order

}  // namespace tercel
