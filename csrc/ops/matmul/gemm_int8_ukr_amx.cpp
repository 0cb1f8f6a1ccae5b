// AMX int8 micro-kernel: 32 x 32 int32 sums (gemm_amx_tiles.h), 64 of k a step.
//
// b's packed lines are its tiles as they lie; a is packed in groups of 64 bytes per row. The sums
// may start from a row that all share (a stride of 0). Tiles have signedness in the instruction, so
// int8 needs no shift.
#include "ops/matmul/gemm_amx_tiles.h"
#include "ops/matmul/gemm_int8_ukr.h"

namespace tercel {
namespace {

TERCEL_TILE_PRODUCTS(SignedTiles, _tile_dpbssd)
TERCEL_TILE_PRODUCTS(UnsignedTiles, _tile_dpbusd)

}  // namespace

void gemm_ukr_int8_32x32_amx(int64_t lines, const void* a, bool a_signed, const void* b,
                             int64_t b_panel, const int32_t* start, int64_t start_ld, int32_t* c,
                             int64_t ldc, int64_t m, int64_t n, const void* next) {
  const TilePanels p{static_cast<const char*>(a), static_cast<const char*>(b), 1024, b_panel,
                     static_cast<const char*>(next)};
  if (a_signed) return tile_kernel<SignedTiles>(lines / 16, p, start, start_ld, c, ldc, m, n);
  tile_kernel<UnsignedTiles>(lines / 16, p, start, start_ld, c, ldc, m, n);
}
void gemm_int8_amx_begin() { tiles_begin(); }
void gemm_int8_amx_end() { tiles_end(); }

}  // namespace tercel
