// Polygamma functions (all lanes at once where x > 0) and the Bessel function I1 (lane by lane), in
// double.
#include "ops/elementwise/loops_cpu.h"
#include "ops/elementwise/special_kernels.h"
#include "ops/elementwise/special_scalar.h"

namespace tercel::TERCEL_LEVEL {
namespace {

// Poles, reflection, infinity: seldom, so a call.
TERCEL_OUTLINE VecD polygamma_lanes(const PolygammaOrder& order, VecD x, VecD zeta) {
  return by_lane(x, zeta, [&order](double v, double z) { return polygamma_finish(order, v, z); });
}

VecD polygamma(VecD x, const Params& p) {
  const PolygammaOrder order = polygamma_order(p.v);
  const VecD zeta = scaled_zeta(order, select(x > VecD(0.0), x, VecD(1.0) - x));
  if (!all((x > VecD(0.0)) & (x < VecD(INFINITY)))) return polygamma_lanes(order, x, zeta);
  return order.n % 2 ? zeta : -zeta;
}
VecF polygamma(VecF x, const Params& p) {
  return in_double(x, [&p](VecD v) { return polygamma(v, p); });
}

}  // namespace

extern const SpecialKernels special_kernels = {
    .polygamma = float_unary(15000, [](auto x, const Params& p) { return polygamma(x, p); }),
    .i1 = float_unary(
        60000,
        [](auto x, const Params&) { return by_lane(x, [](double v) { return i1_scalar(v); }); }),
};

}  // namespace tercel::TERCEL_LEVEL
