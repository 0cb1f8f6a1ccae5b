// The formats a value can be quantised to, and how a scale follows from a range.
//
//   real value = (code value - zero point) * scale
//
// Code values: int8 uint8 int4 uint4 are integers; fp8 (e4m3fn, e5m2) and fp4 (e2m1) are small
// floats; nf4 is a table of 16 quantiles of a normal distribution in [-1, 1] (Dettmers et al.
// 2023). Four-bit codes lie two per byte along the last dim, the even element in the low half; an
// odd last element leaves the high half 0. mx formats (OCP MX 1.0) are fp8/fp4 with one
// power-of-two scale per 32 elements, stored as its exponent
// + 127 in a uint8 (e8m0; 255 is NaN).
#pragma once

#include "core/dtype.h"

namespace tercel {

enum class QFormat : uint8_t { i8, u8, i4, u4, nf4, e4m3, e5m2, e2m1 };
inline constexpr int kNumQFormats = 8;

struct QFormatInfo {
  const char* name;
  DType storage;
  int bits;
  bool integer;      // takes zero points
  float qmin, qmax;  // smallest and largest code value
  int emax;          // exponent of the largest power of two (float formats)
};
constexpr QFormatInfo kQFormats[kNumQFormats] = {
    {"int8", DType::i8, 8, true, -128.0f, 127.0f, 0},
    {"uint8", DType::u8, 8, true, 0.0f, 255.0f, 0},
    {"int4", DType::u8, 4, true, -8.0f, 7.0f, 0},
    {"uint4", DType::u8, 4, true, 0.0f, 15.0f, 0},
    {"nf4", DType::u8, 4, false, -1.0f, 1.0f, 0},
    {"float8_e4m3fn", DType::f8e4m3, 8, false, -448.0f, 448.0f, 8},
    {"float8_e5m2", DType::f8e5m2, 8, false, -57344.0f, 57344.0f, 15},
    {"float4_e2m1", DType::u8, 4, false, -6.0f, 6.0f, 2},
};
// The tables are host memory, so what reads them is host code under nvcc, unlike TERCEL_INLINE.
#define TERCEL_HOST_INLINE inline __attribute__((always_inline))
TERCEL_HOST_INLINE constexpr const QFormatInfo& info(QFormat f) {
  return kQFormats[static_cast<int>(f)];
}
TERCEL_HOST_INLINE int64_t code_bytes(QFormat f, int64_t n) {
  return info(f).bits == 8 ? n : (n + 1) / 2;
}

// Values of the 4-bit codes.
constexpr float kTable4[4][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1},  // int4, two's complement
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},    // uint4
    {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
     -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
     0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
     0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f},   // nf4
    {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6},  // e2m1
};
TERCEL_HOST_INLINE const float* table4(QFormat f) {
  return kTable4[f == QFormat::i4 ? 0 : f == QFormat::u4 ? 1 : f == QFormat::nf4 ? 2 : 3];
}

struct QRange {
  float qmin, qmax;
};
struct QParams {
  float scale, zero;
};
constexpr float kMinScale = 0x1p-126f;  // its reciprocal is finite

// Scale and zero point that map [lo, hi] (lo <= 0 <= hi) onto the codes. Symmetric: scale =
// max(-lo, hi) / qmax, zero 0. An empty range (all zero) has scale 1. Scales never fall below
// kMinScale.
TERCEL_INLINE QParams params_from_range(float lo, float hi, QRange r, bool symmetric) {
  const float zero = symmetric ? 0.0f : r.qmin > 0.0f ? r.qmin : r.qmax < 0.0f ? r.qmax : 0.0f;
  if (symmetric) {
    const float top = -lo > hi ? -lo : hi;
    if (!(top > 0.0f)) return {1.0f, zero};
    const float scale = top / r.qmax;
    return {scale < kMinScale ? kMinScale : scale, zero};
  }
  if (!(hi > lo)) return {1.0f, zero};
  const float steps = r.qmax - r.qmin;
  float scale = hi / steps - lo / steps;
  if (scale < kMinScale) scale = kMinScale;
  float z = __builtin_nearbyintf(r.qmin - lo / scale);
  z = z < r.qmin ? r.qmin : z > r.qmax ? r.qmax : z;
  return {scale, z};
}

// OCP MX: 2^(floor(log2 top) - emax), exponent in [-127, 127]; 1 for top = 0.
TERCEL_INLINE float mx_scale(float top, int emax) {
  if (!(top > 0.0f)) return 1.0f;
  int e = static_cast<int>(detail::float_bits(top) >> 23) - 127 - emax;
  if (e < -126) return e < -127 ? 0x1p-127f : detail::bits_float(e == -127 ? 0x400000u : 0u);
  return detail::bits_float(static_cast<uint32_t>(e + 127) << 23);
}

}  // namespace tercel
