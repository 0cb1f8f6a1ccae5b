// Register tile over vpdpbusd, for 256- and 512-bit registers. A supplies: Reg, kColumns (int32
// lanes), zero, set1, load (aligned), dot(acc, unsigned bytes, signed bytes), load_partial, add,
// store_partial.
#pragma once

#include "core/half.h"
#include "ops/matmul/gemm_int8_ukr.h"

namespace tercel {
namespace {

// M rows of a panel of MR rows times NR registers of columns; `at(j)`: byte offset of register j in
// a line group.
template <class A, int M, int MR, int NR, class At>
TERCEL_INLINE void vnni_tile(int64_t lines, const int32_t* a, const char* b, At at,
                             const int32_t* start, int64_t start_ld, int32_t* c, int64_t ldc,
                             int64_t n) {
  typename A::Reg acc[M][NR];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) acc[i][j] = A::zero();
  }
  for (int64_t l = 0; l < lines; ++l, a += MR, b += 64) {
    typename A::Reg v[NR];
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) {
      v[j] = A::load(b + at(j));
      __builtin_prefetch(b + at(j) + 10 * 64);  // panels of a and b together exceed L1
    }
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const typename A::Reg x = A::set1(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < NR; ++j) acc[i][j] = A::dot(acc[i][j], x, v[j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) {
      const int64_t left = n - A::kColumns * j;
      if (left <= 0) continue;
      const int64_t lanes = left < A::kColumns ? left : A::kColumns;
      typename A::Reg sum = acc[i][j];
      if (start) {
        sum = A::add(sum, A::load_partial(start + i * start_ld + A::kColumns * j, lanes));
      }
      A::store_partial(c + i * ldc + A::kColumns * j, sum, lanes);
    }
  }
}

// Calls the tile for m in 1..MR.
template <class A, int MR, int NR, class At, int M = MR>
TERCEL_INLINE void vnni_rows(int64_t m, int64_t lines, const int32_t* a, const char* b, At at,
                             const int32_t* start, int64_t start_ld, int32_t* c, int64_t ldc,
                             int64_t n) {
  if (m == M) return vnni_tile<A, M, MR, NR>(lines, a, b, at, start, start_ld, c, ldc, n);
  if constexpr (M > 1)
    vnni_rows<A, MR, NR, At, M - 1>(m, lines, a, b, at, start, start_ld, c, ldc, n);
}

}  // namespace
}  // namespace tercel
