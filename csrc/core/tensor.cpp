#include "core/tensor.h"

#include <algorithm>

#include "core/autograd.h"
#include "cuda/runtime.h"

namespace tercel {

TensorImpl::TensorImpl(Ref<Storage> s, int64_t off, const Shape& sh, const Strides& st, DType t)
    : storage(std::move(s)),
      offset(off),
      numel(numel_of(sh)),
      shape(sh),
      strides(st),
      dtype(t),
      contiguous(is_contiguous(sh, st)) {}

TensorImpl::~TensorImpl() {
  if (autograd && autograd->retains_grad && autograd->grad_fn && autograd->grad_fn->hooks) {
    auto& retain = autograd->grad_fn->hooks->retain;
    std::erase_if(retain, [this](const auto& r) { return r.second == this; });
  }
}

void TensorImpl::destroy() { delete this; }

void TensorImpl::set_geometry(const Ref<Storage>& s, int64_t new_offset, const Shape& sh,
                              const Strides& st) {
  storage = s;
  offset = new_offset;
  shape = sh;
  strides = st;
  numel = numel_of(sh);
  contiguous = tercel::is_contiguous(sh, st);
}

DType result_type(const Tensor* const* tensors, size_t n) {
  // One candidate per priority class: tensors with dims, 0-d tensors, Python numbers.
  bool seen[3] = {};
  DType types[3] = {};
  for (size_t i = 0; i < n; ++i) {
    const Tensor& t = *tensors[i];
    if (!t.defined()) continue;
    const int rank = t.impl()->wrapped_number ? 2 : t.dim() == 0 ? 1 : 0;
    types[rank] = seen[rank] ? promote(types[rank], t.dtype()) : t.dtype();
    seen[rank] = true;
  }
  auto category = [](DType t) {
    return static_cast<int>(kDTypeInfo[static_cast<int>(t)].category);
  };
  bool have = false;
  DType result = DType::f32;
  for (int rank = 0; rank < 3; ++rank) {
    if (!seen[rank]) continue;
    // A float number gives the default dtype, not the float64 that holds it.
    const DType type = rank == 2 && is_float(types[rank]) ? default_dtype() : types[rank];
    if (!have) {
      result = type;
      have = true;
    } else if (category(type) > category(result)) {
      result = type;
    }
  }
  return result;
}

DType result_type(std::initializer_list<const Tensor*> tensors) {
  return result_type(tensors.begin(), tensors.size());
}

DType result_type(const Tensor* tensors, size_t n) {
  std::vector<const Tensor*> pointers(n);
  for (size_t i = 0; i < n; ++i) pointers[i] = &tensors[i];
  return result_type(pointers.data(), n);
}

Tensor wrap_number(const Scalar& value) {
  // Floats are held in float64 so that no digit is lost before the compute dtype is known.
  const DType dtype = value.is_float() ? DType::f64 : value.is_bool() ? DType::b8 : DType::i64;
  Tensor t = empty({}, dtype);
  if (dtype == DType::f64) {
    *t.data_as<double>() = value.to_double();
  } else if (dtype == DType::b8) {
    *t.data_as<bool>() = value.to_int() != 0;
  } else {
    *t.data_as<int64_t>() = value.to_int();
  }
  t.impl()->wrapped_number = true;
  return t;
}

Scalar item(const Tensor& t) {
  TERCEL_CHECK(t.numel() == 1, Runtime, "item: expected a tensor with one element, got shape ",
               t.shape());
  Scalar value(0);
  alignas(8) char host[8];
  const void* p = host;
  if (t.device().is_cpu()) [[likely]] {
    p = t.data();
  } else {
    cuda::copy_bytes(host, Device{}, t.data(t.device()), t.device(), t.itemsize(), false);
  }
  visit<TERCEL_FLOATS, TERCEL_FP8, TERCEL_INTS, bool>(t.dtype(), "item", [&]<class T>() {
    const T v = *static_cast<const T*>(p);
    if constexpr (std::is_same_v<T, bool>) {
      value = Scalar(static_cast<bool>(v));
    } else if constexpr (std::is_integral_v<T>) {
      value = Scalar(static_cast<int64_t>(v));
    } else if constexpr (std::is_same_v<T, double>) {
      value = Scalar(v);
    } else {
      value = Scalar(static_cast<double>(static_cast<float>(v)));
    }
  });
  return value;
}

Tensor empty(const Shape& shape, DType dtype, Device device) {
  const int64_t numel = checked_numel(shape, "empty");
  const int64_t nbytes = checked_mul(numel, dtype_size(dtype), "empty");
  Tensor t(make_ref<TensorImpl>(Storage::allocate(nbytes, device), 0, shape,
                                contiguous_strides(shape), dtype));
  t.impl()->inference = inference_mode();
  return t;
}

Tensor empty_strided(const Shape& shape, const Strides& strides, DType dtype, Device device) {
  TERCEL_CHECK(shape.size() == strides.size(), Shape,
               "empty_strided: expected as many strides as sizes, got sizes ", shape,
               " and strides ", strides);
  const int64_t numel = checked_numel(shape, "empty_strided");
  int64_t last = 0;
  for (int i = 0; i < shape.size(); ++i) {
    TERCEL_CHECK(strides[i] >= 0, Value, "empty_strided: strides must not be negative, got ",
                 strides);
    if (numel > 0)
      last = checked_add(last, checked_mul(shape[i] - 1, strides[i], "empty_strided"),
                         "empty_strided");
  }
  const int64_t nbytes = numel == 0 ? 0
                                    : checked_mul(checked_add(last, 1, "empty_strided"),
                                                  dtype_size(dtype), "empty_strided");
  Tensor t(make_ref<TensorImpl>(Storage::allocate(nbytes, device), 0, shape, strides, dtype));
  t.impl()->inference = inference_mode();
  return t;
}

Tensor empty_like(const Tensor& like) { return empty_like(like, like.dtype()); }

Tensor empty_like(const Tensor& like, DType dtype) {
  return empty_like(like, dtype, like.device());
}

Tensor empty_like(const Tensor& like, DType dtype, Device device) {
  if (like.is_contiguous()) return empty(like.shape(), dtype, device);
  // Dense and non-overlapping: the strides, sorted, must be those of some permutation.
  const int n = like.dim();
  int order[kMaxDims];
  for (int i = 0; i < n; ++i) order[i] = i;
  std::sort(order, order + n, [&](int a, int b) { return like.stride(a) < like.stride(b); });
  int64_t expected = 1;
  for (int i = 0; i < n; ++i) {
    if (like.size(order[i]) == 1) continue;
    if (like.stride(order[i]) != expected) return empty(like.shape(), dtype, device);
    expected *= like.size(order[i]);
  }
  return empty_strided(like.shape(), like.strides(), dtype, device);
}

Tensor make_alias(const Tensor& t) {
  TensorImpl* impl = t.impl();
  Tensor alias(
      make_ref<TensorImpl>(impl->storage, impl->offset, impl->shape, impl->strides, impl->dtype));
  alias.impl()->inference = impl->inference;
  alias.impl()->unchecked = impl->unchecked;
  alias.impl()->wrapped_number = impl->wrapped_number;
  return alias;
}

Tensor make_view(const Tensor& t, const Shape& shape, const Strides& strides, int64_t offset) {
  TensorImpl* impl = t.impl();
  Tensor view(make_ref<TensorImpl>(impl->storage, offset, shape, strides, impl->dtype));
  view.impl()->inference = impl->inference;
  view.impl()->unchecked = impl->unchecked;
  if (grad_enabled()) {
    view.impl()->base = impl->base.defined() ? impl->base : t;
    view.impl()->view_version = impl->storage->version();
    // Its base may join the graph later (core/autograd.cpp, stale_view).
    if (is_float(impl->dtype)) autograd_meta(view);
  }
  return view;
}

bool has_internal_overlap(const Tensor& t) {
  if (t.is_contiguous() || t.numel() <= 1) return false;
  int order[kMaxDims], n = 0;
  for (int i = 0; i < t.dim(); ++i) {
    if (t.size(i) == 1) continue;
    if (t.stride(i) == 0) return true;
    order[n++] = i;
  }
  std::sort(order, order + n, [&](int a, int b) { return t.stride(a) < t.stride(b); });
  // Sorted by stride, a dim must step over everything the smaller ones span. Exotic strides that
  // interleave without touching are reported as overlapping: refusing them is the safe answer.
  int64_t span = 0;
  for (int i = 0; i < n; ++i) {
    if (t.stride(order[i]) <= span) return true;
    span += (t.size(order[i]) - 1) * t.stride(order[i]);
  }
  return false;
}

bool partially_overlaps(const Tensor& a, const Tensor& b) {
  if (a.numel() == 0 || b.numel() == 0 || !(a.storage() == b.storage())) return false;
  if (a.offset() == b.offset() && a.shape() == b.shape() && a.strides() == b.strides())
    return false;
  auto extent = [](const Tensor& t) {
    int64_t last = 0;
    for (int i = 0; i < t.dim(); ++i) last += (t.size(i) - 1) * t.stride(i);
    const int64_t begin = t.offset() * t.itemsize();
    return std::pair{begin, begin + (last + 1) * t.itemsize()};
  };
  const auto [a0, a1] = extent(a);
  const auto [b0, b1] = extent(b);
  return a0 < b1 && b0 < a1;
}

}  // namespace tercel
