// Ranges, grids, identity and windows. See creation.h for the contracts.
#include "ops/creation/creation.h"

#include <algorithm>
#include <cmath>

#include "core/autograd.h"
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

int64_t to_exact_int(Scalar s, const char* op, const char* what) {
  if (!s.is_float()) return s.to_int();
  const double v = s.to_double();
  TERCEL_CHECK(v == std::floor(v) && v >= -0x1p63 && v < 0x1p63, Value, op, ": ", what,
               " must be a whole number for an integer dtype, got ", v);
  return static_cast<int64_t>(v);
}

Tensor run_range(RangeArgs args, Device dev) {
  Tensor out = empty({args.n}, args.dtype, dev);
  args.out = out.data(dev);
  launch(creation_kernels(dev).range, args, args.n / 2, dev);
  return out;
}

// ceil((end - start) / step) without overflow; the signs agree.
int64_t integer_count(int64_t start, int64_t end, int64_t step) {
  if (start == end) return 0;
  const uint64_t span = step > 0 ? static_cast<uint64_t>(end) - static_cast<uint64_t>(start)
                                 : static_cast<uint64_t>(start) - static_cast<uint64_t>(end);
  const uint64_t width =
      step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  const uint64_t n = (span - 1) / width + 1;
  TERCEL_CHECK(n <= static_cast<uint64_t>(INT64_MAX), Overflow, "arange: ", n,
               " elements do not fit int64");
  return static_cast<int64_t>(n);
}

DType check_float_dtype(std::optional<DType> dtype, const char* op) {
  const DType t = dtype.value_or(default_dtype());
  if (!is_float(t)) fail_dtype(op, t, kFloatMask);
  return t;
}

}  // namespace

Tensor arange(Scalar start, Scalar end, Scalar step, std::optional<DType> dtype, Device dev) {
  const bool any_float = start.is_float() || end.is_float() || step.is_float();
  const DType t = dtype.value_or(any_float ? default_dtype() : DType::i64);
  if (is_bool(t)) fail_dtype("arange", t, kFloatMask | kIntMask);
  const double s = start.to_double(), e = end.to_double(), d = step.to_double();
  TERCEL_CHECK(d != 0 && std::isfinite(d), Value, "arange: step must be finite and not zero, got ",
               d);
  TERCEL_CHECK(std::isfinite(s) && std::isfinite(e), Value,
               "arange: start and end must be finite, got ", s, " and ", e);
  TERCEL_CHECK((d > 0) == (e > s) || e == s, Value, "arange: step ", d,
               " leads away from end (start ", s, ", end ", e, ")");
  RangeArgs args{};
  args.dtype = t;
  args.integer = is_int(t) || !any_float;
  if (args.integer) {
    args.istart = to_exact_int(start, "arange", "start");
    args.istep = to_exact_int(step, "arange", "step");
    args.n = integer_count(args.istart, to_exact_int(end, "arange", "end"), args.istep);
    if (is_int(t) && args.n > 0) {
      check_fits(Scalar(args.istart), t, "arange");
      check_fits(Scalar(range_element(args, args.n - 1)), t, "arange");
    }
  } else {
    const double count = std::ceil((e - s) / d);
    TERCEL_CHECK(count >= 0 && count < 0x1p62, Overflow, "arange: ", count,
                 " elements are too many");
    args.n = static_cast<int64_t>(count);
    args.start = s;
    args.step = d;
  }
  args.half = args.n;
  return run_range(args, dev);
}

Tensor linspace(Scalar start, Scalar end, int64_t steps, std::optional<DType> dtype, Device dev) {
  const DType t = dtype.value_or(default_dtype());
  if (is_bool(t)) fail_dtype("linspace", t, kFloatMask | kIntMask);
  TERCEL_CHECK(steps >= 0, Value, "linspace: steps must be >= 0, got ", steps);
  const double s = start.to_double(), e = end.to_double();
  if (is_int(t)) {
    TERCEL_CHECK(std::isfinite(s) && std::isfinite(e), Value,
                 "linspace: start and end must be finite for ", dtype_name(t), ", got ", s, " and ",
                 e);
    check_fits(start, t, "linspace");
    check_fits(end, t, "linspace");
  }
  RangeArgs args{};
  args.dtype = t;
  args.n = steps;
  args.half = steps == 1 ? 1 : steps / 2;
  args.start = s;
  args.end = e;
  args.step = steps > 1 ? (e - s) / static_cast<double>(steps - 1) : 0.0;
  return run_range(args, dev);
}

Tensor logspace(Scalar start, Scalar end, int64_t steps, double base, std::optional<DType> dtype) {
  const DType t = dtype.value_or(default_dtype());
  TERCEL_CHECK(steps >= 0, Value, "logspace: steps must be >= 0, got ", steps);
  Tensor exponent = linspace(start, end, steps, DType::f64);
  double* v = exponent.data_as<double>();
  for (int64_t i = 0; i < steps; ++i) v[i] = std::pow(base, v[i]);
  return to(exponent, t);
}

Tensor eye(int64_t n, int64_t m, std::optional<DType> dtype, Device dev) {
  TERCEL_CHECK(n >= 0, Value, "eye: n must be >= 0, got ", n);
  if (m < 0) m = n;
  Tensor out = zeros({n, m}, dtype.value_or(default_dtype()), dev);
  if (n > 0 && m > 0)
    strided_copy(raw_view(out, {n < m ? n : m}, {m + 1}, 0), ones({1}, out.dtype(), dev));
  return out;
}

Tensor vander(const Tensor& x, int64_t n, bool increasing) {
  TERCEL_CHECK(x.dim() == 1, Shape, "vander: x must have 1 dimension, got shape ", x.shape());
  if (n < 0) n = x.size(0);
  const DType t = is_float(x.dtype()) ? x.dtype() : DType::i64;
  (void)empty({x.size(0), n}, t);  // what does not fit fails before its columns are made
  const Tensor column = unsqueeze(to(x, t), 1);
  TensorList columns;
  Tensor power = ones({x.size(0), 1}, t);
  for (int64_t i = 0; i < n; ++i) {
    if (i > 0) power = mul(power, column);
    columns.push_back(power);
  }
  if (columns.empty()) return empty({x.size(0), 0}, t);
  if (!increasing) std::reverse(columns.begin(), columns.end());
  return cat(columns, 1);
}

Tensor cosine_window(int64_t n, bool periodic, double a0, double a1, double a2,
                     std::optional<DType> dtype, const char* op) {
  const DType t = check_float_dtype(dtype, op);
  TERCEL_CHECK(n >= 0, Value, op, ": window_length must be >= 0, got ", n);
  Tensor w = empty({n}, DType::f64);
  double* v = w.data_as<double>();
  const double m = static_cast<double>(periodic ? n : n - 1);
  for (int64_t i = 0; i < n; ++i) {
    const double phase = n == 1 ? 0.0 : 2.0 * M_PI * static_cast<double>(i) / m;
    v[i] = n == 1 ? 1.0 : a0 - a1 * std::cos(phase) + a2 * std::cos(2.0 * phase);
  }
  return to(w, t);
}

Tensor bartlett_window(int64_t n, bool periodic, std::optional<DType> dtype) {
  const DType t = check_float_dtype(dtype, "bartlett_window");
  TERCEL_CHECK(n >= 0, Value, "bartlett_window: window_length must be >= 0, got ", n);
  Tensor w = empty({n}, DType::f64);
  double* v = w.data_as<double>();
  const double m = static_cast<double>(periodic ? n : n - 1);
  for (int64_t i = 0; i < n; ++i) {
    v[i] = n == 1 ? 1.0 : 1.0 - std::fabs(2.0 * static_cast<double>(i) / m - 1.0);
  }
  return to(w, t);
}

}  // namespace tercel
