// sin, cos, tan, asin, acos, atan, atan2 and sinc on Vec<float> and Vec<double>, in the arithmetic
// of their type. Part of vmath.h.
//
// What a rounding loses before the last addition is carried in a second, small number, so that the
// errors stay below 1 ulp. Polynomials are Chebyshev interpolants of the function named beside
// them.
#pragma once

#include "simd/vmath_core.h"

namespace tercel::simd {
namespace {

// Constants and polynomials per type.
template <class V>
struct Trig;
template <>
struct Trig<VecF> {
  // pi / 2 in three parts; angles below kLargest are reduced with them
  static constexpr float kHalfPi[] = {0x1.921fb6p+0f, -0x1.777a5cp-25f, -0x1.ee59dap-50f};
  static constexpr float kTwoOverPi = 0.636619772f, kMagic = 0x1.8p23f, kLargest = 0x1p16f;
  // |r| <= pi / 4: (sin r / r - 1) / r^2, (cos r - 1 + r^2 / 2) / r^4, (tan r / r - 1) / r^2
  static constexpr float kSin[] = {-0.166666672f, 0.00833338033f, -0.000198534923f,
                                   2.83712893e-06f};
  static constexpr float kCos[] = {0.0416666456f, -0.00138873013f, 2.4430663e-05f};
  static constexpr float kTan[] = {0.333333522f,  0.13332586f,      0.0540681072f, 0.0212421641f,
                                   0.0109348614f, -3.11461408e-05f, 0.00443379162f};
  // (atan t / t - 1) / t^2 on [0, 1]; (asin t / t - 1) / t^2 on [0, 1/2]
  static constexpr float kAtan[] = {-0.333333284f,   0.199997216f,  -0.142804697f,  0.110622779f,
                                    -0.0882595032f,  0.0677484572f, -0.0451515652f, 0.0229279809f,
                                    -0.00749891484f, 0.00114969978f};
  static constexpr float kAsin[] = {0.166667536f, 0.0749525279f, 0.0454759113f, 0.0241528153f,
                                    0.0422105119f};
  // pi^2 / 6 in two parts, (sin(pi r) / (pi r) - 1 + pi^2 / 6 r^2) / r^4 on [0, 1/2]
  static constexpr float kSixth[] = {0x1.a51a66p+0f, 0x1.2983eap-27f};
  static constexpr float kSinc[] = {0.811742365f, -0.190749824f, 0.0261262208f, -0.00225110189f};
  // 1 / x to 12 % by subtracting the bit patterns
  static TERCEL_INLINE VecF rough_reciprocal(VecF x) {
    return as_float(VecI(0x7ef311c3) - as_int(x));
  }
};
template <>
struct Trig<VecD> {
  static constexpr double kHalfPi[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54,
                                       -0x1.f1976b7ed8fbcp-110};
  static constexpr double kTwoOverPi = 0.6366197723675814, kMagic = 0x1.8p52, kLargest = 0x1p30;
  static constexpr double kSin[] = {-0.16666666666666666,    0.008333333333333331,
                                    -0.00019841269841265003, 2.7557319219291695e-06,
                                    -2.505210621597872e-08,  1.6058529011941212e-10,
                                    -7.586543633124543e-13};
  static constexpr double kCos[] = {0.041666666666666664,  -0.0013888888888888887,
                                    2.480158730158461e-05, -2.7557319221376434e-07,
                                    2.087675578192411e-09, -1.1470459438144904e-11,
                                    4.745786567321867e-14};
  static constexpr double kTan[] = {
      0.3333333333333333,      0.1333333333333336,     0.053968253968215016,
      0.02186948853826196,     0.008863235470202442,   0.0035921290568172604,
      0.001455822978387859,    0.0005901152492938132,  0.00023864904936004606,
      9.881353947445562e-05,   3.381398704058793e-05,  2.7318701459669343e-05,
      -1.0464317405029252e-05, 1.9761010941963484e-05, -9.856886920855701e-06,
      3.974590361316843e-06};
  static constexpr double kAtan[] = {
      -0.3333333333333333,    0.19999999999999554,  -0.14285714285648404,   0.11111111107234795,
      -0.09090908969557318,   0.07692305354677433,  -0.06666636435765601,   0.058820749562850716,
      -0.05261265735251995,   0.047520867717299284, -0.04308119649570376,   0.03872640200026143,
      -0.033750131734263486,  0.02756794189762351,  -0.02023870652043243,   0.012756172489081062,
      -0.006575683060170439,  0.002622977751300935, -0.0007518472047774418, 0.00013687247526900502,
      -1.1832504441393097e-05};
  static constexpr double kAsin[] = {
      0.16666666666666669, 0.07499999999998433,  0.044642857146355436, 0.030381944138530792,
      0.0223721729421645,  0.01735239272057948,  0.013971212977324232, 0.01147917738229329,
      0.01032281454438744, 0.005457505952877555, 0.017400881373986626, -0.014851889888344275,
      0.02875785317504976};
  static constexpr double kSixth[] = {0x1.a51a6625307d3p+0, 0x1.1873d8912200cp-55};
  static constexpr double kSinc[] = {0.8117424252833536,     -0.19075182412208389,
                                     0.026147847817640922,   -0.002346081035170168,
                                     0.00014842878972770807, -6.975851212138839e-06,
                                     2.530327456586945e-07,  -7.114052811222631e-09};
  static TERCEL_INLINE VecD rough_reciprocal(VecD x) {
    return as_double(VecL(0x7fde623822fc16e6) - as_int(x));
  }
};
TERCEL_INLINE VecI low_bit_to_sign(VecI q) { return shift_left<31>(q); }
TERCEL_INLINE VecL low_bit_to_sign(VecL q) { return shift_left<63>(q); }
TERCEL_INLINE VecF flip_sign(VecF x, VecI sign) { return as_float(as_int(x) ^ sign); }
TERCEL_INLINE VecD flip_sign(VecD x, VecL sign) { return as_double(as_int(x) ^ sign); }

// x = q pi/2 + high + low, |high| <= pi/4, for |x| < kLargest; low bits of `quadrant` hold q.
template <class V>
struct Angle {
  typename V::Int quadrant;
  Pair<V> r;
};
template <class V>
TERCEL_INLINE Angle<V> reduce_angle(V x) {
  using T = Trig<V>;
  const V shifted = fma(x, V(T::kTwoOverPi), V(T::kMagic));
  const V k = shifted - V(T::kMagic);
  const V r1 = fnma(V(T::kHalfPi[0]), k, x);  // exact
  const V w = k * V(T::kHalfPi[1]), w_low = fma(k, V(T::kHalfPi[1]), -w);
  const V r2 = r1 - w, back = r2 - r1;
  const V lost = (r1 - (r2 - back)) - (w + back);  // either of r1 and w may be the larger one
  return {as_int(shifted), {r2, lost - fma(k, V(T::kHalfPi[2]), w_low)}};
}
// sin(x + kShift pi/2), |x| < kLargest
template <int kShift, class V>
TERCEL_INLINE V sin_near(V x) {
  using T = Trig<V>;
  using I = typename V::Int;
  const Angle<V> a = reduce_angle(x);
  const V r = a.r.high, low = a.r.low, z = r * r;
  const V s = r + fma(r * z, horner(z, T::kSin), low);
  const V half = z * V(0.5f), w = V(1) - half;
  const V c = w + (((V(1) - w) - half) + fma(z * z, horner(z, T::kCos), -(r * low)));
  const I q = a.quadrant + I(kShift);
  V y = select((q & I(1)) == I(0), s, c);
  if constexpr (kShift == 0) y = select(x == V(0), x, y);  // keeps -0
  return flip_sign(y, low_bit_to_sign(shift_right<1>(q)));
}
template <class V>
TERCEL_INLINE V tan_near(V x) {
  using T = Trig<V>;
  using I = typename V::Int;
  const Angle<V> a = reduce_angle(x);
  const V r = a.r.high, z = r * r;
  const V slope = fma(z, fma(z, V(0.8f), V(1)), V(1));  // of tan, to 2 %
  const V z_low = fma(r, r, -z) * r;
  const V tail = fma(r * z, horner(z, T::kTan), fma(z_low, V(0.5f), a.r.low * slope));
  const Pair<V> t = fast_sum(r, tail);
  const V q = V(-1) / t.high;
  const V cot = fma(q, fma(q, t.high, V(1)) + q * t.low, q);
  return select(x == V(0), x, select((a.quadrant & I(1)) == I(0), t.high, cot));
}
// Larger angles: float32 in double, float64 in the C library, lane by lane; a lane's result never
// depends on its neighbours.
template <class V, class F, class G>
TERCEL_INLINE V with_large_angles(V x, F near, G far) {
  const V y = near(x);
  const auto large = !(abs(x) < V(Trig<V>::kLargest));
  if (any(large)) [[unlikely]]
    return select(large, far(x), y);
  return y;
}

// atan |x|: pi/2 - atan(1 / |x|) beyond 1
template <class V>
TERCEL_INLINE V atan_any(V x) {
  using T = Trig<V>;
  const V a = min_or_second(V(0x1p100f), abs(x));
  const auto large = a > V(1);
  const V q = V(-1) / a;
  const V t = select(large, q, a), z = t * t;
  // the rounding of the quotient times atan' = 1 / (1 + z), roughly, and that of pi / 2
  const V lost = fma(q * fma(q, a, V(1)), fnma(V(0.5f), z, V(1)), V(T::kHalfPi[1]));
  const Pair<V> s = fast_sum(select(large, V(T::kHalfPi[0]), V(0)), t);
  const V tail = fma(t * z, horner(z, T::kAtan), select(large, lost, V(0)));
  return copysign(s.high + (s.low + tail), x);
}
// For |x| > 1/2: asin |x| = pi/2 - 2 asin(s), s = sqrt((1 - |x|) / 2); the rounding of s is fed
// back.
template <class V>
struct AsinParts {
  typename V::Mask large;
  V t, tail;  // asin = t + tail, of |x| or of s
};
template <class V>
TERCEL_INLINE AsinParts<V> asin_parts(V a) {
  using T = Trig<V>;
  const auto large = a > V(0.5f);
  const V half = fnma(V(0.5f), a, V(0.5f));
  const V s = sqrt(half);
  const V lost = fnma(s, s, half) * V(0.5f) * T::rough_reciprocal(s);
  const V t = select(large, s, a), z = select(large, half, a * a);
  return {large, t, fma(t * z, horner(z, T::kAsin), select(large, lost, V(0)))};
}
template <class V>
TERCEL_INLINE V asin_any(V x) {
  using T = Trig<V>;
  const AsinParts<V> p = asin_parts(abs(x));
  const Pair<V> far = fast_sum(V(T::kHalfPi[0]), V(-2) * p.t);
  const V y = far.high + (far.low + fma(V(-2), p.tail, V(T::kHalfPi[1])));
  return copysign(select(p.large, y, p.t + p.tail), x);
}
template <class V>
TERCEL_INLINE V acos_any(V x) {
  using T = Trig<V>;
  const AsinParts<V> p = asin_parts(abs(x));
  const auto negative = x < V(0);
  // pi/2 - x, pi - 2 s or 2 s
  const V scale = select(p.large, select(negative, V(-2), V(2)), select(negative, V(1), V(-1)));
  const auto no_base = p.large & (!negative);
  const V multiple = select(p.large, V(2), V(1));
  const V base = select(no_base, V(0), multiple * V(T::kHalfPi[0]));
  const V base_low = select(no_base, V(0), multiple * V(T::kHalfPi[1]));
  const Pair<V> far = fast_sum(base, scale * p.t);
  return far.high + (far.low + fma(scale, p.tail, base_low));
}

// sin(pi x) / (pi x) = (-1)^n S r / x, x = n + r exactly, S = sin(pi r) / (pi r) in two parts
template <class V>
TERCEL_INLINE V sinc_any(V x) {
  using T = Trig<V>;
  const V n = round(x), r = x - n, z = r * r, z_low = fma(r, r, -z);
  const V h = z * V(-T::kSixth[0]);
  const V h_low = fma(z, V(-T::kSixth[0]), -h) + fma(z_low, V(-T::kSixth[0]), z * V(-T::kSixth[1]));
  const Pair<V> s = fast_sum(V(1), h);
  const V tail = s.low + fma(z * z, horner(z, T::kSinc), h_low);
  const V inverse = V(1) / x;
  const V p = r * s.high, p_low = fma(r, tail, fma(r, s.high, -p));
  const V ratio = p * inverse;
  const V far = fma(fnma(ratio, x, p) + p_low, inverse, ratio);
  const auto even = round(n * V(0.5f)) * V(2) == n;
  return select(n == V(0), s.high + tail, select(even, far, -far));
}

TERCEL_SIMD VecF atan(VecF x) { return atan_any(x); }
TERCEL_SIMD VecD atan(VecD x) { return atan_any(x); }
TERCEL_SIMD VecF asin(VecF x) { return asin_any(x); }
TERCEL_SIMD VecD asin(VecD x) { return asin_any(x); }
TERCEL_SIMD VecF acos(VecF x) { return acos_any(x); }
TERCEL_SIMD VecD acos(VecD x) { return acos_any(x); }
TERCEL_SIMD VecF sinc(VecF x) { return sinc_any(x); }
TERCEL_SIMD VecD sinc(VecD x) { return sinc_any(x); }

// x = q pi/2 + r, |r| <= pi/4, for |x| < 2^30; low bits of `quadrant` hold q.
struct Quadrant {
  VecL quadrant;
  VecD r;
};
TERCEL_INLINE Quadrant reduce_half_pi(VecD x) {
  const VecD shifted = fma(x, VecD(0.6366197723675814), VecD(kRoundMagic));
  const VecD k = shifted - VecD(kRoundMagic);
  const VecD r = fnma(k, VecD(0x1.1a62633145c07p-54), fnma(k, VecD(0x1.921fb54442d18p+0), x));
  return {as_int(shifted), r};
}
// |r| <= pi/4, 2^-42 and 2^-40
TERCEL_SIMD VecD sin_poly(VecD r) {
  static constexpr double c[] = {-0.1666666666666387, 0.00833333333107021, -0.00019841266908224796,
                                 2.7555988280021408e-06, -2.4805390945765667e-08};
  const VecD z = r * r;
  return fma(r * z, poly(z, c), r);
}
TERCEL_SIMD VecD cos_poly(VecD r) {
  static constexpr double c[] = {-0.4999999999996371, 0.04166666663727906, -0.001388888508002599,
                                 2.479985875074885e-05, -2.723682200188568e-07};
  const VecD z = r * r;
  return fma(z, poly(z, c), VecD(1.0));
}
// sin(r + q pi/2); cos is one quadrant further
template <int kShift>
TERCEL_SIMD VecD sin_quadrant(VecD x) {
  const Quadrant p = reduce_half_pi(x);
  const VecL q = p.quadrant + VecL(kShift);
  const VecD y = select((q & VecL(1)) == VecL(0), sin_poly(p.r), cos_poly(p.r));
  return as_double(as_int(y) ^ shift_left<62>(q & VecL(2)));
}
// Angles that float32 cannot reduce: in double, and from 2^30 on in the C library.
template <class F, class G>
TERCEL_OUTLINE VecF far_angle(VecF x, F reduced, G library) {
  const VecF y = in_double(x, reduced);
  const auto huge = !(abs(x) < VecF(0x1p30f));
  return any(huge) ? select(huge, by_lane(x, library), y) : y;
}
template <class F>
TERCEL_OUTLINE VecD far_angle(VecD x, F library) {
  return by_lane(x, library);
}
TERCEL_SIMD VecF sin(VecF x) {
  return with_large_angles(
      x, [](VecF v) { return sin_near<0>(v); },
      [](VecF v) {
        return far_angle(
            v, [](VecD u) { return sin_quadrant<0>(u); }, [](double u) { return ::sin(u); });
      });
}
TERCEL_SIMD VecF cos(VecF x) {
  return with_large_angles(
      x, [](VecF v) { return sin_near<1>(v); },
      [](VecF v) {
        return far_angle(
            v, [](VecD u) { return sin_quadrant<1>(u); }, [](double u) { return ::cos(u); });
      });
}
TERCEL_SIMD VecF tan(VecF x) {
  return with_large_angles(
      x, [](VecF v) { return tan_near(v); },
      [](VecF v) {
        return far_angle(
            v,
            [](VecD u) {
              const Quadrant p = reduce_half_pi(u);
              const VecD s = sin_poly(p.r), c = cos_poly(p.r);
              const auto even = (p.quadrant & VecL(1)) == VecL(0);
              return select(even, s, -c) / select(even, c, s);
            },
            [](double u) { return ::tan(u); });
      });
}
TERCEL_SIMD VecD sin(VecD x) {
  return with_large_angles(
      x, [](VecD v) { return sin_near<0>(v); },
      [](VecD v) { return far_angle(v, [](double u) { return ::sin(u); }); });
}
TERCEL_SIMD VecD cos(VecD x) {
  return with_large_angles(
      x, [](VecD v) { return sin_near<1>(v); },
      [](VecD v) { return far_angle(v, [](double u) { return ::cos(u); }); });
}
TERCEL_SIMD VecD tan(VecD x) {
  return with_large_angles(
      x, [](VecD v) { return tan_near(v); },
      [](VecD v) { return far_angle(v, [](double u) { return ::tan(u); }); });
}

// (atan(t) / t - 1) / t^2, |t| <= tan(pi/8), 2^-39
TERCEL_SIMD VecD atan_reduced(VecD t) {
  static constexpr double c[] = {-0.33333333333265697, 0.1999999994953061,  -0.14285708076608972,
                                 0.11110818413358015,  -0.0908407814166329, 0.0760457948685042,
                                 -0.06026298394694589, 0.03293875797459693};
  const VecD z = t * t;
  return fma(t * z, poly(z, c), t);
}
// atan(n / d) for n, d >= 0, in [0, pi/2]: one division after choosing the interval.
TERCEL_SIMD VecD atan_ratio(VecD n, VecD d) {
  const auto large = n > VecD(2.414213562373095) * d;
  const auto middle = (!large) & (n > VecD(0.4142135623730950) * d);
  const VecD num = select(large, -d, select(middle, n - d, n));
  const VecD den = select(large, n, select(middle, n + d, d));
  const VecD base =
      select(large, VecD(1.5707963267948966), select(middle, VecD(0.7853981633974483), VecD(0.0)));
  return base + atan_reduced(num / den);
}
TERCEL_OUTLINE VecF atan2_of_any_lane(VecF y, VecF x) {
  const VecF angle = in_double(y, x, [](VecD v, VecD u) {
    const VecD n = abs(v), d = abs(u);
    const auto both_infinite = (n == VecD(INFINITY)) & (d == VecD(INFINITY));
    const auto both_zero = (n == VecD(0.0)) & (d == VecD(0.0));
    const VecD top = select(both_infinite, VecD(1.0), min_or_second(VecD(1e300), n));
    const VecD bottom = select(both_infinite | both_zero, VecD(1.0), min_or_second(VecD(1e300), d));
    const VecD a = atan_ratio(top, bottom);
    const auto negative = as_int(u) < VecL(0);
    const VecD t = select(negative, VecD(3.141592653589793) - a, a);
    return select(isnan(u) | isnan(v), u + v, copysign(t, v));
  });
  return angle;
}
TERCEL_OUTLINE VecD atan2_of_any_lane(VecD y, VecD x) {
  return by_lane(y, x, [](double a, double b) { return ::atan2(a, b); });
}
// base +- atan(q), q = the smaller operand over the larger one: base 0, pi/2 or pi. Lanes with
// zero, very small, very large or special operands go the slow way.
template <class V>
TERCEL_SIMD V atan2(V y, V x) {
  using T = Trig<V>;
  const V n = abs(y), d = abs(x);
  const auto steep = n > d, left = x < V(0);
  const V small = select(steep, d, n), large = select(steep, n, d);
  const V inverse = V(1) / large, q = small * inverse;
  const V z = q * q, slope = fnma(V(0.5f), z, V(1));  // of atan, roughly
  const V lost = fnma(q, large, small) * inverse * slope;
  // both steep and left, or neither: + atan
  const V sign = select(steep, select(left, V(1), V(-1)), select(left, V(-1), V(1)));
  const V halves = select(steep, V(1), select(left, V(2), V(0)));
  const Pair<V> s = fast_sum(halves * V(T::kHalfPi[0]), sign * q);
  const V tail = fma(q * z, horner(z, T::kAtan), lost);
  const V angle = s.high + fma(sign, tail, fma(halves, V(T::kHalfPi[1]), s.low));
  const auto usual = (large < V(0x1p60f)) & (small > V(0x1p-60f));
  if (!all(usual)) [[unlikely]]
    return select(usual, copysign(angle, y), atan2_of_any_lane(y, x));
  return copysign(angle, y);
}

}  // namespace
}  // namespace tercel::simd
