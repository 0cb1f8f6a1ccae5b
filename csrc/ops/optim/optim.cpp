// Checks and flattening of tensor lists for the fused optimizer kernels.
#include "ops/optim/optim.h"

#include <cmath>
#include <limits>

#include "core/launch.h"
#include "cuda/runtime.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/optim/optim_kernels.h"
#include "ops/reduce/reduce.h"

namespace tercel {

namespace {

// Every element once and no gaps, in some order.
bool is_dense(const Tensor& t) {
  if (t.is_contiguous()) return true;
  int64_t expected = 1;
  uint32_t used = 0;
  for (int k = 0; k < t.dim(); ++k) {  // take the dims by growing stride
    int best = -1;
    for (int d = 0; d < t.dim(); ++d) {
      if (used >> d & 1u || t.size(d) == 1) continue;
      if (best < 0 || t.stride(d) < t.stride(best)) best = d;
    }
    if (best < 0) break;
    if (t.stride(best) != expected) return false;
    expected *= t.size(best);
    used |= 1u << best;
  }
  return true;
}

bool same_layout(const Tensor& a, const Tensor& b) {
  return (a.is_contiguous() && b.is_contiguous()) || a.strides() == b.strides();
}

// One call: the items, and the copies that stand in for tensors of another memory layout.
class ItemList {
 public:
  explicit ItemList(const char* op, size_t n) : op_(op) { items_.reserve(n); }

  // Starts the item of `t`; returns its index.
  OptimItem& add(const Tensor& t, bool written) {
    if (!(dtype_bit(t.dtype()) & kWideFloatMask)) fail_dtype(op_, t.dtype(), kWideFloatMask);
    const size_t index = items_.size();
    if (index == 0) device_ = t.device();
    reference_ = is_dense(t) ? t : stand_in(t, t, written);
    if (written) begin_write(t);
    items_.push_back(OptimItem{
        reference_.data(device_), nullptr, {}, t.numel(), units_, 0, 0, t.dtype(), t.dtype()});
    units_ += (t.numel() + kOptimUnit - 1) / kOptimUnit;
    return items_[index];
  }
  // Data of another tensor of the same item, in the order of the first one's elements.
  void* data_of(const Tensor& t, const char* name, size_t index, DType dtype, bool written) {
    TERCEL_CHECK(t.shape() == reference_.shape(), Shape, op_, ": ", name, "[", index,
                 "] must have shape ", reference_.shape(), ", got ", t.shape());
    TERCEL_CHECK(t.dtype() == dtype, DType, op_, ": ", name, "[", index, "] must have dtype ",
                 dtype_name(dtype), ", got ", dtype_name(t.dtype()));
    if (written) begin_write(t);
    if (same_layout(t, reference_) && (t.is_contiguous() || is_dense(t))) return t.data(device_);
    return stand_in(t, reference_, written).data(device_);
  }
  // dtype of the states beside `param`
  DType state_dtype(const Tensor& param, const Tensor& state, const char* name, size_t index) {
    TERCEL_CHECK(
        state.dtype() == param.dtype() || (is_half(param.dtype()) && state.dtype() == DType::f32),
        DType, op_, ": ", name, "[", index, "] must have dtype ", dtype_name(param.dtype()),
        is_half(param.dtype()) ? " or float32" : "", ", got ", dtype_name(state.dtype()));
    return state.dtype();
  }

  const OptimItem* data() const { return items_.data(); }
  Device device() const { return device_; }
  int64_t size() const { return static_cast<int64_t>(items_.size()); }
  int64_t units() const { return units_; }
  int64_t cost_ns(int64_t buffers) const { return units_ * kOptimUnit * buffers / 8; }
  std::vector<OptimItem>& items() { return items_; }

  // After the kernel.
  void finish() {
    for (auto& [original, copy] : copies_) {
      strided_copy(original, copy);
    }
    for (const Tensor& t : written_) t.storage()->bump_version(op_);
  }

 private:
  void begin_write(const Tensor& t) {
    check_inplace(t, op_);
    TERCEL_CHECK(t.is_contiguous() || !has_internal_overlap(t), Runtime, op_,
                 ": a tensor to update has elements that share memory (shape ", t.shape(),
                 ", strides ", t.strides(), "); clone it first");
    written_.push_back(t);
  }
  // A dense copy of t, laid out as `like` if that is dense; written back by finish().
  Tensor stand_in(const Tensor& t, const Tensor& like, bool written) {
    Tensor copy = is_dense(like)
                      ? empty_strided(like.shape(), like.strides(), t.dtype(), t.device())
                      : empty(t.shape(), t.dtype(), t.device());
    strided_copy(copy, t);
    if (written) {
      copies_.emplace_back(t, copy);
    } else {
      kept_.push_back(copy);
    }
    return copy;
  }

  const char* op_;
  Device device_;
  std::vector<OptimItem> items_;
  Tensor reference_;
  std::vector<std::pair<Tensor, Tensor>> copies_;
  TensorList written_, kept_;
  int64_t units_ = 0;
};

void check_length(const char* op, const char* name, size_t got, size_t expected) {
  TERCEL_CHECK(got == expected, Value, op, ": ", name, " must have one entry per parameter (",
               expected, "), got ", got);
}

// Every replay of a captured graph would take the same step.
void refuse_capture(const char* op, Device device, const char* what) {
  TERCEL_CHECK(!device.is_cuda() || !cuda::is_capturing(device.index), Runtime, op, ": ", what,
               " cannot be captured in a CUDA graph: call step() outside of it");
}

}  // namespace

void sgd_step(const TensorList& params, const TensorList& grads, const TensorList& buffers,
              const std::vector<bool>& first_step, const SgdOptions& o) {
  const char* op = "sgd_step";
  const size_t n = params.size();
  check_length(op, "grads", grads.size(), n);
  if (o.momentum != 0) check_length(op, "momentum_buffers", buffers.size(), n);
  if (!first_step.empty()) check_length(op, "first_step", first_step.size(), n);
  GradMode off(false);
  ItemList list(op, n);
  for (size_t i = 0; i < n; ++i) {
    const Tensor& p = params[i];
    OptimItem& item = list.add(p, true);
    item.grad = list.data_of(grads[i], "grads", i, p.dtype(), false);
    if (o.momentum != 0) {
      item.state_dtype = list.state_dtype(p, buffers[i], "momentum_buffers", i);
      item.state[0] = list.data_of(buffers[i], "momentum_buffers", i, item.state_dtype, true);
    }
    item.a = !first_step.empty() && first_step[i] ? 1 : 0;
  }
  if (!first_step.empty())
    refuse_capture(op, list.device(), "the first step, which starts the momentum buffers");
  launch(optim_kernels(list.device()).sgd,
         SgdArgs{list.data(), list.size(), list.units(), o.lr, o.weight_decay, o.momentum,
                 o.dampening, o.nesterov, o.maximize},
         list.cost_ns(o.momentum != 0 ? 5 : 3), list.device());
  list.finish();
}

void adam_step(const TensorList& params, const TensorList& grads, const TensorList& exp_avgs,
               const TensorList& exp_avg_sqs, const TensorList& max_exp_avg_sqs,
               const TensorList& steps, const AdamOptions& o) {
  const char* op = "adam_step";
  const size_t n = params.size();
  check_length(op, "grads", grads.size(), n);
  check_length(op, "exp_avgs", exp_avgs.size(), n);
  check_length(op, "exp_avg_sqs", exp_avg_sqs.size(), n);
  if (o.amsgrad) check_length(op, "max_exp_avg_sqs", max_exp_avg_sqs.size(), n);
  check_length(op, "steps", steps.size(), n);
  GradMode off(false);
  ItemList list(op, n);
  for (size_t i = 0; i < n; ++i) {
    const Tensor& p = params[i];
    OptimItem& item = list.add(p, true);
    item.grad = list.data_of(grads[i], "grads", i, p.dtype(), false);
    const DType s = list.state_dtype(p, exp_avgs[i], "exp_avgs", i);
    item.state_dtype = s;
    item.state[0] = list.data_of(exp_avgs[i], "exp_avgs", i, s, true);
    item.state[1] = list.data_of(exp_avg_sqs[i], "exp_avg_sqs", i, s, true);
    if (o.amsgrad) item.state[2] = list.data_of(max_exp_avg_sqs[i], "max_exp_avg_sqs", i, s, true);
    TERCEL_CHECK(
        steps[i].numel() == 1 && (steps[i].dtype() == DType::f32 || steps[i].dtype() == DType::f64),
        Value, op, ": steps[", i,
        "] must be a float32 or float64 tensor of one element, got shape ", steps[i].shape(), ", ",
        dtype_name(steps[i].dtype()));
    check_inplace(steps[i], op);
  }
  refuse_capture(op, list.device(), "the step count, a number of the host,");
  // Nothing was written so far: an error above leaves all as it was.
  double last_step = -1, c1 = 1, c2 = 1;
  for (size_t i = 0; i < n; ++i) {
    double step;
    if (steps[i].dtype() == DType::f32) {
      step = static_cast<double>(*steps[i].data_as<float>() += 1.0f);
    } else {
      step = *steps[i].data_as<double>() += 1.0;
    }
    steps[i].storage()->bump_version(op);
    if (step != last_step) {
      c1 = 1.0 - std::pow(o.beta1, step);
      c2 = 1.0 - std::pow(o.beta2, step);
      last_step = step;
    }
    list.items()[i].a = o.lr / c1;
    list.items()[i].b = 1.0 / std::sqrt(c2);
  }
  launch(optim_kernels(list.device()).adam,
         AdamArgs{list.data(), list.size(), list.units(), o.lr, o.beta1, o.beta2, o.eps,
                  o.weight_decay, o.amsgrad, o.decoupled, o.maximize},
         list.cost_ns(o.amsgrad ? 9 : 7), list.device());
  list.finish();
}

// ---- norms
// -----------------------------------------------------------------------------------------

namespace {

double combine(double a, double b, double p) {
  if (a != a || b != b) return std::numeric_limits<double>::quiet_NaN();
  if (p == std::numeric_limits<double>::infinity()) return a > b ? a : b;
  if (p == -std::numeric_limits<double>::infinity()) return a < b ? a : b;
  return a + b;
}
double start_value(double p) {
  return p == -std::numeric_limits<double>::infinity() ? std::numeric_limits<double>::infinity()
                                                       : 0.0;
}
double root(double s, double p) {
  if (std::isinf(p) || p == 0.0 || p == 1.0) return s;
  return p == 2.0 ? std::sqrt(s) : std::pow(s, 1.0 / p);
}

// A list, and for each unit of kOptimUnit elements its share of the norm, in double.
struct NormUnits {
  ItemList list;
  Tensor partial;
};
NormUnits norm_units(const char* op, const TensorList& tensors, double p) {
  TERCEL_CHECK(!std::isnan(p), Value, op, ": the order of the norm must be a number, got nan");
  NormUnits r{ItemList(op, tensors.size()), {}};
  for (const Tensor& t : tensors) {
    OptimItem& item = r.list.add(t, false);
    item.grad = item.param;
  }
  const Device dev = r.list.device();
  r.partial = empty({r.list.units()}, DType::f64, dev);
  launch(optim_kernels(dev).norm,
         ForeachNormArgs{r.list.data(), r.list.size(), r.list.units(), p,
                         r.partial.data_as<double>(dev)},
         r.list.cost_ns(1), dev);
  return r;
}

// Norm of each tensor, in double.
std::vector<double> norms(const char* op, const TensorList& tensors, double p) {
  NormUnits units = norm_units(op, tensors, p);
  ItemList& list = units.list;
  const Tensor host = to_device(units.partial, Device{});
  const double* q = host.data_as<double>();
  std::vector<double> out;
  out.reserve(tensors.size());
  for (const OptimItem& item : list.items()) {
    double s = start_value(p);
    const int64_t units = (item.numel + kOptimUnit - 1) / kOptimUnit;
    for (int64_t u = 0; u < units; ++u) s = combine(s, q[item.first_unit + u], p);
    out.push_back(root(s, p));
  }
  return out;
}

Tensor scalar_tensor(double value, DType dtype, Device device) {
  return to(full({}, Scalar(value), DType::f64, device), dtype);
}

// `number`: another factor, float64 in the memory of the tensors' device; or undefined.
void scale(const char* op, const TensorList& tensors, double factor, const Tensor& number = {}) {
  ItemList list(op, tensors.size());
  for (const Tensor& t : tensors) list.add(t, true).a = factor;
  const Device dev = list.device();
  launch(optim_kernels(dev).axpby,
         ForeachAxpbyArgs{list.data(), list.size(), list.units(),
                          number.defined() ? number.data_as<double>(dev) : nullptr},
         list.cost_ns(2), dev);
  list.finish();
}

// On a GPU, without waiting for it: the norm of all elements is that of the tensors' norms.
Tensor clip_on_device(const char* op, const TensorList& grads, double max_norm, double p,
                      DType dtype) {
  const Tensor partial = norm_units(op, grads, p).partial;
  const Tensor total = p == INFINITY    ? amax(partial)
                       : p == -INFINITY ? amin(partial)
                       : p == 2         ? sqrt(sum(partial))
                                        : pow(sum(partial), Scalar(1.0 / p));
  scale(op, grads, 1.0,
        clamp_max(mul(reciprocal(add(total, 1e-6)), max_norm), wrap_number(Scalar(1.0))));
  return to(total, dtype);
}

}  // namespace

TensorList foreach_norm(const TensorList& tensors, double ord) {
  GradMode off(false);
  const std::vector<double> values = norms("_foreach_norm", tensors, ord);
  TensorList out;
  out.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i)
    out.push_back(scalar_tensor(values[i], tensors[i].dtype(), tensors[i].device()));
  return out;
}

Tensor clip_grad_norm_(const TensorList& grads, double max_norm, double norm_type,
                       bool error_if_nonfinite) {
  const char* op = "clip_grad_norm_";
  GradMode off(false);
  DType dtype = DType::f32;
  for (const Tensor& g : grads) dtype = g.dtype() == DType::f64 ? DType::f64 : dtype;
  if (grads.empty()) return scalar_tensor(0.0, dtype, {});
  const Device dev = grads[0].device();
  if (dev.is_cuda() && norm_type != 0 && !error_if_nonfinite)
    return clip_on_device(op, grads, max_norm, norm_type, dtype);
  double total = start_value(norm_type);
  for (double v : norms(op, grads, norm_type)) {
    // The norm of the list of norms.
    total = combine(total,
                    std::isinf(norm_type) ? v
                    : norm_type == 0.0    ? double(v != 0.0)
                    : norm_type == 2.0    ? v * v
                                          : std::pow(v, norm_type),
                    norm_type);
  }
  total = root(total, norm_type);
  TERCEL_CHECK(!error_if_nonfinite || std::isfinite(total), Runtime, op,
               ": the total norm of order ", norm_type, " of the gradients is not finite (", total,
               "), so it cannot be clipped; pass error_if_nonfinite=False to "
               "scale by it anyway");
  const double factor = max_norm / (total + 1e-6);
  if (!(factor >= 1.0)) scale(op, grads, factor);  // NaN scales as well
  return scalar_tensor(total, dtype, dev);
}

void foreach_mul_(const TensorList& tensors, double factor) {
  GradMode off(false);
  scale("_foreach_mul_", tensors, factor);
}

void foreach_lerp_(const TensorList& self, const TensorList& end, double weight) {
  const char* op = "_foreach_lerp_";
  check_length(op, "end", end.size(), self.size());
  GradMode off(false);
  ItemList list(op, self.size());
  for (size_t i = 0; i < self.size(); ++i) {
    OptimItem& item = list.add(self[i], true);
    item.grad = list.data_of(end[i], "end", i, self[i].dtype(), false);
    item.a = weight;
  }
  launch(optim_kernels(list.device()).lerp, ForeachLerpArgs{list.data(), list.size(), list.units()},
         list.cost_ns(3), list.device());
  list.finish();
}

}  // namespace tercel
