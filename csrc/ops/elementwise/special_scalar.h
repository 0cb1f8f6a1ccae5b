// Polygamma functions and the Bessel function I1 of one number, in double, for every device.
//
// psi^(n)(x) = (-1)^(n+1) n! zeta(n + 1, x) for x > 0, with the Hurwitz zeta function by
// Euler-Maclaurin: the first terms are added, the rest is an integral with Bernoulli corrections.
// x < 0: reflection, psi^(n)(x) = (-1)^n psi^(n)(1 - x) - pi d^n/dx^n cot(pi x).
#pragma once

#include <math.h>

#include "core/half.h"  // TERCEL_INLINE

namespace tercel {

inline constexpr int kPolygammaPolynomial = 20;  // largest order with a polynomial for cot

// Parameters of the kernel: n, and n! as unit^(n + 1) factor. Large factorials go into the base of
// the powers, which would underflow long before the products do.
struct PolygammaOrder {
  int n;
  double unit, factor;
};

// base^s, s >= 1. V: double, or a vector of them.
template <class V>
TERCEL_INLINE V integer_power(V base, int s) {
  V power = V(1.0);
  for (;;) {
    if (s & 1) power = power * base;
    s >>= 1;
    if (!s) return power;
    base = base * base;
  }
}

// n! zeta(n + 1, x) for x > 0, n >= 1. A reciprocal and multiplications per term: powers are
// integers.
template <class V>
TERCEL_INLINE V scaled_zeta(const PolygammaOrder& order, V x) {
  constexpr int kTerms = 11;
  // B_2j / (2j)!
  const double kBernoulli[] = {
      1.0 / 12,          -1.0 / 720,
      1.0 / 30240,       -1.0 / 1209600,
      1.0 / 47900160,    -691.0 / 1307674368000.0,
      1.0 / 74724249600, -3617.0 / 10670622842880000.0,
  };
  const double s = order.n + 1.0;
  const V unit = V(order.unit);
  V total = V(0.0);
  for (int k = 0; k < kTerms; ++k) {
    total = total + integer_power(unit / (x + V(static_cast<double>(k))), order.n + 1);
  }
  const V a = x + V(static_cast<double>(kTerms)), inverse = V(1.0) / a;
  const V power = integer_power(unit * inverse, order.n + 1);
  total = total + power * (a * V(1.0 / order.n) + V(0.5));
  V term = V(s) * power * inverse;  // s (s + 1) ... (s + 2j) a^(-s - 2j - 1)
  for (int j = 0; j < 8; ++j) {
    total = total + V(kBernoulli[j]) * term;
    term = term * (V(s + 2 * j + 1) * inverse) * (V(s + 2 * j + 2) * inverse);
  }
  return V(order.factor) * total;
}

// d^n/dx^n cot(pi x). It is a polynomial in c = cot(pi x): D p = -pi (1 + c^2) p'.
TERCEL_INLINE double cot_derivative(const PolygammaOrder& order, double x) {
  constexpr double kPi = 3.141592653589793;
  const double r = x - ::round(x);  // period 1, in [-1/2, 1/2]
  const int n = order.n;
  if (n > kPolygammaPolynomial) {  // (-1)^n n! / pi times the sum over the poles; 5 away: 1e-19
    double total = 0.0;
    for (int k = -4; k <= 4; ++k) total += integer_power(order.unit / (r + k), n + 1);
    return (n % 2 ? -1.0 : 1.0) / kPi * order.factor * total;
  }
  const double sine = ::sin(kPi * r), c = ::cos(kPi * r) / sine;
  if (n == 1) return -kPi / (sine * sine);
  double p[kPolygammaPolynomial + 2] = {0.0, 1.0};
  for (int step = 0; step < n; ++step) {
    double q[kPolygammaPolynomial + 3] = {};
    for (int i = 1; i <= step + 1; ++i) {
      q[i - 1] -= kPi * i * p[i];
      q[i + 1] -= kPi * i * p[i];
    }
    for (int i = 0; i <= n + 1; ++i) p[i] = q[i];
  }
  double y = 0.0;
  for (int i = n + 1; i >= 0; --i) y = y * c + p[i];
  return y;
}

// psi^(n)(x), n >= 1, from zeta = scaled_zeta(order, x > 0 ? x : 1 - x).
TERCEL_INLINE double polygamma_finish(const PolygammaOrder& order, double x, double zeta) {
  constexpr double kPi = 3.141592653589793;
  const double sign = order.n % 2 ? 1.0 : -1.0;
  if (x > 0.0) return x == INFINITY ? 0.0 : sign * zeta;
  if (x != x) return x;
  if (x == ::floor(x)) return sign > 0.0 ? INFINITY : x == 0.0 ? -INFINITY : NAN;
  return -zeta - kPi * cot_derivative(order, x);
}
TERCEL_INLINE PolygammaOrder polygamma_order(const double* params) {
  return {static_cast<int>(params[0]), params[1], params[2]};
}

// Modified Bessel function of order 1: power series for small |x|, asymptotic series beyond 30.
TERCEL_INLINE double i1_scalar(double x) {
  const double a = ::fabs(x);
  if (a <= 30.0) {
    const double q = 0.25 * a * a;
    double term = 0.5 * x, total = term;
    for (int k = 1; k < 200 && ::fabs(term) > ::fabs(total) * 1e-17; ++k) {
      term *= q / (static_cast<double>(k) * (k + 1));
      total += term;
    }
    return total;
  }
  if (a == INFINITY || a != a) return x;
  double term = 1.0, total = 1.0;
  for (int k = 1; k < 30; ++k) {
    const double odd = 2.0 * k - 1.0;
    term *= (odd * odd - 4.0) / (8.0 * k * a);
    total += term;
    if (::fabs(term) < 1e-17) break;
  }
  return ::copysign(::exp(a) / ::sqrt(6.283185307179586 * a) * total, x);
}

}  // namespace tercel
