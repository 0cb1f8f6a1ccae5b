// DType: what an element is. The only dtype switch of the library is `visit`.
//
// complex64 and complex128 are reserved: their enumerators keep the numbering stable, no op takes
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/error.h"
#include "core/half.h"

namespace tercel {

enum class DType : uint8_t {
  f64,
  f32,
  f16,
  bf16,
  f8e4m3,
  f8e5m2,
  i8,
  u8,
  i16,
  i32,
  i64,
  b8,
  c64,
  c128,  // reserved
};
inline constexpr int kNumDTypes = 12;

enum class DTypeCategory : uint8_t { boolean, integer, floating };

struct DTypeInfo {
  const char* name;   // "float32"
  const char* alias;  // "float" or nullptr
  uint8_t size;       // bytes
  DTypeCategory category;
};
extern const DTypeInfo kDTypeInfo[kNumDTypes];

inline const char* dtype_name(DType t) { return kDTypeInfo[static_cast<int>(t)].name; }
inline int64_t dtype_size(DType t) { return kDTypeInfo[static_cast<int>(t)].size; }
inline bool is_float(DType t) { return t <= DType::f8e5m2; }
inline bool is_int(DType t) { return t >= DType::i8 && t <= DType::i64; }
inline bool is_bool(DType t) { return t == DType::b8; }
inline bool is_fp8(DType t) { return t == DType::f8e4m3 || t == DType::f8e5m2; }
inline bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }
inline bool is_unsigned(DType t) { return t == DType::u8; }

// Result dtype of combining two tensors of the same priority (PyTorch's table).
DType promote(DType a, DType b);

// Process-wide default for float results made from Python numbers and integers.
DType default_dtype();
void set_default_dtype(DType t);

// Accumulation dtype of sums: double for double, float for the other floats, int64 for integers.
inline DType accumulate_dtype(DType t) {
  return t == DType::f64 ? DType::f64 : is_float(t) ? DType::f32 : DType::i64;
}

template <class T>
struct dtype_of_impl;
template <>
struct dtype_of_impl<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct dtype_of_impl<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct dtype_of_impl<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct dtype_of_impl<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of_impl<f8e4m3> {
  static constexpr DType value = DType::f8e4m3;
};
template <>
struct dtype_of_impl<f8e5m2> {
  static constexpr DType value = DType::f8e5m2;
};
template <>
struct dtype_of_impl<int8_t> {
  static constexpr DType value = DType::i8;
};
template <>
struct dtype_of_impl<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct dtype_of_impl<int16_t> {
  static constexpr DType value = DType::i16;
};
template <>
struct dtype_of_impl<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct dtype_of_impl<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct dtype_of_impl<bool> {
  static constexpr DType value = DType::b8;
};
template <class T>
inline constexpr DType dtype_of = dtype_of_impl<T>::value;

// "op: dtype int32 not supported (float32, bfloat16)"; `mask` has bit i set for supported DType i.
[[noreturn, gnu::cold, gnu::noinline]] void fail_dtype(const char* op, DType got, uint32_t mask);
[[noreturn, gnu::cold, gnu::noinline]] void fail_dtype(const char* op, const char* argument,
                                                       DType got, uint32_t mask);

constexpr uint32_t dtype_bit(DType t) { return 1u << static_cast<int>(t); }
inline constexpr uint32_t kFloatMask = 0x3fu;     // the six float dtypes
inline constexpr uint32_t kWideFloatMask = 0xfu;  // f64 f32 f16 bf16
inline constexpr uint32_t kIntMask = 0x7c0u;      // i8 u8 i16 i32 i64
inline constexpr uint32_t kAllMask = 0xfffu;

// visit<float, bf16>(dtype, "rms_norm", [&]<class T>() {...}): the list is the set of supported
// dtypes. always_inline and meant for lambdas of an anonymous namespace, so no weak symbol is
// emitted.
template <class... Ts, class F>
TERCEL_INLINE void visit(DType dtype, const char* op, F&& f) {
  const bool found = ((dtype == dtype_of<Ts> && (f.template operator()<Ts>(), true)) || ...);
  if (!found) fail_dtype(op, dtype, (dtype_bit(dtype_of<Ts>) | ...));
}

#define TERCEL_FLOATS double, float, ::tercel::f16, ::tercel::bf16
#define TERCEL_FP8 ::tercel::f8e4m3, ::tercel::f8e5m2
#define TERCEL_INTS int8_t, uint8_t, int16_t, int32_t, int64_t

// acc_t<T>: type in which values of T are computed and summed.
template <class T>
using acc_t = std::conditional_t<std::is_same_v<T, double>, double,
                                 std::conditional_t<std::is_integral_v<T>, int64_t, float>>;

}  // namespace tercel
