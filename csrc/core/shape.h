// Sizes and strides with a fixed capacity (no heap), and the arithmetic on them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/error.h"

namespace tercel {

inline constexpr int kMaxDims = 16;

// Up to kMaxDims int64 values: the sizes or the strides (in elements) of a tensor.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values)
      : Dims(values.begin(), static_cast<int64_t>(values.size())) {}
  Dims(const int64_t* values, int64_t n) {
    check_rank(n);
    n_ = static_cast<int>(n);
    for (int i = 0; i < n_; ++i) v_[i] = values[i];
  }
  Dims(const Dims& other) : n_(other.n_) {
    for (int i = 0; i < n_; ++i) v_[i] = other.v_[i];
  }
  Dims& operator=(const Dims& other) {
    n_ = other.n_;
    for (int i = 0; i < n_; ++i) v_[i] = other.v_[i];
    return *this;
  }
  static Dims filled(int64_t n, int64_t value) {
    check_rank(n);
    Dims d;
    d.n_ = static_cast<int>(n);
    for (int i = 0; i < d.n_; ++i) d.v_[i] = value;
    return d;
  }

  int size() const { return n_; }
  bool empty() const { return n_ == 0; }
  int64_t operator[](int64_t i) const { return v_[i]; }
  int64_t& operator[](int64_t i) { return v_[i]; }
  int64_t back() const { return v_[n_ - 1]; }
  const int64_t* data() const { return v_; }
  int64_t* data() { return v_; }
  const int64_t* begin() const { return v_; }
  const int64_t* end() const { return v_ + n_; }

  void push_back(int64_t value) {
    check_rank(n_ + 1);
    v_[n_++] = value;
  }
  void insert(int64_t at, int64_t value) {
    check_rank(n_ + 1);
    for (int i = n_; i > at; --i) v_[i] = v_[i - 1];
    v_[at] = value;
    ++n_;
  }
  void erase(int64_t at) {
    for (int64_t i = at; i + 1 < n_; ++i) v_[i] = v_[i + 1];
    --n_;
  }
  bool operator==(const Dims& other) const {
    if (n_ != other.n_) return false;
    for (int i = 0; i < n_; ++i)
      if (v_[i] != other.v_[i]) return false;
    return true;
  }
  bool operator!=(const Dims& other) const { return !(*this == other); }

 private:
  static void check_rank(int64_t n) {
    TERCEL_CHECK(n >= 0 && n <= kMaxDims, Shape, "tensor: at most ", kMaxDims,
                 " dimensions are supported, got ", n);
  }
  int n_ = 0;
  int64_t v_[kMaxDims];
};
using Shape = Dims;
using Strides = Dims;

// "[2, 3]"
std::string to_string(const Dims& dims);
std::ostream& operator<<(std::ostream& out, const Dims& dims);

// Product of the sizes, checked: negative sizes and int64 overflow raise, naming `op`.
int64_t checked_numel(const Shape& shape, const char* op);
// Product of the sizes of an already validated shape.
inline int64_t numel_of(const Shape& shape) {
  int64_t n = 1;
  for (int64_t s : shape) n *= s;
  return n;
}
Strides contiguous_strides(const Shape& shape);
bool is_contiguous(const Shape& shape, const Strides& strides);

// Broadcast result of two shapes (NumPy rules); raises ShapeError naming `op`.
Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op);
// Strides that read a tensor of (shape, strides) as `target`; broadcast dims get stride 0.
Strides broadcast_strides(const Shape& shape, const Strides& strides, const Shape& target);

// Dimension index in [-rank, rank) -> [0, rank). A 0-d tensor accepts -1 and 0.
int normalize_dim(int64_t dim, int rank, const char* op);
// Sorted unique dims as a bit mask; an empty list means all dims.
uint32_t dims_mask(const Dims& dims, int rank, const char* op);

// Overflow-checked arithmetic; raises OverflowError naming `op`.
int64_t checked_mul(int64_t a, int64_t b, const char* op);
int64_t checked_add(int64_t a, int64_t b, const char* op);

}  // namespace tercel
