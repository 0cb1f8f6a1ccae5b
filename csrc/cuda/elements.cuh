// Loading and storing one element of any dtype as one of the types kernels compute in: float,
// double, int32_t, int64_t. The rules are those of the CPU's conversions
// (ops/elementwise/move_cpu.cpp).
#pragma once

#include "cuda/compat.cuh"  // first: it decides what TERCEL_INLINE means

#include "core/dtype.h"

namespace tercel::cuda {

// double to float with inexact results made odd, so that rounding once more to 16 bits equals
// rounding once.
TERCEL_DEVICE float round_to_odd(double x) {
  const float f = static_cast<float>(x);
  const double back = static_cast<double>(f);
  uint32_t u = float_to_bits(f);
  const bool away = ::fabs(back) > ::fabs(x);
  if (back < x || back > x) u = (u - (away ? 1u : 0u)) | 1u;
  return bits_to_float(u);
}

template <class T>
struct IsReal {
  static constexpr bool value = false;
};
template <>
struct IsReal<float> {
  static constexpr bool value = true;
};
template <>
struct IsReal<double> {
  static constexpr bool value = true;
};

// Integers of the CPU's conversion: out of range and NaN give the smallest int32 (int64), cut to
// the width.
template <class S>
TERCEL_DEVICE int64_t to_int64(S x) {
  return x >= S(-0x1p63) && x < S(0x1p63) ? static_cast<int64_t>(x) : INT64_MIN;
}
template <class S>
TERCEL_DEVICE int32_t to_int32(S x) {
  const double d = static_cast<double>(x);
  return d > -2147483649.0 && d < 2147483648.0 ? static_cast<int32_t>(x) : INT32_MIN;
}

template <class M>
TERCEL_DEVICE M load_element(const void* p, DType dtype) {
  switch (dtype) {
    case DType::f64:
      return static_cast<M>(*static_cast<const double*>(p));
    case DType::f32:
      return static_cast<M>(*static_cast<const float*>(p));
    case DType::f16:
      return static_cast<M>(to_float(*static_cast<const f16*>(p)));
    case DType::bf16:
      return static_cast<M>(to_float(*static_cast<const bf16*>(p)));
    case DType::f8e4m3:
      return static_cast<M>(to_float(*static_cast<const f8e4m3*>(p)));
    case DType::f8e5m2:
      return static_cast<M>(to_float(*static_cast<const f8e5m2*>(p)));
    case DType::i8:
      return static_cast<M>(*static_cast<const int8_t*>(p));
    case DType::u8:
      return static_cast<M>(*static_cast<const uint8_t*>(p));
    case DType::i16:
      return static_cast<M>(*static_cast<const int16_t*>(p));
    case DType::i32:
      return static_cast<M>(*static_cast<const int32_t*>(p));
    case DType::i64:
      return static_cast<M>(*static_cast<const int64_t*>(p));
    default:
      return static_cast<M>(*static_cast<const uint8_t*>(p) != 0);
  }
}

template <class M>
TERCEL_DEVICE float narrow_source(M x) {
  if constexpr (sizeof(M) == 4 && IsReal<M>::value) {
    return x;
  } else {
    return round_to_odd(static_cast<double>(x));
  }
}

template <class M>
TERCEL_DEVICE void store_element(void* p, DType dtype, M x) {
  switch (dtype) {
    case DType::f64:
      *static_cast<double*>(p) = static_cast<double>(x);
      return;
    case DType::f32:
      *static_cast<float*>(p) = static_cast<float>(x);
      return;
    case DType::f16:
      *static_cast<f16*>(p) = from_float<f16>(narrow_source(x));
      return;
    case DType::bf16:
      *static_cast<bf16*>(p) = from_float<bf16>(narrow_source(x));
      return;
    case DType::f8e4m3:
      *static_cast<f8e4m3*>(p) = f8e4m3(narrow_source(x));
      return;
    case DType::f8e5m2:
      *static_cast<f8e5m2*>(p) = f8e5m2(narrow_source(x));
      return;
    case DType::b8:
      *static_cast<uint8_t*>(p) = x != M(0);
      return;
    default:
      break;
  }
  int64_t v;
  if constexpr (IsReal<M>::value) {
    v = dtype == DType::i64 ? to_int64(x) : to_int32(x);
  } else {
    v = x;
  }
  switch (dtype) {
    case DType::i8:
    case DType::u8:
      *static_cast<int8_t*>(p) = static_cast<int8_t>(v);
      return;
    case DType::i16:
      *static_cast<int16_t*>(p) = static_cast<int16_t>(v);
      return;
    case DType::i32:
      *static_cast<int32_t*>(p) = static_cast<int32_t>(v);
      return;
    default:
      *static_cast<int64_t*>(p) = v;
  }
}

}  // namespace tercel::cuda
