// Driver of the integer product: a is packed once, then tasks of rows x columns run the
// micro-kernel over k blocks.
#include "ops/matmul/gemm_int8.h"

#include <algorithm>

#include "core/allocator.h"
#include "core/parallel.h"
#include "ops/matmul/gemm_int8_kernels.h"
#include "ops/matmul/gemm_int8_ukr.h"

namespace tercel {
namespace {

namespace registry {

#define TERCEL_INT8_UKR(feature, name, mr, panels, group, widen, needs_unsigned) \
  {#name, int8_feature::feature, mr, panels, group, widen, needs_unsigned, &gemm_ukr_##name},
constexpr Int8Ukernel kUkernels[] = {
#include "ops/matmul/gemm_int8_ukernels.inc"
};
#undef TERCEL_INT8_UKR
}  // namespace registry

const Int8Ukernel& choose() {
  const Int8Ukernel* best = &registry::kUkernels[0];
  for (const Int8Ukernel& u : registry::kUkernels) {
    if (u.feature >= 0 && cpu_has(static_cast<CpuFeature>(u.feature))) best = &u;
  }
  return *best;
}

constexpr int64_t kLinesBlock = 1024;  // 4096 of k: a panel of a and one of b stay in L2
constexpr int64_t kSerialWork = 1 << 20;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Buffer {
  explicit Buffer(int64_t n) : bytes(n), p(n > 0 ? cpu_alloc(n) : nullptr) {}
  ~Buffer() {
    if (p) cpu_free(p, bytes);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  char* data() const { return static_cast<char*>(p); }
  int64_t bytes;
  void* p;
};

struct Product {
  const Int8Gemm& g;
  const Int8Ukernel& u;
  int64_t lines, row_bytes;  // of a packed row: lines * 4 bytes (8 when widened)
  const char* a;
  int64_t col_step, row_step;  // of a task; multiples of the tile
  int64_t cols;                // tasks along n

  void finish(int32_t* acc, int64_t ld, int64_t i, int64_t j, int64_t m, int64_t n) const {
    Int8EpilogueArgs e;
    e.acc = acc;
    e.ld = ld;
    e.m = m;
    e.n = n;
    e.shift = g.a_signed && u.needs_unsigned ? 128 : 0;
    e.zero_a = g.zero_a ? g.zero_a + i * g.zero_a_stride : nullptr;
    e.zero_a_stride = g.zero_a_stride;
    const char* b = static_cast<const char*>(g.packed_b);
    e.sums = reinterpret_cast<const int32_t*>(b + int8_panels(g.N) * int8_lines(g.K) * 64) + j;
    e.out = static_cast<char*>(g.out) + (i * g.out_row_stride + j) * dtype_size(g.out_dtype);
    e.out_row_stride = g.out_row_stride;
    e.out_dtype = g.out_dtype;
    e.e = g.epilogue;
    if (e.e.scale_a) e.e.scale_a += i * e.e.scale_a_stride;
    if (e.e.scale_b) e.e.scale_b += j * e.e.scale_b_stride;
    if (e.e.bias) e.e.bias += j;
    int8_kernels().epilogue(e);
  }

  void task(int64_t t) const {
    const int64_t i0 = t / cols * row_step, i1 = std::min(i0 + row_step, g.M);
    const int64_t j0 = t % cols * col_step, j1 = std::min(j0 + col_step, g.N);
    const int64_t nr = u.panels * kInt8Panel, b_panel = int8_lines(g.K) * 64;
    const char* b = static_cast<const char*>(g.packed_b);
    const bool keep = lines > kLinesBlock;  // sums between k blocks
    const bool in_out = g.out_dtype == DType::i32;
    alignas(64) int32_t tile[32 * 32];
    const Buffer sums(keep && !in_out ? (i1 - i0) * (j1 - j0) * 4 : 0);
    for (int64_t l0 = 0; l0 < lines; l0 += kLinesBlock) {
      const int64_t count = std::min(kLinesBlock, lines - l0);
      const bool last = l0 + count == lines;
      for (int64_t j = j0; j < j1; j += nr) {
        const int64_t n = std::min(nr, j1 - j);
        for (int64_t i = i0; i < i1; i += u.mr) {
          const int64_t m = std::min<int64_t>(u.mr, i1 - i);
          int32_t* c = tile;
          int64_t ld = nr;
          if (in_out) {
            c = static_cast<int32_t*>(g.out) + i * g.out_row_stride + j;
            ld = g.out_row_stride;
          } else if (keep) {
            ld = j1 - j0;
            c = reinterpret_cast<int32_t*>(sums.data()) + (i - i0) * ld + (j - j0);
          }
          const char* ap = a + i * row_bytes + l0 * (row_bytes / lines) * u.mr;
          u.run(count, ap, g.a_signed && !u.needs_unsigned, b + j / kInt8Panel * b_panel + l0 * 64,
                b_panel, c, ld, m, n, l0 > 0);
          if (last) finish(c, ld, i, j, m, n);
        }
      }
    }
  }
};

void empty_k(const Int8Gemm& g) {  // all sums are 0, whatever the zero points
  const Buffer zeros(g.N * 4);
  for (int64_t i = 0; i < g.M; ++i) {
    std::fill_n(zeros.data(), g.N * 4, char(0));
    Int8EpilogueArgs e{};
    e.acc = reinterpret_cast<int32_t*>(zeros.data());
    e.m = 1;
    e.n = g.N;
    e.out = static_cast<char*>(g.out) + i * g.out_row_stride * dtype_size(g.out_dtype);
    e.out_dtype = g.out_dtype;
    e.e = g.epilogue;
    if (e.e.scale_a) e.e.scale_a += i * e.e.scale_a_stride;
    int8_kernels().epilogue(e);
  }
}

}  // namespace

const char* int8_kernel_name() { return choose().name; }

int64_t int8_packed_bytes(int64_t N, int64_t K) {
  return int8_panels(N) * (int8_lines(K) * 64 + kInt8Panel * 4);
}

void int8_pack(const Int8Matrix& b, int64_t N, int64_t K, void* packed) {
  const int64_t panels = int8_panels(N);
  Int8PackBArgs args{b, N, K, 0, panels, static_cast<int8_t*>(packed), nullptr};
  args.sums = reinterpret_cast<int32_t*>(args.panels + panels * int8_lines(K) * 64);
  parallel_for(panels, std::max<int64_t>(1, 256 * 1024 / (K * 16 + 1)),
               [&](int64_t p0, int64_t p1) {
                 Int8PackBArgs part = args;
                 part.p0 = p0;
                 part.p1 = p1;
                 int8_kernels().pack_b(part);
               });
}

void int8_gemm(const Int8Gemm& g) {
  if (g.M == 0 || g.N == 0) return;
  if (g.K == 0) return empty_k(g);
  const Int8Ukernel& u = choose();
  if (trace_enabled()) trace(std::string("int8_gemm: ") + u.name);
  const int64_t lines = u.group == 64 ? int8_lines(g.K) : ceil_div(g.K, 4);
  const int64_t row_bytes = lines * (u.widen ? 8 : 4);
  const int64_t row_panels = ceil_div(g.M, u.mr);
  const Buffer a(row_panels * u.mr * row_bytes);
  const bool serial = in_parallel_region() || g.M * g.N <= kSerialWork / g.K;
  const auto pack = [&](int64_t p0, int64_t p1) {
    Int8PackAArgs p;
    p.a = static_cast<const char*>(g.a.data) + p0 * u.mr * g.a.row_stride;
    p.row_stride = g.a.row_stride;
    p.k_stride = g.a.k_stride;
    p.rows = std::min(p1 * u.mr, g.M) - p0 * u.mr;
    p.K = g.K;
    p.mr = u.mr;
    p.group = u.group;
    p.widen = u.widen;
    p.a_signed = g.a_signed;
    p.flip = g.a_signed && u.needs_unsigned ? 0x80 : 0;
    p.dst = a.data() + p0 * u.mr * row_bytes;
    int8_kernels().pack_a(p);
  };
  parallel_for(row_panels,
               serial ? row_panels : std::max<int64_t>(1, 128 * 1024 / (u.mr * g.K + 1)), pack);

  Product p{g, u, lines, row_bytes, a.data(), 0, 0, 0};
  const int64_t nr = u.panels * kInt8Panel, tiles_n = ceil_div(g.N, nr);
  // Rows of a task: their part of a in half an L2; columns: enough tasks for the threads.
  const int64_t max_rows =
      std::max<int64_t>(1, 384 * 1024 / (u.mr * std::min(row_bytes, kLinesBlock * 4)));
  const int64_t threads = serial ? 1 : num_threads();
  int64_t row_tasks = ceil_div(row_panels, max_rows);
  const int64_t col_tasks =
      std::min(tiles_n, row_tasks >= 4 * threads ? 1 : ceil_div(4 * threads, row_tasks));
  row_tasks = ceil_div(row_panels, ceil_div(row_panels, row_tasks));
  p.row_step = ceil_div(row_panels, row_tasks) * u.mr;
  p.col_step = ceil_div(tiles_n, col_tasks) * nr;
  p.cols = ceil_div(g.N, p.col_step);
  const int64_t tasks = ceil_div(g.M, p.row_step) * p.cols;
  parallel_for(tasks, serial ? tasks : 1, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; ++t) p.task(t);
  });
}

}  // namespace tercel
