// Registry of the micro-kernels of the float products, and the choice among them.
#include "ops/matmul/gemm_choice.h"

#include <cstring>
#include <string>

namespace tercel {
namespace {

constexpr GemmUkernel pair_row(const char* name, GemmUkrFn run, void (*begin)(), void (*end)(),
                               DType element, int products) {
  return {name, IsaLevel::avx512, 4,      32, 32, 0, run, nullptr, nullptr, 2, 32, begin,
          end,  products,         element};
}
constexpr GemmUkernel word_row(const char* name, int mr, int nr, GemmUkrFn run,
                               GemmUkrFn subnormal) {
  GemmUkernel u = pair_row(name, run, nullptr, nullptr, DType::bf16, 1);
  u.mr = mr;
  u.nr = nr;
  u.k_unit = 2;
  u.subnormal = subnormal;
  return u;
}

// What a line of the registry asks of the processor.
namespace pair_feature {
struct Need {
  const char* name;
  CpuFeature feature;  // capped like this one
  bool (*more)();      // null: nothing more
};
// Zen 4 and 5 multiply two pairs in the time of two floats; Intel's processors take twice as long,
// which is no gain over float32 (and those with AMX have better).
bool is_amd() { return cpu_identity().amd; }
constexpr Need avx512_bf16{"fast avx512_bf16", CpuFeature::avx512bf16, &is_amd};
constexpr Need amx_bf16{"amx_bf16", CpuFeature::amx_bf16, nullptr};
constexpr Need amx_fp16{"amx_fp16", CpuFeature::amx_fp16, nullptr};
}  // namespace pair_feature

// Whether vdpbf16ps adds its products one after the other, as gemm_words.h says of Zen 5: tried
// once, against the micro-kernel made of multiply-adds.
bool sums_agree(const GemmUkernel& u) {
  static const bool agree = [&] {
    constexpr int kPairs = 16;
    alignas(64) uint16_t a[kPairs][14][2], b[kPairs][32][2];
    alignas(64) float sums[2][14 * 32];
    uint32_t seed = 1;
    // Both signs, sizes from 2^-16 to 2^15.
    const auto fill = [&](uint16_t* v, size_t n) {
      for (size_t i = 0; i < n; ++i) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = static_cast<uint16_t>((seed >> 16 & 0x8fff) + 0x3780);
      }
    };
    fill(a[0][0], sizeof(a) / 2);
    fill(b[0][0], sizeof(b) / 2);
    u.packed(2 * kPairs, a, b, sums[0], 32, 14, 32, false, a);
    u.subnormal(2 * kPairs, a, b, sums[1], 32, 14, 32, false, a);
    return std::memcmp(sums[0], sums[1], sizeof(sums[0])) == 0;
  }();
  return agree;
}

struct PairLine {
  pair_feature::Need need;
  GemmUkernel ukr[2];  // for 1 and for 6 products; the second may have no `packed`
  bool found() const {
    return cpu_found(need.feature) && (!need.more || need.more()) &&
           (!ukr[0].words() || sums_agree(ukr[0]));
  }
};
#define TERCEL_GEMM_PAIR_UKR(feature, name, element)                                            \
  {pair_feature::feature,                                                                       \
   {pair_row(#name, &gemm_ukr_##name, &gemm_begin_##name, &gemm_end_##name, DType::element, 1), \
    pair_row(#name, &gemm_ukr_##name, &gemm_begin_##name, &gemm_end_##name, DType::element, 6)}},
#define TERCEL_GEMM_WORD_UKR(feature, name, mr, nr) \
  {pair_feature::feature,                           \
   {word_row(#name, mr, nr, &gemm_ukr_##name, &gemm_ukr_##name##_subnormal), {}}},
constexpr PairLine kPairLines[] = {
#include "ops/matmul/gemm_pair_ukernels.inc"
    {pair_feature::amx_bf16, {}}};
#undef TERCEL_GEMM_PAIR_UKR
#undef TERCEL_GEMM_WORD_UKR
constexpr size_t kNumPairLines = std::size(kPairLines) - 1;
const GemmUkernel* g_pairs_for_test = nullptr;  // three

}  // namespace

namespace gemm_driver {
namespace {

int kind_of(int bytes) { return bytes == 8 ? 1 : bytes == 2 ? 2 : 0; }
struct Choices {
  Choice of[kNumIsaLevels][3];
  Choices() {
    for (const GemmUkernel& u : kGemmUkernels)
      of[static_cast<int>(u.level)][kind_of(u.elem_bytes)].ukr = &u;
    for (const GemmBlocking& b : kGemmBlocking)
      of[static_cast<int>(b.level)][kind_of(b.elem_bytes)].block = b;
  }
};

}  // namespace

Choice choose(DType in_dtype) {
  static const Choices choices;
  return choices.of[static_cast<int>(isa_level())][in_dtype == DType::f64];
}

// Pairs are a matter of K and N only: a row must not depend on how many there are. float8 is exact
// in either element.
static const GemmUkernel* pair_kernel(const GemmArgs& g) {
  const auto fits = [](const GemmOperand& x) {
    return !x.pack && !x.scale.data && (!x.packed || x.pairs);
  };
  if (g.f32_products < 0 || g.K < 32 || g.N < 16 || !fits(g.a) || !fits(g.b)) return nullptr;
  const DType a = g.a.dtype, b = g.b.dtype;
  if (a == DType::f32 && b == DType::f32)
    return g.f32_products == 0 ? nullptr : gemm_pair_ukernel(DType::bf16, g.f32_products);
  for (DType element : {DType::bf16, DType::f16}) {
    if ((a == element || is_fp8(a)) && (b == element || is_fp8(b)))
      return gemm_pair_ukernel(element, 1);
  }
  return nullptr;
}
bool use_pairs(const GemmArgs& g) { return pair_kernel(g); }
bool has_float32_bits(const GemmArgs& g) {
  const GemmUkernel* u = pair_kernel(g);
  return !u || (u->words() && g.a.dtype != DType::f32);
}
Choice choose(const GemmArgs& g) {
  Choice c;
  c.ukr = pair_kernel(g);
  if (!c.ukr) return choose(g.a.dtype);
  for (const GemmBlocking& b : kGemmBlocking) {
    if (b.elem_bytes == 2) c.block = b;
  }
  return c;
}

[[gnu::cold, gnu::noinline]] void trace_choice(const GemmArgs& g, const char* path) {
  const GemmUkernel* chosen = choose(g).ukr;
  std::string line = str("gemm ", g.M, "x", g.N, "x", g.K, " ", dtype_name(g.a.dtype), " x ",
                         dtype_name(g.b.dtype), " -> ", dtype_name(g.out_dtype), ": ", path,
                         ", micro-kernel ", chosen->name, " (refused:");
  for (size_t i = 0; i < kNumPairLines; ++i) {
    const PairLine& l = kPairLines[i];
    if (chosen->pairs() && chosen->packed == l.ukr[0].packed) continue;
    const bool f16 = l.ukr[0].element == DType::f16;
    line += str(" ", l.ukr[0].name, ": ");
    if (!l.found()) {
      line += str("processor lacks ", l.need.name, ";");
    } else if (!cpu_has(l.need.feature)) {
      line += str("above the cap ", isa_name(), ";");
    } else {
      line +=
          str("operands are not plain ", f16 ? "float16 (one may be float8)" : "bfloat16, float8",
              f16 ? "" : " (or float32 below the highest precision)",
              " without block scales, with K >= 32, N >= 16;");
    }
  }
  for (const GemmUkernel& u : kGemmUkernels) {
    if (&u == chosen) continue;
    line += str(" ", u.name, ": ");
    if (u.elem_bytes != chosen->elem_bytes) {
      line += str("accumulates in ", u.elem_bytes == 8 ? "float64" : "float32", ";");
    } else if (!level_supported(u.level)) {
      line += str("processor lacks ", level_name(u.level), ";");
    } else if (u.level > isa_level()) {
      line += str("above the cap ", isa_name(), ";");
    } else {
      line += str("slower than ", chosen->name, ";");
    }
  }
  line.back() = ')';
  trace(line);
}

}  // namespace gemm_driver

const GemmUkernel* gemm_pair_ukernel(DType element, int products) {
  const int variant = products == 6;
  if (g_pairs_for_test) return g_pairs_for_test + (element == DType::f16 ? 2 : variant);
  for (size_t i = 0; i < kNumPairLines; ++i) {
    const PairLine& l = kPairLines[i];
    if (l.ukr[0].element == element && l.ukr[variant].packed && cpu_has(l.need.feature) &&
        l.found())
      return &l.ukr[variant];
  }
  return nullptr;
}
void gemm_set_pair_ukernels_for_test(const GemmUkernel* three) { g_pairs_for_test = three; }

GemmTile gemm_tile(DType acc) {
  const GemmUkernel& u = *gemm_driver::choose(acc).ukr;
  return {u.mr, u.nr};
}

}  // namespace tercel
