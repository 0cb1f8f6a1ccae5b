// Embedding on the GPU. Indices are in range (the op has made them so); gradient rows are owned by
// their destination and summed in index order: no atomics, the same bits in every run.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/reduce.cuh"
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

// ---- bags

// One block per bag, threads over columns, rows in the order of the indices.
template <class T>
__global__ void __launch_bounds__(kThreads) bag_kernel(BagArgs a) {
  using A = Acc<T>;
  const int64_t b = blockIdx.x, begin = a.start[b], end = a.start[b + 1];
  const T* table = static_cast<const T*>(a.table);
  const A* scale = static_cast<const A*>(a.scale);
  for (int64_t d = threadIdx.x; d < a.dim; d += kThreads) {
    A value = 0;
    int64_t used = 0, row = -1;
    for (int64_t k = begin; k < end; ++k) {
      const int64_t i = a.idx[k];
      if (i == a.skip) continue;
      ++used;
      const A x = to_float(table[i * a.dim + d]);
      if (a.mode != BagMode::max) {
        value += scale ? x * scale[k] : x;
      } else if (row < 0 || x > value || (x != x && value == value)) {
        value = x;
        row = i;
      }
    }
    if (a.mode == BagMode::mean) value /= static_cast<A>(used < 1 ? 1 : used);
    static_cast<T*>(a.out)[b * a.dim + d] = to_storage<T>(value);
    if (a.argmax) a.argmax[b * a.dim + d] = row;
  }
}
void bag(const BagArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    launch(bag_kernel<decltype(zero)>, static_cast<unsigned>(a.bags), kThreads, 0, a);
  });
}

// One warp per product of two rows.
template <class T>
__global__ void __launch_bounds__(kThreads) row_dots_kernel(RowDotsArgs a) {
  using A = Acc<T>;
  const int64_t k = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (k >= a.n) return;  // the whole warp
  const int64_t ib = a.ib[k];
  const T *x = static_cast<const T*>(a.a) + a.ia[k] * a.dim,
          *y = static_cast<const T*>(a.b) + ib * a.dim;
  A sum = 0;
  for (int64_t d = threadIdx.x % 32; d < a.dim && ib != a.skip; d += 32)
    sum += static_cast<A>(to_float(x[d])) * static_cast<A>(to_float(y[d]));
  sum = warp_reduce(sum, Sum());
  if (threadIdx.x % 32 == 0) static_cast<A*>(a.out)[k] = sum;
}
void row_dots(const RowDotsArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    launch(row_dots_kernel<decltype(zero)>,
           static_cast<unsigned>((a.n + kThreads / 32 - 1) / (kThreads / 32)), kThreads, 0, a);
  });
}

// One block per listed row; the norm in double.
template <class T>
__global__ void __launch_bounds__(kThreads) renorm_kernel(RenormArgs a) {
  using A = Acc<T>;
  TERCEL_SHARED(double, shared, 32);
  T* x = static_cast<T*>(a.table) + a.rows[blockIdx.x] * a.dim;
  const bool highest = a.p > 1.7e308;
  double s = 0;
  for (int64_t d = threadIdx.x; d < a.dim; d += kThreads) {
    const double v = ::fabs(static_cast<double>(to_float(x[d])));
    if (highest) {
      s = Max()(s, v);
    } else {
      s += a.p == 2.0 ? v * v : a.p == 1.0 ? v : ::pow(v, a.p);
    }
  }
  s = highest ? block_reduce(s, Max(), 0.0, shared) : block_reduce(s, Sum(), 0.0, shared);
  const double norm = a.p == 2.0 ? ::sqrt(s) : a.p == 1.0 || highest ? s : ::pow(s, 1.0 / a.p);
  if (!(norm > a.max_norm)) return;
  const A factor = static_cast<A>(a.max_norm / (norm + 1e-7));
  for (int64_t d = threadIdx.x; d < a.dim; d += kThreads)
    x[d] = to_storage<T>(static_cast<A>(to_float(x[d])) * factor);
}
void renorm(const RenormArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    launch(renorm_kernel<decltype(zero)>, static_cast<unsigned>(a.count), kThreads, 0, a);
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(EmbeddingKernels, embedding_kernels) = {.gather_rows = gather_rows,
                                                            .row_sums = row_sums,
                                                            .bag = bag,
                                                            .row_dots = row_dots,
                                                            .renorm = renorm};

}  // namespace tercel::cuda
