// Shared by the .cpp files of this family: argument checks, dense copies, and the gradients written
// in public ops that backward uses when they must be differentiated again.
#pragma once

#include "core/autograd.h"
#include "ops/copy/copy.h"
#include "ops/norm/norm.h"

namespace tercel::norm_detail {

inline int64_t cost_ns(int64_t numel) { return numel / 2; }

// `t` in row-major order and `dtype`, without history.
inline Tensor dense(const Tensor& t, DType dtype) {
  if (!t.defined() || (t.dtype() == dtype && t.is_contiguous())) return t;
  GradMode off(false);
  return contiguous(to(t, dtype));
}
inline const void* data_or_null(const Tensor& t, Device device) {
  return t.defined() ? t.data(device) : nullptr;
}
inline void* writable_or_null(const Tensor& t, Device device) {
  return t.defined() ? t.data(device) : nullptr;
}

// Elements per channel of [B, C, ...].
inline int64_t spatial_size(const Shape& shape) {
  int64_t n = 1;
  for (int i = 2; i < shape.size(); ++i) n *= shape[i];
  return n;
}

inline void check_input(const char* op, const Tensor& x) {
  if (!(dtype_bit(x.dtype()) & kWideFloatMask)) fail_dtype(op, x.dtype(), kWideFloatMask);
}
// A parameter of `shape` (undefined is fine): x's dtype, or float32 beside a 16-bit x.
inline void check_parameter(const char* op, const char* name, const Tensor& p, const Shape& shape,
                            DType x_dtype) {
  if (!p.defined()) return;
  TERCEL_CHECK(p.shape() == shape, Shape, op, ": ", name, " must have shape ", shape, ", got ",
               p.shape());
  TERCEL_CHECK(p.dtype() == x_dtype || p.dtype() == accumulate_dtype(x_dtype), DType, op, ": ",
               name, " must have the dtype of input (", dtype_name(x_dtype), ")",
               is_half(x_dtype) ? " or float32" : "", ", got ", dtype_name(p.dtype()));
}

// What the backward nodes of the family keep.
struct NormNode : Node {
  Saved x, w;
  Tensor mean, rstd;  // one per row, or per channel
  double eps = 0;
  DType w_dtype = DType::f32, b_dtype = DType::f32;

  void release_saved() override {
    x.reset();
    w.reset();
    mean.reset();
    rstd.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"input", x.peek()}, {"weight", w.peek()}, {"mean", mean}, {"rstd", rstd}};
  }
};

struct NormGrads {
  Tensor dx, dw, db;
};
// Over the last `count` dims of x.
NormGrads row_norm_grads(const Tensor& dy, const Tensor& x, const Tensor& w, int count, double eps,
                         bool rms);
NormGrads group_norm_grads(const Tensor& dy, const Tensor& x, const Tensor& w, int64_t groups,
                           double eps);
// Undefined mean and rstd: those of the batch.
NormGrads batch_norm_grads(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                           const Tensor& rstd, double eps);

}  // namespace tercel::norm_detail
