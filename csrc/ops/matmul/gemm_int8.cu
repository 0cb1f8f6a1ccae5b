// What follows an exact integer product on the GPU: zero points of a through the column sums of b,
// scales, bias, rounding to the output type. Each step is rounded as on the CPU, so int8 and uint8
// results are equal bit for bit.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "cuda/geometry.cuh"
#include "ops/matmul/gemm_int8_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    int8_epilogue_kernel(const __grid_constant__ Int8EpilogueArgs a, int item) {
  const int64_t total = a.m * a.n, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < total;
       t += step) {
    const int64_t i = t / a.n, j = t - i * a.n;
    uint32_t sum = static_cast<uint32_t>(a.acc[i * a.ld + j]);
    if (a.sums) {
      const uint32_t zero = static_cast<uint32_t>(a.shift) +
                            (a.zero_a ? static_cast<uint32_t>(a.zero_a[i * a.zero_a_stride]) : 0u);
      sum -= static_cast<uint32_t>(a.sums[j]) * zero;
    }
    char* out = static_cast<char*>(a.out) + (i * a.out_row_stride + j) * item;
    if (a.out_dtype == DType::i32) {
      *reinterpret_cast<uint32_t*>(out) = sum;
      continue;
    }
    float v = static_cast<float>(static_cast<int32_t>(sum));
    if (a.e.scale_a) v = __fmul_rn(v, a.e.scale_a[i * a.e.scale_a_stride]);
    if (a.e.scale_b) v = __fmul_rn(v, a.e.scale_b[j * a.e.scale_b_stride]);
    if (a.e.bias) v = __fadd_rn(v, a.e.bias[j]);
    if (a.out_dtype <= DType::f8e5m2) {
      store_element<float>(out, a.out_dtype, v);
      continue;
    }
    const float zero = static_cast<float>(a.e.out_zero),
                low = a.out_dtype == DType::i8 ? -128.0f : 0.0f;
    v = ::rintf(__fmul_rn(v, 1.0f / a.e.out_scale)) + zero;
    v = v != v ? zero : v > low ? v : low;
    v = v < low + 255.0f ? v : low + 255.0f;
    *out = static_cast<char>(static_cast<int32_t>(v));
  }
}

void epilogue(const Int8EpilogueArgs& a) {
  launch(int8_epilogue_kernel, grid_for(a.m * a.n, kThreads), kThreads, 0, a, item_of(a.out_dtype));
}

}  // namespace

TERCEL_DEVICE_TABLE(Int8Kernels, int8_kernels) = {
    .pack_b = nullptr, .pack_a = nullptr, .widen_b = nullptr, .epilogue = epilogue};

}  // namespace tercel::cuda
