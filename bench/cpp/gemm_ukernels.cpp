// Each micro-kernel of gemm_ukernels.inc, gemm_pair_ukernels.inc and gemm_int8_ukernels.inc on
// packed panels that stay in the caches, one thread. Integer products are counted against the
// float32 peak too: four times as many fit an instruction of the same width and rate.
#include "core/parallel.h"
#include "ops/matmul/gemm_int8_ukr.h"
#include "ops/matmul/gemm_ukr.h"
#include "peaks.h"

namespace tercel::bench {
namespace {

constexpr int64_t kDepth = 256;

struct OneThread {
  int before = num_threads();
  OneThread() { set_num_threads(1); }
  ~OneThread() { set_num_threads(before); }
};

void count(benchmark::State& state, int64_t products, const char* peak_name) {
  const double peak = roofline(peak_name, 1 << 20, 0.05);
  const double gflop = 2e-9 * static_cast<double>(products * state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(gflop, benchmark::Counter::kIsRate);
  state.counters["%peak"] = benchmark::Counter(100 * gflop / peak, benchmark::Counter::kIsRate);
}

template <class T>
void run_packed(benchmark::State& state, GemmUkrFn kernel, int mr, int nr, IsaLevel level) {
  if (!level_supported(level)) {
    state.SkipWithError("this processor lacks the level");
    return;
  }
  const OneThread one;
  const DType dtype = dtype_of<T>;
  const Tensor a = empty({kDepth, mr}, dtype), b = empty({kDepth, nr}, dtype),
               c = empty({mr, nr}, dtype);
  for (const Tensor& t : {a, b, c}) {
    for (int64_t i = 0; i < t.numel(); ++i) t.data_as<T>()[i] = static_cast<T>(i % 7);
  }
  for (auto _ : state) {
    kernel(kDepth, a.data(), b.data(), c.data(), nr, mr, nr, false, a.data());
    benchmark::ClobberMemory();
  }
  count(state, kDepth * mr * nr, sizeof(T) == 8 ? "fma_f64" : "fma_f32");
}

// Pairs of two-byte floats; counted against the float32 peak.
void run_pairs(benchmark::State& state, DType element, GemmUkrFn kernel) {
  const GemmUkernel* u = gemm_pair_ukernel(element, 1);
  if (!u || (u->packed != kernel && u->subnormal != kernel)) {
    state.SkipWithError("this processor lacks the instructions");
    return;
  }
  const OneThread one;
  const Tensor a = empty({kDepth, 32}, element), b = empty({kDepth, 32}, element),
               c = empty({32, 32}, DType::f32);
  for (const Tensor& t : {a, b}) {  // 1, or 2^-7 and a bit
    for (int64_t i = 0; i < t.numel(); ++i) static_cast<uint16_t*>(t.data())[i] = 0x3c00;
  }
  if (u->begin) u->begin();
  for (auto _ : state) {
    kernel(kDepth, a.data(), b.data(), c.data(), u->nr, u->mr, u->nr, false, a.data());
    benchmark::ClobberMemory();
  }
  if (u->end) u->end();
  count(state, kDepth * u->mr * u->nr, "fma_f32");
}

// kDepth lines of four k.
void run_int8(benchmark::State& state, const Int8Ukernel& u) {
  if (u.feature >= 0 && !cpu_has(static_cast<CpuFeature>(u.feature))) {
    state.SkipWithError("this processor lacks the instructions");
    return;
  }
  const OneThread one;
  const int64_t nr = u.panels * 16, widened = u.widen ? 2 : 1;
  const Tensor a = empty({kDepth * u.mr * 4 * widened}, DType::i8),
               b = empty({kDepth * nr * 4 * widened}, DType::i8), c = empty({u.mr, nr}, DType::i32);
  for (const Tensor& t : {a, b}) {
    for (int64_t i = 0; i < t.numel(); ++i) t.data_as<int8_t>()[i] = static_cast<int8_t>(i % 5);
  }
  if (u.begin) u.begin();
  for (auto _ : state) {
    u.run(kDepth, a.data(), !u.needs_unsigned, b.data(), u.widen ? 0 : kDepth * 64, nullptr, 0,
          c.data_as<int32_t>(), nr, u.mr, nr, a.data());
    benchmark::ClobberMemory();
  }
  if (u.end) u.end();
  count(state, kDepth * 4 * u.mr * nr, "fma_f32");
}

#define TERCEL_GEMM_UKR(level, bytes, name, mr, nr, direct_mr)                                 \
  const auto* const registered_##name =                                                        \
      benchmark::RegisterBenchmark("gemm_ukr/" #name, [](benchmark::State& s) {                \
        run_packed<std::conditional_t<bytes == 8, double, float>>(s, &gemm_ukr_##name, mr, nr, \
                                                                  IsaLevel::level);            \
      });
#include "ops/matmul/gemm_ukernels.inc"
#undef TERCEL_GEMM_UKR

#define TERCEL_GEMM_PAIR_UKR(feature, name, element)                  \
  const auto* const registered_##name = benchmark::RegisterBenchmark( \
      "gemm_ukr/" #name,                                              \
      [](benchmark::State& s) { run_pairs(s, DType::element, &gemm_ukr_##name); });
#define TERCEL_GEMM_WORD_UKR(feature, name, mr, nr)                               \
  const auto* const registered_##name = benchmark::RegisterBenchmark(             \
      "gemm_ukr/" #name,                                                          \
      [](benchmark::State& s) { run_pairs(s, DType::bf16, &gemm_ukr_##name); });  \
  const auto* const registered_##name##_subnormal = benchmark::RegisterBenchmark( \
      "gemm_ukr/" #name "_subnormal",                                             \
      [](benchmark::State& s) { run_pairs(s, DType::bf16, &gemm_ukr_##name##_subnormal); });
#include "ops/matmul/gemm_pair_ukernels.inc"
#undef TERCEL_GEMM_PAIR_UKR
#undef TERCEL_GEMM_WORD_UKR

#define TERCEL_INT8_UKR(feature, name, mr, panels, group, widen, needs_unsigned, lines, wide, \
                        begin, end)                                                           \
  const auto* const registered_##name =                                                       \
      benchmark::RegisterBenchmark("gemm_ukr/" #name, [](benchmark::State& s) {               \
        run_int8(s, {#name, int8_feature::feature, mr, panels, group, widen, needs_unsigned,  \
                     lines, wide, begin, end, &gemm_ukr_##name});                             \
      });
#include "ops/matmul/gemm_int8_ukernels.inc"
#undef TERCEL_INT8_UKR

}  // namespace
}  // namespace tercel::bench
