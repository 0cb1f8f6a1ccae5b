// The third form of direct convolution: one input and one output channel per group. A plane is
// padded and read again at once, row by row, and sums go from registers to the output. Each output
// is the same chain k = 0, 1, ... of fused multiply-adds as in the other two forms. Included by
// conv_direct_cpu.cpp only.
#pragma once

#include "ops/conv/conv_args.h"
#include "ops/conv/conv_pad.h"

namespace tercel {
namespace {

#if defined(TERCEL_LEVEL_AVX512)
inline constexpr int kRowVecs = 4;  // sums at a time
#else
inline constexpr int kRowVecs = 2;
#endif

// y[0..n) of one row, n in (V (NV - 1), V NV]; no load or store passes the n-th element.
template <int NV, class S, class T>
TERCEL_INLINE void depthwise_run(const ConvPhase& ph, const T* w, const T* src, T bias, int64_t n,
                                 S* y) {
  using V = simd::Vec<T>;
  constexpr int64_t kLast = (NV - 1) * V::size;
  const int64_t rest = n - kLast;
  V sum[NV];
  for (int j = 0; j < NV; ++j) sum[j] = V(static_cast<T>(0));
  for (int64_t k = 0; k < ph.K; ++k) {
    const T* p = src + ph.offset[k];
    const V wk(w[k]);
    for (int j = 0; j < NV - 1; ++j) sum[j] = fma(wk, V::load(p + j * V::size), sum[j]);
    sum[NV - 1] = fma(wk, V::load_n(p + kLast, rest), sum[NV - 1]);
  }
  const V b(bias);
  for (int j = 0; j < NV - 1; ++j) (sum[j] + b).store(y + j * V::size);
  (sum[NV - 1] + b).store_n(y + kLast, rest);
}

template <class S, class T>
TERCEL_INLINE void depthwise_row(const ConvPhase& ph, const T* w, const T* src, T bias, int64_t n,
                                 S* y) {
  constexpr int64_t kStep = kRowVecs * simd::Vec<T>::size;
  for (; n > kStep; n -= kStep, src += kStep, y += kStep)
    depthwise_run<kRowVecs>(ph, w, src, bias, kStep, y);
  const int64_t vecs = (n + simd::Vec<T>::size - 1) / simd::Vec<T>::size;
  if constexpr (kRowVecs == 4) {
    if (vecs == 4) return depthwise_run<4>(ph, w, src, bias, n, y);
    if (vecs == 3) return depthwise_run<3>(ph, w, src, bias, n, y);
  }
  if (vecs == 2) return depthwise_run<2>(ph, w, src, bias, n, y);
  depthwise_run<1>(ph, w, src, bias, n, y);
}

// Images [n0, n0 + images).
template <class S, class T>
void depthwise(const ConvArgs& a, int64_t n0, int64_t images) {
  const ConvPhase& ph = a.phases[0];
  const int64_t in = a.pad.src_size[0] * a.pad.src_size[1] * a.pad.src_size[2];
  const S* bias = static_cast<const S*>(a.bias);
  const int64_t work = ph.grid[0] * ph.grid[1] * ph.grid[2] * (ph.K + 8);
  parallel_for(images * a.groups, 1 + 65536 / (work + 1), [&](int64_t i0, int64_t i1) {
    // One padded plane after the other in the place of the first: it stays in L1.
    T* const padded = static_cast<T*>(a.pad.dst) + (a.in_place ? 0 : i0 * a.src_channel);
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t plane = n0 * a.groups + i, g = i % a.groups;
      const T* src;
      if (a.in_place) {
        src = static_cast<const T*>(a.pad.src) + plane * a.src_channel;
      } else {
        pad_plane(a.pad, static_cast<const S*>(a.pad.src) + plane * in, padded);
        zero_row(padded + a.src_channel - a.pad.slack, a.pad.slack);
        src = padded;
      }
      const T* w = static_cast<const T*>(ph.packed) + g * kConvRows * ph.K;
      const T b = bias ? static_cast<T>(bias[g]) : static_cast<T>(0);
      S* const y = static_cast<S*>(a.y) + plane * a.y_channel + ph.y_first;
      for (int64_t z = 0; z < ph.grid[0]; ++z)
        for (int64_t r = 0; r < ph.grid[1]; ++r)
          depthwise_row(ph, w, src + z * a.slab + r * a.row, b, ph.grid[2],
                        y + z * ph.y_step[0] + r * ph.y_step[1]);
    }
  });
}

}  // namespace
}  // namespace tercel
