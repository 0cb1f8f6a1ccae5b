// Polygamma functions and the Bessel function I1, lane by lane in double.
//
// psi^(n)(x) = (-1)^(n+1) n! zeta(n + 1, x) for x > 0, with the Hurwitz zeta function by
// Euler-Maclaurin: the first terms are added, the rest is an integral with Bernoulli corrections.
// x < 0: reflection, psi^(n)(x) = (-1)^n psi^(n)(1 - x) - pi d^n/dx^n cot(pi x).
#include "ops/elementwise/loops_cpu.h"
#include "ops/elementwise/special_kernels.h"

namespace tercel::TERCEL_LEVEL {
namespace {

constexpr double kPi = 3.141592653589793;

// sum_{k >= 0} (x + k)^-s for x > 0, s >= 2
double hurwitz_zeta(double s, double x) {
  constexpr int kTerms = 12;
  double total = 0.0;
  for (int k = 0; k < kTerms; ++k) {
    const double term = ::pow(x + k, -s);
    total += term;
    if (term < 1e-18 * total) return total;
  }
  // B_2j / (2j)!
  constexpr double kBernoulli[] = {
      1.0 / 12,          -1.0 / 720,
      1.0 / 30240,       -1.0 / 1209600,
      1.0 / 47900160,    -691.0 / 1307674368000.0,
      1.0 / 74724249600, -3617.0 / 10670622842880000.0,
  };
  const double a = x + kTerms;
  double power = ::pow(a, -s);
  total += power * a / (s - 1.0) + 0.5 * power;
  double factor = s * power / a;  // s (s + 1) ... (s + 2j) a^(-s - 2j - 1)
  for (int j = 0; j < 8; ++j) {
    const double term = kBernoulli[j] * factor;
    total += term;
    if (::fabs(term) < 1e-18 * total) break;
    factor *= (s + 2 * j + 1) * (s + 2 * j + 2) / (a * a);
  }
  return total;
}

// d^n/dx^n cot(pi x). It is a polynomial in c = cot(pi x): D p = -pi (1 + c^2) p'.
double cot_derivative(int n, double x) {
  constexpr int kLargest = 20;
  const double r = x - ::round(x);  // period 1, in [-1/2, 1/2]
  if (n > kLargest) {  // -(-1)^n n! / pi times the sum over the poles: the near ones are enough
    double total = 0.0;
    for (int k = -20; k <= 20; ++k) total += ::pow(r + k, -(n + 1.0));
    return (n % 2 ? -1.0 : 1.0) * ::tgamma(n + 1.0) / kPi * total;
  }
  double p[kLargest + 2] = {0.0, 1.0};
  for (int step = 0; step < n; ++step) {
    double q[kLargest + 2] = {};
    for (int i = 1; i <= step + 1; ++i) {
      q[i - 1] -= kPi * i * p[i];
      q[i + 1] -= kPi * i * p[i];
    }
    for (int i = 0; i <= n + 1; ++i) p[i] = q[i];
  }
  const double c = ::cos(kPi * r) / ::sin(kPi * r);
  double y = 0.0;
  for (int i = n + 1; i >= 0; --i) y = y * c + p[i];
  return y;
}

double polygamma_positive(int n, double x) {
  return (n % 2 ? 1.0 : -1.0) * ::tgamma(n + 1.0) * hurwitz_zeta(n + 1.0, x);
}

double polygamma_scalar(int n, double x) {
  if (x != x) return x;
  if (x <= 0.0) {
    if (x == ::floor(x)) return n % 2 ? INFINITY : x == 0.0 ? -INFINITY : NAN;
    return (n % 2 ? -1.0 : 1.0) * polygamma_positive(n, 1.0 - x) - kPi * cot_derivative(n, x);
  }
  if (x == INFINITY) return 0.0;
  return polygamma_positive(n, x);
}

// Modified Bessel function of order 1: power series for small |x|, asymptotic series beyond 30.
double i1_scalar(double x) {
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
  return ::copysign(::exp(a) / ::sqrt(2.0 * kPi * a) * total, x);
}

}  // namespace

extern const SpecialKernels special_kernels = {
    .polygamma = float_unary(400000,
                             [](auto x, const Params& p) {
                               return by_lane(x, [&p](double v) {
                                 return polygamma_scalar(static_cast<int>(p[0]), v);
                               });
                             }),
    .i1 = float_unary(
        60000,
        [](auto x, const Params&) { return by_lane(x, [](double v) { return i1_scalar(v); }); }),
};

}  // namespace tercel::TERCEL_LEVEL
