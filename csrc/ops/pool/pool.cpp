#include "ops/pool/pool.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "core/launch.h"
#include "ops/conv/conv_shape.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/pool/pool_plan.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

const char* op_name(const char* const (&names)[3], int dims) { return names[dims - 1]; }

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
  PoolPlanRef plan;
  Saved indices;
  explicit MaxPoolNode(PoolPlanRef p) : plan(std::move(p)) {}
  const char* name() const override { return "MaxPoolBackward"; }
  TensorList backward(const TensorList& g) override {
    return {pool_scatter(g[0], indices.get(*this), plan->in_shape, plan->dims, false)};
  }
  void release_saved() override { indices.reset(); }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"indices", indices.peek()}};
  }
};

std::pair<Tensor, Tensor> maximum_over(const Tensor& x, const PoolPlanRef& plan,
                                       bool want_indices) {
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

Tensor average_grad(const Tensor& dy, const PoolPlanRef& plan);

struct AvgPoolNode final : Node {
  PoolPlanRef plan;
  explicit AvgPoolNode(PoolPlanRef p) : plan(std::move(p)) {}
  const char* name() const override { return "AvgPoolBackward"; }
  TensorList backward(const TensorList& g) override { return {average_grad(g[0], plan)}; }
};

Tensor average_over(const Tensor& x, const PoolPlanRef& plan) {
  Tensor y = run_pool(x, *plan, true, nullptr, DType::i64);
  if (grad_needed(x)) set_history(y, make_node<AvgPoolNode>({&x}, plan));
  return y;
}

struct AvgPoolGradNode final : Node {
  PoolPlanRef plan;
  explicit AvgPoolGradNode(PoolPlanRef p) : plan(std::move(p)) {}
  const char* name() const override { return "AvgPoolGradBackward"; }
  TensorList backward(const TensorList& g) override { return {average_over(g[0], plan)}; }
};

Tensor average_grad(const Tensor& dy, const PoolPlanRef& plan) {
  Tensor dx = run_average_grad(dy, *plan);
  if (grad_needed(dy)) set_history(dx, make_node<AvgPoolGradNode>({&dy}, plan));
  return dx;
}

}  // namespace

Tensor max_pool(int dims, const Tensor& x, const Dims& kernel_size, const Dims& stride,
                const Dims& padding, const Dims& dilation, bool ceil_mode) {
  const PoolPlanRef plan = regular_pool_plan(op_name(kMax, dims), dims, x, kernel_size, stride,
                                             padding, dilation, ceil_mode, true);
  return maximum_over(x, plan, false).first;
}

std::pair<Tensor, Tensor> max_pool_with_indices(int dims, const Tensor& x, const Dims& kernel_size,
                                                const Dims& stride, const Dims& padding,
                                                const Dims& dilation, bool ceil_mode) {
  const PoolPlanRef plan = regular_pool_plan(op_name(kMax, dims), dims, x, kernel_size, stride,
                                             padding, dilation, ceil_mode, true);
  return maximum_over(x, plan, true);
}

Tensor avg_pool(int dims, const Tensor& x, const Dims& kernel_size, const Dims& stride,
                const Dims& padding, bool ceil_mode, bool count_include_pad,
                std::optional<int64_t> divisor_override) {
  const char* op = op_name(kAvg, dims);
  TERCEL_CHECK(!divisor_override || *divisor_override != 0, Value, op,
               ": divisor_override must not be 0");
  PoolPlanRef plan = regular_pool_plan(op, dims, x, kernel_size, stride, padding, {1}, ceil_mode,
                                       count_include_pad);
  if (divisor_override) {
    auto changed = std::make_shared<PoolPlan>(*plan);
    changed->divisor_override = static_cast<double>(*divisor_override);
    changed->finish();
    plan = changed;
  }
  return average_over(x, plan);
}

Tensor adaptive_avg_pool(int dims, const Tensor& x, const Dims& output_size) {
  const auto plan = adaptive_pool_plan(op_name(kAdaptiveAvg, dims), dims, x, output_size);
  const bool global =
      std::all_of(output_size.begin(), output_size.end(), [](int64_t n) { return n == 1; });
  if (!global || !is_float(x.dtype())) return average_over(x, plan);
  Dims spatial;
  for (int d = -dims; d < 0; ++d) spatial.push_back(d);
  return mean(x, spatial, true);
}

Tensor adaptive_max_pool(int dims, const Tensor& x, const Dims& output_size) {
  return maximum_over(x, adaptive_pool_plan(op_name(kAdaptiveMax, dims), dims, x, output_size),
                      false)
      .first;
}

std::pair<Tensor, Tensor> adaptive_max_pool_with_indices(int dims, const Tensor& x,
                                                         const Dims& output_size) {
  return maximum_over(x, adaptive_pool_plan(op_name(kAdaptiveMax, dims), dims, x, output_size),
                      true);
}

Tensor lp_pool(int dims, const Tensor& x, double norm_type, const Dims& kernel_size,
               const Dims& stride, bool ceil_mode) {
  const char* op = op_name(kLp, dims);
  TERCEL_CHECK(norm_type != 0, Value, op, ": norm_type must not be 0");
  const Dims kernel = spatial_dims(kernel_size, dims, 1, op, "kernel_size");
  double elements = 1;
  for (int64_t k : kernel) elements *= static_cast<double>(k);
  check_pool_input(op, dims, x);
  if (std::isinf(norm_type)) {  // the limits: largest and smallest magnitude of a window
    const Tensor size = norm_type > 0 ? abs(x) : neg(abs(x));
    const Tensor extreme = max_pool(dims, size, kernel, stride, {0}, {1}, ceil_mode);
    return norm_type > 0 ? extreme : neg(extreme);
  }
  const Tensor mean =
      avg_pool(dims, pow(x, wrap_number(norm_type)), kernel, stride, {0}, ceil_mode);
  return pow(mul(mean, wrap_number(elements)), wrap_number(1.0 / norm_type));
}

Tensor max_unpool(int dims, const Tensor& x, const Tensor& indices, const Dims& kernel_size,
                  const Dims& stride_arg, const Dims& padding,
                  const std::optional<Dims>& output_size) {
  const char* op = op_name(kUnpool, dims);
  check_pool_input(op, dims, x);
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
