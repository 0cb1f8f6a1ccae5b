// Integer micro-kernels: every line of the registry and the two that this processor may lack
// (AVX-VNNI through its EVEX form, AMX through a model) against the definition, every m and n tail,
// extreme values, guard bytes.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "amx_model.h"
#include "check.h"
#include "core/allocator.h"
#include "core/cpu_isa.h"
#include "ops/matmul/gemm_int8.h"
#include "ops/matmul/gemm_int8_kernels.h"
#include "ops/matmul/gemm_int8_ukr.h"

#define TERCEL_AMX_MODEL 1
#define gemm_ukr_int8_32x32_amx gemm_ukr_int8_32x32_model
#define gemm_int8_amx_begin gemm_int8_model_begin
#define gemm_int8_amx_end gemm_int8_model_end
#include "../../csrc/ops/matmul/gemm_int8_ukr_amx.cpp"
#undef gemm_ukr_int8_32x32_amx
#undef gemm_int8_amx_begin
#undef gemm_int8_amx_end

namespace tercel {
void gemm_ukr_int8_6x16_evex(int64_t, const void*, bool, const void*, int64_t, const int32_t*,
                             int64_t, int32_t*, int64_t, int64_t, int64_t,
                             const void*);  // int8_evex_kernel.cpp
}
using namespace tercel;

namespace {

const Int8Ukernel kUkrs[] = {
#define TERCEL_INT8_UKR(feature, name, mr, panels, group, widen, needs_unsigned, lines, wide,  \
                        begin, end)                                                            \
  {#name, int8_feature::feature, mr, panels, group, widen, needs_unsigned, lines, wide, begin, \
   end,   &gemm_ukr_##name},
#include "ops/matmul/gemm_int8_ukernels.inc"
#undef TERCEL_INT8_UKR
#if defined(__x86_64__)
    {"avxvnni as evex", int8_feature::avx512vnni, 6, 1, 4, false, true, 1024, 0, nullptr, nullptr,
     &gemm_ukr_int8_6x16_evex},
#endif
    {"amx model", int8_feature::generic, 32, 2, 64, false, false, 256, 0, &gemm_int8_model_begin,
     &gemm_int8_model_end, &gemm_ukr_int8_32x32_model},
};

template <class T>
class Block {  // exactly n elements, aligned to 64 bytes: TERCEL_GUARD sees an over-read
 public:
  explicit Block(int64_t n)
      : bytes_(std::max<int64_t>(n, 1) * int64_t{sizeof(T)}),
        p_(static_cast<T*>(cpu_alloc(bytes_))) {}
  ~Block() { cpu_free(p_, bytes_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  T& operator[](int64_t i) { return p_[i]; }
  T* data() { return p_; }

 private:
  int64_t bytes_;
  T* p_;
};

// Values: all extremes, or mixed. Pairs of 255 * 127 saturate a 16-bit sum, -128 * -128 too.
int value(int64_t i, bool is_signed, bool extreme) {
  if (extreme) {
    const bool low = (static_cast<uint32_t>(i) * 2654435761u >> 20) % 4 == 0;  // of any neighbours
    return !is_signed ? 255 : low ? -128 : 127;
  }
  const int v = static_cast<int>((i * 37 + i / 7 * 11) % 256);
  return is_signed ? v - 128 : v;
}

enum class Start { none, row, sums };  // what the kernel adds to

// What the wrong instruction would give: pairs of products are added with saturation to 16 bits.
void bare_vpmaddubsw(int64_t lines, const void* a, bool, const void* b, int64_t,
                     const int32_t* start, int64_t start_ld, int32_t* c, int64_t ldc, int64_t m,
                     int64_t n, const void*) {
  const uint8_t* x = static_cast<const uint8_t*>(a);
  const int8_t* y = static_cast<const int8_t*>(b);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      int32_t sum = start ? start[i * start_ld + j] : 0;
      for (int64_t l = 0; l < lines; ++l) {
        for (int k = 0; k < 4; k += 2) {
          const int pair = x[l * 16 + i * 4 + k] * y[l * 64 + j * 4 + k] +
                           x[l * 16 + i * 4 + k + 1] * y[l * 64 + j * 4 + k + 1];
          sum += std::clamp(pair, -32768, 32767);
        }
      }
      c[i * ldc + j] = sum;
    }
  }
}
const Int8Ukernel kSaturating{
    "bare vpmaddubsw", int8_feature::generic, 4, 1, 4, false, true, 1024, 0, nullptr,
    nullptr,           &bare_vpmaddubsw};

// Whether the kernel gives the sums of the definition and writes nothing else.
bool exact(const Int8Ukernel& u, int64_t K, int64_t m, int64_t n, bool a_signed, bool extreme,
           Start start, bool wide = false) {
  const int64_t lines = u.group == 64 ? int8_lines(K) : (K + 3) / 4, panel_lines = int8_lines(K);
  std::vector<uint8_t> a(static_cast<size_t>(m * K));
  std::vector<int8_t> b(static_cast<size_t>(n * K));
  for (int64_t i = 0; i < m * K; ++i)
    a[static_cast<size_t>(i)] = static_cast<uint8_t>(value(i, a_signed, extreme));
  for (int64_t i = 0; i < n * K; ++i)
    b[static_cast<size_t>(i)] = static_cast<int8_t>(value(3 * i + 1, true, extreme));
  Block<char> packed(int8_packed_bytes(n, K));
  int8_pack({b.data(), K, 1}, n, K, packed.data());
  Block<char> pa(u.mr * lines * (u.widen ? 8 : 4));
  Int8PackAArgs p{a.data(), K, 1, m, K, u.mr, u.group, u.widen, a_signed, 0, pa.data()};
  const bool flip = a_signed && u.needs_unsigned;
  p.flip = flip ? 0x80 : 0;
  int8_kernels().pack_a(p);
  const int64_t ldc = n + 3;
  std::vector<int32_t> c(static_cast<size_t>((m + 2) * ldc), -77777);
  std::vector<int32_t> row(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) row[static_cast<size_t>(j)] = static_cast<int32_t>(j * 1000 - 7);
  const int32_t* before = start == Start::sums  ? c.data() + ldc
                          : start == Start::row ? row.data()
                                                : nullptr;
  Block<char> widened(wide ? panel_lines * 128 : 0);
  if (wide) int8_kernels().widen_b(packed.data(), panel_lines, widened.data());
  if (u.begin) u.begin();
  u.run(lines, pa.data(), a_signed && !u.needs_unsigned, wide ? widened.data() : packed.data(),
        wide ? 0 : panel_lines * 64, before, start == Start::sums ? ldc : 0, c.data() + ldc, ldc, m,
        n, packed.data());
  if (u.end) u.end();
  for (int64_t i = 0; i < m + 2; ++i) {
    for (int64_t j = 0; j < ldc; ++j) {
      int64_t want = -77777;
      if (i >= 1 && i <= m && j < n) {
        if (start == Start::none) want = 0;
        if (start == Start::row) want = row[static_cast<size_t>(j)];
        for (int64_t k = 0; k < K; ++k) {
          const uint8_t raw = a[static_cast<size_t>((i - 1) * K + k)];
          const int x = a_signed ? static_cast<int8_t>(raw) + (flip ? 128 : 0) : raw;
          want += x * b[static_cast<size_t>(j * K + k)];
        }
      }
      if (c[static_cast<size_t>(i * ldc + j)] != static_cast<int32_t>(want)) return false;
    }
  }
  return true;
}

void check(const Int8Ukernel& u, int64_t K, int64_t m, int64_t n, bool a_signed, bool extreme,
           Start start, bool wide = false) {
  test::report(exact(u, K, m, n, a_signed, extreme, start, wide), __FILE__, __LINE__,
               str(u.name, " K ", K, " m ", m, " n ", n, " signed ", a_signed, " extreme ", extreme,
                   " wide ", wide));
}

}  // namespace

TEST(int8_micro_kernels) {
  int ran = 0;
  for (const Int8Ukernel& u : kUkrs) {
    if (u.feature >= 0 && !cpu_found(static_cast<CpuFeature>(u.feature))) continue;
    ++ran;
    for (int64_t m = 1; m <= u.mr; ++m) {
      for (int64_t n = 1; n <= u.panels * 16; ++n) {
        const bool all = m == u.mr || m == 1 || n % 5 == 1;
        for (int64_t K : all ? std::vector<int64_t>{1, 4, 5, 64, 67} : std::vector<int64_t>{7}) {
          const Start start = static_cast<Start>((m + n) % 3);
          check(u, K, m, n, true, false, start);
          if (u.widen) check(u, K, m, n, true, false, start, true);
        }
      }
    }
    for (int64_t K = 1; K <= 130; ++K)  // every k tail
      check(u, K, u.mr - 1, 15, K % 2, K % 3 == 0, static_cast<Start>(K % 3));
    for (bool is_signed : {true, false}) {
      for (bool extreme : {true, false}) {
        check(u, 515, u.mr, u.panels * 16, is_signed, extreme, Start::none);
        if (u.widen) check(u, 515, u.mr, u.panels * 16, is_signed, extreme, Start::none, true);
      }
    }
  }
  CHECK(ran >= 2);
}

// The checks above find a kernel that saturates, for int8 (shifted to uint8) and uint8, and only by
// the values that do.
TEST(int8_checks_find_a_bare_vpmaddubsw) {
  for (bool is_signed : {true, false}) {
    CHECK(!exact(kSaturating, 515, 4, 16, is_signed, true, Start::none));
    CHECK(!exact(kSaturating, 515, 4, 16, is_signed, false, Start::none));
  }
  CHECK(
      exact(kSaturating, 1, 4, 16, false, false, Start::row));  // one product: nothing to saturate
}

TEST(int8_gemm_is_equal_on_all_levels) {
  const std::string before = isa_name();
  const int64_t M = 37, N = 83, K = 4500;  // two k blocks
  Block<int8_t> a(M * K), b(N * K);
  for (int64_t i = 0; i < M * K; ++i) a[i] = static_cast<int8_t>(value(i, true, i % 5 == 0));
  for (int64_t i = 0; i < N * K; ++i) b[i] = static_cast<int8_t>(value(i + 9, true, i % 4 == 0));
  std::vector<int32_t> first;
  for (const char* isa : {"generic", "avx2", "avxvnni", "avx512", "avx512vnni", "amx"}) {
    try {
      set_isa(isa);
    } catch (const Error&) {
      continue;
    }
    Block<char> packed(int8_packed_bytes(N, K));
    int8_pack({b.data(), K, 1}, N, K, packed.data());
    std::vector<int32_t> out(static_cast<size_t>(M * N), 5);
    Int8Gemm g;
    g.M = M;
    g.N = N;
    g.K = K;
    g.a = {a.data(), K, 1};
    g.packed_b = packed.data();
    g.out = out.data();
    g.out_row_stride = N;
    int8_gemm(g);
    if (first.empty()) first = out;
    CHECK(out == first);
  }
  set_isa(before);
  int64_t want = 0;
  for (int64_t k = 0; k < K; ++k) want += int64_t{a[K + k]} * b[2 * K + k];
  CHECK(first[static_cast<size_t>(N + 2)] == want);
}
