// Storage types of the 16- and 8-bit float formats and their scalar conversions.
//
// All conversions from float round to nearest, ties to even. fp8 saturates: a finite value beyond
// the largest finite code becomes that code, for e4m3fn infinity does too (it has no infinity);
// e5m2 keeps infinity. NaN stays NaN. Everything is always-inline so that files compiled for one
// ISA level do not emit shared weak symbols.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/inline.h"

namespace tercel {
namespace detail {
TERCEL_INLINE uint32_t float_bits(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  return u;
}
TERCEL_INLINE float bits_float(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, 4);
  return x;
}

// Rounds |x| to a format with `M` mantissa bits and minimum normal exponent `EMIN` (value 2^EMIN),
// returning code = biased exponent and mantissa without sign. Overflow is left to the caller: the
// code simply grows past the largest finite one. `x` must be finite and non-negative.
template <int M, int EMIN>
TERCEL_INLINE uint32_t round_to_code(uint32_t abs_bits) {
  constexpr uint32_t kMinNormalBits = static_cast<uint32_t>(127 + EMIN) << 23;
  if (abs_bits >= kMinNormalBits) {
    const uint32_t shift = 23 - M;
    const uint32_t odd = (abs_bits >> shift) & 1u;
    const uint32_t rounded = abs_bits + ((1u << (shift - 1)) - 1u) + odd;
    return (rounded >> shift) - (static_cast<uint32_t>(127 + EMIN - 1) << M);
  }
  // Subnormal result: adding 2^(EMIN - M + 23) aligns the last mantissa bit of the sum with the
  // smallest subnormal, so the FPU does the rounding.
  constexpr uint32_t kMagicBits = static_cast<uint32_t>(127 + EMIN - M + 23) << 23;
  const float sum = bits_float(abs_bits) + bits_float(kMagicBits);
  return float_bits(sum) - kMagicBits;
}
}  // namespace detail

struct bf16 {
  uint16_t bits;
  bf16() = default;
  TERCEL_INLINE explicit bf16(float x) {
    const uint32_t u = detail::float_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((u >> 16) | 0x40u);
    } else {
      bits = static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
  TERCEL_INLINE operator float() const {
    return detail::bits_float(static_cast<uint32_t>(bits) << 16);
  }
};

struct f16 {
  uint16_t bits;
  f16() = default;
  TERCEL_INLINE explicit f16(float x) {
    const uint32_t u = detail::float_bits(x);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t abs_bits = u & 0x7fffffffu;
    uint32_t code;
    if (abs_bits > 0x7f800000u) {
      code = 0x7e00u | ((abs_bits >> 13) & 0x1ffu);
    } else if (abs_bits >= 0x477ff000u) {  // >= 65520 rounds to infinity
      code = 0x7c00u;
    } else {
      code = detail::round_to_code<10, -14>(abs_bits);
    }
    bits = static_cast<uint16_t>(sign | code);
  }
  TERCEL_INLINE operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) {
      const uint32_t quiet = magnitude > 0x7c00u ? 0x400000u : 0u;
      return detail::bits_float(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13) | quiet);
    }
    // Scaling by 2^112 in float32 is exact for normal and subnormal codes.
    const float scaled = detail::bits_float(magnitude << 13) * 0x1p112f;
    return detail::bits_float(sign | detail::float_bits(scaled));
  }
};

// 1 sign, 4 exponent (bias 7), 3 mantissa bits; largest finite 448; NaN is S.1111.111; no infinity.
struct f8e4m3 {
  uint8_t bits;
  f8e4m3() = default;
  TERCEL_INLINE explicit f8e4m3(float x) {
    const uint32_t u = detail::float_bits(x);
    const uint32_t abs_bits = u & 0x7fffffffu;
    uint32_t code;
    if (abs_bits > 0x7f800000u) {
      code = 0x7fu;
    } else if (abs_bits >= 0x43e00000u) {  // >= 448
      code = 0x7eu;
    } else {
      code = detail::round_to_code<3, -6>(abs_bits);
    }
    bits = static_cast<uint8_t>(((u >> 24) & 0x80u) | code);
  }
  TERCEL_INLINE operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24;
    const uint32_t magnitude = bits & 0x7fu;
    if (magnitude == 0x7fu) return detail::bits_float(sign | 0x7fc00000u);
    const float scaled = detail::bits_float(magnitude << 20) * 0x1p120f;
    return detail::bits_float(sign | detail::float_bits(scaled));
  }
};

// 1 sign, 5 exponent (bias 15), 2 mantissa bits; largest finite 57344; has infinity and NaN.
struct f8e5m2 {
  uint8_t bits;
  f8e5m2() = default;
  TERCEL_INLINE explicit f8e5m2(float x) {
    const uint32_t u = detail::float_bits(x);
    const uint32_t abs_bits = u & 0x7fffffffu;
    uint32_t code;
    if (abs_bits > 0x7f800000u) {
      code = 0x7fu;
    } else if (abs_bits == 0x7f800000u) {
      code = 0x7cu;
    } else if (abs_bits >= 0x47600000u) {  // >= 57344
      code = 0x7bu;
    } else {
      code = detail::round_to_code<2, -14>(abs_bits);
    }
    bits = static_cast<uint8_t>(((u >> 24) & 0x80u) | code);
  }
  TERCEL_INLINE operator float() const {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24;
    const uint32_t magnitude = bits & 0x7fu;
    if (magnitude >= 0x7cu) {
      return detail::bits_float(sign | (magnitude == 0x7cu ? 0x7f800000u : 0x7fc00000u));
    }
    const float scaled = detail::bits_float(magnitude << 21) * 0x1p112f;
    return detail::bits_float(sign | detail::float_bits(scaled));
  }
};

}  // namespace tercel
