// Gated product: both halves through float32 memory, then one pass (gemm.h).
#include <algorithm>

#include "core/parallel.h"
#include "ops/matmul/gemm_choice.h"
#include "ops/matmul/gemm_kernels.h"

namespace tercel {

void gemm_gated(const GatedGemmArgs& args) {
  const GemmArgs& g = args.gemm;
  const int64_t half = g.N / 2, size = dtype_size(g.out_dtype);
  if (g.M == 0 || half == 0) return;
  const gemm_driver::Workspace sums(g.M * g.N * 4);
  GemmArgs product = g;
  product.out_dtype = DType::f32;
  product.out = sums.data();
  product.out_row_stride = g.N;
  product.out_col_stride = 1;
  gemm(product);
  const auto offset = [&](const void* p, int64_t i) {
    return p ? static_cast<char*>(const_cast<void*>(p)) + i * size : nullptr;
  };
  parallel_for(g.M, std::max<int64_t>(1, 16 * 1024 / half), [&](int64_t i0, int64_t i1) {
    GatedArgs e;
    e.gate = reinterpret_cast<const float*>(sums.data()) + i0 * g.N;
    e.up = e.gate + half;
    e.ld = g.N;
    e.m = i1 - i0;
    e.n = half;
    e.bias = args.bias;
    e.up_bias = offset(args.bias, half);
    e.activation = args.activation;
    e.out = offset(g.out, i0 * g.out_row_stride);
    e.out_row_stride = g.out_row_stride;
    e.pre_gate = offset(args.pre, i0 * g.N);
    e.pre_up = offset(args.pre, i0 * g.N + half);
    e.pre_row_stride = args.pre ? g.N : 0;
    e.out_dtype = g.out_dtype;
    gemm_epilogue_kernels().gated(e);
  });
}

}  // namespace tercel
