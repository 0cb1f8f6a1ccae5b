// AVX2 micro-kernels: 6 x 2 vectors = 12 accumulators, 2 registers of B, 1 broadcast of A.
#include <immintrin.h>

#include "ops/matmul/gemm_tile.h"
#include "ops/matmul/gemm_ukr.h"

namespace tercel {
namespace {

alignas(32) constexpr int32_t kMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                             0,  0,  0,  0,  0,  0,  0,  0};
alignas(32) constexpr int64_t kMask64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

struct F32x8 {
  using T = float;
  using Reg = __m256;
  using Mask = __m256i;
  static constexpr int kLanes = 8;
  static TERCEL_INLINE Mask mask(int64_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask32 + 8 - n));
  }
  static TERCEL_INLINE Reg zero() { return _mm256_setzero_ps(); }
  static TERCEL_INLINE Reg set1(float x) { return _mm256_set1_ps(x); }
  static TERCEL_INLINE Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static TERCEL_INLINE Reg load(const float* p, Mask m) { return _mm256_maskload_ps(p, m); }
  static TERCEL_INLINE void store(float* p, Reg v) { _mm256_storeu_ps(p, v); }
  static TERCEL_INLINE void store(float* p, Reg v, Mask m) { _mm256_maskstore_ps(p, m, v); }
  static TERCEL_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static TERCEL_INLINE Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
};

struct F64x4 {
  using T = double;
  using Reg = __m256d;
  using Mask = __m256i;
  static constexpr int kLanes = 4;
  static TERCEL_INLINE Mask mask(int64_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMask64 + 4 - n));
  }
  static TERCEL_INLINE Reg zero() { return _mm256_setzero_pd(); }
  static TERCEL_INLINE Reg set1(double x) { return _mm256_set1_pd(x); }
  static TERCEL_INLINE Reg load(const double* p) { return _mm256_loadu_pd(p); }
  static TERCEL_INLINE Reg load(const double* p, Mask m) { return _mm256_maskload_pd(p, m); }
  static TERCEL_INLINE void store(double* p, Reg v) { _mm256_storeu_pd(p, v); }
  static TERCEL_INLINE void store(double* p, Reg v, Mask m) { _mm256_maskstore_pd(p, m, v); }
  static TERCEL_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_pd(a, b, c); }
  static TERCEL_INLINE Reg add(Reg a, Reg b) { return _mm256_add_pd(a, b); }
};

}  // namespace

TERCEL_DEFINE_GEMM_UKR(f32_6x16_avx2, F32x8, 6, 16, 6)
TERCEL_DEFINE_GEMM_UKR(f64_6x8_avx2, F64x4, 6, 8, 6)

}  // namespace tercel
