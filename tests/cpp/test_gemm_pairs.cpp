// The micro-kernels on pairs (AMX bfloat16 and float16) on a model of the tile instructions, and
// those that this processor has: every m and n tail, and the driver around them (packing of every
// layout, k blocks, column chunks, epilogue, threads), for bfloat16, float16, float8, and for
// float32 in bfloat16 parts.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "amx_model.h"
#include "check.h"
#include "core/parallel.h"
#include "ops/matmul/gemm.h"
#include "ops/matmul/gemm_ukr.h"
#include "ops/matmul/linear_packed.h"
#include "ops/matmul/matmul.h"
#include "ops/ops.h"

#define TERCEL_AMX_MODEL 1
#define gemm_ukr_bf16_32x32_amx gemm_ukr_bf16_model
#define gemm_begin_bf16_32x32_amx gemm_begin_bf16_model
#define gemm_end_bf16_32x32_amx gemm_end_bf16_model
#define gemm_ukr_f16_32x32_amx gemm_ukr_f16_model
#define gemm_begin_f16_32x32_amx gemm_begin_f16_model
#define gemm_end_f16_32x32_amx gemm_end_f16_model
#include "../../csrc/ops/matmul/gemm_pairs_ukr_amx.cpp"
#undef gemm_ukr_bf16_32x32_amx
#undef gemm_begin_bf16_32x32_amx
#undef gemm_end_bf16_32x32_amx
#undef gemm_ukr_f16_32x32_amx
#undef gemm_begin_f16_32x32_amx
#undef gemm_end_f16_32x32_amx

using namespace tercel;

namespace {

GemmUkernel model(GemmUkrFn run, void (*begin)(), void (*end)(), DType element, int products) {
  return {"model", IsaLevel::generic, 4,      32, 32, 0, run, nullptr, nullptr, 2, 32, begin,
          end,     products,          element};
}
const GemmUkernel kModels[] = {
    model(&gemm_ukr_bf16_model, &gemm_begin_bf16_model, &gemm_end_bf16_model, DType::bf16, 1),
    model(&gemm_ukr_bf16_model, &gemm_begin_bf16_model, &gemm_end_bf16_model, DType::bf16, 6),
    model(&gemm_ukr_f16_model, &gemm_begin_f16_model, &gemm_end_f16_model, DType::f16, 1)};

// Small integers: every sum is exact, so the order of summation cannot hide an error.
float small_value(int64_t i) { return static_cast<float>(i * 7 % 11 - 5); }
// Eleven bits: two parts, and sums that stay below 2^24.
float wide_value(int64_t i) { return static_cast<float>(i * 37 % 2047 - 1023); }

struct Layout {
  int64_t row, k;
};
Layout layout(int kind, int64_t rows, int64_t K) {
  if (kind == 0) return {K + 1, 1};  // odd distance of rows
  if (kind == 1) return {1, rows};
  return {2 * K + 1, 2};
}

template <class T, class U>
std::vector<float> product(int64_t M, int64_t N, int64_t K, int ta, int tb, bool column_output,
                           const std::vector<T>& a, const std::vector<U>& b, int products = 0) {
  const Layout la = layout(ta, M, K), lb = layout(tb, N, K);
  std::vector<float> out(static_cast<size_t>(M * N + 2), -77.0f);
  GemmArgs g;
  g.M = M;
  g.N = N;
  g.K = K;
  g.a.dtype = dtype_of<T>;
  g.b.dtype = dtype_of<U>;
  g.f32_products = products;
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

template <class T, class U = T>
void check_driver(int64_t M, int64_t N, int64_t K, int ta, int tb, bool column_output,
                  float (*a_value)(int64_t) = small_value, float (*b_value)(int64_t) = small_value,
                  int products = 0) {
  std::vector<T> a(static_cast<size_t>((M + 1) * (2 * K + 2)));
  std::vector<U> b(static_cast<size_t>((N + 1) * (2 * K + 2)));
  for (size_t i = 0; i < a.size(); ++i) a[i] = T(a_value(static_cast<int64_t>(i)));
  for (size_t i = 0; i < b.size(); ++i) b[i] = U(b_value(3 * static_cast<int64_t>(i) + 1));
  const std::vector<float> got = product(M, N, K, ta, tb, column_output, a, b, products);
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
               str(dtype_name(dtype_of<T>), " x ", dtype_name(dtype_of<U>), " pairs M ", M, " N ",
                   N, " K ", K, " layouts ", ta, tb, column_output, " products ", products));
}

class UseModel {
 public:
  UseModel() { gemm_set_pair_ukernels_for_test(kModels); }
  ~UseModel() {
    gemm_set_pair_ukernels_for_test(nullptr);
    set_float32_matmul_precision(MatmulPrecision::highest);
  }
};

template <class T>
std::vector<T> random_values(int64_t n, uint32_t seed) {
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) {
    seed = seed * 1664525u + 1013904223u;
    x = T(static_cast<float>(static_cast<int32_t>(seed >> 8) - (1 << 23)) / (1 << 22));
  }
  return v;
}

// Largest error of `got` = a b^T in units of sum |a| |b|.
template <class T>
double worst_error(const std::vector<float>& got, int64_t M, int64_t N, int64_t K, int64_t stride,
                   const std::vector<T>& a, const std::vector<T>& b) {
  double worst = 0;
  for (int64_t i = 0; i < M; ++i) {
    for (int64_t j = 0; j < N; ++j) {
      double exact = 0, size = 0;
      for (int64_t k = 0; k < K; ++k) {
        const double p = double(float(a[static_cast<size_t>(i * stride + k)])) *
                         double(float(b[static_cast<size_t>(j * stride + k)]));
        exact += p;
        size += std::fabs(p);
      }
      worst = std::max(worst, std::fabs(got[static_cast<size_t>(i * N + j)] - exact) / size);
    }
  }
  return worst;
}

}  // namespace

namespace {
template <class T>
void check_every_tail(const GemmUkernel& u) {
  u.begin();
  for (int64_t m = 1; m <= 32; ++m) {
    for (int64_t n = 1; n <= 32; ++n) {
      const int64_t kc = 32 * (1 + (m + n) % 3), ldc = n + 3;
      std::vector<T> a(static_cast<size_t>(32 * kc)), b(a.size());
      for (size_t i = 0; i < a.size(); ++i) {
        a[i] = T(small_value(static_cast<int64_t>(i)));
        b[i] = T(small_value(5 * static_cast<int64_t>(i) + 2));
      }
      std::vector<float> c(static_cast<size_t>((m + 2) * ldc), -9.0f);
      float* out = c.data() + ldc;
      const bool accumulate = (m + n) % 2;
      u.packed(kc, a.data(), b.data(), out, ldc, m, n, accumulate, a.data());
      bool good = true;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          float want = accumulate ? -9.0f : 0.0f;
          for (int64_t k = 0; k < kc; ++k) {
            const int64_t step = k / 32 * 1024;
            want += float(a[static_cast<size_t>(step + i / 16 * 512 + i % 16 * 32 + k % 32)]) *
                    float(b[static_cast<size_t>(step + j / 16 * 512 + k % 32 / 2 * 32 + j % 16 * 2 +
                                                k % 2)]);
          }
          good = good && out[i * ldc + j] == want;
          out[i * ldc + j] = -9.0f;
        }
      }
      for (float v : c) good = good && v == -9.0f;
      test::report(good, __FILE__, __LINE__, str(u.name, " m ", m, " n ", n));
    }
  }
  u.end();
}
}  // namespace

TEST(gemm_pair_ukernels_every_tail) {
  check_every_tail<bf16>(kModels[0]);
  check_every_tail<f16>(kModels[2]);
  const GemmUkernel* u = gemm_pair_ukernel(DType::bf16, 1);
  if (u && !u->words()) check_every_tail<bf16>(*u);
  if ((u = gemm_pair_ukernel(DType::f16, 1))) check_every_tail<f16>(*u);
}

TEST(gemm_driver_on_pairs) {
  const UseModel model;
  for (int64_t M : {1, 15, 32, 70}) {
    for (int64_t N : {16, 33, 65}) {
      for (int64_t K : {32, 77, 600}) {
        for (int layouts = 0; layouts < 9; ++layouts)
          check_driver<bf16>(M, N, K, layouts % 3, layouts / 3, (M + N + layouts) % 4 == 0);
      }
    }
  }
  check_driver<bf16>(20, 530, 550, 0, 0, false);  // column chunks, the last one narrow
  check_driver<bf16>(300, 40, 1100, 0, 1, false);
}

// The other formats, alone and together; their small integers are exact in each.
TEST(gemm_driver_on_pairs_of_other_formats) {
  const UseModel model;
  const auto check = []<class T, class U>(T, U) {
    for (int layouts = 0; layouts < 9; ++layouts)
      check_driver<T, U>(35, 49, 77, layouts % 3, layouts / 3, layouts % 2 == 0);
    check_driver<T, U>(70, 64, 600, 0, 0, false);
    check_driver<T, U>(5, 530, 64, 0, 1, false);
    check_driver<T, U>(64, 32, 64, 1, 1, false);
  };
  check(f16(), f16());
  check(f8e4m3(), f8e4m3());
  check(f8e5m2(), f8e4m3());
  check(bf16(), f8e4m3());
  check(f8e5m2(), bf16());
  check(f16(), f8e4m3());
  check(f8e5m2(), f16());
}

// Every finite code through the packing, against one; and what NaN, infinities and block scales do.
TEST(gemm_pairs_convert_every_code) {
  const UseModel model;
  const auto check = []<class T, class U>(T, U, int bits) {
    const int64_t M = 64, N = 32, K = 64;
    for (int layouts = 0; layouts < 4; ++layouts) {
      std::vector<T> a(static_cast<size_t>((M + 1) * (2 * K + 2)), T(0.0f));
      std::vector<U> b(static_cast<size_t>((N + 1) * (2 * K + 2)), U(0.0f));
      const Layout la = layout(layouts % 2, M, K), lb = layout(layouts / 2, N, K);
      for (int64_t i = 0; i < M * K; ++i) {
        T x;
        x.bits = static_cast<decltype(x.bits)>(i * (bits == 16 ? 16 : 1));
        if (std::isfinite(float(x))) a[static_cast<size_t>(i / K * la.row + i % K * la.k)] = x;
      }
      for (int64_t j = 0; j < N; ++j)  // column j picks k = j, or j + 32
        b[static_cast<size_t>(j * lb.row + (j + 32 * (layouts & 1)) * lb.k)] = U(1.0f);
      const std::vector<float> got = product(M, N, K, layouts % 2, layouts / 2, false, a, b);
      for (int64_t i = 0; i < M * N; ++i) {
        const int64_t at = i / N * la.row + (i % N + 32 * (layouts & 1)) * la.k;
        CHECK(got[static_cast<size_t>(i)] == float(a[static_cast<size_t>(at)]));
      }
    }
  };
  check(f8e4m3(), f8e4m3(), 8);
  check(f8e5m2(), f8e5m2(), 8);
  check(f8e4m3(), f16(), 8);
  check(f8e5m2(), f16(), 8);
  check(f16(), f16(), 16);
  const int64_t K = 32, N = 16;
  const auto special = [&]<class T>(T) {
    std::vector<T> a(static_cast<size_t>(3 * (K + 1)), T(0.5f)),
        b(static_cast<size_t>((N + 1) * (K + 1)), T(0.25f));
    a[3] = T(NAN);
    a[static_cast<size_t>(K + 1)] = T(INFINITY);  // e4m3 has none: its largest value
    const std::vector<float> y = product(int64_t{2}, N, K, 0, 0, false, a, b);
    CHECK(std::isnan(y[0]));
    CHECK(dtype_of<T> == DType::f8e4m3 ? y[static_cast<size_t>(N)] > 100.0f
                                       : std::isinf(y[static_cast<size_t>(N)]));
  };
  special(f16());
  special(f8e4m3());
  special(f8e5m2());
}

namespace {
template <class T>
void check_rows_and_threads() {
  const int threads = num_threads();
  const int64_t M = 67, N = 100, K = 1200;
  const auto a = random_values<T>(M * (K + 1), 1), b = random_values<T>(N * (K + 1), 2);
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
  CHECK(worst_error(all, M, N, K, K + 1, a, b) < 8 * std::ldexp(1.0, -24));
}
}  // namespace

TEST(gemm_pairs_rows_and_threads) {
  const UseModel model;
  check_rows_and_threads<bf16>();
  check_rows_and_threads<f16>();
  check_rows_and_threads<f8e4m3>();
}

// Kept panels: the bits of linear, made once and again when the weight changes.
TEST(linear_with_packed_weight) {
  const UseModel model;
  const auto check = []<class T>(T) {
    for (const Shape& size :
         {Shape{1, 16, 32}, Shape{5, 70, 600}, Shape{40, 2100, 64}, Shape{300, 33, 1100}}) {
      const int64_t M = size[0], N = size[1], K = size[2];
      const auto a = random_values<T>(M * K, 1), b = random_values<T>(N * K, 2),
                 c = random_values<T>(N, 3);
      const auto tensor = [](const std::vector<T>& v, Shape shape) {
        const Tensor t = empty(shape, dtype_of<T>);
        std::memcpy(t.data(), v.data(), v.size() * sizeof(T));
        return t;
      };
      const Tensor x = tensor(a, {M, K}), bias = tensor(c, {N});
      Tensor w = tensor(b, {N, K});
      LinearPanels panels;
      const auto equal = [&](const Tensor& v) {
        const Tensor want = linear(x, v, bias), got = linear_packed(x, v, bias, panels);
        CHECK(want.shape() == got.shape() &&
              std::memcmp(want.data(), got.data(), static_cast<size_t>(want.numel()) * sizeof(T)) ==
                  0);
      };
      equal(w);
      CHECK(panels.nbytes() >= 2 * N * K);
      equal(w);
      mul_(w, Scalar(2.0));
      equal(w);
      equal(transpose(contiguous(transpose(w, 0, 1)), 0, 1));
      w.set_requires_grad(true);
      CHECK(linear_packed(x, w, bias, panels).requires_grad());
    }
  };
  check(bf16());
  check(f16());
  LinearPanels none;
  const Tensor x = empty({40, 64}, DType::f32), w = empty({48, 64}, DType::f32);
  linear_packed(x, w, {}, none);
  CHECK(none.nbytes() == 0);
}

// Too few columns for pairs, and an output across: the transposed product has enough.
TEST(gemm_bf16_narrow_rows_do_not_depend_on_their_number) {
  const UseModel model;
  const int64_t N = 8, K = 100;
  const auto a = random_values<bf16>(40 * (K + 1), 1), b = random_values<bf16>(N * (K + 1), 2);
  const std::vector<float> many = product(int64_t{40}, N, K, 0, 0, true, a, b),
                           few = product(int64_t{5}, N, K, 0, 0, true, a, b);
  for (size_t i = 0; i < 5; ++i) {
    for (size_t j = 0; j < static_cast<size_t>(N); ++j) CHECK(many[j * 40 + i] == few[j * 5 + i]);
  }
}

// Every product of parts and every sum is exact.
TEST(gemm_f32_in_six_products) {
  const UseModel model;
  const auto both = [](int64_t M, int64_t N, int64_t K, int layouts) {
    const bool column_output = (M + N + layouts) % 4 == 0;
    const int ta = layouts % 3, tb = layouts / 3;
    check_driver<float>(M, N, K, ta, tb, column_output, wide_value, small_value, 6);
    check_driver<float>(M, N, K, ta, tb, column_output, small_value, wide_value, 6);
  };
  for (int layouts = 0; layouts < 9; ++layouts) {
    both(35, 49, 77, layouts);
    check_driver<float>(35, 49, 77, layouts % 3, layouts / 3, false, small_value, small_value, 1);
  }
  both(1, 16, 32, 0);
  both(33, 65, 150, 4);
  both(5, 530, 70, 0);  // column chunks
  both(300, 33, 130, 3);
}

TEST(gemm_f32_precision) {
  const int64_t M = 67, N = 100, K = 1200;
  const auto a = random_values<float>(M * (K + 1), 1), b = random_values<float>(N * (K + 1), 2);
  const double eps = std::ldexp(1.0, -24);
  const double highest = worst_error(product(M, N, K, 0, 0, false, a, b), M, N, K, K + 1, a, b);
  const UseModel model;
  const std::vector<float> all = product(M, N, K, 0, 0, false, a, b, 6);
  const double high = worst_error(all, M, N, K, K + 1, a, b);
  const std::vector<float> rounded = product(M, N, K, 0, 0, false, a, b, 1);
  const double medium = worst_error(rounded, M, N, K, K + 1, a, b);
  test::report(
      high < 8 * eps && high <= 3 * highest && medium > 64 * eps && medium < std::ldexp(1.0, -8),
      __FILE__, __LINE__,
      str("errors / eps: highest ", highest / eps, " high ", high / eps, " medium ", medium / eps));
  const int threads = num_threads();
  for (int t : {1, 3}) {
    set_num_threads(t);
    const std::vector<float> part = product(int64_t{17}, N, K, 0, 0, false, a, b, 6);
    CHECK(std::equal(part.begin(), part.end(), all.begin()));
  }
  set_num_threads(threads);
  std::vector<bf16> ra, rb;
  for (float x : a) ra.push_back(bf16(x));
  for (float x : b) rb.push_back(bf16(x));
  CHECK(product(M, N, K, 0, 0, false, ra, rb) == rounded);
}

TEST(gemm_f32_precision_special_values) {
  const UseModel model;
  const int64_t M = 4, N = 16, K = 32;
  std::vector<float> a(static_cast<size_t>(M * (K + 1)), 0.0f),
      b(static_cast<size_t>(N * (K + 1)), 0.25f);
  const float largest = std::numeric_limits<float>::max();
  a[0] = largest;  // its nearest bfloat16 would be an infinity
  a[static_cast<size_t>(K + 1)] = INFINITY;
  a[static_cast<size_t>(2 * (K + 1))] = NAN;
  const std::vector<float> high = product(M, N, K, 0, 0, false, a, b, 6),
                           medium = product(M, N, K, 0, 0, false, a, b, 1);
  CHECK(std::fabs(high[0] - largest / 4) <= largest * 2e-7f);
  CHECK(std::fabs(medium[0] - largest / 4) <= largest * 4e-3f);
  CHECK(std::isnan(high[static_cast<size_t>(N)]) && medium[static_cast<size_t>(N)] == INFINITY);
  CHECK(std::isnan(high[static_cast<size_t>(2 * N)]) &&
        std::isnan(medium[static_cast<size_t>(2 * N)]));
  CHECK(high[static_cast<size_t>(3 * N)] == 0.0f);
}

// The public switch: forward and both gradients; float64 and small products are left alone.
TEST(float32_matmul_precision_reaches_backward) {
  const UseModel model;
  const int64_t M = 40, N = 48, K = 64;
  const auto a = random_values<float>(M * K, 3), b = random_values<float>(N * K, 4);
  const auto tensor = [](const std::vector<float>& v, Shape shape) {
    const Tensor t = empty(shape, DType::f32);
    std::memcpy(t.data(), v.data(), v.size() * 4);
    return t;
  };
  const auto run = [&](MatmulPrecision p) {
    set_float32_matmul_precision(p);
    Tensor x = tensor(a, {M, K}), w = tensor(b, {N, K});
    x.set_requires_grad(true);
    w.set_requires_grad(true);
    const Tensor y = linear(x, w);
    sum(mul(y, y)).backward();
    std::vector<float> all;
    for (const Tensor& t : {y.detach(), x.grad(), w.grad()}) {
      const Tensor c = contiguous(t);
      all.insert(all.end(), c.data_as<float>(), c.data_as<float>() + c.numel());
    }
    return all;
  };
  const auto highest = run(MatmulPrecision::highest), high = run(MatmulPrecision::high),
             medium = run(MatmulPrecision::medium);
  const std::pair<size_t, size_t> parts[] = {
      {0, static_cast<size_t>(M * N)},
      {static_cast<size_t>(M * N), static_cast<size_t>(M * (N + K))},
      {static_cast<size_t>(M * (N + K)), highest.size()}};
  for (auto [begin, end] : parts) {
    double d_high = 0, d_medium = 0, size = 0;
    for (size_t i = begin; i < end; ++i) {
      d_high = std::max<double>(d_high, std::fabs(high[i] - highest[i]));
      d_medium = std::max<double>(d_medium, std::fabs(medium[i] - highest[i]));
      size = std::max<double>(size, std::fabs(highest[i]));
    }
    CHECK(d_high > 0 && d_high < 1e-6 * size);
    CHECK(d_medium > 1e-4 * size && d_medium < 2e-2 * size);
  }
}

// A 1x1 convolution is a matrix product inside, and stays float32.
TEST(float32_matmul_precision_leaves_convolutions) {
  const UseModel model;
  const auto a = random_values<float>(40 * 36, 5), b = random_values<float>(48 * 40, 6);
  const Tensor x = empty({1, 40, 6, 6}, DType::f32), w = empty({48, 40, 1, 1}, DType::f32);
  std::memcpy(x.data(), a.data(), a.size() * 4);
  std::memcpy(w.data(), b.data(), b.size() * 4);
  const Tensor before = conv2d(x, w);
  set_float32_matmul_precision(MatmulPrecision::high);
  const Tensor after = conv2d(x, w);
  CHECK(std::memcmp(before.data(), after.data(), static_cast<size_t>(before.numel()) * 4) == 0);
}
