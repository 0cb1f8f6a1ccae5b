// Interpolation on the GPU, forward and adjoint: a thread per destination element sums its terms in
// the order of the lists (z, y, then x), so there are no atomics and one rounding at the end. Along
// x neighbouring threads read neighbouring elements.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/rows.cuh"
#include "ops/resample/resample_args.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads, 4) resample_kernel(ResampleArgs a, int64_t total) {
  using A = Acc<T>;
  const ResampleLists::Dim &dz = a.lists.dim[0], &dy = a.lists.dim[1], &dx = a.lists.dim[2];
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads, plane = dz.src * dy.src * dx.src;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total;
       i += step) {
    const int64_t x = i % dx.dst, row = i / dx.dst, y = row % dy.dst, slab = row / dy.dst,
                  z = slab % dz.dst, p = slab / dz.dst;
    const T* src = static_cast<const T*>(a.src) + p * plane;
    A sum = 0;
    bool first = true;
    for (int64_t kz = dz.first[z]; kz < dz.first[z + 1]; ++kz) {
      for (int64_t ky = dy.first[y]; ky < dy.first[y + 1]; ++ky) {
        const T* line = src + (dz.place[kz] * dy.src + dy.place[ky]) * dx.src;
        const double outer = dz.weight[kz] * dy.weight[ky];
        for (int64_t kx = dx.first[x]; kx < dx.first[x + 1]; ++kx) {
          const A term =
              static_cast<A>(outer * dx.weight[kx]) * static_cast<A>(to_float(line[dx.place[kx]]));
          sum = first ? term : sum + term;
          first = false;
        }
      }
    }
    static_cast<T*>(a.dst)[i] = to_storage<T>(sum);
  }
}

void run(const ResampleArgs& a) {
  const int64_t total = a.planes * a.lists.dim[0].dst * a.lists.dim[1].dst * a.lists.dim[2].dst;
  if (total == 0) return;
  with_float_type(a.dtype, [&](auto zero) {
    launch(resample_kernel<decltype(zero)>, grid_for(total, kThreads), kThreads, 0, a, total);
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(ResampleKernels, resample_kernels) = {.forward = run, .adjoint = run};

}  // namespace tercel::cuda
