// The first n lanes of a vector, and an associative operation over all lanes.
#pragma once

#include "simd/vec.h"

namespace tercel::simd {
namespace {

// Lanes 0..n - 1.
template <class V>
TERCEL_INLINE auto lanes_below(int64_t n) {
  using S = typename V::Scalar;
  alignas(64) static constexpr S kIota[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return V::load(kIota) < V(static_cast<S>(n));
}
// First n lanes from p, the others `fill`.
template <class V, class T>
TERCEL_INLINE V load_fill(const T* p, int64_t n, typename V::Scalar fill) {
  return select(lanes_below<V>(n), V::load_n(p, n), V(fill));
}
// The upper half of the first 2 * kHalf lanes, moved down; other lanes hold anything.
#if defined(TERCEL_LEVEL_AVX512)
template <int kHalf>
TERCEL_INLINE Vec<float> upper_half(Vec<float> a) {
  const __m512i v = _mm512_castps_si512(a.v);
  return _mm512_castsi512_ps(_mm512_alignr_epi32(v, v, kHalf));
}
template <int kHalf>
TERCEL_INLINE Vec<double> upper_half(Vec<double> a) {
  const __m512i v = _mm512_castpd_si512(a.v);
  return _mm512_castsi512_pd(_mm512_alignr_epi64(v, v, kHalf));
}
TERCEL_INLINE float first_lane(Vec<float> a) { return _mm512_cvtss_f32(a.v); }
TERCEL_INLINE double first_lane(Vec<double> a) { return _mm512_cvtsd_f64(a.v); }
#elif defined(TERCEL_LEVEL_AVX2)
template <int kHalf>
TERCEL_INLINE Vec<float> upper_half(Vec<float> a) {
  if constexpr (kHalf == 8) return {a.hi, a.hi};
  if constexpr (kHalf == 4) {
    const __m256 v = _mm256_permute2f128_ps(a.lo, a.lo, 1);
    return {v, v};
  }
  const __m256 v = _mm256_permute_ps(a.lo, kHalf == 2 ? 0x0e : 0x01);
  return {v, v};
}
template <int kHalf>
TERCEL_INLINE Vec<double> upper_half(Vec<double> a) {
  if constexpr (kHalf == 4) return {a.hi, a.hi};
  const __m256d v = kHalf == 2 ? _mm256_permute2f128_pd(a.lo, a.lo, 1) : _mm256_permute_pd(a.lo, 1);
  return {v, v};
}
TERCEL_INLINE float first_lane(Vec<float> a) { return _mm256_cvtss_f32(a.lo); }
TERCEL_INLINE double first_lane(Vec<double> a) { return _mm256_cvtsd_f64(a.lo); }
#else
template <int kHalf, class T>
TERCEL_INLINE Vec<T> upper_half(Vec<T> a) {
  alignas(64) T lane[Vec<T>::size];
  a.store(lane);
  for (int i = 0; i < kHalf; ++i) lane[i] = lane[i + kHalf];
  return Vec<T>::load(lane);
}
template <class T>
TERCEL_INLINE T first_lane(Vec<T> a) {
  alignas(64) T lane[Vec<T>::size];
  a.store(lane);
  return lane[0];
}
#endif

// By the fixed tree of `sum`: 16 -> 8 -> 4 -> 2 -> 1, upper half onto lower half.
template <class T, class F>
TERCEL_INLINE T fold(Vec<T> a, F combine) {
  if constexpr (Vec<T>::size == 16) a = combine(a, upper_half<8>(a));
  a = combine(a, upper_half<4>(a));
  a = combine(a, upper_half<2>(a));
  return first_lane(combine(a, upper_half<1>(a)));
}

}  // namespace
}  // namespace tercel::simd
