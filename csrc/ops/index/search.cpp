// Counting and searching: searchsorted, bucketize, isin, one_hot, bincount, histc, histogram.
#include <algorithm>
#include <cmath>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/creation/creation.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/index/index_kernels.h"
#include "ops/reduce/reduce.h"
#include "ops/sort/sort.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// The dtype both sides are compared in: 16-bit and fp8 floats as float32, bool as int64.
DType search_dtype(DType t) { return sums_in_float(t) ? DType::f32 : is_bool(t) ? DType::i64 : t; }

}  // namespace

Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right, bool out_int32,
                    const Tensor& sorter) {
  TERCEL_CHECK(sorted.dim() > 0, Shape,
               "searchsorted: sorted_sequence must have at least 1 dimension");
  const int64_t size = sorted.size(-1);
  bool rows_match = sorted.dim() == 1 || sorted.dim() == values.dim();
  for (int d = 0; rows_match && sorted.dim() > 1 && d + 1 < sorted.dim(); ++d) {
    rows_match = sorted.size(d) == values.size(d);
  }
  TERCEL_CHECK(rows_match, Shape,
               "searchsorted: sorted_sequence must be 1-D or have the leading sizes of the values ",
               values.shape(), ", got ", sorted.shape());
  TERCEL_CHECK(!out_int32 || size < INT32_MAX, Value, "searchsorted: ", size,
               " elements do not fit int32 positions");
  const DType dtype = search_dtype(result_type({&sorted, &values}));
  const Tensor s = contiguous(to(make_alias(sorted), dtype)),
               v = contiguous(to(make_alias(values), dtype));
  const Device dev = v.device();
  Tensor order;
  if (sorter.defined()) {
    TERCEL_CHECK(sorter.shape() == sorted.shape(), Shape,
                 "searchsorted: sorter must have the shape of ", "sorted_sequence, ",
                 sorted.shape(), ", got ", sorter.shape());
    order = as_index(sorter, "searchsorted");
    const int64_t* p = order.data_as<int64_t>(dev);
    for (int64_t i = 0; dev.is_cpu() && i < order.numel(); ++i) {  // CUDA: checked on the way
      TERCEL_CHECK(p[i] >= 0 && p[i] < size, Index, "searchsorted: sorter value ", p[i],
                   " is out of range for size ", size);
    }
  }
  const Tensor out = empty(values.shape(), DType::i64, dev);
  SearchArgs args{};
  args.sorted = s.data(dev);
  args.values = v.data(dev);
  args.order = order.defined() ? order.data_as<int64_t>(dev) : nullptr;
  args.out = out.data_as<int64_t>(dev);
  args.sorted_size = size;
  args.rows = sorted.dim() == 1 || size == 0 ? 1 : s.numel() / size;
  args.value_count = values.numel() / std::max<int64_t>(args.rows, 1);
  args.sorted_pitch = sorted.dim() == 1 ? 0 : size;
  args.dtype = dtype;
  args.right = right;
  if (values.numel() > 0) launch(search_kernels(dev).search, args, values.numel() * 20, dev);
  return to(out, out_int32 ? DType::i32 : DType::i64);
}

Tensor bucketize(const Tensor& x, const Tensor& boundaries, bool out_int32, bool right) {
  TERCEL_CHECK(boundaries.dim() == 1, Shape,
               "bucketize: boundaries must have 1 dimension, got shape ", boundaries.shape());
  return searchsorted(boundaries, x, right, out_int32);
}

Tensor isin(const Tensor& elements, const Tensor& test_elements, bool invert) {
  const DType dtype = search_dtype(result_type({&elements, &test_elements}));
  if (test_elements.numel() == 0)
    return full(elements.shape(), Scalar(invert), DType::b8, elements.device());
  const Tensor e = to(make_alias(elements), dtype);
  const Tensor test =
      std::get<0>(sort(to(reshape(make_alias(test_elements), {test_elements.numel()}), dtype), 0));
  // One past the end for values larger than all.
  const Tensor at = clamp_max(searchsorted(test, e), wrap_number(Scalar(test.numel() - 1)));
  const Tensor found = take(test, at);
  return invert ? ne(found, e) : eq(found, e);
}

Tensor one_hot(const Tensor& x, int64_t num_classes) {
  const Tensor list = as_index(x, "one_hot");
  TERCEL_CHECK(num_classes >= -1 && num_classes != 0, Value,
               "one_hot: num_classes must be positive or -1, got ", num_classes);
  if (num_classes < 0) {
    TERCEL_CHECK(x.numel() > 0, Value, "one_hot: num_classes is needed for an empty tensor");
    num_classes = checked_add(item(amax(list, {}, false)).to_int(), 1, "one_hot");
    if (num_classes < 1) num_classes = 1;  // a negative class is reported by the scatter
  }
  Shape shape = x.shape();
  shape.push_back(num_classes);
  if (x.numel() == 0) return zeros(shape, DType::i64, x.device());
  if (x.device().is_cpu()) {  // elsewhere the kernel checks, without waiting
    const int64_t low = item(amin(list, {}, false)).to_int();
    const int64_t high = item(amax(list, {}, false)).to_int();
    TERCEL_CHECK(low >= 0 && high < num_classes, Index, "one_hot: values must be in [0, ",
                 num_classes, "), got ", low < 0 ? low : high);
  }
  return scatter_(zeros(shape, DType::i64, x.device()), -1, unsqueeze(list, -1),
                  wrap_number(Scalar(1)));
}

Tensor bincount(const Tensor& x, const Tensor& weights, int64_t minlength) {
  TERCEL_CHECK(x.dim() == 1, Shape, "bincount: input must have 1 dimension, got shape ", x.shape());
  TERCEL_CHECK(minlength >= 0, Value, "bincount: minlength must be >= 0, got ", minlength);
  const Tensor list = as_index(x, "bincount");
  const Device dev = x.device();
  const Tensor host = to_device(list, Device{});
  const int64_t* v = host.data_as<int64_t>();
  int64_t size = minlength;
  for (int64_t i = 0; i < x.numel(); ++i) {
    TERCEL_CHECK(v[i] >= 0 && v[i] < INT64_MAX, Value, "bincount: values must be >= 0, got ", v[i],
                 " at position ", i);
    size = std::max(size, v[i] + 1);
  }
  if (!weights.defined())
    return scatter_add_(zeros({size}, DType::i64, dev), 0, list,
                        ones({x.numel()}, DType::i64, dev));
  TERCEL_CHECK(weights.shape() == x.shape(), Shape, "bincount: weights must have shape ", x.shape(),
               ", got ", weights.shape());
  const DType dtype = weights.dtype() == DType::f32 ? DType::f32 : DType::f64;
  return scatter_add_(zeros({size}, dtype, dev), 0, list, to(make_alias(weights), dtype));
}

Tensor histc(const Tensor& x, int64_t bins, double low, double high) {
  if (!(dtype_bit(x.dtype()) & kWideFloatMask)) fail_dtype("histc", x.dtype(), kWideFloatMask);
  TERCEL_CHECK(bins > 0, Value, "histc: bins must be positive, got ", bins);
  const Tensor values = contiguous(to(to_device(x.detach(), Device{}), DType::f64));
  const double* v = values.data_as<double>();
  const int64_t n = x.numel();
  if (low == high && n > 0) {
    const auto [a, b] = std::minmax_element(v, v + n);
    low = *a;
    high = *b;
  }
  if (low == high) {
    low -= 1;
    high += 1;
  }
  TERCEL_CHECK(std::isfinite(low) && std::isfinite(high) && low < high, Value,
               "histc: expected a finite range with min < max, got ", low, " and ", high);
  const Tensor counts = zeros({bins}, DType::f64);
  double* c = counts.data_as<double>();
  for (int64_t i = 0; i < n; ++i) {
    if (!(v[i] >= low && v[i] <= high)) continue;
    const int64_t bin =
        static_cast<int64_t>((v[i] - low) / (high - low) * static_cast<double>(bins));
    c[std::min(bin, bins - 1)] += 1;
  }
  return to_device(to(counts, x.dtype()), x.device());
}

std::pair<Tensor, Tensor> histogram(const Tensor& x, const Tensor& edges, const Tensor& weight,
                                    bool density) {
  const char* op = "histogram";
  if (!(dtype_bit(x.dtype()) & kWideFloatMask)) fail_dtype(op, x.dtype(), kWideFloatMask);
  TERCEL_CHECK(edges.dim() == 1 && edges.numel() >= 2, Shape, op,
               ": bins must be a number or a 1-d tensor of at least two edges, got shape ",
               edges.shape());
  TERCEL_CHECK(edges.dtype() == x.dtype(), DType, op, ": bins must have input's dtype ",
               dtype_name(x.dtype()), ", got ", dtype_name(edges.dtype()));
  TERCEL_CHECK(!weight.defined() || weight.shape() == x.shape(), Shape, op,
               ": weight must have input's shape ", x.shape(), ", got ", weight.shape());
  TERCEL_CHECK(!weight.defined() || weight.dtype() == x.dtype(), DType, op,
               ": weight must have input's dtype ", dtype_name(x.dtype()), ", got ",
               dtype_name(weight.dtype()));
  const auto doubles = [](const Tensor& t) { return contiguous(to(make_alias(t), DType::f64)); };
  const Tensor values = doubles(x), bounds = doubles(edges);
  const Tensor weights = weight.defined() ? doubles(weight) : Tensor();
  const double *v = values.data_as<double>(), *first = bounds.data_as<double>();
  const double* w = weights.defined() ? weights.data_as<double>() : nullptr;
  const int64_t bins = edges.numel() - 1;
  for (int64_t i = 0; i < bins; ++i) {
    TERCEL_CHECK(first[i] <= first[i + 1], Value, op, ": bins must increase, got ", first[i],
                 " before ", first[i + 1]);
  }
  const Tensor counts = zeros({bins}, DType::f64);
  double* c = counts.data_as<double>();
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (!(v[i] >= first[0] && v[i] <= first[bins])) continue;
    const int64_t bin = std::upper_bound(first, first + bins + 1, v[i]) - first - 1;
    c[std::min(bin, bins - 1)] += w ? w[i] : 1.0;
  }
  if (density) {
    double total = 0;
    for (int64_t i = 0; i < bins; ++i) total += c[i];
    for (int64_t i = 0; i < bins; ++i) c[i] /= total * (first[i + 1] - first[i]);
  }
  return {to(counts, x.dtype()), clone(make_alias(edges))};
}

std::pair<Tensor, Tensor> histogram(const Tensor& x, int64_t bins,
                                    std::optional<std::pair<double, double>> range,
                                    const Tensor& weight, bool density) {
  const char* op = "histogram";
  if (!(dtype_bit(x.dtype()) & kWideFloatMask)) fail_dtype(op, x.dtype(), kWideFloatMask);
  TERCEL_CHECK(bins > 0, Value, op, ": bins must be positive, got ", bins);
  double low = range ? range->first : 0, high = range ? range->second : 0;
  if (!range && x.numel() > 0) {
    GradMode off(false);
    low = item(amin(x)).to_double();
    high = item(amax(x)).to_double();
  }
  if (low == high) {
    low -= 0.5;
    high += 0.5;
  }
  TERCEL_CHECK(std::isfinite(low) && std::isfinite(high) && low < high, Value, op,
               ": expected a finite range with min < max, got ", low, " and ", high);
  return histogram(x, linspace(low, high, checked_add(bins, 1, op), x.dtype()), weight, density);
}

}  // namespace tercel
