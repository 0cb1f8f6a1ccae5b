// Rules: everything the generic code must know about an op of one or two operands, one entry per
// op. The derivative stands beside the op; `unary` and `binary` do the rest (dtypes, broadcasting,
// out=, in place, the graph node).
#pragma once

#include "core/autograd.h"
#include "ops/copy/out.h"
#include "ops/elementwise/op.h"

namespace tercel {

enum class Domain : uint8_t {
  floats,   // float dtypes; integers and bool are computed as the default float dtype
  strict,   // float dtypes only
  numeric,  // all but bool
  any,      // bool too
  integer,  // integers and bool
};
enum class Result : uint8_t { same, boolean };

// What a derivative may use. x, y (unary) and a, b, y (binary) are defined only if the rule keeps
// them.
struct UnaryGrad {
  const Tensor &g, &x, &y;
  const double* p;
};
struct UnaryRule {
  const char* name;
  const Op& (*op)();
  Domain domain;
  Result result = Result::same;
  enum Keep : uint8_t { nothing, input, output } keep = nothing;
  Tensor (*grad)(const UnaryGrad&) = nullptr;  // null: not differentiable
  const char* doc = "";
  const UnaryRule* for_bool = nullptr;  // used instead for bool tensors
};

struct BinaryGrad {
  const Tensor &g, &a, &b, &y;
  const double* p;
};
enum KeepBits : uint8_t { kKeepA = 1, kKeepB = 2, kKeepY = 4 };
struct BinaryRule {
  const char* name;
  const Op& (*op)();
  Domain domain;
  Result result = Result::same;
  uint8_t keep_for_a = 0, keep_for_b = 0;  // what grad_a and grad_b use
  Tensor (*grad_a)(const BinaryGrad&) = nullptr;
  Tensor (*grad_b)(const BinaryGrad&) = nullptr;
  bool refuses_zero_divisor = false;  // integers: an error if b has a zero
  const char* doc = "";
};

using ParamList = double[kMaxParams];
extern const ParamList kNoParams;

// `out` null: a new tensor. Otherwise it must have the broadcast shape and a dtype the result casts
// to.
Tensor unary(const UnaryRule& rule, const Tensor& x, const double* params = kNoParams,
             const Tensor* out = nullptr);
Tensor& unary_(const UnaryRule& rule, Tensor& x, const double* params = kNoParams);
Tensor binary(const BinaryRule& rule, const Tensor& a, const Tensor& b,
              const double* params = kNoParams, const Tensor* out = nullptr);
Tensor& binary_(const BinaryRule& rule, Tensor& a, const Tensor& b,
                const double* params = kNoParams);

// The bare kernels, without history: y has x's (g's) layout and dtype.
Tensor apply_unary(const Op& op, const Tensor& x, const double* params = kNoParams);
Tensor apply_binary(const Op& op, const Tensor& g, const Tensor& x,
                    const double* params = kNoParams);

// Raises unless out fits; an empty out takes the shape.
void check_out(const char* op, const Tensor& out, const Shape& shape, DType result);
// New output for operands that all have `shape`: their common dense strides, or contiguous.
Tensor empty_output(const Shape& shape, DType dtype, std::initializer_list<const Tensor*> inputs);

// All rules, for the bindings.
struct UnaryRuleList {
  const UnaryRule* const* rules;
  int count;
};
UnaryRuleList unary_rules();
extern const UnaryRule kRound;

}  // namespace tercel
