// embedding, its dense gradient and renormalisation.
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/embedding/embedding_common.h"
#include "ops/embedding/embedding_kernels.h"
#include "ops/index/index.h"
#include "ops/index/index_kernels.h"
#include "ops/reduce/reduce.h"
#include "ops/sort/sort.h"
#include "ops/view/view.h"

namespace tercel {

namespace embedding_detail {

Tensor dense(const Tensor& t) {
  if (!t.defined() || t.is_contiguous()) return t;
  GradMode off(false);
  return contiguous(t);
}

namespace {
// A copy with out-of-range indices replaced by 0; they are reported at the next synchronisation.
Tensor safe_indices(const Tensor& idx, int64_t rows) {
  const Device dev = idx.device();
  Tensor safe = empty(idx.shape(), DType::i64, dev);
  const OffsetsArgs args{idx.data_as<int64_t>(dev),
                         safe.data_as<int64_t>(dev),
                         idx.numel(),
                         rows,
                         1,
                         false,
                         false,
                         nullptr};
  if (idx.numel() > 0) launch(index_kernels(dev).offsets, args, idx.numel(), dev);
  return safe;
}
}  // namespace

Tensor checked_indices(const char* op, const Tensor& indices, int64_t rows) {
  if (indices.dtype() != DType::i64 && indices.dtype() != DType::i32) {
    fail_dtype(op, indices.dtype(), dtype_bit(DType::i64) | dtype_bit(DType::i32));
  }
  const Tensor idx = dense(to(indices, DType::i64));
  if (!idx.device().is_cpu()) return safe_indices(idx, rows);
  const int64_t* p = idx.data_as<int64_t>();
  const int64_t n = idx.numel();
  // One unsigned comparison covers both ends; the offender is looked for only if there is one.
  bool bad = false;
  for (int64_t i = 0; i < n; ++i) bad |= static_cast<uint64_t>(p[i]) >= static_cast<uint64_t>(rows);
  if (bad) {
    int64_t i = 0;
    while (p[i] >= 0 && p[i] < rows) ++i;
    fail(ErrorKind::Index, str(op, ": index out of range: expected 0 <= index < ", rows,
                               " (rows of weight), got ", p[i], " at position ", i));
  }
  return idx;
}

int64_t checked_padding(const char* op, std::optional<int64_t> padding_idx, int64_t rows) {
  if (!padding_idx) return -1;
  TERCEL_CHECK(*padding_idx >= -rows && *padding_idx < rows, Value, op,
               ": padding_idx must be in [", -rows, ", ", rows, "), got ", *padding_idx);
  return *padding_idx < 0 ? *padding_idx + rows : *padding_idx;
}

void check_table(const char* op, const Tensor& weight) {
  TERCEL_CHECK(weight.dim() == 2, Shape, op, ": weight must be 2-d [rows, dim], got shape ",
               weight.shape());
  if (!is_float(weight.dtype())) fail_dtype(op, weight.dtype(), kFloatMask);
}

// 0, 1, ..., n - 1 on a CUDA device
static Tensor arange_on(int64_t n, Device dev) {
  return sub(cumsum(ones({n}, DType::i64, dev), 0), wrap_number(Scalar(1)));
}

RowOrder sort_by_row(const Tensor& indices, int64_t rows) {
  const Device dev = indices.device();
  const int64_t n = indices.numel();
  if (!dev.is_cpu()) {  // starts: how many indices are smaller than each row
    const auto [sorted, order] = sort(reshape(indices, {n}), 0);
    return {order, searchsorted(sorted, arange_on(rows + 1, dev))};
  }
  RowOrder r{empty({n}, DType::i64), zeros({rows + 1}, DType::i64)};
  const int64_t* idx = indices.data_as<int64_t>();
  int64_t *order = r.order.data_as<int64_t>(), *start = r.start.data_as<int64_t>();
  if (n == 0) return r;
  // Counting sort: start[v] runs from the first place of row v to the first of row v + 1.
  for (int64_t i = 0; i < n; ++i) ++start[idx[i]];
  int64_t total = 0;
  for (int64_t v = 0; v <= rows; ++v) {
    const int64_t count = start[v];
    start[v] = total;
    total += count;
  }
  for (int64_t i = 0; i < n; ++i) order[start[idx[i]]++] = i;
  for (int64_t v = rows; v > 0; --v) start[v] = start[v - 1];
  start[0] = 0;
  return r;
}

}  // namespace embedding_detail

using namespace embedding_detail;

namespace {

Tensor gather_rows(const Tensor& idx, const Tensor& weight) {
  Shape shape = idx.shape();
  shape.push_back(weight.size(1));
  checked_numel(shape, "embedding");
  const Device dev = weight.device();
  Tensor y = empty(shape, weight.dtype(), dev);
  if (y.numel() > 0) {
    const Tensor table = dense(weight);
    launch(embedding_kernels(dev).gather_rows,
           GatherRowsArgs{table.data(dev), idx.data_as<int64_t>(dev), y.data(dev), idx.numel(),
                          weight.size(1) * weight.itemsize()},
           y.numel() / 2, dev);
  }
  return y;
}

// The gradient of the dense backward: rows of gg, zero for the padding row, divided by the counts.
struct EmbeddingGradNode final : Node {
  Tensor indices;
  int64_t rows = 0, padding = -1;
  bool by_count = false;
  const char* name() const override { return "EmbeddingDenseBackwardBackward"; }
  void release_saved() override { indices.reset(); }
  TensorList backward(const TensorList& g) override;
};

struct EmbeddingNode final : Node {
  Tensor indices;
  int64_t rows = 0, padding = -1;
  bool by_count = false;
  const char* name() const override { return "EmbeddingBackward"; }
  void release_saved() override { indices.reset(); }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"indices", indices}};
  }
  TensorList backward(const TensorList& g) override {
    return {embedding_dense_backward(g[0], indices, rows, padding, by_count)};
  }
};

}  // namespace

Tensor embedding(const Tensor& input, const Tensor& weight, std::optional<int64_t> padding_idx,
                 std::optional<double> max_norm, double norm_type, bool scale_grad_by_freq,
                 bool sparse) {
  const char* op = "embedding";
  TERCEL_CHECK(!sparse, NotImplemented,
               "embedding: sparse gradients are not provided; use sparse=False (dense gradient)");
  check_table(op, weight);
  const int64_t rows = weight.size(0), padding = checked_padding(op, padding_idx, rows);
  const Tensor idx = checked_indices(op, input, rows);
  if (max_norm) embedding_renorm_(weight, idx, *max_norm, norm_type);
  Tensor y = gather_rows(idx, weight);
  if (grad_needed(weight)) {
    auto node = make_node<EmbeddingNode>({&weight});
    // The indices are small and integer: a private copy cannot be overwritten behind our back.
    node->indices = idx.storage().get() == input.storage().get() ? clone_contiguous(idx) : idx;
    node->rows = rows;
    node->padding = padding;
    node->by_count = scale_grad_by_freq;
    set_history(y, node);
  }
  return y;
}

Tensor embedding_dense_backward(const Tensor& grad, const Tensor& indices, int64_t num_weights,
                                int64_t padding_idx, bool scale_grad_by_freq) {
  const char* op = "embedding_dense_backward";
  if (!(dtype_bit(grad.dtype()) & kWideFloatMask)) fail_dtype(op, grad.dtype(), kWideFloatMask);
  TERCEL_CHECK(num_weights >= 0, Value, op, ": num_weights must not be negative, got ",
               num_weights);
  bool fits = grad.dim() == indices.dim() + 1;
  for (int i = 0; fits && i < indices.dim(); ++i) fits = grad.size(i) == indices.size(i);
  TERCEL_CHECK(fits, Shape, op, ": grad must have the shape of indices ", indices.shape(),
               " and one more dim, got ", grad.shape());
  const int64_t dim = grad.size(-1);
  const Tensor idx = checked_indices(op, indices, num_weights);
  const Device dev = grad.device();
  Tensor dw = empty({num_weights, dim}, grad.dtype(), dev);
  if (dw.numel() > 0) {
    const Tensor dy = dense(grad);
    const RowOrder sorted = sort_by_row(idx, num_weights);
    launch(
        embedding_kernels(dev).row_sums,
        RowSumsArgs{dy.data(dev), sorted.order.data_as<int64_t>(dev),
                    sorted.start.data_as<int64_t>(dev), nullptr, nullptr, dw.data(dev), num_weights,
                    dim, padding_idx < 0 ? -1 : padding_idx, scale_grad_by_freq, grad.dtype()},
        (dw.numel() + dy.numel()) / 2, dev);
  }
  if (grad_needed(grad)) {
    auto node = make_node<EmbeddingGradNode>({&grad});
    node->indices = idx;
    node->rows = num_weights;
    node->padding = padding_idx;
    node->by_count = scale_grad_by_freq;
    set_history(dw, node);
  }
  return dw;
}

void embedding_renorm_(const Tensor& weight, const Tensor& indices, double max_norm,
                       double norm_type) {
  const char* op = "embedding_renorm_";
  check_table(op, weight);
  TERCEL_CHECK(max_norm >= 0, Value, op, ": max_norm must not be negative, got ", max_norm);
  TERCEL_CHECK(norm_type > 0, Value, op, ": norm_type must be positive, got ", norm_type);
  const int64_t rows = weight.size(0), n = indices.numel();
  GradMode off(false);
  Tensor target = weight;
  check_inplace(target, op);
  const Device dev = weight.device();
  const Tensor idx = to_device(checked_indices(op, indices, rows), Device{});
  const Tensor used = zeros({rows}, DType::u8), list = empty({n}, DType::i64);
  uint8_t* seen = used.data_as<uint8_t>();
  int64_t *q = list.data_as<int64_t>(), count = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t v = idx.data_as<int64_t>()[i];
    if (!seen[v]) q[count++] = v;
    seen[v] = 1;
  }
  const Tensor table = dense(weight), chosen = to_device(list, dev);
  if (count > 0 && weight.size(1) > 0)
    launch(embedding_kernels(dev).renorm,
           RenormArgs{table.data(dev), chosen.data_as<int64_t>(dev), count, weight.size(1),
                      max_norm, norm_type, weight.dtype()},
           count * weight.size(1), dev);
  if (!table.is_same(weight)) strided_copy(weight, table);
  weight.storage()->bump_version(op);
}

namespace {

TensorList EmbeddingGradNode::backward(const TensorList& g) {
  // Linear in the gradient: look the rows up again, then undo padding and frequency per position.
  const Tensor gg = g[0];
  Tensor y = embedding(indices, gg);
  if (padding < 0 && !by_count) return {y};
  // scale[k] as rows of a one-column table
  Tensor factor;
  {
    GradMode off(false);
    Tensor f = ones({rows, 1}, DType::f64);
    double* p = f.data_as<double>();
    if (by_count) {
      const int64_t n = indices.numel();
      const Tensor host = to_device(indices, Device{});
      for (int64_t v = 0; v < rows; ++v) p[v] = 0;
      for (int64_t i = 0; i < n; ++i) p[host.data_as<int64_t>()[i]] += 1;
      for (int64_t v = 0; v < rows; ++v) p[v] = p[v] > 0 ? 1.0 / p[v] : 0.0;
    }
    if (padding >= 0) p[padding] = 0;
    factor = to_device(to(f, gg.dtype()), gg.device());
  }
  return {mul(y, embedding(indices, factor))};
}

}  // namespace
}  // namespace tercel
