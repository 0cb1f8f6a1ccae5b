// Operands in panels and tiles of sums into the output: what the paths of the driver share.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/parallel.h"
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/gemm_paths.h"

namespace tercel::gemm_driver {

bool sums_in_out(const GemmArgs& g) {
  return g.out_col_stride == 1 && (g.out_dtype == DType::f32 || g.out_dtype == DType::f64) &&
         !(g.epilogue.beta != 0.0 && g.epilogue.c == g.out) && g.epilogue.residual != g.out;
}

bool in_place(const GemmOperand& x) {
  return (x.dtype == DType::f32 || x.dtype == DType::f64) && !x.scale.data;
}

GemmArgs transposed(const GemmArgs& g) {
  GemmArgs t = g;
  t.f32_products = -1;
  std::swap(t.M, t.N);
  std::swap(t.a, t.b);
  std::swap(t.out_row_stride, t.out_col_stride);
  t.epilogue = transposed(g.epilogue);
  return t;
}

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

namespace {

GemmPackArgs pack_args(const GemmOperand& x, int64_t row0, int64_t rows, int64_t k0, int64_t kc,
                       int width, void* dst) {
  GemmPackArgs p{};
  p.src = static_cast<const char*>(x.data) +
          (row0 * x.row_stride + k0 * x.k_stride) * dtype_size(x.dtype);
  p.src_dtype = x.dtype;
  p.row_stride = x.row_stride;
  p.k_stride = x.k_stride;
  p.rows = rows;
  p.kc = kc;
  p.width = width;
  p.dst = dst;
  p.row0 = row0;
  p.k0 = k0;
  return p;
}

}  // namespace

void pack_operand(const GemmOperand& x, int64_t row0, int64_t rows, int64_t k0, int64_t kc,
                  int width, void* dst, int64_t row_stride) {
  if (x.pack) return x.pack(x.context, row0, rows, k0, kc, width, dst);
  GemmPackArgs p = pack_args(x, row0, rows, k0, kc, width, dst);
  p.panel_stride = row_stride > 0 ? row_stride : kc * width;
  p.scale = x.scale;
  gemm_kernels().pack(p);
}

int64_t row_bytes(const GemmUkernel& u, int64_t kc) {
  return ceil_div(kc, u.k_unit) * u.k_unit * u.packed_bytes * u.products;
}
int64_t k_block(const GemmUkernel& u) {
  return u.products == 1 ? kGemmKBlock : kGemmKBlock / u.products / u.k_unit * u.k_unit;
}

int pack_panels(const GemmUkernel& u, int side, const GemmOperand& x, int64_t row0, int64_t rows,
                int64_t k0, int64_t kc, void* dst) {
  const int width = side == 0 ? u.mr : u.nr;
  if (!u.pairs()) {
    pack_operand(x, row0, rows, k0, kc, width, dst);
    return kNoExponent;
  }
  GemmPackArgs p = pack_args(x, row0, rows, k0, kc, width, dst);
  p.products = u.products;
  p.element = u.element;
  p.panel_stride = row_bytes(u, kc) / 2 * width;
  if (u.words()) return gemm_kernels().pack_words(p);
  gemm_kernels().pack_pairs(p, side == 1);
  return kNoExponent;
}

void prepack(const GemmUkernel& u, int side, const GemmOperand& src, int64_t rows, int64_t K,
             void* dst) {
  const int width = side == 0 ? u.mr : u.nr;
  const int64_t padded = ceil_div(rows, width) * width, step = k_block(u);
  LeastExponent least;
  for (int64_t pc = 0; pc < K; pc += step) {
    const int64_t kc = std::min(step, K - pc);
    const int64_t grain = std::max<int64_t>(1, kSerialPack / (kc * width));
    char* const to = static_cast<char*>(dst) + padded * row_bytes(u, pc);
    parallel_for(padded / width, grain, [&](int64_t q0, int64_t q1) {
      const int64_t r0 = q0 * width;
      least.add(pack_panels(u, side, src, r0, std::min(q1 * width, rows) - r0, pc, kc,
                            to + r0 * row_bytes(u, kc)));
    });
  }
  if (u.words()) {
    const int value = least.get();
    std::memcpy(static_cast<char*>(dst) + padded * row_bytes(u, K), &value, sizeof(value));
  }
}
int64_t prepack_bytes(const GemmUkernel& u, int side, int64_t rows, int64_t K) {
  const int width = side == 0 ? u.mr : u.nr;
  return ceil_div(rows, width) * width * row_bytes(u, K) + (u.words() ? 64 : 0);
}
int prepacked_exponent(const GemmUkernel& u, int side, const void* panels, int64_t rows,
                       int64_t K) {
  if (!u.words()) return kNoExponent;
  const int64_t size = prepack_bytes(u, side, rows, K) - 64;
  int value;
  std::memcpy(&value, static_cast<const char*>(panels) + size, sizeof(value));
  return value;
}

}  // namespace tercel::gemm_driver
