// Products with few rows (decoding): out[M,N] = epilogue((x[M,K] w[N,K]^T) * scale), M <= 16.
//
// Bound by the bytes of w: a warp computes kColumns columns, each lane streams 16-byte units of w and
// multiplies them with all rows of x, which stay in the L1 cache. Weights: bf16, f16, float32, int8,
// fp8 e4m3/e5m2, or int4 (two's complement, two per byte, even element in the low half). Scales are
// float32, one per column (group == 0) or one per `group` elements of k (a multiple of 32). Sums in
// float32: per lane in order of k, then over lanes by halving.
#pragma once

#include "ops/matmul/gemm_epilogue.cuh"

namespace tercel::cuda {

struct int4x2 {
  uint8_t bits;
};

struct GemvArgs {
  int64_t M, N, K;
  const void* x;
  int64_t x_stride;  // elements
  const void* w;
  int64_t w_stride_bytes;
  const float* scale;  // [N] or [N][ceil(K / group)] or null
  int group;
  bool aligned;  // rows of x and w begin at multiples of 16 bytes
  GemmOutput out;
};

template <class W>
struct WeightUnit {
  static constexpr int kCount = 16 / sizeof(W);
  TERCEL_DEVICE static float value(const Pack<W, kCount>& unit, int i) {
    return static_cast<float>(to_float(unit.v[i]));
  }
  TERCEL_DEVICE static float element(const void* row, int64_t k) {
    return static_cast<float>(to_float(static_cast<const W*>(row)[k]));
  }
};
template <>
struct WeightUnit<int8_t> {
  static constexpr int kCount = 16;
  TERCEL_DEVICE static float value(const Pack<int8_t, 16>& unit, int i) { return unit.v[i]; }
  TERCEL_DEVICE static float element(const void* row, int64_t k) {
    return static_cast<const int8_t*>(row)[k];
  }
};
template <>
struct WeightUnit<int4x2> {
  static constexpr int kCount = 32;
  TERCEL_DEVICE static float nibble(uint8_t byte, int high) {
    const int code = high ? byte >> 4 : byte & 15;
    return static_cast<float>((code ^ 8) - 8);
  }
  TERCEL_DEVICE static float value(const Pack<int4x2, 16>& unit, int i) {
    return nibble(unit.v[i / 2].bits, i % 2);
  }
  TERCEL_DEVICE static float element(const void* row, int64_t k) {
    return nibble(static_cast<const int4x2*>(row)[k / 2].bits, static_cast<int>(k % 2));
  }
};

template <class T, class W, int kRows, int kColumns>
__global__ void __launch_bounds__(256, 1) gemv_kernel(const __grid_constant__ GemvArgs p) {
  using Unit = WeightUnit<W>;
  constexpr int V = Unit::kCount, X = 16 / sizeof(T);  // elements of a unit of w, of x
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * 8 + threadIdx.x / 32;
  const int64_t n0 = warp * kColumns;
  if (n0 >= p.N) return;  // the whole warp
  const T* x = static_cast<const T*>(p.x);
  const unsigned char* w = static_cast<const unsigned char*>(p.w);
  const int64_t groups = p.group ? (p.K + p.group - 1) / p.group : 1;
  auto row_of = [&](int c) {  // columns past the end repeat the last one
    const int64_t n = n0 + c < p.N ? n0 + c : p.N - 1;
    return w + n * p.w_stride_bytes;
  };
  auto group_scale = [&](int c, int64_t k) {
    if (!p.group || !p.scale) return 1.0f;
    const int64_t n = n0 + c < p.N ? n0 + c : p.N - 1;
    return p.scale[n * groups + k / p.group];
  };

  float sum[kRows][kColumns];
  TERCEL_UNROLL
  for (int m = 0; m < kRows; ++m) {
    TERCEL_UNROLL
    for (int c = 0; c < kColumns; ++c) sum[m][c] = 0;
  }
  const int64_t whole = p.aligned ? p.K / V * V : 0;
  for (int64_t k = static_cast<int64_t>(lane) * V; k < whole; k += 32 * V) {
    float v[kColumns][V];
    TERCEL_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      using Stored = Pack<W, 16 / sizeof(W)>;
      const Stored unit = *(reinterpret_cast<const Stored*>(row_of(c)) + k / V);
      const float s = group_scale(c, k);
      TERCEL_UNROLL
      for (int i = 0; i < V; ++i) v[c][i] = Unit::value(unit, i) * s;
    }
    TERCEL_UNROLL
    for (int m = 0; m < kRows; ++m) {
      if (m >= p.M) break;
      TERCEL_UNROLL
      for (int i = 0; i < V; i += X) {
        const Pack<T, X> px = load_pack<X>(x + m * p.x_stride + k + i);
        TERCEL_UNROLL
        for (int e = 0; e < X; ++e) {
          const float xe = static_cast<float>(to_float(px.v[e]));
          TERCEL_UNROLL
          for (int c = 0; c < kColumns; ++c) sum[m][c] = ::fmaf(xe, v[c][i + e], sum[m][c]);
        }
      }
    }
  }
  for (int64_t k = whole + lane; k < p.K; k += 32) {
    TERCEL_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const float v = Unit::element(row_of(c), k) * group_scale(c, k);
      TERCEL_UNROLL
      for (int m = 0; m < kRows; ++m) {
        if (m >= p.M) break;
        sum[m][c] = ::fmaf(static_cast<float>(to_float(x[m * p.x_stride + k])), v, sum[m][c]);
      }
    }
  }
  static_assert(kRows * kColumns <= 32, "a lane stores one element");
  float mine = 0;
  TERCEL_UNROLL
  for (int m = 0; m < kRows; ++m) {
    TERCEL_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      TERCEL_UNROLL
      for (int o = 16; o; o >>= 1) sum[m][c] += __shfl_xor_sync(kFullMask, sum[m][c], o);
      if (lane == m * kColumns + c) mine = sum[m][c];
    }
  }
  const int m = lane / kColumns;
  const int64_t n = n0 + lane % kColumns;
  if (m < kRows && m < p.M && n < p.N) {
    if (p.scale && !p.group) mine *= p.scale[n];
    store_two<T>(p.out, mine, 0.0f, 1, m, n, BatchOffsets{});
  }
}

}  // namespace tercel::cuda
