// Matrix product on the tensor cores through mma.sync (sm_80 and newer).
//
//   out[M,N] = epilogue(A[M,K] B[N,K]^T); bf16, f16 (float32 sums), f32 as tf32, int8 (int32 sums)
//
// A block computes BM x BN, a warp WM x WN; k runs in tiles of 128 bytes through a ring of kStages
// shared-memory stages filled by cp.async. Rows of a stage are 128 bytes (or 2 BM where an operand is
// contiguous along m or n) of 16-byte units, unit u of row r at u ^ (r & 7): neither the copies nor
// ldmatrix meet bank conflicts. ldmatrix moves 16-byte rows, so one fragment map serves every type:
// 16 rows x 32 bytes of k. Operands contiguous along m or n go through ldmatrix.trans (16-bit types).
//
// Tails: copies read only what is inside and fill up with zeros; the epilogue checks bounds. Operands
// that are not 16-byte aligned are loaded element by element (same result, slower).
// Sums: k in order inside a split; splits are fixed by the shape and added in order.
#pragma once

#include "ops/matmul/gemm_epilogue.cuh"

namespace tercel::cuda {

struct MmaOperand {
  const void* data;
  int64_t stride;  // elements between rows of the stored matrix ([rows][k] or [k][rows])
  bool aligned;    // base, stride and batch strides are multiples of 16 bytes
};

struct MmaArgs {
  int64_t M, N, K;
  MmaOperand a, b;
  GemmOutput out;
  GemmBatch batch;
  int64_t split_k;   // elements of k per split, a multiple of the k tile
  float* workspace;  // [split][batch of the launch][M][N] partial sums when blockIdx.y counts splits
};

template <class T>
struct MmaTraits;
template <>
struct MmaTraits<bf16> {
  using Sum = float;
  TERCEL_DEVICE static void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_bf16(d, a, b);
  }
  TERCEL_DEVICE static uint32_t prepare(uint32_t u) { return u; }
};
template <>
struct MmaTraits<f16> {
  using Sum = float;
  TERCEL_DEVICE static void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_f16(d, a, b);
  }
  TERCEL_DEVICE static uint32_t prepare(uint32_t u) { return u; }
};
template <>
struct MmaTraits<float> {
  using Sum = float;
  TERCEL_DEVICE static void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_tf32(d, a, b);
  }
  TERCEL_DEVICE static uint32_t prepare(uint32_t u) { return round_tf32(u); }
};
template <>
struct MmaTraits<int8_t> {
  using Sum = int;
  TERCEL_DEVICE static void mma(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_s8(d, a, b);
  }
  TERCEL_DEVICE static uint32_t prepare(uint32_t u) { return u; }
};

// A stage of one operand: kRows (of m or n) x 128 bytes of k. K-major: [row][k]; else [k][row].
template <class T, int kRows, bool kKMajor, int kThreads>
struct MmaTile {
  static constexpr int kUnit = 16 / sizeof(T);  // elements
  static constexpr int kDepth = 128 / sizeof(T);
  static constexpr int kLines = kKMajor ? kRows : kDepth;
  static constexpr int kUnits = kKMajor ? 8 : kRows / kUnit;  // of a line
  static constexpr int kBytes = kRows * 128;

  TERCEL_DEVICE static uint32_t at(int line, int unit) {
    return static_cast<uint32_t>((line * kUnits + (unit ^ (line & 7))) * 16);
  }

  // What this thread copies of every stage: unit `unit` of lines `line`, `line` + kPass, ... A multiple
  // of 8 lines apart, so that they sit at the same place of the swizzle.
  static constexpr int kPass = kThreads / kUnits;
  static_assert(kThreads % kUnits == 0 && kPass % 8 == 0 && kLines % kPass == 0,
                "every thread copies the same number of units, all swizzled alike");

  // Fills the stage from `first`, element (row0, k0) of the operand; `rows` from there and `depth` of
  // k are inside it. Few live values: the sums take half of all registers.
  TERCEL_DEVICE static void load(unsigned char* stage, const T* first, int64_t stride, bool aligned,
                                 int rows, int depth) {
    const int line = static_cast<int>(threadIdx.x) / kUnits;
    const int unit = static_cast<int>(threadIdx.x) % kUnits;
    const int lines = (kKMajor ? rows : depth) - line;
    int left = (kKMajor ? depth : rows) - unit * kUnit;
    left = left < 0 ? 0 : left > kUnit ? kUnit : left;
    const T* src = first + line * stride + unit * kUnit;
    if (aligned) {
      const uint32_t dst = shared_u32(stage) + at(line, unit);
      TERCEL_UNROLL
      for (int i = 0; i < kLines / kPass; ++i) {  // nothing is read where no byte is asked for
        cp_async16(dst + i * (kPass * kUnits * 16), src,
                   i * kPass < lines ? left * static_cast<int>(sizeof(T)) : 0);
        src += kPass * stride;
      }
    } else {
      _Pragma("unroll 1")
      for (int i = 0; i < kLines / kPass; ++i) {
        Pack<T, kUnit> pack;
        TERCEL_UNROLL
        for (int e = 0; e < kUnit; ++e) pack.v[e] = i * kPass < lines && e < left ? src[e] : T{};
        *reinterpret_cast<Pack<T, kUnit>*>(stage + at(line + i * kPass, unit)) = pack;
        src += kPass * stride;
      }
    }
  }

  // 16 rows from `row` x 32 bytes of k number `step`, as the A fragment of mma.
  TERCEL_DEVICE static void fragment_a(uint32_t (&r)[4], uint32_t stage, int row, int step) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if constexpr (kKMajor) {
      ldmatrix_x4(r, stage + at(row + lane % 16, step * 2 + lane / 16));
    } else {
      ldmatrix_x4_trans(
          r, stage + at(step * 16 + lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2));
    }
  }
  // The same rows as two B fragments: r[0..1] of rows 0-7, r[2..3] of rows 8-15.
  TERCEL_DEVICE static void fragment_b(uint32_t (&r)[4], uint32_t stage, int row, int step) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if constexpr (kKMajor) {
      ldmatrix_x4(r, stage + at(row + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
    } else {
      ldmatrix_x4_trans(
          r, stage + at(step * 16 + lane / 8 % 2 * 8 + lane % 8, row / 8 + lane / 16));
    }
  }
};

TERCEL_DEVICE int inside(int64_t left, int most) {
  return left < most ? static_cast<int>(left) : most;
}

template <class T, class Out, int BM, int BN, int WM, int WN, int kStages, bool kAKMajor,
          bool kBKMajor>
__global__ void __launch_bounds__(BM / WM * (BN / WN) * 32, 2)
    gemm_mma_kernel(const __grid_constant__ MmaArgs p) {
  static_assert(sizeof(T) == 2 || (kAKMajor && kBKMajor), "ldmatrix transposes 16-bit elements only");
  constexpr int kThreads = BM / WM * (BN / WN) * 32;
  constexpr int MI = WM / 16, NI = WN / 8;
  using A = MmaTile<T, BM, kAKMajor, kThreads>;
  using B = MmaTile<T, BN, kBKMajor, kThreads>;
  using Sum = typename MmaTraits<T>::Sum;
  constexpr int kDepth = A::kDepth;
  TERCEL_DYNAMIC_SHARED(shared);
  auto stage_a = [&](int s) { return shared + s * (A::kBytes + B::kBytes); };
  auto stage_b = [&](int s) { return stage_a(s) + A::kBytes; };

  int64_t tile_m, tile_n;
  tile_of_block(blockIdx.x, (p.M + BM - 1) / BM, (p.N + BN - 1) / BN, &tile_m, &tile_n);
  const int64_t m0 = tile_m * BM, n0 = tile_n * BN;
  const BatchOffsets offset = batch_offsets(p.batch, p.batch.first + blockIdx.z);
  const int64_t k_begin = blockIdx.y * p.split_k;
  const int64_t k_end = k_begin + p.split_k < p.K ? k_begin + p.split_k : p.K;
  const int steps = static_cast<int>((k_end - k_begin + kDepth - 1) / kDepth);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / (BN / WN) * WM, warp_n = warp % (BN / WN) * WN;

  const int rows_a = inside(p.M - m0, BM), rows_b = inside(p.N - n0, BN);
  const T* a = static_cast<const T*>(p.a.data) + offset.a;
  const T* b = static_cast<const T*>(p.b.data) + offset.b;
  a += kAKMajor ? m0 * p.a.stride + k_begin : k_begin * p.a.stride + m0;
  b += kBKMajor ? n0 * p.b.stride + k_begin : k_begin * p.b.stride + n0;
  auto load = [&](int s, int step) {
    const int64_t k = static_cast<int64_t>(step) * kDepth;
    const int depth = inside(k_end - k_begin - k, kDepth);
    A::load(stage_a(s), a + (kAKMajor ? k : k * p.a.stride), p.a.stride, p.a.aligned, rows_a, depth);
    B::load(stage_b(s), b + (kBKMajor ? k : k * p.b.stride), p.b.stride, p.b.aligned, rows_b, depth);
  };

  Sum sum[MI][NI][4];
  TERCEL_UNROLL
  for (int i = 0; i < MI; ++i) {
    TERCEL_UNROLL
    for (int j = 0; j < NI; ++j) {
      TERCEL_UNROLL
      for (int e = 0; e < 4; ++e) sum[i][j][e] = Sum(0);
    }
  }

  TERCEL_UNROLL
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) load(s, s);
    cp_async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // stage `step` has landed for all; stage `step - 1` has been read by all
    const int next = step + kStages - 1;
    if (next < steps) load(next % kStages, next);
    cp_async_commit();  // also when empty: the wait counts groups
    const uint32_t sa = shared_u32(stage_a(step % kStages));
    const uint32_t sb = shared_u32(stage_b(step % kStages));
    TERCEL_UNROLL
    for (int k = 0; k < 4; ++k) {
      uint32_t fa[MI][4], fb[NI][2];
      TERCEL_UNROLL
      for (int i = 0; i < MI; ++i) {
        A::fragment_a(fa[i], sa, warp_m + i * 16, k);
        TERCEL_UNROLL
        for (int e = 0; e < 4; ++e) fa[i][e] = MmaTraits<T>::prepare(fa[i][e]);
      }
      TERCEL_UNROLL
      for (int j = 0; j < NI; j += 2) {
        uint32_t r[4];
        B::fragment_b(r, sb, warp_n + j * 8, k);
        TERCEL_UNROLL
        for (int e = 0; e < 4; ++e) fb[j + e / 2][e % 2] = MmaTraits<T>::prepare(r[e]);
      }
      TERCEL_UNROLL
      for (int i = 0; i < MI; ++i) {
        TERCEL_UNROLL
        for (int j = 0; j < NI; ++j) MmaTraits<T>::mma(sum[i][j], fa[i], fb[j]);
      }
    }
  }

  // The sums go through shared memory, so that stores are coalesced and the epilogue, which may be
  // long, is compiled once. Rows are padded by 8 words against bank conflicts of the fragment layout.
  constexpr int kPitch = BN + 8;
  static_assert(BM * kPitch * 4 <= kStages * (A::kBytes + B::kBytes), "the sums fit in the stages");
  Sum* tile = reinterpret_cast<Sum*>(shared);
  __syncthreads();  // the last stage has been read by all; no copy is under way
  TERCEL_UNROLL
  for (int i = 0; i < MI; ++i) {
    TERCEL_UNROLL
    for (int j = 0; j < NI; ++j) {
      const int row = warp_m + i * 16 + lane / 4, column = warp_n + j * 8 + lane % 4 * 2;
      store_pack(tile + row * kPitch + column, Pack<Sum, 2>{{sum[i][j][0], sum[i][j][1]}});
      store_pack(tile + (row + 8) * kPitch + column, Pack<Sum, 2>{{sum[i][j][2], sum[i][j][3]}});
    }
  }
  __syncthreads();
  const int64_t slice = static_cast<int64_t>(blockIdx.y) * gridDim.z + blockIdx.z;
  _Pragma("unroll 1")
  for (int i = static_cast<int>(threadIdx.x); i < BM * BN / 2; i += kThreads) {
    const int row = i / (BN / 2), column = i % (BN / 2) * 2;
    const int64_t m = m0 + row, n = n0 + column;
    if (m >= p.M || n >= p.N) continue;
    const int count = n + 1 < p.N ? 2 : 1;
    const Pack<Sum, 2> s = load_pack<2>(tile + row * kPitch + column);
    if (p.workspace) {
      float* w = p.workspace + (slice * p.M + m) * p.N + n;
      w[0] = static_cast<float>(s.v[0]);
      if (count > 1) w[1] = static_cast<float>(s.v[1]);
    } else {
      store_two<Out>(p.out, s.v[0], s.v[1], count, m, n, offset);
    }
  }
}

// Adds the splits in order and finishes. One thread per element, grid-stride.
template <class Out>
__global__ void __launch_bounds__(256)
    gemm_split_sum_kernel(const __grid_constant__ MmaArgs p, int splits, int64_t batches) {
  const int64_t total = batches * p.M * p.N, step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total;
       i += step) {
    float sum = p.workspace[i];
    for (int s = 1; s < splits; ++s) sum += p.workspace[s * total + i];
    const int64_t n = i % p.N, m = i / p.N % p.M;
    const BatchOffsets offset = batch_offsets(p.batch, p.batch.first + i / (p.N * p.M));
    store_two<Out>(p.out, sum, 0.0f, 1, m, n, offset);
  }
}

template <int BM, int BN, int kStages>
constexpr int mma_shared_bytes() {
  return kStages * (BM + BN) * 128;
}

}  // namespace tercel::cuda
