// Matrix product on Hopper (sm_90a): out[M,N] = act(alpha * A[M,K] B[N,K]^T + bias), bf16 and f16.
//
// A persistent grid of blocks with one producer warpgroup, of which one thread issues TMA loads, and
// two consumer warpgroups of 64 x 256 outputs each (wgmma m64n256k16, 128 sums per thread). Tiles of
// 64 in k go through a ring of 4 stages; full[s] counts the bytes of stage s, empty[s] the consumers
// that have read it. A consumer keeps one group of wgmma in flight and then releases the stage before.
// Results leave through stmatrix and asynchronous TMA stores, 64 columns at a time, while the producer
// already loads the next tile. TMA fills tails with zeros and clips stores.
#pragma once

#include "cuda/hopper.cuh"
#include "ops/matmul/gemm_epilogue.cuh"

namespace tercel::cuda {

struct WgmmaArgs {
  int M, N, K;
  const void* bias;  // output dtype, one per column, or null
  float alpha;
  bool relu;
};

struct WgmmaShape {
  static constexpr int BM = 128, BN = 256, BK = 64, kStages = 4, kThreads = 384;
  static constexpr int kBytesA = BM * BK * 2, kBytesB = BN * BK * 2;
  static constexpr int kStageBytes = kBytesA + kBytesB;
  static constexpr int kStaging = 64 * 64 * 2;  // of one consumer
  static constexpr int kShared = kStages * kStageBytes + 2 * kStaging + kStages * 16;
};

template <class T>
__global__ void __launch_bounds__(WgmmaShape::kThreads, 1)
    gemm_wgmma_kernel(const WgmmaArgs p, const __grid_constant__ TensorMap map_a,
                      const __grid_constant__ TensorMap map_b,
                      const __grid_constant__ TensorMap map_out) {
#if TERCEL_SM90A
  using S = WgmmaShape;
  constexpr bool kBf16 = std::is_same<T, bf16>::value;
  TERCEL_DYNAMIC_SHARED(shared);
  const uint32_t base = shared_u32(shared);
  const uint32_t staging = base + S::kStages * S::kStageBytes;
  const uint32_t bars = staging + 2 * S::kStaging;
  auto full = [&](int s) { return bars + static_cast<uint32_t>(s) * 16; };
  auto empty = [&](int s) { return full(s) + 8; };
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  const int64_t tiles_m = (p.M + S::BM - 1) / S::BM, tiles_n = (p.N + S::BN - 1) / S::BN;
  const int steps = (p.K + S::BK - 1) / S::BK;

  if (threadIdx.x == 0) {
    for (int s = 0; s < S::kStages; ++s) {
      mbarrier_init(full(s), 1);
      mbarrier_init(empty(s), 2);
    }
    mbarrier_fence_init();
  }
  __syncthreads();

  if (warpgroup == 0) {
    registers_down_to<40>();
    if (threadIdx.x == 0) {
      int round = 0, s = 0;
      for (int64_t t = blockIdx.x; t < tiles_m * tiles_n; t += gridDim.x) {
        int64_t tm, tn;
        tile_of_block(t, tiles_m, tiles_n, &tm, &tn);
        for (int step = 0; step < steps; ++step) {
          mbarrier_wait(empty(s), (round & 1) ^ 1);  // the first round finds the stages free
          const uint32_t a = base + s * S::kStageBytes;
          mbarrier_arrive_expect(full(s), S::kStageBytes);
          tma_load(a, &map_a, step * S::BK, static_cast<int>(tm) * S::BM, full(s));
          tma_load(a + S::kBytesA, &map_b, step * S::BK, static_cast<int>(tn) * S::BN, full(s));
          if (++s == S::kStages) {
            s = 0;
            ++round;
          }
        }
      }
    }
  } else {
    registers_up_to<232>();
    const int consumer = warpgroup - 1, thread = static_cast<int>(threadIdx.x) % 128;
    const int lane = thread % 32, warp = thread / 32;
    const uint32_t out = staging + consumer * S::kStaging;
    float d[128];
    int round = 0, s = 0;
    for (int64_t t = blockIdx.x; t < tiles_m * tiles_n; t += gridDim.x) {
      int64_t tm, tn;
      tile_of_block(t, tiles_m, tiles_n, &tm, &tn);
      int previous = -1;
      for (int step = 0; step < steps; ++step) {
        mbarrier_wait(full(s), round & 1);
        const uint32_t stage = base + s * S::kStageBytes;
        const uint64_t a = wgmma_descriptor(stage + consumer * 64 * 128);
        const uint64_t b = wgmma_descriptor(stage + S::kBytesA);
        wgmma_fence();
        TERCEL_UNROLL
        for (int k = 0; k < S::BK / 16; ++k) {  // 32 bytes of k further: 2 in the descriptor
          if constexpr (kBf16) {
            wgmma_bf16_n256(d, a + k * 2, b + k * 2, step + k > 0);
          } else {
            wgmma_f16_n256(d, a + k * 2, b + k * 2, step + k > 0);
          }
        }
        wgmma_commit();
        wgmma_wait<1>();
        if (previous >= 0 && thread == 0) mbarrier_arrive(empty(previous));
        previous = s;
        if (++s == S::kStages) {
          s = 0;
          ++round;
        }
      }
      wgmma_wait<0>();
      if (thread == 0) mbarrier_arrive(empty(previous));

      const int m0 = static_cast<int>(tm) * S::BM + consumer * 64;
      const int n0 = static_cast<int>(tn) * S::BN;
      TERCEL_UNROLL
      for (int slice = 0; slice < 4; ++slice) {
        if (thread == 0) tma_store_wait_read<0>();
        named_barrier(1 + consumer, 128);  // the staging area is free
        TERCEL_UNROLL
        for (int j = 0; j < 8; j += 2) {
          uint32_t r[4];
          TERCEL_UNROLL
          for (int e = 0; e < 4; ++e) {  // matrices: rows 0-7, rows 8-15, then the next 8 columns
            const int column = slice * 64 + (j + e / 2) * 8, i = column / 8 * 4 + e % 2 * 2;
            float x0 = d[i] * p.alpha, x1 = d[i + 1] * p.alpha;
            const int n = n0 + column + lane % 4 * 2;
            if (p.bias) {
              const T* bias = static_cast<const T*>(p.bias);
              if (n < p.N) x0 += to_float(bias[n]);
              if (n + 1 < p.N) x1 += to_float(bias[n + 1]);
            }
            if (p.relu) {
              x0 = x0 < 0.0f ? 0.0f : x0;
              x1 = x1 < 0.0f ? 0.0f : x1;
            }
            r[e] = kBf16 ? pack_bf16(x0, x1) : pack_f16(x0, x1);
          }
          const int row = warp * 16 + lane % 16, unit = j + lane / 16;
          stmatrix_x4(out + row * 128 + ((unit ^ (row & 7)) * 16), r);
        }
        proxy_fence();
        named_barrier(1 + consumer, 128);  // everyone's part is there
        if (thread == 0) {
          tma_store(&map_out, out, n0 + slice * 64, m0);
          tma_store_commit();
        }
      }
    }
    if (thread == 0) tma_store_wait_read<0>();
  }
#endif
}

// True on a device of capability 9.0, when gemm_wgmma.cu was compiled for sm_90a.
#if TERCEL_EMULATED
inline bool have_wgmma() { return device_traits().capability == 90; }
#else
bool have_wgmma();
#endif

// False: the operands do not suit TMA.
template <class T>
bool launch_wgmma(const void* a, int64_t a_stride, const void* b, int64_t b_stride, void* out,
                  int64_t out_stride, int64_t M, int64_t N, int64_t K, const void* bias,
                  float alpha, bool relu) {
  const int blocks = device_traits().multiprocessors;
  using S = WgmmaShape;
  constexpr bool kBf16 = std::is_same<T, bf16>::value;
  TensorMap map_a, map_b, map_out;
  if (K == 0 || !make_tensor_map(&map_a, a, M, K, a_stride, S::BM, kBf16) ||
      !make_tensor_map(&map_b, b, N, K, b_stride, S::BN, kBf16) ||
      !make_tensor_map(&map_out, out, M, N, out_stride, 64, kBf16)) {
    return false;
  }
  const WgmmaArgs p{static_cast<int>(M), static_cast<int>(N), static_cast<int>(K), bias, alpha, relu};
  const int64_t tiles = ((M + S::BM - 1) / S::BM) * ((N + S::BN - 1) / S::BN);
  launch(gemm_wgmma_kernel<T>, dim3(static_cast<unsigned>(tiles < blocks ? tiles : blocks)),
         dim3(S::kThreads), S::kShared, p, map_a, map_b, map_out);
  return true;
}

#if !TERCEL_EMULATED && !defined(TERCEL_WGMMA_INSTANTIATE)
extern template bool launch_wgmma<bf16>(const void*, int64_t, const void*, int64_t, void*, int64_t,
                                        int64_t, int64_t, int64_t, const void*, float, bool);
extern template bool launch_wgmma<f16>(const void*, int64_t, const void*, int64_t, void*, int64_t,
                                       int64_t, int64_t, int64_t, const void*, float, bool);
#endif

}  // namespace tercel::cuda
