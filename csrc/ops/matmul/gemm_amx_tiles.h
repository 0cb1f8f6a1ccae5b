// 32 x 32 sums in four AMX tiles: the loop of the micro-kernels of int8, bfloat16 and float16,
// which differ in the instruction and in how b lies. Only for files compiled with AMX.
//
// Per step: 4 tile loads (4 KB) against 4 products of 16 cycles; the panel of b stays in L1, that
// of a streams from L2 at 32 bytes a cycle. What the sums start from is loaded into the tiles, so
// an element is one chain over all of k.
//
// The tile configuration belongs to the thread: `tiles_begin` loads it before a run of calls
// (another library may have changed it since), `tiles_end` releases it.
//
// TERCEL_AMX_MODEL replaces the instructions by a model in plain C++ (tests/cpp/amx_model.h).
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "core/inline.h"

#if defined(TERCEL_AMX_MODEL)
#include "amx_model.h"
#endif

namespace tercel {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfig kTileConfig;
TERCEL_INLINE void tiles_begin() { _tile_loadconfig(&kTileConfig); }
TERCEL_INLINE void tiles_end() { _tile_release(); }

// Tiles 0 1 / 2 3: sums; 4 5: a; 6 7: b. The instructions take their tiles as literals.
#define TERCEL_TILE_PRODUCTS(Name, instruction)                 \
  struct Name {                                                 \
    static TERCEL_INLINE void dot_0() { instruction(0, 4, 6); } \
    static TERCEL_INLINE void dot_1() { instruction(1, 4, 7); } \
    static TERCEL_INLINE void dot_2() { instruction(2, 5, 6); } \
    static TERCEL_INLINE void dot_3() { instruction(3, 5, 7); } \
  };

struct TilePanels {
  const char* a;  // 2 KB a step: 16 rows of 64 bytes, then 16 more
  const char* b;
  int64_t b_step, b_second;  // bytes to the next step and to the right 16 columns
  const char* next;          // fetched, 512 bytes a step
};

// The strides `start_ld` and `ld` count elements, of 4 bytes; no start: zeros.
template <class T, bool kTwoRows, bool kTwoCols, class E>
TERCEL_INLINE void tile_products(int64_t steps, TilePanels p, const E* start, int64_t start_ld,
                                 E* c, int64_t ld) {
  if (start) {
    const int64_t stride = start_ld * 4;
    _tile_loadd(0, start, stride);
    if (kTwoCols) _tile_loadd(1, start + 16, stride);
    if (kTwoRows) _tile_loadd(2, start + 16 * start_ld, stride);
    if (kTwoRows && kTwoCols) _tile_loadd(3, start + 16 * start_ld + 16, stride);
  } else {
    _tile_zero(0);
    if (kTwoCols) _tile_zero(1);
    if (kTwoRows) _tile_zero(2);
    if (kTwoRows && kTwoCols) _tile_zero(3);
  }
  for (int64_t s = 0; s < steps; ++s, p.a += 2048, p.b += p.b_step, p.next += 512) {
    for (int i = 0; i < 8; ++i) __builtin_prefetch(p.next + 64 * i, 0, 2);
    _tile_loadd(4, p.a, 64);
    _tile_loadd(6, p.b, 64);
    T::dot_0();
    if (kTwoCols) {
      _tile_loadd(7, p.b + p.b_second, 64);
      T::dot_1();
    }
    if (kTwoRows) {
      _tile_loadd(5, p.a + 1024, 64);
      T::dot_2();
    }
    if (kTwoRows && kTwoCols) T::dot_3();
  }
  const int64_t stride = ld * 4;
  _tile_stored(0, c, stride);
  if (kTwoCols) _tile_stored(1, c + 16, stride);
  if (kTwoRows) _tile_stored(2, c + 16 * ld, stride);
  if (kTwoRows && kTwoCols) _tile_stored(3, c + 16 * ld + 16, stride);
}

template <class T, class E>
TERCEL_INLINE void whole_tiles(int64_t steps, const TilePanels& p, const E* start, int64_t start_ld,
                               E* c, int64_t ld, int64_t m, int64_t n) {
  if (m > 16) {
    if (n > 16) return tile_products<T, true, true>(steps, p, start, start_ld, c, ld);
    return tile_products<T, true, false>(steps, p, start, start_ld, c, ld);
  }
  if (n > 16) return tile_products<T, false, true>(steps, p, start, start_ld, c, ld);
  tile_products<T, false, false>(steps, p, start, start_ld, c, ld);
}

// c[m, n] = start[m, n] + products, m and n up to 32.
template <class T, class E>
TERCEL_INLINE void tile_kernel(int64_t steps, const TilePanels& p, const E* start, int64_t start_ld,
                               E* c, int64_t ld, int64_t m, int64_t n) {
  if (m % 16 == 0 && n % 16 == 0) return whole_tiles<T>(steps, p, start, start_ld, c, ld, m, n);
  alignas(64) E tile[32 * 32];
  if (start) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) tile[i * 32 + j] = start[i * start_ld + j];
    }
  }
  whole_tiles<T, E>(steps, p, start ? tile : nullptr, 32, tile, 32, m, n);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) c[i * ld + j] = tile[i * 32 + j];
  }
}

}  // namespace
}  // namespace tercel
