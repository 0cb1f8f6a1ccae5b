// Indexing, gather and scatter on the GPU. An index out of range is written to the error slot
// (IndexError at the next synchronisation) and treated as 0, so that nothing is read or written
// outside. Writes that may meet in one element are done by one thread in index order:
// deterministic, without atomics.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/error_slot.cuh"
#include "cuda/elements.cuh"
#include "ops/index/index_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 128;

TERCEL_DEVICE int64_t place(int64_t i, const DimList& d) {
  int64_t offset = 0;
  for (int k = d.rank - 1; k >= 0; --k) {
    offset += i % d.size[k] * d.stride[k];
    i /= d.size[k];
  }
  return offset;
}

TERCEL_DEVICE void move_element(char* dst, const char* src, int itemsize) {
  switch (itemsize) {
    case 1:
      *dst = *src;
      return;
    case 2:
      *reinterpret_cast<uint16_t*>(dst) = *reinterpret_cast<const uint16_t*>(src);
      return;
    case 4:
      *reinterpret_cast<uint32_t*>(dst) = *reinterpret_cast<const uint32_t*>(src);
      return;
    default:
      *reinterpret_cast<uint64_t*>(dst) = *reinterpret_cast<const uint64_t*>(src);
  }
}

template <class M>
TERCEL_DEVICE M combined(Combine c, M a, M b) {
  switch (c) {
    case Combine::add:
      return a + b;
    case Combine::multiply:
      return a * b;
    case Combine::maximum:
      return a != a ? a : b != b ? b : a > b ? a : b;
    case Combine::minimum:
      return a != a ? a : b != b ? b : a < b ? a : b;
    default:
      return b;
  }
}

TERCEL_DEVICE void write_element(char* dst, const char* src, DType dtype, int itemsize, Combine c) {
  if (c == Combine::assign) return move_element(dst, src, itemsize);
  if (dtype == DType::f64) {
    store_element<double>(
        dst, dtype,
        combined(c, load_element<double>(dst, dtype), load_element<double>(src, dtype)));
  } else if (dtype <= DType::f8e5m2) {
    store_element<float>(
        dst, dtype, combined(c, load_element<float>(dst, dtype), load_element<float>(src, dtype)));
  } else {
    store_element<int64_t>(
        dst, dtype,
        combined(c, load_element<int64_t>(dst, dtype), load_element<int64_t>(src, dtype)));
  }
}

// ---- index
// ---------------------------------------------------------------------------------------
__global__ void __launch_bounds__(kThreads)
    offsets_kernel(OffsetsArgs a, TercelCudaErrorSlot* slot) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t p = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; p < a.n; p += step) {
    const int64_t offset = checked(a.index[p], a.size, a.wrap, slot) * a.stride;
    a.out[p] = a.accumulate ? a.out[p] + offset : offset;
  }
}
void offsets(const OffsetsArgs& a) {
  launch(offsets_kernel, grid_for(a.n, kThreads), kThreads, 0, a, error_slot());
}

__global__ void __launch_bounds__(kThreads) get_kernel(IndexArgs a) {
  const int64_t total = a.outer_numel * a.n * a.inner_numel,
                step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < total;
       t += step) {
    const int64_t i = t % a.inner_numel, p = t / a.inner_numel % a.n, o = t / a.inner_numel / a.n;
    const int64_t from = place(o, a.outer) + a.offset[p] + place(i, a.inner);
    move_element(a.dense + t * a.itemsize, a.x + from * a.itemsize, a.itemsize);  // contiguous
  }
}
void get(const IndexArgs& a) {
  const int64_t total = a.outer_numel * a.n * a.inner_numel;
  if (total > 0) launch(get_kernel, grid_for(total, kThreads), kThreads, 0, a);
}

__global__ void __launch_bounds__(kThreads) put_kernel(IndexArgs a) {
  const int64_t total = a.outer_numel * a.inner_numel,
                step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < total;
       t += step) {
    const int64_t i = t % a.inner_numel, o = t / a.inner_numel;
    const int64_t base = place(o, a.outer) + place(i, a.inner);
    const int64_t from = o * a.dense_outer + i * a.dense_inner;
    for (int64_t p = 0; p < a.n; ++p)
      write_element(a.x + (base + a.offset[p]) * a.itemsize,
                    a.dense + (from + p * a.dense_row) * a.itemsize, a.dtype, a.itemsize,
                    a.combine);
  }
}
void put(const IndexArgs& a) {
  const int64_t total = a.outer_numel * a.inner_numel;
  if (total > 0 && a.n > 0) launch(put_kernel, grid_for(total, kThreads), kThreads, 0, a);
}

// ---- gather, scatter
// -----------------------------------------------------------------------------
TERCEL_DEVICE void positions(const GatherArgs& a, int64_t o, int64_t* x, int64_t* index,
                             int64_t* other) {
  *x = *index = *other = 0;
  for (int k = a.outer.rank - 1; k >= 0; --k) {
    const int64_t i = o % a.outer.size[k];
    o /= a.outer.size[k];
    *x += i * a.outer.stride[k];
    *index += i * a.outer_index[k];
    *other += i * a.outer_other[k];
  }
}

__global__ void __launch_bounds__(kThreads)
    check_kernel(RangeCheckArgs a, TercelCudaErrorSlot* slot) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t p = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; p < a.n; p += step)
    checked(a.index[p], a.size, false, slot);
}
void check(const RangeCheckArgs& a) {
  if (a.n > 0) launch(check_kernel, grid_for(a.n, kThreads), kThreads, 0, a, error_slot());
}

__global__ void __launch_bounds__(kThreads) gather_kernel(GatherArgs a, TercelCudaErrorSlot* slot) {
  const int64_t total = a.outer_numel * a.k_numel * a.j_numel,
                step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < total;
       t += step) {
    const int64_t j = t % a.j_numel, k = t / a.j_numel % a.k_numel, o = t / a.j_numel / a.k_numel;
    int64_t x, index, other;
    positions(a, o, &x, &index, &other);
    const int64_t i = checked(a.index[index + k * a.index_k + j * a.index_j], a.size, false, slot);
    const int64_t from = x + j * a.x_column + i * a.x_stride,
                  to = other + k * a.other_k + j * a.other_j;
    move_element(a.other + to * a.itemsize, a.x + from * a.itemsize, a.itemsize);
  }
}
void gather(const GatherArgs& a) {
  const int64_t total = a.outer_numel * a.k_numel * a.j_numel;
  if (total > 0) launch(gather_kernel, grid_for(total, kThreads), kThreads, 0, a, error_slot());
}

// Positions along K may name one element: a thread owns (outer, j) and goes along K in order.
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(GatherArgs a, TercelCudaErrorSlot* slot) {
  const int64_t total = a.outer_numel * a.j_numel,
                step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < total;
       t += step) {
    const int64_t j = t % a.j_numel, o = t / a.j_numel;
    int64_t x, index, other;
    positions(a, o, &x, &index, &other);
    for (int64_t k = 0; k < a.k_numel; ++k) {
      const int64_t raw = a.index[index + k * a.index_k + j * a.index_j];
      const int64_t i = checked(raw, a.size, false, slot);
      if (i != raw) continue;
      write_element(a.x + (x + j * a.x_column + i * a.x_stride) * a.itemsize,
                    a.other + (other + k * a.other_k + j * a.other_j) * a.itemsize, a.dtype,
                    a.itemsize, a.combine);
    }
  }
}
void scatter(const GatherArgs& a) {
  const int64_t total = a.outer_numel * a.j_numel;
  if (total > 0) launch(scatter_kernel, grid_for(total, kThreads), kThreads, 0, a, error_slot());
}

}  // namespace

TERCEL_DEVICE_TABLE(IndexKernels, index_kernels) = {.offsets = offsets, .get = get, .put = put};
TERCEL_DEVICE_TABLE(GatherKernels, gather_kernels) = {
    .check = check, .gather = gather, .scatter = scatter};

}  // namespace tercel::cuda
