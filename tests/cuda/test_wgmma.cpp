// The Hopper product against float64: tails in every dim, several tiles per block, both types.
#include "emu_check.h"
#include "ops/matmul/gemm_wgmma.cuh"

namespace {

using namespace tercel;
using namespace tercel::cuda;

template <class T>
double wgmma_error(int64_t M, int64_t N, int64_t K, int blocks, float alpha = 1,
                   bool with_bias = false, bool relu = false) {
  const int64_t pitch = (N + 7) / 8 * 8 + 8;
  const auto a = test::random_vector<T>(M * K + 64), b = test::random_vector<T>(N * K + 64);
  const auto bias = test::random_vector<T>(N);
  test::Guarded<T> out(M * pitch);
  emu::options.multiprocessors = blocks;
  if (!launch_wgmma<T>(a.data(), K, b.data(), K, out.data(), pitch, M, N, K,
                       with_bias ? bias.data() : nullptr, alpha, relu)) {
    return INFINITY;
  }
  double worst = out.margins_intact() ? 0 : INFINITY;
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = 0; n < N; ++n) {
      double sum = 0, size = 1e-3;
      for (int64_t k = 0; k < K; ++k) {
        const double t = double{static_cast<float>(a[static_cast<size_t>(m * K + k)])} *
                         static_cast<float>(b[static_cast<size_t>(n * K + k)]);
        sum += t;
        size += std::fabs(t);
      }
      sum *= alpha;
      if (with_bias) sum += static_cast<float>(bias[static_cast<size_t>(n)]);
      if (relu && sum < 0) sum = 0;
      const double error = std::fabs(static_cast<float>(out[m * pitch + n]) - sum) / size;
      if (!(error <= worst)) worst = error;
    }
  }
  for (int64_t i = N; i < pitch; ++i) {
    if (out[i].bits != 0xffff) worst = INFINITY;  // nothing is written past the last column
  }
  return worst;
}

TEST(wgmma_bf16) {
  test::each_schedule([] { CHECK_BELOW(0x1p-8, wgmma_error<bf16>(200, 264, 328, 1)); });
  CHECK_BELOW(0x1p-8, wgmma_error<bf16>(128, 256, 64, 8));
  CHECK_BELOW(0x1p-8, wgmma_error<bf16>(1, 1, 8, 8));
  CHECK_BELOW(0x1p-8, wgmma_error<bf16>(130, 300, 40, 2, 0.5f, true, true));
}
TEST(wgmma_f16) { CHECK_BELOW(0x1p-11, wgmma_error<f16>(70, 290, 584, 1, 2.0f, true)); }
TEST(wgmma_has_no_bank_conflicts) {
  emu::stats = {};
  CHECK_BELOW(0x1p-8, wgmma_error<bf16>(128, 256, 64, 1));
  CHECK(emu::stats.matrices > 0 && emu::stats.wavefronts == emu::stats.matrices);
}

}  // namespace
