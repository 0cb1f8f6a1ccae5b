// Weight gradient: dw[o, k] = sum_p dy[o, p] s[offset_k + p] over all images, directly.
//
// dy is transposed once so that output channels are the vector axis; the micro-kernel holds MR
// values of k x NV registers of channels and adds one pixel per step, whose MR source values are
// broadcast from the padded planes: no im2col, no horizontal sums. A chunk of about 1,024 pixels is
// one chain; chunks are added in order, so the result does not depend on threads and rounding grows
// with the chunk only. With one or two channels per group (depthwise) pixels are the vector axis
// instead: 16 lane sums per chunk, or 16 channels where planes are small (conv_small_planes.h).
#include "core/parallel.h"
#include "ops/conv/conv_args.h"
#include "ops/conv/conv_lane.h"
#include "ops/conv/conv_pad.h"
#include "ops/conv/conv_small_planes.h"
#include "ops/matmul/transpose_simd.h"
#include "simd/lanes.h"

namespace tercel {
namespace {

#if defined(TERCEL_LEVEL_AVX512)
inline constexpr int kMR = 12;
#else
inline constexpr int kMR = 6;
#endif
inline constexpr int kNV = 2;
template <class T>
inline constexpr int kBlock = kNV * Reg<T>::lanes;  // output channels of a block

struct GradTile {
  const void* src;        // group base of the first image
  const int64_t* offset;  // [MR]
  const void* dy;         // [images][P][NV lanes] at the first row
  int64_t images, src_image, dy_image;
  int64_t row0, row1, rows_y, slab, row, width;
  void* sum;  // [MR][NV lanes]
  bool first;
};

// The accumulators stay in registers only if all loops over them are unrolled; 24 turns are more
// than the compiler unrolls by itself.
template <class T, int MR, int NV>
void grad_tile(const GradTile& a) {
  using R = Reg<T>;
  using V = typename R::V;
  constexpr int kStride = NV * R::lanes;
  V acc[MR][NV];
#pragma GCC unroll 24
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) acc[i][j] = V{};
  const int64_t* offset = a.offset;
  for (int64_t n = 0; n < a.images; ++n) {
    const T* image = static_cast<const T*>(a.src) + n * a.src_image;
    const T* d = static_cast<const T*>(a.dy) + n * a.dy_image;
    int64_t z = a.row0 / a.rows_y, y = a.row0 % a.rows_y;
    for (int64_t r = a.row0; r < a.row1; ++r) {
      const T* s = image + z * a.slab + y * a.row;
      int64_t x = 0;
      // two at a time share addresses, if there are registers for both
      for (; kRegBytes == 64 && x + 2 <= a.width; x += 2, s += 2, d += 2 * kStride) {
        V d0[NV], d1[NV];
        for (int j = 0; j < NV; ++j) {
          d0[j] = R::load(d + j * R::lanes);
          d1[j] = R::load(d + kStride + j * R::lanes);
        }
#pragma GCC unroll 24
        for (int i = 0; i < MR; ++i) {
          const T* p = s + offset[i];
          const V s0 = R::splat(p[0]), s1 = R::splat(p[1]);
          for (int j = 0; j < NV; ++j) acc[i][j] = R::fma(s0, d0[j], acc[i][j]);
          for (int j = 0; j < NV; ++j) acc[i][j] = R::fma(s1, d1[j], acc[i][j]);
        }
      }
      for (; x < a.width; ++x, ++s, d += kStride) {
        V dv[NV];
        for (int j = 0; j < NV; ++j) dv[j] = R::load(d + j * R::lanes);
#pragma GCC unroll 24
        for (int i = 0; i < MR; ++i) {
          const V s0 = R::splat(s[offset[i]]);
          for (int j = 0; j < NV; ++j) acc[i][j] = R::fma(s0, dv[j], acc[i][j]);
        }
      }
      if (++y == a.rows_y) {
        y = 0;
        ++z;
      }
    }
  }
  T* sum = static_cast<T*>(a.sum);
#pragma GCC unroll 24
  for (int i = 0; i < MR; ++i)
    for (int j = 0; j < NV; ++j) {
      T* p = sum + i * kStride + j * R::lanes;
      R::store(p, a.first ? acc[i][j] : R::load(p) + acc[i][j]);
    }
}

template <class T, int NV>
int run_grad_tile(const GradTile& a, int64_t left) {
  constexpr int kMost = NV == 1 ? 2 * kMR : kMR;
  if (left >= kMost) return grad_tile<T, kMost, NV>(a), kMost;
  if (NV == 1 && left >= kMR) return grad_tile<T, kMR, NV>(a), kMR;
  if constexpr (kMost > 9) {
    if (left >= 9) return grad_tile<T, 9, NV>(a), 9;  // 3x3 and one input channel
  }
  if (left >= 4) return grad_tile<T, 4, NV>(a), 4;
  if (left >= 2) return grad_tile<T, 2, NV>(a), 2;
  return grad_tile<T, 1, NV>(a), 1;
}

// dy of images [n0, n0 + images) to [g][block][image][P][width of block].
template <class S, class T>
void transpose_dy(const ConvWeightGradArgs& a, int64_t n0, int64_t images, int64_t pixels) {
  const int64_t blocks = (a.cout + kBlock<T> - 1) / kBlock<T>;
  const int64_t rows = (a.cout + kConvGradLanes - 1) / kConvGradLanes * kConvGradLanes;
  parallel_for(
      a.groups * blocks * images, 1 + 8192 / (pixels * kBlock<T>), [&](int64_t i0, int64_t i1) {
        for (int64_t i = i0; i < i1; ++i) {
          const int64_t n = i % images, b = i / images % blocks, g = i / images / blocks;
          const int64_t o0 = b * kBlock<T>;
          const int64_t left = a.cout - o0;
          const int64_t width = left > Reg<T>::lanes ? kBlock<T> : Reg<T>::lanes;
          const int64_t valid = left < width ? left : width;
          const S* src = static_cast<const S*>(a.dy) +
                         ((n0 + n) * a.groups * a.cout + g * a.cout + o0) * pixels;
          T* dst =
              static_cast<T*>(a.dy_packed) + (g * rows + o0) * pixels * images + n * pixels * width;
          const simd::ReadAhead ahead;
          int64_t p0 = 0;
          if constexpr (sizeof(S) == 4) {
            // lanes without a channel may hold the next ones: nothing reads their sums
            const int64_t channels = a.groups * a.cout;
            const bool rows = (n0 + n) * channels + g * a.cout + o0 + width <= a.images * channels;
            for (; rows && p0 + kTransposeF32 <= pixels; p0 += kTransposeF32)
              for (int64_t o = 0; o < width; o += kTransposeF32) {
                ahead.fetch_column(src + o * pixels + p0, pixels * sizeof(S), kTransposeF32);
                TransposeRegF32 t[kTransposeF32];
                transpose(src + o * pixels + p0, pixels, t);
                for (int j = 0; j < kTransposeF32; ++j) store(dst + (p0 + j) * width + o, t[j]);
              }
          }
          for (; p0 < pixels; p0 += 16) {
            const int64_t p1 = p0 + 16 < pixels ? p0 + 16 : pixels;
            for (int64_t o = 0; o < valid; ++o)
              for (int64_t p = p0; p < p1; ++p)
                dst[p * width + o] = static_cast<T>(src[o * pixels + p]);
            for (int64_t p = p0; p < p1; ++p)
              for (int64_t o = valid; o < width; ++o) dst[p * width + o] = 0;
          }
        }
      });
}

// Calls f(first image, images, first row, last row) for each chunk, in order.
template <class F>
TERCEL_INLINE void for_chunks(const ConvWeightGradArgs& a, int64_t images, F&& f) {
  const int64_t rows = a.grid[0] * a.grid[1];
  for (int64_t n = 0; n < images; n += a.chunk_images) {
    const int64_t count = images - n < a.chunk_images ? images - n : a.chunk_images;
    for (int64_t r = 0; r < rows; r += a.chunk_rows)
      f(n, count, r, r + a.chunk_rows < rows ? r + a.chunk_rows : rows);
  }
}

template <class T>
void accumulate(const ConvWeightGradArgs& a, const T* src, int64_t n0, int64_t images,
                int64_t pixels) {
  const int64_t blocks = (a.cout + kBlock<T> - 1) / kBlock<T>;
  const int64_t rows = (a.cout + kConvGradLanes - 1) / kConvGradLanes * kConvGradLanes;
  const int64_t step = 2 * kMR;
  const int64_t k_tiles = (a.K + step - 1) / step;
  int64_t parts = 4 * num_threads() / (a.groups * blocks) + 1;
  if (parts > k_tiles) parts = k_tiles;
  const int64_t part = (k_tiles + parts - 1) / parts * step;
  parts = (a.K + part - 1) / part;
  parallel_for(a.groups * blocks * parts, 1, [&](int64_t i0, int64_t i1) {
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t k0 = i % parts * part, b = i / parts % blocks, g = i / parts / blocks;
      const int64_t k1 = k0 + part < a.K ? k0 + part : a.K;
      const int64_t o0 = b * kBlock<T>;
      const int64_t width = a.cout - o0 > Reg<T>::lanes ? kBlock<T> : Reg<T>::lanes;
      const T* dy = static_cast<const T*>(a.dy_packed) + (g * rows + o0) * pixels * images;
      T* sum = static_cast<T*>(a.sum) + (g * rows + o0) * a.K;
      for_chunks(a, images, [&](int64_t n, int64_t count, int64_t r0, int64_t r1) {
        GradTile t;
        t.images = count;
        t.src_image = a.src_image;
        t.dy_image = pixels * width;
        t.row0 = r0;
        t.row1 = r1;
        t.rows_y = a.grid[1];
        t.slab = a.slab;
        t.row = a.row;
        t.width = a.grid[2];
        t.first = n0 == 0 && n == 0 && r0 == 0;
        t.src = src + n * a.src_image + g * a.cin * a.src_channel;
        t.dy = dy + (n * pixels + r0 * a.grid[2]) * width;
        for (int64_t k = k0; k < k1;) {
          t.offset = a.offset + k;
          t.sum = sum + k * width;
          k += width == kBlock<T> ? run_grad_tile<T, 2>(t, k1 - k) : run_grad_tile<T, 1>(t, k1 - k);
        }
      });
    }
  });
}

template <class S, class T>
void store_sums(const ConvWeightGradArgs& a) {
  const int64_t rows = (a.cout + kConvGradLanes - 1) / kConvGradLanes * kConvGradLanes;
  const int64_t size = a.cin * a.taps_all;
  bool dense = sizeof(S) == 4 && a.taps == a.taps_all;  // sums in the order of dw
  for (int64_t t = 0; t < a.taps; ++t) dense = dense && a.tap[t] == t;
  const int64_t step = kTransposeF32, blocks = (a.cout + step - 1) / step;
  S* dw = static_cast<S*>(a.dw);
  parallel_for(a.groups * blocks, 1 + 1024 / size, [&](int64_t i0, int64_t i1) {
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t g = i / blocks, o1 = i % blocks * step;
      const int64_t o0 = o1 / kBlock<T> * kBlock<T>;
      const int64_t width = a.cout - o0 > Reg<T>::lanes ? kBlock<T> : Reg<T>::lanes;
      const T* sum = static_cast<const T*>(a.sum) + (g * rows + o0) * a.K + (o1 - o0);
      S* d = dw + (g * a.cout + o1) * size;
      const int64_t valid = a.cout - o1 < step ? a.cout - o1 : step;
      int64_t k = 0;
      if constexpr (sizeof(S) == 4) {
        for (; dense && valid == step && k + step <= a.K; k += step) {
          TransposeRegF32 t[kTransposeF32];
          transpose(sum + k * width, width, t);
          for (int j = 0; j < kTransposeF32; ++j) store(d + j * size + k, t[j]);
        }
      }
      for (int64_t o = 0; o < valid; ++o) {
        S* row = d + o * size;
        if (a.taps < a.taps_all)
          for (int64_t j = 0; j < size; ++j) row[j] = static_cast<S>(0.0f);
        int64_t c = k / a.taps, t = k % a.taps;
        for (int64_t j = k; j < a.K; ++j) {
          row[c * a.taps_all + a.tap[t]] = static_cast<S>(sum[j * width + o]);
          if (++t == a.taps) {
            t = 0;
            ++c;
          }
        }
      }
    }
  });
}

// ---- few channels per group: pixels are the vector axis
// ---------------------------------------------

#if defined(TERCEL_LEVEL_AVX512)
inline constexpr int kDotTaps = 9;  // at a time
#else
inline constexpr int kDotTaps = 5;
#endif

// The first n lanes of p, others zero; `room`: what follows them may be read.
template <class T>
TERCEL_INLINE simd::Vec<T> first_lanes(const T* p, int64_t n, bool room) {
  using V = simd::Vec<T>;
#if defined(TERCEL_LEVEL_AVX2)
  if (room) return select(simd::lanes_below<V>(n), V::load(p), V(static_cast<T>(0)));
#endif
  (void)room;
  return V::load_n(p, n);
}

template <class T, int TB>
void dot_taps(const ConvWeightGradArgs& a, const T* src, const T* dy, int64_t count,
              int64_t dy_image, int64_t r0, int64_t r1, const int64_t* offset, T* sum, bool first) {
  using V = simd::Vec<T>;
  V acc[TB];
  const bool room = !a.in_place;
#pragma GCC unroll 9
  for (int t = 0; t < TB; ++t) acc[t] = V(static_cast<T>(0));
  const int64_t width = a.grid[2];
  for (int64_t n = 0; n < count; ++n) {
    int64_t z = r0 / a.grid[1], y = r0 % a.grid[1];
    for (int64_t r = r0; r < r1; ++r) {
      const T* d = dy + n * dy_image + r * width;
      const T* s = src + n * a.src_image + z * a.slab + y * a.row;
      int64_t x = 0;
      for (; x + V::size <= width; x += V::size) {
        const V dv = V::load(d + x);
#pragma GCC unroll 9
        for (int t = 0; t < TB; ++t) acc[t] = fma(V::load(s + offset[t] + x), dv, acc[t]);
      }
      if (x < width) {
        const V dv = V::load_n(d + x, width - x);
#pragma GCC unroll 9
        for (int t = 0; t < TB; ++t)
          acc[t] = fma(first_lanes(s + offset[t] + x, width - x, room), dv, acc[t]);
      }
      if (++y == a.grid[1]) {
        y = 0;
        ++z;
      }
    }
  }
  for (int t = 0; t < TB; ++t) sum[t] = first ? simd::sum(acc[t]) : sum[t] + simd::sum(acc[t]);
}

template <class T>
inline constexpr void (*kDots[])(const ConvWeightGradArgs&, const T*, const T*, int64_t, int64_t,
                                 int64_t, int64_t, const int64_t*, T*, bool) = {
    dot_taps<T, 1>, dot_taps<T, 2>, dot_taps<T, 3>, dot_taps<T, 4>, dot_taps<T, 5>,
#if defined(TERCEL_LEVEL_AVX512)
    dot_taps<T, 6>, dot_taps<T, 7>, dot_taps<T, 8>, dot_taps<T, 9>,
#endif
};

template <class T>
void accumulate_dot(const ConvWeightGradArgs& a, const T* src, const T* dy, int64_t n0,
                    int64_t images, int64_t pixels) {
  const int64_t channels = a.groups * a.cout;
  parallel_for(channels, 1 + 20000 / (images * pixels * a.K + 1), [&](int64_t i0, int64_t i1) {
    for (int64_t i = i0; i < i1; ++i) {
      const T* s = src + i / a.cout * a.cin * a.src_channel;
      T* sum = static_cast<T*>(a.sum) + i * a.K;
      for_chunks(a, images, [&](int64_t n, int64_t count, int64_t r0, int64_t r1) {
        const bool first = n0 == 0 && n == 0 && r0 == 0;
        const T* sn = s + n * a.src_image;
        const T* dn = dy + (n * channels + i) * pixels;
        const int64_t dy_image = channels * pixels;
        equal_pieces(a.K, kDotTaps, [&](int64_t k, int64_t size) {
          kDots<T>[size - 1](a, sn, dn, count, dy_image, r0, r1, a.offset + k, sum + k, first);
        });
      });
    }
  });
}

template <class S, class T>
void store_dot(const ConvWeightGradArgs& a) {
  const T* sum = static_cast<const T*>(a.sum);
  S* d = static_cast<S*>(a.dw);
  for (int64_t i = 0; i < a.groups * a.cout * a.cin; ++i, d += a.taps_all) {
    if (a.taps < a.taps_all)
      for (int64_t t = 0; t < a.taps_all; ++t) d[t] = static_cast<S>(0.0f);
    for (int64_t t = 0; t < a.taps; ++t) d[a.tap[t]] = static_cast<S>(*sum++);
  }
}

template <class S, class T>
void weight_grad_typed(const ConvWeightGradArgs& a) {
  if constexpr (sizeof(T) == 4) {
    if (has_small_planes(a, volume(a.grid)) && a.K <= kSmallTaps) return small_weight_grad<S>(a);
  }
  const int64_t pixels = volume(a.grid);
  const int64_t per_image = a.groups * a.cin;
  const bool dot = a.cout <= kConvDotChannels;
  for (int64_t n0 = 0; n0 < a.images; n0 += a.wave) {
    const int64_t n1 = n0 + a.wave < a.images ? n0 + a.wave : a.images;
    const T* src;
    if (a.in_place) {
      src = static_cast<const T*>(a.pad.src) + n0 * a.src_image;
    } else {
      pad_planes<S, T>(a.pad, n0 * per_image, n1 * per_image);
      src = static_cast<const T*>(a.pad.dst);
    }
    const S* dy = static_cast<const S*>(a.dy) + n0 * a.groups * a.cout * pixels;
    if (!dot) {
      transpose_dy<S, T>(a, n0, n1 - n0, pixels);
      accumulate<T>(a, src, n0, n1 - n0, pixels);
    } else if constexpr (sizeof(S) == sizeof(T)) {
      accumulate_dot<T>(a, src, dy, n0, n1 - n0, pixels);
    } else {
      T* converted = static_cast<T*>(a.dy_packed);
      convert_row(dy, 1, converted, (n1 - n0) * a.groups * a.cout * pixels);
      accumulate_dot<T>(a, src, converted, n0, n1 - n0, pixels);
    }
  }
  if (dot)
    store_dot<S, T>(a);
  else
    store_sums<S, T>(a);
}

void weight_grad(const ConvWeightGradArgs& a) {
  if (a.dtype == DType::f32)
    weight_grad_typed<float, float>(a);
  else if (a.dtype == DType::f64)
    weight_grad_typed<double, double>(a);
  else if (a.dtype == DType::bf16)
    weight_grad_typed<bf16, float>(a);
  else
    weight_grad_typed<f16, float>(a);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const ConvGradKernels conv_grad_kernels = {weight_grad};
}

}  // namespace tercel
