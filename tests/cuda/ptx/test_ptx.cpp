// nvcc's PTX of the product kernels, translated by ptx.py, against float64.
#define TERCEL_GEMM_INSTANTIATE
#include "gemm_oracle.h"

void ptx_mma_bf16(const char* parameters);
void ptx_mma_f16(const char* parameters);
void ptx_mma_tf32(const char* parameters);
void ptx_mma_s8(const char* parameters);
void ptx_wgmma(const char* parameters);

namespace tercel::cuda {
Stream current_stream() { return nullptr; }
}  // namespace tercel::cuda

namespace {

using namespace tercel;
using namespace tercel::cuda;
using test::product_error;

auto runner(void (*kernel)(const char*), int64_t item) {
  return [=](const GemmBatchArgs& args, const GemmExtras& extras) {
    const GemmPlan plan = plan_of(args, extras);
    const GemmArgs& g = args.gemm;
    MmaArgs p{};
    p.M = g.M;
    p.N = g.N;
    p.K = g.K;
    p.out = plan.out;
    p.batch = plan.batch;
    p.split_k = tiles(g.K, 128) * 128;
    bool a_k, b_k;
    mma_operand(g.a, g.M, g.K, item, args.a_stride, args.size, args.ndim, &p.a, &a_k);
    mma_operand(g.b, g.N, g.K, item, args.b_stride, args.size, args.ndim, &p.b, &b_k);
    const dim3 grid(static_cast<unsigned>(tiles(g.M, 64) * tiles(g.N, 64)), 1,
                    static_cast<unsigned>(plan.batches));
    emu::run_kernel(grid, dim3(128), mma_shared_bytes<64, 64, 3>(),
                    [&] { kernel(reinterpret_cast<const char*>(&p)); });
    return true;
  };
}

TEST(ptx_mma) {
  const auto bf = runner(ptx_mma_bf16, 2), half = runner(ptx_mma_f16, 2),
             tf = runner(ptx_mma_tf32, 4), s8 = runner(ptx_mma_s8, 1);
  GemmExtras gelu;
  gelu.activation = Activation::gelu;
  CHECK_BELOW(0x1p-8 * 0.6, product_error<bf16, bf16>(bf, {72, 72, 136, false, false}));
  CHECK_BELOW(0x1p-8 * 0.6, product_error<bf16, bf16>(bf, {33, 35, 77, false, false, 3, 2}));
  CHECK_BELOW(0x1p-7,
              product_error<bf16, bf16>(bf, {33, 40, 64, false, false}, gelu, 0.5, 2, true));
  CHECK_BELOW(0x1p-11 * 0.6, product_error<f16, f16>(half, {72, 72, 136, true, false}));
  CHECK_BELOW(0x1p-10, product_error<float, float>(tf, {40, 70, 100}));
  CHECK_BELOW(0, product_error<int8_t, int32_t>(s8, {40, 70, 304}));
}

TEST(ptx_wgmma) {
  using S = WgmmaShape;
  const int M = 200, N = 264, K = 328;
  const auto a = test::random_vector<bf16>(M * K), b = test::random_vector<bf16>(N * K);
  test::each_schedule([&] {
    test::Guarded<bf16> out(M * N);
    struct Parameters {
      WgmmaArgs args;
      alignas(128) char a[128];
      char b[128], out[128];
    } p{{M, N, K, nullptr, 1.0f, false}, {}, {}, {}};
    TensorMap map;
    make_tensor_map(&map, a.data(), M, K, K, S::BM, true);
    std::memcpy(p.a, &map, sizeof map);
    make_tensor_map(&map, b.data(), N, K, K, S::BN, true);
    std::memcpy(p.b, &map, sizeof map);
    make_tensor_map(&map, out.data(), M, N, N, 64, true);
    std::memcpy(p.out, &map, sizeof map);
    emu::run_kernel(dim3(2), dim3(S::kThreads), S::kShared,
                    [&] { ptx_wgmma(reinterpret_cast<const char*>(&p)); });
    double worst = out.margins_intact() ? 0 : INFINITY;
    for (int m = 0; m < M; ++m) {
      for (int n = 0; n < N; ++n) {
        double sum = 0, size = 1e-3;
        for (int k = 0; k < K; ++k) {
          const double t =
              double{static_cast<float>(a[m * K + k])} * static_cast<float>(b[n * K + k]);
          sum += t;
          size += std::fabs(t);
        }
        const double error = std::fabs(static_cast<float>(out[m * N + n]) - sum) / size;
        if (!(error <= worst)) worst = error;
      }
    }
    CHECK_BELOW(0x1p-8 * 0.6, worst);
  });
}

}  // namespace
