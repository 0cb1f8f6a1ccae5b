// Views that keep every element: reshape, permute, expand, squeeze.
#include "ops/view/view.h"

#include <algorithm>

#include "ops/copy/copy.h"

namespace tercel {
namespace {

struct ViewNode final : Node {
  Shape shape;
  const char* name() const override { return "ViewBackward"; }
  TensorList backward(const TensorList& g) override { return {reshape(g[0], shape)}; }
};

struct PermuteNode final : Node {
  Dims inverse;
  const char* name() const override { return "PermuteBackward"; }
  TensorList backward(const TensorList& g) override { return {permute(g[0], inverse)}; }
};

struct ExpandNode final : Node {
  Shape shape;
  const char* name() const override { return "ExpandBackward"; }
  TensorList backward(const TensorList& g) override { return {sum_to(g[0], shape)}; }
};

// Strides of a reshape without copy, or false.
bool view_strides(const Tensor& t, const Shape& shape, Strides* out) {
  *out = Dims::filled(shape.size(), 1);
  if (t.numel() == 0) {
    *out = contiguous_strides(shape);
    return true;
  }
  // Walk both shapes from the back, matching groups of old dims that are contiguous among
  // themselves with groups of new dims of the same size.
  int j = shape.size() - 1;
  int64_t group = 1, filled = 1;
  const int n = t.dim();
  if (n == 0) return true;
  int64_t base = t.stride(n - 1);
  for (int i = n - 1; i >= 0; --i) {
    group *= t.size(i);
    const bool ends = i == 0 || (t.size(i - 1) != 1 && t.stride(i - 1) != group * base);
    if (!ends) continue;
    while (j >= 0 && (filled < group || shape[j] == 1)) {
      (*out)[j] = filled * base;
      filled *= shape[j];
      --j;
    }
    if (filled != group) return false;
    if (i > 0) {
      base = t.stride(i - 1);
      group = 1;
      filled = 1;
    }
  }
  return j < 0;
}

}  // namespace

Tensor detach(const Tensor& t) { return t.detach(); }

Shape infer_shape(const Shape& shape, int64_t numel, const char* op) {
  int inferred = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      TERCEL_CHECK(inferred < 0, Shape, op, ": only one size may be -1, got ", shape);
      inferred = i;
    } else {
      TERCEL_CHECK(shape[i] >= 0, Shape, op, ": sizes must be >= 0 or -1, got ", shape);
      known = checked_mul(known, shape[i], op);
    }
  }
  Shape out = shape;
  if (inferred >= 0) {
    TERCEL_CHECK(known != 0, Shape, op, ": -1 is ambiguous in ", shape, " for a tensor of ", numel,
                 " elements");
    TERCEL_CHECK(numel % known == 0, Shape, op, ": shape ", shape, " does not fit ", numel,
                 " elements");
    out[inferred] = numel / known;
  } else {
    TERCEL_CHECK(known == numel, Shape, op, ": shape ", shape, " does not fit ", numel,
                 " elements");
  }
  return out;
}

Tensor view(const Tensor& t, const Shape& shape) {
  const Shape target = infer_shape(shape, t.numel(), "view");
  Strides strides;
  if (t.is_contiguous()) {
    strides = contiguous_strides(target);
  } else {
    TERCEL_CHECK(view_strides(t, target, &strides), Runtime, "view: a tensor of shape ", t.shape(),
                 " and strides ", t.strides(), " cannot be viewed as ", target,
                 " without a copy; use reshape()");
  }
  Tensor y = make_view(t, target, strides, t.offset());
  if (grad_needed(t)) {
    auto node = make_node<ViewNode>({&t});
    node->shape = t.shape();
    set_view_history(y, node);
  }
  return y;
}

Tensor view_dtype(const Tensor& t, DType dtype) {
  const int64_t from = t.itemsize(), to = dtype_size(dtype);
  Shape shape = t.shape();
  Strides strides = t.strides();
  int64_t offset = t.offset();
  if (from != to) {
    TERCEL_CHECK(t.dim() > 0, Runtime, "view: a 0-d tensor cannot be viewed as ", dtype_name(dtype),
                 ", whose elements have another size");
    TERCEL_CHECK(t.stride(-1) == 1, Runtime, "view: the last dimension must be contiguous to view ",
                 dtype_name(t.dtype()), " as ", dtype_name(dtype));
    const int last = t.dim() - 1;
    const int64_t bytes = checked_mul(shape[last], from, "view");
    TERCEL_CHECK(bytes % to == 0 && offset * from % to == 0, Runtime, "view: the last dimension (",
                 bytes, " bytes) is not a multiple of the size of ", dtype_name(dtype));
    shape[last] = bytes / to;
    offset = offset * from / to;
    for (int i = 0; i < last; ++i) {
      TERCEL_CHECK(strides[i] * from % to == 0, Runtime, "view: stride ", strides[i],
                   " of dimension ", i, " is not a multiple of the size of ", dtype_name(dtype));
      strides[i] = strides[i] * from / to;
    }
  }
  Tensor y = make_alias(t);
  y.impl()->dtype = dtype;
  y.impl()->set_geometry(t.storage(), offset, shape, strides);
  return y;
}

Tensor reshape(const Tensor& t, const Shape& shape) {
  const Shape target = infer_shape(shape, t.numel(), "reshape");
  Strides strides;
  if (t.is_contiguous() || view_strides(t, target, &strides)) return view(t, target);
  return view(clone_contiguous(t), target);
}

Tensor flatten(const Tensor& t, int64_t start, int64_t end) {
  const int a = normalize_dim(start, t.dim(), "flatten"),
            b = normalize_dim(end, t.dim(), "flatten");
  TERCEL_CHECK(a <= b, Value, "flatten: start_dim ", start, " comes after end_dim ", end);
  if (t.dim() == 0) return reshape(t, {1});
  if (a == b) return t;
  Shape shape;
  for (int i = 0; i < a; ++i) shape.push_back(t.size(i));
  int64_t n = 1;
  for (int i = a; i <= b; ++i) n *= t.size(i);
  shape.push_back(n);
  for (int i = b + 1; i < t.dim(); ++i) shape.push_back(t.size(i));
  return reshape(t, shape);
}

Tensor unflatten(const Tensor& t, int64_t dim, const Shape& sizes) {
  const int d = normalize_dim(dim, t.dim(), "unflatten");
  TERCEL_CHECK(t.dim() > 0, Shape, "unflatten: expected at least 1 dimension, got a 0-d tensor");
  TERCEL_CHECK(!sizes.empty(), Shape, "unflatten: sizes must not be empty");
  const Shape inner = infer_shape(sizes, t.size(d), "unflatten");
  Shape shape;
  for (int i = 0; i < d; ++i) shape.push_back(t.size(i));
  for (int64_t s : inner) shape.push_back(s);
  for (int i = d + 1; i < t.dim(); ++i) shape.push_back(t.size(i));
  return view(t, shape);
}

Tensor permute(const Tensor& t, const Dims& dims) {
  const int n = t.dim();
  TERCEL_CHECK(dims.size() == n, Shape, "permute: expected ", n, " dims for shape ", t.shape(),
               ", got ", dims);
  dims_mask(dims, n, "permute");
  Shape shape;
  Strides strides;
  Dims inverse = Dims::filled(n, 0);
  for (int i = 0; i < n; ++i) {
    const int d = normalize_dim(dims[i], n, "permute");
    shape.push_back(t.size(d));
    strides.push_back(t.stride(d));
    inverse[d] = i;
  }
  Tensor y = make_view(t, shape, strides, t.offset());
  if (grad_needed(t)) {
    auto node = make_node<PermuteNode>({&t});
    node->inverse = inverse;
    set_view_history(y, node);
  }
  return y;
}

Tensor transpose(const Tensor& t, int64_t dim0, int64_t dim1) {
  const int a = normalize_dim(dim0, t.dim(), "transpose"),
            b = normalize_dim(dim1, t.dim(), "transpose");
  Dims dims = Dims::filled(t.dim(), 0);
  for (int i = 0; i < t.dim(); ++i) dims[i] = i;
  if (t.dim() > 0) std::swap(dims[a], dims[b]);
  return permute(t, dims);
}

Tensor t_(const Tensor& t) {
  TERCEL_CHECK(t.dim() <= 2, Shape, "t: expected at most 2 dimensions, got shape ", t.shape());
  return t.dim() < 2 ? permute(t, t.dim() == 1 ? Dims{0} : Dims{}) : transpose(t, 0, 1);
}

Tensor mT(const Tensor& t) {
  TERCEL_CHECK(t.dim() >= 2, Shape, "mT: expected at least 2 dimensions, got shape ", t.shape());
  return transpose(t, -2, -1);
}

Tensor reverse_dims(const Tensor& t) {
  Dims dims = Dims::filled(t.dim(), 0);
  for (int i = 0; i < t.dim(); ++i) dims[i] = t.dim() - 1 - i;
  return permute(t, dims);
}

Tensor movedim(const Tensor& t, const Dims& source, const Dims& destination) {
  const int n = t.dim();
  TERCEL_CHECK(source.size() == destination.size(), Value,
               "movedim: expected as many destinations as sources, got ", source, " and ",
               destination);
  if (source.empty())
    return permute(t, [&] {
      Dims d;
      for (int i = 0; i < n; ++i) d.push_back(i);
      return d;
    }());
  uint32_t from = dims_mask(source, n, "movedim");
  dims_mask(destination, n, "movedim");
  Dims order = Dims::filled(n, -1);
  for (int i = 0; i < source.size() && n > 0; ++i) {
    order[normalize_dim(destination[i], n, "movedim")] = normalize_dim(source[i], n, "movedim");
  }
  int next = 0;
  for (int i = 0; i < n; ++i) {
    if (order[i] >= 0) continue;
    while (from >> next & 1u) ++next;
    order[i] = next++;
  }
  return permute(t, order);
}

Tensor expand(const Tensor& t, const Shape& shape) {
  const int lead = shape.size() - t.dim();
  TERCEL_CHECK(lead >= 0, Shape, "expand: ", shape,
               " has fewer dimensions than the tensor's shape ", t.shape());
  Shape target = shape;
  Strides strides = Dims::filled(shape.size(), 0);
  for (int i = 0; i < shape.size(); ++i) {
    if (i < lead) {
      TERCEL_CHECK(shape[i] >= 0, Shape,
                   "expand: a new leading dimension cannot be -1 or negative, got ", shape);
      continue;
    }
    const int64_t have = t.size(i - lead);
    if (shape[i] == -1 || shape[i] == have) {
      target[i] = have;
      strides[i] = t.stride(i - lead);
    } else {
      TERCEL_CHECK(have == 1 && shape[i] >= 0, Shape, "expand: shape ", t.shape(),
                   " cannot be expanded to ", shape, ": dimension ", i, " has size ", have);
    }
  }
  checked_numel(target, "expand");
  Tensor y = make_view(t, target, strides, t.offset());
  if (grad_needed(t)) {
    auto node = make_node<ExpandNode>({&t});
    node->shape = t.shape();
    set_view_history(y, node);
  }
  return y;
}

Tensor view_as_is(const Tensor& t) {
  Tensor y = make_view(t, t.shape(), t.strides(), t.offset());
  if (grad_needed(t)) {
    auto node = make_node<ViewNode>({&t});
    node->shape = t.shape();
    set_view_history(y, node);
  }
  return y;
}

namespace {
Tensor with_shape(const Tensor& t, const Shape& shape, const Strides& strides) {
  Tensor y = make_view(t, shape, strides, t.offset());
  if (grad_needed(t)) {
    auto node = make_node<ViewNode>({&t});
    node->shape = t.shape();
    set_view_history(y, node);
  }
  return y;
}

Tensor squeeze_mask(const Tensor& t, uint32_t mask) {
  Shape shape;
  Strides strides;
  for (int i = 0; i < t.dim(); ++i) {
    if (t.size(i) == 1 && (mask >> i & 1u)) continue;
    shape.push_back(t.size(i));
    strides.push_back(t.stride(i));
  }
  return with_shape(t, shape, strides);
}
}  // namespace

Tensor squeeze(const Tensor& t) { return squeeze_mask(t, ~0u); }
Tensor squeeze(const Tensor& t, const Dims& dims) {
  return squeeze_mask(t, dims.empty() ? 0u : dims_mask(dims, t.dim(), "squeeze"));
}

Tensor unsqueeze(const Tensor& t, int64_t dim) {
  const int d = normalize_dim(dim, t.dim() + 1, "unsqueeze");
  Shape shape = t.shape();
  Strides strides = t.strides();
  strides.insert(d, d < t.dim() ? t.size(d) * t.stride(d) : 1);
  shape.insert(d, 1);
  return with_shape(t, shape, strides);
}

}  // namespace tercel
