// Portable int8 micro-kernel: the definition, in wrapping 32-bit arithmetic.
#include "ops/matmul/gemm_int8_ukr.h"

namespace tercel {
namespace {

template <class A>
void run(int64_t lines, const A* a, const int8_t* b, int32_t* c, int64_t ldc, int64_t m, int64_t n,
         bool accumulate) {
  uint32_t acc[4][16] = {};
  for (int64_t l = 0; l < lines; ++l, a += 16, b += 64) {
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 16; ++j) {
        int32_t sum = 0;
        for (int k = 0; k < 4; ++k) sum += a[i * 4 + k] * b[j * 4 + k];
        acc[i][j] += static_cast<uint32_t>(sum);
      }
    }
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      int32_t& out = c[i * ldc + j];
      out = static_cast<int32_t>(acc[i][j] + (accumulate ? static_cast<uint32_t>(out) : 0u));
    }
  }
}

}  // namespace

void gemm_ukr_int8_4x16_generic(int64_t lines, const void* a, bool a_signed, const void* b, int64_t,
                                int32_t* c, int64_t ldc, int64_t m, int64_t n, bool accumulate) {
  const int8_t* bp = static_cast<const int8_t*>(b);
  if (a_signed) {
    run(lines, static_cast<const int8_t*>(a), bp, c, ldc, m, n, accumulate);
  } else {
    run(lines, static_cast<const uint8_t*>(a), bp, c, ldc, m, n, accumulate);
  }
}

}  // namespace tercel
