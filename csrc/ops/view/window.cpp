// Views that read a window of their base: as_strided, select, slice, split, diagonal, unfold.
//
// Geometry is computed by small pure functions, so that the backward node can evaluate the same
// view on a contiguous gradient.
#include <algorithm>

#include "ops/copy/copy.h"
#include "ops/view/split.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

struct Geometry {
  Shape shape;
  Strides strides;
  int64_t offset;
};

Geometry geometry_of(const Tensor& t) { return {t.shape(), t.strides(), t.offset()}; }
Geometry contiguous_geometry(const Shape& shape) { return {shape, contiguous_strides(shape), 0}; }

// Gradient of a view that reads a window of its base (slice, select, diagonal, unfold, as_strided).
struct WindowNode final : Node {
  const char* op;
  Shape base_shape;
  Strides base_strides, strides;
  int64_t offset;
  WindowNode(const char* name, const Shape& bs, const Strides& bst, const Strides& st, int64_t off)
      : op(name), base_shape(bs), base_strides(bst), strides(st), offset(off) {}
  const char* name() const override { return op; }
  TensorList backward(const TensorList& g) override {
    return {as_strided_adjoint(g[0], base_shape, base_strides, strides, offset)};
  }
};

template <class F>
Tensor window(const Tensor& t, const char* node_name, F&& geometry) {
  const Geometry v = geometry(geometry_of(t));
  Tensor y = make_view(t, v.shape, v.strides, v.offset);
  if (grad_needed(t)) {
    const Geometry base = contiguous_geometry(t.shape());
    const Geometry w = geometry(base);
    set_view_history(
        y, make_node<WindowNode>({&t}, node_name, base.shape, base.strides, w.strides, w.offset));
  }
  return y;
}

struct AsStridedAdjointNode final : Node {
  Strides base_strides, strides;
  Shape shape;
  int64_t offset;
  const char* name() const override { return "AsStridedAdjointBackward"; }
  TensorList backward(const TensorList& g) override {
    // g has the base's shape; lay it out like the base so that the view's strides apply.
    Tensor dense = g[0];
    if (dense.strides() != base_strides)
      dense = as_strided_adjoint(dense, dense.shape(), base_strides, base_strides, 0);
    return {as_strided(dense, shape, strides, dense.offset() + offset)};
  }
};

// Elements from the first to one past the last one a geometry touches.
int64_t span_of(const Shape& shape, const Strides& strides, const char* op) {
  int64_t last = 0;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return 0;
    last = checked_add(last, checked_mul(shape[i] - 1, strides[i], op), op);
  }
  return checked_add(last, 1, op);
}

}  // namespace

Tensor as_strided(const Tensor& t, const Shape& shape, const Strides& strides, int64_t offset) {
  TERCEL_CHECK(shape.size() == strides.size(), Shape,
               "as_strided: expected as many strides as sizes, got ", shape, " and ", strides);
  checked_numel(shape, "as_strided");
  for (int64_t s : strides)
    TERCEL_CHECK(s >= 0, Value, "as_strided: strides must not be negative, got ", strides);
  TERCEL_CHECK(offset >= 0, Value, "as_strided: storage_offset must not be negative, got ", offset);
  const int64_t span = span_of(shape, strides, "as_strided");
  const int64_t available = t.storage()->nbytes() / t.itemsize();
  TERCEL_CHECK(span == 0 || checked_add(offset, span, "as_strided") <= available, Value,
               "as_strided: sizes ", shape, ", strides ", strides, " and offset ", offset,
               " reach outside the storage of ", available, " elements");
  Tensor y = make_view(t, shape, strides, offset);
  if (grad_needed(t)) {
    TERCEL_CHECK(!has_internal_overlap(t), NotImplemented,
                 "as_strided: no gradient for a base whose elements share memory (expanded); "
                 "clone() it first");
    set_view_history(y, make_node<WindowNode>({&t}, "AsStridedBackward", t.shape(), t.strides(),
                                              strides, offset - t.offset()));
  }
  return y;
}

Tensor as_strided_adjoint(const Tensor& g, const Shape& base_shape, const Strides& base_strides,
                          const Strides& strides, int64_t offset) {
  // The view may lie before or beyond the base's own span when as_strided left it; those parts of
  // the gradient belong to no element of the base, but need room.
  const int64_t base_span = span_of(base_shape, base_strides, "as_strided");
  const int64_t view_span = span_of(g.shape(), strides, "as_strided");
  const int64_t lead = offset < 0 ? -offset : 0;
  const int64_t room = lead + std::max(base_span, view_span + std::max<int64_t>(offset, 0));
  Tensor buffer = zeros({room}, g.dtype(), g.device());
  Tensor out = make_alias(buffer);
  out.impl()->set_geometry(buffer.storage(), lead, base_shape, base_strides);
  Tensor view = make_alias(buffer);
  view.impl()->set_geometry(buffer.storage(), lead + offset, g.shape(), strides);
  if (has_internal_overlap(view)) {
    strided_add(view, g);
  } else {
    strided_copy(view, g);
  }
  if (grad_needed(g)) {
    auto node = make_node<AsStridedAdjointNode>({&g});
    node->base_strides = base_strides;
    node->strides = strides;
    node->shape = g.shape();
    node->offset = offset;
    set_history(out, node);
  }
  return out;
}

Tensor select(const Tensor& t, int64_t dim, int64_t index) {
  TERCEL_CHECK(t.dim() > 0, Index,
               "select: a 0-d tensor cannot be indexed; use item() for its value");
  const int d = normalize_dim(dim, t.dim(), "select");
  const int64_t size = t.size(d);
  TERCEL_CHECK(index >= -size && index < size, Index, "select: index ", index,
               " is out of range for dimension ", d, " with size ", size);
  const int64_t i = index < 0 ? index + size : index;
  return window(t, "SelectBackward", [&](Geometry g) {
    g.offset += i * g.strides[d];
    g.shape.erase(d);
    g.strides.erase(d);
    return g;
  });
}

Tensor slice(const Tensor& t, int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end,
             int64_t step) {
  TERCEL_CHECK(t.dim() > 0, Index, "slice: a 0-d tensor cannot be sliced");
  TERCEL_CHECK(step > 0, Value, "slice: step must be positive, got ", step);
  const int d = normalize_dim(dim, t.dim(), "slice");
  const int64_t size = t.size(d);
  auto clamp = [&](std::optional<int64_t> v, int64_t fallback) {
    if (!v) return fallback;
    const int64_t x = *v < 0 ? std::max<int64_t>(*v + size, 0) : *v;
    return std::min(x, size);
  };
  const int64_t a = clamp(start, 0), b = std::max(clamp(end, size), a);
  const int64_t length = b == a ? 0 : (b - a - 1) / step + 1;
  return window(t, "SliceBackward", [&](Geometry g) {
    g.offset += length > 0 ? a * g.strides[d] : 0;
    g.shape[d] = length;
    if (length > 1) g.strides[d] *= step;
    return g;
  });
}

Tensor narrow(const Tensor& t, int64_t dim, int64_t start, int64_t length) {
  TERCEL_CHECK(t.dim() > 0, Index, "narrow: a 0-d tensor cannot be narrowed");
  const int d = normalize_dim(dim, t.dim(), "narrow");
  const int64_t size = t.size(d);
  TERCEL_CHECK(length >= 0, Value, "narrow: length must not be negative, got ", length);
  TERCEL_CHECK(start >= -size && start <= size, Index, "narrow: start ", start,
               " is out of range for size ", size);
  const int64_t a = start < 0 ? start + size : start;
  TERCEL_CHECK(length <= size - a, Value, "narrow: start ", a, " + length ", length,
               " exceeds dimension size ", size);
  return slice(t, d, a, a + length);
}

TensorList split_sizes(const Tensor& t, const std::vector<int64_t>& sizes, int64_t dim) {
  TERCEL_CHECK(t.dim() > 0, Shape, "split: a 0-d tensor cannot be split");
  const int d = normalize_dim(dim, t.dim(), "split");
  int64_t total = 0;
  for (int64_t s : sizes) {
    TERCEL_CHECK(s >= 0, Value, "split: sizes must not be negative, got ", s);
    total = checked_add(total, s, "split");
  }
  TERCEL_CHECK(total == t.size(d), Value, "split: sizes must add up to ", t.size(d),
               " (the size of dim ", d, "), got ", sizes.size(), " sizes that add up to ", total);
  TensorList out;
  out.reserve(sizes.size());
  int64_t at = 0;
  for (int64_t s : sizes) {
    out.push_back(narrow(t, d, at, s));
    at += s;
  }
  return out;
}

TensorList split(const Tensor& t, int64_t size, int64_t dim) {
  TERCEL_CHECK(t.dim() > 0, Shape, "split: a 0-d tensor cannot be split");
  const int d = normalize_dim(dim, t.dim(), "split");
  TERCEL_CHECK(size > 0 || (size == 0 && t.size(d) == 0), Value,
               "split: split_size must be positive, got ", size);
  TensorList out;
  if (t.size(d) == 0) return {narrow(t, d, 0, 0)};
  for (int64_t at = 0; at < t.size(d); at += std::min(size, t.size(d) - at)) {
    out.push_back(narrow(t, d, at, std::min(size, t.size(d) - at)));
  }
  return out;
}

TensorList chunk(const Tensor& t, int64_t chunks, int64_t dim) {
  TERCEL_CHECK(t.dim() > 0, Shape, "chunk: a 0-d tensor cannot be split");
  TERCEL_CHECK(chunks > 0, Value, "chunk: chunks must be positive, got ", chunks);
  const int d = normalize_dim(dim, t.dim(), "chunk");
  if (t.size(d) == 0) {  // as many parts as asked for, so that unpacking them works
    TERCEL_CHECK(chunks <= 1'000'000, Value, "chunk: too many chunks: ", chunks);
    return split_sizes(t, std::vector<int64_t>(static_cast<size_t>(chunks), 0), d);
  }
  return split(t, (t.size(d) - 1) / chunks + 1, d);
}

TensorList tensor_split(const Tensor& t, int64_t sections, int64_t dim) {
  TERCEL_CHECK(t.dim() > 0, Shape, "tensor_split: a 0-d tensor cannot be split");
  TERCEL_CHECK(sections > 0, Value, "tensor_split: sections must be positive, got ", sections);
  const int d = normalize_dim(dim, t.dim(), "tensor_split");
  TERCEL_CHECK(sections <= 1'000'000, Value, "tensor_split: too many sections: ", sections);
  const int64_t base = t.size(d) / sections, extra = t.size(d) % sections;
  TensorList out;
  int64_t at = 0;
  for (int64_t i = 0; i < sections; ++i) {
    const int64_t length = base + (i < extra);
    out.push_back(narrow(t, d, at, length));
    at += length;
  }
  return out;
}

TensorList split_sizes(const Tensor& t, const Dims& sizes, int64_t dim) {
  return split_sizes(t, std::vector<int64_t>(sizes.begin(), sizes.end()), dim);
}

TensorList tensor_split_at(const Tensor& t, const Dims& indices, int64_t dim) {
  return tensor_split_at(t, std::vector<int64_t>(indices.begin(), indices.end()), dim);
}

TensorList tensor_split_at(const Tensor& t, const std::vector<int64_t>& indices, int64_t dim) {
  TERCEL_CHECK(t.dim() > 0, Shape, "tensor_split: a 0-d tensor cannot be split");
  const int d = normalize_dim(dim, t.dim(), "tensor_split");
  TensorList out;
  std::optional<int64_t> at = 0;
  for (int64_t i : indices) {
    out.push_back(slice(t, d, at, i));
    at = i;
  }
  out.push_back(slice(t, d, at, std::nullopt));
  return out;
}

TensorList unbind(const Tensor& t, int64_t dim) {
  TERCEL_CHECK(t.dim() > 0, Shape, "unbind: a 0-d tensor cannot be split");
  const int d = normalize_dim(dim, t.dim(), "unbind");
  TensorList out;
  out.reserve(static_cast<size_t>(t.size(d)));
  for (int64_t i = 0; i < t.size(d); ++i) out.push_back(select(t, d, i));
  return out;
}

Tensor diagonal(const Tensor& t, int64_t offset, int64_t dim1, int64_t dim2) {
  TERCEL_CHECK(t.dim() >= 2, Shape, "diagonal: expected at least 2 dimensions, got shape ",
               t.shape());
  const int a = normalize_dim(dim1, t.dim(), "diagonal"),
            b = normalize_dim(dim2, t.dim(), "diagonal");
  TERCEL_CHECK(a != b, Value, "diagonal: dim1 and dim2 must differ, both are ", a);
  const int64_t rows = t.size(a), cols = t.size(b);
  int64_t length = 0;
  if (offset >= 0 && offset < cols) length = std::min(rows, cols - offset);
  if (offset < 0 && offset > -rows) length = std::min(rows + offset, cols);
  return window(t, "DiagonalBackward", [&](Geometry g) {
    if (length > 0) g.offset += offset >= 0 ? offset * g.strides[b] : -offset * g.strides[a];
    const int64_t stride = g.strides[a] + g.strides[b];
    for (int d : {std::max(a, b), std::min(a, b)}) {
      g.shape.erase(d);
      g.strides.erase(d);
    }
    g.shape.push_back(length);
    g.strides.push_back(stride);
    return g;
  });
}

Tensor unfold(const Tensor& t, int64_t dim, int64_t size, int64_t step) {
  const int d = normalize_dim(dim, t.dim(), "unfold");
  const int64_t extent = t.dim() == 0 ? 1 : t.size(d);
  TERCEL_CHECK(size >= 0 && size <= extent, Value, "unfold: size must be 0 to ", extent,
               " (dimension ", d, "), got ", size);
  TERCEL_CHECK(step > 0, Value, "unfold: step must be positive, got ", step);
  if (t.dim() == 0) return size == 0 ? slice(unsqueeze(t, 0), 0, 0, 0) : unsqueeze(t, 0);
  return window(t, "UnfoldBackward", [&](Geometry g) {
    const int64_t stride = g.strides[d];
    const int64_t count = (extent - size) / step + 1;
    g.shape[d] = count;
    if (count > 1) g.strides[d] = stride * step;
    g.shape.push_back(size);
    g.strides.push_back(stride);
    return g;
  });
}

}  // namespace tercel
