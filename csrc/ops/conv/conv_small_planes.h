// The fourth form of direct convolution, and its weight gradient: one channel per group, planes so
// small that rows would leave most lanes idle. 16 channels are the vector axis: they are transposed
// into a padded plane of vectors, which stays in L1, and transposed back at the end. Each output is
// the same chain k = 0, 1, ... of fused multiply-adds as in the other forms. Only for files
// compiled per ISA level.
#pragma once

#include "core/parallel.h"
#include "ops/conv/conv_args.h"
#include "ops/matmul/transpose_simd.h"
#include "simd/vec.h"

namespace tercel {
namespace {

inline constexpr int64_t kSmallPlane = 400;  // positions with padding, and pixels of the output
#if defined(TERCEL_LEVEL_AVX512)
inline constexpr int kSmallSums = 8;  // at a time
#else
inline constexpr int kSmallSums = 4;
#endif

// Float32 sums, planes that fit and channels that nearly fill their vectors. Taps may read as far
// as a row behind the last plane (rows share their zeros).
template <class Args>
TERCEL_INLINE bool has_small_planes(const Args& a, int64_t pixels) {
  if (a.dtype == DType::f64 || a.cin != 1 || a.cout != 1) return false;
  const int64_t lanes = (a.groups + 15) / 16 * 16;
  return 4 * a.groups >= 3 * lanes && pixels <= kSmallPlane &&
         volume(a.pad.src_size) <= kSmallPlane &&
         volume(a.pad.num_residues) * volume(a.pad.size) + a.pad.size[2] <= kSmallPlane;
}

// Position of each pixel of the source in the padded plane; -1: no tap reads it.
struct SmallPlaces {
  int32_t at[kSmallPlane];
  int64_t count;

  explicit SmallPlaces(const ConvPadArgs& p) : count(volume(p.src_size)) {
    for (int64_t i = 0; i < count; ++i) at[i] = -1;
    int32_t position = 0;
    for (int64_t a = 0; a < p.num_residues[0]; ++a)
      for (int64_t b = 0; b < p.num_residues[1]; ++b)
        for (int64_t c = 0; c < p.num_residues[2]; ++c)
          for (int64_t jz = 0; jz < p.size[0]; ++jz)
            for (int64_t jy = 0; jy < p.size[1]; ++jy)
              for (int64_t jx = 0; jx < p.size[2]; ++jx, ++position) {
                const int64_t z = p.stride[0] * (p.first[0] + jz) + p.residues[0][a];
                const int64_t y = p.stride[1] * (p.first[1] + jy) + p.residues[1][b];
                const int64_t x = p.stride[2] * (p.first[2] + jx) + p.residues[2][c];
                if (z >= 0 && z < p.src_size[0] && y >= 0 && y < p.src_size[1] && x >= 0 &&
                    x < p.src_size[2])
                  at[(z * p.src_size[1] + y) * p.src_size[2] + x] = position;
              }
  }
};

struct SmallPlane {
  alignas(64) float in[kSmallPlane * 16];          // the zeros of the padding stay
  alignas(64) float out[(kSmallPlane + 16) * 16];  // or dy

  SmallPlane() {
    __builtin_memset(in, 0, sizeof(in));
    __builtin_memset(out, 0, sizeof(out));
  }
};

// put(pixel, first channel, register) for all `count` pixels of up to 16 channels of src, in
// squares; one(pixel, channel) for what is left.
template <class S, class Put, class One>
TERCEL_INLINE void each_square(const S* src, int64_t channels, int64_t count, Put&& put,
                               One&& one) {
  constexpr int L = kTransposeF32, kWidth = sizeof(S) == 4 ? L : 16;
  const int64_t whole = channels / L * L, pixels = count / kWidth * kWidth;
  for (int64_t c = 0; count >= kWidth && c < whole; c += L)
    for (int64_t p = 0; p < count; p += kWidth) {
      const int64_t at = p < pixels ? p : count - kWidth;  // the last one overlaps
      const S* from = src + c * count + at;
      TransposeRegF32 t[L];
      if constexpr (sizeof(S) == 4) {
        transpose(from, count, t);
        for (int j = 0; j < L; ++j) put(at + j, c, t[j]);
      } else {
        alignas(64) float rows[L][16];
        for (int j = 0; j < L; ++j) simd::VecF::load(from + j * count).store(rows[j]);
        for (int q = 0; q < 16; q += L) {
          transpose(rows[0] + q, 16, t);
          for (int j = 0; j < L; ++j) put(at + q + j, c, t[j]);
        }
      }
    }
  for (int64_t c = count < kWidth ? 0 : whole; c < channels; ++c)
    for (int64_t p = 0; p < count; ++p) one(p, c);
}

template <class S>
TERCEL_INLINE void load_small(const S* src, int64_t channels, const SmallPlaces& places,
                              float* in) {
  each_square(
      src, channels, places.count,
      [&](int64_t p, int64_t c, const TransposeRegF32& v) TERCEL_LAMBDA_INLINE {
        if (places.at[p] >= 0) store(in + 16 * places.at[p] + c, v);
      },
      [&](int64_t p, int64_t c) TERCEL_LAMBDA_INLINE {
        if (places.at[p] >= 0)
          in[16 * places.at[p] + c] = static_cast<float>(src[c * places.count + p]);
      });
}

template <class S>
TERCEL_INLINE void store_small(const float* out, int64_t channels, int64_t count, S* y) {
  constexpr int L = kTransposeF32;
  if constexpr (sizeof(S) == 4) {
    for (int64_t p = 0; p < count; p += L)
      for (int64_t c = 0; c < channels; c += L) {
        TransposeRegF32 t[L];
        transpose(out + 16 * p + c, 16, t);
        const int n = count - p < L ? static_cast<int>(count - p) : L;
        for (int j = 0; j < L && c + j < channels; ++j) {
          float* to = y + (c + j) * count + p;
          n == L ? store(to, t[j]) : store(to, t[j], n);
        }
      }
  } else {
    for (int64_t p = 0; p < count; p += 16) {
      const int64_t at = count < 16 || p + 16 <= count ? p : count - 16, left = count - at;
      alignas(64) float rows[16][16];
      for (int c = 0; c < 16; c += L)
        for (int q = 0; q < 16; q += L) {
          TransposeRegF32 t[L];
          transpose(out + 16 * (at + q) + c, 16, t);
          for (int j = 0; j < L; ++j) store(rows[c + j] + q, t[j]);
        }
      for (int64_t c = 0; c < channels; ++c) {
        const auto v = simd::VecF::load(rows[c]);
        S* to = y + c * count + at;
        left >= 16 ? v.store(to) : v.store_n(to, left);
      }
    }
  }
}

// N pixels of a row.
template <int N>
void small_pixels(const ConvPhase& ph, const float* w, const float* in, const simd::VecF& bias,
                  float* out) {
  using simd::VecF;
  VecF sum[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) sum[i] = VecF(0.0f);
  for (int64_t k = 0; k < ph.K; ++k) {
    const VecF wk = VecF::load(w + 16 * k);
    const float* p = in + 16 * ph.offset[k];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) sum[i] = fma(wk, VecF::load(p + 16 * i), sum[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) (sum[i] + bias).store(out + 16 * i * ph.y_step[2]);
}

// Rows are cut into equal pieces.
TERCEL_INLINE void small_row(const ConvPhase& ph, const float* w, const float* in,
                             const simd::VecF& bias, float* out) {
  using Piece = void (*)(const ConvPhase&, const float*, const float*, const simd::VecF&, float*);
  static constexpr Piece kPieces[] = {
      small_pixels<1>, small_pixels<2>, small_pixels<3>, small_pixels<4>, small_pixels<5>,
#if defined(TERCEL_LEVEL_AVX512)
      small_pixels<6>, small_pixels<7>, small_pixels<8>,
#endif
  };
  constexpr int64_t kMost = sizeof(kPieces) / sizeof(kPieces[0]);
  const int64_t step = 16 * ph.y_step[2];
  equal_pieces(ph.grid[2], kMost, [&](int64_t x, int64_t size) TERCEL_LAMBDA_INLINE {
    kPieces[size - 1](ph, w, in + 16 * x, bias, out + x * step);
  });
}

// Weights as [block of 16 channels][K][16].
template <class S>
void pack_small(const ConvArgs& a, const ConvPhase& ph) {
  const S* w = static_cast<const S*>(a.w);
  float* dst = static_cast<float*>(ph.packed);
  for (int64_t g0 = 0; g0 < a.groups; g0 += 16)
    for (int64_t k = 0; k < ph.K; ++k)
      for (int64_t g = g0; g < g0 + 16; ++g)
        *dst++ = g < a.groups ? static_cast<float>(w[g * a.w_group + ph.tap[k]]) : 0.0f;
}

template <class S>
void small_planes(const ConvArgs& a) {
  using simd::VecF;
  const int64_t blocks = (a.groups + 15) / 16;
  const SmallPlaces places(a.pad);
  for (int64_t f = 0; f < a.num_phases; ++f) pack_small<S>(a, a.phases[f]);
  const int64_t grain = 1 + 2000 / (places.count + a.y_channel);
  parallel_for(blocks * a.images, grain, [&](int64_t i0, int64_t i1) {
    SmallPlane plane;
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t n = i / blocks, g = i % blocks * 16, first = n * a.groups + g;
      const int64_t channels = a.groups - g < 16 ? a.groups - g : 16;
      load_small(static_cast<const S*>(a.pad.src) + first * places.count, channels, places,
                 plane.in);
      VecF bias(0.0f);
      if (a.bias) bias = VecF::load_n(static_cast<const S*>(a.bias) + g, channels);
      for (int64_t j = 0; a.zero_first && j < a.y_channel; ++j) bias.store(plane.out + 16 * j);
      for (int64_t f = 0; f < a.num_phases; ++f) {
        const ConvPhase& ph = a.phases[f];
        const float* w = static_cast<const float*>(ph.packed) + g * ph.K;
        for (int64_t z = 0; z < ph.grid[0]; ++z)
          for (int64_t y = 0; y < ph.grid[1]; ++y)
            small_row(ph, w, plane.in + 16 * (z * a.slab + y * a.row), bias,
                      plane.out + 16 * (ph.y_first + z * ph.y_step[0] + y * ph.y_step[1]));
      }
      store_small(plane.out, channels, a.y_channel, static_cast<S*>(a.y) + first * a.y_channel);
    }
  });
}

// sum[k] += dy s over the pixels of an image, N taps from k0 on.
template <int N>
TERCEL_INLINE void small_taps(const ConvWeightGradArgs& a, const SmallPlane& plane, int64_t k0,
                              float* sum) {
  using simd::VecF;
  VecF acc[N];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) acc[i] = VecF::load(sum + 16 * (k0 + i));
  const float* d = plane.out;
  for (int64_t z = 0; z < a.grid[0]; ++z)
    for (int64_t y = 0; y < a.grid[1]; ++y) {
      const float* s = plane.in + 16 * (z * a.slab + y * a.row);
      for (int64_t x = 0; x < a.grid[2]; ++x, s += 16, d += 16) {
        const VecF dv = VecF::load(d);
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) acc[i] = fma(VecF::load(s + 16 * a.offset[k0 + i]), dv, acc[i]);
      }
    }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) acc[i].store(sum + 16 * (k0 + i));
}

inline constexpr int64_t kSmallTaps = 64;  // their sums are on the stack

// A chain per channel and tap over the pixels of chunk_images images; chunks are added in order.
template <class S>
void small_weight_grad(const ConvWeightGradArgs& a) {
  using simd::VecF;
  const int64_t blocks = (a.groups + 15) / 16, pixels = volume(a.grid);
  const SmallPlaces places(a.pad);
  const int64_t grain = 1 + 20000 / (a.images * pixels * a.K + 1);
  parallel_for(blocks, grain, [&](int64_t b0, int64_t b1) {
    SmallPlane plane;
    alignas(64) float sum[kSmallTaps * 16], total[kSmallTaps * 16];
    for (int64_t b = b0; b < b1; ++b) {
      const int64_t g = b * 16, channels = a.groups - g < 16 ? a.groups - g : 16;
      for (int64_t n = 0; n < a.images; ++n) {
        const bool begins = n % a.chunk_images == 0;
        const bool ends = (n + 1) % a.chunk_images == 0 || n + 1 == a.images;
        const int64_t first = n * a.groups + g;
        load_small(static_cast<const S*>(a.pad.src) + first * places.count, channels, places,
                   plane.in);
        const S* dy = static_cast<const S*>(a.dy) + first * pixels;
        each_square(
            dy, channels, pixels,
            [&](int64_t p, int64_t c, const TransposeRegF32& v)
                TERCEL_LAMBDA_INLINE { store(plane.out + 16 * p + c, v); },
            [&](int64_t p, int64_t c) TERCEL_LAMBDA_INLINE {
              plane.out[16 * p + c] = static_cast<float>(dy[c * pixels + p]);
            });
        for (int64_t k = 0; begins && k < a.K; ++k) VecF(0.0f).store(sum + 16 * k);
        int64_t k = 0;
        for (; k + kSmallSums <= a.K; k += kSmallSums) small_taps<kSmallSums>(a, plane, k, sum);
        for (; k < a.K; ++k) small_taps<1>(a, plane, k, sum);
        for (k = 0; ends && k < a.K; ++k) {
          VecF v = VecF::load(sum + 16 * k);
          if (n >= a.chunk_images) v = VecF::load(total + 16 * k) + v;
          v.store(total + 16 * k);
        }
      }
      S* d = static_cast<S*>(a.dw) + g * a.taps_all;
      for (int64_t c = 0; c < channels; ++c, d += a.taps_all) {
        for (int64_t t = 0; t < a.taps_all; ++t) d[t] = static_cast<S>(0.0f);
        for (int64_t t = 0; t < a.taps; ++t) d[a.tap[t]] = static_cast<S>(total[16 * t + c]);
      }
    }
  });
}

}  // namespace
}  // namespace tercel
