#include "ops/pool/pool_plan.h"

#include <algorithm>

#include "ops/conv/conv_shape.h"
#include "ops/copy/copy.h"

namespace tercel {

PoolWindows PoolPlan::windows_on(Device device, Tensor* tables) const {
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

void check_pool_input(const char* op, int dims, const Tensor& x) {
  if (!(dtype_bit(x.dtype()) & kWideFloatMask)) fail_dtype(op, "input", x.dtype(), kWideFloatMask);
  TERCEL_CHECK(x.dim() == dims + 1 || x.dim() == dims + 2, Shape, op, ": input must have ",
               dims + 2, " dimensions (or ", dims + 1, " without batch), got shape ", x.shape());
}

namespace {

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

}  // namespace

PoolPlanRef regular_pool_plan(const char* op, int dims, const Tensor& x, const Dims& kernel_size,
                              const Dims& stride_arg, const Dims& padding, const Dims& dilation_arg,
                              bool ceil_mode, bool count_include_pad) {
  check_pool_input(op, dims, x);
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
  if (plan->planes() == 0) return plan;  // nothing will read the tables, which could be huge
  empty(plan->out_shape, x.dtype());  // too large a result fails before tables of its size are made
  for (int i = 0; i < dims; ++i) {
    const int d = 3 - dims + i;
    const int64_t in = plan->windows.in[d];
    for (int64_t o = 0; o < plan->windows.out[d]; ++o) {
      const int64_t begin = o * stride[i] - pad[i];
      const int64_t padded_end = std::min(begin + kernel[i], in + pad[i]);
      const int64_t skipped = begin < 0 ? (-begin - 1) / dilation[i] + 1 : 0;
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

PoolPlanRef adaptive_pool_plan(const char* op, int dims, const Tensor& x, const Dims& output_size) {
  check_pool_input(op, dims, x);
  const Dims size = spatial_dims(output_size, dims, -1, op, "output_size");
  auto plan = empty_plan(dims, x);
  for (int i = 0; i < dims; ++i) {
    const int d = 3 - dims + i;
    const int64_t in = x.size(x.dim() - dims + i);
    const int64_t out = size[i] == -1 ? in : size[i];
    TERCEL_CHECK(in > 0, Shape, op, ": spatial sizes of input must be at least 1, got ", x.shape());
    checked_mul(in, checked_add(out, 1, op), op);
    plan->out_shape[x.dim() - dims + i] = out;
    plan->windows.in[d] = in;
    plan->windows.out[d] = out;
    plan->windows.step[d] = 1;
  }
  checked_numel(plan->out_shape, op);
  if (plan->planes() == 0) return plan;
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

}  // namespace tercel
