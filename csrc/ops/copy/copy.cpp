#include "ops/copy/copy.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/launch.h"
#include "cuda/runtime.h"
#include "ops/copy/copy_kernels.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

struct CopyNode final : Node {  // clone, contiguous, casts
  DType dtype;
  const char* label = "CopyBackward";
  const char* name() const override { return label; }
  TensorList backward(const TensorList& g) override { return {to(g[0], dtype)}; }
};

struct ToDeviceNode final : Node {
  Device from;
  const char* name() const override { return "ToCopyBackward"; }
  TensorList backward(const TensorList& g) override { return {to_device(g[0], from)}; }
};

struct CopyIntoNode final : Node {  // dst.copy_(src): edges are dst, src
  Shape src_shape, dst_shape;
  DType src_dtype;
  Device src_device;
  const char* name() const override { return "CopyIntoBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(2);
    if (needs(0)) out[0] = zeros_like(g[0]);
    if (needs(1)) out[1] = to_device(to(sum_to(g[0], src_shape), src_dtype), src_device);
    return out;
  }
};

struct FillIntoNode final : Node {
  const char* name() const override { return "FillIntoBackward"; }
  TensorList backward(const TensorList& g) override { return {zeros_like(g[0])}; }
};

void record_copy(const Tensor& y, const Tensor& x, const char* label) {
  if (!grad_needed(x) || !is_float(y.dtype())) return;
  auto node = make_node<CopyNode>({&x});
  node->dtype = x.dtype();
  node->label = label;
  set_history(y, node);
}

uint64_t pattern_of(const Scalar& value, DType dtype) {
  uint64_t bits = 0;
  visit<TERCEL_FLOATS, TERCEL_FP8, TERCEL_INTS, bool>(dtype, "fill_", [&]<class T>() {
    T v;
    if constexpr (std::is_same_v<T, bool>) {
      v = value.to_double() != 0;
    } else if constexpr (std::is_integral_v<T>) {
      v = static_cast<T>(value.to_int());
    } else if constexpr (std::is_same_v<T, double>) {
      v = value.to_double();
    } else {
      v = T(static_cast<float>(value.to_double()));
    }
    std::memcpy(&bits, &v, sizeof v);
  });
  return bits;
}

// Writes the pattern to every element of a tensor that may be strided.
void fill_elements(const Tensor& t, uint64_t pattern) {
  if (t.numel() == 0) return;
  const int itemsize = static_cast<int>(t.itemsize());
  const bool whole_storage =
      t.storage()->nbytes() == t.numel() * itemsize && !has_internal_overlap(t);
  if (t.is_contiguous() || whole_storage) {
    const FillArgs args{t.data(t.device()), t.numel(), itemsize, pattern};
    return launch(copy_kernels(t.device()).fill, args, t.numel() * itemsize / 10, t.device());
  }
  const Tensor one = empty({}, t.dtype(), t.device());
  fill_elements(one, pattern);
  strided_copy(t, one);
}

// dst[i] += src[i], one element after the other: elements of dst may be the same memory.
template <class T>
void add_elements(const Tensor& dst, const Tensor& src) {
  const int n = dst.dim();
  int64_t index[kMaxDims] = {};
  T* d = dst.data_as<T>();
  const T* s = src.data_as<T>();
  for (int64_t i = 0; i < dst.numel(); ++i) {
    *d = T(static_cast<acc_t<T>>(*d) + static_cast<acc_t<T>>(*s));
    for (int k = n - 1; k >= 0; --k) {
      d += dst.stride(k);
      s += src.stride(k);
      if (++index[k] < dst.size(k)) break;
      d -= dst.stride(k) * dst.size(k);
      s -= src.stride(k) * src.size(k);
      index[k] = 0;
    }
  }
}

}  // namespace

void strided_add(const Tensor& dst, const Tensor& src) {
  if (!dst.device().is_cpu()) {  // elements of dst may be the same memory: rare, done on the host
    const Tensor host_src = to_device(src, Device{});
    const Storage& storage = *dst.storage();
    Tensor host =
        make_view(to_device(make_view(dst, {storage.nbytes() / dst.itemsize()}, {1}, 0), Device{}),
                  dst.shape(), dst.strides(), dst.offset());
    strided_add(host, host_src);
    return strided_copy(make_view(dst, {storage.nbytes() / dst.itemsize()}, {1}, 0),
                        make_view(host, {storage.nbytes() / dst.itemsize()}, {1}, 0));
  }
  visit<TERCEL_FLOATS>(dst.dtype(), "strided_add", [&]<class T>() { add_elements<T>(dst, src); });
}

void check_fits(const Scalar& value, DType dtype, const char* op) {
  if (!is_int(dtype)) return;
  bool fits = false;
  visit<TERCEL_INTS>(dtype, op, [&]<class T>() {
    if (value.is_float()) {
      const double v = value.to_double();
      const double low = static_cast<double>(std::numeric_limits<T>::min());
      const double high =
          std::ldexp(1.0, static_cast<int>(sizeof(T)) * 8 - std::is_signed_v<T>);  // max + 1
      fits = v > low - 1 && v < high;
    } else {
      const int64_t v = value.to_int();
      fits = v >= static_cast<int64_t>(std::numeric_limits<T>::min()) &&
             v <= static_cast<int64_t>(std::numeric_limits<T>::max());
    }
  });
  if (value.is_float()) {
    TERCEL_CHECK(fits, Overflow, op, ": value ", value.to_double(), " does not fit dtype ",
                 dtype_name(dtype));
  } else {
    TERCEL_CHECK(fits, Overflow, op, ": value ", value.to_int(), " does not fit dtype ",
                 dtype_name(dtype));
  }
}
void check_fits(const Tensor& number, DType dtype, const char* op) {
  if (is_int(dtype) && number.impl()->wrapped_number) check_fits(item(number), dtype, op);
}

Tensor clone(const Tensor& t) {
  Tensor y = empty_like(t);
  strided_copy(y, t);
  record_copy(y, t, "CloneBackward");
  return y;
}

Tensor clone_contiguous(const Tensor& t) {
  Tensor y = empty(t.shape(), t.dtype(), t.device());
  strided_copy(y, t);
  record_copy(y, t, "CloneBackward");
  return y;
}

Tensor contiguous(const Tensor& t) { return t.is_contiguous() ? t : clone_contiguous(t); }

Tensor to(const Tensor& t, DType dtype) { return t.dtype() == dtype ? t : to_copy(t, dtype); }

Tensor to_copy(const Tensor& t, DType dtype) {
  Tensor y = empty_like(t, dtype);
  strided_copy(y, t);
  record_copy(y, t, "ToBackward");
  return y;
}

Tensor to_device(const Tensor& t, Device device, bool non_blocking) {
  if (t.device() == device) return t;
  Tensor y = empty_like(t, t.dtype(), device);
  if (t.numel() == 1 && t.device().is_cpu()) {  // travels as an argument: nothing waits
    uint64_t pattern = 0;
    std::memcpy(&pattern, t.data(), static_cast<size_t>(t.itemsize()));
    fill_elements(y, pattern);
  } else {
    // The same layout on both sides, so the elements are one run of bytes.
    const Tensor dense = y.strides() == t.strides() ? t : contiguous(t.detach());
    cuda::copy_bytes(y.data(device), device, dense.data(t.device()), t.device(),
                     t.numel() * t.itemsize(), non_blocking && dense.is_same(t));
  }
  y.impl()->wrapped_number = t.impl()->wrapped_number;
  if (grad_needed(t)) {
    auto node = make_node<ToDeviceNode>({&t});
    node->from = t.device();
    set_history(y, node);
  }
  return y;
}

Tensor pin_memory(const Tensor& t) {
  TERCEL_CHECK(t.device().is_cpu(), Runtime, "pin_memory: expected a tensor on cpu, got one on ",
               to_string(t.device()));
  if (cuda::is_pinned(*t.storage())) return t;
  Tensor y(make_ref<TensorImpl>(cuda::allocate_pinned(t.numel() * t.itemsize()), 0, t.shape(),
                                contiguous_strides(t.shape()), t.dtype()));
  strided_copy(y, t);
  record_copy(y, t, "PinMemoryBackward");
  return y;
}

Tensor& copy_(Tensor& dst, const Tensor& src) { return copy_(dst, src, false); }

Tensor& copy_(Tensor& dst, const Tensor& src, bool non_blocking) {
  check_inplace(dst, "copy_");
  TERCEL_CHECK(broadcast_shapes(dst.shape(), src.shape(), "copy_") == dst.shape(), Shape,
               "copy_: source of shape ", src.shape(), " cannot be broadcast to ", dst.shape());
  Ref<Node> node;
  if (grad_needed(dst, src)) {
    auto n = make_node<CopyIntoNode>({&dst, &src});
    n->src_shape = src.shape();
    n->dst_shape = dst.shape();
    n->src_dtype = src.dtype();
    n->src_device = src.device();
    node = n;
  }
  if (dst.is_same(src)) return dst;
  if (partially_overlaps(dst, src)) {
    Tensor temporary = empty(src.shape(), src.dtype(), src.device());
    strided_copy(temporary, src);
    strided_copy(dst, temporary);
  } else {
    strided_copy(dst, src, non_blocking);
  }
  finish_inplace(dst, node, "copy_");
  return dst;
}

Tensor& fill_(Tensor& t, const Scalar& value) {
  check_inplace(t, "fill_");
  check_fits(value, t.dtype(), "fill_");
  Ref<Node> node;
  if (grad_needed(t)) node = make_node<FillIntoNode>({&t});
  fill_elements(t, pattern_of(value, t.dtype()));
  finish_inplace(t, node, "fill_");
  return t;
}

Tensor& zero_(Tensor& t) { return fill_(t, Scalar(0)); }

Tensor full(const Shape& shape, const Scalar& value, DType dtype, Device device) {
  check_fits(value, dtype, "full");
  Tensor t = empty(shape, dtype, device);
  fill_elements(t, pattern_of(value, dtype));
  return t;
}
Tensor zeros(const Shape& shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  fill_elements(t, 0);
  return t;
}
Tensor ones(const Shape& shape, DType dtype, Device device) {
  return full(shape, Scalar(1), dtype, device);
}

Tensor full_like(const Tensor& t, const Scalar& value) {
  check_fits(value, t.dtype(), "full_like");
  Tensor y = empty_like(t);
  fill_elements(y, pattern_of(value, t.dtype()));
  return y;
}
Tensor zeros_like(const Tensor& t, DType dtype) {
  Tensor y = empty_like(t, dtype);
  fill_elements(y, 0);
  return y;
}
Tensor zeros_like(const Tensor& t) { return zeros_like(t, t.dtype()); }
Tensor ones_like(const Tensor& t) { return full_like(t, Scalar(1)); }

Tensor sum_to(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  const int lead = t.dim() - shape.size();
  Dims dims;
  for (int i = 0; i < t.dim(); ++i) {
    if (i < lead || (shape[i - lead] == 1 && t.size(i) != 1)) dims.push_back(i);
  }
  Tensor y = dims.empty() ? t : sum(t, dims, true, std::nullopt);
  return reshape(y, shape);
}

}  // namespace tercel
