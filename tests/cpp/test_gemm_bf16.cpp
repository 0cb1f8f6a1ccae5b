// The AMX bfloat16 micro-kernel on a model of the tile instructions: every m and n tail, and the
// driver around it (packing of every layout, k blocks, column chunks, epilogue, threads).
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "amx_model.h"
#include "check.h"
#include "core/parallel.h"
#include "ops/matmul/gemm.h"
#include "ops/matmul/gemm_ukr.h"

#define TERCEL_AMX_MODEL 1
#define gemm_ukr_bf16_32x32_amx gemm_ukr_bf16_32x32_model
#define gemm_begin_bf16_32x32_amx gemm_begin_bf16_32x32_model
#define gemm_end_bf16_32x32_amx gemm_end_bf16_32x32_model
#include "../../csrc/ops/matmul/gemm_bf16_ukr_amx.cpp"
#undef gemm_ukr_bf16_32x32_amx
#undef gemm_begin_bf16_32x32_amx
#undef gemm_end_bf16_32x32_amx

using namespace tercel;

namespace {

const GemmUkernel kModel = {
    "bf16_32x32_model",         IsaLevel::generic, 4,       32, 32, 0,
    &gemm_ukr_bf16_32x32_model, nullptr,           nullptr, 2,  32, &gemm_begin_bf16_32x32_model,
    &gemm_end_bf16_32x32_model};

// Small integers: every sum is exact, so the order of summation cannot hide an error.
bf16 value(int64_t i) { return bf16(static_cast<float>(i * 7 % 11 - 5)); }

struct Layout {
  int64_t row, k;
};
Layout layout(int kind, int64_t rows, int64_t K) {
  if (kind == 0) return {K + 1, 1};  // odd distance of rows
  if (kind == 1) return {1, rows};
  return {2 * K + 1, 2};
}

std::vector<float> product(int64_t M, int64_t N, int64_t K, int ta, int tb, bool column_output,
                           const std::vector<bf16>& a, const std::vector<bf16>& b) {
  const Layout la = layout(ta, M, K), lb = layout(tb, N, K);
  std::vector<float> out(static_cast<size_t>(M * N + 2), -77.0f);
  GemmArgs g;
  g.M = M;
  g.N = N;
  g.K = K;
  g.a.dtype = g.b.dtype = DType::bf16;
  g.a.data = a.data();
  g.a.row_stride = la.row;
  g.a.k_stride = la.k;
  g.b.data = b.data();
  g.b.row_stride = lb.row;
  g.b.k_stride = lb.k;
  g.out = out.data() + 1;
  g.out_row_stride = column_output ? 1 : N;
  g.out_col_stride = column_output ? M : 1;
  gemm(g);
  CHECK(out.front() == -77.0f && out.back() == -77.0f);
  return {out.begin() + 1, out.end() - 1};
}

void check_driver(int64_t M, int64_t N, int64_t K, int ta, int tb, bool column_output) {
  std::vector<bf16> a(static_cast<size_t>((M + 1) * (2 * K + 2))),
      b(static_cast<size_t>((N + 1) * (2 * K + 2)));
  for (size_t i = 0; i < a.size(); ++i) a[i] = value(static_cast<int64_t>(i));
  for (size_t i = 0; i < b.size(); ++i) b[i] = value(3 * static_cast<int64_t>(i) + 1);
  const std::vector<float> got = product(M, N, K, ta, tb, column_output, a, b);
  const Layout la = layout(ta, M, K), lb = layout(tb, N, K);
  bool good = true;
  for (int64_t i = 0; i < M; ++i) {
    for (int64_t j = 0; j < N; ++j) {
      float want = 0;
      for (int64_t k = 0; k < K; ++k)
        want += float(a[static_cast<size_t>(i * la.row + k * la.k)]) *
                float(b[static_cast<size_t>(j * lb.row + k * lb.k)]);
      good = good && got[static_cast<size_t>(column_output ? j * M + i : i * N + j)] == want;
    }
  }
  test::report(good, __FILE__, __LINE__,
               str("bf16 pairs M ", M, " N ", N, " K ", K, " layouts ", ta, tb, column_output));
}

class UseModel {
 public:
  UseModel() { gemm_set_bf16_ukernel_for_test(&kModel); }
  ~UseModel() { gemm_set_bf16_ukernel_for_test(nullptr); }
};

}  // namespace

TEST(gemm_bf16_ukernel_every_tail) {
  gemm_begin_bf16_32x32_model();
  for (int64_t m = 1; m <= 32; ++m) {
    for (int64_t n = 1; n <= 32; ++n) {
      const int64_t kc = 32 * (1 + (m + n) % 3), ldc = n + 3;
      std::vector<bf16> a(static_cast<size_t>(32 * kc)), b(a.size());
      for (size_t i = 0; i < a.size(); ++i) {
        a[i] = value(static_cast<int64_t>(i));
        b[i] = value(5 * static_cast<int64_t>(i) + 2);
      }
      std::vector<float> c(static_cast<size_t>((m + 2) * ldc), -9.0f);
      float* out = c.data() + ldc;
      const bool accumulate = (m + n) % 2;
      gemm_ukr_bf16_32x32_model(kc, a.data(), b.data(), out, ldc, m, n, accumulate, a.data());
      bool good = true;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          float want = accumulate ? -9.0f : 0.0f;
          for (int64_t k = 0; k < kc; ++k) {
            const int64_t step = k / 32 * 1024;
            want += float(a[static_cast<size_t>(step + i * 32 + k % 32)]) *
                    float(b[static_cast<size_t>(step + j / 16 * 512 + k % 32 / 2 * 32 + j % 16 * 2 +
                                                k % 2)]);
          }
          good = good && out[i * ldc + j] == want;
          out[i * ldc + j] = -9.0f;
        }
      }
      for (float v : c) good = good && v == -9.0f;
      test::report(good, __FILE__, __LINE__, str("bf16_32x32 m ", m, " n ", n));
    }
  }
  gemm_end_bf16_32x32_model();
}

TEST(gemm_bf16_driver_on_pairs) {
  const UseModel model;
  for (int64_t M : {1, 15, 32, 70}) {
    for (int64_t N : {16, 33, 65}) {
      for (int64_t K : {32, 77, 600}) {
        for (int layouts = 0; layouts < 9; ++layouts)
          check_driver(M, N, K, layouts % 3, layouts / 3, (M + N + layouts) % 4 == 0);
      }
    }
  }
  check_driver(20, 530, 550, 0, 0, false);  // column chunks, the last one narrow
  check_driver(300, 40, 1100, 0, 1, false);
}

TEST(gemm_bf16_rows_and_threads) {
  const UseModel model;
  const int threads = num_threads();
  const int64_t M = 67, N = 100, K = 1200;
  std::vector<bf16> a(static_cast<size_t>(M * (K + 1))), b(static_cast<size_t>(N * (K + 1)));
  uint32_t seed = 1;
  for (std::vector<bf16>* v : {&a, &b}) {
    for (bf16& x : *v) {
      seed = seed * 1664525u + 1013904223u;
      x = bf16(static_cast<float>(static_cast<int32_t>(seed >> 8) - (1 << 23)) / (1 << 22));
    }
  }
  const std::vector<float> all = product(M, N, K, 0, 0, false, a, b);
  for (int t : {1, 2, 3}) {
    set_num_threads(t);
    CHECK(product(M, N, K, 0, 0, false, a, b) == all);
    for (int64_t rows : {1, 2, 16, 33}) {
      const std::vector<float> part = product(rows, N, K, 0, 0, false, a, b);
      CHECK(std::equal(part.begin(), part.end(), all.begin()));
    }
  }
  set_num_threads(threads);
  double worst = 0;
  for (int64_t i = 0; i < M; ++i) {
    for (int64_t j = 0; j < N; ++j) {
      double exact = 0, size = 0;
      for (int64_t k = 0; k < K; ++k) {
        const double p = double(float(a[static_cast<size_t>(i * (K + 1) + k)])) *
                         double(float(b[static_cast<size_t>(j * (K + 1) + k)]));
        exact += p;
        size += std::fabs(p);
      }
      worst = std::max(worst, std::fabs(all[static_cast<size_t>(i * N + j)] - exact) / size);
    }
  }
  CHECK(worst < 8 * std::ldexp(1.0, -24));
}
