// From random bits to values: the formulas of random_kernels.h, once for every device. F and I are
// a float and an int32 of one lane or of many: simd/vec.h on the CPU, random.cu's own on the GPU.
//
// Only the basic operations of IEEE 754 and explicit fma, in one order and without contraction: the
// same bits on every device. The arguments are known to be in range, so there are no special cases.
#pragma once

#include <math.h>
#include <string.h>

#include "ops/random/random_kernels.h"

namespace tercel {
namespace {

// ---- 32-bit draws
// ----------------------------------------------------------------------------------

// Number of random bits of a uniform value that T holds exactly.
template <class T>
constexpr int uniform_bits() {
  return std::is_same_v<T, f16> ? 11 : std::is_same_v<T, bf16> ? 8 : 24;
}

// (0, 1] from 32 bits.
template <class F, class I>
TERCEL_INLINE F open_uniform(I w) {
  return (to_float(shift_right<1>(w)) + F(0.5f)) * F(0x1p-31f);
}

// ln u for normal u: u = m 2^e, m in [sqrt(1/2), sqrt 2), ln m by a degree-9 series in m - 1 (about
// 1 ulp; coefficients: Chebyshev fit on that interval). ln 2 is split so that e * high is exact.
template <class F, class I>
TERCEL_INLINE F log_fast(F u) {
  const I b = as_int(u) - I(0x3f3504f3);
  const F e = to_float(shift_right_signed<23>(b));
  const F t = as_float((b & I(0x007fffff)) + I(0x3f3504f3)) - F(1.0f);
  F p(7.0376836292e-2f);
  p = fma(p, t, F(-1.1514610310e-1f));
  p = fma(p, t, F(1.1676998740e-1f));
  p = fma(p, t, F(-1.2420140846e-1f));
  p = fma(p, t, F(1.4249322787e-1f));
  p = fma(p, t, F(-1.6668057665e-1f));
  p = fma(p, t, F(2.0000714765e-1f));
  p = fma(p, t, F(-2.4999993993e-1f));
  p = fma(p, t, F(3.3333331174e-1f));
  const F t2 = t * t;
  F y = p * t * t2;
  y = fma(e, F(-2.12194440e-4f), y);
  y = fma(t2, F(-0.5f), y);
  return fma(e, F(0.693359375f), t + y);
}

// cos and sin of 2 pi w 2^-32. The two top bits (after rounding) are the quadrant, the rest is
// exact.
template <class F, class I>
TERCEL_INLINE void sincos_turn(I w, F* cosine, F* sine) {
  const I q = shift_right<30>(w + I(1 << 29));
  const F x = to_float(w - shift_left<30>(q)) * F(1.46291807926715968e-9f);  // pi/2 2^-30
  const F z = x * x;
  F s(-1.9515295891e-4f);
  s = fma(s, z, F(8.3321608736e-3f));
  s = fma(s, z, F(-1.6666654611e-1f));
  s = fma(s * z, x, x);
  F c(2.443315711809948e-5f);
  c = fma(c, z, F(-1.388731625493765e-3f));
  c = fma(c, z, F(4.166664568298827e-2f));
  c = fma(c * z, z, fma(z, F(-0.5f), F(1.0f)));
  const auto odd = (q & I(1)) == I(1);
  const F sin_part = select(odd, c, s), cos_part = select(odd, s, c);
  *sine = as_float(as_int(sin_part) ^ shift_left<30>(q & I(2)));
  *cosine = as_float(as_int(cos_part) ^ shift_left<30>((q + I(1)) & I(2)));
}

// Values of rows 0..3 of a group from their words, before the rounding to T.
template <class T, Distribution kKind, class F, class I>
TERCEL_INLINE void draw_32(const RandomArgs& r, const I (&w)[4], F (&v)[4]) {
  const F a(static_cast<float>(r.a)), b(static_cast<float>(r.b));
  if constexpr (kKind == Distribution::uniform) {
    constexpr int kBits = uniform_bits<T>();
    const F scale(static_cast<float>(r.b - r.a) * (1.0f / static_cast<float>(1 << kBits)));
    for (int k = 0; k < 4; ++k) {
      v[k] = fma(to_float(shift_right<32 - kBits>(w[k])), scale, a);
      if constexpr (std::is_same_v<T, float>) v[k] = select(v[k] < b, v[k], a);
    }
  } else if constexpr (kKind == Distribution::normal) {
    for (int k = 0; k < 4; k += 2) {
      const F radius = sqrt(log_fast<F, I>(open_uniform<F, I>(w[k])) * F(-2.0f)) * b;
      F c, s;
      sincos_turn<F, I>(w[k + 1], &c, &s);
      v[k] = fma(radius, c, a);
      v[k + 1] = fma(radius, s, a);
    }
  } else {
    const F scale(static_cast<float>(-1.0 / r.a));
    for (int k = 0; k < 4; ++k) v[k] = abs(log_fast<F, I>(open_uniform<F, I>(w[k])) * scale);
  }
}

// Rounding to T may have reached the open end b: such values fall back to a.
template <class T>
TERCEL_INLINE T keep_below(T v, float a, float b) {
  return static_cast<float>(v) >= b ? T(a) : v;
}

// ---- 64-bit draws
// ----------------------------------------------------------------------------------

TERCEL_INLINE uint64_t double_to_bits(double x) {
  uint64_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}
TERCEL_INLINE double bits_to_double(uint64_t u) {
  double x;
  memcpy(&x, &u, sizeof x);
  return x;
}

// [0, 1)
TERCEL_INLINE double unit(uint64_t x) {
  return static_cast<double>(static_cast<int64_t>(x >> 11)) * 0x1p-53;
}
// (0, 1): never an end.
TERCEL_INLINE double inside(uint64_t x) {
  return static_cast<double>(static_cast<int64_t>(x >> 12)) * 0x1p-52 + 0x1p-53;
}

// ln u for normal u: u = m 2^e, f = m - 1, s = f / (2 + f), ln m = f - (f^2/2 - s (f^2/2 + z R(z)))
// with z = s^2 and z R = (2 atanh(s) - 2 s) / s (Chebyshev fit, 5e-18).
TERCEL_INLINE double log_double(double u) {
  const uint64_t b = double_to_bits(u) - 0x3fe6a09e667f3bcdull;
  const double e = static_cast<double>(static_cast<int64_t>(b) >> 52);
  const double f = bits_to_double((b & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull) - 1.0;
  const double s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
  double p = 0.14616449685043406;
  p = ::fma(p, z, 0.15331721600556042);
  p = ::fma(p, z, 0.18182889125261723);
  p = ::fma(p, z, 0.2222221113479508);
  p = ::fma(p, z, 0.28571428625975487);
  p = ::fma(p, z, 0.39999999999899505);
  p = ::fma(p, z, 0.666666666666667);
  const double low = ::fma(s, ::fma(z, p, half), e * 1.9082149292705877e-10);
  return ::fma(e, 0x1.62e42feep-1, f - (half - low));
}

// e^x: n = round(x / ln 2), e^(x - n ln 2) by a Chebyshev fit (1e-17), scaled in two steps so that
// results below 2^-1022 round once more and those above the range become infinite.
TERCEL_INLINE double exp_double(double x) {
  x = x < -800.0 ? -800.0 : x > 800.0 ? 800.0 : x;
  const double n = ::rint(x * 1.4426950408889634);
  const double r = ::fma(n, -1.9082149292705877e-10, ::fma(n, -0x1.62e42feep-1, x));
  double q = 2.5100375832561234e-08;
  q = ::fma(q, r, 2.7620075879983367e-07);
  q = ::fma(q, r, 2.7557268480310024e-06);
  q = ::fma(q, r, 2.4801521322368692e-05);
  q = ::fma(q, r, 0.00019841269863040545);
  q = ::fma(q, r, 0.0013888888917196719);
  q = ::fma(q, r, 0.008333333333330065);
  q = ::fma(q, r, 0.041666666666624164);
  q = ::fma(q, r, 0.16666666666666669);
  q = ::fma(q, r, 0.5);
  const double y = 1.0 + ::fma(r * r, q, r);
  const int64_t k = static_cast<int64_t>(n), first = k / 2;
  return y * bits_to_double(static_cast<uint64_t>(first + 1023) << 52) *
         bits_to_double(static_cast<uint64_t>(k - first + 1023) << 52);
}

// cos and sin of 2 pi u, u in [0, 1).
TERCEL_INLINE void sincos_turn_double(double u, double* cosine, double* sine) {
  const int q = static_cast<int>(u * 4.0 + 0.5);
  const double x = (u - q * 0.25) * 6.283185307179586477;
  const double z = x * x;
  const double s =
      x + x * z *
              (-1.66666666666666324348e-01 +
               z * (8.33333333332248946124e-03 +
                    z * (-1.98412698298579493134e-04 +
                         z * (2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 +
                                                                z * 1.58969099521155010221e-10)))));
  const double c =
      1.0 - 0.5 * z +
      z * z *
          (4.16666666666666019037e-02 +
           z * (-1.38888888888741095749e-03 +
                z * (2.48015872894767294178e-05 +
                     z * (-2.75573143513906633035e-07 +
                          z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  const double sin_part = q & 1 ? c : s, cos_part = q & 1 ? s : c;
  *sine = q & 2 ? -sin_part : sin_part;
  *cosine = (q + 1) & 2 ? -cos_part : cos_part;
}

TERCEL_INLINE double cauchy(const RandomArgs& r, uint64_t x) {  // tan(pi (u - 1/2)) = -cot(pi u)
  double c, s;
  sincos_turn_double(0.5 * inside(x), &c, &s);
  return r.a - r.b * (c / s);
}
TERCEL_INLINE double geometric(const RandomArgs& r, uint64_t x) {  // r.b: 1 / ln(1 - p)
  const double k = ::ceil(log_double(inside(x)) * r.b);
  return k < 1.0 ? 1.0 : k;
}
TERCEL_INLINE void normal_pair(const RandomArgs& r, uint64_t x0, uint64_t x1, double* v0,
                               double* v1) {
  const double radius = ::sqrt(-2.0 * log_double(1.0 - unit(x0)));
  double c, s;
  sincos_turn_double(unit(x1), &c, &s);
  *v0 = r.a + r.b * (radius * c);
  *v1 = r.a + r.b * (radius * s);
}

// Values of h = 0 and h = 1 of one lane.
template <Distribution kKind>
TERCEL_INLINE void draw_64(const RandomArgs& r, uint64_t x0, uint64_t x1, double* v0, double* v1) {
  if constexpr (kKind == Distribution::uniform) {
    const double w0 = r.a + unit(x0) * (r.b - r.a), w1 = r.a + unit(x1) * (r.b - r.a);
    *v0 = w0 < r.b ? w0 : r.a;
    *v1 = w1 < r.b ? w1 : r.a;
  } else if constexpr (kKind == Distribution::exponential) {
    *v0 = ::fabs(log_double(1.0 - unit(x0)) / r.a);
    *v1 = ::fabs(log_double(1.0 - unit(x1)) / r.a);
  } else if constexpr (kKind == Distribution::cauchy) {
    *v0 = cauchy(r, x0);
    *v1 = cauchy(r, x1);
  } else if constexpr (kKind == Distribution::geometric) {
    *v0 = geometric(r, x0);
    *v1 = geometric(r, x1);
  } else {
    normal_pair(r, x0, x1, v0, v1);
    if constexpr (kKind == Distribution::log_normal) {
      *v0 = exp_double(*v0);
      *v1 = exp_double(*v1);
    }
  }
}

// low + floor(x range / 2^64)
TERCEL_INLINE int64_t draw_integer(const RandomArgs& r, uint64_t x) {
  const uint64_t k =
      r.range ? static_cast<uint64_t>(static_cast<unsigned __int128>(x) * r.range >> 64) : x;
  return static_cast<int64_t>(static_cast<uint64_t>(r.low) + k);
}

template <class T>
TERCEL_INLINE T narrowed(double v) {
  if constexpr (sizeof(T) == 2 && !std::is_integral_v<T>) {
    return T(static_cast<float>(v));
  } else {
    return static_cast<T>(v);
  }
}

}  // namespace
}  // namespace tercel
