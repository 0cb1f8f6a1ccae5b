// Matrix products against float64 over odd shapes, layouts, strides, tails, batches and epilogues.
#include "emu_check.h"
#include "ops/matmul/gemm_launch.cuh"

namespace {

using namespace tercel;
using namespace tercel::cuda;

double value(double x) { return x; }
double value(float x) { return x; }
double value(int8_t x) { return x; }
double value(int32_t x) { return x; }
template <class T>
double value(T x) {
  return static_cast<float>(x);
}

struct Shape {
  int64_t M, N, K;
  bool a_k = true, b_k = true;  // contiguous along k
  int64_t pad = 0;              // extra elements per stored row
  int64_t batches = 1;
  int64_t shift = 0;  // elements by which the operands are misaligned
};

double apply(Activation activation, double x) {
  switch (activation) {
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::gelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
    default:
      return x;
  }
}

// Largest error over sqrt(K) |operands|, in units of `eps`; NaN or a touched margin give infinity.
template <class T, class Out>
double gemm_error(const Shape& s, const GemmExtras& extras = {}, double alpha = 1, double beta = 0,
                  bool with_bias = false) {
  const int64_t lda = (s.a_k ? s.K : s.M) + s.pad, ldb = (s.b_k ? s.K : s.N) + s.pad;
  const int64_t a_size = (s.a_k ? s.M : s.K) * lda, b_size = (s.b_k ? s.N : s.K) * ldb;
  const auto a = test::random_vector<T>(a_size * s.batches + 16);
  const auto b = test::random_vector<T>(b_size * s.batches + 16);
  const auto c = test::random_vector<Out>(s.M * s.N);
  const auto bias = test::random_vector<Out>(s.N);
  const int64_t ldo = s.N + s.pad;
  test::Guarded<Out> out(s.M * ldo * s.batches);

  GemmBatchArgs args;
  GemmArgs& g = args.gemm;
  g.M = s.M;
  g.N = s.N;
  g.K = s.K;
  const T* pa = a.data() + s.shift;
  const T* pb = b.data() + s.shift;
  g.a = {pa, s.a_k ? lda : 1, s.a_k ? 1 : lda};
  g.b = {pb, s.b_k ? ldb : 1, s.b_k ? 1 : ldb};
  g.in_dtype = dtype_of<T>;
  g.out_dtype = dtype_of<Out>;
  g.out = out.data();
  g.out_row_stride = ldo;
  g.epilogue.alpha = alpha;
  g.epilogue.beta = beta;
  g.epilogue.c = c.data();
  g.epilogue.c_row_stride = s.N;
  g.epilogue.c_col_stride = 1;
  if (s.batches > 1) {
    args.ndim = 1;
    args.size[0] = s.batches;
    args.a_stride[0] = a_size;
    args.b_stride[0] = b_size;
    args.c_stride[0] = 0;
    args.out_stride[0] = s.M * ldo;
  }
  GemmExtras e = extras;
  if (with_bias) e.bias = bias.data();
  if (!gemm_fast(args, e)) return INFINITY;

  double worst = out.margins_intact() ? 0 : INFINITY;
  for (int64_t z = 0; z < s.batches; ++z) {
    for (int64_t m = 0; m < s.M; ++m) {
      for (int64_t n = 0; n < s.N; ++n) {
        double sum = 0, size = 0;
        for (int64_t k = 0; k < s.K; ++k) {
          const double x = value(pa[z * a_size + m * g.a.row_stride + k * g.a.k_stride]);
          const double y = value(pb[z * b_size + n * g.b.row_stride + k * g.b.k_stride]);
          sum += x * y;
          size += std::fabs(x * y);
        }
        double want = alpha * sum + (beta != 0 ? beta * value(c[m * s.N + n]) : 0);
        if (with_bias) want += value(bias[n]);
        want = apply(e.activation, want);
        const double got = value(out[z * s.M * ldo + m * ldo + n]);
        if constexpr (std::is_integral_v<Out>) {
          if (static_cast<Out>(static_cast<int64_t>(want)) != static_cast<Out>(got))
            return INFINITY;
        }
        const double error =
            std::fabs(got - want) / (std::fabs(alpha) * size + std::fabs(want) + 1e-3);
        if (!(error <= worst) && !std::is_integral_v<Out>) worst = error;
      }
      for (int64_t n = s.N; n < ldo && worst < INFINITY; ++n) {
        unsigned char bytes[sizeof(Out)];
        std::memcpy(bytes, &out[z * s.M * ldo + m * ldo + n], sizeof(Out));
        if (bytes[0] != 0xff) worst = INFINITY;
      }
    }
  }
  return worst;
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

template <class W>
double gemv_error(int64_t M, int64_t N, int64_t K, int group, bool aligned) {
  constexpr bool kInt4 = std::is_same_v<W, int4x2>;
  const int64_t row = kInt4 ? (K + 31) / 32 * 16 : (K + 15) / 16 * 16 * int64_t(sizeof(W));
  const int64_t x_stride = (K + 7) / 8 * 8 + (aligned ? 0 : 1);
  const auto x = test::random_vector<bf16>(M * x_stride);
  std::vector<unsigned char> w(static_cast<size_t>(N * row) + 16, 0x7f);
  std::vector<double> values(static_cast<size_t>(N * K));
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t k = 0; k < K; ++k) {
      double& v = values[static_cast<size_t>(n * K + k)];
      unsigned char* p = w.data() + n * row;
      if constexpr (kInt4) {
        const int code = static_cast<int>(test::generator()() % 16);
        v = code < 8 ? code : code - 16;
        if (k % 2 == 0) p[k / 2] = 0;
        p[k / 2] |= static_cast<unsigned char>(code << (k % 2 * 4));
      } else {
        const W e = test::random_value<W>();
        v = value(e);
        std::memcpy(p + k * static_cast<int64_t>(sizeof(W)), &e, sizeof(W));
      }
    }
  }
  const int64_t groups = group ? (K + group - 1) / group : 1;
  const auto scale = test::random_vector<float>(N * groups);
  test::Guarded<bf16> out(M * N);
  GemvArgs p{M, N, K, x.data(), x_stride, w.data(), row, scale.data(), group, aligned, {}};
  p.out.out = out.data();
  p.out.row_stride = N;
  p.out.col_stride = 1;
  p.out.alpha = 1;
  launch_gemv<bf16, W>(p);
  double worst = out.margins_intact() ? 0 : INFINITY;
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = 0; n < N; ++n) {
      double want = 0, size = 0;
      for (int64_t k = 0; k < K; ++k) {
        const double s = scale[static_cast<size_t>(n * groups + (group ? k / group : 0))];
        const double t = value(x[static_cast<size_t>(m * x_stride + k)]) *
                         values[static_cast<size_t>(n * K + k)] * s;
        want += t;
        size += std::fabs(t);
      }
      const double error = std::fabs(value(out[m * N + n]) - want) / (size + 1e-6);
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}

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
