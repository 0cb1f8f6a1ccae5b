// Products on words of two bfloat16 (gemm_words.h): the bits of float32 panels, whatever the shape,
// the layout and the size of the numbers. The slower of the two micro-kernels runs on every
// processor with AVX-512 and stands in for the other where that is missing.
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "core/parallel.h"
#include "ops/matmul/gemm.h"
#include "ops/matmul/gemm_ukr.h"
#include "ops/matmul/linear_packed.h"
#include "ops/matmul/matmul.h"
#include "ops/ops.h"

#if TERCEL_HAVE_AVX512

using namespace tercel;

namespace {

constexpr GemmUkrFn kFast = &gemm_ukr_bf16_14x32_avx512bf16;
constexpr GemmUkrFn kExact = &gemm_ukr_bf16_14x32_avx512bf16_subnormal;

bool fast_found() {
  const GemmUkernel* u = gemm_pair_ukernel(DType::bf16, 1);
  return u && u->words();
}
GemmUkernel stand_in() {
  return {"words", IsaLevel::avx512, 4,  14, 32,          0,     kExact, nullptr, nullptr, 2,
          2,       nullptr,          {}, 1,  DType::bf16, kExact};
}
const GemmUkernel kStandIn[3] = {stand_in(), {}, {}};

class UseWords {  // on any processor with AVX-512
 public:
  UseWords() {
    if (!fast_found()) gemm_set_pair_ukernels_for_test(kStandIn);
  }
  ~UseWords() { gemm_set_pair_ukernels_for_test(nullptr); }
};

// Between 2^low and 2^high in size, every eighth zero.
template <class T>
std::vector<T> values(int64_t n, uint32_t seed, int low, int high) {
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) {
    seed = seed * 1664525u + 1013904223u;
    const int exponent = low + static_cast<int>(seed >> 8) % (high - low);
    const float y = std::ldexp(1.0f + static_cast<float>(seed >> 20 & 127) / 128.0f, exponent);
    x = T((seed >> 16) % 8 == 0 ? 0.0f : seed >> 31 ? -y : y);
  }
  return v;
}

bool same_bits(const std::vector<float>& x, const std::vector<float>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

// out = a b^T; products 0: on words, 1: so from float32, -1: in panels of float32.
template <class T, class U>
std::vector<float> product(int64_t M, int64_t N, int64_t K, int layouts, const std::vector<T>& a,
                           const std::vector<U>& b, int products = 0) {
  const auto place = [](GemmOperand& x, const auto& v, int kind, int64_t rows, int64_t k) {
    x.dtype = dtype_of<std::remove_cvref_t<decltype(v[0])>>;
    x.data = v.data();
    x.row_stride = kind == 0 ? k + 1 : kind == 1 ? 1 : 2 * k + 1;
    x.k_stride = kind == 0 ? 1 : kind == 1 ? rows + 3 : 2;
  };
  std::vector<float> out(static_cast<size_t>(M * N + 2), -77.0f);
  GemmArgs g;
  g.M = M;
  g.N = N;
  g.K = K;
  place(g.a, a, layouts % 3, M, K);
  place(g.b, b, layouts / 3, N, K);
  g.f32_products = products;
  g.out = out.data() + 1;
  g.out_row_stride = N;
  gemm(g);
  CHECK(out.front() == -77.0f && out.back() == -77.0f);
  return out;
}

template <class T, class U = T>
void check_bits(int64_t M, int64_t N, int64_t K, int layouts, int low = -20, int high = 4) {
  const auto a = values<T>((M + 3) * (2 * K + 2), 1, low, high);
  const auto b = values<U>((N + 3) * (2 * K + 2), 2, low, high);
  test::report(same_bits(product(M, N, K, layouts, a, b), product(M, N, K, layouts, a, b, -1)),
               __FILE__, __LINE__,
               str(dtype_name(dtype_of<T>), " x ", dtype_name(dtype_of<U>), " words ", M, "x", N,
                   "x", K, " layouts ", layouts, " from 2^", low));
}

void check_every_tail(const char* name, GemmUkrFn run) {
  for (int64_t m = 1; m <= 14; ++m) {
    for (int64_t n = 1; n <= 32; ++n) {
      const int64_t pairs = (m + n) % 7 * 5, ldc = n + 3;
      const auto a = values<bf16>(14 * 2 * pairs + 2, 3, -20, 4);
      const auto b = values<bf16>(32 * 2 * pairs + 2, 4, -20, 4);
      std::vector<float> c(static_cast<size_t>((m + 2) * ldc), -9.0f);
      float* out = c.data() + ldc;
      const bool accumulate = (m + n) % 2;
      run(2 * pairs, a.data(), b.data(), out, ldc, m, n, accumulate, a.data());
      bool good = true;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          float sum = 0;
          for (int64_t p = 0; p < pairs; ++p) {
            for (int64_t half : {1, 0}) {  // the upper half is the first of the two
              sum = std::fma(float(a[static_cast<size_t>((p * 14 + i) * 2 + half)]),
                             float(b[static_cast<size_t>((p * 32 + j) * 2 + half)]), sum);
            }
          }
          good = good && out[i * ldc + j] == (accumulate ? -9.0f + sum : sum);
          out[i * ldc + j] = -9.0f;
        }
      }
      for (float v : c) good = good && v == -9.0f;
      test::report(good, __FILE__, __LINE__, str(name, " m ", m, " n ", n));
    }
  }
}

}  // namespace

TEST(gemm_word_ukernels_every_tail) {
  if (!level_supported(IsaLevel::avx512)) return;
  check_every_tail("exact", kExact);
  if (fast_found()) check_every_tail("fast", kFast);
}

TEST(gemm_words_have_the_bits_of_float32_panels) {
  if (isa_level() != IsaLevel::avx512) return;
  const UseWords use;
  for (int64_t M : {8, 15, 70}) {
    for (int64_t N : {33, 160}) {
      for (int64_t K : {129, 600}) {
        for (int layouts = 0; layouts < 9; ++layouts) check_bits<bf16>(M, N, K, layouts);
      }
    }
  }
  for (int layouts = 0; layouts < 9; ++layouts) {
    check_bits<f8e4m3>(35, 49, 177, layouts, -6, 4);
    check_bits<f8e5m2, bf16>(35, 49, 177, layouts, -14, 4);
  }
  check_bits<bf16>(20, 530, 550, 0);  // column chunks
  check_bits<bf16>(300, 40, 1100, 1);
  const auto a = values<bf16>(70 * 601, 1, -20, 4), b = values<bf16>(100 * 601, 2, -20, 4);
  const int threads = num_threads();
  const std::vector<float> all = product(70, 100, 600, 0, a, b);
  for (int t : {1, 2, 3}) {
    set_num_threads(t);
    CHECK(same_bits(product(70, 100, 600, 0, a, b), all));
    for (int64_t rows : {1, 7, 33}) {
      const std::vector<float> part = product(rows, 100, 600, 0, a, b);
      CHECK(std::memcmp(part.data(), all.data(), static_cast<size_t>(rows * 100) * 4) == 0);
    }
  }
  set_num_threads(threads);
}

// Sums and factors that the instruction takes for zero.
TEST(gemm_words_keep_subnormals) {
  if (isa_level() != IsaLevel::avx512) return;
  const UseWords use;
  for (int layouts : {0, 1, 3, 4, 8}) {
    check_bits<bf16>(40, 70, 200, layouts, -75, -60);     // products
    check_bits<bf16>(40, 70, 600, layouts, -66, -50);     // sums that cancel
    check_bits<bf16>(300, 70, 600, layouts, -133, 10);    // factors
    check_bits<bf16>(20, 530, 550, layouts, -140, -100);  // all zero or nearly
  }
  if (!fast_found()) return;
  // The check must bite: the fast kernel alone gives zero here.
  const std::vector<bf16> a(28, bf16(std::ldexp(1.0f, -70))), b(64, bf16(std::ldexp(1.0f, -70)));
  float c[32] = {};
  kFast(2, a.data(), b.data(), c, 32, 1, 32, false, a.data());
  CHECK(c[0] == 0.0f);
  kExact(2, a.data(), b.data(), c, 32, 1, 32, false, a.data());
  CHECK(c[0] == std::ldexp(1.0f, -139));
}

// Float32 operands under the medium precision are rounded to bfloat16 while they are packed.
TEST(gemm_words_of_float32) {
  if (isa_level() != IsaLevel::avx512) return;
  const UseWords use;
  for (int layouts = 0; layouts < 9; ++layouts) {
    for (int64_t M : {1, 37}) {
      const int64_t N = 70, K = 133;
      auto a = values<float>((M + 3) * (2 * K + 2), 1, -20, 4);
      auto b = values<float>((N + 3) * (2 * K + 2), 2, -20, 4);
      std::vector<bf16> near_a, near_b;
      for (float& x : a) near_a.push_back(bf16(x *= 1.0f + 0x1p-9f + 0x1p-12f));
      for (float& x : b) near_b.push_back(bf16(x *= 1.0f + 0x1p-9f));
      CHECK(
          same_bits(product(M, N, K, layouts, a, b, 1), product(M, N, K, layouts, near_a, near_b)));
    }
  }
}

// Kept panels remember their least exponent.
TEST(linear_with_packed_words) {
  if (isa_level() != IsaLevel::avx512) return;
  const UseWords use;
  for (int low : {-20, -80}) {
    for (const Shape& size : {Shape{1, 40, 96}, Shape{5, 70, 600}, Shape{300, 33, 1100}}) {
      const int64_t M = size[0], N = size[1], K = size[2];
      const auto tensor = [&](Shape shape, uint32_t seed) {
        const Tensor t = empty(shape, DType::bf16);
        const auto v = values<bf16>(t.numel(), seed, low, low + 20);
        std::memcpy(t.data(), v.data(), v.size() * sizeof(bf16));
        return t;
      };
      const Tensor x = tensor({M, K}, 1), w = tensor({N, K}, 2), bias = tensor({N}, 3);
      LinearPanels panels;
      const Tensor want = linear(x, w, bias), got = linear_packed(x, w, bias, panels);
      CHECK(std::memcmp(want.data(), got.data(), static_cast<size_t>(want.numel()) * 2) == 0);
      CHECK(panels.nbytes() >= 2 * N * K);
    }
  }
}

#endif
