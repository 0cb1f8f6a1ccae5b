// Choice of path and the five loops of the packed product; micro-kernels: gemm_choice.cpp. ISA
// independent: everything that touches elements is behind gemm_kernels() and the micro-kernel
// registry.
#include "ops/matmul/gemm.h"

#include <algorithm>
#include <utility>

#include "core/parallel.h"
#include "ops/matmul/gemm_choice.h"
#include "ops/matmul/gemm_kernels.h"

namespace tercel {

using namespace gemm_driver;

namespace {

// Sums may be written straight into the output.
bool sums_in_out(const GemmArgs& g) {
  return g.out_col_stride == 1 && (g.out_dtype == DType::f32 || g.out_dtype == DType::f64) &&
         !(g.epilogue.beta != 0.0 && g.epilogue.c == g.out) && g.epilogue.residual != g.out;
}

// Elements in memory are those of the accumulation.
bool in_place(const GemmOperand& x) {
  return (x.dtype == DType::f32 || x.dtype == DType::f64) && !x.scale.data;
}

// out^T = B^T A^T: the operands and the output strides change places, the sums do not change. Not
// for products on pairs, nor may one become such: its rows would count as columns.
GemmArgs transposed(const GemmArgs& g) {
  GemmArgs t = g;
  t.f32_products = -1;
  std::swap(t.M, t.N);
  std::swap(t.a, t.b);
  std::swap(t.out_row_stride, t.out_col_stride);
  t.epilogue = transposed(g.epilogue);
  return t;
}

// Finishes the tile [i0, i0 + m) x [j0, j0 + n) whose sums are at `acc`.
void finish(const GemmArgs& g, const void* acc, int64_t ld, int64_t i0, int64_t j0, int64_t m,
            int64_t n) {
  GemmEpilogueArgs e;
  e.acc = acc;
  e.ld = ld;
  e.m = m;
  e.n = n;
  e.out = static_cast<char*>(g.out) +
          (i0 * g.out_row_stride + j0 * g.out_col_stride) * dtype_size(g.out_dtype);
  e.out_row_stride = g.out_row_stride;
  e.out_col_stride = g.out_col_stride;
  e.out_dtype = g.out_dtype;
  e.epilogue = g.epilogue;
  advance(e.epilogue, i0, j0, g.out_row_stride, g.out_col_stride, dtype_size(g.out_dtype));
  gemm_epilogue_kernels().epilogue(e);
}

// Rows [row0, row0 + rows) x [k0, k0 + kc) in panels of `width`; width 1 gives plain rows, which
// may lie row_stride >= kc elements apart.
void pack_operand(const GemmOperand& x, int64_t row0, int64_t rows, int64_t k0, int64_t kc,
                  int width, void* dst, int64_t row_stride = 0) {
  if (x.pack) return x.pack(x.context, row0, rows, k0, kc, width, dst);
  GemmPackArgs p;
  p.src = static_cast<const char*>(x.data) +
          (row0 * x.row_stride + k0 * x.k_stride) * dtype_size(x.dtype);
  p.src_dtype = x.dtype;
  p.row_stride = x.row_stride;
  p.k_stride = x.k_stride;
  p.rows = rows;
  p.kc = kc;
  p.width = width;
  p.dst = dst;
  p.panel_stride = row_stride > 0 ? row_stride : kc * width;
  p.scale = x.scale;
  p.row0 = row0;
  p.k0 = k0;
  gemm_kernels().pack(p);
}

// Bytes of kc columns of one row in a panel of `u`.
int64_t row_bytes(const GemmUkernel& u, int64_t kc) {
  return ceil_div(kc, u.k_unit) * u.k_unit * u.packed_bytes * u.products;
}
// Panels keep their bytes whatever the number of products; with pairs a block is no rounding.
int64_t k_block(const GemmUkernel& u) {
  return u.products == 1 ? kGemmKBlock : kGemmKBlock / u.products / u.k_unit * u.k_unit;
}

// The same in the panels of a micro-kernel; side 0: left, 1: right.
void pack_panels(const GemmUkernel& u, int side, const GemmOperand& x, int64_t row0, int64_t rows,
                 int64_t k0, int64_t kc, void* dst) {
  const int width = side == 0 ? u.mr : u.nr;
  if (!u.pairs()) return pack_operand(x, row0, rows, k0, kc, width, dst);
  GemmPackArgs p{};
  p.src = static_cast<const char*>(x.data) +
          (row0 * x.row_stride + k0 * x.k_stride) * dtype_size(x.dtype);
  p.products = u.products;
  p.src_dtype = x.dtype;
  p.row_stride = x.row_stride;
  p.k_stride = x.k_stride;
  p.rows = rows;
  p.kc = kc;
  p.width = width;
  p.dst = dst;
  p.panel_stride = row_bytes(u, kc) / 2 * width;
  gemm_kernels().pack_pairs(p, side == 1);
}

// Panels of a whole operand, k block by k block.
void prepack(const GemmUkernel& u, int side, const GemmOperand& src, int64_t rows, int64_t K,
             void* dst) {
  const int width = side == 0 ? u.mr : u.nr;
  const int64_t padded = ceil_div(rows, width) * width, step = k_block(u);
  for (int64_t pc = 0; pc < K; pc += step) {
    const int64_t kc = std::min(step, K - pc);
    const int64_t grain = std::max<int64_t>(1, 64 * 1024 / (kc * width));
    char* const to = static_cast<char*>(dst) + padded * row_bytes(u, pc);
    parallel_for(padded / width, grain, [&](int64_t q0, int64_t q1) {
      const int64_t r0 = q0 * width;
      pack_panels(u, side, src, r0, std::min(q1 * width, rows) - r0, pc, kc,
                  to + r0 * row_bytes(u, kc));
    });
  }
}
int64_t prepack_bytes(const GemmUkernel& u, int side, int64_t rows, int64_t K) {
  const int width = side == 0 ? u.mr : u.nr;
  return ceil_div(rows, width) * width * row_bytes(u, K);
}

// ---- no product: K == 0
// ----------------------------------------------------------------------------
void gemm_empty_k(const GemmArgs& g) {
  const int64_t cols = std::min<int64_t>(g.N, 4096);
  const Workspace zeros(cols * 8);
  std::fill_n(zeros.data(), cols * 8, char(0));
  for (int64_t j = 0; j < g.N; j += cols)
    finish(g, zeros.data(), 0, 0, j, g.M, std::min(cols, g.N - j));
}

// ---- small: operands in place, one thread
// ----------------------------------------------------------
bool use_direct(const GemmArgs& g) {
  return plain(g.a) && plain(g.b) && g.M * g.N <= kDirectMaxWork &&
         g.M * g.N * g.K <= kDirectMaxWork;
}

void gemm_direct(const GemmArgs& g) {
  const GemmUkernel& u = *choose(g).ukr;
  const int64_t es = acc_bytes(g);
  const int64_t kc_max = std::min(g.K, kGemmKBlock);
  // B with unit column stride is read in place, otherwise it is packed into panels of nr columns.
  // Narrow formats are converted first: A into rows. Rows of B a multiple of 512 bytes apart share
  // few sets of L1; with enough rows of A to reuse them they are packed too.
  const bool crowded = g.M >= 4 * u.direct_mr && g.b.k_stride * es % 512 == 0 && g.K >= 16;
  const bool pack_b = !in_place(g.b) || crowded || (g.b.row_stride != 1 && g.N > 1);
  const bool pack_a = !in_place(g.a);
  const bool in_out = sums_in_out(g);
  const int64_t b_bytes = pack_b ? ceil_div(g.N, u.nr) * u.nr * kc_max * es : 0;
  const int64_t a_bytes = pack_a ? ceil_div(g.M * kc_max * es, 64) * 64 : 0;
  const Workspace work(b_bytes + a_bytes + (in_out ? 0 : g.M * g.N * es));
  char* const a_work = work.data() + b_bytes;
  char* sums = in_out ? static_cast<char*>(g.out) : a_work + a_bytes;
  const int64_t ld = in_out ? g.out_row_stride : g.N;
  const int64_t row_steps = ceil_div(g.M, u.direct_mr);
  const int64_t step = ceil_div(g.M, row_steps);
  const int64_t grain = std::max<int64_t>(1, kSerialWork / (step * g.N * g.K)) * step;
  for (int64_t k0 = 0; k0 < g.K; k0 += kGemmKBlock) {
    const int64_t kc = std::min(kGemmKBlock, g.K - k0);
    const char* a = static_cast<const char*>(g.a.data) + k0 * g.a.k_stride * es;
    const char* b = static_cast<const char*>(g.b.data) + k0 * g.b.k_stride * es;
    if (pack_b) pack_operand(g.b, 0, g.N, k0, kc, u.nr, work.data());
    if (pack_a) {
      pack_operand(g.a, 0, g.M, k0, kc, 1, a_work);
      a = a_work;
    }
    const int64_t a_rs = pack_a ? kc : g.a.row_stride, a_ks = pack_a ? 1 : g.a.k_stride;
    const int64_t n_step = pack_b ? u.nr : g.N;
    const int64_t b_ks = pack_b ? u.nr : g.b.k_stride;
    parallel_for(g.M, grain, [&](int64_t i0, int64_t i1) {
      for (int64_t j = 0; j < g.N; j += n_step) {
        const char* bj = pack_b ? work.data() + j * kc * es : b;
        const int64_t n = std::min(n_step, g.N - j);
        for (int64_t i = i0; i < i1; i += step) {
          u.direct(kc, a + i * a_rs * es, a_rs, a_ks, bj, b_ks, sums + (i * ld + j) * es, ld,
                   std::min(step, i1 - i), n, k0 > 0);
        }
      }
    });
  }
  if (!in_out || !trivial(g.epilogue)) finish(g, sums, ld, 0, 0, g.M, g.N);
}

// ---- few rows: stream the right operand
// ------------------------------------------------------------
bool use_skinny(const GemmArgs& g) {
  if (g.M > kSkinnyRows || g.N < 64 || !plain(g.a) || !plain(g.b)) return false;
  if (g.b.scale.data && (g.b.k_stride != 1 || g.b.scale.k_block % 16 != 0)) return false;
  return (g.b.row_stride == 1 || g.b.k_stride == 1) &&
         g.N * g.K * dtype_size(g.b.dtype) >= kSkinnyMinBytes;
}

void gemm_skinny(const GemmArgs& g) {
  const int64_t es = acc_bytes(g);
  const bool in_out = sums_in_out(g);
  const bool streamed = g.b.k_stride != 1;
  const bool convert = !in_place(g.a);
  const int64_t sums_bytes = in_out ? 0 : ceil_div(g.M * g.N * es, 64) * 64;
  const int64_t carry_bytes = streamed && g.K > kGemmKBlock ? ceil_div(g.M * g.N * es, 64) * 64 : 0;
  const Workspace work(sums_bytes + carry_bytes + (convert ? g.M * g.K * es : 0));
  char* sums = in_out ? static_cast<char*>(g.out) : work.data();
  char* const x_work = work.data() + sums_bytes + carry_bytes;
  if (convert) pack_operand(g.a, 0, g.M, 0, g.K, 1, x_work);
  const int64_t ld = in_out ? g.out_row_stride : g.N;
  // Whole 64-byte lines of the output per thread, and enough work to pay for waking one.
  const int64_t per_column = g.M * g.K + 1;
  int64_t grain = std::max<int64_t>(ceil_div(ceil_div(g.N, 4 * num_threads()), 64) * 64,
                                    ceil_div(kSerialWork / 8, per_column * 64) * 64);
  if (streamed) grain = std::max<int64_t>(grain, ceil_div(ceil_div(g.N, num_threads()), 64) * 64);
  parallel_for(g.N, grain, [&](int64_t n0, int64_t n1) {
    SkinnyArgs s;
    s.M = g.M;
    s.N = n1 - n0;
    s.K = g.K;
    s.x = convert ? x_work : g.a.data;
    s.x_rs = convert ? g.K : g.a.row_stride;
    s.x_ks = convert ? 1 : g.a.k_stride;
    s.w = static_cast<const char*>(g.b.data) + n0 * g.b.row_stride * dtype_size(g.b.dtype);
    s.w_dtype = g.b.dtype;
    s.w_ns = g.b.row_stride;
    s.w_ks = g.b.k_stride;
    s.scale = g.b.scale;
    s.row0 = n0;
    s.acc = sums + n0 * es;
    s.ld = ld;
    s.work = work.data() + sums_bytes + n0 * g.M * es;
    gemm_kernels().skinny(s);
    if (!in_out || !trivial(g.epilogue)) finish(g, sums + n0 * es, ld, 0, n0, g.M, n1 - n0);
  });
}

// ---- packed: five loops around the micro-kernel
// ----------------------------------------------------

// Grid of tasks over one block of the output, in whole tiles.
struct Grid {
  int64_t rows, cols;            // tasks
  int64_t row_tiles, col_tiles;  // per task
};

// Few large tasks, spread evenly; a split of the columns packs A again, so it must gain something.
Grid make_grid(int64_t tiles_m, int64_t tiles_n, int64_t max_row_tiles, int threads) {
  Grid best{};
  double best_cost = 0;
  for (int64_t cols = 1; cols <= std::min<int64_t>(threads, tiles_n); ++cols) {
    int64_t rows = std::max<int64_t>(ceil_div(tiles_m, max_row_tiles), ceil_div(threads, cols));
    for (int extra = 0; extra < 2 && rows * cols % threads != 0 && rows < tiles_m; ++extra) ++rows;
    rows = std::min(rows, tiles_m);
    const int64_t row_tiles = ceil_div(tiles_m, rows), col_tiles = ceil_div(tiles_n, cols);
    rows = ceil_div(tiles_m, row_tiles);
    const int64_t waves = ceil_div(rows * ceil_div(tiles_n, col_tiles), threads);
    // Packing a row tile costs about as much as multiplying it with one column tile.
    const double cost = static_cast<double>(waves) * static_cast<double>(row_tiles) *
                        (static_cast<double>(col_tiles) + 1.0);
    if (cols == 1 || cost < best_cost) {
      best = {rows, ceil_div(tiles_n, col_tiles), row_tiles, col_tiles};
      best_cost = cost;
    }
  }
  return best;
}

struct Packed {
  const GemmArgs& g;
  const GemmUkernel& u;
  // Block in work: columns [jc, jc + nc), k [pc, pc + kc); bytes of a packed row of it.
  int64_t jc, nc, pc, kc, row;
  const char* b_panels;
  char* sums;   // of (0, jc); null: a tile at a time on the stack
  bool in_out;  // sums lie in the output
  int64_t ld;
  Grid grid;

  bool last() const { return pc + kc == g.K; }

  // Rows [i0, i0 + m) of A in panels at `a` times columns [j0, j1) of the block. While a B panel is
  // in use the row tiles bring the next one from L3 to L2 piece by piece.
  void multiply(const char* a, int64_t i0, int64_t m, int64_t j0, int64_t j1) const {
    alignas(64) char tile[16 * 64 * 8];
    const int64_t es = u.elem_bytes, depth = row / u.packed_bytes;
    if (u.begin) u.begin();
    for (int64_t j = j0; j < j1; j += u.nr) {
      const int64_t tn = std::min<int64_t>(u.nr, j1 - j);
      const char* b = b_panels + j * row;
      const int64_t panel = u.nr * row;
      for (int64_t i = 0; i < m; i += u.mr) {
        const int64_t tm = std::min<int64_t>(u.mr, m - i);
        char* c = sums ? sums + ((i0 + i) * ld + j) * es : tile;
        const int64_t c_ld = sums ? ld : u.nr;
        const int64_t ahead = i / u.mr * kc * 16;
        const char* next = j + u.nr < j1 && ahead < panel ? b + panel + ahead : a;
        u.packed(depth, a + i * row, b, c, c_ld, tm, tn, pc > 0, next);
        if (last() && !(in_out && trivial(g.epilogue))) {
          finish(g, c, c_ld, i0 + i, jc + j, tm, tn);
        }
      }
    }
    if (u.end) u.end();
  }
  void run_tasks(int64_t begin, int64_t end) const {
    const int64_t a_rows = grid.row_tiles * u.mr;
    const Workspace work(g.a.packed ? 0 : a_rows * row);
    int64_t in_work = -1;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t band = t / grid.cols, col = t % grid.cols;
      const int64_t i0 = band * a_rows, m = std::min(a_rows, g.M - i0);
      const int64_t j0 = col * grid.col_tiles * u.nr, j1 = std::min(j0 + grid.col_tiles * u.nr, nc);
      const char* a = work.data();
      if (g.a.packed) {
        // Panels of k block pc lie behind those of earlier blocks, each block holding all rows.
        a = static_cast<const char*>(g.a.packed) + row_bytes(u, pc) * ceil_div(g.M, u.mr) * u.mr +
            i0 * row;
      } else if (in_work != band) {
        pack_panels(u, 0, g.a, i0, m, pc, kc, work.data());
        in_work = band;
      }
      multiply(a, i0, m, j0, j1);
    }
  }
};

void gemm_packed(const GemmArgs& g, const Choice& choice, bool serial) {
  const GemmUkernel& u = *choice.ukr;
  serial = serial || in_parallel_region() || g.M * g.N <= kSerialWork / g.K;
  const int threads = serial ? 1 : num_threads();
  const int64_t nc_max = std::min(choice.block.nc, ceil_div(g.N, u.nr) * u.nr);
  const bool in_out = sums_in_out(g);
  const int64_t k_step = k_block(u);
  const bool keep_sums = !in_out && g.K > k_step;  // between k blocks
  const Workspace b_work(g.b.packed ? 0 : nc_max * row_bytes(u, std::min(g.K, k_step)));
  const Workspace sums_work(keep_sums ? g.M * nc_max * u.elem_bytes : 0);

  for (int64_t jc = 0; jc < g.N; jc += nc_max) {
    const int64_t nc = std::min(nc_max, g.N - jc);
    const int64_t tiles_n = ceil_div(nc, u.nr);
    Packed p{g, u, jc, nc, 0, 0, 0, b_work.data(), nullptr, in_out, 0, {}};
    p.sums = in_out ? static_cast<char*>(g.out) + jc * u.elem_bytes : sums_work.data();
    p.ld = in_out ? g.out_row_stride : nc_max;
    p.grid = make_grid(ceil_div(g.M, u.mr), tiles_n, std::max<int64_t>(1, choice.block.mc / u.mr),
                       threads);
    for (int64_t pc = 0; pc < g.K; pc += k_step) {
      p.pc = pc;
      p.kc = std::min(k_step, g.K - pc);
      p.row = row_bytes(u, p.kc);
      if (g.b.packed) {
        p.b_panels = static_cast<const char*>(g.b.packed) +
                     row_bytes(u, pc) * ceil_div(g.N, u.nr) * u.nr + jc * p.row;
      } else {
        const int64_t panels =
            std::max<int64_t>(serial ? tiles_n : ceil_div(tiles_n, 2 * threads), 1);
        parallel_for(tiles_n, panels, [&](int64_t q0, int64_t q1) {
          const int64_t r0 = q0 * u.nr, rows = std::min(q1 * u.nr, nc) - r0;
          pack_panels(u, 1, g.b, jc + r0, rows, pc, p.kc, b_work.data() + r0 * p.row);
        });
      }
      const int64_t tasks = p.grid.rows * p.grid.cols;
      parallel_for(tasks, serial ? tasks : 1, [&](int64_t t0, int64_t t1) { p.run_tasks(t0, t1); });
    }
  }
}

// Block scales of an operand whose rows start at `row`, a multiple of the block.
GemmBlockScale rows_from(const GemmBlockScale& s, int64_t row) {
  GemmBlockScale t = s;
  if (t.data) t.data += row / s.row_block * s.row_stride;
  return t;
}

// ---- one row block, many columns: column chunks, no barrier
// ----------------------------------------
bool use_columns(const GemmArgs& g) {
  return g.M <= choose(g).block.mc && g.N >= 2 * kColumnChunk && plain(g.b) && !g.a.packed &&
         kColumnChunk % g.b.scale.row_block == 0;
}

void gemm_columns(const GemmArgs& g) {
  const Choice choice = choose(g);
  const GemmUkernel& u = *choice.ukr;
  const Workspace a_work(prepack_bytes(u, 0, g.M, g.K));
  prepack(u, 0, g.a, g.M, g.K, a_work.data());
  parallel_for(g.N, kColumnChunk, [&](int64_t n0, int64_t n1) {
    for (int64_t n = n0; n < n1; n += kColumnChunk) {
      GemmArgs part = g;
      part.N = std::min(kColumnChunk, n1 - n);
      part.a.packed = a_work.data();
      part.b.data = static_cast<const char*>(g.b.data) + n * g.b.row_stride * dtype_size(g.b.dtype);
      part.b.scale = rows_from(g.b.scale, n);
      part.out = static_cast<char*>(g.out) + n * g.out_col_stride * dtype_size(g.out_dtype);
      advance(part.epilogue, 0, n, g.out_row_stride, g.out_col_stride, dtype_size(g.out_dtype));
      gemm_packed(part, choice, true);
    }
  });
}

// ---- one operand stays in L2: its rows are read in place, no barrier
// ---------------------------------------------------------------
// The left operand has unit k stride and is never interleaved. Either it is the one that stays in
// L2 while each thread makes the panels of its columns (of a B in place while the first row tile is
// multiplied), or the right operand stays there as panels while the rows stream by.
bool fits_l2(const GemmArgs& g, int64_t rows) {
  return rows * g.K <= kResidentBytes / acc_bytes(g);
}
// Rows some multiple of 2 KB apart share few sets of L1: those, and narrow formats, are copied.
bool copies_rows(const GemmArgs& g) {
  return !in_place(g.a) || (g.M > 4 && g.a.row_stride * acc_bytes(g) % 2048 == 0);
}
int64_t padded_row(int64_t kc) { return ceil_div(kc, 16) * 16 + 16; }

void gemm_resident_rows(const GemmArgs& g) {
  const GemmUkernel& u = *choose(g).ukr;
  const int64_t es = u.elem_bytes, kb = std::min(g.K, kGemmKBlock);
  const bool copy = copies_rows(g), in_out = sums_in_out(g);
  const bool keep_panel = in_place(g.b) && g.b.row_stride == 1 && g.b.k_stride > 0;
  const int64_t stride = copy ? padded_row(g.K) : g.a.row_stride;
  const Workspace rows_work(copy ? g.M * stride * es : 0);
  if (copy) {
    parallel_for(g.M, std::max<int64_t>(1, 64 * 1024 / g.K), [&](int64_t i0, int64_t i1) {
      pack_operand(g.a, i0, i1 - i0, 0, g.K, 1, rows_work.data() + i0 * stride * es, stride);
    });
  }
  const char* const a = copy ? rows_work.data() : static_cast<const char*>(g.a.data);
  const int64_t panels = ceil_div(g.N, u.nr), panel_bytes = kb * u.nr * es;
  const int64_t grain =
      std::max(ceil_div(panels, 4 * num_threads()), ceil_div(kSerialWork / 2, g.M * g.K * u.nr));
  parallel_for(panels, grain, [&](int64_t q0, int64_t q1) {
    const Workspace work(panel_bytes + (in_out ? 0 : g.M * u.nr * es));
    char* const panel = work.data();
    for (int64_t j = q0 * u.nr; j < std::min(q1 * u.nr, g.N); j += u.nr) {
      const int64_t n = std::min<int64_t>(u.nr, g.N - j);
      char* const sums = in_out ? static_cast<char*>(g.out) + j * es : work.data() + panel_bytes;
      const int64_t ld = in_out ? g.out_row_stride : u.nr;
      for (int64_t k0 = 0; k0 < g.K; k0 += kGemmKBlock) {
        const int64_t kc = std::min(kGemmKBlock, g.K - k0);
        if (!keep_panel) pack_operand(g.b, j, n, k0, kc, u.nr, panel);
        for (int64_t i = 0; i < g.M; i += u.mr) {
          const bool first = keep_panel && i == 0;
          const char* b =
              first ? static_cast<const char*>(g.b.data) + (k0 * g.b.k_stride + j) * es : panel;
          u.rows(kc, a + (i * stride + k0) * es, stride, b, first ? g.b.k_stride : 0, panel,
                 sums + i * ld * es, ld, std::min<int64_t>(u.mr, g.M - i), n, k0 > 0, nullptr);
        }
      }
      if (!in_out || !trivial(g.epilogue)) finish(g, sums, ld, 0, j, g.M, n);
    }
  });
}

// Rows of sums that are finished together, in whole tiles: enough for runs of several cache lines
// where the output lies across.
int64_t strip_tiles(int64_t tile_bytes) {
  const int64_t fit = kStripBytes / tile_bytes;
  return fit >= 8 ? 8 : fit >= 4 ? 4 : 1;
}

void gemm_resident_panels(const GemmArgs& g) {
  const GemmUkernel& u = *choose(g).ukr;
  const int64_t es = u.elem_bytes, kb = std::min(g.K, kGemmKBlock);
  const bool copy = copies_rows(g), in_out = sums_in_out(g);
  const int64_t padded = ceil_div(g.N, u.nr) * u.nr, ld = in_out ? g.out_row_stride : padded;
  const int64_t stride = copy ? padded_row(kb) : g.a.row_stride;
  const int64_t strip = (in_out ? 1 : strip_tiles(padded * es * u.mr)) * u.mr;
  const Workspace panels(prepack_bytes(u, 1, g.N, g.K));
  prepack(u, 1, g.b, g.N, g.K, panels.data());
  const char* const rows = static_cast<const char*>(g.a.data);
  // Rows [i, i + m) over all columns, sums to c.
  const auto tile = [&](int64_t i, int64_t m, char* c, char* copied) {
    for (int64_t k0 = 0; k0 < g.K; k0 += kGemmKBlock) {
      const int64_t kc = std::min(kGemmKBlock, g.K - k0);
      // The rows after these: the next k block, or the next tile.
      const bool more_k = k0 + kc < g.K;
      const int64_t next_row = more_k ? i : i + u.mr;
      if (copy) pack_operand(g.a, i, m, k0, kc, 1, copied, stride);
      const char* a = copy ? copied : rows + (i * stride + k0) * es;
      for (int64_t j = 0; j < g.N; j += u.nr) {
        const int64_t ahead = next_row + j / u.nr * 4;
        const bool fetch = !copy && ahead + 4 <= g.M && ahead + 4 <= next_row + u.mr + 2;
        u.rows(kc, a, stride, panels.data() + (k0 * padded + j * kc) * es, 0, nullptr, c + j * es,
               ld, m, std::min<int64_t>(u.nr, g.N - j), k0 > 0,
               fetch ? rows + (ahead * stride + (more_k ? k0 + kc : 0)) * es : nullptr);
      }
    }
  };
  const int64_t strips = ceil_div(g.M, strip);
  const int64_t grain =
      std::max(ceil_div(strips, 8 * num_threads()), ceil_div(kSerialWork / 2, g.N * g.K * strip));
  parallel_for(strips, grain, [&](int64_t t0, int64_t t1) {
    const int64_t copy_bytes = copy ? u.mr * stride * es : 0;
    const Workspace work(copy_bytes + (in_out ? 0 : strip * padded * es));
    for (int64_t s0 = t0 * strip; s0 < std::min(t1 * strip, g.M); s0 += strip) {
      const int64_t s1 = std::min(s0 + strip, g.M);
      char* const sums =
          in_out ? static_cast<char*>(g.out) + s0 * ld * es : work.data() + copy_bytes;
      for (int64_t i = s0; i < s1; i += u.mr) {
        tile(i, std::min<int64_t>(u.mr, s1 - i), sums + (i - s0) * ld * es, work.data());
      }
      if (!in_out || !trivial(g.epilogue)) finish(g, sums, ld, s0, 0, s1 - s0, g.N);
    }
  });
}

// The path and the orientation for operands of which one fits L2, or none.
enum class Resident { none, rows, panels };
struct ResidentPlan {
  Resident kind = Resident::none;
  bool swap = false;
};
ResidentPlan resident_plan(const GemmArgs& g) {
  if (!plain(g.a) || !plain(g.b)) return {};
  const bool a_fits = fits_l2(g, g.M), b_fits = fits_l2(g, g.N);
  const int64_t enough = 2 * num_threads();  // tasks
  if (g.a.k_stride == 1) {
    // A B with k contiguous has to be turned over: rather the smaller operand.
    const bool turn = g.b.k_stride == 1 && g.b.row_stride != 1;
    if (turn && a_fits && g.M < g.N) return {Resident::panels, true};
    if (turn && b_fits) return {Resident::panels, false};
    if (a_fits && (g.N >= enough * 32 || !b_fits)) return {Resident::rows, false};
    if (b_fits) return {Resident::panels, false};
    return {};
  }
  if (g.b.k_stride == 1 && g.a.row_stride == 1) {
    if (a_fits) return {Resident::panels, true};
    if (b_fits) return {Resident::rows, true};
  }
  return {};
}

// ---- integers
// --------------------------------------------------------------------------------------
void gemm_int(const GemmArgs& g) {
  const int64_t per_row = std::max<int64_t>(1, g.N * std::max<int64_t>(g.K, 1));
  parallel_for(g.M, std::max<int64_t>(1, kSerialWork / 8 / per_row), [&](int64_t m0, int64_t m1) {
    const IntGemmArgs args{g.N,
                           g.K,
                           g.a.data,
                           g.a.row_stride,
                           g.a.k_stride,
                           g.b.data,
                           g.b.k_stride,
                           g.b.row_stride,
                           g.out,
                           g.out_row_stride,
                           g.out_col_stride,
                           g.out_dtype,
                           m0,
                           m1};
    gemm_kernels().int_gemm(args);
  });
}

void traced(const GemmArgs& g, const char* path) {
  if (trace_enabled()) trace_choice(g, path);
}

void gemm_resident(const GemmArgs& g, Resident kind) {
  kind == Resident::rows ? gemm_resident_rows(g) : gemm_resident_panels(g);
}

// Everything but few rows or columns.
void gemm_tiles(const GemmArgs& g, bool pairs) {
  if (!pairs) {
    const bool direct = use_direct(g), several_tiles = g.M >= 28 && g.N >= 32 && g.K >= 32;
    const ResidentPlan plan = direct && !several_tiles ? ResidentPlan{} : resident_plan(g);
    if (plan.kind != Resident::none) {
      traced(g, plan.kind == Resident::rows ? "rows in L2" : "panels in L2");
      return plan.swap ? gemm_resident(transposed(g), plan.kind) : gemm_resident(g, plan.kind);
    }
    if (direct) return traced(g, "small, in place"), gemm_direct(g);
  }
  if (use_columns(g)) return traced(g, "column chunks"), gemm_columns(g);
  traced(g, "packed");
  gemm_packed(g, choose(g), false);
}

}  // namespace

void gemm(const GemmArgs& g) {
  if (g.M == 0 || g.N == 0) return;
  if (is_int(g.a.dtype)) return gemm_int(g);
  if (g.K == 0) return gemm_empty_k(g);
  if (use_pairs(g)) return gemm_tiles(g, true);  // one definition for any number of rows
  if (g.N > kSkinnyRows || g.N >= g.M) {
    if (use_skinny(g)) return traced(g, "few rows, streamed"), gemm_skinny(g);
  } else {
    const GemmArgs t = transposed(g);
    if (use_skinny(t)) return traced(t, "few columns, streamed"), gemm_skinny(t);
  }
  const bool swap = g.out_col_stride != 1 && (g.out_row_stride == 1 || g.N == 1);
  swap ? gemm_tiles(transposed(g), false) : gemm_tiles(g, false);
}

namespace {
// One call of the micro-kernel per few rows does it all.
bool is_single_step(const GemmArgs& g) {
  return use_direct(g) && g.M <= 16 && g.K > 0 && g.K <= kGemmKBlock && is_float(g.a.dtype) &&
         !use_pairs(g) && in_place(g.a) && in_place(g.b) && (g.b.row_stride == 1 || g.N == 1) &&
         sums_in_out(g) && trivial(g.epilogue) && !use_skinny(g);
}
}  // namespace

void gemm_batched(const GemmBatchArgs& args) {
  int64_t count = 1;
  for (int d = 0; d < args.ndim; ++d) count *= args.size[d];
  if (count == 0) return;
  const GemmArgs& first = args.gemm;
  const int64_t a_size = dtype_size(first.a.dtype), b_size = dtype_size(first.b.dtype);
  const int64_t out_size = dtype_size(first.out_dtype);
  const GemmUkernel& u = *choose(first).ukr;
  const bool single = is_single_step(first);
  if (single && trace_enabled()) trace_choice(first, "batch of small ones, in place");
  const auto run = [&](int64_t begin, int64_t end) {
    int64_t index[14];
    int64_t rest = begin;
    int64_t a = 0, b = 0, c = 0, out = 0, residual = 0;
    for (int d = args.ndim - 1; d >= 0; --d) {
      index[d] = rest % args.size[d];
      rest /= args.size[d];
      a += index[d] * args.a_stride[d];
      b += index[d] * args.b_stride[d];
      c += index[d] * args.c_stride[d];
      out += index[d] * args.out_stride[d];
      residual += index[d] * args.residual_stride[d];
    }
    GemmArgs g = first;
    for (int64_t t = begin; t < end; ++t) {
      g.a.data = static_cast<const char*>(first.a.data) + a * a_size;
      g.b.data = static_cast<const char*>(first.b.data) + b * b_size;
      if (first.epilogue.c)
        g.epilogue.c = static_cast<const char*>(first.epilogue.c) + c * out_size;
      if (first.epilogue.residual) {
        g.epilogue.residual =
            static_cast<const char*>(first.epilogue.residual) + residual * out_size;
      }
      if (first.epilogue.pre)
        g.epilogue.pre = static_cast<char*>(first.epilogue.pre) + out * out_size;
      g.out = static_cast<char*>(first.out) + out * out_size;
      if (single) {
        for (int64_t i = 0; i < g.M; i += u.direct_mr) {
          u.direct(g.K, static_cast<const char*>(g.a.data) + i * g.a.row_stride * a_size,
                   g.a.row_stride, g.a.k_stride, g.b.data, g.b.k_stride,
                   static_cast<char*>(g.out) + i * g.out_row_stride * out_size, g.out_row_stride,
                   std::min<int64_t>(u.direct_mr, g.M - i), g.N, false);
        }
      } else {
        gemm(g);
      }
      for (int d = args.ndim - 1; d >= 0; --d) {
        a += args.a_stride[d];
        b += args.b_stride[d];
        c += args.c_stride[d];
        out += args.out_stride[d];
        residual += args.residual_stride[d];
        if (++index[d] < args.size[d]) break;
        index[d] = 0;
        a -= args.a_stride[d] * args.size[d];
        b -= args.b_stride[d] * args.size[d];
        c -= args.c_stride[d] * args.size[d];
        out -= args.out_stride[d] * args.size[d];
        residual -= args.residual_stride[d] * args.size[d];
      }
    }
  };
  const int64_t work = std::max<int64_t>(1, first.M * first.N * std::max<int64_t>(first.K, 1));
  // Few large products use the threads inside each product.
  if (count < 2 * num_threads() && work > kSerialWork) return run(0, count);
  const int64_t grain = std::max<int64_t>(kSerialWork / work, ceil_div(count, 8 * num_threads()));
  parallel_for(count, std::max<int64_t>(grain, 1), run);
}

int64_t gemm_prepack_bytes(int side, int64_t rows, int64_t K, DType in_dtype) {
  return prepack_bytes(*choose(in_dtype).ukr, side, rows, K);
}

void gemm_prepack(int side, const GemmOperand& src, int64_t rows, int64_t K, void* dst) {
  prepack(*choose(src.dtype).ukr, side, src, rows, K, dst);
}

int64_t gemm_cost_ns(int64_t M, int64_t N, int64_t K, int64_t batch) {
  // About 32 multiply-adds per nanosecond; in floating point so that nothing overflows.
  const double work = static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K) *
                      static_cast<double>(batch) / 32.0;
  return work > 1e15 ? int64_t{1'000'000'000'000'000} : static_cast<int64_t>(work);
}

}  // namespace tercel
