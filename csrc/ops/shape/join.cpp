// cat, stack and their relatives; meshgrid and products of lists.
#include <algorithm>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/index/index.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

struct CatNode final : Node {
  int dim = 0;
  std::vector<int64_t> sizes;  // of each input along dim; -1: a skipped empty one
  std::vector<DType> dtypes;
  const char* name() const override { return "CatBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(sizes.size());
    int64_t start = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (sizes[i] < 0) {
        if (needs(i)) out[i] = zeros({0}, dtypes[i], g[0].device());
        continue;
      }
      if (needs(i)) out[i] = to(narrow(g[0], dim, start, sizes[i]), dtypes[i]);
      start += sizes[i];
    }
    return out;
  }
};

bool skipped_by_cat(const Tensor& t) { return t.dim() == 1 && t.size(0) == 0; }

// dst[..., start : start + t.size(dim), ...] = t
void place(const Tensor& out, const Tensor& t, int dim, int64_t start) {
  if (t.numel() == 0) return;
  if (t.dtype() != out.dtype() || !t.is_contiguous()) {
    strided_copy(raw_view(out, t.shape(), out.strides(), out.offset() + start * out.stride(dim)),
                 t);
    return;
  }
  const int64_t item = out.itemsize(), inner = out.stride(dim);
  CopyRowsArgs args;
  args.row_bytes = t.size(dim) * inner * item;
  args.rows = t.numel() * item / args.row_bytes;
  const Device dev = out.device();
  args.src = static_cast<const char*>(t.data(dev));
  args.dst = static_cast<char*>(out.data(dev)) + start * inner * item;
  args.src_pitch = args.row_bytes;
  args.dst_pitch = out.size(dim) * inner * item;
  launch(shape_kernels(dev).copy_rows, args, t.numel() * item / 16 + args.rows * 2, dev);
}

Tensor at_least(const Tensor& t, int rank) {
  Tensor r = t;
  if (rank >= 1 && r.dim() == 0) r = unsqueeze(r, 0);
  if (rank >= 2 && r.dim() == 1) r = unsqueeze(r, 0);
  if (rank >= 3 && r.dim() == 2) r = unsqueeze(r, 2);
  return r;
}

TensorList all_at_least(const TensorList& tensors, int rank) {
  TensorList out;
  out.reserve(tensors.size());
  for (const Tensor& t : tensors) out.push_back(at_least(t, rank));
  return out;
}

void check_not_empty(const TensorList& tensors, const char* op) {
  TERCEL_CHECK(!tensors.empty(), Value, op, ": expected at least one tensor, got an empty list");
}

}  // namespace

Tensor cat(const TensorList& tensors, int64_t dim) {
  check_not_empty(tensors, "cat");
  const Tensor* first = nullptr;
  bool same_dtype = true;
  for (const Tensor& t : tensors) {
    same_dtype = same_dtype && t.dtype() == tensors[0].dtype();
    if (!first && !skipped_by_cat(t)) first = &t;
  }
  const DType dtype = same_dtype ? tensors[0].dtype() : result_type(tensors.data(), tensors.size());
  if (!first) first = &tensors[0];
  TERCEL_CHECK(first->dim() > 0, Shape, "cat: 0-d tensors cannot be joined (use stack)");
  const int d = normalize_dim(dim, first->dim(), "cat");
  Shape shape = first->shape();
  shape[d] = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& t = tensors[i];
    if (skipped_by_cat(t)) continue;
    bool match = t.dim() == shape.size();
    for (int k = 0; match && k < shape.size(); ++k) match = k == d || t.size(k) == shape[k];
    TERCEL_CHECK(match, Shape, "cat: tensor ", i, " must have the sizes of tensor 0, ",
                 first->shape(), ", except along dim ", d, ", got ", t.shape());
    shape[d] = checked_add(shape[d], t.size(d), "cat");
  }
  Tensor out = empty(shape, dtype, first->device());
  int64_t start = 0;
  for (const Tensor& t : tensors) {
    if (skipped_by_cat(t)) continue;
    place(out, t, d, start);
    start += t.size(d);
  }
  if (is_float(dtype) && grad_needed(tensors)) {
    auto node = make_node_list<CatNode>(tensors);
    node->dim = d;
    for (const Tensor& t : tensors) {
      node->sizes.push_back(skipped_by_cat(t) ? -1 : t.size(d));
      node->dtypes.push_back(t.dtype());
    }
    set_history(out, node);
  }
  return out;
}

Tensor stack(const TensorList& tensors, int64_t dim) {
  check_not_empty(tensors, "stack");
  const int d = normalize_dim(dim, tensors[0].dim() + 1, "stack");
  TensorList rows;
  rows.reserve(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    TERCEL_CHECK(tensors[i].shape() == tensors[0].shape(), Shape, "stack: tensor ", i,
                 " must have shape ", tensors[0].shape(), " (shape of tensor 0), got ",
                 tensors[i].shape());
    rows.push_back(unsqueeze(tensors[i], d));
  }
  return cat(rows, d);
}

Tensor hstack(const TensorList& tensors) {
  check_not_empty(tensors, "hstack");
  const TensorList list = all_at_least(tensors, 1);
  return cat(list, list[0].dim() == 1 ? 0 : 1);
}

Tensor vstack(const TensorList& tensors) {
  check_not_empty(tensors, "vstack");
  return cat(all_at_least(tensors, 2), 0);
}

Tensor dstack(const TensorList& tensors) {
  check_not_empty(tensors, "dstack");
  return cat(all_at_least(tensors, 3), 2);
}

Tensor column_stack(const TensorList& tensors) {
  check_not_empty(tensors, "column_stack");
  TensorList columns;
  for (const Tensor& t : tensors) columns.push_back(t.dim() <= 1 ? reshape(t, {t.numel(), 1}) : t);
  return cat(columns, 1);
}

Tensor block_diag(const TensorList& tensors) {
  if (tensors.empty()) return empty({1, 0}, default_dtype());
  int64_t width = 0;
  TensorList blocks;
  for (size_t i = 0; i < tensors.size(); ++i) {
    TERCEL_CHECK(tensors[i].dim() <= 2, Shape, "block_diag: tensor ", i,
                 " must have at most 2 dimensions, got shape ", tensors[i].shape());
    blocks.push_back(at_least(tensors[i], 2));
    width = checked_add(width, blocks.back().size(1), "block_diag");
  }
  int64_t left = 0;
  for (Tensor& block : blocks) {
    const int64_t own = block.size(1);
    block = pad(block, {left, width - left - own});
    left += own;
  }
  return cat(blocks, 0);
}

TensorList broadcast_tensors(const TensorList& tensors) {
  Shape shape;
  for (const Tensor& t : tensors) shape = broadcast_shapes(shape, t.shape(), "broadcast_tensors");
  TensorList out;
  for (const Tensor& t : tensors) out.push_back(expand(t, shape));
  return out;
}

TensorList meshgrid(const TensorList& tensors, const std::string& indexing) {
  check_not_empty(tensors, "meshgrid");
  TERCEL_CHECK(indexing == "ij" || indexing == "xy", Value,
               "meshgrid: indexing must be 'ij' or 'xy', got '", indexing, "'");
  Shape shape;
  for (size_t i = 0; i < tensors.size(); ++i) {
    TERCEL_CHECK(tensors[i].dim() <= 1, Shape, "meshgrid: tensor ", i,
                 " must have at most 1 dimension, got shape ", tensors[i].shape());
    TERCEL_CHECK(tensors[i].dtype() == tensors[0].dtype(), DType,
                 "meshgrid: all tensors must have dtype ", dtype_name(tensors[0].dtype()), ", got ",
                 dtype_name(tensors[i].dtype()));
    shape.push_back(tensors[i].numel());
  }
  const int rank = shape.size();
  TensorList out;
  for (int i = 0; i < rank; ++i) {
    Shape column = Shape::filled(rank, 1);
    column[i] = shape[i];
    Tensor grid = expand(reshape(tensors[static_cast<size_t>(i)], column), shape);
    out.push_back(indexing == "xy" && rank >= 2 ? transpose(grid, 0, 1) : grid);
  }
  return out;
}

Tensor cartesian_prod(const TensorList& tensors) {
  check_not_empty(tensors, "cartesian_prod");
  for (size_t i = 0; i < tensors.size(); ++i) {
    TERCEL_CHECK(tensors[i].dim() == 1, Shape, "cartesian_prod: tensor ", i,
                 " must have 1 dimension, got shape ", tensors[i].shape());
  }
  if (tensors.size() == 1) return tensors[0];
  TensorList columns;
  for (const Tensor& grid : meshgrid(tensors, "ij"))
    columns.push_back(reshape(grid, {grid.numel()}));
  return stack(columns, 1);
}

Tensor combinations(const Tensor& x, int64_t r, bool with_replacement) {
  TERCEL_CHECK(x.dim() == 1, Shape, "combinations: input must have 1 dimension, got shape ",
               x.shape());
  TERCEL_CHECK(r >= 0, Value, "combinations: r must be >= 0, got ", r);
  if (r == 0) return empty({0}, x.dtype(), x.device());
  const int64_t n = x.size(0);
  std::vector<int64_t> flat;
  if (n > 0 && (with_replacement || r <= n)) {
    // (n choose r) rows, or (n + r - 1 choose r): refuse what no memory holds before enumerating
    // it.
    const int64_t top = with_replacement ? checked_add(n, r - 1, "combinations") : n;
    double rows = 1;
    for (int64_t i = 0; i < r && rows < 0x1p40; ++i) {
      rows *= static_cast<double>(top - i) / static_cast<double>(i + 1);
    }
    TERCEL_CHECK(rows * static_cast<double>(r) < 0x1p34, OutOfMemory, "combinations: about ", rows,
                 " rows are too many");
    std::vector<int64_t> pick(static_cast<size_t>(r));
    for (int64_t i = 0; i < r; ++i) pick[static_cast<size_t>(i)] = with_replacement ? 0 : i;
    while (true) {
      flat.insert(flat.end(), pick.begin(), pick.end());
      int64_t i = r - 1;
      while (i >= 0 && pick[static_cast<size_t>(i)] == (with_replacement ? n - 1 : n - r + i)) --i;
      if (i < 0) break;
      const int64_t next = pick[static_cast<size_t>(i)] + 1;
      for (int64_t k = i; k < r; ++k)
        pick[static_cast<size_t>(k)] = with_replacement ? next : next + (k - i);
    }
  }
  Tensor index = empty({static_cast<int64_t>(flat.size())}, DType::i64);
  std::copy(flat.begin(), flat.end(), index.data_as<int64_t>());
  return reshape(index_select(x, 0, device_constant(index, x.device())),
                 {static_cast<int64_t>(flat.size()) / r, r});
}

}  // namespace tercel
