// Driver of the integer product: tasks of rows x columns run the micro-kernel over k blocks. A
// small a is packed once for all tasks; of a large one each task packs its rows into its own L2.
#include "ops/matmul/gemm_int8.h"

#include <algorithm>
#include <string>

#include "core/allocator.h"
#include "core/error.h"
#include "core/parallel.h"
#include "ops/matmul/gemm_int8_kernels.h"
#include "ops/matmul/gemm_int8_ukr.h"

namespace tercel {
namespace {

namespace registry {

#define TERCEL_INT8_UKR(feature, name, mr, panels, group, widen, needs_unsigned, lines, wide,  \
                        begin, end)                                                            \
  {#name, int8_feature::feature, mr, panels, group, widen, needs_unsigned, lines, wide, begin, \
   end,   &gemm_ukr_##name},
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

constexpr int64_t kWideRowPanels = 4;        // so many rows pay for widening
constexpr int64_t kRowsBytes = 384 * 1024;   // packed rows in use: part of an L2
constexpr int64_t kFetchedOutput = 1 << 18;  // sums of more than an L2
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

// TERCEL_TRACE=1: the micro-kernel, and why the others were left.
[[gnu::cold, gnu::noinline]] void trace_choice(const Int8Gemm& g, const Int8Ukernel& chosen) {
  std::string line =
      str("int8_gemm ", g.M, "x", g.N, "x", g.K, g.a_signed ? " int8" : " uint8", " x int8 -> ",
          dtype_name(g.out_dtype), ": micro-kernel ", chosen.name, " (refused:");
  for (const Int8Ukernel& u : registry::kUkernels) {
    if (&u == &chosen) continue;
    const CpuFeature f = static_cast<CpuFeature>(std::max(u.feature, 0));
    line += str(" ", u.name, ": ");
    if (u.feature >= 0 && !cpu_found(f)) {
      line += str("processor lacks ", feature_name(f), ";");
    } else if (u.feature >= 0 && !cpu_has(f)) {
      line += str("above the cap ", isa_name(), ";");
    } else {
      line += str("slower than ", chosen.name, ";");
    }
  }
  line.back() = ')';
  trace(line);
}

struct Product {
  const Int8Gemm& g;
  const Int8Ukernel& u;
  int64_t lines, row_bytes;    // of a packed row: lines * 4 bytes (8 when widened)
  int64_t block;               // lines of a k block
  bool wide;                   // b is widened for the task
  const char* a;               // all of it, packed; null: each task packs its rows
  int64_t col_step, row_step;  // of a task; multiples of the tile
  int64_t cols;                // tasks along n
  // What the column sums of b take away where all rows of a have one zero point: added by the first
  // k block instead of the epilogue. Null: nothing, or the epilogue's task.
  const int32_t* start;

  int32_t shift() const { return g.a_signed && u.needs_unsigned ? 128 : 0; }
  const int32_t* b_sums() const {
    return reinterpret_cast<const int32_t*>(static_cast<const char*>(g.packed_b) +
                                            int8_panels(g.N) * int8_lines(g.K) * 64);
  }

  // Rows [i0, i1), i0 a multiple of the tile, as panels.
  void pack_rows(int64_t i0, int64_t i1, char* dst) const {
    Int8PackAArgs p;
    p.a = static_cast<const char*>(g.a.data) + i0 * g.a.row_stride;
    p.row_stride = g.a.row_stride;
    p.k_stride = g.a.k_stride;
    p.rows = i1 - i0;
    p.K = g.K;
    p.mr = u.mr;
    p.group = u.group;
    p.widen = u.widen;
    p.a_signed = g.a_signed;
    p.flip = static_cast<uint8_t>(shift());
    p.dst = dst;
    int8_kernels().pack_a(p);
  }

  void finish(int32_t* acc, int64_t ld, int64_t i, int64_t j, int64_t m, int64_t n) const {
    Int8EpilogueArgs e;
    e.acc = acc;
    e.ld = ld;
    e.m = m;
    e.n = n;
    e.shift = start ? 0 : shift();
    e.zero_a = g.zero_a && !start ? g.zero_a + i * g.zero_a_stride : nullptr;
    e.zero_a_stride = g.zero_a_stride;
    e.sums = b_sums() + j;
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
    // Sums that need no epilogue go to the output. Others stay there between k blocks if they can,
    // or are finished from L1.
    const bool keep = lines > block;
    const bool bare = g.out_dtype == DType::i32 && (start || (shift() == 0 && !g.zero_a));
    const bool in_out = bare || (keep && g.out_dtype == DType::i32);
    const bool fetch = in_out && g.M * g.out_row_stride > kFetchedOutput;
    const int64_t step_bytes = row_bytes / lines * u.mr;
    alignas(64) int32_t tile[32 * 32];
    const Buffer rows(a ? 0 : ceil_div(i1 - i0, u.mr) * u.mr * row_bytes);
    if (!a) pack_rows(i0, i1, rows.data());
    const char* const panels = a ? a + i0 * row_bytes : rows.data();
    const Buffer sums(keep && !in_out ? (i1 - i0) * (j1 - j0) * 4 : 0);
    const Buffer wide_b(wide ? block * 128 : 0);
    if (u.begin) u.begin();
    for (int64_t l0 = 0; l0 < lines; l0 += block) {
      const int64_t count = std::min(block, lines - l0);
      const bool last = l0 + count == lines;
      for (int64_t j = j0; j < j1; j += nr) {
        const int64_t n = std::min(nr, j1 - j);
        const char* bp = b + j / kInt8Panel * b_panel + l0 * 64;
        if (wide) {
          int8_kernels().widen_b(bp, count, wide_b.data());
          bp = wide_b.data();
        }
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
          const char* ap = panels + (i - i0) * row_bytes + l0 * step_bytes;
          if (fetch) {  // on their way while the kernel runs
            for (int64_t r = 0; r < m; ++r) {
              __builtin_prefetch(c + r * ld, 1);
              __builtin_prefetch(c + r * ld + n - 1, 1);
            }
          }
          const int32_t* before = l0 > 0 ? c : start ? start + j : nullptr;
          // While panels of b are in use the row tiles bring the next ones to L2 piece by piece.
          const int64_t ahead = (i - i0) / u.mr * count * 32;
          const char* next = ap;
          if (j + nr < j1 && ahead < u.panels * count * 64) {
            const int64_t panel = ahead / (count * 64);
            next = b + ((j + nr) / kInt8Panel + panel) * b_panel + l0 * 64 + ahead % (count * 64);
          }
          u.run(count, ap, g.a_signed && !u.needs_unsigned, bp, wide ? 0 : b_panel, before,
                l0 > 0 ? ld : 0, c, ld, m, n, next);
          if (last && !bare) finish(c, ld, i, j, m, n);
        }
      }
    }
    if (u.end) u.end();
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
  parallel_for(panels, std::max<int64_t>(1, 64 * 1024 / (K * 16 + 1)), [&](int64_t p0, int64_t p1) {
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
  if (trace_enabled()) trace_choice(g, u);
  const int64_t lines = u.group == 64 ? int8_lines(g.K) : ceil_div(g.K, 4);
  const int64_t row_bytes = lines * (u.widen ? 8 : 4);
  const int64_t row_panels = ceil_div(g.M, u.mr);
  const bool serial = in_parallel_region() || g.M * g.N <= kSerialWork / g.K;
  const int64_t threads = serial ? 1 : num_threads();
  const int64_t nr = u.panels * kInt8Panel, tiles_n = ceil_div(g.N, nr);
  const int64_t a_bytes = row_panels * u.mr * row_bytes;
  const bool whole = a_bytes <= kRowsBytes;
  const Buffer a(whole ? a_bytes : 0);
  const bool wide = u.widen && row_panels >= kWideRowPanels;
  const int64_t block = wide ? u.wide_lines : u.lines;
  Product p{g, u, lines, row_bytes, block, wide, a.data(), 0, 0, 0, nullptr};
  const bool one_zero = !g.zero_a || g.zero_a_stride == 0;
  const uint32_t zero = static_cast<uint32_t>(p.shift()) +
                        static_cast<uint32_t>(g.zero_a && one_zero ? *g.zero_a : 0);
  const Buffer start(one_zero && zero != 0 ? g.N * 4 : 0);
  if (start.p) {
    int32_t* v = static_cast<int32_t*>(start.p);
    for (int64_t j = 0; j < g.N; ++j)
      v[j] = static_cast<int32_t>(0u - zero * static_cast<uint32_t>(p.b_sums()[j]));
    p.start = v;
  }
  if (whole) {
    parallel_for(row_panels,
                 serial ? row_panels : std::max<int64_t>(1, 128 * 1024 / (u.mr * g.K + 1)),
                 [&](int64_t p0, int64_t p1) {
                   const int64_t i0 = p0 * u.mr;
                   p.pack_rows(i0, std::min(p1 * u.mr, g.M), a.data() + i0 * row_bytes);
                 });
  }
  // Tasks of a part of the columns where the rows are packed already, else of all columns; their
  // number is a multiple of the threads. A k block of their rows is in use at a time.
  const int64_t in_use = a_bytes / lines * std::min(lines, block);
  int64_t row_tasks = whole ? 1 : ceil_div(ceil_div(in_use, kRowsBytes), threads) * threads;
  row_tasks = std::min(row_tasks, row_panels);
  const int64_t col_tasks = whole ? std::min(tiles_n, threads == 1 ? 1 : 4 * threads) : 1;
  p.row_step = ceil_div(row_panels, row_tasks) * u.mr;
  p.col_step = ceil_div(tiles_n, col_tasks) * nr;
  p.cols = ceil_div(g.N, p.col_step);
  const int64_t tasks = ceil_div(g.M, p.row_step) * p.cols;
  parallel_for(tasks, serial ? tasks : 1, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; ++t) p.task(t);
  });
}

}  // namespace tercel
