// Portable int8 micro-kernel: the definition, in wrapping 32-bit arithmetic.
#include "ops/matmul/gemm_int8_ukr.h"

namespace tercel {
namespace {

template <class A>
void run(int64_t lines, const A* a, const int8_t* b, const int32_t* start, int64_t start_ld,
         int32_t* c, int64_t ldc, int64_t m, int64_t n) {
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
      const int32_t before = start ? start[i * start_ld + j] : 0;
      c[i * ldc + j] = static_cast<int32_t>(acc[i][j] + static_cast<uint32_t>(before));
    }
  }
}

}  // namespace

void gemm_ukr_int8_4x16_generic(int64_t lines, const void* a, bool a_signed, const void* b, int64_t,
                                const int32_t* start, int64_t start_ld, int32_t* c, int64_t ldc,
                                int64_t m, int64_t n, const void*) {
  const int8_t* bp = static_cast<const int8_t*>(b);
  if (a_signed) {
    run(lines, static_cast<const int8_t*>(a), bp, start, start_ld, c, ldc, m, n);
  } else {
    run(lines, static_cast<const uint8_t*>(a), bp, start, start_ld, c, ldc, m, n);
  }
}

}  // namespace tercel
