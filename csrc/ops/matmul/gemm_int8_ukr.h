// Micro-kernels of the integer product; one line each in gemm_int8_ukernels.inc.
#pragma once

#include <cstdint>

#include "core/cpu_isa.h"

#if !defined(TERCEL_HAVE_AVX2)
#define TERCEL_HAVE_AVX2 0
#endif
#if !defined(TERCEL_HAVE_AVX512)
#define TERCEL_HAVE_AVX512 0
#endif

namespace tercel {

// c[m][n] = start[m * start_ld + n] + sum over `lines` lines (four k each) of a times b; start
// null: 0. It is c itself to go on with earlier sums. 1 <= m <= mr, 1 <= n <= 16 panels. `a`: a
// panel made by pack_a, k groups one behind the other; `b`: first panel, the next one b_panel bytes
// on; b_panel 0: one panel made by widen_b (kernels with `widen` only). `a_signed` tells kernels
// that take both. Writes only c[0..m)[0..n). `lines` is a multiple of 16 except in the last call of
// a row. next: 32 bytes per line that the kernel may bring into L2 meanwhile (any address).
using Int8UkrFn = void (*)(int64_t lines, const void* a, bool a_signed, const void* b,
                           int64_t b_panel, const int32_t* start, int64_t start_ld, int32_t* c,
                           int64_t ldc, int64_t m, int64_t n, const void* next);

struct Int8Ukernel {
  const char* name;
  int feature;  // CpuFeature, or -1: always there
  int mr, panels, group;
  bool widen, needs_unsigned;
  int64_t lines, wide_lines;  // of a k block
  void (*begin)();            // a thread calls them around its calls; null: nothing to do
  void (*end)();
  Int8UkrFn run;
};

#define TERCEL_INT8_UKR(feature, name, mr, panels, group, widen, needs_unsigned, lines, wide,     \
                        begin, end)                                                               \
  extern "C++" void gemm_ukr_##name(int64_t, const void*, bool, const void*, int64_t,             \
                                    const int32_t*, int64_t, int32_t*, int64_t, int64_t, int64_t, \
                                    const void*);
#include "ops/matmul/gemm_int8_ukernels.inc"
#undef TERCEL_INT8_UKR

void gemm_int8_amx_begin();
void gemm_int8_amx_end();

namespace int8_feature {  // so that a registry line can name `generic`
inline constexpr int generic = -1;
inline constexpr int avx2 = static_cast<int>(CpuFeature::avx2);
inline constexpr int avxvnni = static_cast<int>(CpuFeature::avxvnni);
inline constexpr int avx512vnni = static_cast<int>(CpuFeature::avx512vnni);
inline constexpr int amx_int8 = static_cast<int>(CpuFeature::amx_int8);
}  // namespace int8_feature

}  // namespace tercel
