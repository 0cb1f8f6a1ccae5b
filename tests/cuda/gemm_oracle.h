// Products in float64 beside the kernels under test, on random operands of any layout.
#pragma once

#include "emu_check.h"
#include "ops/matmul/gemm_launch.cuh"

namespace test {

using namespace tercel;
using namespace tercel::cuda;

inline double value(double x) { return x; }
inline double value(float x) { return x; }
inline double value(int8_t x) { return x; }
inline double value(int32_t x) { return x; }
template <class T>
inline double value(T x) {
  return static_cast<float>(x);
}

struct Shape {
  int64_t M, N, K;
  bool a_k = true, b_k = true;  // contiguous along k
  int64_t pad = 0;              // extra elements per stored row
  int64_t batches = 1;
  int64_t shift = 0;  // elements by which the operands are misaligned
};

inline double apply(Activation activation, double x) {
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
// `run` is given the product and returns false if it declines.
template <class T, class Out, class Run>
double product_error(Run run, const Shape& s, const GemmExtras& extras = {}, double alpha = 1,
                     double beta = 0, bool with_bias = false) {
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
  g.a = GemmOperand{.data = pa,
                    .row_stride = s.a_k ? lda : 1,
                    .k_stride = s.a_k ? 1 : lda,
                    .dtype = dtype_of<T>,
                    .scale = {}};
  g.b = GemmOperand{.data = pb,
                    .row_stride = s.b_k ? ldb : 1,
                    .k_stride = s.b_k ? 1 : ldb,
                    .dtype = dtype_of<T>,
                    .scale = {}};
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
  if (!run(args, e)) return INFINITY;

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

// Few rows of bf16 with weights W and random scales.
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

}  // namespace test
