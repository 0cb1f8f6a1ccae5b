// Embedding on the GPU. Indices are in range (the op has made them so); gradient rows are owned by
// their destination and summed in index order: no atomics, the same bits in every run.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/rows.cuh"
#include "ops/embedding/embedding_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 128;

// U: widest unit that divides rows and addresses.
template <class U>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const U* table, const int64_t* idx, U* out, int64_t n, int64_t units) {
  const int64_t total = n * units, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total; i += step)
    out[i] = table[idx[i / units] * units + i % units];
}

template <class U>
void run_gather(const GatherRowsArgs& a) {
  const int64_t units = a.row_bytes / static_cast<int64_t>(sizeof(U));
  launch(gather_kernel<U>, grid_for(a.n * units, kThreads), kThreads, 0,
         static_cast<const U*>(a.table), a.idx, static_cast<U*>(a.out), a.n, units);
}

void gather_rows(const GatherRowsArgs& a) {
  const uintptr_t all = reinterpret_cast<uintptr_t>(a.table) | reinterpret_cast<uintptr_t>(a.out) |
                        static_cast<uintptr_t>(a.row_bytes);
  if (all % 16 == 0) return run_gather<Pack<uint32_t, 4>>(a);
  if (all % 4 == 0) return run_gather<uint32_t>(a);
  if (all % 2 == 0) return run_gather<uint16_t>(a);
  run_gather<uint8_t>(a);
}

// One block per destination row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    row_sums_kernel(const T* src, const int64_t* order, const int64_t* start, const int64_t* source,
                    const Acc<T>* scale, T* out, int64_t dim, int64_t skip, bool by_count) {
  using A = Acc<T>;
  const int64_t v = blockIdx.x, begin = start[v], end = v == skip ? begin : start[v + 1];
  for (int64_t d = threadIdx.x; d < dim; d += kThreads) {
    A sum = 0;
    for (int64_t k = begin; k < end; ++k) {
      const int64_t at = order[k], row = source ? source[at] : at;
      const A x = to_float(src[row * dim + d]);
      sum += scale ? x * scale[at] : x;
    }
    if (by_count && end > begin) sum /= static_cast<A>(end - begin);
    out[v * dim + d] = to_storage<T>(sum);
  }
}

void row_sums(const RowSumsArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(row_sums_kernel<T>, static_cast<unsigned>(a.rows), kThreads, 0,
           static_cast<const T*>(a.src), a.order, a.start, a.source,
           static_cast<const Acc<T>*>(a.scale), static_cast<T*>(a.out), a.dim, a.skip, a.by_count);
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(EmbeddingKernels, embedding_kernels) = {.gather_rows = gather_rows,
                                                            .row_sums = row_sums,
                                                            .bag = nullptr,
                                                            .row_dots = nullptr,
                                                            .renorm = nullptr};

}  // namespace tercel::cuda
