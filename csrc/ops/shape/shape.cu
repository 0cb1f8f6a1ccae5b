// Joins and triangles on the GPU: bytes are moved in the widest unit that divides every address,
// one unit per thread, neighbours by neighbouring threads.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "ops/shape/shape_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

template <class U>
__global__ void __launch_bounds__(kThreads) copy_rows_kernel(CopyRowsArgs a) {
  const int64_t units = a.row_bytes / static_cast<int64_t>(sizeof(U)), total = a.rows * units,
                step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total;
       i += step) {
    const int64_t r = i / units, u = i - r * units;
    *reinterpret_cast<U*>(a.dst + r * a.dst_pitch + u * static_cast<int64_t>(sizeof(U))) =
        *reinterpret_cast<const U*>(a.src + r * a.src_pitch + u * static_cast<int64_t>(sizeof(U)));
  }
}

template <class U>
void run_copy(const CopyRowsArgs& a) {
  const int64_t units = a.rows * (a.row_bytes / static_cast<int64_t>(sizeof(U)));
  if (units > 0) launch(copy_rows_kernel<U>, grid_for(units, kThreads), kThreads, 0, a);
}

void copy_rows(const CopyRowsArgs& a) {
  uintptr_t all = reinterpret_cast<uintptr_t>(a.src) | reinterpret_cast<uintptr_t>(a.dst) |
                  static_cast<uintptr_t>(a.row_bytes);
  if (a.rows > 1) all |= static_cast<uintptr_t>(a.src_pitch) | static_cast<uintptr_t>(a.dst_pitch);
  if (all % 16 == 0) return run_copy<Pack<uint32_t, 4>>(a);
  if (all % 8 == 0) return run_copy<uint64_t>(a);
  if (all % 4 == 0) return run_copy<uint32_t>(a);
  if (all % 2 == 0) return run_copy<uint16_t>(a);
  run_copy<uint8_t>(a);
}

// kCount elements of a row per thread; units that lie outside the triangle are not read.
template <class T, int kCount>
__global__ void __launch_bounds__(kThreads) triangle_kernel(TriangleArgs a) {
  const int64_t units = a.cols / kCount, total = a.batch * a.rows * units,
                step = static_cast<int64_t>(gridDim.x) * kThreads;
  const T* src = reinterpret_cast<const T*>(a.src);
  T* dst = reinterpret_cast<T*>(a.dst);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total;
       i += step) {
    const int64_t line = i / units, r = line % a.rows, c = (i - line * units) * kCount;
    // Column minus row of the first and last element against the diagonal.
    const int64_t first = c - r - a.diagonal, last = first + kCount - 1;
    Pack<T, kCount> x{};
    if (a.upper ? last >= 0 : first <= 0) x = load_pack<kCount>(src + i * kCount);
    TERCEL_UNROLL
    for (int j = 0; j < kCount; ++j) {
      if (a.upper ? first + j < 0 : first + j > 0) x.v[j] = T(0);
    }
    store_pack<kCount>(dst + i * kCount, x);
  }
}

template <class T>
void run_triangle(const TriangleArgs& a) {
  constexpr int kCount = 16 / sizeof(T);
  const int64_t total = a.batch * a.rows * a.cols;
  const uintptr_t all = reinterpret_cast<uintptr_t>(a.src) | reinterpret_cast<uintptr_t>(a.dst);
  if (all % 16 == 0 && a.cols % kCount == 0) {
    launch(triangle_kernel<T, kCount>, grid_for(total / kCount, kThreads), kThreads, 0, a);
  } else {
    launch(triangle_kernel<T, 1>, grid_for(total, kThreads), kThreads, 0, a);
  }
}

void triangle(const TriangleArgs& a) {
  switch (a.itemsize) {
    case 1:
      return run_triangle<uint8_t>(a);
    case 2:
      return run_triangle<uint16_t>(a);
    case 4:
      return run_triangle<uint32_t>(a);
    default:
      return run_triangle<uint64_t>(a);
  }
}

}  // namespace

TERCEL_DEVICE_TABLE(ShapeKernels, shape_kernels) = {.copy_rows = copy_rows, .triangle = triangle};

}  // namespace tercel::cuda
