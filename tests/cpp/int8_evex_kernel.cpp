// The AVX-VNNI micro-kernel with the EVEX form of its instruction, for test_gemm_int8.cpp.
#pragma GCC target("avx2")
#define TERCEL_INT8_EVEX 1
#include "../../csrc/ops/matmul/gemm_int8_ukr_avxvnni.cpp"
