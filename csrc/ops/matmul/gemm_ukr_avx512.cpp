// AVX-512 micro-kernels: 14 x 2 vectors = 28 accumulators, 2 registers of B, 1 broadcast of A.
//
// Per k step 28 fma (14 cycles) against 16 loads (8 cycles). 14x32 beats 8x48 and 30x16 because
// both panels of a 512-deep block stay small: 28 KB of A, 64 KB of B.
#include "ops/matmul/gemm_lanes_avx512.h"

namespace tercel {
namespace {

struct F32x16 : FloatLanes512 {
  static TERCEL_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
};

struct F64x8 {
  using T = double;
  using Reg = __m512d;
  using Mask = __mmask8;
  static constexpr int kLanes = 8;
  static TERCEL_INLINE Mask mask(int64_t n) { return static_cast<Mask>((1u << n) - 1u); }
  static TERCEL_INLINE Reg zero() { return _mm512_setzero_pd(); }
  static TERCEL_INLINE Reg set1(double x) { return _mm512_set1_pd(x); }
  static TERCEL_INLINE Reg load(const double* p) { return _mm512_loadu_pd(p); }
  static TERCEL_INLINE Reg load(const double* p, Mask m) { return _mm512_maskz_loadu_pd(m, p); }
  static TERCEL_INLINE void store(double* p, Reg v) { _mm512_storeu_pd(p, v); }
  static TERCEL_INLINE void store(double* p, Reg v, Mask m) { _mm512_mask_storeu_pd(p, m, v); }
  static TERCEL_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_pd(a, b, c); }
  static TERCEL_INLINE Reg add(Reg a, Reg b) { return _mm512_add_pd(a, b); }
};

}  // namespace

TERCEL_DEFINE_GEMM_UKR(f32_14x32_avx512, F32x16, 14, 32, 8)
TERCEL_DEFINE_GEMM_UKR(f64_14x16_avx512, F64x8, 14, 16, 8)

}  // namespace tercel
