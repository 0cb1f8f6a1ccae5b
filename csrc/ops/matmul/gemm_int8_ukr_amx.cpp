// AMX int8 micro-kernel: 32 x 32 int32 in four tiles, two tiles of a, two of b.
//
// Per 64 of k: 4 tile loads against 4 products. b's packed lines are its tiles as they lie; a is
// packed in groups of 64 bytes per row. Tiles have signedness in the instruction, so int8 needs no
// shift. The configuration is loaded at each call: another library on this thread may have released
// it, and a product of zero-config tiles faults.
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

// Tiles 0 1 / 2 3: sums; 4 5: a; 6 7: b.
template <bool kSigned, bool kTwoRows, bool kTwoCols>
TERCEL_INLINE void products(int64_t steps, const char* a, const char* b, int64_t b_panel,
                            int32_t* out) {
  _tile_zero(0);
  if (kTwoCols) _tile_zero(1);
  if (kTwoRows) _tile_zero(2);
  if (kTwoRows && kTwoCols) _tile_zero(3);
  for (int64_t s = 0; s < steps; ++s, a += 32 * 64, b += 16 * 64) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    if (kTwoRows) _tile_loadd(5, a + 16 * 64, 64);
    if (kTwoCols) _tile_loadd(7, b + b_panel, 64);
    if (kSigned) {
      _tile_dpbssd(0, 4, 6);
      if (kTwoCols) _tile_dpbssd(1, 4, 7);
      if (kTwoRows) _tile_dpbssd(2, 5, 6);
      if (kTwoRows && kTwoCols) _tile_dpbssd(3, 5, 7);
    } else {
      _tile_dpbusd(0, 4, 6);
      if (kTwoCols) _tile_dpbusd(1, 4, 7);
      if (kTwoRows) _tile_dpbusd(2, 5, 6);
      if (kTwoRows && kTwoCols) _tile_dpbusd(3, 5, 7);
    }
  }
  _tile_stored(0, out, 128);
  if (kTwoCols) _tile_stored(1, out + 16, 128);
  if (kTwoRows) _tile_stored(2, out + 16 * 32, 128);
  if (kTwoRows && kTwoCols) _tile_stored(3, out + 16 * 32 + 16, 128);
}

template <bool kSigned>
TERCEL_INLINE void by_size(int64_t steps, const char* a, const char* b, int64_t b_panel, int64_t m,
                           int64_t n, int32_t* out) {
  if (m > 16) {
    if (n > 16) return products<kSigned, true, true>(steps, a, b, b_panel, out);
    return products<kSigned, true, false>(steps, a, b, b_panel, out);
  }
  if (n > 16) return products<kSigned, false, true>(steps, a, b, b_panel, out);
  products<kSigned, false, false>(steps, a, b, b_panel, out);
}

}  // namespace

void gemm_ukr_int8_32x32_amx(int64_t lines, const void* a, bool a_signed, const void* b,
                             int64_t b_panel, const int32_t* start, int64_t start_ld, int32_t* c,
                             int64_t ldc, int64_t m, int64_t n) {
  alignas(64) int32_t tile[32 * 32];
  const char *ap = static_cast<const char*>(a), *bp = static_cast<const char*>(b);
  _tile_loadconfig(&kConfig);
  if (a_signed) {
    by_size<true>(lines / 16, ap, bp, b_panel, m, n, tile);
  } else {
    by_size<false>(lines / 16, ap, bp, b_panel, m, n, tile);
  }
  _tile_release();
  for (int64_t i = 0; i < m; ++i) {
    int32_t* dst = c + i * ldc;
    const int32_t* src = tile + i * 32;
    if (start) {
      const int32_t* before = start + i * start_ld;
      for (int64_t j = 0; j < n; ++j) {
        dst[j] =
            static_cast<int32_t>(static_cast<uint32_t>(before[j]) + static_cast<uint32_t>(src[j]));
      }
    } else {
      for (int64_t j = 0; j < n; ++j) dst[j] = src[j];
    }
  }
}

}  // namespace tercel
