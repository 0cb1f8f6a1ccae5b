// Conversions between all pairs of dtypes, gathers and scatters of runs, and copies that bypass the
// caches.
//
// Rules of conversion: to a float format round to nearest even, once, also from double and
// integers; fp8 saturates (core/half.h); float to integer truncates, out-of-range values and NaN
// give the smallest int32 (int64 for int64) cut to the target's width, as x86 and PyTorch do; to
// bool means "is not zero".
#include "ops/elementwise/move_kernels.h"

#include <string.h>

#include "ops/elementwise/transpose_cpu.h"
#include "simd/vec.h"

namespace tercel::TERCEL_LEVEL {
namespace {

using namespace simd;

struct Bool {
  uint8_t v;
};
template <class T>
inline constexpr bool kIsHalf = false;
template <>
inline constexpr bool kIsHalf<f16> = true;
template <>
inline constexpr bool kIsHalf<bf16> = true;
template <>
inline constexpr bool kIsHalf<f8e4m3> = true;
template <>
inline constexpr bool kIsHalf<f8e5m2> = true;
template <class A, class B>
inline constexpr bool kSame = false;
template <class A>
inline constexpr bool kSame<A, A> = true;
template <class T>
inline constexpr bool kIsBool = kSame<T, Bool>;
template <class T>
inline constexpr bool kIsReal = kSame<T, float> || kSame<T, double>;
template <class T>
inline constexpr bool kIsNarrowFloat = kIsHalf<T> || kSame<T, float>;

// double to float, ties and inexact results made odd, so that a second rounding is as good as one.
TERCEL_INLINE float round_to_odd(double x) {
  const float f = static_cast<float>(x);
  const double back = static_cast<double>(f);
  uint32_t u = detail::float_bits(f);
  const bool away = __builtin_fabs(back) > __builtin_fabs(x);
  const bool inexact = (back < x) | (back > x);
  u = inexact ? (u - away) | 1u : u;
  return detail::bits_float(u);
}

template <class D, class S>
TERCEL_INLINE D cast(S x) {
  if constexpr (kIsBool<S>) {
    return cast<D>(static_cast<int32_t>(x.v != 0));
  } else if constexpr (kIsHalf<S>) {
    return cast<D>(static_cast<float>(x));
  } else if constexpr (kIsBool<D>) {
    return Bool{static_cast<uint8_t>(x != S(0))};
  } else if constexpr (kIsHalf<D>) {
    if constexpr (kSame<S, float>) {
      return D(x);
    } else {
      return D(round_to_odd(static_cast<double>(x)));
    }
  } else if constexpr (kIsReal<S> && kSame<D, int64_t>) {
    const bool fits = x >= S(-0x1p63) && x < S(0x1p63);
    return fits ? static_cast<int64_t>(x) : INT64_MIN;
  } else if constexpr (kIsReal<S> && !kIsReal<D>) {
    const bool fits = x > S(-0x1.000002p31) && x < S(0x1p31);
    const bool fits_float = x >= S(-0x1p31) && x < S(0x1p31);
    const bool ok = sizeof(S) == 8 ? fits && static_cast<double>(x) > -2147483649.0 : fits_float;
    return static_cast<D>(ok ? static_cast<int32_t>(x) : INT32_MIN);
  } else {
    return static_cast<D>(x);
  }
}

template <class S, class D>
void convert(void* dst, const void* src, int64_t n) {
  D* __restrict d = static_cast<D*>(dst);
  const S* __restrict s = static_cast<const S*>(src);
  if constexpr (kSame<S, D>) {
    memcpy(d, s, static_cast<size_t>(n) * sizeof(S));
  } else if constexpr (kIsNarrowFloat<S> && kIsNarrowFloat<D>) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) VecF::load(s + i).store(d + i);
    if (i < n) VecF::load_n(s + i, n - i).store_n(d + i, n - i);
  } else {
    for (int64_t i = 0; i < n; ++i) d[i] = cast<D>(s[i]);
  }
}

template <class T>
void gather(void* dst, const void* src, int64_t step, int64_t n) {
  T* __restrict d = static_cast<T*>(dst);
  const char* s = static_cast<const char*>(src);
  if (step == static_cast<int64_t>(sizeof(T))) {
    memcpy(d, s, static_cast<size_t>(n) * sizeof(T));
  } else if (step == 0) {
    T value;
    memcpy(&value, s, sizeof(T));
    for (int64_t i = 0; i < n; ++i) d[i] = value;
  } else {
    for (int64_t i = 0; i < n; ++i) memcpy(d + i, s + i * step, sizeof(T));
  }
}
template <class T>
void scatter(void* dst, int64_t step, const void* src, int64_t n) {
  char* d = static_cast<char*>(dst);
  const T* __restrict s = static_cast<const T*>(src);
  if (step == static_cast<int64_t>(sizeof(T))) {
    memcpy(d, s, static_cast<size_t>(n) * sizeof(T));
  } else {
    for (int64_t i = 0; i < n; ++i) memcpy(d + i * step, s + i, sizeof(T));
  }
}

void stream_bytes(void* dst, const void* src, int64_t nbytes, const Ahead* ahead, int count) {
  float* d = static_cast<float*>(dst);
  const float* s = static_cast<const float*>(src);
  const int64_t blocks = nbytes / 256;
  for (int64_t i = 0; i < blocks; ++i, d += 64, s += 64) {
    for (int k = 0; k < count; ++k) {
      const int64_t end = ahead[k].nbytes * (i + 1) / blocks;
      for (int64_t at = ahead[k].nbytes * i / blocks & -64; at < end; at += 64)
        __builtin_prefetch(static_cast<const char*>(ahead[k].at) + at);
    }
    const VecF a = VecF::load(s), b = VecF::load(s + 16);
    const VecF c = VecF::load(s + 32), e = VecF::load(s + 48);
    a.stream(d);
    b.stream(d + 16);
    c.stream(d + 32);
    e.stream(d + 48);
  }
  memcpy(d, s, static_cast<size_t>(nbytes % 256));
}

void fence() { stream_fence(); }

// Runs of a cache line or more in vectors, the last one overlapping; a call of memcpy costs as much
// as 256 bytes.
void copy_rows(void* dst, int64_t dst_step, const void* src, int64_t src_step, int64_t nbytes,
               int64_t rows, bool stream) {
  char* d = static_cast<char*>(dst);
  const char* s = static_cast<const char*>(src);
  stream = stream && ((reinterpret_cast<uintptr_t>(d) | static_cast<uintptr_t>(dst_step) |
                       static_cast<uintptr_t>(nbytes)) &
                      63) == 0;
  for (int64_t r = 0; r < rows; ++r, d += dst_step, s += src_step) {
    if (stream) {
      const char* next = s + src_step * (1 + 1024 / nbytes);
      for (int64_t i = 0; i < nbytes; i += 64) {
        __builtin_prefetch(next + i);
        VecF::load(reinterpret_cast<const float*>(s + i)).stream(reinterpret_cast<float*>(d + i));
      }
      continue;
    }
    if (nbytes < 64 || nbytes > 4096) {
      memcpy(d, s, static_cast<size_t>(nbytes));
      continue;
    }
    const auto line = [&](int64_t i) {
      VecF::load(reinterpret_cast<const float*>(s + i)).store(reinterpret_cast<float*>(d + i));
    };
    int64_t i = 0;
    for (; i + 64 <= nbytes; i += 64) line(i);
    if (i < nbytes) line(nbytes - 64);
  }
}

#define TERCEL_FROM(S)                                                                 \
  {convert<S, double>,  convert<S, float>,   convert<S, f16>,     convert<S, bf16>,    \
   convert<S, f8e4m3>,  convert<S, f8e5m2>,  convert<S, int8_t>,  convert<S, uint8_t>, \
   convert<S, int16_t>, convert<S, int32_t>, convert<S, int64_t>, convert<S, Bool>}

}  // namespace

extern const MoveKernels move_kernels = {
    // in the order of DType
    {TERCEL_FROM(double), TERCEL_FROM(float), TERCEL_FROM(f16), TERCEL_FROM(bf16),
     TERCEL_FROM(f8e4m3), TERCEL_FROM(f8e5m2), TERCEL_FROM(int8_t), TERCEL_FROM(uint8_t),
     TERCEL_FROM(int16_t), TERCEL_FROM(int32_t), TERCEL_FROM(int64_t), TERCEL_FROM(Bool)},
    {gather<uint8_t>, gather<uint16_t>, gather<uint32_t>, gather<uint64_t>},
    {scatter<uint8_t>, scatter<uint16_t>, scatter<uint32_t>, scatter<uint64_t>},
    {transpose<uint8_t>, transpose<uint16_t>, transpose<uint32_t>, transpose<uint64_t>},
    stream_bytes,
    fence,
    copy_rows,
};

}  // namespace tercel::TERCEL_LEVEL
