// Vec<T> in a pair of 256-bit registers (low half, high half). See vec.h for the contract.
#pragma once

#include <immintrin.h>

namespace tercel::simd {
namespace {

struct Mask16 {
  __m256 lo, hi;
};
struct Mask8 {
  __m256d lo, hi;
};
TERCEL_INLINE Mask16 operator&(Mask16 a, Mask16 b) {
  return {_mm256_and_ps(a.lo, b.lo), _mm256_and_ps(a.hi, b.hi)};
}
TERCEL_INLINE Mask16 operator|(Mask16 a, Mask16 b) {
  return {_mm256_or_ps(a.lo, b.lo), _mm256_or_ps(a.hi, b.hi)};
}
TERCEL_INLINE Mask16 operator!(Mask16 a) {
  const __m256 ones = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  return {_mm256_xor_ps(a.lo, ones), _mm256_xor_ps(a.hi, ones)};
}
TERCEL_INLINE uint32_t bits(Mask16 a) {
  return static_cast<uint32_t>(_mm256_movemask_ps(a.lo)) |
         static_cast<uint32_t>(_mm256_movemask_ps(a.hi)) << 8;
}
TERCEL_INLINE bool any(Mask16 a) { return bits(a) != 0; }
TERCEL_INLINE bool all(Mask16 a) { return bits(a) == 0xffff; }
TERCEL_INLINE Mask8 operator&(Mask8 a, Mask8 b) {
  return {_mm256_and_pd(a.lo, b.lo), _mm256_and_pd(a.hi, b.hi)};
}
TERCEL_INLINE Mask8 operator|(Mask8 a, Mask8 b) {
  return {_mm256_or_pd(a.lo, b.lo), _mm256_or_pd(a.hi, b.hi)};
}
TERCEL_INLINE Mask8 operator!(Mask8 a) {
  const __m256d ones = _mm256_castsi256_pd(_mm256_set1_epi32(-1));
  return {_mm256_xor_pd(a.lo, ones), _mm256_xor_pd(a.hi, ones)};
}
TERCEL_INLINE uint32_t bits(Mask8 a) {
  return static_cast<uint32_t>(_mm256_movemask_pd(a.lo)) |
         static_cast<uint32_t>(_mm256_movemask_pd(a.hi)) << 4;
}
TERCEL_INLINE bool any(Mask8 a) { return bits(a) != 0; }
TERCEL_INLINE bool all(Mask8 a) { return bits(a) == 0xff; }

template <>
struct Vec<int32_t> {
  static constexpr int size = 16;
  using Scalar = int32_t;
  using Mask = Mask16;
  __m256i lo, hi;
  Vec() = default;
  TERCEL_INLINE Vec(__m256i l, __m256i h) : lo(l), hi(h) {}
  TERCEL_INLINE explicit Vec(int32_t x) : lo(_mm256_set1_epi32(x)), hi(lo) {}
  TERCEL_INLINE static Vec load(const int32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
  }
  TERCEL_INLINE static Vec load(const uint8_t* p) {
    return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  TERCEL_INLINE static Vec load(const uint16_t* p) {
    return {_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  TERCEL_INLINE void store(int32_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), hi);
  }
  TERCEL_INLINE __m256i low_words() const {  // low 16 bits of each lane, in lane order
    const __m256i mask = _mm256_set1_epi32(0xffff);
    const __m256i packed =
        _mm256_packus_epi32(_mm256_and_si256(lo, mask), _mm256_and_si256(hi, mask));
    return _mm256_permute4x64_epi64(packed, 0xd8);
  }
  TERCEL_INLINE void store(uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), low_words());
  }
  TERCEL_INLINE void store(uint8_t* p) const {
    const __m256i words = _mm256_and_si256(low_words(), _mm256_set1_epi16(0xff));
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
  }
};
template <>
struct Vec<int64_t> {
  static constexpr int size = 8;
  using Scalar = int64_t;
  using Mask = Mask8;
  __m256i lo, hi;
  Vec() = default;
  TERCEL_INLINE Vec(__m256i l, __m256i h) : lo(l), hi(h) {}
  TERCEL_INLINE explicit Vec(int64_t x) : lo(_mm256_set1_epi64x(x)), hi(lo) {}
  TERCEL_INLINE static Vec load(const int64_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 4))};
  }
  TERCEL_INLINE void store(int64_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), lo);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 4), hi);
  }
};

template <>
struct Vec<float> {
  static constexpr int size = 16;
  using Scalar = float;
  using Mask = Mask16;
  using Int = Vec<int32_t>;
  __m256 lo, hi;
  Vec() = default;
  TERCEL_INLINE Vec(__m256 l, __m256 h) : lo(l), hi(h) {}
  TERCEL_INLINE explicit Vec(float x) : lo(_mm256_set1_ps(x)), hi(lo) {}
  TERCEL_INLINE static Vec load(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
  }
  TERCEL_INLINE static Vec load(const f16* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  TERCEL_INLINE static Vec load(const bf16* p);
  TERCEL_INLINE static Vec load(const f8e4m3* p);
  TERCEL_INLINE static Vec load(const f8e5m2* p);
  TERCEL_INLINE void store(float* p) const {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }
  TERCEL_INLINE void store(f16* p) const {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(lo, kMode));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(hi, kMode));
  }
  TERCEL_INLINE void store(bf16* p) const;
  TERCEL_INLINE void store(f8e4m3* p) const;
  TERCEL_INLINE void store(f8e5m2* p) const;
  // p aligned to 64 bytes; bypasses the caches, finish with stream_fence()
  TERCEL_INLINE void stream(float* p) const {
    _mm256_stream_ps(p, lo);
    _mm256_stream_ps(p + 8, hi);
  }
  template <class S>
  TERCEL_INLINE static Vec load_n(const S* p, int64_t n) {
    return load_partial<Vec>(p, n);
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
  __m256d lo, hi;
  Vec() = default;
  TERCEL_INLINE Vec(__m256d l, __m256d h) : lo(l), hi(h) {}
  TERCEL_INLINE explicit Vec(double x) : lo(_mm256_set1_pd(x)), hi(lo) {}
  TERCEL_INLINE static Vec load(const double* p) {
    return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
  }
  TERCEL_INLINE void store(double* p) const {
    _mm256_storeu_pd(p, lo);
    _mm256_storeu_pd(p + 4, hi);
  }
  TERCEL_INLINE void stream(double* p) const {
    _mm256_stream_pd(p, lo);
    _mm256_stream_pd(p + 4, hi);
  }
  TERCEL_INLINE static Vec load_n(const double* p, int64_t n) { return load_partial<Vec>(p, n); }
  TERCEL_INLINE void store_n(double* p, int64_t n) const { store_partial(*this, p, n); }
};
TERCEL_INLINE void stream_fence() { _mm_sfence(); }

// ---- bit casts and conversions
// ---------------------------------------------------------------------
TERCEL_INLINE Vec<int32_t> as_int(Vec<float> a) {
  return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)};
}
TERCEL_INLINE Vec<int64_t> as_int(Vec<double> a) {
  return {_mm256_castpd_si256(a.lo), _mm256_castpd_si256(a.hi)};
}
TERCEL_INLINE Vec<float> as_float(Vec<int32_t> a) {
  return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)};
}
TERCEL_INLINE Vec<double> as_double(Vec<int64_t> a) {
  return {_mm256_castsi256_pd(a.lo), _mm256_castsi256_pd(a.hi)};
}
TERCEL_INLINE Vec<int32_t> to_int(Vec<float> a) {  // truncates
  return {_mm256_cvttps_epi32(a.lo), _mm256_cvttps_epi32(a.hi)};
}
TERCEL_INLINE Vec<float> to_float(Vec<int32_t> a) {
  return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}
TERCEL_INLINE Vec<double> to_double_lo(Vec<float> a) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(a.lo)),
          _mm256_cvtps_pd(_mm256_extractf128_ps(a.lo, 1))};
}
TERCEL_INLINE Vec<double> to_double_hi(Vec<float> a) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(a.hi)),
          _mm256_cvtps_pd(_mm256_extractf128_ps(a.hi, 1))};
}
TERCEL_INLINE Vec<float> to_float(Vec<double> lo, Vec<double> hi) {
  return {_mm256_set_m128(_mm256_cvtpd_ps(lo.hi), _mm256_cvtpd_ps(lo.lo)),
          _mm256_set_m128(_mm256_cvtpd_ps(hi.hi), _mm256_cvtpd_ps(hi.lo))};
}

// ---- integer
// ---------------------------------------------------------------------------------------
TERCEL_INLINE Vec<int32_t> operator+(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
TERCEL_INLINE Vec<int32_t> operator-(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}
TERCEL_INLINE Vec<int32_t> operator&(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
TERCEL_INLINE Vec<int32_t> operator|(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
TERCEL_INLINE Vec<int32_t> operator^(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
}
TERCEL_INLINE Mask16 operator==(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.lo, b.lo)),
          _mm256_castsi256_ps(_mm256_cmpeq_epi32(a.hi, b.hi))};
}
TERCEL_INLINE Mask16 operator>(Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.lo, b.lo)),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(a.hi, b.hi))};
}
TERCEL_INLINE Mask16 operator<(Vec<int32_t> a, Vec<int32_t> b) { return b > a; }
template <int N>
TERCEL_INLINE Vec<int32_t> shift_left(Vec<int32_t> a) {
  return {_mm256_slli_epi32(a.lo, N), _mm256_slli_epi32(a.hi, N)};
}
template <int N>
TERCEL_INLINE Vec<int32_t> shift_right(Vec<int32_t> a) {  // logical
  return {_mm256_srli_epi32(a.lo, N), _mm256_srli_epi32(a.hi, N)};
}
template <int N>
TERCEL_INLINE Vec<int32_t> shift_right_signed(Vec<int32_t> a) {
  return {_mm256_srai_epi32(a.lo, N), _mm256_srai_epi32(a.hi, N)};
}
TERCEL_INLINE Vec<int32_t> select(Mask16 m, Vec<int32_t> a, Vec<int32_t> b) {
  return {_mm256_blendv_epi8(b.lo, a.lo, _mm256_castps_si256(m.lo)),
          _mm256_blendv_epi8(b.hi, a.hi, _mm256_castps_si256(m.hi))};
}
TERCEL_INLINE Vec<int64_t> operator+(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm256_add_epi64(a.lo, b.lo), _mm256_add_epi64(a.hi, b.hi)};
}
TERCEL_INLINE Vec<int64_t> operator-(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm256_sub_epi64(a.lo, b.lo), _mm256_sub_epi64(a.hi, b.hi)};
}
TERCEL_INLINE Vec<int64_t> operator&(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
TERCEL_INLINE Vec<int64_t> operator|(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
TERCEL_INLINE Vec<int64_t> operator^(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
}
TERCEL_INLINE Mask8 operator==(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm256_castsi256_pd(_mm256_cmpeq_epi64(a.lo, b.lo)),
          _mm256_castsi256_pd(_mm256_cmpeq_epi64(a.hi, b.hi))};
}
TERCEL_INLINE Mask8 operator>(Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm256_castsi256_pd(_mm256_cmpgt_epi64(a.lo, b.lo)),
          _mm256_castsi256_pd(_mm256_cmpgt_epi64(a.hi, b.hi))};
}
TERCEL_INLINE Mask8 operator<(Vec<int64_t> a, Vec<int64_t> b) { return b > a; }
template <int N>
TERCEL_INLINE Vec<int64_t> shift_left(Vec<int64_t> a) {
  return {_mm256_slli_epi64(a.lo, N), _mm256_slli_epi64(a.hi, N)};
}
template <int N>
TERCEL_INLINE Vec<int64_t> shift_right(Vec<int64_t> a) {  // logical
  return {_mm256_srli_epi64(a.lo, N), _mm256_srli_epi64(a.hi, N)};
}
TERCEL_INLINE Vec<int64_t> select(Mask8 m, Vec<int64_t> a, Vec<int64_t> b) {
  return {_mm256_blendv_epi8(b.lo, a.lo, _mm256_castpd_si256(m.lo)),
          _mm256_blendv_epi8(b.hi, a.hi, _mm256_castpd_si256(m.hi))};
}

// ---- float and double
// ------------------------------------------------------------------------------
TERCEL_INLINE Vec<float> operator+(Vec<float> a, Vec<float> b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
TERCEL_INLINE Vec<float> operator-(Vec<float> a, Vec<float> b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
TERCEL_INLINE Vec<float> operator*(Vec<float> a, Vec<float> b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
TERCEL_INLINE Vec<float> operator/(Vec<float> a, Vec<float> b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
TERCEL_INLINE Vec<float> operator-(Vec<float> a) {
  const auto sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign)};
}
TERCEL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
TERCEL_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
TERCEL_INLINE Vec<float> round(Vec<float> a) {
  return {_mm256_round_ps(a.lo, 0x08), _mm256_round_ps(a.hi, 0x08)};
}  // ties to even
TERCEL_INLINE Vec<float> floor(Vec<float> a) {
  return {_mm256_round_ps(a.lo, 0x09), _mm256_round_ps(a.hi, 0x09)};
}
TERCEL_INLINE Vec<float> ceil(Vec<float> a) {
  return {_mm256_round_ps(a.lo, 0x0a), _mm256_round_ps(a.hi, 0x0a)};
}
TERCEL_INLINE Vec<float> trunc(Vec<float> a) {
  return {_mm256_round_ps(a.lo, 0x0b), _mm256_round_ps(a.hi, 0x0b)};
}
// larger one; the second operand if either is NaN
TERCEL_INLINE Vec<float> max_or_second(Vec<float> a, Vec<float> b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
TERCEL_INLINE Vec<float> min_or_second(Vec<float> a, Vec<float> b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
TERCEL_INLINE Mask16 operator<(Vec<float> a, Vec<float> b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
TERCEL_INLINE Mask16 operator<=(Vec<float> a, Vec<float> b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LE_OQ)};
}
TERCEL_INLINE Mask16 operator>(Vec<float> a, Vec<float> b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)};
}
TERCEL_INLINE Mask16 operator>=(Vec<float> a, Vec<float> b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ)};
}
TERCEL_INLINE Mask16 operator==(Vec<float> a, Vec<float> b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
TERCEL_INLINE Mask16 operator!=(Vec<float> a, Vec<float> b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_NEQ_UQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_NEQ_UQ)};
}
TERCEL_INLINE Vec<float> select(Mask16 m, Vec<float> a, Vec<float> b) {
  return {_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}
TERCEL_INLINE Vec<double> operator+(Vec<double> a, Vec<double> b) {
  return {_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi)};
}
TERCEL_INLINE Vec<double> operator-(Vec<double> a, Vec<double> b) {
  return {_mm256_sub_pd(a.lo, b.lo), _mm256_sub_pd(a.hi, b.hi)};
}
TERCEL_INLINE Vec<double> operator*(Vec<double> a, Vec<double> b) {
  return {_mm256_mul_pd(a.lo, b.lo), _mm256_mul_pd(a.hi, b.hi)};
}
TERCEL_INLINE Vec<double> operator/(Vec<double> a, Vec<double> b) {
  return {_mm256_div_pd(a.lo, b.lo), _mm256_div_pd(a.hi, b.hi)};
}
TERCEL_INLINE Vec<double> operator-(Vec<double> a) {
  const auto sign = _mm256_set1_pd(-0.0);
  return {_mm256_xor_pd(a.lo, sign), _mm256_xor_pd(a.hi, sign)};
}
TERCEL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return {_mm256_fmadd_pd(a.lo, b.lo, c.lo), _mm256_fmadd_pd(a.hi, b.hi, c.hi)};
}
TERCEL_INLINE Vec<double> sqrt(Vec<double> a) {
  return {_mm256_sqrt_pd(a.lo), _mm256_sqrt_pd(a.hi)};
}
TERCEL_INLINE Vec<double> round(Vec<double> a) {
  return {_mm256_round_pd(a.lo, 0x08), _mm256_round_pd(a.hi, 0x08)};
}  // ties to even
TERCEL_INLINE Vec<double> floor(Vec<double> a) {
  return {_mm256_round_pd(a.lo, 0x09), _mm256_round_pd(a.hi, 0x09)};
}
TERCEL_INLINE Vec<double> ceil(Vec<double> a) {
  return {_mm256_round_pd(a.lo, 0x0a), _mm256_round_pd(a.hi, 0x0a)};
}
TERCEL_INLINE Vec<double> trunc(Vec<double> a) {
  return {_mm256_round_pd(a.lo, 0x0b), _mm256_round_pd(a.hi, 0x0b)};
}
TERCEL_INLINE Vec<double> max_or_second(Vec<double> a, Vec<double> b) {
  return {_mm256_max_pd(a.lo, b.lo), _mm256_max_pd(a.hi, b.hi)};
}
TERCEL_INLINE Vec<double> min_or_second(Vec<double> a, Vec<double> b) {
  return {_mm256_min_pd(a.lo, b.lo), _mm256_min_pd(a.hi, b.hi)};
}
TERCEL_INLINE Mask8 operator<(Vec<double> a, Vec<double> b) {
  return {_mm256_cmp_pd(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_pd(a.hi, b.hi, _CMP_LT_OQ)};
}
TERCEL_INLINE Mask8 operator<=(Vec<double> a, Vec<double> b) {
  return {_mm256_cmp_pd(a.lo, b.lo, _CMP_LE_OQ), _mm256_cmp_pd(a.hi, b.hi, _CMP_LE_OQ)};
}
TERCEL_INLINE Mask8 operator>(Vec<double> a, Vec<double> b) {
  return {_mm256_cmp_pd(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_pd(a.hi, b.hi, _CMP_GT_OQ)};
}
TERCEL_INLINE Mask8 operator>=(Vec<double> a, Vec<double> b) {
  return {_mm256_cmp_pd(a.lo, b.lo, _CMP_GE_OQ), _mm256_cmp_pd(a.hi, b.hi, _CMP_GE_OQ)};
}
TERCEL_INLINE Mask8 operator==(Vec<double> a, Vec<double> b) {
  return {_mm256_cmp_pd(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_pd(a.hi, b.hi, _CMP_EQ_OQ)};
}
TERCEL_INLINE Mask8 operator!=(Vec<double> a, Vec<double> b) {
  return {_mm256_cmp_pd(a.lo, b.lo, _CMP_NEQ_UQ), _mm256_cmp_pd(a.hi, b.hi, _CMP_NEQ_UQ)};
}
TERCEL_INLINE Vec<double> select(Mask8 m, Vec<double> a, Vec<double> b) {
  return {_mm256_blendv_pd(b.lo, a.lo, m.lo), _mm256_blendv_pd(b.hi, a.hi, m.hi)};
}

// ---- reductions over lanes, fixed tree
// -------------------------------------------------------------
TERCEL_INLINE float sum(Vec<float> a) {
  const __m256 s8 = _mm256_add_ps(a.lo, a.hi);
  const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
TERCEL_INLINE double sum(Vec<double> a) {
  const __m256d s4 = _mm256_add_pd(a.lo, a.hi);
  const __m128d s2 = _mm_add_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s2, _mm_unpackhi_pd(s2, s2)));
}
// Lanes must not be NaN (use `maximum`/`minimum` with a separate NaN test where they may be).
TERCEL_INLINE float max_lanes(Vec<float> a) {
  const __m256 s8 = _mm256_max_ps(a.lo, a.hi);
  const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}
TERCEL_INLINE double max_lanes(Vec<double> a) {
  const __m256d s4 = _mm256_max_pd(a.lo, a.hi);
  const __m128d s2 = _mm_max_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
  return _mm_cvtsd_f64(_mm_max_sd(s2, _mm_unpackhi_pd(s2, s2)));
}
TERCEL_INLINE float min_lanes(Vec<float> a) {
  const __m256 s8 = _mm256_min_ps(a.lo, a.hi);
  const __m128 s4 = _mm_min_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  const __m128 s2 = _mm_min_ps(s4, _mm_movehl_ps(s4, s4));
  return _mm_cvtss_f32(_mm_min_ss(s2, _mm_movehdup_ps(s2)));
}
TERCEL_INLINE double min_lanes(Vec<double> a) {
  const __m256d s4 = _mm256_min_pd(a.lo, a.hi);
  const __m128d s2 = _mm_min_pd(_mm256_castpd256_pd128(s4), _mm256_extractf128_pd(s4, 1));
  return _mm_cvtsd_f64(_mm_min_sd(s2, _mm_unpackhi_pd(s2, s2)));
}

}  // namespace
}  // namespace tercel::simd
