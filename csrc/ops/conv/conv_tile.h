// The micro-kernel of direct and Winograd convolution: sum[r, p] += sum_k w[k, r] src[offset_k + p]
// for kMR output channels x kNV registers of pixels. Only for files compiled per ISA level.
#pragma once

#include "ops/conv/conv_lane.h"

namespace tercel {
namespace {

#if defined(TERCEL_LEVEL_AVX512)
inline constexpr int kMR = 8;
#else
inline constexpr int kMR = 4;  // 4 x 3 accumulators, 3 pixels, 1 weight: 16 registers
#endif
inline constexpr int kNV = 3;
template <class T>
inline constexpr int kTile = kNV * Reg<T>::lanes;

struct TileArgs {
  int64_t K;
  const void* w;          // [K][MR]
  const void* src;        // pixel 0 of the tile
  const int64_t* offset;  // [K]
  void* sum;              // [MR][kTile]
  bool first;             // start from zero, not from sum
  int64_t last_lanes;     // lanes of the last register that may be loaded (masked variant)
};

template <class T, int MR, int NV, bool kMasked>
void tile(const TileArgs& a) {
  using R = Reg<T>;
  using V = typename R::V;
  T* sum = static_cast<T*>(a.sum);
  V acc[MR][NV];
  if (a.first) {
    for (int i = 0; i < MR; ++i)
      for (int j = 0; j < NV; ++j) acc[i][j] = V{};
  } else {
    for (int i = 0; i < MR; ++i)
      for (int j = 0; j < NV; ++j) acc[i][j] = R::load(sum + i * kTile<T> + j * R::lanes);
  }
  const T* w = static_cast<const T*>(a.w);
  const T* src = static_cast<const T*>(a.src);
  const int64_t* offset = a.offset;
  for (int64_t k = 0; k < a.K; ++k, w += MR) {
    const T* p = src + offset[k];
    V x[NV];
    for (int j = 0; j < NV; ++j) {
      x[j] = kMasked && j == NV - 1 ? R::load_n(p + j * R::lanes, a.last_lanes)
                                    : R::load(p + j * R::lanes);
    }
    for (int i = 0; i < MR; ++i) {
      const V wi = R::splat(w[i]);
      for (int j = 0; j < NV; ++j) acc[i][j] = R::fma(wi, x[j], acc[i][j]);
    }
  }
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) R::store(sum + i * kTile<T> + j * R::lanes, acc[i][j]);
}

using TileFn = void (*)(const TileArgs&);
template <class T, int MR>
TERCEL_INLINE TileFn tile_of_width(int nv, bool masked) {
  if (nv == 1) return masked ? tile<T, MR, 1, true> : tile<T, MR, 1, false>;
  if (nv == 2) return masked ? tile<T, MR, 2, true> : tile<T, MR, 2, false>;
  return masked ? tile<T, MR, 3, true> : tile<T, MR, 3, false>;
}
template <class T>
TileFn pick_tile(int mr, int nv, bool masked) {
  if (mr == 1) return tile_of_width<T, 1>(nv, masked);
  if (mr == 2) return tile_of_width<T, 2>(nv, masked);
  if (mr <= 4) return tile_of_width<T, 4>(nv, masked);
  return tile_of_width<T, kMR>(nv, masked);
}

// Rows of the micro-kernel that takes `left` more output channels.
TERCEL_INLINE int rows_of(int64_t left) {
  return left >= kMR || left > 4 ? kMR : left > 2 ? 4 : left == 2 ? 2 : 1;
}

}  // namespace
}  // namespace tercel
