// Scalar: a Python-like number (bool, integer or float) passed to an op by value.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tercel {

class Scalar {
 public:
  enum class Kind : uint8_t { boolean, integer, floating };
  Scalar(bool v) : kind_(Kind::boolean), i_(v) {}
  Scalar(int v) : kind_(Kind::integer), i_(v) {}
  Scalar(int64_t v) : kind_(Kind::integer), i_(v) {}
  Scalar(double v) : kind_(Kind::floating), f_(v) {}

  Kind kind() const { return kind_; }
  bool is_float() const { return kind_ == Kind::floating; }
  bool is_bool() const { return kind_ == Kind::boolean; }
  double to_double() const { return is_float() ? f_ : static_cast<double>(i_); }
  // Truncates; the caller checks the range first.
  int64_t to_int() const { return is_float() ? static_cast<int64_t>(f_) : i_; }
  // bool, int64 or the default float dtype.
  DType natural_dtype() const {
    return is_float() ? default_dtype() : is_bool() ? DType::b8 : DType::i64;
  }

 private:
  Kind kind_;
  union {
    int64_t i_;
    double f_;
  };
};

}  // namespace tercel
