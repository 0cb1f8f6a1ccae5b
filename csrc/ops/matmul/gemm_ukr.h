// Micro-kernel contract and registry. gemm_ukernels.inc has one line per micro-kernel; from it come
// the declarations here, the selection in gemm.cpp, the exhaustive test and the benchmark row.
#pragma once

#include <cstdint>

#include "core/cpu_isa.h"
#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// c[m][n] (+)= sum over p < kc of a[p][m] * b[p][n], one fma chain per element in increasing p
// starting at +0. Without `accumulate` the sum is stored, with it the sum is added to c once.
//   a: packed panel [kc][mr]; b: packed panel [kc][nr], 64-byte aligned; c: row stride ldc, unit
//   columns; 1 <= m <= mr, 1 <= n <= nr, kc >= 0. Writes nothing outside m x n; reads whole panels.
//   next: 16 kc bytes that are brought into L2 meanwhile, a line every 4 steps (any address)
using GemmUkrFn = void (*)(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                           int64_t m, int64_t n, bool accumulate, const void* next);

// The same on operands in place: element (i, p) of A at a[i * a_rs + p * a_ks], B with unit column
// stride and rows b_ks apart. 1 <= m <= direct_mr, any n. Reads nothing outside the operands.
using GemmDirectFn = void (*)(int64_t kc, const void* a, int64_t a_rs, int64_t a_ks, const void* b,
                              int64_t b_ks, void* c, int64_t ldc, int64_t m, int64_t n,
                              bool accumulate);

// A in place with unit k stride, rows a_rs apart; 1 <= m <= mr, 1 <= n <= nr. b_ks == 0: b is a
// panel as above. Otherwise B lies in place with unit column stride, rows b_ks apart, and its
// columns are copied into `panel` ([kc][nr], 64-byte aligned) for the row tiles that follow with
// the same n.
using GemmRowsFn = void (*)(int64_t kc, const void* a, int64_t a_rs, const void* b, int64_t b_ks,
                            void* panel, void* c, int64_t ldc, int64_t m, int64_t n,
                            bool accumulate, const void* next);

struct GemmUkernel {
  const char* name;
  IsaLevel level;
  int elem_bytes;  // of the sums. 4: float32, 8: float64
  int mr, nr, direct_mr;
  GemmUkrFn packed;
  GemmDirectFn direct;  // null: none
  GemmRowsFn rows;      // null: none
  // Kernels on pairs (gemm_pairs.h): panels hold 2-byte elements, kc is a multiple of k_unit, and a
  // thread calls begin and end around its calls.
  int packed_bytes = elem_bytes;
  int k_unit = 1;
  void (*begin)() = nullptr;
  void (*end)() = nullptr;
  int products = 1;             // panels hold every k_unit so many times, as parts of float32
  DType element = DType::bf16;  // of pairs; f16 otherwise
  // Words (gemm_words.h): the bits of float32 panels. `packed` takes subnormal sums for zero, this
  // does not.
  GemmUkrFn subnormal = nullptr;
  bool pairs() const { return packed_bytes == 2; }
  bool words() const { return subnormal; }
};

// The kernel in use for pairs of bfloat16 (1 or 6 products) or of float16 (1), or null. The tests
// put models in their place, in this order.
const GemmUkernel* gemm_pair_ukernel(DType element, int products);
void gemm_set_pair_ukernels_for_test(const GemmUkernel* three);

#define TERCEL_GEMM_UKR(level, bytes, name, mr, nr, direct_mr)                                   \
  extern "C++" void gemm_ukr_##name(int64_t, const void*, const void*, void*, int64_t, int64_t,  \
                                    int64_t, bool, const void*);                                 \
  extern "C++" void gemm_direct_##name(int64_t, const void*, int64_t, int64_t, const void*,      \
                                       int64_t, void*, int64_t, int64_t, int64_t, bool);         \
  extern "C++" void gemm_rows_##name(int64_t, const void*, int64_t, const void*, int64_t, void*, \
                                     void*, int64_t, int64_t, int64_t, bool, const void*);
#include "ops/matmul/gemm_ukernels.inc"
#undef TERCEL_GEMM_UKR

#define TERCEL_GEMM_PAIR_UKR(feature, name, element)                                            \
  extern "C++" void gemm_ukr_##name(int64_t, const void*, const void*, void*, int64_t, int64_t, \
                                    int64_t, bool, const void*);                                \
  extern "C++" void gemm_begin_##name();                                                        \
  extern "C++" void gemm_end_##name();
#define TERCEL_GEMM_WORD_UKR(feature, name, mr, nr)                                                \
  extern "C++" void gemm_ukr_##name(int64_t, const void*, const void*, void*, int64_t, int64_t,    \
                                    int64_t, bool, const void*);                                   \
  extern "C++" void gemm_ukr_##name##_subnormal(int64_t, const void*, const void*, void*, int64_t, \
                                                int64_t, int64_t, bool, const void*);
#include "ops/matmul/gemm_pair_ukernels.inc"
#undef TERCEL_GEMM_PAIR_UKR
#undef TERCEL_GEMM_WORD_UKR

}  // namespace tercel
