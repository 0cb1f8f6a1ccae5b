// linear with kept panels.
#include "ops/matmul/linear_packed.h"

#include "core/autocast.h"
#include "core/autograd.h"
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/matmul/matmul.h"

namespace tercel {
namespace {

void launch_single(const GemmArgs& args) { gemm(args); }

bool usual(const Tensor& x, const Tensor& w, const Tensor& bias) {
  return x.dim() >= 2 && w.dim() == 2 && x.size(-1) == w.size(1) && x.dtype() == w.dtype() &&
         x.device().is_cpu() && w.device().is_cpu() &&
         (!bias.defined() || (bias.dim() == 1 && bias.size(0) == w.size(0) &&
                              bias.dtype() == x.dtype() && bias.device().is_cpu())) &&
         !autocast_narrows(x, w, bias) && !grad_needed(x, w, bias);
}

}  // namespace

Tensor LinearPanels::get(const GemmArgs& g, const Tensor& w) {
  const void* kernel = gemm_pair_kernel(g);
  if (!kernel) return {};
  std::lock_guard<std::mutex> lock(mutex_);
  const bool same = panels_.defined() && kernel_ == kernel && data_ == w.data() &&
                    version_ == w.version() && shape_ == w.shape() && strides_ == w.strides();
  if (same) return panels_;
  const Tensor made = empty({gemm_prepack_bytes(g)}, DType::i8);
  gemm_prepack(g, made.data());
  panels_ = made;
  kernel_ = kernel;
  data_ = w.data();
  shape_ = w.shape();
  strides_ = w.strides();
  version_ = w.version();
  return made;
}

int64_t LinearPanels::nbytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return panels_.defined() ? panels_.numel() : 0;
}

Tensor linear_packed(const Tensor& x, const Tensor& w, const Tensor& bias, LinearPanels& panels) {
  if (!usual(x, w, bias)) return linear(x, w, bias);
  Shape shape = x.shape();
  GemmArgs g;
  g.M = 1;
  for (int d = 0; d + 1 < x.dim(); ++d) g.M *= x.size(d);
  g.N = shape[shape.size() - 1] = w.size(0);
  g.K = w.size(1);
  g.a.dtype = g.b.dtype = g.out_dtype = x.dtype();
  g.b.data = w.data();
  g.b.row_stride = w.stride(0);
  g.b.k_stride = w.stride(1);
  const Tensor kept = panels.get(g, w);
  if (!kept.defined()) return linear(x, w, bias);
  g.b.packed = kept.data();
  g.b.pairs = true;
  const Tensor rows = contiguous(x), added = bias.defined() ? contiguous(bias) : bias;
  g.a.data = rows.data();
  g.a.row_stride = g.K;
  g.a.k_stride = 1;
  const Tensor y = empty(shape, x.dtype());
  g.out = y.data();
  g.out_row_stride = g.N;
  if (added.defined()) {
    g.epilogue.beta = 1.0;
    g.epilogue.c = added.data();
    g.epilogue.c_col_stride = 1;
  }
  launch(&launch_single, g, gemm_cost_ns(g.M, g.N, g.K, 1));
  return y;
}

}  // namespace tercel
