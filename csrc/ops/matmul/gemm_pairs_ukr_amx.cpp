// AMX micro-kernels for bfloat16 and float16: 32 x 32 float32 sums (gemm_amx_tiles.h), 32 of k a
// step.
//
// Per 32 k the even and the odd members of the pairs are summed apart, added, and added to the
// element. The instructions round to nearest whatever the control register says and count
// subnormals as zero, but for those of float16 operands.
#include "ops/matmul/gemm_amx_tiles.h"
#include "ops/matmul/gemm_ukr.h"

#if !defined(TERCEL_AMX_MODEL)
// tdpfp16ps, by its bytes: compilers know it from gcc 13 on.
#define TERCEL_TILE_DPFP16PS(c, a, b)                                                \
  __asm__ volatile(".byte 0xc4, 0xe2, %c0, 0x5c, %c1" ::"i"(0x03 | (15 - (b)) << 3), \
                   "i"(0xc0 | (c) << 3 | (a)))
#endif

namespace tercel {
namespace {

TERCEL_TILE_PRODUCTS(Bf16Tiles, _tile_dpbf16ps)
TERCEL_TILE_PRODUCTS(F16Tiles, TERCEL_TILE_DPFP16PS)

template <class T>
TERCEL_INLINE void pair_kernel(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                               int64_t m, int64_t n, bool accumulate, const void* next) {
  const TilePanels p{static_cast<const char*>(a), static_cast<const char*>(b), 2048, 1024,
                     static_cast<const char*>(next)};
  float* const out = static_cast<float*>(c);
  tile_kernel<T>((kc + 31) / 32, p, accumulate ? out : nullptr, ldc, out, ldc, m, n);
}

}  // namespace

void gemm_ukr_bf16_32x32_amx(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                             int64_t m, int64_t n, bool accumulate, const void* next) {
  pair_kernel<Bf16Tiles>(kc, a, b, c, ldc, m, n, accumulate, next);
}
void gemm_begin_bf16_32x32_amx() { tiles_begin(); }
void gemm_end_bf16_32x32_amx() { tiles_end(); }

void gemm_ukr_f16_32x32_amx(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                            int64_t m, int64_t n, bool accumulate, const void* next) {
  pair_kernel<F16Tiles>(kc, a, b, c, ldc, m, n, accumulate, next);
}
void gemm_begin_f16_32x32_amx() { tiles_begin(); }
void gemm_end_f16_32x32_amx() { tiles_end(); }

}  // namespace tercel
