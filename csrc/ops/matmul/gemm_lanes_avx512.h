// The vector wrapper of the AVX-512 micro-kernels with float32 sums, without its `fma`: panels hold
// floats, or words of two bfloat16 (gemm_words.h) that are moved as if they were floats.
#pragma once

#include <immintrin.h>

#include "ops/matmul/gemm_tile.h"
#include "ops/matmul/gemm_ukr.h"

namespace tercel {
namespace {

struct FloatLanes512 {
  using T = float;
  using Reg = __m512;
  using Mask = __mmask16;
  static constexpr int kLanes = 16;
  static TERCEL_INLINE Mask mask(int64_t n) { return static_cast<Mask>((1u << n) - 1u); }
  static TERCEL_INLINE Reg zero() { return _mm512_setzero_ps(); }
  static TERCEL_INLINE Reg set1(float x) { return _mm512_set1_ps(x); }
  static TERCEL_INLINE Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static TERCEL_INLINE Reg load(const float* p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  static TERCEL_INLINE void store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
  static TERCEL_INLINE void store(float* p, Reg v, Mask m) { _mm512_mask_storeu_ps(p, m, v); }
  static TERCEL_INLINE Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
};

}  // namespace
}  // namespace tercel

// Defines the function of one line of words in gemm_pair_ukernels.inc; kc counts elements.
#define TERCEL_DEFINE_WORD_UKR(name, V, mr, nr)                                                   \
  void gemm_ukr_##name(int64_t kc, const void* a, const void* b, void* c, int64_t ldc, int64_t m, \
                       int64_t n, bool accumulate, const void* next) {                            \
    TileSet<V, mr, nr, 1>::packed((kc + 1) / 2, a, b, c, ldc, m, n, accumulate, next);            \
  }
