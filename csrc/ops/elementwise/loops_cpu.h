// Loops that turn a lambda into an Op, per ISA level.
//
// Vector lambdas take Vec<float> or Vec<double>; scalar lambdas take float, double, int32_t or
// int64_t and are left to the compiler's vectoriser. The last argument is a local copy of the
// scalar parameters.
#pragma once

#include "ops/elementwise/op.h"
#include "simd/vmath.h"

namespace tercel::TERCEL_LEVEL {
namespace {

using namespace simd;

struct Params {
  double v[kMaxParams];
  TERCEL_INLINE double operator[](int i) const { return v[i]; }
};
TERCEL_INLINE Params copy_params(const double* p) { return {{p[0], p[1], p[2], p[3]}}; }

template <class F, class T>
__attribute__((flatten)) void vector_unary(const double* params, void* out, const void* const* in,
                                           int64_t n) {
  using V = Vec<T>;
  const Params p = copy_params(params);
  const T* x = static_cast<const T*>(in[0]);
  T* y = static_cast<T*>(out);
  int64_t i = 0;
#if defined(TERCEL_LEVEL_AVX512)  // two chains of dependent instructions, as the other levels have
  for (; i + 2 * V::size <= n; i += 2 * V::size) {
    const V first = F{}(V::load(x + i), p), second = F{}(V::load(x + i + V::size), p);
    first.store(y + i);
    second.store(y + i + V::size);
  }
#endif
  for (; i < n; i += V::size) {  // one call site: heavy functions are inlined once
    const int64_t left = n - i;
    const V v = left >= V::size ? V::load(x + i) : V::load_n(x + i, left);
    const V r = F{}(v, p);
    if (left >= V::size) {
      r.store(y + i);
    } else {
      r.store_n(y + i, left);
    }
  }
}
template <class F, class T>
__attribute__((flatten)) void vector_binary(const double* params, void* out, const void* const* in,
                                            int64_t n) {
  using V = Vec<T>;
  const Params p = copy_params(params);
  const T* a = static_cast<const T*>(in[0]);
  const T* b = static_cast<const T*>(in[1]);
  T* y = static_cast<T*>(out);
  for (int64_t i = 0; i < n; i += V::size) {
    const int64_t left = n - i;
    if (left >= V::size) [[likely]] {
      F{}(V::load(a + i), V::load(b + i), p).store(y + i);
    } else {
      F{}(V::load_n(a + i, left), V::load_n(b + i, left), p).store_n(y + i, left);
    }
  }
}
template <class F, class T>
__attribute__((flatten)) void vector_ternary(const double* params, void* out, const void* const* in,
                                             int64_t n) {
  using V = Vec<T>;
  const Params p = copy_params(params);
  const T* a = static_cast<const T*>(in[0]);
  const T* b = static_cast<const T*>(in[1]);
  const T* c = static_cast<const T*>(in[2]);
  T* y = static_cast<T*>(out);
  for (int64_t i = 0; i < n; i += V::size) {
    const int64_t left = n - i;
    if (left >= V::size) [[likely]] {
      F{}(V::load(a + i), V::load(b + i), V::load(c + i), p).store(y + i);
    } else {
      F{}(V::load_n(a + i, left), V::load_n(b + i, left), V::load_n(c + i, left), p)
          .store_n(y + i, left);
    }
  }
}
// out[i] and in[k][i] are the only elements an iteration touches, so `out` may be an input.
template <class F, class T, class R>
void scalar_unary(const double* params, void* out, const void* const* in, int64_t n) {
  const Params p = copy_params(params);
  const T* x = static_cast<const T*>(in[0]);
  R* y = static_cast<R*>(out);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(F{}(x[i], p));
}
template <class F, class T, class R>
void scalar_binary(const double* params, void* out, const void* const* in, int64_t n) {
  const Params p = copy_params(params);
  const T* a = static_cast<const T*>(in[0]);
  const T* b = static_cast<const T*>(in[1]);
  R* y = static_cast<R*>(out);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(F{}(a[i], b[i], p));
}
template <class F, class T, class R>
void scalar_ternary(const double* params, void* out, const void* const* in, int64_t n) {
  const Params p = copy_params(params);
  const T* a = static_cast<const T*>(in[0]);
  const T* b = static_cast<const T*>(in[1]);
  const T* c = static_cast<const T*>(in[2]);
  R* y = static_cast<R*>(out);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(F{}(a[i], b[i], c[i], p));
}

// Builders of table entries. `cost`: picoseconds per float32 element.
template <class F>
constexpr Op float_unary(int cost, F) {
  return {{vector_unary<F, float>, vector_unary<F, double>, nullptr, nullptr}, cost};
}
template <class F>
constexpr Op float_binary(int cost, F) {
  return {{vector_binary<F, float>, vector_binary<F, double>, nullptr, nullptr}, cost};
}
template <class F>
constexpr Op float_ternary(int cost, F) {
  return {{vector_ternary<F, float>, vector_ternary<F, double>, nullptr, nullptr}, cost};
}
template <class F, class I>
constexpr Op any_unary(int cost, F, I) {  // vector lambda for floats, scalar lambda for integers
  return {{vector_unary<F, float>, vector_unary<F, double>, scalar_unary<I, int32_t, int32_t>,
           scalar_unary<I, int64_t, int64_t>},
          cost};
}
template <class F, class I>
constexpr Op any_binary(int cost, F, I) {
  return {{vector_binary<F, float>, vector_binary<F, double>, scalar_binary<I, int32_t, int32_t>,
           scalar_binary<I, int64_t, int64_t>},
          cost};
}
template <class I>
constexpr Op int_unary(int cost, I) {
  return {{nullptr, nullptr, scalar_unary<I, int32_t, int32_t>, scalar_unary<I, int64_t, int64_t>},
          cost};
}
template <class I>
constexpr Op int_binary(int cost, I) {
  return {
      {nullptr, nullptr, scalar_binary<I, int32_t, int32_t>, scalar_binary<I, int64_t, int64_t>},
      cost};
}
// Ops on bit patterns: one byte loop serves bool, uint8 and int8.
template <class I>
constexpr Op bit_binary(int cost, I) {
  return {{nullptr, nullptr, scalar_binary<I, int32_t, int32_t>, scalar_binary<I, int64_t, int64_t>,
           scalar_binary<I, uint8_t, uint8_t>},
          cost};
}
template <class F>
constexpr Op bit_test_binary(int cost, F) {
  return {{scalar_binary<F, float, uint8_t>, scalar_binary<F, double, uint8_t>,
           scalar_binary<F, int32_t, uint8_t>, scalar_binary<F, int64_t, uint8_t>,
           scalar_binary<F, uint8_t, uint8_t>},
          cost};
}
template <class F>
constexpr Op bit_test_unary(int cost, F) {
  return {{scalar_unary<F, float, uint8_t>, scalar_unary<F, double, uint8_t>,
           scalar_unary<F, int32_t, uint8_t>, scalar_unary<F, int64_t, uint8_t>,
           scalar_unary<F, uint8_t, uint8_t>},
          cost};
}
template <class F>
constexpr Op test_unary(int cost, F) {  // result bool
  return {{scalar_unary<F, float, uint8_t>, scalar_unary<F, double, uint8_t>,
           scalar_unary<F, int32_t, uint8_t>, scalar_unary<F, int64_t, uint8_t>},
          cost};
}
template <class F>
constexpr Op test_binary(int cost, F) {
  return {{scalar_binary<F, float, uint8_t>, scalar_binary<F, double, uint8_t>,
           scalar_binary<F, int32_t, uint8_t>, scalar_binary<F, int64_t, uint8_t>},
          cost};
}

template <class T>
struct UnsignedOf;
template <>
struct UnsignedOf<int32_t> {
  using type = uint32_t;
};
template <>
struct UnsignedOf<int64_t> {
  using type = uint64_t;
};
template <class T>
using Unsigned = typename UnsignedOf<T>::type;
// Two's complement arithmetic without undefined overflow.
template <class T>
TERCEL_INLINE T wrap_add(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
}
template <class T>
TERCEL_INLINE T wrap_sub(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
}
template <class T>
TERCEL_INLINE T wrap_mul(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) * static_cast<Unsigned<T>>(b));
}

}  // namespace
}  // namespace tercel::TERCEL_LEVEL
