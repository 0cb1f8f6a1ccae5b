// Polygamma functions and I1 on the GPU: a kernel of their own, because the reflection of polygamma
// keeps polynomials in local memory, which no other op needs.
#include <stddef.h>

#include "ops/elementwise/general_loop.cuh"
#include "ops/elementwise/special_kernels.h"
#include "ops/elementwise/special_scalar.h"

namespace tercel::cuda {
namespace {

struct Polygamma {
  template <class M>
  TERCEL_DEVICE static M apply(const ElementwiseDeviceArgs& a, M x, M, M, bool) {
    const PolygammaOrder order = polygamma_order(a.params);
    const double v = static_cast<double>(x);
    return static_cast<M>(polygamma_finish(order, v, scaled_zeta(order, v > 0.0 ? v : 1.0 - v)));
  }
};
struct BesselI1 {
  template <class M>
  TERCEL_DEVICE static M apply(const ElementwiseDeviceArgs&, M x, M, M, bool) {
    return static_cast<M>(i1_scalar(static_cast<double>(x)));
  }
};

}  // namespace

// In double, whatever the dtypes are.
void run_special(const ElementwiseDeviceArgs& a) {
  if (a.op == static_cast<int>(offsetof(SpecialKernels, polygamma) / sizeof(Op))) {
    run_general<Polygamma, double>(a);
  } else {
    run_general<BesselI1, double>(a);
  }
}

}  // namespace tercel::cuda
