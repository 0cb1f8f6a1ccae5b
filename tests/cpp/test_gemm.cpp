// Micro-kernels (every line of the registry, every tail) and the driver's paths against the
// definition in gemm.h, bit for bit.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "core/allocator.h"
#include "core/cpu_isa.h"
#include "core/parallel.h"
#include "ops/matmul/gemm.h"
#include "ops/matmul/gemm_choice.h"

using namespace tercel;

namespace {

class Isa {  // restores the level when a test ends
 public:
  Isa() : name_(isa_name()) {}
  ~Isa() { set_isa(name_); }

 private:
  std::string name_;
};

std::vector<const char*> levels() {
  std::vector<const char*> names;
  for (int i = 0; i < kNumIsaLevels; ++i) {
    if (level_supported(static_cast<IsaLevel>(i)))
      names.push_back(level_name(static_cast<IsaLevel>(i)));
  }
  return names;
}

template <class T>
T small_int(int64_t i) {
  return static_cast<T>(i * 7 % 11 - 5);
}

// 64-byte aligned block of exactly `n` elements, so that TERCEL_GUARD sees an over-read.
template <class T>
class Block {
 public:
  explicit Block(int64_t n)
      : bytes_(n * static_cast<int64_t>(sizeof(T))), p_(static_cast<T*>(cpu_alloc(bytes_))) {}
  ~Block() { cpu_free(p_, bytes_); }
  T& operator[](int64_t i) { return p_[i]; }
  T* data() { return p_; }

 private:
  int64_t bytes_;
  T* p_;
};

template <class T>
void check_tile(const GemmUkernel& u, int64_t kc, int64_t m, int64_t n, bool packed,
                bool accumulate) {
  const int64_t mr = packed ? u.mr : m, nr = packed ? u.nr : n;
  Block<T> a(std::max<int64_t>(1, kc * mr)), b(std::max<int64_t>(1, kc * nr));
  for (int64_t i = 0; i < kc * mr; ++i) a[i] = small_int<T>(i);
  for (int64_t i = 0; i < kc * nr; ++i) b[i] = small_int<T>(3 * i + 1);
  const int64_t ldc = n + 3;
  const T guard = T(-12345);
  std::vector<T> c(static_cast<size_t>((m + 2) * ldc), guard);
  T* out = c.data() + ldc;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) out[i * ldc + j] = T(2);
  }
  if (packed) {
    u.packed(kc, a.data(), b.data(), out, ldc, m, n, accumulate, a.data());
  } else {
    u.direct(kc, a.data(), kc, 1, b.data(), n, out, ldc, m, n, accumulate);
  }
  bool good = true;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      T sum = accumulate ? T(2) : T(0);
      for (int64_t p = 0; p < kc; ++p)
        sum += (packed ? a[p * mr + i] : a[i * kc + p]) * b[p * nr + j];
      good = good && out[i * ldc + j] == sum;
      out[i * ldc + j] = guard;
    }
  }
  for (T v : c) good = good && v == guard;
  test::report(good, __FILE__, __LINE__,
               str(u.name, packed ? " packed" : " direct", " m ", m, " n ", n, " kc ", kc,
                   " accumulate ", accumulate));
}

// Rows of A in place: once on a B in place, which leaves its panel behind, and once on that panel.
template <class T>
void check_rows(const GemmUkernel& u, int64_t kc, int64_t m, int64_t n, bool accumulate) {
  const int64_t a_rs = kc + 5, ldc = n + 3;
  Block<T> a(std::max<int64_t>(1, (m - 1) * a_rs + kc)), b(std::max<int64_t>(1, kc * n)),
      panel(std::max<int64_t>(1, kc * u.nr));
  for (int64_t i = 0; i < (m - 1) * a_rs + kc; ++i) a[i] = small_int<T>(i);
  for (int64_t i = 0; i < kc * n; ++i) b[i] = small_int<T>(3 * i + 1);
  const T guard = T(-12345);
  bool good = true;
  for (const bool in_place : {true, false}) {
    std::vector<T> c(static_cast<size_t>((m + 2) * ldc), guard);
    T* out = c.data() + ldc;
    for (int64_t i = 0; i < m; ++i) std::fill_n(out + i * ldc, n, T(2));
    u.rows(kc, a.data(), a_rs, in_place ? b.data() : panel.data(), in_place ? n : 0, panel.data(),
           out, ldc, m, n, accumulate, a.data());
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        T sum = accumulate ? T(2) : T(0);
        for (int64_t p = 0; p < kc; ++p) sum += a[i * a_rs + p] * b[p * n + j];
        good = good && out[i * ldc + j] == sum;
        out[i * ldc + j] = guard;
      }
    }
    for (T v : c) good = good && v == guard;
  }
  test::report(good, __FILE__, __LINE__,
               str(u.name, " rows m ", m, " n ", n, " kc ", kc, " accumulate ", accumulate));
}

// The definition, element by element.
template <class T>
T reference(const T* a, int64_t a_ks, const T* b, int64_t b_ks, int64_t K, bool fused) {
  T total = T(0);
  for (int64_t k0 = 0; k0 < K; k0 += kGemmKBlock) {
    T sum = T(0);
    const int64_t end = std::min(K, k0 + kGemmKBlock);
    for (int64_t k = k0; k < end; ++k) {
      sum = fused ? std::fma(a[k * a_ks], b[k * b_ks], sum) : a[k * a_ks] * b[k * b_ks] + sum;
    }
    total = k0 == 0 ? sum : total + sum;
  }
  return total;
}

template <class T>
std::vector<T> numbers(int64_t n, uint32_t seed) {
  std::vector<T> v(static_cast<size_t>(std::max<int64_t>(n, 1)));
  for (T& x : v) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<T>(static_cast<int32_t>(seed >> 8) - (1 << 23)) / static_cast<T>(1 << 22);
  }
  return v;
}

struct Layout {
  int64_t row, k;
};
// 0: k contiguous, 1: rows contiguous, 2: neither.
Layout layout(int kind, int64_t rows, int64_t K) {
  if (kind == 0) return {K, 1};
  if (kind == 1) return {1, rows};
  return {2 * K + 1, 2};
}

template <class T>
void check_product(int64_t M, int64_t N, int64_t K, int ta, int tb, int to, bool fused) {
  const Layout la = layout(ta, M, K), lb = layout(tb, N, K);
  const std::vector<T> a = numbers<T>((M + 1) * (2 * K + 2), 1),
                       b = numbers<T>((N + 1) * (2 * K + 2), 2);
  const int64_t rs = to == 0 ? N : to == 1 ? 1 : 3 * N, cs = to == 0 ? 1 : to == 1 ? M : 3;
  std::vector<T> out(static_cast<size_t>(3 * M * N + 64), T(77));
  GemmArgs g;
  g.M = M;
  g.N = N;
  g.K = K;
  g.a.dtype = g.b.dtype = g.out_dtype = dtype_of<T>;
  g.a.data = a.data();
  g.a.row_stride = la.row;
  g.a.k_stride = la.k;
  g.b.data = b.data();
  g.b.row_stride = lb.row;
  g.b.k_stride = lb.k;
  T* base = out.data() + 32;
  g.out = base;
  g.out_row_stride = rs;
  g.out_col_stride = cs;
  gemm(g);
  bool good = true;
  for (int64_t i = 0; i < M; ++i) {
    for (int64_t j = 0; j < N; ++j) {
      T& y = base[i * rs + j * cs];
      const T want = reference(a.data() + i * la.row, la.k, b.data() + j * lb.row, lb.k, K, fused);
      good = good && std::memcmp(&y, &want, sizeof(T)) == 0;
      y = T(77);
    }
  }
  for (T v : out) good = good && v == T(77);
  test::report(good, __FILE__, __LINE__,
               str(isa_name(), " ", dtype_name(dtype_of<T>), " M ", M, " N ", N, " K ", K,
                   " layouts ", ta, tb, to));
}

}  // namespace

TEST(gemm_ukernels_every_tail) {
  for (const GemmUkernel& u : gemm_driver::kGemmUkernels) {
    if (!level_supported(u.level)) continue;
    for (int64_t m = 1; m <= u.mr; ++m) {
      for (int64_t n = 1; n <= u.nr; ++n) {
        for (int64_t kc : {0, 1, 2, 17}) {
          u.elem_bytes == 4 ? check_tile<float>(u, kc, m, n, true, (m + n) % 2)
                            : check_tile<double>(u, kc, m, n, true, (m + n) % 2);
          if (kc == 0) continue;
          u.elem_bytes == 4 ? check_rows<float>(u, kc, m, n, (m + n) % 2)
                            : check_rows<double>(u, kc, m, n, (m + n) % 2);
        }
      }
    }
    for (int64_t m = 1; m <= u.direct_mr; ++m) {
      for (int64_t n = 1; n <= 2 * u.nr + 1; ++n) {
        for (int64_t kc : {1, 3, 17}) {
          u.elem_bytes == 4 ? check_tile<float>(u, kc, m, n, false, n % 2)
                            : check_tile<double>(u, kc, m, n, false, n % 2);
        }
      }
    }
  }
}

TEST(gemm_paths_keep_the_definition) {
  const Isa restore;
  for (const char* level : levels()) {
    set_isa(level);
#if defined(__FMA__) || defined(__aarch64__)
    const bool fused = true;
#else
    const bool fused = std::strcmp(level, "generic") != 0;
#endif
    // Sizes on both sides of the direct, skinny and packed limits and of a k block.
    for (int64_t M : {1, 3, 16, 33, 130}) {
      for (int64_t N : {1, 17, 64, 131}) {
        for (int64_t K : {1, 31, 513, 1100}) {
          for (int layouts = 0; layouts < 27; ++layouts) {
            if (layouts % 5 != (M + N + K) % 5 && M * N > 1000) continue;
            check_product<float>(M, N, K, layouts % 3, layouts / 3 % 3, layouts / 9, fused);
            if (layouts % 2 == 0)
              check_product<double>(M, N, K, layouts % 3, layouts / 3 % 3, layouts / 9, fused);
          }
        }
      }
    }
    for (int64_t M = 1; M <= 17; ++M) {  // few rows: every number of passes
      check_product<float>(M, 203, 600, 0, 0, 0, fused);
      check_product<float>(M, 203, 600, 1, 1, 2, fused);
      check_product<double>(M, 203, 600, 0, M % 3, 0, fused);
    }
    check_product<float>(2, 600, 700, 0, 0, 0, fused);
    check_product<float>(1, 600, 700, 0, 1, 0, fused);
    check_product<float>(600, 3, 700, 0, 1, 0, fused);
    check_product<float>(20, 777, 530, 0, 1, 0, fused);  // column chunks
    check_product<float>(20, 777, 530, 1, 0, 2, fused);
    check_product<float>(64, 96, 700, 0, 0, 0, fused);   // rows in L2
    check_product<float>(70, 100, 512, 0, 0, 0, fused);  // the same, copied
    check_product<float>(64, 196, 700, 0, 1, 0, fused);  // panels in L2, output across
    check_product<float>(196, 64, 700, 0, 1, 0, fused);
    check_product<double>(70, 196, 600, 0, 1, 0, fused);
    check_product<float>(420, 410, 400, 0, 0, 0, fused);  // five loops
    // Sums that cannot lie in the output, one k block and several, beyond the direct limit.
    check_product<float>(200, 210, 200, 0, 0, 2, fused);
    check_product<float>(200, 210, 520, 0, 1, 2, fused);
  }
}

TEST(gemm_epilogue_batch_and_prepack) {
  const int64_t M = 37, N = 50, K = 600, B = 3;
  const std::vector<float> a = numbers<float>(B * M * K, 3), b = numbers<float>(K * N, 4),
                           bias = numbers<float>(N, 5);
  std::vector<float> want(static_cast<size_t>(B * M * N)), got(want.size());
  GemmArgs g;
  g.M = M;
  g.N = N;
  g.K = K;
  g.a.row_stride = K;
  g.a.k_stride = 1;
  g.b.data = b.data();
  g.b.row_stride = 1;
  g.b.k_stride = N;
  g.out_row_stride = N;
  for (int64_t i = 0; i < B; ++i) {
    g.a.data = a.data() + i * M * K;
    g.out = want.data() + i * M * N;
    gemm(g);
  }
  GemmBatchArgs batch;
  batch.gemm = g;
  batch.gemm.a.data = a.data();
  batch.gemm.out = got.data();
  batch.ndim = 1;
  batch.size[0] = B;
  batch.a_stride[0] = M * K;
  batch.b_stride[0] = batch.c_stride[0] = 0;
  batch.out_stride[0] = M * N;
  batch.residual_stride[0] = 0;
  gemm_batched(batch);
  CHECK(std::memcmp(want.data(), got.data(), want.size() * 4) == 0);

  Block<char> packed_a(gemm_prepack_bytes(0, B * M, K, DType::f32)),
      packed_b(gemm_prepack_bytes(1, N, K, DType::f32));
  GemmArgs p = g;
  p.M = B * M;
  p.a.data = a.data();
  gemm_prepack(0, p.a, B * M, K, packed_a.data());
  gemm_prepack(1, p.b, N, K, packed_b.data());
  p.a.packed = packed_a.data();
  p.b.packed = packed_b.data();
  p.out = got.data();
  std::fill(got.begin(), got.end(), 0.f);
  gemm(p);
  CHECK(std::memcmp(want.data(), got.data(), want.size() * 4) == 0);

  p.epilogue.beta = 1.0;
  p.epilogue.c = bias.data();
  p.epilogue.c_col_stride = 1;
  p.epilogue.activation = GemmActivation::relu;
  gemm(p);
  bool good = true;
  for (int64_t i = 0; i < B * M * N; ++i) {
    good =
        good && got[static_cast<size_t>(i)] ==
                    std::max(want[static_cast<size_t>(i)] + bias[static_cast<size_t>(i % N)], 0.f);
  }
  CHECK(good);
}

TEST(gemm_bits_do_not_depend_on_threads) {
  const int threads = num_threads();
  const int64_t M = 150, N = 333, K = 700;
  const std::vector<float> a = numbers<float>(M * K, 6), b = numbers<float>(K * N, 7);
  std::vector<float> first;
  for (int t : {1, 2, 3, 8}) {
    set_num_threads(t);
    std::vector<float> out(static_cast<size_t>(M * N));
    GemmArgs g;
    g.M = M;
    g.N = N;
    g.K = K;
    g.a.data = a.data();
    g.a.row_stride = K;
    g.a.k_stride = 1;
    g.b.data = b.data();
    g.b.row_stride = K;
    g.b.k_stride = 1;
    g.out = out.data();
    g.out_row_stride = N;
    gemm(g);
    if (first.empty()) first = out;
    CHECK(std::memcmp(first.data(), out.data(), out.size() * 4) == 0);
  }
  set_num_threads(threads);
}
