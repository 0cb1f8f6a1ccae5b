// Direct convolution: y[o, p] = sum_k w[o, k] s[offset_k + p] (conv_args.h explains taps and
// planes).
//
// The micro-kernel holds MR output channels x NV registers of pixels, adds one k per step (NV
// unaligned loads of pixels, MR broadcast weights) and never leaves the chain k = 0, 1, ... of an
// output, so the bits do not depend on tile sizes, threads, batch or register width. K is cut into
// blocks so that the source rows of a block stay in cache while several channel blocks use them;
// between blocks the sums rest in a scratch tile. Float16 and bfloat16 are converted while padding
// and rounded once at the store.
#include "core/parallel.h"
#include "ops/conv/conv_args.h"
#include "ops/conv/conv_channel.h"
#include "ops/conv/conv_depthwise.h"
#include "ops/conv/conv_pad.h"
#include "ops/conv/conv_small_planes.h"
#include "ops/conv/conv_tile.h"

namespace tercel {
namespace {

// Sums of a part that rest between K blocks; on the stack, threads have little of it.
inline constexpr int64_t kScratchBytes = 65536;
inline constexpr int64_t kScratchTiles = kScratchBytes / (kMR * kNV * kRegBytes);
template <class T>
struct Scratch {
  alignas(64) T data[kScratchBytes / sizeof(T)];
};

template <class T>
bool weights_in_cache(const ConvArgs& a, const ConvPhase& ph) {
  return a.cout * ph.K * static_cast<int64_t>(sizeof(T)) <= (1 << 19);
}

// Whether a phase is computed by conv_channel.h.
template <class T>
bool by_channels(const ConvArgs& a, const ConvPhase& ph) {
#if defined(TERCEL_LEVEL_AVX512)
  return sizeof(T) == 4 && use_channels(a, ph);
#else
  (void)a, (void)ph;
  return false;
#endif
}

template <class S, class T>
void pack_weights(const ConvArgs& a) {
  const S* w = static_cast<const S*>(a.w);
  const int64_t blocks = (a.cout + kMR - 1) / kMR;
  const int64_t rows = (a.cout + kConvRows - 1) / kConvRows * kConvRows;
  for (int64_t f = 0; f < a.num_phases; ++f) {
    const ConvPhase& ph = a.phases[f];
#if defined(TERCEL_LEVEL_AVX512)
    if constexpr (sizeof(T) == 4) {
      if (by_channels<T>(a, ph)) {
        pack_channels<S>(a, ph);
        continue;
      }
    }
#endif
    T* packed = static_cast<T*>(ph.packed);
    parallel_for(a.groups * blocks, 1 + 4096 / (ph.K + 1), [&](int64_t i0, int64_t i1) {
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t g = i / blocks, o0 = i % blocks * kMR;
        const int mr = rows_of(a.cout - o0);
        T* dst = packed + (g * rows + o0) * ph.K;
        for (int r = 0; r < mr; ++r) {
          T* d = dst + r;
          if (o0 + r >= a.cout) {
            for (int64_t k = 0; k < ph.K; ++k) d[k * mr] = 0;
            continue;
          }
          const S* row = w + g * a.w_group + (o0 + r) * a.w_out;
          for (int64_t c = 0; c < a.cin; ++c, row += a.w_in)
            for (int64_t t = 0; t < ph.taps; ++t, d += mr) *d = static_cast<T>(row[ph.tap[t]]);
        }
      }
    });
  }
}

struct Run {  // consecutive pixels of one output row inside a tile
  int64_t src, dst, n;
};

struct TilePlace {  // image and grid position where a tile starts; the last two may be no pixel
  int64_t image, f, z, y, x;
};

// Steps over positions without dividing.
TERCEL_INLINE void advance(const ConvArgs& a, int64_t n, TilePlace& p) {
  p.x += n;
  while (p.x >= a.row) {
    p.x -= a.row;
    if (++p.y == a.pad.size[1]) {
      p.y = 0;
      ++p.z;
    }
  }
}

// Cuts the n positions from `at` into runs of real pixels.
int find_runs(const ConvArgs& a, const ConvPhase& ph, TilePlace at, int64_t n, Run* runs) {
  int count = 0;
  for (int64_t i = 0; i < n;) {
    const int64_t left = a.row - at.x;
    if (at.y < ph.grid[1] && at.x < ph.grid[2]) {
      const int64_t len = ph.grid[2] - at.x < n - i ? ph.grid[2] - at.x : n - i;
      runs[count++] = {
          i, ph.y_first + at.z * ph.y_step[0] + at.y * ph.y_step[1] + at.x * ph.y_step[2], len};
    }
    i += left;
    advance(a, left, at);
  }
  return count;
}

// The lines that store_runs is going to write in `rows` channels.
template <class S>
TERCEL_INLINE void fetch_runs(const S* y, int64_t channel, int64_t rows, int64_t step,
                              const Run* runs, int count) {
  constexpr int64_t kLine = 64 / sizeof(S);
  for (int64_t c = 0; c < rows; ++c, y += channel) {
    for (int r = 0; r < count; ++r) {
      const int64_t last = (runs[r].n - 1) * step;
      for (int64_t i = 0; i < last; i += kLine) __builtin_prefetch(y + runs[r].dst + i, 1);
      __builtin_prefetch(y + runs[r].dst + last, 1);
    }
  }
}

template <class S, class T>
TERCEL_INLINE void store_runs(const T* sum, T bias, S* y, int64_t step, const Run* runs,
                              int count) {
  using V = simd::Vec<T>;
  const V b(bias);
  for (int r = 0; r < count; ++r) {
    const T* s = sum + runs[r].src;
    S* d = y + runs[r].dst;
    const int64_t n = runs[r].n;
    if (step == 1) {
      int64_t i = 0;
      for (; i + V::size <= n; i += V::size) (V::load(s + i) + b).store(d + i);
      if (i == n) continue;
      if (n >= V::size) {  // the last vector overlaps the one before
        (V::load(s + n - V::size) + b).store(d + n - V::size);
      } else if constexpr (sizeof(S) == sizeof(T) && Reg<T>::lanes < V::size) {
        constexpr int64_t kHalf = V::size / 2;
        const int64_t last = n < kHalf ? 0 : n - kHalf;
        for (; n >= kHalf && i < n; i = i < last ? last : n) {
          for (int64_t j = 0; j < kHalf; j += Reg<T>::lanes)
            Reg<T>::store(d + i + j, Reg<T>::load(s + i + j) + Reg<T>::splat(bias));
        }
        for (; i < n; ++i) d[i] = s[i] + bias;
      } else {
        (V::load_n(s, n) + b).store_n(d, n);
      }
    } else {
      for (int64_t i = 0; i < n; ++i) d[i * step] = static_cast<S>(s[i] + bias);
    }
  }
}

// The part of a phase one thread computes: tiles [t0, t1) of the wave's (image, tile) list and
// channel blocks [b0, b1) of group g.
struct Part {
  int64_t n0, g, t0, t1, b0, b1, tiles;
};

template <class S, class T>
void forward_part(const ConvArgs& a, const ConvPhase& ph, const T* src, const Part& p, T* scratch) {
  constexpr int kLanes = Reg<T>::lanes;
  constexpr int64_t kTileElements = kMR * kTile<T>;
  const int64_t pixels = (ph.grid[0] - 1) * a.slab + (ph.grid[1] - 1) * a.row + ph.grid[2];
  const int64_t rows = (a.cout + kConvRows - 1) / kConvRows * kConvRows;
  const int64_t k_blocks = (ph.K + 319) / 320;
  const int64_t k_size = k_blocks ? (ph.K + k_blocks - 1) / k_blocks : 0;
  const bool w_in_cache = weights_in_cache<T>(a, ph);
  const int64_t nt = p.t1 - p.t0, nb = p.b1 - p.b0;
  Run runs[kTile<T>];
  const T* packed = static_cast<const T*>(ph.packed) + p.g * rows * ph.K;
  const S* bias = static_cast<const S*>(a.bias);
  TilePlace place[kScratchTiles];
  const int64_t f0 = p.t0 % p.tiles * kTile<T>;
  place[0] = {p.t0 / p.tiles, f0, f0 / a.slab, f0 % a.slab / a.row, f0 % a.slab % a.row};
  for (int64_t t = 1; t < nt; ++t) {
    place[t] = place[t - 1];
    place[t].f += kTile<T>;
    if (place[t].f < pixels)
      advance(a, kTile<T>, place[t]);
    else
      place[t] = {place[t].image + 1, 0, 0, 0, 0};
  }
  int64_t run_tile = -1;
  int run_count = 0;
  const auto one = [&](int64_t ti, int64_t bi, int64_t k0, int64_t k1) {
    const TilePlace& at = place[ti];
    const int64_t o0 = (p.b0 + bi) * kMR;
    const int mr = rows_of(a.cout - o0);
    const int64_t n = pixels - at.f < kTile<T> ? pixels - at.f : kTile<T>;
    const int nv = static_cast<int>((n + kLanes - 1) / kLanes);
    T* sum = scratch + (k_blocks > 1 ? (bi * nt + ti) * kTileElements : 0);
    const T* s = src + at.image * a.src_image + p.g * a.cin * a.src_channel + at.f;
    const int64_t last_lanes = n - (nv - 1) * kLanes;
    const bool finish = k1 == ph.K;
    if (finish && run_tile != ti) {
      run_tile = ti;
      run_count = find_runs(a, ph, at, n, runs);
    }
    const int64_t o_first = p.g * a.cout + o0, valid = mr < a.cout - o0 ? mr : a.cout - o0;
    S* y = static_cast<S*>(a.y) + ((p.n0 + at.image) * a.groups * a.cout + o_first) * a.y_channel;
    if (finish) fetch_runs(y, a.y_channel, valid, ph.y_step[2], runs, run_count);
    pick_tile<T>(mr, nv, a.in_place && last_lanes < kLanes)(
        {k1 - k0, packed + o0 * ph.K + k0 * mr, s, ph.offset + k0, sum, k0 == 0, last_lanes});
    for (int64_t r = 0; finish && r < valid; ++r, y += a.y_channel) {
      const T b = bias ? static_cast<T>(bias[o_first + r]) : static_cast<T>(0);
      store_runs(sum + r * kTile<T>, b, y, ph.y_step[2], runs, run_count);
    }
  };
  for (int64_t kb = 0; kb < (k_blocks ? k_blocks : 1); ++kb) {
    const int64_t k0 = kb * k_size, k1 = k0 + k_size < ph.K ? k0 + k_size : ph.K;
    // weights that fit the cache stream past a tile; otherwise tiles stream past a weight panel
    if (w_in_cache) {
      for (int64_t ti = 0; ti < nt; ++ti)
        for (int64_t bi = 0; bi < nb; ++bi) one(ti, bi, k0, k1);
    } else {
      for (int64_t bi = 0; bi < nb; ++bi)
        for (int64_t ti = 0; ti < nt; ++ti) one(ti, bi, k0, k1);
    }
  }
}

template <class S, class T>
void forward_phase(const ConvArgs& a, const ConvPhase& ph, const T* src, int64_t n0,
                   int64_t images) {
  constexpr int64_t kWidth = kTile<T>;
  const int64_t pixels = (ph.grid[0] - 1) * a.slab + (ph.grid[1] - 1) * a.row + ph.grid[2];
  const int64_t tiles = (pixels + kTile<T> - 1) / kTile<T>;
  const int64_t blocks = (a.cout + kMR - 1) / kMR;
  const bool w_in_cache = weights_in_cache<T>(a, ph);
  // How much a part holds changes no bits, so it may look at the threads.
  int64_t part_blocks = w_in_cache ? (blocks < 8 ? blocks : 8) : 2;
  if (part_blocks > blocks) part_blocks = blocks;
  int64_t part_tiles = kScratchTiles / part_blocks;
  if (w_in_cache && part_blocks > 1 && part_tiles > 8) part_tiles = 8;
  if (part_tiles > images * tiles) part_tiles = images * tiles;
  const int64_t wanted = num_threads() > 1 ? 4 * num_threads() : 1;
  const auto parts = [&] {
    return a.groups * ((images * tiles + part_tiles - 1) / part_tiles) *
           ((blocks + part_blocks - 1) / part_blocks);
  };
  while (parts() < wanted && (part_tiles > 1 || part_blocks > 1)) {
    if (part_tiles >= part_blocks)
      part_tiles = (part_tiles + 1) / 2;
    else
      part_blocks = (part_blocks + 1) / 2;
  }
  const int64_t tile_parts = (images * tiles + part_tiles - 1) / part_tiles;
  const int64_t block_parts = (blocks + part_blocks - 1) / part_blocks;
  const int64_t work = part_tiles * kWidth * part_blocks * kMR * (ph.K + 8);
  parallel_for(parts(), 1 + 200000 / (work + 1), [&](int64_t i0, int64_t i1) {
    Scratch<T> scratch;
    for (int64_t i = i0; i < i1; ++i) {
      Part p;
      p.n0 = n0;
      p.g = i / (tile_parts * block_parts);
      const int64_t j = i % (tile_parts * block_parts);
      const int64_t tp = w_in_cache ? j / block_parts : j % tile_parts;
      const int64_t bp = w_in_cache ? j % block_parts : j / tile_parts;
      p.t0 = tp * part_tiles;
      p.t1 = p.t0 + part_tiles < images * tiles ? p.t0 + part_tiles : images * tiles;
      p.b0 = bp * part_blocks;
      p.b1 = p.b0 + part_blocks < blocks ? p.b0 + part_blocks : blocks;
      p.tiles = tiles;
      forward_part<S, T>(a, ph, src, p, scratch.data);
    }
  });
}

template <class S>
void fill_bias(const ConvArgs& a) {
  const S* bias = static_cast<const S*>(a.bias);
  const int64_t channels = a.groups * a.cout;
  parallel_for(a.images * channels, 1 + 16384 / a.y_channel, [&](int64_t i0, int64_t i1) {
    for (int64_t i = i0; i < i1; ++i) {
      const S v = bias ? bias[i % channels] : static_cast<S>(0.0f);
      S* y = static_cast<S*>(a.y) + i * a.y_channel;
      for (int64_t j = 0; j < a.y_channel; ++j) y[j] = v;
    }
  });
}

template <class S, class T>
void forward_typed(const ConvArgs& a) {
  if constexpr (sizeof(T) == 4) {
    if (has_small_planes(a, a.y_channel)) return small_planes<S>(a);
  }
  if (a.zero_first) fill_bias<S>(a);
  pack_weights<S, T>(a);
  const int64_t per_image = a.groups * a.cin;
  for (int64_t n0 = 0; n0 < a.images; n0 += a.wave) {
    const int64_t n1 = n0 + a.wave < a.images ? n0 + a.wave : a.images;
    if (is_depthwise(a)) {
      depthwise<S, T>(a, n0, n1 - n0);
      continue;
    }
    const T* src;
    if (a.in_place) {
      src = static_cast<const T*>(a.pad.src) + n0 * a.src_image;
    } else {
      pad_planes<S, T>(a.pad, n0 * per_image, n1 * per_image);
      src = static_cast<const T*>(a.pad.dst);
    }
    for (int64_t f = 0; f < a.num_phases; ++f) {
      const ConvPhase& ph = a.phases[f];
#if defined(TERCEL_LEVEL_AVX512)
      if constexpr (sizeof(T) == 4) {
        if (by_channels<T>(a, ph)) {
          channel_phase<S>(a, ph, src, n0, n1 - n0);
          continue;
        }
      }
#endif
      forward_phase<S, T>(a, ph, src, n0, n1 - n0);
    }
  }
}

void forward(const ConvArgs& a) {
  if (a.dtype == DType::f32)
    forward_typed<float, float>(a);
  else if (a.dtype == DType::f64)
    forward_typed<double, double>(a);
  else if (a.dtype == DType::bf16)
    forward_typed<bf16, float>(a);
  else
    forward_typed<f16, float>(a);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const ConvKernels conv_kernels = {forward};
}

}  // namespace tercel
