// Tensor: a handle (one intrusive pointer) to sizes, strides, dtype and a place in a shared
// Storage.
//
// Copying a Tensor copies the handle. Views share the Storage and remember the tensor they view
// (`base`), which is what lets an in-place write through a view reach the graph of its base.
#pragma once

#include <memory>

#include "core/dtype.h"
#include "core/scalar.h"
#include "core/shape.h"
#include "core/storage.h"

namespace tercel {

class Node;
struct AutogradMeta;
class TensorImpl;

// Rvalue-friendly handle. `defined()` is false for a default-constructed one (None in Python).
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}

  bool defined() const { return static_cast<bool>(impl_); }
  TensorImpl* impl() const { return impl_.get(); }
  const Ref<TensorImpl>& ref() const { return impl_; }
  bool is_same(const Tensor& o) const { return impl_ == o.impl_; }
  void reset() { impl_.reset(); }

  inline const Shape& shape() const;
  inline const Strides& strides() const;
  inline int dim() const;
  inline int64_t size(int64_t d) const;    // d may be negative; unchecked
  inline int64_t stride(int64_t d) const;  // in elements
  inline int64_t numel() const;
  inline int64_t offset() const;  // in elements from the start of the storage
  inline DType dtype() const;
  inline int64_t itemsize() const;
  inline Device device() const;
  inline const Ref<Storage>& storage() const;
  inline uint32_t version() const;
  inline uint32_t checked_version() const;  // what saved tensors compare
  inline bool is_contiguous() const;
  inline bool is_view() const;
  inline Tensor base() const;  // undefined when not a view

  // First element, in host memory. Null for an empty storage. Raises for a tensor that is not on
  // the CPU, so that an op without a CUDA kernel fails before it reads.
  inline void* data() const;
  template <class T>
  T* data_as() const {
    return static_cast<T*>(data());
  }
  // First element for a kernel that runs on `device`; raises if the tensor is elsewhere.
  inline void* data(Device device) const;
  template <class T>
  T* data_as(Device device) const {
    return static_cast<T*>(data(device));
  }

  // Autograd (core/autograd.h has the rest).
  bool requires_grad() const;  // leaf flag or has grad_fn
  void set_requires_grad(bool value);
  bool is_leaf() const;
  Tensor grad() const;
  void set_grad(const Tensor& g);
  Ref<Node> grad_fn() const;
  Tensor detach() const;  // same storage, no history
  void backward(const Tensor& gradient = {}, bool retain_graph = false,
                bool create_graph = false) const;

  // The rest of the operations are free functions in ops/.

 private:
  Ref<TensorImpl> impl_;
};

class TensorImpl final : public RefCounted {
 public:
  TensorImpl(Ref<Storage> s, int64_t offset, const Shape& shape, const Strides& strides,
             DType dtype);
  ~TensorImpl() override;

  Ref<Storage> storage;
  int64_t offset;
  int64_t numel;
  Shape shape;
  Strides strides;
  DType dtype;
  bool contiguous;
  bool wrapped_number =
      false;                  // 0-d tensor made from a Python number: lowest priority in promotion
  bool inference = false;     // created under inference_mode: no version checks, no history
  bool unchecked = false;     // x.data: saved tensors do not notice what is written through it
  Tensor base;                // the tensor this one views (never itself a view)
  uint32_t view_version = 0;  // storage version when the history of this view was recorded
  std::unique_ptr<AutogradMeta> autograd;
  void* pyobj = nullptr;  // borrowed: the Python object that wraps this impl, if one is alive

  // Replaces storage and geometry (`tensor.data = other`, squeeze_ and friends).
  void set_geometry(const Ref<Storage>& s, int64_t new_offset, const Shape& sh, const Strides& st);

 protected:
  void destroy() override;
};

inline const Shape& Tensor::shape() const { return impl_->shape; }
inline const Strides& Tensor::strides() const { return impl_->strides; }
inline int Tensor::dim() const { return impl_->shape.size(); }
inline int64_t Tensor::size(int64_t d) const { return impl_->shape[d < 0 ? d + dim() : d]; }
inline int64_t Tensor::stride(int64_t d) const { return impl_->strides[d < 0 ? d + dim() : d]; }
inline int64_t Tensor::numel() const { return impl_->numel; }
inline int64_t Tensor::offset() const { return impl_->offset; }
inline DType Tensor::dtype() const { return impl_->dtype; }
inline int64_t Tensor::itemsize() const { return dtype_size(impl_->dtype); }
inline Device Tensor::device() const { return impl_->storage->device(); }
inline const Ref<Storage>& Tensor::storage() const { return impl_->storage; }
inline uint32_t Tensor::version() const { return impl_->storage->version(); }
inline uint32_t Tensor::checked_version() const {
  return impl_->unchecked ? version() : impl_->storage->checked_version();
}
inline bool Tensor::is_contiguous() const { return impl_->contiguous; }
inline bool Tensor::is_view() const { return impl_->base.defined(); }
inline Tensor Tensor::base() const { return impl_->base; }
inline void* Tensor::data(Device device) const {
  const Storage& storage = *impl_->storage;
  if (storage.device() != device) [[unlikely]]
    fail_device(device, storage.device());
  return static_cast<char*>(storage.data()) + impl_->offset * dtype_size(impl_->dtype);
}
inline void* Tensor::data() const {
  if (!device().is_cpu()) [[unlikely]]
    fail_not_on_host(device());
  return data(Device{});
}

// Dtype of an op on these tensors: tensors with dims outrank 0-d ones, which outrank Python
// numbers, within and across the categories bool < integer < float (PyTorch's rules). Undefined
// tensors are ignored.
DType result_type(std::initializer_list<const Tensor*> tensors);
DType result_type(const Tensor* tensors, size_t n);
// 0-d tensor of the number's natural dtype, flagged as a wrapped number.
Tensor wrap_number(const Scalar& value);
// Value of a one-element tensor; raises otherwise.
Scalar item(const Tensor& t);

// Uninitialised contiguous tensor. Sizes are validated (negative, overflow).
Tensor empty(const Shape& shape, DType dtype, Device device = {});
Tensor empty_strided(const Shape& shape, const Strides& strides, DType dtype, Device device = {});
// Same shape and dtype; keeps the stride order of a dense non-overlapping `like`, else contiguous.
Tensor empty_like(const Tensor& like);
Tensor empty_like(const Tensor& like, DType dtype);
Tensor empty_like(const Tensor& like, DType dtype, Device device);

// A view of `t`'s storage without history (autograd is attached by ops/view). With gradients
// enabled it remembers its base, so that in-place writes through it are seen by the graph.
Tensor make_view(const Tensor& t, const Shape& shape, const Strides& strides, int64_t offset);
// Same elements, no history and no base.
Tensor make_alias(const Tensor& t);

// True if two elements of `t` share memory (zero strides, overlapping windows).
bool has_internal_overlap(const Tensor& t);
// True if the memory ranges may overlap and are not the identical view.
bool partially_overlaps(const Tensor& a, const Tensor& b);

}  // namespace tercel
