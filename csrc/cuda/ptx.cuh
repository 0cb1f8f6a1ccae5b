// One function per PTX instruction that C++ has no word for: an asm line for nvcc, an emulator line
// for the host. Nothing else of the project contains inline asm, except the conversions of
// compat.cuh.
//
// Shared-memory operands are 32-bit addresses from shared_u32(). Fragments are the PTX manual's.
#pragma once

#include "cuda/compat.cuh"

#if TERCEL_EMULATED
#define TERCEL_ASM(...)
#define TERCEL_EMU(...) __VA_ARGS__
#define TERCEL_LINE , int line = __builtin_LINE()
#define TERCEL_LINE_ONLY int line = __builtin_LINE()
#define TERCEL_SM90A 1
#else
#define TERCEL_ASM(...) asm volatile(__VA_ARGS__)
#define TERCEL_EMU(...)
#define TERCEL_LINE
#define TERCEL_LINE_ONLY
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TERCEL_SM90A 1  // this pass may use wgmma and TMA
#else
#define TERCEL_SM90A 0
#endif
#endif

namespace tercel::cuda {

TERCEL_DEVICE uint32_t shared_u32(const void* p) {
#if TERCEL_EMULATED
  return emu::shared_address(p);
#else
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
#endif
}

// ---- asynchronous copies of 16 bytes; what is not read of the source becomes zeros ------------------

TERCEL_DEVICE void cp_async16(uint32_t dst, const void* src, int source_bytes) {
  TERCEL_ASM("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(src),
             "r"(source_bytes)
             : "memory");
  TERCEL_EMU(emu::cp_async(dst, src, 16, source_bytes);)
}
TERCEL_DEVICE void cp_async_commit() {
  TERCEL_ASM("cp.async.commit_group;" ::: "memory");
  TERCEL_EMU(emu::cp_async_commit();)
}
template <int kPending>
TERCEL_DEVICE void cp_async_wait() {
  TERCEL_ASM("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
  TERCEL_EMU(emu::cp_async_wait(kPending);)
}

// ---- 8x8 matrices of 16-bit elements --------------------------------------------------------------------

TERCEL_DEVICE void ldmatrix_x4(uint32_t (&r)[4], uint32_t address TERCEL_LINE) {
  TERCEL_ASM("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
             : "r"(address)
             : "memory");
  TERCEL_EMU(emu::ldmatrix(r, 4, false, address, line);)
}
TERCEL_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address TERCEL_LINE) {
  TERCEL_ASM("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
             : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
             : "r"(address)
             : "memory");
  TERCEL_EMU(emu::ldmatrix(r, 4, true, address, line);)
}

// ---- d += a b for one warp ------------------------------------------------------------------------------

TERCEL_DEVICE void mma_bf16(float (&d)[4], const uint32_t (&a)[4],
                            const uint32_t (&b)[2] TERCEL_LINE) {  // m16n8k16
  TERCEL_ASM(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  TERCEL_EMU(emu::mma(emu::MmaKind::bf16, d, a, b, line);)
}
TERCEL_DEVICE void mma_f16(float (&d)[4], const uint32_t (&a)[4],
                           const uint32_t (&b)[2] TERCEL_LINE) {  // m16n8k16
  TERCEL_ASM(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  TERCEL_EMU(emu::mma(emu::MmaKind::f16, d, a, b, line);)
}
TERCEL_DEVICE void mma_tf32(float (&d)[4], const uint32_t (&a)[4],
                            const uint32_t (&b)[2] TERCEL_LINE) {  // m16n8k8
  TERCEL_ASM(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  TERCEL_EMU(emu::mma(emu::MmaKind::tf32, d, a, b, line);)
}
TERCEL_DEVICE void mma_s8(int (&d)[4], const uint32_t (&a)[4],
                          const uint32_t (&b)[2] TERCEL_LINE) {  // m16n8k32
  TERCEL_ASM(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  TERCEL_EMU(emu::mma(emu::MmaKind::s8, d, a, b, line);)
}

// float32 bits rounded to tf32 (nearest, ties away), which mma_tf32 would otherwise truncate.
TERCEL_DEVICE uint32_t round_tf32(uint32_t u) {
#if TERCEL_EMULATED
  return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
#else
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(__uint_as_float(u)));
  return r;
#endif
}

// Two floats rounded to the halves of a word, `low` in the lower one.
TERCEL_DEVICE uint32_t pack_bf16(float low, float high) {
#if TERCEL_EMULATED
  return bf16(low).bits | static_cast<uint32_t>(bf16(high).bits) << 16;
#else
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#endif
}
TERCEL_DEVICE uint32_t pack_f16(float low, float high) {
#if TERCEL_EMULATED
  return f16(low).bits | static_cast<uint32_t>(f16(high).bits) << 16;
#else
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#endif
}

}  // namespace tercel::cuda
