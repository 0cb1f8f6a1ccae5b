// Matrix products against float64 over odd shapes, layouts, strides, tails, batches and epilogues.
#include "gemm_oracle.h"

namespace {

using namespace tercel;
using namespace tercel::cuda;
using test::gemv_error;
using test::product_error;
using test::Shape;

// The product as the library chooses its kernel.
template <class T, class Out>
double gemm_error(const Shape& s, const GemmExtras& extras = {}, double alpha = 1, double beta = 0,
                  bool with_bias = false) {
  return product_error<T, Out>(
      [](const GemmBatchArgs& a, const GemmExtras& e) { return gemm_fast(a, e); }, s, extras, alpha,
      beta, with_bias);
}

// Half an ulp of the output plus the rounding of the float32 sums.
constexpr double kBf16 = 0x1p-8 * 0.6, kF16 = 0x1p-11 * 0.6, kF32 = 1e-6, kTf32 = 0x1p-10;

TEST(gemm_bf16_layouts) {
  for (const bool a_k : {true, false}) {
    for (const bool b_k : {true, false}) {
      test::each_schedule(
          [&] { CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({72, 136, 200, a_k, b_k})); });
      CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({33, 17, 77, a_k, b_k}));
      CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({65, 67, 64, a_k, b_k, 5}));
      CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({64, 64, 128, a_k, b_k, 0, 1, 3}));
      CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({40, 50, 96, a_k, b_k, 8, 3}));
    }
  }
}
TEST(gemm_bf16_large_tile) {  // 128 x 128 blocks: 64 of them are needed
  CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({1000, 1016, 72}));
  CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({1000, 1016, 40, true, false}));
}
TEST(gemm_on_hopper) {
  emu::options.compute_capability = 90;
  CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({500, 2000, 72, true, true, 8}, {}, 0.5));
  emu::options.compute_capability = 80;
}
TEST(gemm_f16) {
  test::each_schedule([] { CHECK_BELOW(kF16, gemm_error<f16, f16>({72, 72, 136})); });
  CHECK_BELOW(kF16, gemm_error<f16, f16>({31, 65, 100, false, true}));
}
TEST(gemm_tf32) {
  GemmExtras tf32;
  tf32.allow_tf32 = true;
  test::each_schedule([&] { CHECK_BELOW(kTf32, gemm_error<float, float>({72, 72, 100}, tf32)); });
  CHECK_BELOW(kTf32, gemm_error<float, float>({19, 65, 33}, tf32));
}
TEST(gemm_int8_is_exact) {
  test::each_schedule([] { CHECK_BELOW(0, gemm_error<int8_t, int32_t>({72, 72, 272})); });
  CHECK_BELOW(0, gemm_error<int8_t, int32_t>({20, 33, 99}));
  CHECK_BELOW(0, gemm_error<int8_t, int8_t>({20, 33, 99}));
  CHECK_BELOW(kF32, gemm_error<int8_t, float>({20, 33, 96}, {}, 0.01));
}
TEST(gemm_float32_and_float64) {
  for (const bool a_k : {true, false}) {
    for (const bool b_k : {true, false}) {
      CHECK_BELOW(kF32, gemm_error<float, float>({70, 66, 37, a_k, b_k, 3}));
      CHECK_BELOW(1e-14, gemm_error<double, double>({70, 66, 37, a_k, b_k, 3, 2}));
    }
  }
  test::each_schedule([] { CHECK_BELOW(kF32, gemm_error<float, float>({65, 64, 40})); });
  CHECK_BELOW(kF32, gemm_error<float, float>({1020, 1024, 20}));
}
TEST(gemm_epilogues) {
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu,
                                      Activation::gelu_tanh, Activation::silu}) {
    GemmExtras e;
    e.activation = activation;
    CHECK_BELOW(2 * kBf16, gemm_error<bf16, bf16>({33, 40, 64}, e, 0.25, 0.5, true));
    CHECK_BELOW(2 * kF32, gemm_error<float, float>({33, 41, 64}, e, 0.25, 0.5, true));
  }
}
TEST(gemm_split_k) {
  CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({40, 48, 4096 + 8}));
  CHECK_BELOW(kF16, gemm_error<f16, f16>({20, 30, 2048, true, false, 0, 2}));
}
TEST(gemm_degenerate) {
  CHECK_BELOW(0, gemm_error<bf16, bf16>({20, 20, 0}));
  CHECK_BELOW(0, gemm_error<float, float>({20, 20, 0}));
  CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({17, 1, 1}));
  CHECK_BELOW(1e-14, gemm_error<double, double>({1, 1, 1}));
}
TEST(gemm_has_no_bank_conflicts) {
  for (const bool k_major : {true, false}) {
    emu::stats = {};
    CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({128, 128, 128, k_major, k_major}));
    CHECK(emu::stats.matrices > 0 && emu::stats.wavefronts == emu::stats.matrices);
  }
}

// ---- few rows
// -------------------------------------------------------------------------------------------

TEST(gemv_weights) {
  for (const int64_t M : {1, 3, 16}) {
    for (const bool aligned : {true, false}) {
      CHECK_BELOW(kBf16, gemv_error<bf16>(M, 37, 264, 0, aligned));
      CHECK_BELOW(kBf16, gemv_error<f16>(M, 16, 300, 0, aligned));
      CHECK_BELOW(kBf16, gemv_error<int8_t>(M, 5, 1040, 0, aligned));
      CHECK_BELOW(kBf16, gemv_error<int8_t>(M, 5, 300, 64, aligned));
      CHECK_BELOW(kBf16, gemv_error<f8e4m3>(M, 19, 533, 0, aligned));
      CHECK_BELOW(kBf16, gemv_error<f8e5m2>(M, 4, 160, 0, aligned));
      CHECK_BELOW(kBf16, gemv_error<int4x2>(M, 9, 1280, 128, aligned));
      CHECK_BELOW(kBf16, gemv_error<int4x2>(M, 9, 335, 128, aligned));
    }
  }
}
TEST(gemv_through_gemm) {
  test::each_schedule([] { CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({3, 70, 256})); });
  CHECK_BELOW(kF16, gemm_error<f16, f16>({16, 20, 70}));
  CHECK_BELOW(kBf16, gemm_error<bf16, bf16>({5, 20, 70, true, true, 3}));
}

}  // namespace
