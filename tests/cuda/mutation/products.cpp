// What mutate.py runs against planted bugs: one instance of each product kernel, small shapes.
#define TERCEL_GEMM_INSTANTIATE  // without the choice among all kernels: compiles in seconds
#include "gemm_oracle.h"

namespace tercel::cuda {
Stream current_stream() { return nullptr; }
}  // namespace tercel::cuda

namespace {

using namespace tercel;
using namespace tercel::cuda;
using test::gemv_error;
using test::product_error;

template <bool kA, bool kB>
bool run_mma(const GemmBatchArgs& args, const GemmExtras& extras) {
  const GemmPlan plan = plan_of(args, extras);
  const GemmArgs& g = args.gemm;
  MmaArgs p{};
  p.M = g.M;
  p.N = g.N;
  p.K = g.K;
  p.out = plan.out;
  p.batch = plan.batch;
  bool a_k, b_k;
  mma_operand(g.a, g.M, g.K, 2, args.a_stride, args.size, args.ndim, &p.a, &a_k);
  mma_operand(g.b, g.N, g.K, 2, args.b_stride, args.size, args.ndim, &p.b, &b_k);
  launch_mma_tile<bf16, bf16, 64, 64, 32, 32, 3, kA, kB>(p, plan.batches);
  return true;
}

TEST(mma) {
  test::each_schedule([] {
    CHECK_BELOW(0x1p-8 * 0.6, product_error<bf16, bf16>(run_mma<true, true>, {72, 72, 328}));
    CHECK_BELOW(0x1p-8 * 0.6,
                product_error<bf16, bf16>(run_mma<false, false>, {70, 75, 136, false, false}));
  });
  CHECK_BELOW(0x1p-8 * 0.6,
              product_error<bf16, bf16>(run_mma<true, true>, {65, 67, 77, true, true, 5, 2}));
  CHECK_BELOW(0x1p-8 * 0.6, product_error<bf16, bf16>(run_mma<true, true>, {17, 20, 4100}));
  GemmExtras silu;
  silu.activation = Activation::silu;
  CHECK_BELOW(0x1p-7,
              product_error<bf16, bf16>(run_mma<true, true>, {33, 30, 64}, silu, 0.5, 0.5, true));
  emu::stats = {};
  product_error<bf16, bf16>(run_mma<true, true>, {64, 64, 64});
  product_error<bf16, bf16>(run_mma<false, false>, {64, 64, 64, false, false});
  CHECK(emu::stats.wavefronts == emu::stats.matrices);
}
TEST(simt) {
  auto run = [](const GemmBatchArgs& args, const GemmExtras& extras) {
    launch_simt<float>(args, plan_of(args, extras));
    return true;
  };
  test::each_schedule(
      [&] { CHECK_BELOW(1e-6, product_error<float, float>(run, {70, 66, 39, false, true, 3})); });
}
TEST(gemv) {
  CHECK_BELOW(0x1p-8 * 0.6, gemv_error<int4x2>(3, 9, 1290, 128, true));
  CHECK_BELOW(0x1p-8 * 0.6, gemv_error<int8_t>(2, 5, 600, 0, true));
}

}  // namespace
