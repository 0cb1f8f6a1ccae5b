// Products of which one operand stays in L2: its rows are read in place, no barrier.
//
// The left operand has unit k stride and is never interleaved. Either it is the one that stays in
// L2 while each thread makes the panels of its columns (of a B in place while the first row tile is
// multiplied), or the right operand stays there as panels while the rows stream by.
#include <algorithm>

#include "core/parallel.h"
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/gemm_paths.h"

namespace tercel::gemm_driver {

namespace {

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
    parallel_for(g.M, std::max<int64_t>(1, kSerialPack / g.K), [&](int64_t i0, int64_t i1) {
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

// Rows of a right operand from memory, a page and more apart: the 128 bytes that a panel takes of
// each come at the latency of memory. A column chunk reads eight times as many.
bool in_far_rows(const GemmOperand& b, const GemmArgs& g) {
  const int64_t es = acc_bytes(g);
  return b.row_stride == 1 && b.k_stride * es >= 4096 && g.N * g.K * es > 2 * kResidentBytes;
}

}  // namespace

ResidentPlan resident_plan(const GemmArgs& g) {
  if (!plain(g.a) || !plain(g.b)) return {};
  const bool a_fits = fits_l2(g, g.M), b_fits = fits_l2(g, g.N);
  const int64_t enough = 2 * num_threads();  // tasks
  if (g.a.k_stride == 1) {
    // A B with k contiguous has to be turned over: rather the smaller operand.
    const bool turn = g.b.k_stride == 1 && g.b.row_stride != 1;
    if (turn && a_fits && g.M < g.N) return {Resident::panels, true};
    if (turn && b_fits) return {Resident::panels, false};
    if (a_fits && use_columns(g) && in_far_rows(g.b, g)) return {};
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

void gemm_resident(const GemmArgs& g, Resident kind) {
  kind == Resident::rows ? gemm_resident_rows(g) : gemm_resident_panels(g);
}

}  // namespace tercel::gemm_driver
