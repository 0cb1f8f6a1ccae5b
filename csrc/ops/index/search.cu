// searchsorted on the GPU: a thread per value, binary search. Values of neighbouring threads take
// the same first steps, which stay in the cache.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "cuda/geometry.cuh"
#include "ops/index/index_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 128;

template <class M>
TERCEL_DEVICE bool less(M a, M b) {  // NaN is the largest
  return a < b || (a == a && b != b);
}

template <class M>
__global__ void __launch_bounds__(kThreads)
    search_kernel(SearchArgs a, int item, TercelCudaErrorSlot* slot) {
  const int64_t total = a.rows * a.value_count, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total;
       i += step) {
    const int64_t row = i / a.value_count * a.sorted_pitch;
    const char* sorted = static_cast<const char*>(a.sorted) + row * item;
    const M x = load_element<M>(static_cast<const char*>(a.values) + i * item, a.dtype);
    int64_t first = 0, left = a.sorted_size;
    while (left > 0) {
      const int64_t half = left / 2;
      int64_t at = first + half;
      if (a.order) {
        const int64_t named = a.order[row + at];
        if (named < 0 || named >= a.sorted_size) {
          if (slot) {
            slot->index = named;
            slot->size = a.sorted_size;
            __threadfence_system();
            slot->kind = 1;
          }
          break;
        }
        at = named;
      }
      const M m = load_element<M>(sorted + at * item, a.dtype);
      const bool go = a.right ? !less(x, m) : less(m, x);
      first = go ? first + half + 1 : first;
      left = go ? left - half - 1 : half;
    }
    a.out[i] = first;
  }
}

void search(const SearchArgs& a) {
  const int64_t total = a.rows * a.value_count;
  const int item = item_of(a.dtype);
  if (total == 0) return;
  if (a.dtype <= DType::f8e5m2) {
    launch(search_kernel<double>, grid_for(total, kThreads), kThreads, 0, a, item, error_slot());
  } else {
    launch(search_kernel<int64_t>, grid_for(total, kThreads), kThreads, 0, a, item, error_slot());
  }
}

}  // namespace

TERCEL_DEVICE_TABLE(SearchKernels, search_kernels) = {.search = search};

}  // namespace tercel::cuda
