// Entry of the matrix products: the choice of a path (gemm_paths.h), the small ones, batches. ISA
// independent: everything that touches elements is behind gemm_kernels() and the micro-kernel
// registry.
#include "ops/matmul/gemm.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/gemm_paths.h"

namespace tercel {

using namespace gemm_driver;

namespace {

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
  const bool streamed = g.b.k_stride != 1;
  if (g.M > (streamed ? kSkinnyStreamedRows : skinny_rows()) || g.N < 64) return false;
  if (!plain(g.a) || !plain(g.b) || (streamed && g.b.row_stride != 1)) return false;
  if (g.b.scale.data && (streamed || g.b.scale.k_block % 16 != 0)) return false;
  // Packing more rows pays while b stays in L2.
  return g.N * g.K * dtype_size(g.b.dtype) >= (g.M > 8 ? kSkinnyLargeMinBytes : kSkinnyMinBytes);
}

void gemm_skinny(const GemmArgs& g) {
  const int64_t es = acc_bytes(g);
  const bool in_out = sums_in_out(g);
  const bool streamed = g.b.k_stride != 1;
  // Several rows are copied: pages apart they would share a set of L1, which has room for a few
  // lines only (eight rows of 4096: 3.3 ms, one line more apart 2.8, seventeen 2.4), and a pass
  // over squares takes up to kSkinnyStep of them, real or zero.
  const bool convert = !in_place(g.a) || (streamed && g.a.k_stride != 1) || g.M > 2;
  const int64_t x_stride = g.K + 17 * 64 / es,
                x_rows = streamed ? g.M : ceil_div(g.M, kSkinnyStep) * kSkinnyStep;
  const int64_t sums_bytes = in_out ? 0 : ceil_div(g.M * g.N * es, 64) * 64;
  const Workspace work(sums_bytes + (convert ? x_rows * x_stride * es : 0));
  char* sums = in_out ? static_cast<char*>(g.out) : work.data();
  char* const x_work = work.data() + sums_bytes;
  if (convert) {
    pack_operand(g.a, 0, g.M, 0, g.K, 1, x_work, x_stride);
    std::memset(x_work + g.M * x_stride * es, 0, (x_rows - g.M) * x_stride * es);
  }
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
    s.x_rs = convert ? x_stride : g.a.row_stride;
    s.x_ks = convert ? 1 : g.a.k_stride;
    s.w = static_cast<const char*>(g.b.data) + n0 * g.b.row_stride * dtype_size(g.b.dtype);
    s.w_dtype = g.b.dtype;
    s.w_ns = g.b.row_stride;
    s.w_ks = g.b.k_stride;
    s.scale = g.b.scale;
    s.row0 = n0;
    s.acc = sums + n0 * es;
    s.ld = ld;
    gemm_kernels().skinny(s);
    if (!in_out || !trivial(g.epilogue)) finish(g, sums + n0 * es, ld, 0, n0, g.M, n1 - n0);
  });
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

namespace {

// Operands as they lie, or in panels of elements.
void gemm_elements(const GemmArgs& g) {
  if (g.N > skinny_rows() || g.N >= g.M) {
    if (use_skinny(g)) return traced(g, "few rows, streamed"), gemm_skinny(g);
  } else {
    const GemmArgs t = transposed(g);
    if (use_skinny(t)) return traced(t, "few columns, streamed"), gemm_skinny(t);
  }
  const bool swap = g.out_col_stride != 1 && (g.out_row_stride == 1 || g.N == 1);
  swap ? gemm_tiles(transposed(g), false) : gemm_tiles(g, false);
}

// Words gain nothing where their panels cost more than the product, or b is read once.
bool words_gain(const GemmArgs& g) {
  if (!g.b.packed && g.b.k_stride != 1 && use_skinny(g)) return false;
  return g.b.packed || (g.M >= kWordRows && g.N >= kWordRows && g.M * g.N * g.K >= kWordWork);
}

}  // namespace

void gemm(const GemmArgs& g) {
  if (g.M == 0 || g.N == 0) return;
  if (is_int(g.a.dtype)) return gemm_int(g);
  if (g.K == 0) return gemm_empty_k(g);
  if (!use_pairs(g)) return gemm_elements(g);
  // Pairs with sums of their own: one definition for any number of rows.
  if (!has_float32_bits(g) || words_gain(g)) return gemm_tiles(g, true);
  GemmArgs elements = g;
  elements.f32_products = -1;
  gemm_elements(elements);
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

const void* gemm_pair_kernel(const GemmArgs& g) { return use_pairs(g) ? choose(g).ukr : nullptr; }
int64_t gemm_prepack_bytes(const GemmArgs& g) { return prepack_bytes(*choose(g).ukr, 1, g.N, g.K); }
void gemm_prepack(const GemmArgs& g, void* dst) { prepack(*choose(g).ukr, 1, g.b, g.N, g.K, dst); }

int64_t gemm_cost_ns(int64_t M, int64_t N, int64_t K, int64_t batch) {
  // About 32 multiply-adds per nanosecond; in floating point so that nothing overflows.
  const double work = static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K) *
                      static_cast<double>(batch) / 32.0;
  return work > 1e15 ? int64_t{1'000'000'000'000'000} : static_cast<int64_t>(work);
}

}  // namespace tercel
