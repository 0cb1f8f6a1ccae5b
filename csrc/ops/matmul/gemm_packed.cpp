// The packed product: five loops around the micro-kernel, panels made by all threads between two
// barriers, or once per column chunk.
#include <algorithm>

#include "core/parallel.h"
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/gemm_paths.h"

namespace tercel::gemm_driver {

namespace {

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
  int b_least;  // exponent in them
  char* sums;   // of (0, jc); null: a tile at a time on the stack
  bool in_out;  // sums lie in the output
  int64_t ld;
  Grid grid;

  bool last() const { return pc + kc == g.K; }

  // Rows [i0, i0 + m) of A in panels at `a`, least exponent a_least, times columns [j0, j1) of the
  // block. While a B panel is in use the row tiles bring the next one from L3 to L2 piece by piece.
  void multiply(const char* a, int a_least, int64_t i0, int64_t m, int64_t j0, int64_t j1) const {
    alignas(64) char tile[16 * 64 * 8];
    const int64_t es = u.elem_bytes, depth = row / u.packed_bytes;
    const auto run = u.words() && !words_are_normal(a_least, b_least) ? u.subnormal : u.packed;
    const int64_t fetched = depth * (u.words() ? 8 : 16);  // by one call
    if (u.begin) u.begin();
    for (int64_t j = j0; j < j1; j += u.nr) {
      const int64_t tn = std::min<int64_t>(u.nr, j1 - j);
      const char* b = b_panels + j * row;
      const int64_t panel = u.nr * row;
      for (int64_t i = 0; i < m; i += u.mr) {
        const int64_t tm = std::min<int64_t>(u.mr, m - i);
        char* c = sums ? sums + ((i0 + i) * ld + j) * es : tile;
        const int64_t c_ld = sums ? ld : u.nr;
        const int64_t ahead = i / u.mr * fetched;
        const char* next = j + u.nr < j1 && ahead < panel ? b + panel + ahead : a;
        run(depth, a + i * row, b, c, c_ld, tm, tn, pc > 0, next);
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
    int a_least = g.a.packed ? prepacked_exponent(u, 0, g.a.packed, g.M, g.K) : kNoExponent;
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
        a_least = pack_panels(u, 0, g.a, i0, m, pc, kc, work.data());
        in_work = band;
      }
      multiply(a, a_least, i0, m, j0, j1);
    }
  }
};

// Block scales of an operand whose rows start at `row`, a multiple of the block.
GemmBlockScale rows_from(const GemmBlockScale& s, int64_t row) {
  GemmBlockScale t = s;
  if (t.data) t.data += row / s.row_block * s.row_stride;
  return t;
}

}  // namespace

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
    Packed p{g, u, jc, nc, 0, 0, 0, b_work.data(), kNoExponent, nullptr, in_out, 0, {}};
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
        p.b_least = prepacked_exponent(u, 1, g.b.packed, g.N, g.K);
      } else {
        const int64_t panels =
            std::max<int64_t>(serial ? tiles_n : ceil_div(tiles_n, 2 * threads), 1);
        LeastExponent least;
        parallel_for(tiles_n, panels, [&](int64_t q0, int64_t q1) {
          const int64_t r0 = q0 * u.nr, rows = std::min(q1 * u.nr, nc) - r0;
          least.add(pack_panels(u, 1, g.b, jc + r0, rows, pc, p.kc, b_work.data() + r0 * p.row));
        });
        p.b_least = least.get();
      }
      const int64_t tasks = p.grid.rows * p.grid.cols;
      parallel_for(tasks, serial ? tasks : 1, [&](int64_t t0, int64_t t1) { p.run_tasks(t0, t1); });
    }
  }
}

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

}  // namespace tercel::gemm_driver
