// Reg<T>: one native vector register (16, 32 or 64 bytes by ISA level), for the convolution
// micro-kernels. Their results do not depend on its width: every lane is its own chain of fused
// multiply-adds. Only for files compiled per level.
#pragma once

#include <stdint.h>

#include "core/half.h"
#if defined(TERCEL_LEVEL_AVX512) || defined(TERCEL_LEVEL_AVX2)
#include <immintrin.h>
#endif

namespace tercel {
namespace {

#if defined(TERCEL_LEVEL_AVX512)
inline constexpr int kRegBytes = 64;
#elif defined(TERCEL_LEVEL_AVX2)
inline constexpr int kRegBytes = 32;
#else
inline constexpr int kRegBytes = 16;
#endif

template <class T>
struct Reg {
  typedef T V __attribute__((vector_size(kRegBytes)));
  typedef T Unaligned __attribute__((vector_size(kRegBytes), aligned(sizeof(T)), may_alias));
  static constexpr int lanes = kRegBytes / static_cast<int>(sizeof(T));

  static TERCEL_INLINE V load(const T* p) { return *reinterpret_cast<const Unaligned*>(p); }
  static TERCEL_INLINE void store(T* p, V v) { *reinterpret_cast<Unaligned*>(p) = v; }
  static TERCEL_INLINE V splat(T x) {
#if defined(TERCEL_LEVEL_AVX512)
    if constexpr (sizeof(T) == 4)
      return (V)_mm512_set1_ps(x);
    else
      return (V)_mm512_set1_pd(x);
#elif defined(TERCEL_LEVEL_AVX2)
    if constexpr (sizeof(T) == 4)
      return (V)_mm256_set1_ps(x);
    else
      return (V)_mm256_set1_pd(x);
#else
    V v = {};
    for (int i = 0; i < lanes; ++i) v[i] = x;
    return v;
#endif
  }
  static TERCEL_INLINE V fma(V a, V b, V c) {
#if defined(TERCEL_LEVEL_AVX512)
    if constexpr (sizeof(T) == 4)
      return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    else
      return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(TERCEL_LEVEL_AVX2)
    if constexpr (sizeof(T) == 4)
      return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    else
      return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return a * b + c;
#endif
  }
  // The first n lanes (1..lanes) of p; the memory behind them is not touched.
  static TERCEL_INLINE V load_n(const T* p, int64_t n) {
#if defined(TERCEL_LEVEL_AVX512)
    if constexpr (sizeof(T) == 4)
      return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
    else
      return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1u), p);
#else
    T buffer[lanes] = {};
    for (int64_t i = 0; i < n; ++i) buffer[i] = p[i];
    return load(buffer);
#endif
  }
};

}  // namespace
}  // namespace tercel
