// Registry of the micro-kernels of the float products, and the choice among them.
#include "ops/matmul/gemm_choice.h"

#include <string>

namespace tercel {
namespace {

// Each twice: for 1 and for 6 products.
#define TERCEL_BF16_ROW(name, products) \
  {#name,                               \
   IsaLevel::avx512,                    \
   4,                                   \
   32,                                  \
   32,                                  \
   0,                                   \
   &gemm_ukr_##name,                    \
   nullptr,                             \
   nullptr,                             \
   2,                                   \
   32,                                  \
   &gemm_begin_##name,                  \
   &gemm_end_##name,                    \
   products}
#define TERCEL_GEMM_BF16_UKR(feature, name) TERCEL_BF16_ROW(name, 1), TERCEL_BF16_ROW(name, 6),
constexpr GemmUkernel kBf16Ukernels[] = {
#include "ops/matmul/gemm_bf16_ukernels.inc"
    {"none", IsaLevel::generic, 4, 0, 0, 0, nullptr, nullptr, nullptr}};
#undef TERCEL_GEMM_BF16_UKR
#undef TERCEL_BF16_ROW
#define TERCEL_GEMM_BF16_UKR(feature, name) CpuFeature::feature,
constexpr CpuFeature kBf16Features[] = {
#include "ops/matmul/gemm_bf16_ukernels.inc"
    CpuFeature::amx_bf16};
#undef TERCEL_GEMM_BF16_UKR
const GemmUkernel* g_bf16_for_test = nullptr;  // two

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

// Pairs are a matter of K and N only: a row must not depend on how many there are.
static const GemmUkernel* pair_kernel(const GemmArgs& g) {
  const auto fits = [&](const GemmOperand& x) {
    return x.dtype == g.a.dtype && plain(x) && !x.scale.data;
  };
  const int products = g.f32_products < 0         ? 0
                       : g.a.dtype == DType::bf16 ? 1
                       : g.a.dtype == DType::f32  ? g.f32_products
                                                  : 0;
  if (products == 0 || !fits(g.a) || !fits(g.b) || g.K < 32 || g.N < 16) return nullptr;
  return gemm_bf16_ukernel(products);
}
bool use_pairs(const GemmArgs& g) { return pair_kernel(g); }
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
  for (size_t i = 0; i + 1 < std::size(kBf16Features); ++i) {
    if (chosen->pairs() && chosen->packed == kBf16Ukernels[2 * i].packed) continue;
    const CpuFeature f = kBf16Features[i];
    line +=
        str(" ", kBf16Ukernels[2 * i].name, ": ",
            !cpu_found(f) ? str("processor lacks ", feature_name(f))
            : !cpu_has(f)
                ? str("above the cap ", isa_name())
                : std::string(
                      "operands are not plain bfloat16 (or float32 below the highest precision) "
                      "with K >= 32, N >= 16"),
            ";");
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

const GemmUkernel* gemm_bf16_ukernel(int products) {
  const int variant = products == 6;
  if (g_bf16_for_test) return g_bf16_for_test + variant;
  for (size_t i = 0; i + 1 < std::size(kBf16Features); ++i) {
    if (cpu_has(kBf16Features[i])) return &kBf16Ukernels[2 * i + variant];
  }
  return nullptr;
}
void gemm_set_bf16_ukernels_for_test(const GemmUkernel* two) { g_bf16_for_test = two; }

GemmTile gemm_tile(DType acc) {
  const GemmUkernel& u = *gemm_driver::choose(acc).ukr;
  return {u.mr, u.nr};
}

}  // namespace tercel
