// Vec<T>: a 64-byte vector of float (16 lanes), double (8), int32_t (16) or int64_t (8), with one
// meaning on every ISA level. AVX-512 holds it in one register, AVX2 in two, the generic level in a
// compiler vector.
//
// Because the lane count is fixed and fused multiply-adds are explicit, a kernel written with Vec
// gives the same bits on avx2 and avx512; `sum`, `max` and `min` over lanes use one fixed tree (16
// -> 8 -> 4 -> 2 -> 1, upper half onto lower half).
//
//   Vec<float> x = Vec<float>::load(p);           // p: float, bf16, f16, f8e4m3 or f8e5m2
//   Vec<float> t = Vec<float>::load_n(p, n);      // first n lanes (0..16), the rest zero
//   fma(x, y, z).store(q);  x.store_n(q, n);      // stores round to nearest even, fp8 saturates
//   select(x < y, x, y)
//
// Only for files compiled per ISA level: everything has internal linkage.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/half.h"
#include "core/inline.h"

// Functions of more than a few instructions. The generic level of x86 serves correctness: there
// they are calls, because their inlined lanes would be a quarter of the build.
#if defined(TERCEL_LEVEL_GENERIC) && defined(__x86_64__)
#define TERCEL_SIMD TERCEL_OUTLINE
#else
#define TERCEL_SIMD TERCEL_INLINE
#endif

namespace tercel::simd {
namespace {

template <class T>
struct Vec;

// sizes of the storage formats, for load and store
template <class V, class S>
TERCEL_OUTLINE V load_partial(const S* p, int64_t n) {
  alignas(64) S buffer[V::size] = {};
  __builtin_memcpy(buffer, p, static_cast<size_t>(n) * sizeof(S));
  return V::load(buffer);
}
template <class V, class S>
TERCEL_OUTLINE void store_partial(const V& v, S* p, int64_t n) {
  alignas(64) S buffer[V::size];
  v.store(buffer);
  __builtin_memcpy(p, buffer, static_cast<size_t>(n) * sizeof(S));
}

}  // namespace
}  // namespace tercel::simd

#if defined(TERCEL_LEVEL_AVX512)
#include "simd/vec_avx512.h"
#elif defined(TERCEL_LEVEL_AVX2)
#include "simd/vec_avx2.h"
#else
#include "simd/vec_generic.h"
#endif

namespace tercel::simd {
namespace {

using VecF = Vec<float>;
using VecD = Vec<double>;
using VecI = Vec<int32_t>;
using VecL = Vec<int64_t>;

// ---- helpers shared by the levels
// ------------------------------------------------------------------

TERCEL_INLINE VecF fnma(VecF a, VecF b, VecF c) { return fma(-a, b, c); }  // c - a b
TERCEL_INLINE VecD fnma(VecD a, VecD b, VecD c) { return fma(-a, b, c); }
TERCEL_INLINE Mask16 isnan(const VecF& a) { return a != a; }
TERCEL_INLINE Mask8 isnan(const VecD& a) { return a != a; }

TERCEL_INLINE VecF abs(VecF a) { return as_float(as_int(a) & VecI(0x7fffffff)); }
TERCEL_INLINE VecD abs(VecD a) { return as_double(as_int(a) & VecL(0x7fffffffffffffff)); }
TERCEL_INLINE VecI sign_bits(VecF a) { return as_int(a) & VecI(INT32_MIN); }
TERCEL_INLINE VecL sign_bits(VecD a) { return as_int(a) & VecL(INT64_MIN); }
TERCEL_SIMD VecF copysign(VecF magnitude, VecF sign) {
  return as_float((as_int(magnitude) & VecI(0x7fffffff)) | sign_bits(sign));
}
TERCEL_SIMD VecD copysign(VecD magnitude, VecD sign) {
  return as_double((as_int(magnitude) & VecL(0x7fffffffffffffff)) | sign_bits(sign));
}

// IEEE-754 maximum / minimum: NaN if either operand is NaN.
template <class V>
TERCEL_SIMD V maximum(V a, V b) {
  return select(isnan(a), a, max_or_second(a, b));
}
template <class V>
TERCEL_SIMD V minimum(V a, V b) {
  return select(isnan(a), a, min_or_second(a, b));
}
// fmax / fmin of C: a NaN operand is ignored.
template <class V>
TERCEL_SIMD V fmax(V a, V b) {
  return select(isnan(b), a, max_or_second(a, b));
}
template <class V>
TERCEL_SIMD V fmin(V a, V b) {
  return select(isnan(b), a, min_or_second(a, b));
}

// ---- 8-bit floats (same arithmetic as core/half.h)
// -------------------------------------------------

// With the exponent moved to float32's bias a code is (1 + m / 8) 2^(e - 7): its value, but for
// e = 0 (m / 8 2^-6) and NaN.
TERCEL_SIMD VecF f8e4m3_to_float(VecI code) {
  const VecI magnitude = code & VecI(0x7f);
  const VecF normal = as_float(shift_left<20>(magnitude) + VecI(120 << 23));
  VecF value = select(magnitude < VecI(8), fma(normal, VecF(2.0f), VecF(-0x1p-6f)), normal);
  value = select(magnitude == VecI(0x7f), as_float(VecI(0x7fc00000)), value);
  return as_float(as_int(value) | shift_left<24>(code & VecI(0x80)));
}
// The same: (1 + m / 4) 2^(e - 15), for e = 0 m / 4 2^-14; infinity and NaN.
TERCEL_SIMD VecF f8e5m2_to_float(VecI code) {
  const VecI magnitude = code & VecI(0x7f);
  const VecF normal = as_float(shift_left<21>(magnitude) + VecI(112 << 23));
  VecF value = select(magnitude < VecI(4), fma(normal, VecF(2.0f), VecF(-0x1p-14f)), normal);
  value = select(magnitude == VecI(0x7c), as_float(VecI(0x7f800000)), value);
  value = select(magnitude > VecI(0x7c), as_float(VecI(0x7fc00000)), value);
  return as_float(as_int(value) | shift_left<24>(code & VecI(0x80)));
}
// Rounds |x| to M mantissa bits with minimum normal exponent EMIN; see detail::round_to_code.
template <int M, int EMIN>
TERCEL_INLINE VecI round_to_code(VecI abs_bits) {
  constexpr int32_t kMinNormal = (127 + EMIN) << 23;
  constexpr int32_t kMagic = (127 + EMIN - M + 23) << 23;
  constexpr int kShift = 23 - M;
  const VecI odd = shift_right<kShift>(abs_bits) & VecI(1);
  const VecI rounded = abs_bits + VecI((1 << (kShift - 1)) - 1) + odd;
  const VecI normal = shift_right<kShift>(rounded) - VecI((127 + EMIN - 1) << M);
  const VecI subnormal = as_int(as_float(abs_bits) + as_float(VecI(kMagic))) - VecI(kMagic);
  return select(abs_bits < VecI(kMinNormal), subnormal, normal);
}
TERCEL_SIMD VecI float_to_f8e4m3(VecF x) {
  const VecI u = as_int(x), a = u & VecI(0x7fffffff);
  VecI code = round_to_code<3, -6>(a);
  code = select(a > VecI(0x43dfffff), VecI(0x7e), code);
  code = select(a > VecI(0x7f800000), VecI(0x7f), code);
  return code | (shift_right<24>(u) & VecI(0x80));
}
TERCEL_SIMD VecI float_to_f8e5m2(VecF x) {
  const VecI u = as_int(x), a = u & VecI(0x7fffffff);
  VecI code = round_to_code<2, -14>(a);
  code = select(a > VecI(0x475fffff), VecI(0x7b), code);
  code = select(a == VecI(0x7f800000), VecI(0x7c), code);
  code = select(a > VecI(0x7f800000), VecI(0x7f), code);
  return code | (shift_right<24>(u) & VecI(0x80));
}
TERCEL_SIMD VecF VecF::load(const f8e4m3* p) {
  return f8e4m3_to_float(VecI::load(reinterpret_cast<const uint8_t*>(p)));
}
TERCEL_SIMD VecF VecF::load(const f8e5m2* p) {
  return f8e5m2_to_float(VecI::load(reinterpret_cast<const uint8_t*>(p)));
}
TERCEL_SIMD void VecF::store(f8e4m3* p) const {
  float_to_f8e4m3(*this).store(reinterpret_cast<uint8_t*>(p));
}
TERCEL_SIMD void VecF::store(f8e5m2* p) const {
  float_to_f8e5m2(*this).store(reinterpret_cast<uint8_t*>(p));
}

// ---- bfloat16: the upper half of a float
// -----------------------------------------------------------

TERCEL_SIMD VecF VecF::load(const bf16* p) {
  return as_float(shift_left<16>(VecI::load(reinterpret_cast<const uint16_t*>(p))));
}
TERCEL_SIMD void VecF::store(bf16* p) const {
  const VecI u = as_int(*this);
  const VecI rounded = u + VecI(0x7fff) + (shift_right<16>(u) & VecI(1));
  const VecI quiet = u | VecI(0x400000);
  shift_right<16>(select(isnan(*this), quiet, rounded)).store(reinterpret_cast<uint16_t*>(p));
}

}  // namespace
}  // namespace tercel::simd
