// Vec<T> in one 512-bit register. See vec.h for the contract.
#pragma once

#include <immintrin.h>

// gcc 12's own _mm512_undefined_* trips these at every use.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace tercel::simd {
namespace {

struct Mask16 {
  __mmask16 m;
};
struct Mask8 {
  __mmask8 m;
};
TERCEL_INLINE Mask16 operator&(Mask16 a, Mask16 b) { return {static_cast<__mmask16>(a.m & b.m)}; }
TERCEL_INLINE Mask16 operator|(Mask16 a, Mask16 b) { return {static_cast<__mmask16>(a.m | b.m)}; }
TERCEL_INLINE Mask16 operator!(Mask16 a) { return {static_cast<__mmask16>(~a.m)}; }
TERCEL_INLINE bool any(Mask16 a) { return a.m != 0; }
TERCEL_INLINE bool all(Mask16 a) { return a.m == 0xffff; }
TERCEL_INLINE uint32_t bits(Mask16 a) { return a.m; }
TERCEL_INLINE Mask8 operator&(Mask8 a, Mask8 b) { return {static_cast<__mmask8>(a.m & b.m)}; }
TERCEL_INLINE Mask8 operator|(Mask8 a, Mask8 b) { return {static_cast<__mmask8>(a.m | b.m)}; }
TERCEL_INLINE Mask8 operator!(Mask8 a) { return {static_cast<__mmask8>(~a.m)}; }
TERCEL_INLINE bool any(Mask8 a) { return a.m != 0; }
TERCEL_INLINE bool all(Mask8 a) { return a.m == 0xff; }
TERCEL_INLINE uint32_t bits(Mask8 a) { return a.m; }

template <>
struct Vec<int32_t> {
  static constexpr int size = 16;
  using Scalar = int32_t;
  using Mask = Mask16;
  __m512i v;
  Vec() = default;
  TERCEL_INLINE Vec(__m512i x) : v(x) {}
  TERCEL_INLINE explicit Vec(int32_t x) : v(_mm512_set1_epi32(x)) {}
  TERCEL_INLINE static Vec load(const int32_t* p) { return _mm512_loadu_si512(p); }
  TERCEL_INLINE static Vec load(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  TERCEL_INLINE static Vec load(const uint16_t* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TERCEL_INLINE void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  TERCEL_INLINE void store(uint8_t* p) const {  // low 8 bits
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  }
  TERCEL_INLINE void store(uint16_t* p) const {  // low 16 bits
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
  }
};
template <>
struct Vec<int64_t> {
  static constexpr int size = 8;
  using Scalar = int64_t;
  using Mask = Mask8;
  __m512i v;
  Vec() = default;
  TERCEL_INLINE Vec(__m512i x) : v(x) {}
  TERCEL_INLINE explicit Vec(int64_t x) : v(_mm512_set1_epi64(x)) {}
  TERCEL_INLINE static Vec load(const int64_t* p) { return _mm512_loadu_si512(p); }
  TERCEL_INLINE void store(int64_t* p) const { _mm512_storeu_si512(p, v); }
};

template <>
struct Vec<float> {
  static constexpr int size = 16;
  using Scalar = float;
  using Mask = Mask16;
  using Int = Vec<int32_t>;
  __m512 v;
  Vec() = default;
  TERCEL_INLINE Vec(__m512 x) : v(x) {}
  TERCEL_INLINE explicit Vec(float x) : v(_mm512_set1_ps(x)) {}
  TERCEL_INLINE static Vec load(const float* p) { return _mm512_loadu_ps(p); }
  TERCEL_INLINE static Vec load(const f16* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TERCEL_INLINE static Vec load(const bf16* p);
  TERCEL_INLINE static Vec load(const f8e4m3* p);
  TERCEL_INLINE static Vec load(const f8e5m2* p);
  TERCEL_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  TERCEL_INLINE void store(f16* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  TERCEL_INLINE void store(bf16* p) const;
  TERCEL_INLINE void store(f8e4m3* p) const;
  TERCEL_INLINE void store(f8e5m2* p) const;
  // p aligned to 64 bytes; bypasses the caches, finish with stream_fence()
  TERCEL_INLINE void stream(float* p) const { _mm512_stream_ps(p, v); }
  TERCEL_INLINE static Vec load_n(const float* p, int64_t n) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
  }
  template <class S>
  TERCEL_INLINE static Vec load_n(const S* p, int64_t n) {
    return load_partial<Vec>(p, n);
  }
  TERCEL_INLINE void store_n(float* p, int64_t n) const {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), v);
  }
  template <class S>
  TERCEL_INLINE void store_n(S* p, int64_t n) const {
    store_partial(*this, p, n);
  }
};
template <>
struct Vec<double> {
  static constexpr int size = 8;
  using Scalar = double;
  using Mask = Mask8;
  using Int = Vec<int64_t>;
  __m512d v;
  Vec() = default;
  TERCEL_INLINE Vec(__m512d x) : v(x) {}
  TERCEL_INLINE explicit Vec(double x) : v(_mm512_set1_pd(x)) {}
  TERCEL_INLINE static Vec load(const double* p) { return _mm512_loadu_pd(p); }
  TERCEL_INLINE void store(double* p) const { _mm512_storeu_pd(p, v); }
  TERCEL_INLINE void stream(double* p) const { _mm512_stream_pd(p, v); }
  TERCEL_INLINE static Vec load_n(const double* p, int64_t n) {
    return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1u), p);
  }
  TERCEL_INLINE void store_n(double* p, int64_t n) const {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1u), v);
  }
};
TERCEL_INLINE void stream_fence() { _mm_sfence(); }

// ---- bit casts and conversions
// ---------------------------------------------------------------------
TERCEL_INLINE Vec<int32_t> as_int(Vec<float> a) { return _mm512_castps_si512(a.v); }
TERCEL_INLINE Vec<int64_t> as_int(Vec<double> a) { return _mm512_castpd_si512(a.v); }
TERCEL_INLINE Vec<float> as_float(Vec<int32_t> a) { return _mm512_castsi512_ps(a.v); }
TERCEL_INLINE Vec<double> as_double(Vec<int64_t> a) { return _mm512_castsi512_pd(a.v); }
TERCEL_INLINE Vec<int32_t> to_int(Vec<float> a) { return _mm512_cvttps_epi32(a.v); }  // truncates
TERCEL_INLINE Vec<float> to_float(Vec<int32_t> a) { return _mm512_cvtepi32_ps(a.v); }
TERCEL_INLINE Vec<double> to_double_lo(Vec<float> a) {
  return _mm512_cvtps_pd(_mm512_castps512_ps256(a.v));
}
TERCEL_INLINE Vec<double> to_double_hi(Vec<float> a) {
  return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1));
}
TERCEL_INLINE Vec<float> to_float(Vec<double> lo, Vec<double> hi) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo.v)), _mm512_cvtpd_ps(hi.v),
                            1);
}

// ---- integer
// ---------------------------------------------------------------------------------------
TERCEL_INLINE Vec<int32_t> operator+(Vec<int32_t> a, Vec<int32_t> b) {
  return _mm512_add_epi32(a.v, b.v);
}
TERCEL_INLINE Vec<int32_t> operator-(Vec<int32_t> a, Vec<int32_t> b) {
  return _mm512_sub_epi32(a.v, b.v);
}
TERCEL_INLINE Vec<int32_t> operator&(Vec<int32_t> a, Vec<int32_t> b) {
  return _mm512_and_si512(a.v, b.v);
}
TERCEL_INLINE Vec<int32_t> operator|(Vec<int32_t> a, Vec<int32_t> b) {
  return _mm512_or_si512(a.v, b.v);
}
TERCEL_INLINE Vec<int32_t> operator^(Vec<int32_t> a, Vec<int32_t> b) {
  return _mm512_xor_si512(a.v, b.v);
}
TERCEL_INLINE Mask16 operator==(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm512_cmpeq_epi32_mask(a.v, b.v)};
}
TERCEL_INLINE Mask16 operator>(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm512_cmpgt_epi32_mask(a.v, b.v)};
}
TERCEL_INLINE Mask16 operator<(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm512_cmplt_epi32_mask(a.v, b.v)};
}
template <int N>
TERCEL_INLINE Vec<int32_t> shift_left(Vec<int32_t> a) {
  return _mm512_slli_epi32(a.v, N);
}
template <int N>
TERCEL_INLINE Vec<int32_t> shift_right(Vec<int32_t> a) {  // logical
  return _mm512_srli_epi32(a.v, N);
}
template <int N>
TERCEL_INLINE Vec<int32_t> shift_right_signed(Vec<int32_t> a) {
  return _mm512_srai_epi32(a.v, N);
}
TERCEL_INLINE Vec<int32_t> select(Mask16 m, Vec<int32_t> a, Vec<int32_t> b) {
  return _mm512_mask_blend_epi32(m.m, b.v, a.v);
}
TERCEL_INLINE Vec<int64_t> operator+(Vec<int64_t> a, Vec<int64_t> b) {
  return _mm512_add_epi64(a.v, b.v);
}
TERCEL_INLINE Vec<int64_t> operator-(Vec<int64_t> a, Vec<int64_t> b) {
  return _mm512_sub_epi64(a.v, b.v);
}
TERCEL_INLINE Vec<int64_t> operator&(Vec<int64_t> a, Vec<int64_t> b) {
  return _mm512_and_si512(a.v, b.v);
}
TERCEL_INLINE Vec<int64_t> operator|(Vec<int64_t> a, Vec<int64_t> b) {
  return _mm512_or_si512(a.v, b.v);
}
TERCEL_INLINE Vec<int64_t> operator^(Vec<int64_t> a, Vec<int64_t> b) {
  return _mm512_xor_si512(a.v, b.v);
}
TERCEL_INLINE Mask8 operator==(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm512_cmpeq_epi64_mask(a.v, b.v)};
}
TERCEL_INLINE Mask8 operator>(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm512_cmpgt_epi64_mask(a.v, b.v)};
}
TERCEL_INLINE Mask8 operator<(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm512_cmplt_epi64_mask(a.v, b.v)};
}
template <int N>
TERCEL_INLINE Vec<int64_t> shift_left(Vec<int64_t> a) {
  return _mm512_slli_epi64(a.v, N);
}
template <int N>
TERCEL_INLINE Vec<int64_t> shift_right(Vec<int64_t> a) {
  return _mm512_srli_epi64(a.v, N);
}
TERCEL_INLINE Vec<int64_t> select(Mask8 m, Vec<int64_t> a, Vec<int64_t> b) {
  return _mm512_mask_blend_epi64(m.m, b.v, a.v);
}

// ---- float and double
// ------------------------------------------------------------------------------
TERCEL_INLINE Vec<float> operator+(Vec<float> a, Vec<float> b) { return _mm512_add_ps(a.v, b.v); }
TERCEL_INLINE Vec<float> operator-(Vec<float> a, Vec<float> b) { return _mm512_sub_ps(a.v, b.v); }
TERCEL_INLINE Vec<float> operator*(Vec<float> a, Vec<float> b) { return _mm512_mul_ps(a.v, b.v); }
TERCEL_INLINE Vec<float> operator/(Vec<float> a, Vec<float> b) { return _mm512_div_ps(a.v, b.v); }
TERCEL_INLINE Vec<float> operator-(Vec<float> a) {
  return _mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f));
}
TERCEL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm512_fmadd_ps(a.v, b.v, c.v);
}
TERCEL_INLINE Vec<float> sqrt(Vec<float> a) { return _mm512_sqrt_ps(a.v); }
TERCEL_INLINE Vec<float> round(Vec<float> a) {
  return _mm512_roundscale_ps(a.v, 0x08);
}  // ties to even
TERCEL_INLINE Vec<float> floor(Vec<float> a) { return _mm512_roundscale_ps(a.v, 0x09); }
TERCEL_INLINE Vec<float> ceil(Vec<float> a) { return _mm512_roundscale_ps(a.v, 0x0a); }
TERCEL_INLINE Vec<float> trunc(Vec<float> a) { return _mm512_roundscale_ps(a.v, 0x0b); }
// larger one; the second operand if either is NaN
TERCEL_INLINE Vec<float> max_or_second(Vec<float> a, Vec<float> b) {
  return _mm512_max_ps(a.v, b.v);
}
TERCEL_INLINE Vec<float> min_or_second(Vec<float> a, Vec<float> b) {
  return _mm512_min_ps(a.v, b.v);
}
TERCEL_INLINE Mask16 operator<(Vec<float> a, Vec<float> b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
TERCEL_INLINE Mask16 operator<=(Vec<float> a, Vec<float> b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)};
}
TERCEL_INLINE Mask16 operator>(Vec<float> a, Vec<float> b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)};
}
TERCEL_INLINE Mask16 operator>=(Vec<float> a, Vec<float> b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)};
}
TERCEL_INLINE Mask16 operator==(Vec<float> a, Vec<float> b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)};
}
TERCEL_INLINE Mask16 operator!=(Vec<float> a, Vec<float> b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)};
}
TERCEL_INLINE Vec<float> select(Mask16 m, Vec<float> a, Vec<float> b) {
  return _mm512_mask_blend_ps(m.m, b.v, a.v);
}
TERCEL_INLINE Vec<double> operator+(Vec<double> a, Vec<double> b) {
  return _mm512_add_pd(a.v, b.v);
}
TERCEL_INLINE Vec<double> operator-(Vec<double> a, Vec<double> b) {
  return _mm512_sub_pd(a.v, b.v);
}
TERCEL_INLINE Vec<double> operator*(Vec<double> a, Vec<double> b) {
  return _mm512_mul_pd(a.v, b.v);
}
TERCEL_INLINE Vec<double> operator/(Vec<double> a, Vec<double> b) {
  return _mm512_div_pd(a.v, b.v);
}
TERCEL_INLINE Vec<double> operator-(Vec<double> a) {
  return _mm512_xor_pd(a.v, _mm512_set1_pd(-0.0));
}
TERCEL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm512_fmadd_pd(a.v, b.v, c.v);
}
TERCEL_INLINE Vec<double> sqrt(Vec<double> a) { return _mm512_sqrt_pd(a.v); }
TERCEL_INLINE Vec<double> round(Vec<double> a) { return _mm512_roundscale_pd(a.v, 0x08); }
TERCEL_INLINE Vec<double> floor(Vec<double> a) { return _mm512_roundscale_pd(a.v, 0x09); }
TERCEL_INLINE Vec<double> ceil(Vec<double> a) { return _mm512_roundscale_pd(a.v, 0x0a); }
TERCEL_INLINE Vec<double> trunc(Vec<double> a) { return _mm512_roundscale_pd(a.v, 0x0b); }
TERCEL_INLINE Vec<double> max_or_second(Vec<double> a, Vec<double> b) {
  return _mm512_max_pd(a.v, b.v);
}
TERCEL_INLINE Vec<double> min_or_second(Vec<double> a, Vec<double> b) {
  return _mm512_min_pd(a.v, b.v);
}
TERCEL_INLINE Mask8 operator<(Vec<double> a, Vec<double> b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)};
}
TERCEL_INLINE Mask8 operator<=(Vec<double> a, Vec<double> b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ)};
}
TERCEL_INLINE Mask8 operator>(Vec<double> a, Vec<double> b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ)};
}
TERCEL_INLINE Mask8 operator>=(Vec<double> a, Vec<double> b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_GE_OQ)};
}
TERCEL_INLINE Mask8 operator==(Vec<double> a, Vec<double> b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ)};
}
TERCEL_INLINE Mask8 operator!=(Vec<double> a, Vec<double> b) {
  return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_NEQ_UQ)};
}
TERCEL_INLINE Vec<double> select(Mask8 m, Vec<double> a, Vec<double> b) {
  return _mm512_mask_blend_pd(m.m, b.v, a.v);
}

// ---- reductions over lanes, fixed tree
// -------------------------------------------------------------
TERCEL_INLINE float sum(Vec<float> a) {
  const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
TERCEL_INLINE double sum(Vec<double> a) {
  const __m256d s4 = _mm256_add_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1));
  const __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}
// Lanes must not be NaN (use `maximum`/`minimum` with a separate NaN test where they may be).
TERCEL_INLINE float max_lanes(Vec<float> a) { return _mm512_reduce_max_ps(a.v); }
TERCEL_INLINE float min_lanes(Vec<float> a) { return _mm512_reduce_min_ps(a.v); }
TERCEL_INLINE double max_lanes(Vec<double> a) { return _mm512_reduce_max_pd(a.v); }
TERCEL_INLINE double min_lanes(Vec<double> a) { return _mm512_reduce_min_pd(a.v); }

}  // namespace
}  // namespace tercel::simd
