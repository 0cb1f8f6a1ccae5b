// sort, topk, kthvalue: the sorted dim is moved to the end and made contiguous, then rows are
// independent.
#include "ops/sort/sort.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/launch.h"
#include "core/parallel.h"
#include "ops/copy/copy.h"
#include "ops/index/index.h"
#include "ops/sort/sort_kernels.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// Gradient of any choice of elements along a dim.
struct ChosenNode final : Node {
  Saved index;
  Shape shape;
  int dim = 0;
  const char* op = "";
  const char* name() const override { return op; }
  TensorList backward(const TensorList& g) override {
    return {scatter(zeros(shape, g[0].dtype(), g[0].device()), dim, index.get(*this), g[0])};
  }
  void release_saved() override { index.reset(); }
};

void record(const Tensor& x, const Tensor& values, const Tensor& indices, int dim, const char* op) {
  if (!grad_needed(x)) return;
  auto node = make_node<ChosenNode>({&x});
  node->index.save(indices);
  node->shape = x.shape();
  node->dim = dim;
  node->op = op;
  set_history(values, node);
}

// Fills args.slots: as many areas as threads are worth starting (CPU), or rows of a pass (CUDA).
Tensor work_space(SortArgs& args, int64_t row_cost, Device dev, const char* op) {
  if (!dev.is_cpu()) {
    constexpr int64_t kMostBytes = int64_t{256} << 20;
    if (args.n <= kSortBlock) return {};
    const int64_t area = sort_device_area(args.n, dtype_size(args.dtype));
    args.slots = static_cast<int>(
        std::clamp<int64_t>(kMostBytes / area, 1, std::min<int64_t>(args.rows, 65536)));
    return empty({checked_mul(area, args.slots, op)}, DType::u8, dev);
  }
  const int64_t worthwhile = args.rows * row_cost / 50'000 + 1;  // ns per slot
  args.slots = static_cast<int>(std::min<int64_t>({args.rows, num_threads(), worthwhile}));
  return empty({checked_mul(sort_area(args.n), args.slots, op)}, DType::u8);
}

// First k (0: all) of the order along dim d, without history.
ValuesIndices ordered(const Tensor& x, int d, int64_t k, bool descending, const char* op) {
  const int64_t n = x.dim() == 0 ? 1 : x.size(d);
  TERCEL_CHECK(n < int64_t{1} << 32, NotImplemented, op,
               ": at most 2^32 - 1 elements along the dim, got ", n);
  const int last = x.dim() - 1;
  const Tensor rows =
      x.dim() == 0 ? reshape(make_alias(x), {1}) : contiguous(transpose(make_alias(x), d, last));
  Shape shape = rows.shape();
  const int64_t take = k > 0 ? k : n;
  shape[shape.size() - 1] = take;
  const Device dev = x.device();
  const Tensor values = empty(shape, x.dtype(), dev), indices = empty(shape, DType::i64, dev);
  SortArgs args{};
  args.n = n;
  args.rows = n > 0 ? rows.numel() / n : 0;
  args.k = k;
  args.src = rows.data(dev);
  args.values = values.data(dev);
  args.indices = indices.data_as<int64_t>(dev);
  args.dtype = x.dtype();
  args.descending = descending;
  const int64_t row_cost = n * 8 + 50;
  if (values.numel() > 0) {
    const Tensor work = work_space(args, row_cost, dev, op);
    if (work.defined()) args.work = static_cast<char*>(work.data(dev));
    const SortKernels& kernels = sort_kernels(dev);
    const bool few = k > 0 && k < n / 4 && (x.itemsize() <= 4 || !dev.is_cpu());
    launch(few ? kernels.select : kernels.sort, args, args.rows * row_cost, dev);
  }
  if (x.dim() == 0) return {reshape(values, {}), reshape(indices, {})};
  return {contiguous(transpose(values, d, last)), contiguous(transpose(indices, d, last))};
}

}  // namespace

ValuesIndices sort(const Tensor& x, int64_t dim, bool descending, bool) {
  const int d = normalize_dim(dim, x.dim(), "sort");
  auto [values, indices] = ordered(x, d, 0, descending, "sort");
  record(x, values, indices, d, "SortBackward");
  return {values, indices};
}

Tensor argsort(const Tensor& x, int64_t dim, bool descending, bool) {
  return std::get<1>(ordered(x, normalize_dim(dim, x.dim(), "argsort"), 0, descending, "argsort"));
}

Tensor msort(const Tensor& x) { return std::get<0>(sort(x, 0)); }

ValuesIndices topk(const Tensor& x, int64_t k, int64_t dim, bool largest, bool) {
  const int d = normalize_dim(dim, x.dim(), "topk");
  const int64_t n = x.dim() == 0 ? 1 : x.size(d);
  TERCEL_CHECK(k >= 0 && k <= n, Value, "topk: k must be in [0, ", n, "] (size of dim ", d,
               "), got ", k);
  ValuesIndices result;
  if (k == 0) {
    Shape shape = x.shape();
    if (x.dim() > 0)
      shape[d] = 0;
    else
      shape = {0};
    result = {empty(shape, x.dtype(), x.device()), empty(shape, DType::i64, x.device())};
  } else {
    result = ordered(x, d, k, largest, "topk");
  }
  record(x, std::get<0>(result), std::get<1>(result), d, "TopkBackward");
  return result;
}

ValuesIndices kthvalue(const Tensor& x, int64_t k, int64_t dim, bool keepdim) {
  const int d = normalize_dim(dim, x.dim(), "kthvalue");
  const int64_t n = x.dim() == 0 ? 1 : x.size(d);
  TERCEL_CHECK(k >= 1 && k <= n, Value, "kthvalue: k must be in [1, ", n, "] (size of dim ", d,
               "), got ", k);
  auto [values, indices] = topk(x, k, d, false);
  if (x.dim() == 0) return {values, indices};
  values = narrow(values, d, k - 1, 1);
  indices = narrow(indices, d, k - 1, 1);
  if (!keepdim) {
    values = squeeze(values, {d});
    indices = squeeze(indices, {d});
  }
  return {clone(values), clone(indices)};
}

}  // namespace tercel
