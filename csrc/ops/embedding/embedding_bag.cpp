// embedding_bag: sums, means and maxima of table rows per bag, and its gradients.
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/creation/creation.h"
#include "ops/elementwise/elementwise.h"
#include "ops/embedding/embedding_common.h"
#include "ops/embedding/embedding_kernels.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

using namespace embedding_detail;

namespace {

const char* kOp = "embedding_bag";

// Which bag each index belongs to, and, unless all are 1, the factor its row has in the bag's sum.
struct Membership {
  Tensor bag;     // int64 [n]
  Tensor factor;  // float64 [n] or undefined
};
Membership membership(const Tensor& start, const Tensor& idx, int64_t padding, BagMode mode) {
  const Device dev = idx.device();
  if (!dev.is_cpu()) {
    const Membership m =
        membership(to_device(start, Device{}), to_device(idx, Device{}), padding, mode);
    return {to_device(m.bag, dev), m.factor.defined() ? to_device(m.factor, dev) : Tensor()};
  }
  const int64_t n = idx.numel(), bags = start.numel() - 1;
  Membership m{empty({n}, DType::i64), {}};
  const int64_t *s = start.data_as<int64_t>(), *p = idx.data_as<int64_t>();
  int64_t* bag = m.bag.data_as<int64_t>();
  const bool weighted = mode == BagMode::mean || padding >= 0;
  if (weighted) m.factor = empty({n}, DType::f64);
  double* f = weighted ? m.factor.data_as<double>() : nullptr;
  for (int64_t b = 0; b < bags; ++b) {
    int64_t used = 0;
    for (int64_t k = s[b]; k < s[b + 1]; ++k) {
      bag[k] = b;
      used += p[k] != padding;
    }
    if (!weighted) continue;
    for (int64_t k = s[b]; k < s[b + 1]; ++k) {
      f[k] = p[k] == padding ? 0.0 : mode == BagMode::mean ? 1.0 / static_cast<double>(used) : 1.0;
    }
  }
  return m;
}

struct EmbeddingBagNode final : Node {
  Saved weight, scale;  // weight only when per_sample_weights has a gradient
  Tensor idx, start, argmax;
  int64_t rows = 0, padding = -1;
  bool by_count = false;
  BagMode mode = BagMode::mean;

  const char* name() const override { return "EmbeddingBagBackward"; }
  void release_saved() override {
    weight.reset();
    scale.reset();
    idx.reset();
    start.reset();
    argmax.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"indices", idx}, {"per_sample_weights", scale.peek()}};
  }

  // Each output element goes to one element of the table: a dense backward with rows of length 1.
  Tensor max_backward(const Tensor& dy) {
    const int64_t bags = dy.size(0), dim = dy.size(1), spare = rows * dim;
    const Tensor flat = empty({bags * dim}, DType::i64), host = to_device(argmax, Device{});
    const int64_t* row = host.data_as<int64_t>();
    int64_t* to_element = flat.data_as<int64_t>();
    for (int64_t i = 0; i < bags * dim; ++i)
      to_element[i] = row[i] < 0 ? spare : row[i] * dim + i % dim;
    const Tensor all = embedding_dense_backward(reshape(dy, {bags * dim, 1}),
                                                to_device(flat, dy.device()), spare + 1, -1, false);
    return reshape(narrow(all, 0, 0, spare), {rows, dim});
  }

  TensorList backward(const TensorList& g) override {
    TensorList out(2);
    const Tensor dy = g[0];
    if (mode == BagMode::max) {
      if (needs(0)) out[0] = max_backward(dy);
      return out;
    }
    const Membership m = membership(start, idx, padding, mode);
    const Tensor psw = scale.defined() ? scale.get(*this) : Tensor();
    if (grad_enabled()) {
      const Tensor rows_dy = embedding(m.bag, dy);  // [n, D]
      const Shape column{idx.numel(), 1};
      if (needs(0)) {
        Tensor t = rows_dy;
        if (m.factor.defined()) t = mul(t, reshape(to(m.factor, dy.dtype()), column));
        if (psw.defined()) t = mul(t, reshape(psw, column));
        out[0] = embedding_dense_backward(t, idx, rows, padding, by_count);
      }
      if (needs(1)) {
        Tensor t = sum(mul(rows_dy, embedding(idx, weight.get(*this))), {1});
        if (m.factor.defined()) t = mul(t, to(m.factor, dy.dtype()));
        out[1] = reshape(t, psw.shape());
      }
      return out;
    }
    const DType acc = accumulate_dtype(dy.dtype());
    const Device dev = dy.device();
    const Tensor dyd = dense(dy);
    if (needs(0)) {
      Tensor factor = m.factor;
      if (psw.defined()) {
        const Tensor p = reshape(to(dense(psw), DType::f64), {idx.numel()});
        factor = factor.defined() ? mul(factor, p) : p;
      }
      if (factor.defined()) factor = dense(to(factor, acc));
      Tensor dw = empty({rows, dy.size(1)}, dy.dtype(), dev);
      const RowOrder sorted = sort_by_row(idx, rows);
      if (dw.numel() > 0)
        launch(embedding_kernels(dev).row_sums,
               RowSumsArgs{dyd.data(dev), sorted.order.data_as<int64_t>(dev),
                           sorted.start.data_as<int64_t>(dev), m.bag.data_as<int64_t>(dev),
                           factor.defined() ? factor.data(dev) : nullptr, dw.data(dev), rows,
                           dy.size(1), padding, by_count, dy.dtype()},
               (dw.numel() + idx.numel() * dy.size(1)) / 2, dev);
      out[0] = dw;
    }
    if (needs(1)) {
      const Tensor table = dense(weight.get(*this)), dots = empty(psw.shape(), acc, dev);
      if (dots.numel() > 0)
        launch(embedding_kernels(dev).row_dots,
               RowDotsArgs{dyd.data(dev), m.bag.data_as<int64_t>(dev), table.data(dev),
                           idx.data_as<int64_t>(dev), dots.data(dev), idx.numel(), dy.size(1),
                           padding, dy.dtype()},
               idx.numel() * dy.size(1) / 2, dev);
      out[1] = to(dots, psw.dtype());
    }
    return out;
  }
};

// [B + 1]: where each bag starts and the last one ends.
Tensor bag_starts(const Tensor& input, const Tensor& offsets, bool include_last_offset) {
  if (input.dim() == 2) {
    TERCEL_CHECK(!offsets.defined(), Value, kOp,
                 ": offsets must be None when input is 2-d (bags are its rows)");
    const int64_t bags = input.size(0), each = input.size(1);
    if (each == 0) return zeros({bags + 1}, DType::i64, input.device());
    return arange(0, bags * each + 1, each, DType::i64, input.device());
  }
  TERCEL_CHECK(offsets.defined() && offsets.dim() == 1, Value, kOp,
               ": a 1-d input needs 1-d offsets, got ",
               offsets.defined() ? to_string(offsets.shape()) : std::string("None"));
  if (offsets.dtype() != DType::i64 && offsets.dtype() != DType::i32) {
    fail_dtype(kOp, "offsets", offsets.dtype(), dtype_bit(DType::i64) | dtype_bit(DType::i32));
  }
  const Tensor o = dense(to(to_device(offsets, Device{}), DType::i64));
  const int64_t given = o.numel(), n = input.numel(),
                bags = include_last_offset ? given - 1 : given;
  TERCEL_CHECK(bags >= 0, Value, kOp, ": include_last_offset needs at least one offset, got none");
  const Tensor start = empty({bags + 1}, DType::i64);
  const int64_t* p = o.data_as<int64_t>();
  int64_t *s = start.data_as<int64_t>(), previous = 0;
  for (int64_t b = 0; b <= bags; ++b) {
    const int64_t at = b < given ? p[b] : n;
    TERCEL_CHECK(b > 0 || at == 0 || given == 0, Value, kOp, ": offsets[0] must be 0, got ", at);
    TERCEL_CHECK(at >= previous && at <= n, Value, kOp, ": offsets must rise from 0 to at most ", n,
                 " (the number of indices), got ", at, " at position ", b);
    s[b] = previous = at;
  }
  return to_device(start, input.device());
}

}  // namespace

Tensor embedding_bag(const Tensor& input, const Tensor& weight, const Tensor& offsets,
                     std::optional<double> max_norm, double norm_type, bool scale_grad_by_freq,
                     const std::string& mode_name, bool sparse, const Tensor& per_sample_weights,
                     bool include_last_offset, std::optional<int64_t> padding_idx) {
  TERCEL_CHECK(
      !sparse, NotImplemented,
      "embedding_bag: sparse gradients are not provided; use sparse=False (dense gradient)");
  TERCEL_CHECK(mode_name == "sum" || mode_name == "mean" || mode_name == "max", Value, kOp,
               ": mode must be 'sum', 'mean' or 'max', got '", mode_name, "'");
  const BagMode mode = mode_name == "sum"    ? BagMode::sum
                       : mode_name == "mean" ? BagMode::mean
                                             : BagMode::max;
  check_table(kOp, weight);
  if (!(dtype_bit(weight.dtype()) & kWideFloatMask))
    fail_dtype(kOp, weight.dtype(), kWideFloatMask);
  TERCEL_CHECK(input.dim() == 1 || input.dim() == 2, Shape, kOp,
               ": input must be 1-d or 2-d, got shape ", input.shape());
  TERCEL_CHECK(!(scale_grad_by_freq && mode == BagMode::max), Value, kOp,
               ": scale_grad_by_freq does not go with mode 'max'");
  if (per_sample_weights.defined()) {
    TERCEL_CHECK(mode == BagMode::sum, NotImplemented, kOp,
                 ": per_sample_weights needs mode 'sum', got '", mode_name, "'");
    TERCEL_CHECK(per_sample_weights.shape() == input.shape(), Shape, kOp,
                 ": per_sample_weights must have the shape of input ", input.shape(), ", got ",
                 per_sample_weights.shape());
    TERCEL_CHECK(per_sample_weights.dtype() == weight.dtype(), DType, kOp,
                 ": per_sample_weights must have the dtype of weight (", dtype_name(weight.dtype()),
                 "), got ", dtype_name(per_sample_weights.dtype()));
  }
  const int64_t rows = weight.size(0), padding = checked_padding(kOp, padding_idx, rows);
  const Tensor start = bag_starts(input, offsets, include_last_offset);
  Tensor idx = checked_indices(kOp, input, rows);
  if (idx.storage().get() == input.storage().get())
    idx = clone_contiguous(idx);  // kept for backward
  idx = reshape(idx, {idx.numel()});
  if (max_norm) embedding_renorm_(weight, idx, *max_norm, norm_type);

  const int64_t bags = start.numel() - 1, dim = weight.size(1);
  const bool record = grad_needed(weight, per_sample_weights);
  const Device dev = weight.device();
  Tensor y = empty({bags, dim}, weight.dtype(), dev);
  Tensor argmax;
  if (record && mode == BagMode::max) argmax = empty({bags, dim}, DType::i64, dev);
  if (y.numel() > 0) {
    const Tensor table = dense(weight);
    Tensor scale;
    if (per_sample_weights.defined()) {
      GradMode off(false);
      scale = dense(to(per_sample_weights, accumulate_dtype(weight.dtype())));
    }
    launch(embedding_kernels(dev).bag,
           BagArgs{table.data(dev), idx.data_as<int64_t>(dev), start.data_as<int64_t>(dev),
                   scale.defined() ? scale.data(dev) : nullptr, y.data(dev),
                   argmax.defined() ? argmax.data_as<int64_t>(dev) : nullptr, bags, dim, padding,
                   mode, weight.dtype()},
           idx.numel() * dim / 2 + y.numel(), dev);
  }
  if (record) {
    auto node = make_node<EmbeddingBagNode>({&weight, &per_sample_weights});
    if (node->needs(1)) node->weight.save(weight);
    if (per_sample_weights.defined()) node->scale.save(per_sample_weights);
    node->idx = idx;
    node->start = start;
    node->argmax = argmax;
    node->rows = rows;
    node->padding = padding;
    node->by_count = scale_grad_by_freq;
    node->mode = mode;
    set_history(y, node);
  }
  return y;
}

}  // namespace tercel
