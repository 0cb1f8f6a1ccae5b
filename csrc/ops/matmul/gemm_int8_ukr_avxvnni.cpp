// AVX-VNNI int8 micro-kernel: 6 rows x 2 registers of 8 columns.
//
// TERCEL_INT8_EVEX compiles the same source with the EVEX form of the instruction, which processors
// with AVX512-VNNI run: that is how it is tested where AVX-VNNI is missing.
#include <immintrin.h>

#include "ops/matmul/gemm_int8_vnni.h"

namespace tercel {
namespace {

alignas(32) constexpr int32_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

struct Ymm {
  using Reg = __m256i;
  static constexpr int kColumns = 8;
  static TERCEL_INLINE Reg zero() { return _mm256_setzero_si256(); }
  static TERCEL_INLINE Reg set1(int32_t x) { return _mm256_set1_epi32(x); }
  static TERCEL_INLINE Reg load(const char* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  // Not the intrinsic, for the reason given in gemm_int8_ukr_avx512vnni.cpp.
  static TERCEL_INLINE Reg dot(Reg acc, Reg u, Reg s) {
#if defined(TERCEL_INT8_EVEX)
    __asm__("%{evex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(u), "x"(s));
#else
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(u), "x"(s));
#endif
    return acc;
  }
  static TERCEL_INLINE Reg mask(int64_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask + 8 - n));
  }
  static TERCEL_INLINE Reg add(Reg a, Reg b) { return _mm256_add_epi32(a, b); }
  static TERCEL_INLINE Reg load_partial(const int32_t* p, int64_t n) {
    return _mm256_maskload_epi32(p, mask(n));
  }
  static TERCEL_INLINE void store_partial(int32_t* p, Reg v, int64_t n) {
    _mm256_maskstore_epi32(p, mask(n), v);
  }
};

}  // namespace

#if defined(TERCEL_INT8_EVEX)
#define TERCEL_INT8_YMM_NAME gemm_ukr_int8_6x16_evex
#else
#define TERCEL_INT8_YMM_NAME gemm_ukr_int8_6x16_avxvnni
#endif
void TERCEL_INT8_YMM_NAME(int64_t lines, const void* a, bool, const void* b, int64_t,
                          const int32_t* start, int64_t start_ld, int32_t* c, int64_t ldc,
                          int64_t m, int64_t n, const void*) {
  const auto at = [](int j) { return j * 32; };
  vnni_rows<Ymm, 6, 2>(m, lines, static_cast<const int32_t*>(a), static_cast<const char*>(b), at,
                       start, start_ld, c, ldc, n);
}

}  // namespace tercel
