// unique and unique_consecutive: on the flattened tensor, or on the slices along a dim.
#include <algorithm>
#include <cstring>

#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/reduce/reduce.h"
#include "ops/shape/shape_ops.h"
#include "ops/sort/sort.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

using UniqueResult = std::tuple<Tensor, Tensor, Tensor>;

// Order of row positions a, b of `rows` [n, m]; equal(a, b) for neighbours. NaN is never equal.
template <class T>
struct RowCompare {
  const T* rows;
  int64_t m;
  static bool less_value(T a, T b) { return a < b || (a == a && b != b); }
  bool less(int64_t a, int64_t b) const {
    for (int64_t k = 0; k < m; ++k) {
      const T x = rows[a * m + k], y = rows[b * m + k];
      if (less_value(x, y)) return true;
      if (less_value(y, x)) return false;
    }
    return false;
  }
  bool equal(int64_t a, int64_t b) const {
    for (int64_t k = 0; k < m; ++k) {
      if (!(rows[a * m + k] == rows[b * m + k])) return false;
    }
    return true;
  }
};

// Groups equal neighbours of the order: first position of each group, group of each row, sizes.
template <class Equal>
UniqueResult group(const Tensor& order, Equal equal) {
  const int64_t n = order.numel();
  const int64_t* at = order.data_as<int64_t>();
  std::vector<int64_t> first, count;
  Tensor inverse = empty({n}, DType::i64);
  for (int64_t i = 0; i < n; ++i) {
    if (i == 0 || !equal(at[i - 1], at[i])) {
      first.push_back(at[i]);
      count.push_back(0);
    }
    ++count.back();
    inverse.data_as<int64_t>()[at[i]] = static_cast<int64_t>(first.size()) - 1;
  }
  const int64_t groups = static_cast<int64_t>(first.size());
  Tensor f = empty({groups}, DType::i64), c = empty({groups}, DType::i64);
  std::copy(first.begin(), first.end(), f.data_as<int64_t>());
  std::copy(count.begin(), count.end(), c.data_as<int64_t>());
  return {f, inverse, c};
}

Tensor identity_order(int64_t n) {
  Tensor order = empty({n}, DType::i64);
  for (int64_t i = 0; i < n; ++i) order.data_as<int64_t>()[i] = i;
  return order;
}

// The same for a vector on a CUDA device, from sorts, scans and masks: a group starts where an
// element differs from the one before it in the order.
UniqueResult unique_on_device(const Tensor& v, bool sorted_first) {
  const int64_t n = v.numel();
  const Device dev = v.device();
  Tensor values = v, order;
  if (sorted_first) std::tie(values, order) = sort(v, 0);
  const Tensor starts_here =
      n == 0 ? empty({0}, DType::b8, dev)
             : cat({ones({1}, DType::b8, dev),
                    ne(narrow(values, 0, 1, n - 1), narrow(values, 0, 0, n - 1))});
  const Tensor start = select(nonzero(starts_here), 1, 0);
  const Tensor number = sub(cumsum(to(starts_here, DType::i64), 0), wrap_number(Scalar(1)));
  const Tensor end = cat({start, full({1}, Scalar(n), DType::i64, dev)});
  const int64_t groups = start.numel();
  const Tensor count = sub(narrow(end, 0, groups > 0 ? 1 : 0, groups), start);
  if (!sorted_first) return {start, number, count};
  return {gather(order, 0, start), scatter(number, 0, order, number), count};
}

UniqueResult unique_rows(const Tensor& rows, bool sorted_first) {
  const int64_t n = rows.size(0), m = rows.size(1);
  const Device dev = rows.device();
  if (!dev.is_cpu()) {
    GradMode off(false);
    if (m == 1) return unique_on_device(reshape(rows, {n}), sorted_first);
    const auto [first, inverse, count] = unique_rows(to_device(rows, Device{}), sorted_first);
    return {to_device(first, dev), to_device(inverse, dev), to_device(count, dev)};
  }
  UniqueResult result;
  // Compared as float32 where the element type is not arithmetic: exact and order-preserving.
  const Tensor plain = sums_in_float(rows.dtype()) ? to(rows, DType::f32) : rows;
  visit<double, float, TERCEL_INTS, bool>(plain.dtype(), "unique", [&]<class T>() {
    const RowCompare<T> compare{plain.data_as<T>(), m};
    Tensor order;
    if (!sorted_first) {
      order = identity_order(n);
    } else if (m == 1) {
      order = argsort(reshape(plain, {n}), 0);
    } else {
      order = identity_order(n);
      int64_t* at = order.data_as<int64_t>();
      std::stable_sort(at, at + n, [&](int64_t a, int64_t b) { return compare.less(a, b); });
    }
    result = group(order, [&](int64_t a, int64_t b) { return compare.equal(a, b); });
  });
  return result;
}

UniqueResult unique_any(const Tensor& x, std::optional<int64_t> dim, bool sorted_first,
                        const char* op) {
  const Tensor plain = make_alias(x);
  if (!dim) {
    const Tensor flat = contiguous(reshape(plain, {x.numel()}));
    const auto [first, inverse, count] = unique_rows(reshape(flat, {x.numel(), 1}), sorted_first);
    return {index_select(flat, 0, first), reshape(inverse, x.shape()), count};
  }
  const int d = normalize_dim(*dim, x.dim(), op);
  TERCEL_CHECK(x.dim() > 0, Shape, op, ": a 0-d tensor has no dim");
  const Tensor front = contiguous(transpose(plain, 0, d));
  const int64_t n = x.size(d);
  TERCEL_CHECK(n == 0 || x.numel() > 0, Shape, op, ": slices of shape ", x.shape(), " along dim ",
               d, " are empty");
  const int64_t width = n > 0 ? x.numel() / n : 0;
  const auto [first, inverse, count] = unique_rows(reshape(front, {n, width}), sorted_first);
  return {index_select(plain, d, first), inverse, count};
}

}  // namespace

UniqueResult unique(const Tensor& x, std::optional<int64_t> dim) {
  return unique_any(x, dim, true, "unique");
}
UniqueResult unique_consecutive(const Tensor& x, std::optional<int64_t> dim) {
  return unique_any(x, dim, false, "unique_consecutive");
}

}  // namespace tercel
