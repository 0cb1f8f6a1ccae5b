// vdpbf16ps micro-kernel: the tile of float32 with a word, two k, in place of an element
// (gemm_words.h).
//
// Per two k 28 products (14 cycles on Zen 4 and 5, as 28 multiply-adds of float32) against 16
// loads.
#include "ops/matmul/gemm_lanes_avx512.h"

namespace tercel {
namespace {

struct Bf16Words : FloatLanes512 {
  static TERCEL_INLINE Reg fma(Reg a, Reg b, Reg c) {
    return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
  }
};

}  // namespace

TERCEL_DEFINE_WORD_UKR(bf16_14x32_avx512bf16, Bf16Words, 14, 32)

}  // namespace tercel
