// Vec<T> as a compiler vector: correct on any processor, including those without fused multiply-add
// hardware (fma then calls the C library). See vec.h for the contract.
#pragma once

#include <math.h>

// Passing 64-byte vectors by value: every function here is inlined, so the ABI note is moot.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace tercel::simd {
namespace {

typedef float RawF __attribute__((vector_size(64)));
typedef double RawD __attribute__((vector_size(64)));
typedef int32_t RawI __attribute__((vector_size(64)));
typedef int64_t RawL __attribute__((vector_size(64)));
typedef uint32_t RawU __attribute__((vector_size(64)));
typedef uint64_t RawUL __attribute__((vector_size(64)));

struct Mask16 {
  RawI m;  // 0 or -1
};
struct Mask8 {
  RawL m;
};
template <class M>
TERCEL_SIMD uint32_t mask_bits(const M& a, int n) {
  uint32_t r = 0;
  for (int i = 0; i < n; ++i) r |= static_cast<uint32_t>(a.m[i] & 1) << i;
  return r;
}
TERCEL_INLINE uint32_t bits(const Mask16& a) { return mask_bits(a, 16); }
TERCEL_INLINE uint32_t bits(const Mask8& a) { return mask_bits(a, 8); }
TERCEL_INLINE Mask16 operator&(const Mask16& a, const Mask16& b) { return {a.m & b.m}; }
TERCEL_INLINE Mask16 operator|(const Mask16& a, const Mask16& b) { return {a.m | b.m}; }
TERCEL_INLINE Mask16 operator!(const Mask16& a) { return {~a.m}; }
TERCEL_INLINE bool any(const Mask16& a) { return bits(a) != 0; }
TERCEL_INLINE bool all(const Mask16& a) { return bits(a) == 0xffff; }
TERCEL_INLINE Mask8 operator&(const Mask8& a, const Mask8& b) { return {a.m & b.m}; }
TERCEL_INLINE Mask8 operator|(const Mask8& a, const Mask8& b) { return {a.m | b.m}; }
TERCEL_INLINE Mask8 operator!(const Mask8& a) { return {~a.m}; }
TERCEL_INLINE bool any(const Mask8& a) { return bits(a) != 0; }
TERCEL_INLINE bool all(const Mask8& a) { return bits(a) == 0xff; }

template <class R, class T>
TERCEL_INLINE void raw_load(R& v, const T* p) {
  __builtin_memcpy(&v, p, 64);
}
template <class R, class T>
TERCEL_INLINE void raw_store(const R& v, T* p) {
  __builtin_memcpy(p, &v, 64);
}

template <>
struct Vec<int32_t> {
  static constexpr int size = 16;
  using Scalar = int32_t;
  using Mask = Mask16;
  RawI v;
  Vec() = default;
  TERCEL_INLINE Vec(const RawI& x) : v(x) {}
  TERCEL_INLINE explicit Vec(int32_t x) : v(RawI{} + x) {}
  template <class S>  // int32_t, or uint8_t / uint16_t zero-extended
  TERCEL_SIMD static Vec load(const S* p) {
    Vec r;
    for (int i = 0; i < 16; ++i) r.v[i] = static_cast<int32_t>(p[i]);
    return r;
  }
  template <class S>
  TERCEL_INLINE void store(S* p) const {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<S>(v[i]);
  }
};
template <>
struct Vec<int64_t> {
  static constexpr int size = 8;
  using Scalar = int64_t;
  using Mask = Mask8;
  RawL v;
  Vec() = default;
  TERCEL_INLINE Vec(const RawL& x) : v(x) {}
  TERCEL_INLINE explicit Vec(int64_t x) : v(RawL{} + x) {}
  TERCEL_INLINE static Vec load(const int64_t* p) {
    Vec r;
    raw_load(r.v, p);
    return r;
  }
  TERCEL_INLINE void store(int64_t* p) const { raw_store(v, p); }
};

template <>
struct Vec<float> {
  static constexpr int size = 16;
  using Scalar = float;
  using Mask = Mask16;
  using Int = Vec<int32_t>;
  RawF v;
  Vec() = default;
  TERCEL_INLINE Vec(const RawF& x) : v(x) {}
  TERCEL_INLINE explicit Vec(float x) {
    for (int i = 0; i < 16; ++i) v[i] = x;
  }
  TERCEL_INLINE static Vec load(const float* p) {
    Vec r;
    raw_load(r.v, p);
    return r;
  }
  TERCEL_SIMD static Vec load(const f16* p) {
    Vec r;
    for (int i = 0; i < 16; ++i) r.v[i] = static_cast<float>(p[i]);
    return r;
  }
  TERCEL_SIMD static Vec load(const bf16* p);
  TERCEL_SIMD static Vec load(const f8e4m3* p);
  TERCEL_SIMD static Vec load(const f8e5m2* p);
  TERCEL_INLINE void store(float* p) const { raw_store(v, p); }
  TERCEL_SIMD void store(f16* p) const {
    for (int i = 0; i < 16; ++i) p[i] = f16(v[i]);
  }
  TERCEL_SIMD void store(bf16* p) const;
  TERCEL_SIMD void store(f8e4m3* p) const;
  TERCEL_SIMD void store(f8e5m2* p) const;
  TERCEL_INLINE void stream(float* p) const { store(p); }
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
  RawD v;
  Vec() = default;
  TERCEL_INLINE Vec(const RawD& x) : v(x) {}
  TERCEL_INLINE explicit Vec(double x) {
    for (int i = 0; i < 8; ++i) v[i] = x;
  }
  TERCEL_INLINE static Vec load(const double* p) {
    Vec r;
    raw_load(r.v, p);
    return r;
  }
  TERCEL_INLINE void store(double* p) const { raw_store(v, p); }
  TERCEL_INLINE void stream(double* p) const { store(p); }
  TERCEL_INLINE static Vec load_n(const double* p, int64_t n) { return load_partial<Vec>(p, n); }
  TERCEL_INLINE void store_n(double* p, int64_t n) const { store_partial(*this, p, n); }
};
TERCEL_INLINE void stream_fence() {}

// ---- bit casts and conversions
// ---------------------------------------------------------------------
TERCEL_INLINE Vec<int32_t> as_int(const Vec<float>& a) { return (RawI)a.v; }
TERCEL_INLINE Vec<int64_t> as_int(const Vec<double>& a) { return (RawL)a.v; }
TERCEL_INLINE Vec<float> as_float(const Vec<int32_t>& a) { return (RawF)a.v; }
TERCEL_INLINE Vec<double> as_double(const Vec<int64_t>& a) { return (RawD)a.v; }
TERCEL_SIMD Vec<int32_t> to_int(const Vec<float>& a) {  // truncates
  Vec<int32_t> r;
  for (int i = 0; i < 16; ++i) {
    r.v[i] = a.v[i] >= -0x1p31f && a.v[i] < 0x1p31f ? static_cast<int32_t>(a.v[i]) : INT32_MIN;
  }
  return r;
}
TERCEL_INLINE Vec<float> to_float(const Vec<int32_t>& a) {
  return __builtin_convertvector(a.v, RawF);
}
TERCEL_SIMD Vec<double> to_double_lo(const Vec<float>& a) {
  Vec<double> r;
  for (int i = 0; i < 8; ++i) r.v[i] = a.v[i];
  return r;
}
TERCEL_SIMD Vec<double> to_double_hi(const Vec<float>& a) {
  Vec<double> r;
  for (int i = 0; i < 8; ++i) r.v[i] = a.v[i + 8];
  return r;
}
TERCEL_SIMD Vec<float> to_float(const Vec<double>& lo, const Vec<double>& hi) {
  Vec<float> r;
  for (int i = 0; i < 8; ++i) {
    r.v[i] = static_cast<float>(lo.v[i]);
    r.v[i + 8] = static_cast<float>(hi.v[i]);
  }
  return r;
}

// ---- arithmetic and comparison
// ---------------------------------------------------------------------
#define TERCEL_VEC_BINARY(T, op) \
  TERCEL_INLINE Vec<T> operator op(const Vec<T>& a, const Vec<T>& b) { return a.v op b.v; }
#define TERCEL_VEC_COMPARE(T, M, op) \
  TERCEL_INLINE M operator op(const Vec<T>& a, const Vec<T>& b) { return {a.v op b.v}; }
#define TERCEL_VEC_INTEGER(T, M, U)                                         \
  TERCEL_VEC_BINARY(T, &)                                                   \
  TERCEL_VEC_BINARY(T, |)                                                   \
  TERCEL_VEC_BINARY(T, ^)                                                   \
  TERCEL_VEC_COMPARE(T, M, ==)                                              \
  TERCEL_VEC_COMPARE(T, M, >)                                               \
  TERCEL_VEC_COMPARE(T, M, <)                                               \
  TERCEL_INLINE Vec<T> operator+(const Vec<T>& a, const Vec<T>& b) {        \
    return (decltype(a.v))((U)a.v + (U)b.v);                                \
  }                                                                         \
  TERCEL_INLINE Vec<T> operator-(const Vec<T>& a, const Vec<T>& b) {        \
    return (decltype(a.v))((U)a.v - (U)b.v);                                \
  }                                                                         \
  template <int N>                                                          \
  TERCEL_INLINE Vec<T> shift_left(const Vec<T>& a) {                        \
    return (decltype(a.v))((U)a.v << N);                                    \
  }                                                                         \
  template <int N>                                                          \
  TERCEL_INLINE Vec<T> shift_right(const Vec<T>& a) {                       \
    return (decltype(a.v))((U)a.v >> N);                                    \
  }                                                                         \
  TERCEL_SIMD Vec<T> select(const M& m, const Vec<T>& a, const Vec<T>& b) { \
    return (a.v & m.m) | (b.v & ~m.m);                                      \
  }
TERCEL_VEC_INTEGER(int32_t, Mask16, RawU)
TERCEL_VEC_INTEGER(int64_t, Mask8, RawUL)
template <int N>
TERCEL_INLINE Vec<int32_t> shift_right_signed(const Vec<int32_t>& a) {
  return a.v >> N;
}

#define TERCEL_VEC_LANES(T, name, expression) \
  TERCEL_SIMD Vec<T> name(const Vec<T>& a) {  \
    Vec<T> r;                                 \
    for (int i = 0; i < Vec<T>::size; ++i) {  \
      const T x = a.v[i];                     \
      r.v[i] = expression;                    \
    }                                         \
    return r;                                 \
  }
#define TERCEL_VEC_FLOATING(T, M, Bits, s)                                                    \
  TERCEL_VEC_BINARY(T, +)                                                                     \
  TERCEL_VEC_BINARY(T, -)                                                                     \
  TERCEL_VEC_BINARY(T, *)                                                                     \
  TERCEL_VEC_BINARY(T, /)                                                                     \
  TERCEL_VEC_COMPARE(T, M, <)                                                                 \
  TERCEL_VEC_COMPARE(T, M, <=)                                                                \
  TERCEL_VEC_COMPARE(T, M, >)                                                                 \
  TERCEL_VEC_COMPARE(T, M, >=)                                                                \
  TERCEL_VEC_COMPARE(T, M, ==)                                                                \
  TERCEL_VEC_COMPARE(T, M, !=)                                                                \
  TERCEL_VEC_LANES(T, sqrt, __builtin_sqrt##s(x))                                             \
  TERCEL_VEC_LANES(T, round, __builtin_nearbyint##s(x))                                       \
  TERCEL_VEC_LANES(T, floor, __builtin_floor##s(x))                                           \
  TERCEL_VEC_LANES(T, ceil, __builtin_ceil##s(x))                                             \
  TERCEL_VEC_LANES(T, trunc, __builtin_trunc##s(x))                                           \
  TERCEL_INLINE Vec<T> operator-(const Vec<T>& a) { return -a.v; }                            \
  TERCEL_SIMD Vec<T> fma(const Vec<T>& a, const Vec<T>& b, const Vec<T>& c) {                 \
    Vec<T> r;                                                                                 \
    for (int i = 0; i < Vec<T>::size; ++i) r.v[i] = __builtin_fma##s(a.v[i], b.v[i], c.v[i]); \
    return r;                                                                                 \
  }                                                                                           \
  TERCEL_SIMD Vec<T> select(const M& m, const Vec<T>& a, const Vec<T>& b) {                   \
    return (decltype(a.v))(((Bits)a.v & m.m) | ((Bits)b.v & ~m.m));                           \
  }                                                                                           \
  TERCEL_INLINE Vec<T> max_or_second(const Vec<T>& a, const Vec<T>& b) {                      \
    return select(a > b, a, b);                                                               \
  }                                                                                           \
  TERCEL_INLINE Vec<T> min_or_second(const Vec<T>& a, const Vec<T>& b) {                      \
    return select(a < b, a, b);                                                               \
  }
TERCEL_VEC_FLOATING(float, Mask16, RawI, f)
TERCEL_VEC_FLOATING(double, Mask8, RawL, )
#undef TERCEL_VEC_BINARY
#undef TERCEL_VEC_COMPARE
#undef TERCEL_VEC_INTEGER
#undef TERCEL_VEC_LANES
#undef TERCEL_VEC_FLOATING

// ---- reductions over lanes, fixed tree
// -------------------------------------------------------------
template <class T, class F>
TERCEL_SIMD T fold_lanes(const Vec<T>& a, F combine) {
  T t[Vec<T>::size];
  a.store(t);
  for (int half = Vec<T>::size / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) t[i] = combine(t[i], t[i + half]);
  }
  return t[0];
}
template <class T>
TERCEL_INLINE T sum(const Vec<T>& a) {
  return fold_lanes(a, [](T x, T y) { return x + y; });
}
// Lanes must not be NaN (use `maximum`/`minimum` with a separate NaN test where they may be).
template <class T>
TERCEL_INLINE T max_lanes(const Vec<T>& a) {
  return fold_lanes(a, [](T x, T y) { return x > y ? x : y; });
}
template <class T>
TERCEL_INLINE T min_lanes(const Vec<T>& a) {
  return fold_lanes(a, [](T x, T y) { return x < y ? x : y; });
}

}  // namespace
}  // namespace tercel::simd
