// Each dimension is analysed on its own: which taps ever meet the source, in which residue plane
// and at which offset; the three results are then multiplied out.
#include "ops/conv/conv_plan.h"

#include <algorithm>

namespace tercel {

namespace {

struct DimTap {
  int64_t k, plane, shift;  // tap, residue plane, pixel 0 reads plane coordinate `shift`
};
struct DimPhase {
  int64_t first, step, count;  // output coordinates first + step * j
  std::vector<DimTap> taps;
};
struct DimPlan {
  int64_t stride;  // sampling stride of the planes
  std::vector<int64_t> residues;
  std::vector<DimPhase> phases;
  bool covers;  // every output coordinate is in a phase
};

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

DimPlan forward_dim(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad,
                    int64_t dilation) {
  DimPlan p{stride, {}, {{0, 1, out, {}}}, true};
  for (int64_t k = 0; k < kernel; ++k) {
    const int64_t position = k * dilation - pad;
    const int64_t shift = floor_div(position, stride), residue = position - shift * stride;
    if (residue >= in) continue;
    // pixel o reads plane coordinate o + shift, which holds data in [0, last]
    const int64_t last = (in - 1 - residue) / stride;
    if (std::max<int64_t>(0, -shift) > std::min(out - 1, last - shift)) continue;
    auto it = std::find(p.residues.begin(), p.residues.end(), residue);
    if (it == p.residues.end()) it = p.residues.insert(it, residue);
    p.phases[0].taps.push_back({k, it - p.residues.begin(), shift});
  }
  if (p.residues.empty()) p.residues.push_back(0);
  return p;
}

DimPlan input_grad_dim(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad,
                       int64_t dilation) {
  // dx[i] takes dy[o] through tap k if i = o stride + k dilation - pad
  DimPlan p{1, {0}, {}, false};
  for (int64_t k = 0; k < kernel; ++k) {
    const int64_t position = k * dilation - pad;
    const int64_t first = position - floor_div(position, stride) * stride;
    if (first >= in) continue;
    const int64_t count = (in - 1 - first) / stride + 1;
    const int64_t shift = (first - position) / stride;
    if (std::max<int64_t>(0, -shift) > std::min(count - 1, out - 1 - shift)) continue;
    auto it = std::find_if(p.phases.begin(), p.phases.end(),
                           [&](const DimPhase& f) { return f.first == first; });
    if (it == p.phases.end()) it = p.phases.insert(it, DimPhase{first, stride, count, {}});
    it->taps.push_back({k, 0, shift});
  }
  p.covers = static_cast<int64_t>(p.phases.size()) == std::min(stride, in);
  return p;
}

ConvPlan build(const DimPlan* dims, const int64_t* source, int64_t channels,
               const int64_t* kernel) {
  ConvPlan plan;
  plan.covers_output = true;
  plan.copy_free = true;
  plan.planes = 1;
  for (int d = 0; d < 3; ++d) {
    const DimPlan& dim = dims[d];
    int64_t low = INT64_MAX, high = INT64_MIN, count = 0;
    for (const DimPhase& f : dim.phases) {
      count = std::max(count, f.count);
      for (const DimTap& t : f.taps) {
        low = std::min(low, t.shift);
        high = std::max(high, t.shift + f.count);
      }
    }
    if (low > high) low = 0, high = count;
    plan.pad.first[d] = low;
    plan.pad.size[d] = high - low;
    if (d == 2) {
      // the zeros that end a row can be the zeros that begin the next one
      const int64_t lowest = *std::min_element(dim.residues.begin(), dim.residues.end());
      const int64_t room = source[d] - lowest;  // rounded up to whole strides, of any size
      const int64_t valid_end = room > 0 ? (room - 1) / dim.stride + 1 : 0;
      const int64_t shared = std::min(-low, high - valid_end);
      if (shared > 0) plan.pad.size[d] = std::max(count, high - low - shared);
    }
    plan.pad.stride[d] = dim.stride;
    plan.pad.src_size[d] = source[d];
    plan.residues[d] = dim.residues;
    plan.pad.num_residues[d] = static_cast<int64_t>(dim.residues.size());
    plan.planes *= plan.pad.num_residues[d];
    plan.covers_output = plan.covers_output && dim.covers;
    plan.copy_free = plan.copy_free && dim.stride == 1 && low == 0 && plan.pad.size[d] == source[d];
  }
  const int64_t row = plan.pad.size[2];
  const char* op = "convolution";
  plan.plane = checked_mul(checked_mul(plan.pad.size[0], plan.pad.size[1], op), row, op);
  checked_mul(checked_mul(plan.plane, plan.planes, op), channels, op);
  for (const DimPhase& fz : dims[0].phases)
    for (const DimPhase& fy : dims[1].phases)
      for (const DimPhase& fx : dims[2].phases) {
        ConvPlan::Phase phase;
        const DimPhase* f[3] = {&fz, &fy, &fx};
        for (int d = 0; d < 3; ++d) {
          phase.grid[d] = f[d]->count;
          phase.first[d] = f[d]->first;
          phase.step[d] = f[d]->step;
        }
        phase.tap.reserve(fz.taps.size() * fy.taps.size() * fx.taps.size());
        phase.offset.reserve(phase.tap.capacity() * static_cast<size_t>(channels));
        for (const DimTap& z : fz.taps)
          for (const DimTap& y : fy.taps)
            for (const DimTap& x : fx.taps) {
              const int64_t plane =
                  (z.plane * plan.pad.num_residues[1] + y.plane) * plan.pad.num_residues[2] +
                  x.plane;
              const int64_t line =
                  (z.shift - plan.pad.first[0]) * plan.pad.size[1] + y.shift - plan.pad.first[1];
              phase.offset.push_back(plane * plan.plane + line * row + x.shift - plan.pad.first[2]);
              phase.tap.push_back((z.k * kernel[1] + y.k) * kernel[2] + x.k);
            }
        phase.columns = std::max<int64_t>(1, static_cast<int64_t>(fx.taps.size()));
        const size_t taps = phase.tap.size();
        for (int64_t c = 1; c < channels; ++c)
          for (size_t t = 0; t < taps; ++t)
            phase.offset.push_back(phase.offset[t] + c * plan.channel());
        plan.phases.push_back(std::move(phase));
      }
  return plan;
}

}  // namespace

ConvPlan plan_forward(const ConvGeometry& g) {
  DimPlan dims[3];
  for (int d = 0; d < 3; ++d)
    dims[d] = forward_dim(g.in[d], g.out[d], g.kernel[d], g.stride[d], g.pad[d], g.dilation[d]);
  return build(dims, g.in, g.cin, g.kernel);
}

ConvPlan plan_input_grad(const ConvGeometry& g) {
  DimPlan dims[3];
  for (int d = 0; d < 3; ++d)
    dims[d] = input_grad_dim(g.in[d], g.out[d], g.kernel[d], g.stride[d], g.pad[d], g.dilation[d]);
  return build(dims, g.out, g.cout, g.kernel);
}

int64_t ConvGeometry::flops() const {
  const double f = 2.0 * static_cast<double>(images) * static_cast<double>(groups * cout) *
                   static_cast<double>(cin * kernel_size()) * static_cast<double>(out_size());
  return f < 4e18 ? static_cast<int64_t>(f) : INT64_MAX;
}
namespace {
Shape shape_of(int64_t a, int64_t b, const int64_t* size, int dims) {
  Shape s{a, b};
  for (int d = 3 - dims; d < 3; ++d) s.push_back(size[d]);
  return s;
}
}  // namespace
Shape ConvGeometry::input_shape() const { return shape_of(images, groups * cin, in, dims); }
Shape ConvGeometry::weight_shape() const { return shape_of(groups * cout, cin, kernel, dims); }
Shape ConvGeometry::output_shape() const { return shape_of(images, groups * cout, out, dims); }

}  // namespace tercel
