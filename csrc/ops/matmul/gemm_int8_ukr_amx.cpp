// AMX int8 micro-kernel: 32 x 32 int32 in four tiles, two tiles of a, two of b.
//
// Per 64 of k: 4 tile loads against 4 products of 16 cycles; b's panels of a k block (32 KB) stay
// in L1, those of a stream from L2. b's packed lines are its tiles as they lie; a is packed in
// groups of 64 bytes per row. What the sums start from is loaded into the tiles, also a row that
// all share (a stride of 0). Tiles have signedness in the instruction, so int8 needs no shift.
//
// The configuration is loaded before a run of calls (another library on this thread may have
// changed it since) and released after it.
//
// TERCEL_AMX_MODEL replaces the instructions by a model in plain C++ (tests/cpp/amx_model.h).
#include <immintrin.h>

#include "core/half.h"
#include "ops/matmul/gemm_int8_ukr.h"

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
constexpr TileConfig kConfig;

// Tiles 0 1 / 2 3: sums; 4 5: a; 6 7: b. The instructions take their tiles as literals.
struct SignedTiles {
  static TERCEL_INLINE void dot_0() { _tile_dpbssd(0, 4, 6); }
  static TERCEL_INLINE void dot_1() { _tile_dpbssd(1, 4, 7); }
  static TERCEL_INLINE void dot_2() { _tile_dpbssd(2, 5, 6); }
  static TERCEL_INLINE void dot_3() { _tile_dpbssd(3, 5, 7); }
};
struct UnsignedTiles {
  static TERCEL_INLINE void dot_0() { _tile_dpbusd(0, 4, 6); }
  static TERCEL_INLINE void dot_1() { _tile_dpbusd(1, 4, 7); }
  static TERCEL_INLINE void dot_2() { _tile_dpbusd(2, 5, 6); }
  static TERCEL_INLINE void dot_3() { _tile_dpbusd(3, 5, 7); }
};

// `start_ld` and `ld` count elements.
template <class T, bool kTwoRows, bool kTwoCols>
TERCEL_INLINE void products(int64_t steps, const char* a, const char* b, int64_t b_panel,
                            const int32_t* start, int64_t start_ld, int32_t* c, int64_t ld,
                            const char* next) {
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
  for (int64_t s = 0; s < steps; ++s, a += 32 * 64, b += 16 * 64) {
    for (int i = 0; i < 8; ++i) __builtin_prefetch(next + 64 * i, 0, 2);
    next += 512;
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    T::dot_0();
    if (kTwoCols) {
      _tile_loadd(7, b + b_panel, 64);
      T::dot_1();
    }
    if (kTwoRows) {
      _tile_loadd(5, a + 16 * 64, 64);
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

template <class T>
TERCEL_INLINE void by_size(int64_t steps, const char* a, const char* b, int64_t b_panel,
                           const int32_t* start, int64_t start_ld, int32_t* c, int64_t ld,
                           int64_t m, int64_t n, const char* next) {
  if (m > 16) {
    if (n > 16) return products<T, true, true>(steps, a, b, b_panel, start, start_ld, c, ld, next);
    return products<T, true, false>(steps, a, b, b_panel, start, start_ld, c, ld, next);
  }
  if (n > 16) return products<T, false, true>(steps, a, b, b_panel, start, start_ld, c, ld, next);
  products<T, false, false>(steps, a, b, b_panel, start, start_ld, c, ld, next);
}

}  // namespace

void gemm_ukr_int8_32x32_amx(int64_t lines, const void* a, bool a_signed, const void* b,
                             int64_t b_panel, const int32_t* start, int64_t start_ld, int32_t* c,
                             int64_t ldc, int64_t m, int64_t n, const void* next) {
  const char *ap = static_cast<const char*>(a), *bp = static_cast<const char*>(b);
  const char* np = static_cast<const char*>(next);
  const auto run = [&](const int32_t* from, int64_t from_ld, int32_t* to,
                       int64_t to_ld) TERCEL_LAMBDA_INLINE {
    if (a_signed)
      return by_size<SignedTiles>(lines / 16, ap, bp, b_panel, from, from_ld, to, to_ld, m, n, np);
    by_size<UnsignedTiles>(lines / 16, ap, bp, b_panel, from, from_ld, to, to_ld, m, n, np);
  };
  if (m % 16 == 0 && n % 16 == 0) return run(start, start_ld, c, ldc);
  alignas(64) int32_t tile[32 * 32];
  if (start) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) tile[i * 32 + j] = start[i * start_ld + j];
    }
  }
  run(start ? tile : nullptr, 32, tile, 32);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = tile[i * 32 + j];
  }
}
void gemm_int8_amx_begin() { _tile_loadconfig(&kConfig); }
void gemm_int8_amx_end() { _tile_release(); }

}  // namespace tercel
