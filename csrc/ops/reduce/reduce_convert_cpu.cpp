// Runs of any dtype to the accumulation types of the reductions and back.
#include "ops/reduce/reduce_iter.h"
#include "simd/prefetch.h"

namespace tercel {
namespace {

template <class T>
struct raw_type {
  using type = T;
};
template <>
struct raw_type<bool> {
  using type = uint8_t;
};  // a bool byte is read as stored

// 16- and 8-bit floats: computed in float.
template <class T>
constexpr bool kIsNarrowFloat = sizeof(T) <= 2 && !std::is_integral_v<T>;

template <class T, class A>
TERCEL_INLINE A to_acc(typename raw_type<T>::type v) {
  if constexpr (kIsNarrowFloat<T>) {
    return static_cast<A>(static_cast<float>(v));
  } else if constexpr (std::is_same_v<T, bool>) {
    return static_cast<A>(v != 0);
  } else {
    return static_cast<A>(v);
  }
}

constexpr int64_t kFetchElements = 256;

template <class T, class A>
void load_run(const void* src, int64_t stride, int64_t n, A* __restrict dst) {
  using R = typename raw_type<T>::type;
  const R* __restrict s = static_cast<const R*>(src);
  if (stride == 1) {
    const simd::ReadAhead ahead;
    for (int64_t i = 0; i < n;) {
      const int64_t end = min64(i + kFetchElements, n);
      ahead.fetch(s + i, kFetchElements * sizeof(R));
      if constexpr (kIsNarrowFloat<T> && std::is_same_v<A, float>) {
        for (; i + simd::VecF::size <= end; i += simd::VecF::size)
          simd::VecF::load(s + i).store(dst + i);
      }
      for (; i < end; ++i) dst[i] = to_acc<T, A>(s[i]);
    }
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i] = to_acc<T, A>(s[i * stride]);
  }
}

template <class T, class A>
void load_nonzero(const void* src, int64_t stride, int64_t n, A* __restrict dst) {
  using R = typename raw_type<T>::type;
  const R* __restrict s = static_cast<const R*>(src);
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (kIsNarrowFloat<T>) {
      dst[i] = static_cast<A>(static_cast<float>(s[i * stride]) != 0.0f);
    } else {
      dst[i] = static_cast<A>(s[i * stride] != 0);
    }
  }
}

template <class T, class A>
void store_run(void* dst, const A* __restrict src, int64_t n) {
  if constexpr (std::is_same_v<T, bool>) {
    uint8_t* __restrict d = static_cast<uint8_t*>(dst);
    for (int64_t i = 0; i < n; ++i) d[i] = src[i] != 0;
  } else {
    T* __restrict d = static_cast<T*>(dst);
    int64_t i = 0;
    if constexpr (kIsNarrowFloat<T> && std::is_same_v<A, float>) {
      for (; i + simd::VecF::size <= n; i += simd::VecF::size)
        simd::VecF::load(src + i).store(d + i);
    }
    for (; i < n; ++i) {
      if constexpr (kIsNarrowFloat<T>) {
        d[i] = T(static_cast<float>(src[i]));
      } else {
        d[i] = static_cast<T>(src[i]);
      }
    }
  }
}
// In the order of DType.
#define TERCEL_CONVERSIONS(fn, A)                                                                \
  {fn<double, A>, fn<float, A>,   fn<f16, A>,     fn<bf16, A>,    fn<f8e4m3, A>,  fn<f8e5m2, A>, \
   fn<int8_t, A>, fn<uint8_t, A>, fn<int16_t, A>, fn<int32_t, A>, fn<int64_t, A>, fn<bool, A>}

}  // namespace

namespace TERCEL_LEVEL {
extern const ReduceConversions<float> reduce_conversions_f32 = {
    TERCEL_CONVERSIONS(load_run, float), {}, TERCEL_CONVERSIONS(store_run, float)};
extern const ReduceConversions<double> reduce_conversions_f64 = {
    TERCEL_CONVERSIONS(load_run, double), {}, TERCEL_CONVERSIONS(store_run, double)};
extern const ReduceConversions<int64_t> reduce_conversions_i64 = {
    TERCEL_CONVERSIONS(load_run, int64_t), TERCEL_CONVERSIONS(load_nonzero, int64_t),
    TERCEL_CONVERSIONS(store_run, int64_t)};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
