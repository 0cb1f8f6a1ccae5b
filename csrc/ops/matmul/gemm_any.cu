// Matrix product of any strides and dtypes: 32 x 32 tiles in shared memory, one fused multiply-add
// chain per output element in increasing k. What gemm_fast.h's kernels do not take ends here:
// integers, fp8, odd strides.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "cuda/geometry.cuh"
#include "ops/matmul/gemm_device.h"
#include "ops/matmul/gemm_epilogue.cuh"
#include "ops/matmul/gemm_fast.h"

namespace tercel::cuda {
namespace {

constexpr int kTile = 32, kRows = 8;  // 256 threads, four rows of the tile each

TERCEL_DEVICE float multiply_add(float a, float b, float c) { return ::fmaf(a, b, c); }
TERCEL_DEVICE double multiply_add(double a, double b, double c) { return ::fma(a, b, c); }
TERCEL_DEVICE int64_t multiply_add(int64_t a, int64_t b, int64_t c) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b) +
                              static_cast<uint64_t>(c));
}

template <class M>
__global__ void __launch_bounds__(256, 2) gemm_any(GemmBatchArgs p, int in_item, int out_item) {
  TERCEL_SHARED_2D(M, ta, kTile, kTile + 1);
  TERCEL_SHARED_2D(M, tb, kTile, kTile + 1);
  const GemmArgs& g = p.gemm;
  int64_t batch = blockIdx.z, oa = 0, ob = 0, oc = 0, oo = 0, o_res = 0;
  for (int d = p.ndim - 1; d >= 0; --d) {
    const int64_t i = batch % p.size[d];
    batch /= p.size[d];
    oa += i * p.a_stride[d];
    ob += i * p.b_stride[d];
    oc += i * p.c_stride[d];
    oo += i * p.out_stride[d];
    o_res += i * p.residual_stride[d];
  }
  const int col = threadIdx.x % kTile, row = threadIdx.x / kTile;
  const int64_t m0 = static_cast<int64_t>(blockIdx.x) * kTile,
                n0 = static_cast<int64_t>(blockIdx.y) * kTile;
  const char* a = static_cast<const char*>(g.a.data);
  const char* b = static_cast<const char*>(g.b.data);
  M sum[kTile / kRows] = {};
  for (int64_t k0 = 0; k0 < g.K; k0 += kTile) {
    TERCEL_UNROLL
    for (int r = 0; r < kTile; r += kRows) {
      const int64_t m = m0 + row + r, n = n0 + row + r, k = k0 + col;
      ta[row + r][col] =
          m < g.M && k < g.K
              ? load_element<M>(a + (oa + m * g.a.row_stride + k * g.a.k_stride) * in_item,
                                g.a.dtype)
              : M(0);
      tb[row + r][col] =
          n < g.N && k < g.K
              ? load_element<M>(b + (ob + n * g.b.row_stride + k * g.b.k_stride) * in_item,
                                g.a.dtype)
              : M(0);
    }
    __syncthreads();
    const int depth = g.K - k0 < kTile ? static_cast<int>(g.K - k0) : kTile;
    for (int k = 0; k < depth; ++k) {
      TERCEL_UNROLL
      for (int r = 0; r < kTile / kRows; ++r)
        sum[r] = multiply_add(ta[row + r * kRows][k], tb[col][k], sum[r]);
    }
    __syncthreads();
  }
  const int64_t n = n0 + col;
  const GemmEpilogue& e = g.epilogue;
  TERCEL_UNROLL
  for (int r = 0; r < kTile / kRows; ++r) {
    const int64_t m = m0 + row + r * kRows;
    if (m >= g.M || n >= g.N) continue;
    M x = sum[r];
    if (e.alpha != 1.0) x = static_cast<M>(e.alpha) * x;
    if (e.beta != 0.0) {
      const int64_t offset = oc + m * e.c_row_stride + n * e.c_col_stride;
      const M c = load_element<M>(static_cast<const char*>(e.c) + offset * out_item, g.out_dtype);
      x = multiply_add(static_cast<M>(e.beta), c, x);
    }
    if constexpr (IsReal<M>::value) {
      if (e.activation != GemmActivation::none) x = activate(x, e.activation);
    } else if (e.activation == GemmActivation::relu && x < M(0)) {
      x = M(0);
    }
    if (e.residual) {
      const int64_t offset = o_res + m * e.residual_row_stride + n * e.residual_col_stride;
      x += load_element<M>(static_cast<const char*>(e.residual) + offset * out_item, g.out_dtype);
    }
    store_element<M>(
        static_cast<char*>(g.out) + (oo + m * g.out_row_stride + n * g.out_col_stride) * out_item,
        g.out_dtype, x);
  }
}

template <class M>
void run(const GemmBatchArgs& p) {
  // blockIdx.y and .z hold at most 65535: longer products run in slices, further batches one by
  // one.
  constexpr int64_t kMaxColumns = 65535ll * kTile, kMaxBatch = 65535;
  int64_t batch = 1;
  for (int d = 0; d < p.ndim; ++d) batch *= p.size[d];
  if (batch > kMaxBatch) {
    GemmBatchArgs part = p;
    for (int64_t i = 0; i < p.size[0]; ++i) {
      part = p;
      part.ndim = p.ndim - 1;
      for (int d = 1; d < p.ndim; ++d) {
        part.size[d - 1] = p.size[d];
        part.a_stride[d - 1] = p.a_stride[d];
        part.b_stride[d - 1] = p.b_stride[d];
        part.c_stride[d - 1] = p.c_stride[d];
        part.out_stride[d - 1] = p.out_stride[d];
        part.residual_stride[d - 1] = p.residual_stride[d];
      }
      const int in = item_of(p.gemm.a.dtype), out = item_of(p.gemm.out_dtype);
      part.gemm.a.data = static_cast<const char*>(p.gemm.a.data) + i * p.a_stride[0] * in;
      part.gemm.b.data = static_cast<const char*>(p.gemm.b.data) + i * p.b_stride[0] * in;
      part.gemm.out = static_cast<char*>(p.gemm.out) + i * p.out_stride[0] * out;
      if (p.gemm.epilogue.beta != 0.0)
        part.gemm.epilogue.c =
            static_cast<const char*>(p.gemm.epilogue.c) + i * p.c_stride[0] * out;
      if (p.gemm.epilogue.residual)
        part.gemm.epilogue.residual = static_cast<const char*>(p.gemm.epilogue.residual) +
                                      i * p.residual_stride[0] * out;
      run<M>(part);
    }
    return;
  }
  for (int64_t n0 = 0; n0 < p.gemm.N; n0 += kMaxColumns) {
    GemmBatchArgs part = p;
    const int in = item_of(p.gemm.a.dtype), out = item_of(p.gemm.out_dtype);
    part.gemm.N = p.gemm.N - n0 < kMaxColumns ? p.gemm.N - n0 : kMaxColumns;
    part.gemm.b.data = static_cast<const char*>(p.gemm.b.data) + n0 * p.gemm.b.row_stride * in;
    part.gemm.out = static_cast<char*>(p.gemm.out) + n0 * p.gemm.out_col_stride * out;
    if (p.gemm.epilogue.beta != 0.0)
      part.gemm.epilogue.c =
          static_cast<const char*>(p.gemm.epilogue.c) + n0 * p.gemm.epilogue.c_col_stride * out;
    if (p.gemm.epilogue.residual)
      part.gemm.epilogue.residual = static_cast<const char*>(p.gemm.epilogue.residual) +
                                    n0 * p.gemm.epilogue.residual_col_stride * out;
    const dim3 grid(static_cast<unsigned>((p.gemm.M + kTile - 1) / kTile),
                    static_cast<unsigned>((part.gemm.N + kTile - 1) / kTile),
                    static_cast<unsigned>(batch));
    launch(gemm_any<M>, grid, 256, 0, part, in, out);
  }
}

void gemm(const GemmDeviceArgs& a) {
  if (gemm_fast(a)) return;
  const GemmBatchArgs& p = a.product;
  const DType t = p.gemm.a.dtype;
  if (t == DType::f64) return run<double>(p);
  if (t <= DType::f8e5m2) return run<float>(p);
  run<int64_t>(p);
}

}  // namespace

TERCEL_DEVICE_TABLE(GemmDeviceKernels, gemm_kernels) = {.gemm = gemm};

}  // namespace tercel::cuda
