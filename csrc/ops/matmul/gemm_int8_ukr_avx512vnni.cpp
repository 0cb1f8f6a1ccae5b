// AVX512-VNNI int8 micro-kernel: 14 rows x 2 registers = 28 accumulators, as the float32 tile. Per
// line of four k: 28 vpdpbusd (14 cycles on two ports) against 16 loads.
#include <immintrin.h>

#include "ops/matmul/gemm_int8_vnni.h"

namespace tercel {
namespace {

struct Zmm {
  using Reg = __m512i;
  static constexpr int kColumns = 16;
  static TERCEL_INLINE Reg zero() { return _mm512_setzero_si512(); }
  static TERCEL_INLINE Reg set1(int32_t x) { return _mm512_set1_epi32(x); }
  static TERCEL_INLINE Reg load(const char* p) { return _mm512_load_si512(p); }
  // The intrinsic makes gcc 12 copy every accumulator to the stack and back.
  static TERCEL_INLINE Reg dot(Reg acc, Reg u, Reg s) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
    return acc;
  }
  static TERCEL_INLINE __mmask16 mask(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
  static TERCEL_INLINE Reg add(Reg a, Reg b) { return _mm512_add_epi32(a, b); }
  static TERCEL_INLINE Reg load_partial(const int32_t* p, int64_t n) {
    return _mm512_maskz_loadu_epi32(mask(n), p);
  }
  static TERCEL_INLINE void store_partial(int32_t* p, Reg v, int64_t n) {
    _mm512_mask_storeu_epi32(p, mask(n), v);
  }
};

}  // namespace

void gemm_ukr_int8_14x32_avx512vnni(int64_t lines, const void* a, bool, const void* b,
                                    int64_t b_panel, const int32_t* start, int64_t start_ld,
                                    int32_t* c, int64_t ldc, int64_t m, int64_t n, const void*) {
  const int32_t* ap = static_cast<const int32_t*>(a);
  const char* bp = static_cast<const char*>(b);
  const auto at = [b_panel](int j) { return j * b_panel; };
  if (n > 16) return vnni_rows<Zmm, 14, 2>(m, lines, ap, bp, at, start, start_ld, c, ldc, n);
  vnni_rows<Zmm, 14, 1>(m, lines, ap, bp, at, start, start_ld, c, ldc, n);
}

}  // namespace tercel
