// Integer matrix product: exact modulo 2^bits of the element type, as PyTorch's.
#pragma once

#include "ops/matmul/gemm_kernels.h"

namespace tercel {
namespace {

// Accumulating modulo 2^32 (2^64 for int64) and truncating equals wide accumulation and truncating.
template <class T, class U>
void int_gemm_as(const IntGemmArgs& g) {
  constexpr int64_t kCols = 256;
  U acc[kCols];
  const T* a = static_cast<const T*>(g.a);
  const T* b = static_cast<const T*>(g.b);
  T* out = static_cast<T*>(g.out);
  for (int64_t m = g.m0; m < g.m1; ++m) {
    for (int64_t j = 0; j < g.N; j += kCols) {
      const int64_t n = g.N - j < kCols ? g.N - j : kCols;
      for (int64_t i = 0; i < n; ++i) acc[i] = 0;
      for (int64_t k = 0; k < g.K; ++k) {
        const U x = static_cast<U>(a[m * g.a_rs + k * g.a_ks]);
        const T* row = b + k * g.b_ks + j * g.b_ns;
        if (g.b_ns == 1) {
          for (int64_t i = 0; i < n; ++i) acc[i] += x * static_cast<U>(row[i]);
        } else {
          for (int64_t i = 0; i < n; ++i) acc[i] += x * static_cast<U>(row[i * g.b_ns]);
        }
      }
      T* dst = out + m * g.out_rs + j * g.out_cs;
      for (int64_t i = 0; i < n; ++i) dst[i * g.out_cs] = static_cast<T>(acc[i]);
    }
  }
}

void int_gemm(const IntGemmArgs& g) {
  switch (g.dtype) {
    case DType::i8:
      return int_gemm_as<int8_t, uint32_t>(g);
    case DType::u8:
      return int_gemm_as<uint8_t, uint32_t>(g);
    case DType::i16:
      return int_gemm_as<int16_t, uint32_t>(g);
    case DType::i32:
      return int_gemm_as<int32_t, uint32_t>(g);
    case DType::i64:
      return int_gemm_as<int64_t, uint64_t>(g);
    default:
      return;
  }
}

}  // namespace
}  // namespace tercel
