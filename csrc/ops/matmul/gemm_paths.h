// The pieces of the driver: operands in panels, finished tiles, and the paths that gemm() chooses
// from.
#pragma once

#include <atomic>

#include "ops/matmul/gemm_choice.h"
#include "ops/matmul/gemm_kernels.h"

namespace tercel::gemm_driver {

// Sums may be written straight into the output.
bool sums_in_out(const GemmArgs& g);

// Elements in memory are those of the accumulation.
bool in_place(const GemmOperand& x);

// out^T = B^T A^T: the operands and the output strides change places, the sums do not change. Not
// for products on pairs, nor may one become such: its rows would count as columns.
GemmArgs transposed(const GemmArgs& g);

// Finishes the tile [i0, i0 + m) x [j0, j0 + n) whose sums are at `acc`.
void finish(const GemmArgs& g, const void* acc, int64_t ld, int64_t i0, int64_t j0, int64_t m,
            int64_t n);

// Rows [row0, row0 + rows) x [k0, k0 + kc) in panels of `width`; width 1 gives plain rows, which
// may lie row_stride >= kc elements apart.
void pack_operand(const GemmOperand& x, int64_t row0, int64_t rows, int64_t k0, int64_t kc,
                  int width, void* dst, int64_t row_stride = 0);

// Bytes of kc columns of one row in a panel of `u`.
int64_t row_bytes(const GemmUkernel& u, int64_t kc);
// Panels keep their bytes whatever the number of products; with pairs a block is no rounding.
int64_t k_block(const GemmUkernel& u);

// The same in the panels of a micro-kernel; side 0: left, 1: right. Returns the least exponent of
// its elements if these are words (gemm_words.h).
int pack_panels(const GemmUkernel& u, int side, const GemmOperand& x, int64_t row0, int64_t rows,
                int64_t k0, int64_t kc, void* dst);

// The smallest of several least exponents, from any thread.
class LeastExponent {
 public:
  void add(int x) {
    int now = least_.load(std::memory_order_relaxed);
    while (x < now && !least_.compare_exchange_weak(now, x, std::memory_order_relaxed)) {
    }
  }
  int get() const { return least_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int> least_{kNoExponent};
};

// Panels of a whole operand, k block by k block, then their least exponent.
void prepack(const GemmUkernel& u, int side, const GemmOperand& src, int64_t rows, int64_t K,
             void* dst);
int64_t prepack_bytes(const GemmUkernel& u, int side, int64_t rows, int64_t K);
int prepacked_exponent(const GemmUkernel& u, int side, const void* panels, int64_t rows, int64_t K);

// ---- gemm_packed.cpp
// -------------------------------------------------------------------------------
// Five loops around the micro-kernel; `serial`: on the calling thread.
void gemm_packed(const GemmArgs& g, const Choice& choice, bool serial);
// One row block, many columns: column chunks, no barrier.
bool use_columns(const GemmArgs& g);
void gemm_columns(const GemmArgs& g);

// ---- gemm_resident.cpp
// -----------------------------------------------------------------------------
// The path and the orientation for operands of which one fits L2, or none.
enum class Resident { none, rows, panels };
struct ResidentPlan {
  Resident kind = Resident::none;
  bool swap = false;
};
ResidentPlan resident_plan(const GemmArgs& g);
void gemm_resident(const GemmArgs& g, Resident kind);  // g in the plan's orientation

}  // namespace tercel::gemm_driver
