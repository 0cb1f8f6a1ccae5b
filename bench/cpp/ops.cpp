// Main ops at named shapes, through the public C++ API: all that a caller pays but Python.
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"
#include "peaks.h"

namespace tercel::bench {
namespace {

void bm_matmul(benchmark::State& state) {
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const Tensor a = filled({m, k}), b = filled({k, n});
  for (auto _ : state) benchmark::DoNotOptimize(matmul(a, b));
  count_flops(state, 2.0 * static_cast<double>(m * n * k));
}
BENCHMARK(bm_matmul)
    ->Name("matmul")
    ->ArgNames({"M", "N", "K"})
    ->Args({256, 256, 256})
    ->Args({1024, 1024, 1024})
    ->Args({1, 4096, 4096})
    ->Args({128, 2304, 768})  // gpt2/qkv
    ->Args({128, 3072, 768})  // gpt2/mlp
    ->UseRealTime();

void bm_add(benchmark::State& state) {
  const Tensor a = filled({state.range(0)}), b = filled({state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(add(a, b));
  count_bytes(state, 12.0 * static_cast<double>(state.range(0)));
}
BENCHMARK(bm_add)->Name("add")->Arg(1 << 12)->Arg(1 << 24)->UseRealTime();

void bm_exp(benchmark::State& state) {
  const Tensor a = filled({state.range(0)});
  for (auto _ : state) benchmark::DoNotOptimize(exp(a));
  count_bytes(state, 8.0 * static_cast<double>(state.range(0)));
}
BENCHMARK(bm_exp)->Name("exp")->Arg(1 << 12)->Arg(1 << 24)->UseRealTime();

void bm_sum(benchmark::State& state) {
  const Tensor a = filled({4096, 4096});
  const Dims dims = {state.range(0)};
  for (auto _ : state) benchmark::DoNotOptimize(sum(a, dims));
  count_bytes(state, 4.0 * 4096 * 4096);
}
BENCHMARK(bm_sum)->Name("sum_4096x4096")->ArgName("dim")->Arg(0)->Arg(1)->UseRealTime();

void bm_transpose(benchmark::State& state) {
  const Tensor a = filled({4096, 4096});
  for (auto _ : state) benchmark::DoNotOptimize(contiguous(transpose(a, 0, 1)));
  count_bytes(state, 8.0 * 4096 * 4096);
}
BENCHMARK(bm_transpose)->Name("transpose_4096x4096")->UseRealTime();

// The cost of an op on four numbers: checks, header, allocation.
void bm_tiny_add(benchmark::State& state) {
  const Tensor a = filled({4}), b = filled({4});
  for (auto _ : state) benchmark::DoNotOptimize(add(a, b));
}
BENCHMARK(bm_tiny_add)->Name("tiny_add");

}  // namespace
}  // namespace tercel::bench
