#include "core/shape.h"

namespace tercel {

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (int i = 0; i < dims.size(); ++i) {
    if (i) text += ", ";
    text += std::to_string(dims[i]);
  }
  return text + "]";
}

std::ostream& operator<<(std::ostream& out, const Dims& dims) { return out << to_string(dims); }

int64_t checked_mul(int64_t a, int64_t b, const char* op) {
  int64_t r;
  TERCEL_CHECK(!__builtin_mul_overflow(a, b, &r), Overflow, op, ": size ", a, " * ", b,
               " does not fit in 64 bits");
  return r;
}

int64_t checked_add(int64_t a, int64_t b, const char* op) {
  int64_t r;
  TERCEL_CHECK(!__builtin_add_overflow(a, b, &r), Overflow, op, ": size ", a, " + ", b,
               " does not fit in 64 bits");
  return r;
}

int64_t checked_numel(const Shape& shape, const char* op) {
  int64_t n = 1;
  bool overflow = false, zero = false;
  for (int64_t s : shape) {
    TERCEL_CHECK(s >= 0, Shape, op, ": sizes must not be negative, got ", shape);
    zero |= s == 0;
    overflow |= __builtin_mul_overflow(n, s == 0 ? 1 : s, &n);
  }
  // Views of an empty tensor multiply these sizes too, so the overflow matters even next to a zero.
  TERCEL_CHECK(!overflow, Overflow, op, ": number of elements of shape ", shape,
               " does not fit in 64 bits");
  return zero ? 0 : n;
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = Dims::filled(shape.size(), 1);
  int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i] > 0 ? shape[i] : 1;
  }
  return strides;
}

bool is_contiguous(const Shape& shape, const Strides& strides) {
  int64_t expected = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
  }
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] == 1) continue;
    if (strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op) {
  if (a == b) return a;
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape out = longer;
  const int lead = longer.size() - shorter.size();
  for (int i = 0; i < shorter.size(); ++i) {
    const int64_t x = longer[lead + i], y = shorter[i];
    if (x == y || y == 1) continue;
    TERCEL_CHECK(x == 1, Shape, op, ": shapes ", a, " and ", b, " cannot be broadcast: dimension ",
                 lead + i, " has sizes ", a.size() >= b.size() ? x : y, " and ",
                 a.size() >= b.size() ? y : x);
    out[lead + i] = y;
  }
  return out;
}

Strides broadcast_strides(const Shape& shape, const Strides& strides, const Shape& target) {
  Strides out = Dims::filled(target.size(), 0);
  const int lead = target.size() - shape.size();
  for (int i = 0; i < shape.size(); ++i)
    out[lead + i] = shape[i] == 1 && target[lead + i] != 1 ? 0 : strides[i];
  return out;
}

int normalize_dim(int64_t dim, int rank, const char* op) {
  const int64_t range = rank == 0 ? 1 : rank;
  TERCEL_CHECK(dim >= -range && dim < range, Index, op, ": dimension out of range: expected ",
               -range, " to ", range - 1, ", got ", dim);
  return static_cast<int>(dim < 0 ? dim + range : dim);
}

uint32_t dims_mask(const Dims& dims, int rank, const char* op) {
  if (dims.empty()) return (1u << rank) - 1u;
  uint32_t mask = 0;
  for (int64_t d : dims) {
    const uint32_t bit = 1u << normalize_dim(d, rank, op);
    TERCEL_CHECK(!(mask & bit), Value, op, ": dimension ", d, " appears more than once in ", dims);
    mask |= bit;
  }
  return rank == 0 ? 0u : mask;
}

}  // namespace tercel
