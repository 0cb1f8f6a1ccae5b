#include "ops/pool/pool.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "core/launch.h"
#include "ops/conv/conv_shape.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/pool/pool_args.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

const char* op_name(const char* const (&names)[3], int dims) { return names[dims - 1]; }

// Owns the tables that PoolWindows points to.
struct PoolPlan {
  int dims = 0;
  std::vector<int64_t> start[3], count[3], divisor[3];
  PoolWindows windows{};
  double divisor_override = 0;
  Shape in_shape, out_shape;

  void finish() {
    for (int d = 0; d < 3; ++d) {
      windows.start[d] = start[d].data();
      windows.count[d] = count[d].data();
      windows.divisor[d] = divisor[d].data();
    }
  }
  // The windows with tables where `device` reads them; `tables` keeps a copy alive.
  PoolWindows windows_on(Device device, Tensor* tables) const {
    PoolWindows w = windows;
    if (device.is_cpu()) return w;
    std::vector<int64_t> all;
    for (int d = 0; d < 3; ++d) {
      for (const auto* list : {&start[d], &count[d], &divisor[d]}) {
        all.insert(all.end(), list->begin(), list->end());
        // Maximum pooling has no divisors.
        all.resize(all.size() + start[d].size() - list->size(), 1);
      }
    }
    Tensor host = empty({static_cast<int64_t>(all.size())}, DType::i64);
    std::copy(all.begin(), all.end(), host.data_as<int64_t>());
    *tables = device_constant(host, device);
    const int64_t* p = tables->data_as<int64_t>(device);
    for (int d = 0; d < 3; ++d) {
      for (const int64_t** slot : {&w.start[d], &w.count[d], &w.divisor[d]}) {
        *slot = p;
        p += start[d].size();
      }
    }
    return w;
  }
  int64_t planes() const {
    int64_t n = 1;
    for (int d = 0; d < in_shape.size() - dims; ++d) n *= in_shape[d];
    return n;
  }
  int64_t in_size() const { return windows.in[0] * windows.in[1] * windows.in[2]; }
  int64_t out_size() const { return windows.out[0] * windows.out[1] * windows.out[2]; }
};
using PlanRef = std::shared_ptr<const PoolPlan>;

void check_input(const char* op, int dims, const Tensor& x) {
  if (!(dtype_bit(x.dtype()) & kWideFloatMask)) fail_dtype(op, "input", x.dtype(), kWideFloatMask);
  TERCEL_CHECK(x.dim() == dims + 1 || x.dim() == dims + 2, Shape, op, ": input must have ",
               dims + 2, " dimensions (or ", dims + 1, " without batch), got shape ", x.shape());
}

std::shared_ptr<PoolPlan> empty_plan(int dims, const Tensor& x) {
  auto plan = std::make_shared<PoolPlan>();
  plan->dims = dims;
  plan->in_shape = x.shape();
  plan->out_shape = x.shape();
  for (int d = 0; d < 3 - dims; ++d) {
    plan->windows.in[d] = plan->windows.out[d] = plan->windows.step[d] = 1;
    plan->start[d] = {0};
    plan->count[d] = plan->divisor[d] = {1};
  }
  return plan;
}

PlanRef regular_plan(const char* op, int dims, const Tensor& x, const Dims& kernel_size,
                     const Dims& stride_arg, const Dims& padding, const Dims& dilation_arg,
                     bool ceil_mode, bool count_include_pad) {
  check_input(op, dims, x);
  const Dims kernel = spatial_dims(kernel_size, dims, 1, op, "kernel_size");
  const Dims stride = stride_arg.empty() ? kernel : spatial_dims(stride_arg, dims, 1, op, "stride");
  const Dims pad = spatial_dims(padding, dims, 0, op, "padding");
  const Dims dilation = spatial_dims(dilation_arg, dims, 1, op, "dilation");
  auto plan = empty_plan(dims, x);
  for (int i = 0; i < dims; ++i) {
    const int d = 3 - dims + i;
    const int64_t in = x.size(x.dim() - dims + i);
    TERCEL_CHECK(in > 0, Shape, op, ": spatial sizes of input must be at least 1, got ", x.shape());
    const int64_t out =
        pool_output_size(in, kernel[i], stride[i], pad[i], dilation[i], ceil_mode, op);
    plan->out_shape[x.dim() - dims + i] = out;
    plan->windows.in[d] = in;
    plan->windows.out[d] = out;
    plan->windows.step[d] = dilation[i];
  }
  checked_numel(plan->out_shape, op);
  empty(plan->out_shape, x.dtype());  // too large a result fails before tables of its size are made
  for (int i = 0; i < dims; ++i) {
    const int d = 3 - dims + i;
    const int64_t in = plan->windows.in[d];
    for (int64_t o = 0; o < plan->windows.out[d]; ++o) {
      const int64_t begin = o * stride[i] - pad[i];
      const int64_t padded_end = std::min(begin + kernel[i], in + pad[i]);
      const int64_t skipped = begin < 0 ? (-begin + dilation[i] - 1) / dilation[i] : 0;
      const int64_t first = begin + skipped * dilation[i];
      const int64_t fit = first < in ? (in - 1 - first) / dilation[i] + 1 : 0;
      const int64_t count = std::max<int64_t>(0, std::min(kernel[i] - skipped, fit));
      plan->start[d].push_back(std::clamp<int64_t>(first, 0, in - 1));
      plan->count[d].push_back(count);
      plan->divisor[d].push_back(count_include_pad ? padded_end - begin : count);
    }
  }
  plan->windows.regular = true;
  plan->windows.kernel = kernel[dims - 1];
  plan->windows.stride = stride[dims - 1];
  plan->windows.pad = pad[dims - 1];
  plan->finish();
  return plan;
}

PlanRef adaptive_plan(const char* op, int dims, const Tensor& x, const Dims& output_size) {
  check_input(op, dims, x);
  const Dims size = spatial_dims(output_size, dims, -1, op, "output_size");
  auto plan = empty_plan(dims, x);
  for (int i = 0; i < dims; ++i) {
    const int d = 3 - dims + i;
    const int64_t in = x.size(x.dim() - dims + i);
    const int64_t out = size[i] == -1 ? in : size[i];
    TERCEL_CHECK(in > 0, Shape, op, ": spatial sizes of input must be at least 1, got ", x.shape());
    checked_mul(in, out + 1, op);
    plan->out_shape[x.dim() - dims + i] = out;
    plan->windows.in[d] = in;
    plan->windows.out[d] = out;
    plan->windows.step[d] = 1;
  }
  checked_numel(plan->out_shape, op);
  empty(plan->out_shape, x.dtype());
  for (int d = 3 - dims; d < 3; ++d) {
    const int64_t in = plan->windows.in[d], out = plan->windows.out[d];
    for (int64_t o = 0; o < out; ++o) {
      const int64_t begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
      plan->start[d].push_back(begin);
      plan->count[d].push_back(end - begin);
      plan->divisor[d].push_back(end - begin);
    }
  }
  plan->finish();
  return plan;
}

// ---- kernel calls without history
// ------------------------------------------------------------------

Tensor run_pool(const Tensor& x_any, const PoolPlan& plan, bool average, Tensor* indices,
                DType index_dtype) {
  const Tensor x = contiguous(x_any.detach());
  const Device dev = x.device();
  Tensor y = empty(plan.out_shape, x.dtype(), dev), tables;
  if (indices) *indices = empty(plan.out_shape, index_dtype, dev);
  if (y.numel() == 0) return y;
  PoolArgs a{};
  a.windows = plan.windows_on(dev, &tables);
  a.x = x.data(dev);
  a.y = y.data(dev);
  if (indices) {
    a.indices = indices->data(dev);
    a.index_bytes = static_cast<int>(dtype_size(index_dtype));
  }
  a.dtype = x.dtype();
  a.planes = plan.planes();
  a.average = average;
  a.divisor_override = plan.divisor_override;
  launch(pool_kernels(dev).forward, a, x.numel(), dev);
  return y;
}

Tensor run_average_grad(const Tensor& dy_any, const PoolPlan& plan) {
  const DType dtype = dy_any.dtype();
  // 16-bit gradients are summed in float32 and rounded once
  const Tensor dy = contiguous(is_half(dtype) ? to(dy_any.detach(), DType::f32) : dy_any.detach());
  const Device dev = dy.device();
  Tensor dx = empty(plan.in_shape, dy.dtype(), dev), tables;
  if (dx.numel() != 0) {
    PoolAverageGradArgs a{
        plan.windows_on(dev, &tables), dy.data(dev), dx.data(dev), dy.dtype(), plan.planes(),
        plan.divisor_override};
    launch(pool_kernels(dev).average_grad, a, dx.numel(), dev);
  }
  return is_half(dtype) ? to(dx, dtype) : dx;
}

Tensor run_index(const Tensor& src_any, const Tensor& indices, const Shape& shape, int dims,
                 bool scatter, bool assign) {
  const DType dtype = src_any.dtype();
  const bool widen = scatter && !assign && is_half(dtype);
  const Tensor src = contiguous(widen ? to(src_any.detach(), DType::f32) : src_any.detach());
  const Device dev = src.device();
  Tensor dst = empty(shape, src.dtype(), dev);
  if (dst.numel() == 0) return widen ? to(dst, dtype) : dst;
  PoolIndexArgs a{};
  a.src = src.data(dev);
  a.indices = indices.data(dev);
  a.index_bytes = static_cast<int>(indices.itemsize());
  a.dst = dst.data(dev);
  a.dtype = src.dtype();
  a.planes = a.width = a.size = 1;
  a.assign = assign;
  for (int d = 0; d < shape.size(); ++d) {
    if (d < shape.size() - dims)
      a.planes *= shape[d];
    else
      a.size *= shape[d], a.width *= src.size(d);
  }
  if (src.numel() == 0 && !scatter) return zeros(shape, dtype, dev);
  launch(scatter ? pool_kernels(dev).scatter : pool_kernels(dev).gather, a,
         dst.numel() + src.numel(), dev);
  return widen ? to(dst, dtype) : dst;
}

// ---- scatter and gather by saved indices: each is the other's gradient
// ----------------------------

Tensor pool_gather(const Tensor& src, const Tensor& indices, int dims);

struct PoolScatterNode final : Node {
  Tensor indices;  // made by this file: nobody can overwrite it
  int dims;
  PoolScatterNode(Tensor i, int d) : indices(std::move(i)), dims(d) {}
  const char* name() const override { return "MaxUnpoolBackward"; }
  TensorList backward(const TensorList& g) override { return {pool_gather(g[0], indices, dims)}; }
  void release_saved() override { indices.reset(); }
};

Tensor pool_scatter(const Tensor& src, const Tensor& indices, const Shape& shape, int dims,
                    bool assign) {
  Tensor dst = run_index(src, indices, shape, dims, true, assign);
  if (grad_needed(src)) set_history(dst, make_node<PoolScatterNode>({&src}, indices, dims));
  return dst;
}

struct PoolGatherNode final : Node {
  Tensor indices;
  Shape shape;
  int dims;
  PoolGatherNode(Tensor i, const Shape& s, int d) : indices(std::move(i)), shape(s), dims(d) {}
  const char* name() const override { return "MaxPoolGatherBackward"; }
  TensorList backward(const TensorList& g) override {
    return {pool_scatter(g[0], indices, shape, dims, false)};
  }
  void release_saved() override { indices.reset(); }
};

Tensor pool_gather(const Tensor& src, const Tensor& indices, int dims) {
  Tensor dst = run_index(src, indices, indices.shape(), dims, false, false);
  if (grad_needed(src))
    set_history(dst, make_node<PoolGatherNode>({&src}, indices, src.shape(), dims));
  return dst;
}

// ---- maximum
// ---------------------------------------------------------------------------------------

struct MaxPoolNode final : Node {
  PlanRef plan;
  Saved indices;
  explicit MaxPoolNode(PlanRef p) : plan(std::move(p)) {}
  const char* name() const override { return "MaxPoolBackward"; }
  TensorList backward(const TensorList& g) override {
    return {pool_scatter(g[0], indices.get(*this), plan->in_shape, plan->dims, false)};
  }
  void release_saved() override { indices.reset(); }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"indices", indices.peek()}};
  }
};

std::pair<Tensor, Tensor> maximum_over(const Tensor& x, const PlanRef& plan, bool want_indices) {
  const bool with_grad = grad_needed(x);
  Tensor indices;
  const DType index_dtype = want_indices || plan->in_size() > INT32_MAX ? DType::i64 : DType::i32;
  Tensor y = run_pool(x, *plan, false, want_indices || with_grad ? &indices : nullptr, index_dtype);
  if (with_grad) {
    auto node = make_node<MaxPoolNode>({&x}, plan);
    node->indices.save(indices);
    set_history(y, node);
  }
  return {y, indices};
}

constexpr const char* kMax[3] = {"max_pool1d", "max_pool2d", "max_pool3d"};
constexpr const char* kAvg[3] = {"avg_pool1d", "avg_pool2d", "avg_pool3d"};
constexpr const char* kAdaptiveAvg[3] = {"adaptive_avg_pool1d", "adaptive_avg_pool2d",
                                         "adaptive_avg_pool3d"};
constexpr const char* kAdaptiveMax[3] = {"adaptive_max_pool1d", "adaptive_max_pool2d",
                                         "adaptive_max_pool3d"};
constexpr const char* kUnpool[3] = {"max_unpool1d", "max_unpool2d", "max_unpool3d"};
constexpr const char* kLp[3] = {"lp_pool1d", "lp_pool2d", "lp_pool3d"};

// ---- average: linear, so forward and gradient are each other's backward
// ----------------------------

Tensor average_grad(const Tensor& dy, const PlanRef& plan);

struct AvgPoolNode final : Node {
  PlanRef plan;
  explicit AvgPoolNode(PlanRef p) : plan(std::move(p)) {}
  const char* name() const override { return "AvgPoolBackward"; }
  TensorList backward(const TensorList& g) override { return {average_grad(g[0], plan)}; }
};

Tensor average_over(const Tensor& x, const PlanRef& plan) {
  Tensor y = run_pool(x, *plan, true, nullptr, DType::i64);
  if (grad_needed(x)) set_history(y, make_node<AvgPoolNode>({&x}, plan));
  return y;
}

struct AvgPoolGradNode final : Node {
  PlanRef plan;
  explicit AvgPoolGradNode(PlanRef p) : plan(std::move(p)) {}
  const char* name() const override { return "AvgPoolGradBackward"; }
  TensorList backward(const TensorList& g) override { return {average_over(g[0], plan)}; }
};

Tensor average_grad(const Tensor& dy, const PlanRef& plan) {
  Tensor dx = run_average_grad(dy, *plan);
  if (grad_needed(dy)) set_history(dx, make_node<AvgPoolGradNode>({&dy}, plan));
  return dx;
}

}  // namespace

Tensor max_pool(int dims, const Tensor& x, const Dims& kernel_size, const Dims& stride,
                const Dims& padding, const Dims& dilation, bool ceil_mode) {
  const PlanRef plan = regular_plan(op_name(kMax, dims), dims, x, kernel_size, stride, padding,
                                    dilation, ceil_mode, true);
  return maximum_over(x, plan, false).first;
}

std::pair<Tensor, Tensor> max_pool_with_indices(int dims, const Tensor& x, const Dims& kernel_size,
                                                const Dims& stride, const Dims& padding,
                                                const Dims& dilation, bool ceil_mode) {
  const PlanRef plan = regular_plan(op_name(kMax, dims), dims, x, kernel_size, stride, padding,
                                    dilation, ceil_mode, true);
  return maximum_over(x, plan, true);
}

Tensor avg_pool(int dims, const Tensor& x, const Dims& kernel_size, const Dims& stride,
                const Dims& padding, bool ceil_mode, bool count_include_pad,
                std::optional<int64_t> divisor_override) {
  const char* op = op_name(kAvg, dims);
  TERCEL_CHECK(!divisor_override || *divisor_override != 0, Value, op,
               ": divisor_override must not be 0");
  PlanRef plan =
      regular_plan(op, dims, x, kernel_size, stride, padding, {1}, ceil_mode, count_include_pad);
  if (divisor_override) {
    auto changed = std::make_shared<PoolPlan>(*plan);
    changed->divisor_override = static_cast<double>(*divisor_override);
    changed->finish();
    plan = changed;
  }
  return average_over(x, plan);
}

Tensor adaptive_avg_pool(int dims, const Tensor& x, const Dims& output_size) {
  return average_over(x, adaptive_plan(op_name(kAdaptiveAvg, dims), dims, x, output_size));
}

Tensor adaptive_max_pool(int dims, const Tensor& x, const Dims& output_size) {
  return maximum_over(x, adaptive_plan(op_name(kAdaptiveMax, dims), dims, x, output_size), false)
      .first;
}

std::pair<Tensor, Tensor> adaptive_max_pool_with_indices(int dims, const Tensor& x,
                                                         const Dims& output_size) {
  return maximum_over(x, adaptive_plan(op_name(kAdaptiveMax, dims), dims, x, output_size), true);
}

Tensor lp_pool(int dims, const Tensor& x, double norm_type, const Dims& kernel_size,
               const Dims& stride, bool ceil_mode) {
  const char* op = op_name(kLp, dims);
  TERCEL_CHECK(norm_type != 0, Value, op, ": norm_type must not be 0");
  const Dims kernel = spatial_dims(kernel_size, dims, 1, op, "kernel_size");
  double elements = 1;
  for (int64_t k : kernel) elements *= static_cast<double>(k);
  check_input(op, dims, x);
  const Tensor mean =
      avg_pool(dims, pow(x, wrap_number(norm_type)), kernel, stride, {0}, ceil_mode);
  return pow(mul(mean, wrap_number(elements)), wrap_number(1.0 / norm_type));
}

Tensor max_unpool(int dims, const Tensor& x, const Tensor& indices, const Dims& kernel_size,
                  const Dims& stride_arg, const Dims& padding,
                  const std::optional<Dims>& output_size) {
  const char* op = op_name(kUnpool, dims);
  check_input(op, dims, x);
  TERCEL_CHECK(indices.dtype() == DType::i64, DType, op, ": indices must be int64, got ",
               dtype_name(indices.dtype()));
  TERCEL_CHECK(indices.shape() == x.shape(), Shape, op, ": indices must have the shape of input, ",
               x.shape(), ", got ", indices.shape());
  const Dims kernel = spatial_dims(kernel_size, dims, 1, op, "kernel_size");
  const Dims stride = stride_arg.empty() ? kernel : spatial_dims(stride_arg, dims, 1, op, "stride");
  const Dims pad = spatial_dims(padding, dims, 0, op, "padding");
  Shape shape = x.shape();
  const int lead = x.dim() - dims;
  for (int d = 0; d < dims; ++d) {
    const int64_t full =
        checked_add(checked_mul(x.size(lead + d) - 1, stride[d], op), kernel[d], op);
    shape[lead + d] = checked_add(full, -checked_mul(2, pad[d], op), op);
  }
  if (output_size) {
    TERCEL_CHECK(output_size->size() == dims || output_size->size() == x.dim(), Value, op,
                 ": output_size must have ", dims, " values, got ", *output_size);
    for (int d = 0; d < dims; ++d) {
      const int64_t wanted = (*output_size)[output_size->size() - dims + d],
                    natural = shape[lead + d];
      TERCEL_CHECK(wanted > natural - stride[d] && wanted < natural + stride[d], Value, op,
                   ": output_size must be within one stride of ", natural, " in dimension ", d,
                   ", got ", wanted);
      shape[lead + d] = wanted;
    }
  }
  int64_t plane = 1;
  for (int d = 0; d < dims; ++d) {
    TERCEL_CHECK(shape[lead + d] > 0, Shape, op, ": output sizes must be positive, got ", shape);
    plane = checked_mul(plane, shape[lead + d], op);
  }
  // a private copy: the caller may change its indices before backward
  const Tensor places = clone_contiguous(indices.detach());
  const Tensor host = to_device(places, Device{});
  const int64_t* p = host.data_as<int64_t>();
  for (int64_t i = 0; i < places.numel(); ++i)
    TERCEL_CHECK(p[i] >= 0 && p[i] < plane, Index, op, ": indices must be in [0, ", plane,
                 "), got ", p[i]);
  return pool_scatter(x, places, shape, dims, true);
}

}  // namespace tercel
