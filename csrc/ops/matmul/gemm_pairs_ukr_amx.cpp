// AMX micro-kernels for bfloat16 and float16: 32 x 32 float32 sums in four tiles, two tiles of a,
// two of b.
//
// Per 32 of k: 4 tile loads (4 KB) against 4 products of 16 cycles; the panel of b (32 KB for 512
// k) stays in L1, that of a streams from L2 at 32 bytes a cycle. The sums of earlier k blocks are
// loaded into the tiles, so an element is one chain over all of k: per 32 k the even and the odd
// members of the pairs are summed apart, added, and added to the element. The instructions round to
// nearest whatever the control register says and count subnormals as zero, but for those of float16
// operands.
//
// The tile configuration belongs to the thread: `begin` loads it before a run of calls (another
// library may have changed it since), `end` releases it.
//
// tests/cpp compiles this file a second time against a model of the instructions.
#include <immintrin.h>

#include "core/half.h"
#include "ops/matmul/gemm_ukr.h"

#if defined(TERCEL_AMX_MODEL)
#include "amx_model.h"
#else
// tdpfp16ps, by its bytes: compilers know it from gcc 13 on.
#define TERCEL_TILE_DPFP16PS(c, a, b)                                                \
  __asm__ volatile(".byte 0xc4, 0xe2, %c0, 0x5c, %c1" ::"i"(0x03 | (15 - (b)) << 3), \
                   "i"(0xc0 | (c) << 3 | (a)))
#endif

namespace tercel {
namespace {

struct alignas(64) PairTileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr PairTileConfig kPairConfig;

// Tiles 0 1 / 2 3: sums; 4 5: a; 6 7: b. The instructions take their tiles as literals.
struct Bf16Tiles {
  static TERCEL_INLINE void dot_0() { _tile_dpbf16ps(0, 4, 6); }
  static TERCEL_INLINE void dot_1() { _tile_dpbf16ps(1, 4, 7); }
  static TERCEL_INLINE void dot_2() { _tile_dpbf16ps(2, 5, 6); }
  static TERCEL_INLINE void dot_3() { _tile_dpbf16ps(3, 5, 7); }
};
struct F16Tiles {
  static TERCEL_INLINE void dot_0() { TERCEL_TILE_DPFP16PS(0, 4, 6); }
  static TERCEL_INLINE void dot_1() { TERCEL_TILE_DPFP16PS(1, 4, 7); }
  static TERCEL_INLINE void dot_2() { TERCEL_TILE_DPFP16PS(2, 5, 6); }
  static TERCEL_INLINE void dot_3() { TERCEL_TILE_DPFP16PS(3, 5, 7); }
};

// `ld` counts elements of c.
template <class T, bool kTwoRows, bool kTwoCols>
TERCEL_INLINE void pair_products(int64_t steps, const char* a, const char* b, float* c, int64_t ld,
                                 bool accumulate, const char* next) {
  const int64_t stride = ld * 4;
  if (accumulate) {
    _tile_loadd(0, c, stride);
    if (kTwoCols) _tile_loadd(1, c + 16, stride);
    if (kTwoRows) _tile_loadd(2, c + 16 * ld, stride);
    if (kTwoRows && kTwoCols) _tile_loadd(3, c + 16 * ld + 16, stride);
  } else {
    _tile_zero(0);
    if (kTwoCols) _tile_zero(1);
    if (kTwoRows) _tile_zero(2);
    if (kTwoRows && kTwoCols) _tile_zero(3);
  }
  for (int64_t s = 0; s < steps; ++s, a += 2048, b += 2048) {
    for (int i = 0; i < 8; ++i) __builtin_prefetch(next + 64 * i, 0, 2);
    next += 512;
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    T::dot_0();
    if (kTwoCols) {
      _tile_loadd(7, b + 1024, 64);
      T::dot_1();
    }
    if (kTwoRows) {
      _tile_loadd(5, a + 1024, 64);
      T::dot_2();
    }
    if (kTwoRows && kTwoCols) T::dot_3();
  }
  _tile_stored(0, c, stride);
  if (kTwoCols) _tile_stored(1, c + 16, stride);
  if (kTwoRows) _tile_stored(2, c + 16 * ld, stride);
  if (kTwoRows && kTwoCols) _tile_stored(3, c + 16 * ld + 16, stride);
}

template <class T>
TERCEL_INLINE void pairs_by_size(int64_t steps, const char* a, const char* b, float* c, int64_t ld,
                                 int64_t m, int64_t n, bool accumulate, const char* next) {
  if (m > 16) {
    if (n > 16) return pair_products<T, true, true>(steps, a, b, c, ld, accumulate, next);
    return pair_products<T, true, false>(steps, a, b, c, ld, accumulate, next);
  }
  if (n > 16) return pair_products<T, false, true>(steps, a, b, c, ld, accumulate, next);
  pair_products<T, false, false>(steps, a, b, c, ld, accumulate, next);
}

template <class T>
TERCEL_INLINE void pair_kernel(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                               int64_t m, int64_t n, bool accumulate, const void* next) {
  const char *ap = static_cast<const char*>(a), *bp = static_cast<const char*>(b);
  const char* np = static_cast<const char*>(next);
  float* out = static_cast<float*>(c);
  const int64_t steps = (kc + 31) / 32;
  if (m % 16 == 0 && n % 16 == 0)
    return pairs_by_size<T>(steps, ap, bp, out, ldc, m, n, accumulate, np);
  alignas(64) float tile[32 * 32];
  if (accumulate) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) tile[i * 32 + j] = out[i * ldc + j];
    }
  }
  pairs_by_size<T>(steps, ap, bp, tile, 32, m, n, accumulate, np);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) out[i * ldc + j] = tile[i * 32 + j];
  }
}

}  // namespace

void gemm_ukr_bf16_32x32_amx(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                             int64_t m, int64_t n, bool accumulate, const void* next) {
  pair_kernel<Bf16Tiles>(kc, a, b, c, ldc, m, n, accumulate, next);
}
void gemm_begin_bf16_32x32_amx() { _tile_loadconfig(&kPairConfig); }
void gemm_end_bf16_32x32_amx() { _tile_release(); }

void gemm_ukr_f16_32x32_amx(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                            int64_t m, int64_t n, bool accumulate, const void* next) {
  pair_kernel<F16Tiles>(kc, a, b, c, ldc, m, n, accumulate, next);
}
void gemm_begin_f16_32x32_amx() { _tile_loadconfig(&kPairConfig); }
void gemm_end_f16_32x32_amx() { _tile_release(); }

}  // namespace tercel
