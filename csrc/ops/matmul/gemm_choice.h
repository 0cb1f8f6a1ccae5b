// Inside of the driver: which micro-kernel multiplies a product, and what its files share.
#pragma once

#include "core/allocator.h"
#include "ops/matmul/gemm.h"
#include "ops/matmul/gemm_tuning.h"
#include "ops/matmul/gemm_ukr.h"

namespace tercel::gemm_driver {

// Every line of gemm_ukernels.inc.
#define TERCEL_GEMM_UKR(level, bytes, name, mr, nr, direct_mr) \
  {#name,                                                      \
   IsaLevel::level,                                            \
   bytes,                                                      \
   mr,                                                         \
   nr,                                                         \
   direct_mr,                                                  \
   &gemm_ukr_##name,                                           \
   &gemm_direct_##name,                                        \
   &gemm_rows_##name},
inline constexpr GemmUkernel kGemmUkernels[] = {
#include "ops/matmul/gemm_ukernels.inc"
};
#undef TERCEL_GEMM_UKR

// Micro-kernel and block sizes per (level, kind of panel: float32, float64, pairs).
struct Choice {
  const GemmUkernel* ukr = nullptr;
  GemmBlocking block{};
};
Choice choose(DType in_dtype);
Choice choose(const GemmArgs& g);
bool use_pairs(const GemmArgs& g);         // products of gemm_pairs.h or gemm_words.h
bool has_float32_bits(const GemmArgs& g);  // with or without pairs: a path may leave them
// TERCEL_TRACE=1: the path and the micro-kernel of a product, and why the others were left.
void trace_choice(const GemmArgs& g, const char* path);

inline bool plain(const GemmOperand& x) { return !x.pack && !x.packed; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t acc_bytes(DType in_dtype) { return in_dtype == DType::f64 ? 8 : 4; }
inline int64_t acc_bytes(const GemmArgs& g) { return acc_bytes(g.a.dtype); }

class Workspace {
 public:
  explicit Workspace(int64_t bytes) : bytes_(bytes), p_(bytes > 0 ? cpu_alloc(bytes) : nullptr) {}
  ~Workspace() {
    if (p_) cpu_free(p_, bytes_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  char* data() const { return static_cast<char*>(p_); }

 private:
  int64_t bytes_;
  void* p_;
};

}  // namespace tercel::gemm_driver
