// Matrix product with plain fused multiply-adds: strict float32, and float64. Any strides.
//
// A block of 256 threads computes BM x BN, a thread R x R elements (rows t, t + 16, ... so that reads of
// a shared row are broadcasts and bank-conflict free); k runs in tiles of 16, the next tile is loaded
// into registers while the present one is multiplied. Each element is one chain of fused multiply-adds
// in increasing k.
#pragma once

#include "ops/matmul/gemm_epilogue.cuh"

namespace tercel::cuda {

struct SimtOperand {
  const void* data;
  int64_t row_stride, k_stride;  // elements
};

struct SimtArgs {
  int64_t M, N, K;
  SimtOperand a, b;
  GemmOutput out;
  GemmBatch batch;
};

TERCEL_DEVICE float fused(float a, float b, float c) { return ::fmaf(a, b, c); }
TERCEL_DEVICE double fused(double a, double b, double c) { return ::fma(a, b, c); }

template <class T, int R>
__global__ void __launch_bounds__(256) gemm_simt_kernel(const __grid_constant__ SimtArgs p) {
  constexpr int BM = 16 * R, BK = 16, kLoads = BM * BK / 256;
  TERCEL_SHARED_2D(T, tile_a, 2 * BK, BM + 16 / int(sizeof(T)));
  TERCEL_SHARED_2D(T, tile_b, 2 * BK, BM + 16 / int(sizeof(T)));
  int64_t tile_m, tile_n;
  tile_of_block(blockIdx.x, (p.M + BM - 1) / BM, (p.N + BM - 1) / BM, &tile_m, &tile_n);
  const int64_t m0 = tile_m * BM, n0 = tile_n * BM;
  const BatchOffsets offset = batch_offsets(p.batch, p.batch.first + blockIdx.z);
  const T* a = static_cast<const T*>(p.a.data) + offset.a;
  const T* b = static_cast<const T*>(p.b.data) + offset.b;
  const int t = static_cast<int>(threadIdx.x), tm = t / 16, tn = t % 16;

  // Neighbouring threads read along the contiguous dim.
  auto row_of = [&](bool k_first, int i) { return k_first ? (t + i * 256) / BK : (t + i * 256) % BM; };
  auto k_of = [&](bool k_first, int i) { return k_first ? (t + i * 256) % BK : (t + i * 256) / BM; };
  const bool a_k_first = p.a.k_stride == 1, b_k_first = p.b.k_stride == 1;
  T next_a[kLoads], next_b[kLoads];
  auto fetch = [&](int64_t k0) {
    TERCEL_UNROLL
    for (int i = 0; i < kLoads; ++i) {
      const int64_t m = m0 + row_of(a_k_first, i), ka = k0 + k_of(a_k_first, i);
      const int64_t n = n0 + row_of(b_k_first, i), kb = k0 + k_of(b_k_first, i);
      next_a[i] = m < p.M && ka < p.K ? a[m * p.a.row_stride + ka * p.a.k_stride] : T(0);
      next_b[i] = n < p.N && kb < p.K ? b[n * p.b.row_stride + kb * p.b.k_stride] : T(0);
    }
  };
  auto put = [&](int stage) {
    TERCEL_UNROLL
    for (int i = 0; i < kLoads; ++i) {
      tile_a[stage * BK + k_of(a_k_first, i)][row_of(a_k_first, i)] = next_a[i];
      tile_b[stage * BK + k_of(b_k_first, i)][row_of(b_k_first, i)] = next_b[i];
    }
  };

  T sum[R][R];
  TERCEL_UNROLL
  for (int i = 0; i < R; ++i) {
    TERCEL_UNROLL
    for (int j = 0; j < R; ++j) sum[i][j] = T(0);
  }
  fetch(0);
  int stage = 0;
  for (int64_t k0 = 0; k0 < p.K; k0 += BK) {
    put(stage);
    __syncthreads();  // the other stage has been read by all when the next put comes
    if (k0 + BK < p.K) fetch(k0 + BK);
    const int depth = p.K - k0 < BK ? static_cast<int>(p.K - k0) : BK;
    TERCEL_UNROLL
    for (int k = 0; k < BK; ++k) {
      if (k >= depth) break;
      T x[R], y[R];
      TERCEL_UNROLL
      for (int i = 0; i < R; ++i) x[i] = tile_a[stage * BK + k][tm + i * 16];
      TERCEL_UNROLL
      for (int j = 0; j < R; ++j) y[j] = tile_b[stage * BK + k][tn + j * 16];
      TERCEL_UNROLL
      for (int i = 0; i < R; ++i) {
        TERCEL_UNROLL
        for (int j = 0; j < R; ++j) sum[i][j] = fused(x[i], y[j], sum[i][j]);
      }
    }
    stage ^= 1;
  }
  // 16 rows at a time through shared memory: the epilogue is compiled once per row of registers and
  // its stores are coalesced.
  TERCEL_UNROLL
  for (int i = 0; i < R; ++i) {
    __syncthreads();
    TERCEL_UNROLL
    for (int j = 0; j < R; ++j) tile_a[tm][tn + j * 16] = sum[i][j];
    __syncthreads();
    _Pragma("unroll 1")
    for (int e = t; e < 16 * BM; e += 256) {
      const int64_t m = m0 + i * 16 + e / BM, n = n0 + e % BM;
      if (m < p.M && n < p.N)
        store_two<T>(p.out, tile_a[e / BM][e % BM], T(0), 1, m, n, offset);
    }
  }
}

}  // namespace tercel::cuda
