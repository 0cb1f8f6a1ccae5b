#include "ops/resample/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "core/launch.h"
#include "ops/conv/conv_shape.h"
#include "ops/copy/copy.h"
#include "ops/pool/pool.h"
#include "ops/resample/resample_args.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

struct Plan {
  Shape in_shape, out_shape;
  int64_t planes;
  struct Dim {
    int64_t in = 1, out = 1;
    int taps = 1;
    std::vector<int64_t> index{0};
    std::vector<double> weight{1.0};
  } dim[3];
};
using PlanRef = std::shared_ptr<const Plan>;

// Indices and weights of one dimension. `scale` is source steps per output step.
void fill_nearest(Plan::Dim& d, double scale, bool exact) {
  d.taps = 1;
  d.index.clear();
  d.weight.assign(static_cast<size_t>(d.out), 1.0);
  for (int64_t o = 0; o < d.out; ++o) {
    const double at = (static_cast<double>(o) + (exact ? 0.5 : 0.0)) * scale;
    d.index.push_back(std::min<int64_t>(static_cast<int64_t>(std::floor(at)), d.in - 1));
  }
}

// Keys' kernel with a = -0.75, as PyTorch and OpenCV.
void cubic_weights(double t, double* w) {
  const double a = -0.75;
  const auto near = [&](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [&](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  w[0] = far(t + 1);
  w[1] = near(t);
  w[2] = near(1 - t);
  w[3] = far(2 - t);
}

void fill_smooth(Plan::Dim& d, double scale, bool align_corners, bool cubic) {
  d.taps = cubic ? 4 : 2;
  d.index.clear();
  d.weight.clear();
  for (int64_t o = 0; o < d.out; ++o) {
    double at;
    if (align_corners) {
      at = d.out > 1 ? static_cast<double>(o) * static_cast<double>(d.in - 1) /
                           static_cast<double>(d.out - 1)
                     : 0.0;
    } else {
      at = (static_cast<double>(o) + 0.5) * scale - 0.5;
      if (!cubic) at = std::max(at, 0.0);
    }
    const double base = std::floor(at);
    const int64_t first = static_cast<int64_t>(base) - (cubic ? 1 : 0);
    double w[4] = {1 - (at - base), at - base, 0, 0};
    if (cubic) cubic_weights(at - base, w);
    for (int t = 0; t < d.taps; ++t) {
      d.index.push_back(std::clamp<int64_t>(first + t, 0, d.in - 1));
      d.weight.push_back(w[t]);
    }
  }
}

// Filters that widen with the scale when shrinking, cut at the borders and normalised. Output o
// covers the source around (o + 1/2) scale.
void fill_antialiased(Plan::Dim& d, double scale, bool cubic) {
  const double a = -0.5;
  const auto filter = [&](double x) {
    x = std::fabs(x);
    if (!cubic) return x < 1 ? 1 - x : 0.0;
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0.0;
  };
  const double stretch = std::max(scale, 1.0), support = (cubic ? 2 : 1) * stretch;
  d.taps = static_cast<int>(std::min(static_cast<double>(d.in), std::ceil(support) * 2 + 1));
  d.index.clear();
  d.weight.clear();
  std::vector<double> w(static_cast<size_t>(d.taps));
  for (int64_t o = 0; o < d.out; ++o) {
    const double center = (static_cast<double>(o) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), d.in);
    double total = 0;
    for (int t = 0; t < d.taps; ++t) {
      const double at = static_cast<double>(first + t) - center + 0.5;
      w[static_cast<size_t>(t)] = first + t < end ? filter(at / stretch) : 0.0;
      total += w[static_cast<size_t>(t)];
    }
    for (int t = 0; t < d.taps; ++t) {
      d.index.push_back(std::clamp<int64_t>(first + t, 0, end - 1));
      d.weight.push_back(total != 0 ? w[static_cast<size_t>(t)] / total : 0.0);
    }
  }
}

// CUDA: one list of terms per destination coordinate, for the adjoint those of the outputs that
// read it; in one table on the device, [first [n + 1], place, bits of the weight] per dim.
ResampleLists lists_on(Device dev, const Plan& plan, bool adjoint, Tensor* table) {
  ResampleLists lists{};
  std::vector<int64_t> all;
  int64_t at[3][2];  // of `first` and of `place` in the table
  for (int d = 0; d < 3; ++d) {
    const Plan::Dim& p = plan.dim[d];
    const int64_t n = adjoint ? p.in : p.out, terms = p.out * p.taps;
    std::vector<int64_t> first(static_cast<size_t>(n) + 1), place(static_cast<size_t>(terms)),
        weight(static_cast<size_t>(terms));
    const auto target = [&](int64_t i) { return adjoint ? p.index[i] : i / p.taps; };
    for (int64_t i = 0; i < terms; ++i) ++first[target(i) + 1];
    for (int64_t i = 0; i < n; ++i) first[i + 1] += first[i];
    std::vector<int64_t> next(first.begin(), first.end() - 1);
    for (int64_t i = 0; i < terms; ++i) {
      const int64_t k = next[target(i)]++;
      place[k] = adjoint ? i / p.taps : p.index[i];
      std::memcpy(&weight[k], &p.weight[i], sizeof(double));
    }
    at[d][0] = static_cast<int64_t>(all.size());
    all.insert(all.end(), first.begin(), first.end());
    at[d][1] = static_cast<int64_t>(all.size());
    all.insert(all.end(), place.begin(), place.end());
    all.insert(all.end(), weight.begin(), weight.end());
    lists.dim[d].src = adjoint ? p.out : p.in;
    lists.dim[d].dst = n;
  }
  const Tensor host = empty({static_cast<int64_t>(all.size())}, DType::i64);
  std::copy(all.begin(), all.end(), host.data_as<int64_t>());
  *table = device_constant(host, dev);
  const int64_t* base = table->data_as<int64_t>(dev);
  for (int d = 0; d < 3; ++d) {
    const int64_t terms = plan.dim[d].out * plan.dim[d].taps;
    lists.dim[d].first = base + at[d][0];
    lists.dim[d].place = base + at[d][1];
    lists.dim[d].weight = reinterpret_cast<const double*>(base + at[d][1] + terms);
  }
  return lists;
}

void run(bool adjoint, const Plan& plan, const Tensor& src, const Tensor& dst) {
  if (dst.numel() == 0) return;
  const Device dev = src.device();
  ResampleArgs a{};
  a.src = src.data(dev);
  a.dst = dst.data(dev);
  a.dtype = src.dtype();
  a.planes = plan.planes;
  for (int d = 0; d < 3; ++d) {
    const Plan::Dim& p = plan.dim[d];
    a.dim[d] = {p.in, p.out, p.taps, p.index.data(), p.weight.data()};
  }
  const ResampleKernels& kernels = resample_kernels(dev);
  Tensor table;
  if (!dev.is_cpu()) {
    a.lists = lists_on(dev, plan, adjoint, &table);
    return launch(kernels.forward, a, 0, dev);
  }
  const DType compute = src.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Tensor rows = empty({checked_mul(kResampleChunks, plan.dim[2].in, "interpolate")}, compute);
  a.rows = rows.data();
  launch(adjoint ? kernels.adjoint : kernels.forward, a, 2 * (src.numel() + dst.numel()));
}

Tensor resample_adjoint(const Tensor& g, const PlanRef& plan);

struct InterpolateNode final : Node {
  PlanRef plan;
  explicit InterpolateNode(PlanRef p) : plan(std::move(p)) {}
  const char* name() const override { return "InterpolateBackward"; }
  TensorList backward(const TensorList& g) override { return {resample_adjoint(g[0], plan)}; }
};

Tensor resample(const Tensor& x, const PlanRef& plan) {
  Tensor y = empty(plan->out_shape, x.dtype(), x.device());
  run(false, *plan, contiguous(x.detach()), y);
  if (grad_needed(x)) set_history(y, make_node<InterpolateNode>({&x}, plan));
  return y;
}

struct InterpolateAdjointNode final : Node {
  PlanRef plan;
  explicit InterpolateAdjointNode(PlanRef p) : plan(std::move(p)) {}
  const char* name() const override { return "InterpolateAdjointBackward"; }
  TensorList backward(const TensorList& g) override { return {resample(g[0], plan)}; }
};

Tensor resample_adjoint(const Tensor& g, const PlanRef& plan) {
  const bool widen = is_half(g.dtype());
  const Tensor src = contiguous(widen ? to(g.detach(), DType::f32) : g.detach());
  Tensor d = empty(plan->in_shape, src.dtype(), src.device());
  if (src.numel() == 0)
    d = zeros(plan->in_shape, src.dtype(), src.device());
  else
    run(true, *plan, src, d);
  if (widen) d = to(d, g.dtype());
  if (grad_needed(g)) set_history(d, make_node<InterpolateAdjointNode>({&g}, plan));
  return d;
}

}  // namespace

Tensor interpolate(const Tensor& x, const std::optional<Dims>& size,
                   const std::vector<double>& factor, const std::string& mode, bool align_corners,
                   bool recompute_scale_factor, bool antialias) {
  const char* op = "interpolate";
  if (!(dtype_bit(x.dtype()) & kWideFloatMask)) fail_dtype(op, "input", x.dtype(), kWideFloatMask);
  const int dims = x.dim() - 2;
  TERCEL_CHECK(dims >= 1 && dims <= 3, Shape, op,
               ": input must have 3, 4 or 5 dimensions, got shape ", x.shape());
  TERCEL_CHECK(size.has_value() != !factor.empty(), Value, op,
               ": give exactly one of size and scale_factor");
  const bool nearest = mode == "nearest" || mode == "nearest-exact", area = mode == "area",
             cubic = mode == "bicubic";
  static const char* const kLinear[] = {"linear", "bilinear", "trilinear"};
  TERCEL_CHECK(nearest || area || (cubic && dims == 2) || mode == kLinear[dims - 1], Value, op,
               ": mode for ", x.dim(),
               "-dimensional input must be 'nearest', 'nearest-exact', 'area', '",
               kLinear[dims - 1], dims == 2 ? "' or 'bicubic'" : "'", ", got '", mode, "'");
  TERCEL_CHECK(!align_corners || !(nearest || area), Value, op,
               ": align_corners is for linear and cubic modes, got mode '", mode, "'");
  TERCEL_CHECK(!antialias || cubic || (dims == 2 && mode == "bilinear"), Value, op,
               ": antialias is for modes 'bilinear' and 'bicubic', got '", mode, "'");
  auto plan = std::make_shared<Plan>();
  plan->in_shape = plan->out_shape = x.shape();
  plan->planes = x.size(0) * x.size(1);
  double scale[3] = {1, 1, 1};
  Dims wanted;
  if (size) wanted = spatial_dims(*size, dims, 1, op, "size");
  TERCEL_CHECK(factor.size() <= 1 || static_cast<int>(factor.size()) == dims, Value, op,
               ": scale_factor must be a number or ", dims, " numbers, got ", factor.size());
  for (int i = 0; i < dims; ++i) {
    Plan::Dim& d = plan->dim[3 - dims + i];
    d.in = x.size(2 + i);
    TERCEL_CHECK(d.in > 0, Shape, op, ": spatial sizes of input must be at least 1, got ",
                 x.shape());
    double f = 0;
    if (size) {
      d.out = wanted[i];
    } else {
      f = factor[factor.size() == 1 ? 0 : static_cast<size_t>(i)];
      const double out = std::floor(static_cast<double>(d.in) * f);
      TERCEL_CHECK(f > 0 && out >= 1 && out < 4e18, Value, op,
                   ": scale_factor must give sizes of at least 1, got ", f, " for input size ",
                   d.in);
      d.out = static_cast<int64_t>(out);
    }
    scale[3 - dims + i] = size || recompute_scale_factor
                              ? static_cast<double>(d.in) / static_cast<double>(d.out)
                              : 1.0 / f;
    plan->out_shape[2 + i] = d.out;
  }
  checked_numel(plan->out_shape, op);
  if (area) {
    Dims out;
    for (int i = 0; i < dims; ++i) out.push_back(plan->out_shape[2 + i]);
    return adaptive_avg_pool(dims, x, out);
  }
  empty(plan->out_shape, x.dtype(),
        x.device());  // too large a result fails before tables of its size are made
  for (int d = 3 - dims; d < 3; ++d) {
    Plan::Dim& p = plan->dim[d];
    if (nearest) {
      fill_nearest(p, scale[d], mode != "nearest");
    } else if (antialias) {
      const double ends =
          p.out > 1 ? static_cast<double>(p.in - 1) / static_cast<double>(p.out - 1) : 0.0;
      fill_antialiased(p, align_corners ? ends : scale[d], cubic);
    } else {
      fill_smooth(p, scale[d], align_corners, cubic);
    }
  }
  return resample(x, plan);
}

// ---- moves, composed of views
// ----------------------------------------------------------------------

Tensor pixel_shuffle(const Tensor& x, int64_t r) {
  const char* op = "pixel_shuffle";
  TERCEL_CHECK(x.dim() >= 3, Shape, op, ": input must have at least 3 dimensions, got shape ",
               x.shape());
  TERCEL_CHECK(r >= 1, Value, op, ": upscale_factor must be at least 1, got ", r);
  const int n = x.dim() - 3;
  TERCEL_CHECK(x.size(n) % checked_mul(r, r, op) == 0, Shape, op,
               ": channels must be a multiple of ", r * r, ", got ", x.shape());
  Shape split(x.shape().data(), n), out = split;
  Dims order;
  for (int d = 0; d < n; ++d) order.push_back(d);
  for (int64_t v : {x.size(n) / (r * r), r, r, x.size(n + 1), x.size(n + 2)}) split.push_back(v);
  for (int d : {0, 3, 1, 4, 2}) order.push_back(n + d);
  for (int64_t v : {x.size(n) / (r * r), x.size(n + 1) * r, x.size(n + 2) * r}) out.push_back(v);
  return reshape(permute(reshape(x, split), order), out);
}

Tensor pixel_unshuffle(const Tensor& x, int64_t r) {
  const char* op = "pixel_unshuffle";
  TERCEL_CHECK(x.dim() >= 3, Shape, op, ": input must have at least 3 dimensions, got shape ",
               x.shape());
  TERCEL_CHECK(r >= 1, Value, op, ": downscale_factor must be at least 1, got ", r);
  const int n = x.dim() - 3;
  TERCEL_CHECK(x.size(n + 1) % r == 0 && x.size(n + 2) % r == 0, Shape, op,
               ": height and width must be multiples of ", r, ", got ", x.shape());
  Shape split(x.shape().data(), n), out = split;
  Dims order;
  for (int d = 0; d < n; ++d) order.push_back(d);
  for (int64_t v : {x.size(n), x.size(n + 1) / r, r, x.size(n + 2) / r, r}) split.push_back(v);
  for (int d : {0, 2, 4, 1, 3}) order.push_back(n + d);
  out.push_back(checked_mul(x.size(n), checked_mul(r, r, op), op));
  out.push_back(x.size(n + 1) / r);
  out.push_back(x.size(n + 2) / r);
  return reshape(permute(reshape(x, split), order), out);
}

Tensor channel_shuffle(const Tensor& x, int64_t groups) {
  const char* op = "channel_shuffle";
  TERCEL_CHECK(x.dim() >= 3, Shape, op, ": input must have at least 3 dimensions, got shape ",
               x.shape());
  TERCEL_CHECK(groups >= 1 && x.size(1) % groups == 0, Value, op,
               ": groups must divide the channels, got groups ", groups, " for input ", x.shape());
  Shape split = x.shape();
  split[1] = groups;
  split.insert(2, x.size(1) / groups);
  return reshape(transpose(reshape(x, split), 1, 2), x.shape());
}

namespace {

// Geometry of patches: blocks per dimension, and the strided view [N, C, kh, kw, OH, OW] of a
// padded image.
struct Patches {
  Dims kernel, dilation, padding, stride, blocks;
  Shape padded, view;
  Strides padded_strides, view_strides;
};

Patches patches_of(const char* op, int64_t n, int64_t c, const Dims& size, const Dims& kernel,
                   const Dims& dilation, const Dims& padding, const Dims& stride) {
  Patches p{spatial_dims(kernel, 2, 1, op, "kernel_size"),
            spatial_dims(dilation, 2, 1, op, "dilation"),
            spatial_dims(padding, 2, 0, op, "padding"),
            spatial_dims(stride, 2, 1, op, "stride"),
            {},
            {n, c},
            {},
            {},
            {}};
  for (int d = 0; d < 2; ++d) {
    p.blocks.push_back(conv_output_size(size[d], p.kernel[d], p.stride[d], p.padding[d],
                                        p.padding[d], p.dilation[d], op));
    p.padded.push_back(size[d] + 2 * p.padding[d]);
  }
  checked_numel(p.padded, op);
  p.view = {n, c, p.kernel[0], p.kernel[1], p.blocks[0], p.blocks[1]};
  checked_numel(p.view, op);
  p.padded_strides = contiguous_strides(p.padded);
  const int64_t row = p.padded_strides[2];
  p.view_strides = {p.padded_strides[0], p.padded_strides[1], p.dilation[0] * row,
                    p.dilation[1],       p.stride[0] * row,   p.stride[1]};
  return p;
}

}  // namespace

Tensor im2col(const Tensor& input, const Dims& kernel_size, const Dims& dilation,
              const Dims& padding, const Dims& stride) {
  const char* op = "unfold";
  TERCEL_CHECK(input.dim() == 3 || input.dim() == 4, Shape, op,
               ": input must have 3 or 4 dimensions, got shape ", input.shape());
  const bool unbatched = input.dim() == 3;
  const Tensor x = unbatched ? unsqueeze(input, 0) : input;
  const Patches p = patches_of(op, x.size(0), x.size(1), {x.size(2), x.size(3)}, kernel_size,
                               dilation, padding, stride);
  const bool pads = p.padding[0] != 0 || p.padding[1] != 0;
  const Tensor padded =
      contiguous(pads ? pad(x, {p.padding[1], p.padding[1], p.padding[0], p.padding[0]}, "constant",
                            Scalar(0.0))
                      : x);
  const Tensor view = as_strided(padded, p.view, p.view_strides, padded.offset());
  const Tensor columns =
      reshape(view, {x.size(0), x.size(1) * p.kernel[0] * p.kernel[1], p.blocks[0] * p.blocks[1]});
  return unbatched ? squeeze(columns, Dims{0}) : columns;
}

Tensor col2im(const Tensor& input, const Dims& output_size, const Dims& kernel_size,
              const Dims& dilation, const Dims& padding, const Dims& stride) {
  const char* op = "fold";
  TERCEL_CHECK(input.dim() == 2 || input.dim() == 3, Shape, op,
               ": input must have 2 or 3 dimensions, got shape ", input.shape());
  const bool unbatched = input.dim() == 2;
  const Tensor x = unbatched ? unsqueeze(input, 0) : input;
  const Dims kernel = spatial_dims(kernel_size, 2, 1, op, "kernel_size");
  const int64_t taps = checked_mul(kernel[0], kernel[1], op);
  TERCEL_CHECK(x.size(1) % taps == 0, Shape, op,
               ": dimension 1 of input must be a multiple of the kernel's ", taps,
               " elements, got ", input.shape());
  const Dims size = spatial_dims(output_size, 2, 1, op, "output_size");
  const Patches p =
      patches_of(op, x.size(0), x.size(1) / taps, size, kernel, dilation, padding, stride);
  TERCEL_CHECK(x.size(2) == p.blocks[0] * p.blocks[1], Shape, op,
               ": the last dimension of input must be ", p.blocks[0] * p.blocks[1], " blocks (",
               p.blocks[0], " x ", p.blocks[1], "), got ", input.shape());
  Tensor padded =
      as_strided_adjoint(reshape(x, p.view), p.padded, p.padded_strides, p.view_strides, 0);
  Tensor y = narrow(narrow(padded, 2, p.padding[0], size[0]), 3, p.padding[1], size[1]);
  return unbatched ? squeeze(y, Dims{0}) : y;
}

}  // namespace tercel
