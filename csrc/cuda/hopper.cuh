// Hopper (sm_90a): mbarriers, the tensor memory accelerator (TMA), warpgroup matrix products (wgmma).
// One function per PTX instruction, as in ptx.cuh. Code that uses them stands in #if TERCEL_SM90A.
#pragma once

#include "cuda/ptx.cuh"

namespace tercel::cuda {

// A 2-d tensor in global memory as TMA sees it; by value as a __grid_constant__ kernel parameter.
#if TERCEL_EMULATED
using TensorMap = emu::TensorMap;
#else
using TensorMap = CUtensorMap;
#endif

// A map of rows x columns 16-bit elements, `pitch` elements apart, moved in boxes of box_rows x 64
// with the 128-byte swizzle. False: TMA cannot address this tensor.
inline bool make_tensor_map(TensorMap* map, const void* data, int64_t rows, int64_t columns,
                            int64_t pitch, int box_rows, bool is_bf16) {
  if (reinterpret_cast<uintptr_t>(data) % 16 || pitch * 2 % 16 || rows >= int64_t{1} << 31 ||
      columns >= int64_t{1} << 31) {
    return false;
  }
#if TERCEL_EMULATED
  (void)is_bf16;
  *map = {const_cast<void*>(data), {static_cast<uint64_t>(columns), static_cast<uint64_t>(rows)},
          static_cast<uint64_t>(pitch) * 2, {64, static_cast<uint32_t>(box_rows)}, 2, 128,
          emu::kTensorMapMagic};
  return true;
#else
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {
    void* f = nullptr;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t e = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000,
                                                           cudaEnableDefault, &found);
    return e == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(f)
                                                                    : nullptr;
  }();
  const cuuint64_t size[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t stride[1] = {static_cast<cuuint64_t>(pitch) * 2};
  const cuuint32_t box[2] = {64, static_cast<cuuint32_t>(box_rows)}, step[2] = {1, 1};
  return encode && encode(map,
                          is_bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                          2, const_cast<void*>(data), size, stride, box, step,
                          CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                          CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                          CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
#endif
}

#if TERCEL_SM90A

// ---- mbarriers --------------------------------------------------------------------------------------

TERCEL_DEVICE void mbarrier_init(uint32_t bar, int count) {
  TERCEL_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
  TERCEL_EMU(emu::mbarrier_init(bar, static_cast<unsigned>(count));)
}
// After the initialisations, before the block's barrier: TMA must see them.
TERCEL_DEVICE void mbarrier_fence_init() {
  TERCEL_ASM("fence.mbarrier_init.release.cluster;" ::: "memory");
  TERCEL_ASM("fence.proxy.async.shared::cta;" ::: "memory");
}
TERCEL_DEVICE void mbarrier_arrive(uint32_t bar) {
  TERCEL_ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
  TERCEL_EMU(emu::mbarrier_arrive(bar, 0);)
}
TERCEL_DEVICE void mbarrier_arrive_expect(uint32_t bar, int bytes) {
  TERCEL_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes)
             : "memory");
  TERCEL_EMU(emu::mbarrier_arrive(bar, static_cast<unsigned>(bytes));)
}
// Until the phase with this parity is over.
TERCEL_DEVICE void mbarrier_wait(uint32_t bar, int parity TERCEL_LINE) {
  TERCEL_ASM(
      "{.reg .pred p;\n"
      "W%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@p bra D%=;\n"
      "bra W%=;\n"
      "D%=:}" ::"r"(bar),
      "r"(parity)
      : "memory");
  TERCEL_EMU(emu::mbarrier_wait(bar, static_cast<unsigned>(parity), line);)
}

// A barrier of `threads` threads of the block; id 1 to 15.
TERCEL_DEVICE void named_barrier(int id, int threads TERCEL_LINE) {
  TERCEL_ASM("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
  TERCEL_EMU(emu::barrier(id, static_cast<unsigned>(threads), line);)
}

// ---- TMA: boxes between global and shared memory; what lies outside reads as zero, is not written ---

TERCEL_DEVICE void tma_load(uint32_t dst, const TensorMap* map, int x, int y, uint32_t bar) {
  TERCEL_ASM(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4}], [%2];" ::"r"(dst),
      "l"(map), "r"(bar), "r"(x), "r"(y)
      : "memory");
  TERCEL_EMU(emu::tma_load(dst, map, x, y, bar);)
}
TERCEL_DEVICE void tma_store(const TensorMap* map, uint32_t src, int x, int y) {
  TERCEL_ASM("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
                 map),
             "r"(src), "r"(x), "r"(y)
             : "memory");
  TERCEL_EMU(emu::tma_store(map, src, x, y);)
}
TERCEL_DEVICE void tma_store_commit() {
  TERCEL_ASM("cp.async.bulk.commit_group;" ::: "memory");
  TERCEL_EMU(emu::tma_store_commit();)
}
// Until at most kPending groups of this thread still read shared memory.
template <int kPending>
TERCEL_DEVICE void tma_store_wait_read() {
  TERCEL_ASM("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
  TERCEL_EMU(emu::tma_store_wait(kPending, true);)
}
// Shared memory this thread has written becomes visible to TMA and wgmma.
TERCEL_DEVICE void proxy_fence() {
  TERCEL_ASM("fence.proxy.async.shared::cta;" ::: "memory");
  TERCEL_EMU(emu::proxy_fence();)
}
TERCEL_DEVICE void stmatrix_x4(uint32_t address, const uint32_t (&r)[4] TERCEL_LINE) {
  TERCEL_ASM("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address),
             "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
             : "memory");
  TERCEL_EMU(emu::stmatrix(r, 4, false, address, line);)
}

// ---- wgmma ------------------------------------------------------------------------------------------

template <int kCount>
TERCEL_DEVICE void registers_up_to() {
  TERCEL_ASM("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
TERCEL_DEVICE void registers_down_to() {
  TERCEL_ASM("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
TERCEL_DEVICE void wgmma_fence(TERCEL_LINE_ONLY) {
  TERCEL_ASM("wgmma.fence.sync.aligned;" ::: "memory");
  TERCEL_EMU(emu::wgmma_fence(line);)
}
TERCEL_DEVICE void wgmma_commit(TERCEL_LINE_ONLY) {
  TERCEL_ASM("wgmma.commit_group.sync.aligned;" ::: "memory");
  TERCEL_EMU(emu::wgmma_commit(line);)
}
template <int kPending>
TERCEL_DEVICE void wgmma_wait(TERCEL_LINE_ONLY) {
  TERCEL_ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
  TERCEL_EMU(emu::wgmma_wait(kPending, line);)
}
// K-major operand in rows of 128 bytes with the 128-byte swizzle, groups of 8 rows 1024 bytes apart.
TERCEL_DEVICE uint64_t wgmma_descriptor(uint32_t address) {
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) | uint64_t{1} << 16 |
         static_cast<uint64_t>(1024 >> 4) << 32 | uint64_t{1} << 62;
}

#define TERCEL_WGMMA_N256(type)                                                                  \
  asm volatile("{.reg .pred p; setp.ne.b32 p, %130, 0; "                                         \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type " {"                          \
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,"                        \
      "%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,"                      \
      "%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,"                      \
      "%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,%69,"                      \
      "%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,"                      \
      "%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,"                       \
      "%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,"                    \
      "%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"                                    \
      "}, %128, %129, p, 1, 1, 0, 0;}"                                                            \
      :                                                                                           \
      "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),         \
      "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),     \
      "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]),  \
      "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),  \
      "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]),  \
      "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]),  \
      "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]),  \
      "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),  \
      "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]),  \
      "+f"(d[63]), "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]),  \
      "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]),  \
      "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]),  \
      "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]),  \
      "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), "+f"(d[96]), "+f"(d[97]),  \
      "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),           \
      "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]),         \
      "+f"(d[110]), "+f"(d[111]), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]),         \
      "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]),         \
      "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])          \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)))

// d[64][256] (+)= a[64][16] b[256][16]^T; a, b: descriptors.
TERCEL_DEVICE void wgmma_bf16_n256(float (&d)[128], uint64_t a, uint64_t b,
                                   bool accumulate TERCEL_LINE) {
#if TERCEL_EMULATED
  emu::wgmma(emu::MmaKind::bf16, d, 256, a, b, accumulate, line);
#else
  TERCEL_WGMMA_N256("bf16");
#endif
}
TERCEL_DEVICE void wgmma_f16_n256(float (&d)[128], uint64_t a, uint64_t b,
                                  bool accumulate TERCEL_LINE) {
#if TERCEL_EMULATED
  emu::wgmma(emu::MmaKind::f16, d, 256, a, b, accumulate, line);
#else
  TERCEL_WGMMA_N256("f16");
#endif
}
#undef TERCEL_WGMMA_N256

#endif  // TERCEL_SM90A

}  // namespace tercel::cuda
