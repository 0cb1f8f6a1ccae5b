// Each micro-kernel of gemm_ukernels.inc on packed panels that stay in the caches, one thread.
#include "core/parallel.h"
#include "ops/matmul/gemm_ukr.h"
#include "peaks.h"

namespace tercel::bench {
namespace {

constexpr int64_t kDepth = 256;

template <class T>
void run_packed(benchmark::State& state, GemmUkrFn kernel, int mr, int nr, IsaLevel level) {
  if (!level_supported(level)) {
    state.SkipWithError("this processor lacks the level");
    return;
  }
  const int threads = num_threads();
  set_num_threads(1);
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
  const double peak = roofline(sizeof(T) == 8 ? "fma_f64" : "fma_f32", 1 << 20, 0.05);
  const double gflop = 2e-9 * static_cast<double>(kDepth * mr * nr * state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(gflop, benchmark::Counter::kIsRate);
  state.counters["%peak"] = benchmark::Counter(100 * gflop / peak, benchmark::Counter::kIsRate);
  set_num_threads(threads);
}

#define TERCEL_GEMM_UKR(level, bytes, name, mr, nr, direct_mr)                                 \
  const auto* const registered_##name =                                                        \
      benchmark::RegisterBenchmark("gemm_ukr/" #name, [](benchmark::State& s) {                \
        run_packed<std::conditional_t<bytes == 8, double, float>>(s, &gemm_ukr_##name, mr, nr, \
                                                                  IsaLevel::level);            \
      });
#include "ops/matmul/gemm_ukernels.inc"
#undef TERCEL_GEMM_UKR

}  // namespace
}  // namespace tercel::bench
