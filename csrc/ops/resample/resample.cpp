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

}  // namespace tercel
