// What vdpbf16ps computes, subnormals included, in twice the multiply-adds and some shifts: for the
// rare blocks with factors near the ends of their range.
#include "ops/matmul/gemm_lanes_avx512.h"

namespace tercel {
namespace {

struct SubnormalWords : FloatLanes512 {
  static TERCEL_INLINE Reg upper(Reg x) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
  static TERCEL_INLINE Reg lower(Reg x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 16));
  }
  static TERCEL_INLINE Reg fma(Reg a, Reg b, Reg c) {
    return _mm512_fmadd_ps(lower(a), lower(b), _mm512_fmadd_ps(upper(a), upper(b), c));
  }
};

}  // namespace

TERCEL_DEFINE_WORD_UKR(bf16_14x32_avx512bf16_subnormal, SubnormalWords, 14, 32)

}  // namespace tercel
