// The second form of direct convolution, for AVX-512 and float32 sums: 16 or 32 output channels are
// the vector axis and every pixel's source value is broadcast. A tile is a piece of one or two
// output rows, so narrow images leave no lanes idle, which the pixel vectors of conv_tile.h do (7x7
// keeps 3 of 4 busy). Each output is the same chain k = 0, 1, ... of fused multiply-adds: the two
// forms give the same bits and may be chosen freely. Included by conv_direct_cpu.cpp only.
#pragma once

#include "core/parallel.h"
#include "ops/conv/conv_args.h"
#include "ops/conv/conv_tile.h"

#if defined(TERCEL_LEVEL_AVX512)
#include "ops/matmul/transpose_simd.h"
#include "simd/vec.h"

namespace tercel {
namespace {

inline constexpr int kChannels = 32;    // of a block: two registers
inline constexpr int kMostPixels = 14;  // of a tile: 28 accumulators, 2 weights, 1 pixel

struct ChannelTile {
  int64_t K;
  const float* w;    // [K][16 NV]
  const float* src;  // pixel 0
  const int64_t* offset;
  int64_t next_row;  // elements from pixel 0 to the first pixel of the second row
  float* sum;        // [pixels][16 NV]
  bool first;        // start from zero, not from sum
};

template <int kPixels, int kRows, int NV>
void channel_tile(const ChannelTile& a) {
  __m512 acc[kRows * kPixels][NV];
  float* sum = a.sum;
#pragma GCC unroll 16
  for (int i = 0; i < kRows * kPixels; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j)
      acc[i][j] = a.first ? _mm512_setzero_ps() : _mm512_loadu_ps(sum + (i * NV + j) * 16);
  const float* w = a.w;
  const int64_t* offset = a.offset;
  const float* src0 = a.src;
  const float* src1 = a.src + a.next_row;
  for (int64_t k = 0; k < a.K; ++k, w += 16 * NV) {
    __m512 wk[NV];
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) wk[j] = _mm512_loadu_ps(w + 16 * j);
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
      const float* p = (r ? src1 : src0) + offset[k];
#pragma GCC unroll 16
      for (int i = 0; i < kPixels; ++i) {
        const __m512 x = _mm512_set1_ps(p[i]);
#pragma GCC unroll 2
        for (int j = 0; j < NV; ++j)
          acc[r * kPixels + i][j] = _mm512_fmadd_ps(wk[j], x, acc[r * kPixels + i][j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows * kPixels; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) _mm512_storeu_ps(sum + (i * NV + j) * 16, acc[i][j]);
}

using ChannelTileFn = void (*)(const ChannelTile&);
template <int NV>
TERCEL_INLINE ChannelTileFn pick_channel_tile(int pixels, int rows) {
  static constexpr ChannelTileFn kOne[] = {
      channel_tile<1, 1, NV>,  channel_tile<2, 1, NV>,  channel_tile<3, 1, NV>,
      channel_tile<4, 1, NV>,  channel_tile<5, 1, NV>,  channel_tile<6, 1, NV>,
      channel_tile<7, 1, NV>,  channel_tile<8, 1, NV>,  channel_tile<9, 1, NV>,
      channel_tile<10, 1, NV>, channel_tile<11, 1, NV>, channel_tile<12, 1, NV>,
      channel_tile<13, 1, NV>, channel_tile<14, 1, NV>};
  static constexpr ChannelTileFn kTwo[] = {channel_tile<1, 2, NV>,
                                           channel_tile<2, 2, NV>,
                                           channel_tile<3, 2, NV>,
                                           channel_tile<4, 2, NV>,
                                           channel_tile<5, 2, NV>,
                                           channel_tile<6, 2, NV>,
                                           channel_tile<7, 2, NV>,
                                           channel_tile < NV == 1 ? 8 : 1,
                                           2,
                                           NV > };
  return (rows == 1 ? kOne : kTwo)[pixels - 1];
}

// Weights as [block of 32 channels][K][32]; the last block has 16 lanes if that is enough.
template <class S>
void pack_channels(const ConvArgs& a, const ConvPhase& ph) {
  const S* w = static_cast<const S*>(a.w);
  const int64_t halves = (a.cout + 15) / 16, rows = halves * 16;
  bool dense = a.w_in == ph.taps;  // k runs through memory
  bool close = true;               // all taps in 16 elements
  for (int64_t t = 0; t < ph.taps; ++t) {
    dense = dense && ph.tap[t] == t;
    close = close && ph.tap[t] < 16;
  }
  close = close && !dense;
  const bool narrow = a.w_out < (1 << 26);  // 32-bit indices reach all lanes
  constexpr int kLane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  parallel_for(a.groups * halves, 1 + 1024 / (ph.K + 1), [&](int64_t i0, int64_t i1) {
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t g = i / halves, o0 = i % halves * 16, block = o0 / kChannels * kChannels;
      const int64_t width = rows - block < kChannels ? 16 : kChannels;
      const int64_t valid = a.cout - o0 < 16 ? a.cout - o0 : 16;
      const S* src = w + g * a.w_group + o0 * a.w_out;
      float* dst = static_cast<float*>(ph.packed) + (g * rows + block) * ph.K + (o0 - block);
      int64_t k = 0;
      if constexpr (sizeof(S) == 4) {
        if (dense && valid == 16) {
          for (; k + 16 <= ph.K; k += 16) {
            __m512 t[16];
            transpose(src + k, a.w_out, t);
#pragma GCC unroll 16
            for (int j = 0; j < 16; ++j) _mm512_storeu_ps(dst + (k + j) * width, t[j]);
          }
        }
        // taps of 16 channels that lie close together: 16 x 16 floats from each input channel
        for (int64_t c = 0; close && valid == 16 && k < ph.K; ++c, k += ph.taps) {
          const S* p = src + c * a.w_in;
          if (p + 15 * a.w_out + 16 > w + a.groups * a.w_group) break;
          __m512 t[16];
          transpose(p, a.w_out, t);
          alignas(64) float all[16][16];
#pragma GCC unroll 16
          for (int j = 0; j < 16; ++j) _mm512_store_ps(all[j], t[j]);
          for (int64_t j = 0; j < ph.taps; ++j)
            _mm512_storeu_ps(dst + (k + j) * width, _mm512_load_ps(all[ph.tap[j]]));
        }
        if (narrow) {
          const __m512i index = _mm512_mullo_epi32(_mm512_loadu_si512(kLane),
                                                   _mm512_set1_epi32(static_cast<int>(a.w_out)));
          const __mmask16 lanes = static_cast<__mmask16>((1u << valid) - 1u);
          for (; k < ph.K; ++k) {
            const float* p = src + k / ph.taps * a.w_in + ph.tap[k % ph.taps];
            _mm512_storeu_ps(dst + k * width,
                             _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, index, p, 4));
          }
        }
      }
      for (; k < ph.K; ++k) {
        const S* p = src + k / ph.taps * a.w_in + ph.tap[k % ph.taps];
        for (int64_t o = 0; o < 16; ++o)
          dst[k * width + o] = o < valid ? static_cast<float>(p[o * a.w_out]) : 0.0f;
      }
    }
  });
}

struct PixelRun {  // a tile: `pixels` of one row, or of two consecutive ones
  int64_t src, dst;
  int pixels, rows;
};

// The tiles of one image in order: rows (pairs of rows where they are narrow), each cut into equal
// pieces.
struct RowCutter {
  int64_t pieces, pairs, rows_per_tile;
  RowCutter(const ConvArgs& a, const ConvPhase& ph)
      : pieces((ph.grid[2] + kMostPixels - 1) / kMostPixels),
        rows_per_tile(2 * ph.grid[2] <= (a.cout <= 16 ? 16 : kMostPixels) ? 2 : 1) {
    pairs = (ph.grid[1] + rows_per_tile - 1) / rows_per_tile;
  }
  int64_t tiles(const ConvPhase& ph) const { return ph.grid[0] * pairs * pieces; }
  PixelRun at(const ConvArgs& a, const ConvPhase& ph, int64_t image, int64_t tile) const {
    const int64_t piece = tile % pieces, line = tile / pieces;
    const int64_t z = line / pairs, y = line % pairs * rows_per_tile;
    const int64_t share = ph.grid[2] / pieces, longer = ph.grid[2] % pieces;
    const int64_t x = piece * share + (piece < longer ? piece : longer);
    PixelRun r;
    r.pixels = static_cast<int>(share + (piece < longer));
    r.rows = rows_per_tile == 2 && y + 1 < ph.grid[1] ? 2 : 1;
    r.src = image * a.src_image + z * a.slab + y * a.row + x;
    r.dst = image * a.groups * a.cout * a.y_channel + ph.y_first + z * ph.y_step[0] +
            y * ph.y_step[1] + x * ph.y_step[2];
    return r;
  }
};

// 16 channels (`valid` of them real) of a finished tile to y.
template <class S>
void store_channels(const ConvArgs& a, const ConvPhase& ph, const PixelRun& run, const float* sum,
                    int64_t width, const S* bias, S* y, int64_t valid) {
  using simd::VecF;
  __m512 lanes[16];
  transpose(sum, width, lanes);
  if constexpr (sizeof(S) == 4) {
    if (valid == 16 && ph.y_step[2] == 1) {
      const __mmask16 first = static_cast<__mmask16>((1u << run.pixels) - 1u);
      const __mmask16 second = static_cast<__mmask16>(run.rows == 2 ? first << run.pixels : 0);
      float* next = y + ph.y_step[1] - run.pixels;
#pragma GCC unroll 16
      for (int c = 0; c < 16; ++c) {
        const __m512 v = _mm512_add_ps(lanes[c], _mm512_set1_ps(bias ? bias[c] : 0.0f));
        _mm512_mask_storeu_ps(y + c * a.y_channel, first, v);
        if (second) _mm512_mask_storeu_ps(next + c * a.y_channel, second, v);
      }
      return;
    }
    if (valid == 16 && ph.y_step[2] == 2) {  // every second element
      constexpr int kHalf[16] = {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7};
      for (int r = 0; r < run.rows; ++r)
        for (int h = 0; 8 * h < run.pixels; ++h) {
          const int n = run.pixels - 8 * h < 8 ? run.pixels - 8 * h : 8;
          const __mmask16 even = static_cast<__mmask16>(0x5555 & ((1u << 2 * n) - 1u));
          const __m512i place = _mm512_add_epi32(_mm512_loadu_si512(kHalf),
                                                 _mm512_set1_epi32(r * run.pixels + 8 * h));
          float* to = y + r * ph.y_step[1] + 16 * h;
#pragma GCC unroll 16
          for (int c = 0; c < 16; ++c) {
            const __m512 v = _mm512_add_ps(lanes[c], _mm512_set1_ps(bias ? bias[c] : 0.0f));
            _mm512_mask_storeu_ps(to + c * a.y_channel, even, _mm512_permutexvar_ps(place, v));
          }
        }
      return;
    }
  }
  alignas(64) float all[16][16];
#pragma GCC unroll 16
  for (int c = 0; c < 16; ++c) _mm512_store_ps(all[c], lanes[c]);
  const __mmask16 second = static_cast<__mmask16>(((1u << run.pixels) - 1u) << run.pixels);
  for (int64_t c = 0; c < valid; ++c, y += a.y_channel) {
    const VecF v = VecF::load(all[c]) + VecF(bias ? static_cast<float>(bias[c]) : 0.0f);
    if (ph.y_step[2] == 1) {
      v.store_n(y, run.pixels);
      if (run.rows == 2) {
        VecF next(0.0f);
        next.v = _mm512_maskz_compress_ps(second, v.v);
        next.store_n(y + ph.y_step[1], run.pixels);
      }
    } else {
      alignas(64) float out[16];
      v.store(out);
      for (int r = 0; r < run.rows; ++r)
        for (int i = 0; i < run.pixels; ++i)
          y[r * ph.y_step[1] + i * ph.y_step[2]] = static_cast<S>(out[r * run.pixels + i]);
    }
  }
}

// The lines of y that store_channels is going to write.
template <class S>
TERCEL_INLINE void fetch_output(const ConvArgs& a, const ConvPhase& ph, const PixelRun& run,
                                const S* y, int64_t channels) {
  const int64_t last = (run.rows - 1) * ph.y_step[1] + (run.pixels - 1) * ph.y_step[2];
  for (int64_t c = 0; c < channels; ++c, y += a.y_channel) {
    __builtin_prefetch(y, 1);
    __builtin_prefetch(y + last, 1);
  }
}

inline constexpr int64_t kChannelTileSize = kMostPixels * kChannels;
inline constexpr int64_t kPartTiles = 36;  // tiles x channel blocks whose sums rest together

// Tiles [t0, t1) of the wave's images x channel blocks [b0, b1) of group g.
template <class S>
void channel_part(const ConvArgs& a, const ConvPhase& ph, const RowCutter& cut, const float* src,
                  int64_t n0, int64_t g, int64_t t0, int64_t t1, int64_t b0, int64_t b1,
                  float* scratch) {
  const int64_t rows = (a.cout + 15) / 16 * 16, tiles = cut.tiles(ph), nt = t1 - t0;
  const int64_t k_blocks = (ph.K + 319) / 320, k_size = (ph.K + k_blocks - 1) / k_blocks;
  const float* packed = static_cast<const float*>(ph.packed) + g * rows * ph.K;
  const S* bias = static_cast<const S*>(a.bias);
  S* y = static_cast<S*>(a.y) + n0 * a.groups * a.cout * a.y_channel;
  PixelRun runs[kPartTiles];
  for (int64_t t = 0; t < nt; ++t) runs[t] = cut.at(a, ph, (t0 + t) / tiles, (t0 + t) % tiles);
  for (int64_t k0 = 0; k0 < ph.K; k0 += k_size) {
    const int64_t k1 = k0 + k_size < ph.K ? k0 + k_size : ph.K;
    for (int64_t b = b0; b < b1; ++b) {
      const int64_t o0 = b * kChannels;
      const int64_t width = rows - o0 < kChannels ? 16 : kChannels;
      for (int64_t t = 0; t < nt; ++t) {
        const PixelRun& run = runs[t];
        float* sum = scratch + ((b - b0) * nt + t) * kChannelTileSize;
        const auto fn = width == kChannels ? pick_channel_tile<2>(run.pixels, run.rows)
                                           : pick_channel_tile<1>(run.pixels, run.rows);
        if (k1 == ph.K)
          fetch_output(a, ph, run, y + (g * a.cout + o0) * a.y_channel + run.dst, width);
        fn({k1 - k0, packed + o0 * ph.K + k0 * width, src + g * a.cin * a.src_channel + run.src,
            ph.offset + k0, a.row, sum, k0 == 0});
        if (k1 < ph.K) continue;
        for (int64_t o = o0; o < o0 + width && o < a.cout; o += 16)
          store_channels<S>(
              a, ph, run, sum + (o - o0), width, bias ? bias + g * a.cout + o : nullptr,
              y + (g * a.cout + o) * a.y_channel + run.dst, a.cout - o < 16 ? a.cout - o : 16);
      }
    }
  }
}

template <class S>
void channel_phase(const ConvArgs& a, const ConvPhase& ph, const float* src, int64_t n0,
                   int64_t images) {
  const RowCutter cut(a, ph);
  const int64_t tiles = images * cut.tiles(ph);
  const int64_t blocks = (a.cout + kChannels - 1) / kChannels;
  const bool w_in_cache = a.cout * ph.K <= (1 << 17);
  // How much a part holds changes no bits, so it may look at the threads.
  int64_t part_blocks = blocks < 4 ? blocks : 4;
  int64_t part_tiles = kPartTiles / part_blocks;
  if (part_tiles > tiles) part_tiles = tiles;
  const int64_t wanted = num_threads() > 1 ? 4 * num_threads() : 1;
  const auto up = [](int64_t n, int64_t by) { return (n + by - 1) / by; };
  const auto parts = [&] { return a.groups * up(tiles, part_tiles) * up(blocks, part_blocks); };
  while (parts() < wanted && (part_tiles > 1 || part_blocks > 1)) {
    if (part_tiles >= part_blocks)
      part_tiles = (part_tiles + 1) / 2;
    else
      part_blocks = (part_blocks + 1) / 2;
  }
  const int64_t tile_parts = up(tiles, part_tiles), block_parts = up(blocks, part_blocks);
  const int64_t work = part_tiles * kMostPixels * part_blocks * kChannels * (ph.K + 8);
  parallel_for(parts(), 1 + 200000 / (work + 1), [&](int64_t i0, int64_t i1) {
    // the transpose of a short tile reads to 16 pixels
    alignas(64) float scratch[kPartTiles * kChannelTileSize + 2 * kChannels];
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t g = i / (tile_parts * block_parts), j = i % (tile_parts * block_parts);
      const int64_t tp = w_in_cache ? j / block_parts : j % tile_parts;
      const int64_t bp = w_in_cache ? j % block_parts : j / tile_parts;
      const int64_t t0 = tp * part_tiles, b0 = bp * part_blocks;
      channel_part<S>(a, ph, cut, src, n0, g, t0, t0 + part_tiles < tiles ? t0 + part_tiles : tiles,
                      b0, b0 + part_blocks < blocks ? b0 + part_blocks : blocks, scratch);
    }
  });
}

// Whether this form is used for a phase: nearly full channel lanes and rows that are not too short.
TERCEL_INLINE bool use_channels(const ConvArgs& a, const ConvPhase& ph) {
  return a.dtype != DType::f64 && ph.K > 0 && ph.grid[2] >= 2 &&
         4 * a.cout >= 3 * ((a.cout + 15) / 16 * 16);
}

}  // namespace
}  // namespace tercel
#endif
