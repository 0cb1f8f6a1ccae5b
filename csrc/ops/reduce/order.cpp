// Positions of extremes and of ranks: argmax, max/min along a dim, median, mode, quantile.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/launch.h"
#include "core/parallel.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/reduce/reduce_common.h"
#include "ops/sort/sort.h"
#include "ops/view/view.h"

namespace tercel {

// ---- argmax, argmin, max, min
// ------------------------------------------------------------------------

static std::pair<Tensor, Tensor> run_arg_reduce(const Tensor& input, uint32_t mask, bool keepdim,
                                                bool largest, bool want_value) {
  const Tensor x = readable(input, mask);
  const Device dev = x.device();
  const Shape shape = reduced_shape(x.shape(), mask, keepdim);
  Tensor index = empty(shape, DType::i64, x.device()), value;
  if (want_value) value = empty(shape, x.dtype(), x.device());
  if (index.numel() == 0) return {value, index};
  ArgReduceArgs args{};
  fill_geometry(x, mask, &args.g);
  args.x = x.data(dev);
  args.value = want_value ? value.data(dev) : nullptr;
  args.index = index.data_as<int64_t>(dev);
  args.in = x.dtype();
  args.largest = largest;
  Tensor workspace;
  if (args.g.outputs < kReduceFewOutputs && args.g.n > kReduceBlock) {
    workspace = empty({args.g.outputs * (args.g.n / kReduceBlock + 1) * 2}, DType::i64, x.device());
    args.workspace = workspace.data(dev);
  }
  launch(arg_reduce_kernels(dev).arg_reduce, args, x.numel() * x.itemsize() / 8, dev);
  return {value, index};
}

static Tensor arg_extreme(const Tensor& x, std::optional<int64_t> dim, bool keepdim, bool largest,
                          const char* op) {
  const uint32_t mask = dims_mask(dim ? Dims{*dim} : Dims{}, x.dim(), op);
  check_not_empty(x, mask, op);
  return run_arg_reduce(x, mask, keepdim, largest, false).second;
}
Tensor argmax(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  return arg_extreme(x, dim, keepdim, true, "argmax");
}
Tensor argmin(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  return arg_extreme(x, dim, keepdim, false, "argmin");
}

// The gradient goes to the chosen elements.
struct SelectNode final : ReduceNode {
  Saved index;
  int dim;
  const char* name() const override { return "ExtremeBackward"; }
  TensorList backward(const TensorList& g) override {
    if (!g[0].defined()) return {Tensor()};
    if (shape.size() == 0) return {g[0]};
    const Tensor at = with_dims(index.get(*this), mask, keepdim),
                 grad = with_dims(g[0], mask, keepdim);
    return {scatter_add(zeros(shape, dtype, grad.device()), dim, at, grad)};
  }
  void release_saved() override { index.reset(); }
};

static std::pair<Tensor, Tensor> extreme(const Tensor& x, int64_t dim, bool keepdim, bool largest,
                                         const char* op) {
  const int d = normalize_dim(dim, x.dim(), op);
  const uint32_t mask = dims_mask({d}, x.dim(), op);
  check_not_empty(x, mask, op);
  const auto result = run_arg_reduce(x, mask, keepdim, largest, true);
  if (grad_needed(x)) {
    auto node = make_node<SelectNode>({&x});
    node->describe(x, mask, keepdim);
    node->dim = d;
    node->index.save(result.second);
    set_history(result.first, node);
  }
  return result;
}
std::pair<Tensor, Tensor> max(const Tensor& x, int64_t dim, bool keepdim) {
  return extreme(x, dim, keepdim, true, "max");
}
std::pair<Tensor, Tensor> min(const Tensor& x, int64_t dim, bool keepdim) {
  return extreme(x, dim, keepdim, false, "min");
}

// ---- ranks
// -------------------------------------------------------------------------------------------

// Calls f(row, values, order) for each row of x along its last dim, as double or int64; `order` is
// scratch for n positions.
template <class F>
static void each_row(const Tensor& x, F f) {
  GradMode off(false);
  const int64_t n = x.size(-1), rows = n > 0 ? x.numel() / n : 0;
  const auto run = [&]<class T>(DType wide) {
    const Tensor xc = contiguous(to(to_device(detach(x), Device{}), wide));
    const T* data = xc.data_as<T>();
    InterpreterRelease release(x.numel() > 4096);
    parallel_for(rows, std::max<int64_t>(1, 4096 / std::max<int64_t>(n, 1)),
                 [&](int64_t begin, int64_t end) {
                   std::vector<int64_t> order(static_cast<size_t>(n));
                   for (int64_t r = begin; r < end; ++r) f(r, data + r * n, order);
                 });
  };
  if (is_float(x.dtype()))
    run.template operator()<double>(DType::f64);
  else
    run.template operator()<int64_t>(DType::i64);
}

// Puts the positions of the numbers of a row in front and returns how many there are.
template <class T>
static int64_t numbers_first(const T* v, std::vector<int64_t>& order) {
  std::iota(order.begin(), order.end(), 0);
  const auto end =
      std::stable_partition(order.begin(), order.end(), [&](int64_t i) { return v[i] == v[i]; });
  return end - order.begin();
}
// Position of the element of rank k among the first `count` of order (ties by position).
template <class T>
static int64_t position_of_rank(const T* v, std::vector<int64_t>& order, int64_t count, int64_t k) {
  const auto less = [&](int64_t a, int64_t b) { return v[a] < v[b] || (v[a] == v[b] && a < b); };
  std::nth_element(order.begin(), order.begin() + k, order.begin() + count, less);
  return order[static_cast<size_t>(k)];
}

// x with `dim` last, at least 1-d.
static Tensor dim_last(const Tensor& x, int64_t dim) {
  return x.dim() == 0 ? reshape(x, {1}) : movedim(x, {dim}, {-1});
}

// The position of the median of each row [..., 1], from the stable order: NaNs come last there. A
// row with NaNs gives its first one, unless they are skipped.
static Tensor median_index(const Tensor& rows, int64_t n, bool skip_nan) {
  const Tensor order = argsort(rows, -1);
  const Tensor count = sum(to(eq(rows, rows), DType::i64), {-1}, true);
  const auto number = [](int64_t v) { return wrap_number(Scalar(v)); };
  const Tensor place =
      skip_nan ? clamp_min(floor_divide(sub(count, number(1)), number(2)), number(0))
               : tercel::where(lt(count, number(n)), count, full_like(count, Scalar((n - 1) / 2)));
  return gather(order, -1, place);
}

static std::pair<Tensor, Tensor> median_along(const Tensor& x, int64_t dim, bool keepdim,
                                              bool skip_nan, const char* op) {
  const int d = normalize_dim(dim, x.dim(), op);
  check_not_empty(x, dims_mask({d}, x.dim(), op), op);
  const Tensor moved = dim_last(x, d);
  Shape shape = moved.shape();
  shape[shape.size() - 1] = 1;
  const int64_t n = moved.size(-1);
  Tensor index;
  if (!x.device().is_cpu()) {
    index = median_index(detach(moved), n, skip_nan);
  } else {
    index = empty(shape, DType::i64);
    int64_t* out = index.data_as<int64_t>();
    each_row(moved, [&](int64_t row, const auto* v, std::vector<int64_t>& order) {
      const int64_t count = numbers_first(v, order);
      if (count == 0 || (count < n && !skip_nan))
        out[row] = order[static_cast<size_t>(count)];
      else
        out[row] = position_of_rank(v, order, count, (count - 1) / 2);
    });
  }
  Tensor value = gather(moved, -1, index);
  if (x.dim() == 0) return {reshape(value, {}), reshape(index, {})};
  if (keepdim) return {movedim(value, {-1}, {d}), movedim(index, {-1}, {d})};
  return {squeeze(value, Dims{-1}), squeeze(index, Dims{-1})};
}

static Tensor median_all(const Tensor& x, bool skip_nan, const char* op) {
  if (x.numel() == 0) return full({}, Scalar(std::nan("")), x.dtype(), x.device());
  return median_along(reshape(x, {-1}), 0, false, skip_nan, op).first;
}
Tensor median(const Tensor& x) { return median_all(x, false, "median"); }
Tensor nanmedian(const Tensor& x) { return median_all(x, true, "nanmedian"); }
std::pair<Tensor, Tensor> median(const Tensor& x, int64_t dim, bool keepdim) {
  return median_along(x, dim, keepdim, false, "median");
}
std::pair<Tensor, Tensor> nanmedian(const Tensor& x, int64_t dim, bool keepdim) {
  return median_along(x, dim, keepdim, true, "nanmedian");
}

std::pair<Tensor, Tensor> mode(const Tensor& x, int64_t dim, bool keepdim) {
  const int d = normalize_dim(dim, x.dim(), "mode");
  check_not_empty(x, dims_mask({d}, x.dim(), "mode"), "mode");
  const Tensor moved = dim_last(x, d);
  Shape shape = moved.shape();
  shape[shape.size() - 1] = 1;
  Tensor index = empty(shape, DType::i64);
  int64_t* out = index.data_as<int64_t>();
  each_row(moved, [&](int64_t row, const auto* v, std::vector<int64_t>& order) {
    const size_t count = static_cast<size_t>(numbers_first(v, order)), n = order.size();
    std::sort(order.begin(), order.begin() + static_cast<int64_t>(count),
              [&](int64_t a, int64_t b) { return v[a] < v[b] || (v[a] == v[b] && a < b); });
    size_t best = 0;
    for (size_t i = 0; i < n;) {
      size_t j = i + 1;
      while (j < n && (v[order[j]] == v[order[i]] || i >= count))
        ++j;  // NaNs are one run at the end
      if (j - i > best) {
        best = j - i;
        out[row] = order[j - 1];
      }
      i = j;
    }
  });
  index = to_device(index, x.device());
  Tensor value = gather(moved, -1, index);
  if (x.dim() == 0) return {reshape(value, {}), reshape(index, {})};
  if (keepdim) return {movedim(value, {-1}, {d}), movedim(index, {-1}, {d})};
  return {squeeze(value, Dims{-1}), squeeze(index, Dims{-1})};
}

// ---- quantiles
// ---------------------------------------------------------------------------------------

// value = x[lower] + fraction (x[upper] - x[lower]) with positions chosen per row and q; the gather
// makes it differentiable.
static Tensor quantile_along(const Tensor& x, const Tensor& q, std::optional<int64_t> dim,
                             bool keepdim, const std::string& interpolation, bool skip_nan,
                             const char* op) {
  TERCEL_CHECK(x.dtype() == DType::f32 || x.dtype() == DType::f64, DType, op,
               ": expected a float32 or float64 input, got ", dtype_name(x.dtype()));
  TERCEL_CHECK(q.dim() <= 1, Shape, op, ": q must be a number or 1-d, got shape ", q.shape());
  const char* kNames[] = {"linear", "lower", "higher", "midpoint", "nearest"};
  const auto* found = std::find(std::begin(kNames), std::end(kNames), interpolation);
  TERCEL_CHECK(found != std::end(kNames), Value, op,
               ": interpolation must be linear, lower, higher, midpoint or nearest, got '",
               interpolation, "'");
  TERCEL_CHECK(x.numel() > 0, Value, op, ": the input has no elements");
  const Tensor moved = dim ? dim_last(x, normalize_dim(*dim, x.dim(), op)) : reshape(x, {-1});
  const Tensor levels = contiguous(to(to_device(detach(q), Device{}), DType::f64));
  const double* level = levels.data_as<double>();
  const int64_t count = levels.numel();
  for (int64_t i = 0; i < count; ++i) {
    TERCEL_CHECK(level[i] >= 0 && level[i] <= 1, Value, op, ": q must be in [0, 1], got ",
                 level[i]);
  }
  Shape shape = moved.shape();
  shape[shape.size() - 1] = count;
  Tensor lower = empty(shape, DType::i64), upper = empty(shape, DType::i64),
         fraction = empty(shape, DType::f64);
  const int64_t n = moved.size(-1);
  each_row(moved, [&](int64_t row, const auto* v, std::vector<int64_t>& order) {
    const int64_t numbers = numbers_first(v, order);
    const bool is_nan = numbers == 0 || (numbers < n && !skip_nan);
    const int64_t a_nan = is_nan ? order[static_cast<size_t>(numbers)] : 0;
    std::sort(order.begin(), order.begin() + numbers,
              [&](int64_t a, int64_t b) { return v[a] < v[b] || (v[a] == v[b] && a < b); });
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = row * count + i;
      const double rank = level[i] * static_cast<double>(numbers - 1);
      double lo = std::floor(rank), hi = std::ceil(rank), part = rank - lo;
      if (interpolation == "lower") hi = lo;
      if (interpolation == "higher") lo = hi;
      if (interpolation == "nearest") lo = hi = std::nearbyint(rank);
      if (interpolation == "midpoint") part = lo == hi ? 0.0 : 0.5;
      if (lo == hi) part = 0;
      lower.data_as<int64_t>()[at] = is_nan ? a_nan : order[static_cast<size_t>(lo)];
      upper.data_as<int64_t>()[at] = is_nan ? a_nan : order[static_cast<size_t>(hi)];
      fraction.data_as<double>()[at] = part;
    }
  });
  const Device dev = x.device();
  Tensor y =
      lerp(gather(moved, -1, to_device(lower, dev)), gather(moved, -1, to_device(upper, dev)),
           to_device(to(fraction, x.dtype()), dev));
  // [..., q] -> [q, ...], with the reduced dims back if wanted, and no q dim for a single number.
  y = movedim(y, {-1}, {0});
  if (keepdim && dim && x.dim() > 0) y = unsqueeze(y, normalize_dim(*dim, x.dim(), op) + 1);
  if (keepdim && !dim) {
    Shape kept = Shape::filled(x.dim() + 1, 1);
    kept[0] = count;
    y = reshape(y, kept);
  }
  if (x.dim() == 0) y = reshape(y, {count});
  return q.dim() == 0 ? select(y, 0, 0) : y;
}

Tensor quantile(const Tensor& x, const Tensor& q, std::optional<int64_t> dim, bool keepdim,
                const std::string& interpolation) {
  return quantile_along(x, q, dim, keepdim, interpolation, false, "quantile");
}
Tensor nanquantile(const Tensor& x, const Tensor& q, std::optional<int64_t> dim, bool keepdim,
                   const std::string& interpolation) {
  return quantile_along(x, q, dim, keepdim, interpolation, true, "nanquantile");
}

}  // namespace tercel
