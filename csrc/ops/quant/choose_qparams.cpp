// Scales and zero points from data: extremes, percentiles, or the least squared error of each
// block.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/quant/quant_geometry.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {

std::pair<Tensor, Tensor> choose_qparams_affine(const Tensor& x, const Dims& block, QFormat format,
                                                const ChooseOptions& o) {
  const char* op = "choose_qparams_affine";
  const Tensor xd = to(quant_input(op, x), DType::f32);
  const QuantGeometry g = geometry_of(op, x.shape(), block);
  const QFormatInfo& f = info(format);
  TERCEL_CHECK(o.symmetric || f.integer, Value, op,
               ": an asymmetric range needs an integer format, got ", f.name);
  TERCEL_CHECK(!o.symmetric || f.qmin < 0, Value, op,
               ": a symmetric range needs a signed format, got ", f.name);
  TERCEL_CHECK(!o.power_of_two || (!f.integer && format != QFormat::nf4), Value, op,
               ": power-of-two scales are for float8_e4m3fn, float8_e5m2 and float4_e2m1, got ",
               f.name);
  TERCEL_CHECK(o.percentile > 50 && o.percentile <= 100, Value, op,
               ": percentile must be in (50, 100], got ", o.percentile);
  const QRange range = quant_range_of(op, format, o.quant_min, o.quant_max, o.symmetric);
  TERCEL_CHECK(!o.symmetric || range.qmax > 0, Value, op,
               ": quant_max must be positive for a symmetric range");
  const int64_t blocks = numel_of(g.scales);
  const Device dev = x.device();
  Tensor scale = empty(g.scales, o.power_of_two ? DType::u8 : DType::f32);  // chosen on the host
  Tensor zero = o.symmetric ? Tensor() : empty(g.scales, DType::i32);
  const auto chosen = [&]() -> std::pair<Tensor, Tensor> {
    return {to_device(scale, dev), zero.defined() ? to_device(zero, dev) : zero};
  };
  if (blocks == 0) return chosen();

  // Blocks as rows. Sizes that do not divide are filled up with zeros, which no range minds.
  Shape split, padded;
  Dims order, amounts;
  const int rank = x.dim();
  bool pad_needed = false;
  for (int d = 0; d < rank; ++d) {
    const int64_t b = block[d] == -1 ? std::max<int64_t>(x.size(d), 1)
                                     : std::min<int64_t>(block[d], std::max<int64_t>(x.size(d), 1));
    split.push_back(g.scales[d]);
    split.push_back(b);
    padded.push_back(g.scales[d] * b);
    pad_needed = pad_needed || padded[d] != x.size(d);
  }
  TERCEL_CHECK(rank <= kMaxDims / 2, Shape, op, ": input may have at most ", kMaxDims / 2,
               " dims, got ", rank);
  Tensor rows = xd;
  if (pad_needed) {
    rows = zeros(padded, DType::f32, dev);
    Tensor part = rows;
    for (int d = 0; d < rank; ++d) part = narrow(part, d, 0, x.size(d));
    strided_copy(part, xd);
  }
  for (int d = 0; d < rank; ++d) order.push_back(2 * d);
  for (int d = 0; d < rank; ++d) order.push_back(2 * d + 1);
  if (rank > 0) rows = contiguous(permute(reshape(rows, split), order));
  const int64_t cols = rows.numel() / blocks;

  Tensor lo, hi;
  if (o.method == ScaleSearch::percentile) {
    rows = to_device(rows, Device{});
    lo = empty({blocks}, DType::f32);
    hi = empty({blocks}, DType::f32);
    float *l = lo.data_as<float>(), *h = hi.data_as<float>();
    std::vector<float> v;
    for (int64_t r = 0; r < blocks; ++r) {
      v.clear();
      const float* src = rows.data_as<float>() + r * cols;
      for (int64_t i = 0; i < cols; ++i) {
        if (std::isfinite(src[i])) v.push_back(o.symmetric ? std::fabs(src[i]) : src[i]);
      }
      const auto at = [&](double part) -> float {  // linear interpolation, as numpy.percentile
        if (v.empty()) return 0.0f;
        const double p = part / 100.0 * static_cast<double>(v.size() - 1);
        const auto k = static_cast<int64_t>(std::floor(p));
        std::nth_element(v.begin(), v.begin() + k, v.end());
        const float a = v[static_cast<size_t>(k)];
        if (k + 1 >= static_cast<int64_t>(v.size())) return a;
        const float b = *std::min_element(v.begin() + k + 1, v.end());
        return static_cast<float>(a + (static_cast<double>(b) - a) * (p - static_cast<double>(k)));
      };
      h[r] = std::max(0.0f, at(o.percentile));
      l[r] = o.symmetric ? 0.0f : std::min(0.0f, at(100.0 - o.percentile));
    }
  } else {
    lo = empty({blocks}, DType::f32, dev);
    hi = empty({blocks}, DType::f32, dev);
    const float* v = rows.data_as<float>(dev);
    float *l = lo.data_as<float>(dev), *h = hi.data_as<float>(dev);
    launch(quant_kernels(dev).range, RangeArgs{v, blocks, cols, l, h}, rows.numel() / 8, dev);
    if (o.method == ScaleSearch::mse && !o.power_of_two) {
      constexpr int kSteps = 80;
      launch(quant_kernels(dev).mse,
             MseArgs{v, blocks, cols, format, range, o.symmetric, kSteps, l, h},
             rows.numel() * kSteps, dev);
    }
    lo = to_device(lo, Device{});
    hi = to_device(hi, Device{});
  }
  const float *l = lo.data_as<float>(), *h = hi.data_as<float>();
  for (int64_t r = 0; r < blocks; ++r) {
    if (o.power_of_two) {
      const float s = mx_scale(std::max(-l[r], h[r]), f.emax);
      scale.data_as<uint8_t>()[r] = static_cast<uint8_t>(detail::float_bits(s) >> 23);
      continue;
    }
    const QParams p = params_from_range(l[r], h[r], range, o.symmetric);
    scale.data_as<float>()[r] = p.scale;
    if (zero.defined()) zero.data_as<int32_t>()[r] = static_cast<int32_t>(p.zero);
  }
  return chosen();
}

}  // namespace tercel
