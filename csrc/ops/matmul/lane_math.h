// Arithmetic on the registers of transpose_simd.h, of either accumulation type. Included by kernel
// files only.
#pragma once

#include "ops/matmul/transpose_simd.h"

namespace tercel {
namespace {

template <class T>
TERCEL_INLINE T scalar_fma(T a, T b, T c) {
#if defined(__FMA__) || defined(__aarch64__)
  if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

#if defined(TERCEL_LEVEL_AVX512)
TERCEL_INLINE __m512 mul_add(float a, __m512 b, __m512 c) {
  return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c);
}
TERCEL_INLINE __m512d mul_add(double a, __m512d b, __m512d c) {
  return _mm512_fmadd_pd(_mm512_set1_pd(a), b, c);
}
TERCEL_INLINE __m512 plus(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
TERCEL_INLINE __m512d plus(__m512d a, __m512d b) { return _mm512_add_pd(a, b); }
TERCEL_INLINE __m512 times(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
#elif defined(TERCEL_LEVEL_AVX2)
TERCEL_INLINE __m256 mul_add(float a, __m256 b, __m256 c) {
  return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c);
}
TERCEL_INLINE __m256d mul_add(double a, __m256d b, __m256d c) {
  return _mm256_fmadd_pd(_mm256_set1_pd(a), b, c);
}
TERCEL_INLINE __m256 plus(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
TERCEL_INLINE __m256d plus(__m256d a, __m256d b) { return _mm256_add_pd(a, b); }
TERCEL_INLINE __m256 times(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
#else
template <class T, class R>
TERCEL_INLINE R mul_add(T a, const R& b, const R& c) {
  R r;
  for (int i = 0; i < 4; ++i) r.v[i] = scalar_fma<T>(a, b.v[i], c.v[i]);
  return r;
}
template <class R>
TERCEL_INLINE R plus(const R& a, const R& b) {
  R r;
  for (int i = 0; i < 4; ++i) r.v[i] = a.v[i] + b.v[i];
  return r;
}
template <class R>
TERCEL_INLINE R times(const R& a, const R& b) {
  R r;
  for (int i = 0; i < 4; ++i) r.v[i] = a.v[i] * b.v[i];
  return r;
}
#endif

}  // namespace
}  // namespace tercel
