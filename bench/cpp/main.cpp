// Micro-benchmarks: every GEMM micro-kernel, and main ops at the shapes of models.
//   tercel_bench [--threads=N] [Google Benchmark's options, e.g. --benchmark_filter=gemm]
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/parallel.h"
#include "peaks.h"

int main(int argc, char** argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--threads=", 10) == 0) {
      tercel::set_num_threads(std::atoi(argv[i] + 10));
    } else {
      argv[kept++] = argv[i];
    }
  }
  benchmark::Initialize(&kept, argv);
  if (benchmark::ReportUnrecognizedArguments(kept, argv)) return 1;
  std::printf("ISA %s, %d threads; peaks: %.1f GFLOP/s float32, %.1f float64, %.1f GB/s\n",
              tercel::isa_name().c_str(), tercel::num_threads(),
              tercel::bench::fma_peak(tercel::DType::f32),
              tercel::bench::fma_peak(tercel::DType::f64), tercel::bench::bandwidth_peak());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
