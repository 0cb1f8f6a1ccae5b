// Bindings of the elementwise ops. One-operand ops are bound from their rules, two-operand ones
// from the table below: as functions with out=, as methods, and as in-place methods.
#include "ops/elementwise/elementwise.h"

#include "ops/copy/copy.h"
#include "ops/elementwise/binary_rules.h"
#include "ops/elementwise/ternary.h"
#include "ops/index/index.h"
#include "python/out.h"

namespace tercel {
namespace {

using MaybeTensor = std::optional<Tensor>;
using MaybeOperand = std::optional<Operand>;

// In-place forms of functions with float results: an integer tensor cannot hold them.
Tensor write_float(Tensor& self, const Tensor& value, const char* op) {
  TERCEL_CHECK(is_float(self.dtype()), DType, op, ": expected a float tensor to write into, got ",
               dtype_name(self.dtype()));
  return copy_(self, value);
}

const Tensor* pointer(const MaybeTensor& t) { return t && t->defined() ? &*t : nullptr; }
MaybeTensor tensor_or_none(const MaybeOperand& o) {
  return o ? MaybeTensor(o->tensor) : MaybeTensor();
}

void bind_rule(Binder& b, const char* name, const UnaryRule* rule) {
  const std::string doc =
      std::string(rule->doc) + ", elementwise.\n\ninput: any shape. out: optional result tensor.";
  b.both(
      name,
      [rule](const Tensor& input, const MaybeTensor& out) {
        return unary(*rule, input, kNoParams, pointer(out));
      },
      py::arg("input"), py::kw_only(), py::arg("out") = py::none(), doc.c_str());
  if (rule->result == Result::boolean && std::string(name) != "logical_not") return;
  b.method((std::string(name) + "_").c_str(), [rule](Tensor self) { return unary_(*rule, self); },
           (std::string("In-place ") + name + ".").c_str());
}

void bind_unary(Binder& b) {
  const std::pair<const char*, const char*> aliases[] = {
      {"absolute", "abs"},  {"negative", "neg"},  {"arcsin", "asin"},
      {"arccos", "acos"},   {"arctan", "atan"},   {"arcsinh", "asinh"},
      {"arccosh", "acosh"}, {"arctanh", "atanh"}, {"fix", "trunc"},
  };
  const UnaryRuleList list = unary_rules();
  for (int i = 0; i < list.count; ++i) {
    const UnaryRule* rule = list.rules[i];
    bind_rule(b, rule->name, rule);
    for (const auto& [alias, name] : aliases) {
      if (std::string(name) == rule->name) bind_rule(b, alias, rule);
    }
  }
}

struct BinaryBinding {
  const char* name;
  const BinaryRule* rule;
  bool in_place;
  const char* doc;
};

void bind_binary(Binder& b) {
  const BinaryBinding table[] = {
      {"mul", &kMul, true, "a * b"},
      {"multiply", &kMul, true, "a * b (alias of mul)"},
      {"true_divide", &kDiv, true, "a / b; integers give the default float dtype"},
      {"floor_divide", &kFloorDivide, true,
       "floor(a / b); integer division by zero raises RuntimeError"},
      {"remainder", &kRemainder, true, "a - floor(a / b) b: the sign of b, as Python's %"},
      {"fmod", &kFmod, true, "a - trunc(a / b) b: the sign of a, as C's fmod"},
      {"maximum", &kMaximum, false, "larger one; NaN if either is NaN"},
      {"minimum", &kMinimum, false, "smaller one; NaN if either is NaN"},
      {"fmax", &kFmax, false, "larger one; a NaN is ignored"},
      {"fmin", &kFmin, false, "smaller one; a NaN is ignored"},
      {"atan2", &kAtan2, true, "angle of the point (b, a), in (-pi, pi]"},
      {"arctan2", &kAtan2, true, "angle of the point (b, a) (alias of atan2)"},
      {"hypot", &kHypot, true, "sqrt(a^2 + b^2) without overflow"},
      {"copysign", &kCopysign, true, "|a| with the sign of b"},
      {"xlogy", &kXlogy, true, "a log b; 0 where a is 0 and b is not NaN"},
      {"logaddexp", &kLogaddexp, false, "log(e^a + e^b) without overflow"},
      {"logaddexp2", &kLogaddexp2, false, "log2(2^a + 2^b) without overflow"},
      {"nextafter", &kNextafter, true, "next representable number after a towards b"},
      {"heaviside", &kHeaviside, true, "0 for a < 0, b for a = 0, 1 for a > 0"},
      {"ldexp", &kLdexp, true, "a 2^b"},
      {"gcd", &kGcd, true, "greatest common divisor of integers"},
      {"lcm", &kLcm, true, "least common multiple of integers"},
      {"eq", &kEq, true, "a == b, a bool tensor"},
      {"ne", &kNe, true, "a != b, a bool tensor"},
      {"not_equal", &kNe, true, "a != b, a bool tensor (alias of ne)"},
      {"lt", &kLt, true, "a < b, a bool tensor"},
      {"less", &kLt, true, "a < b, a bool tensor (alias of lt)"},
      {"le", &kLe, true, "a <= b, a bool tensor"},
      {"less_equal", &kLe, true, "a <= b, a bool tensor (alias of le)"},
      {"gt", &kGt, true, "a > b, a bool tensor"},
      {"greater", &kGt, true, "a > b, a bool tensor (alias of gt)"},
      {"ge", &kGe, true, "a >= b, a bool tensor"},
      {"greater_equal", &kGe, true, "a >= b, a bool tensor (alias of ge)"},
      {"logical_and", &kLogicalAnd, true, "both are not zero"},
      {"logical_or", &kLogicalOr, true, "one is not zero"},
      {"logical_xor", &kLogicalXor, true, "exactly one is not zero"},
      {"bitwise_and", &kBitwiseAnd, true, "a & b of integers or bools"},
      {"bitwise_or", &kBitwiseOr, true, "a | b of integers or bools"},
      {"bitwise_xor", &kBitwiseXor, true, "a ^ b of integers or bools"},
      {"bitwise_left_shift", &kShiftLeft, true,
       "a << b; 0 when b is negative or at least the width"},
      {"bitwise_right_shift", &kShiftRight, true, "a >> b (arithmetic)"},
  };
  for (const BinaryBinding& e : table) {
    const BinaryRule* rule = e.rule;
    const char* second = rule == &kHeaviside ? "values" : "other";
    const std::string doc =
        std::string(e.doc) +
        ", elementwise with broadcasting.\n\ninput, other: tensors or numbers. out: optional "
        "result tensor.";
    b.both(
        e.name,
        [rule](const Operand& input, const Operand& other, const MaybeTensor& out) {
          return binary(*rule, input, other, kNoParams, pointer(out));
        },
        py::arg("input"), py::arg(second), py::kw_only(), py::arg("out") = py::none(), doc.c_str());
    if (!e.in_place) continue;
    b.method((std::string(e.name) + "_").c_str(),
             [rule](Tensor self, const Operand& other) { return binary_(*rule, self, other); },
             py::arg(second), (std::string("In-place ") + e.name + ".").c_str());
  }
}

const BinaryRule& division_rule(const std::optional<std::string>& mode) {
  if (!mode) return kDiv;
  if (*mode == "trunc") return kTruncDivide;
  TERCEL_CHECK(*mode == "floor", Value,
               "div: rounding_mode must be None, 'trunc' or 'floor', got '", *mode, "'");
  return kFloorMode;
}

void bind_arithmetic(Binder& b) {
  const auto add_fn = [](const Operand& x, const Operand& y, const Scalar& alpha,
                         const MaybeTensor& out) {
    return add_scaled(kAdd, 1, x, y, alpha, pointer(out));
  };
  const auto sub_fn = [](const Operand& x, const Operand& y, const Scalar& alpha,
                         const MaybeTensor& out) {
    return add_scaled(kSub, -1, x, y, alpha, pointer(out));
  };
  const auto add_in = [](Tensor self, const Operand& y, const Scalar& alpha) {
    return add_scaled_(kAdd, 1, self, y, alpha);
  };
  const auto sub_in = [](Tensor self, const Operand& y, const Scalar& alpha) {
    return add_scaled_(kSub, -1, self, y, alpha);
  };
  b.both("add", add_fn, py::arg("input"), py::arg("other"), py::kw_only(), py::arg("alpha") = 1,
         py::arg("out") = py::none(),
         "input + alpha * other, with broadcasting and type promotion.");
  for (const char* name : {"sub", "subtract"}) {
    b.both(name, sub_fn, py::arg("input"), py::arg("other"), py::kw_only(), py::arg("alpha") = 1,
           py::arg("out") = py::none(),
           "input - alpha * other, with broadcasting and type promotion.");
  }
  b.method("add_", add_in, py::arg("other"), py::kw_only(), py::arg("alpha") = 1, "In-place add.");
  for (const char* name : {"sub_", "subtract_"}) {
    b.method(name, sub_in, py::arg("other"), py::kw_only(), py::arg("alpha") = 1, "In-place sub.");
  }
  b.both(
      "rsub",
      [](const Tensor& x, const Operand& y, const Scalar& alpha) { return rsub(x, y, alpha); },
      py::arg("input"), py::arg("other"), py::kw_only(), py::arg("alpha") = 1,
      "other - alpha * input.");
  const auto div_fn = [](const Operand& x, const Operand& y, const std::optional<std::string>& mode,
                         const MaybeTensor& out) {
    return binary(division_rule(mode), x, y, kNoParams, pointer(out));
  };
  for (const char* name : {"div", "divide"}) {
    b.both(name, div_fn, py::arg("input"), py::arg("other"), py::kw_only(),
           py::arg("rounding_mode") = py::none(), py::arg("out") = py::none(),
           "input / other. rounding_mode None: true division; 'trunc': towards zero; 'floor': "
           "downwards.");
  }
  for (const char* name : {"div_", "divide_"}) {
    b.method(
        name,
        [](Tensor self, const Operand& y, const std::optional<std::string>& mode) {
          return binary_(division_rule(mode), self, y);
        },
        py::arg("other"), py::kw_only(), py::arg("rounding_mode") = py::none(), "In-place div.");
  }
  b.both(
      "pow",
      [](const Operand& x, const Operand& e, const MaybeTensor& out) {
        if (!pointer(out)) return pow(x.tensor, e.tensor);
        check_integer_power(x, e);
        return binary(kPow, x, e, kNoParams, pointer(out));
      },
      py::arg("input"), py::arg("exponent"), py::kw_only(), py::arg("out") = py::none(),
      "input ** exponent, 1 ulp in float32. Integers to a negative integer number raise "
      "RuntimeError.");
  b.method(
      "pow_", [](Tensor self, const Operand& e) { return pow_(self, e); }, py::arg("exponent"),
      "In-place pow.");
  both_out(
      b, "float_power", [](const Operand& x, const Operand& e) { return float_power(x, e); },
      py::arg("input"), py::arg("exponent"), "input ** exponent computed in float64.");
  b.both(
      "isclose",
      [](const Tensor& x, const Tensor& y, double rtol, double atol, bool nan) {
        return isclose(x, y, rtol, atol, nan);
      },
      py::arg("input"), py::arg("other"), py::arg("rtol") = 1e-5, py::arg("atol") = 1e-8,
      py::arg("equal_nan") = false, "|input - other| <= atol + rtol |other|, elementwise.");
  b.both(
      "allclose",
      [](const Tensor& x, const Tensor& y, double rtol, double atol, bool nan) {
        return allclose(x, y, rtol, atol, nan);
      },
      py::arg("input"), py::arg("other"), py::arg("rtol") = 1e-5, py::arg("atol") = 1e-8,
      py::arg("equal_nan") = false, "True if isclose holds everywhere.");
  b.both(
      "equal", [](const Tensor& x, const Tensor& y) { return equal(x, y); }, py::arg("input"),
      py::arg("other"), "True if both have the same shape and elements.");
}

void bind_parameterised(Binder& b) {
  both_out(
      b, "logit", [](const Tensor& x, std::optional<double> eps) { return logit(x, eps); },
      py::arg("input"), py::arg("eps") = py::none(),
      "log(x / (1 - x)); with eps, x is clamped to [eps, 1 - eps] first.");
  both_out(
      b, "round", [](const Tensor& x, int64_t decimals) { return round(x, decimals); },
      py::arg("input"), py::kw_only(), py::arg("decimals") = 0,
      "Nearest integer, ties to even; or that many decimals.");
  both_out(
      b, "deg2rad", [](const Tensor& x) { return deg2rad(x); }, py::arg("input"), "x pi / 180.");
  both_out(
      b, "rad2deg", [](const Tensor& x) { return rad2deg(x); }, py::arg("input"), "x 180 / pi.");
  both_out(b, "nan_to_num", &nan_to_num, py::arg("input"), py::arg("nan") = py::none(),
           py::arg("posinf") = py::none(), py::arg("neginf") = py::none(),
           "NaN becomes nan (0), infinities posinf / neginf (the largest finite numbers).");
  function_out(
      b, "polygamma", [](int64_t n, const Tensor& x) { return polygamma(n, x); }, py::arg("n"),
      py::arg("input"), "n-th derivative of digamma, 0 <= n <= 150.");
  b.method(
      "polygamma", [](const Tensor& x, int64_t n) { return polygamma(n, x); }, py::arg("n"),
      "n-th derivative of digamma, 0 <= n <= 150.");

  // In-place forms of ops whose argument is not a tensor.
  b.method(
      "round_",
      [](Tensor self, int64_t decimals) {
        return decimals == 0 ? unary_(kRound, self) : copy_(self, round(self, decimals));
      },
      py::kw_only(), py::arg("decimals") = 0, "In-place round.");
  b.method(
      "logit_",
      [](Tensor self, std::optional<double> eps) {
        return write_float(self, logit(kept(self), eps), "logit_");
      },
      py::arg("eps") = py::none(), "In-place logit.");
  b.method(
      "deg2rad_", [](Tensor self) { return write_float(self, deg2rad(self), "deg2rad_"); },
      "In place.");
  b.method(
      "rad2deg_", [](Tensor self) { return write_float(self, rad2deg(self), "rad2deg_"); },
      "In place.");
  b.method(
      "float_power_",
      [](Tensor self, const Operand& e) { return copy_(self, float_power(kept(self), e)); },
      py::arg("exponent"), "In-place float_power of a float64 tensor.");
  b.method(
      "nan_to_num_",
      [](Tensor self, std::optional<double> nan, std::optional<double> posinf,
         std::optional<double> neginf) {
        return copy_(self, nan_to_num(kept(self), nan, posinf, neginf));
      },
      py::arg("nan") = py::none(), py::arg("posinf") = py::none(), py::arg("neginf") = py::none(),
      "In-place nan_to_num.");
  b.both(
      "positive", [](const Tensor& x) { return positive(x); }, py::arg("input"), "input itself.");
}

void bind_ternary(Binder& b) {
  b.function(
      "where",
      [](const Tensor& c, const Operand& x, const Operand& y, const MaybeTensor& out) {
        return where_out(c, x, y, pointer(out));
      },
      py::arg("condition"), py::arg("input"), py::arg("other"), py::kw_only(),
      py::arg("out") = py::none(),
      "input where condition (bool) is true, other elsewhere; all three broadcast.");
  b.function(
      "where", &nonzero_tuple, py::arg("condition"),
      "where(condition): the coordinates of its nonzero elements, one tensor per dimension.");
  b.method(
      "where",
      [](const Tensor& self, const Tensor& c, const Operand& y) { return where(c, self, y); },
      py::arg("condition"), py::arg("other"), "self where condition is true, other elsewhere.");
  const auto clamp_fn = [](const Tensor& x, const MaybeOperand& lo, const MaybeOperand& hi,
                           const MaybeTensor& out) {
    return clamp_out(x, tensor_or_none(lo), tensor_or_none(hi), pointer(out));
  };
  const auto clamp_in = [](Tensor self, const MaybeOperand& lo, const MaybeOperand& hi) {
    return clamp_(self, tensor_or_none(lo), tensor_or_none(hi));
  };
  for (const char* name : {"clamp", "clip"}) {
    b.both(name, clamp_fn, py::arg("input"), py::arg("min") = py::none(),
           py::arg("max") = py::none(), py::kw_only(), py::arg("out") = py::none(),
           "Limits input to [min, max]; bounds are numbers or tensors, at least one is needed. NaN "
           "stays NaN.");
    b.method((std::string(name) + "_").c_str(), clamp_in, py::arg("min") = py::none(),
             py::arg("max") = py::none(), "In-place clamp.");
  }
  const auto bound = [&](const char* name, const BinaryRule* rule, const char* arg,
                         const char* doc) {
    b.both(
        name,
        [rule](const Tensor& x, const Operand& v, const MaybeTensor& out) {
          check_bounds(rule->name, x, &v.tensor, nullptr);
          return binary(*rule, x, v, kNoParams, pointer(out));
        },
        py::arg("input"), py::arg(arg), py::kw_only(), py::arg("out") = py::none(), doc);
    b.method((std::string(name) + "_").c_str(),
             [rule](Tensor self, const Operand& v) {
               check_bounds(rule->name, self, &v.tensor, nullptr);
               return binary_(*rule, self, v);
             },
             py::arg(arg), "In place.");
  };
  bound("clamp_min", &kClampMin, "min", "Larger of input and min.");
  bound("clamp_max", &kClampMax, "max", "Smaller of input and max.");
  b.both(
      "lerp",
      [](const Tensor& x, const Tensor& end, const Operand& weight, const MaybeTensor& out) {
        return lerp_out(x, end, weight, pointer(out));
      },
      py::arg("input"), py::arg("end"), py::arg("weight"), py::kw_only(),
      py::arg("out") = py::none(), "input + weight * (end - input); exact at weight 0 and 1.");
  b.method(
      "lerp_",
      [](Tensor self, const Tensor& end, const Operand& weight) {
        return lerp_(self, end, weight);
      },
      py::arg("end"), py::arg("weight"), "In-place lerp.");
  b.both(
      "addcmul",
      [](const Tensor& x, const Tensor& t1, const Tensor& t2, const Scalar& value,
         const MaybeTensor& out) { return addcmul_out(x, t1, t2, value, pointer(out)); },
      py::arg("input"), py::arg("tensor1"), py::arg("tensor2"), py::kw_only(), py::arg("value") = 1,
      py::arg("out") = py::none(), "input + value * tensor1 * tensor2.");
  b.method(
      "addcmul_",
      [](Tensor self, const Tensor& t1, const Tensor& t2, const Scalar& v) {
        return addcmul_(self, t1, t2, v);
      },
      py::arg("tensor1"), py::arg("tensor2"), py::kw_only(), py::arg("value") = 1,
      "In-place addcmul.");
  b.both(
      "addcdiv",
      [](const Tensor& x, const Tensor& t1, const Tensor& t2, const Scalar& value,
         const MaybeTensor& out) { return addcdiv_out(x, t1, t2, value, pointer(out)); },
      py::arg("input"), py::arg("tensor1"), py::arg("tensor2"), py::kw_only(), py::arg("value") = 1,
      py::arg("out") = py::none(), "input + value * tensor1 / tensor2.");
  b.method(
      "addcdiv_",
      [](Tensor self, const Tensor& t1, const Tensor& t2, const Scalar& v) {
        return addcdiv_(self, t1, t2, v);
      },
      py::arg("tensor1"), py::arg("tensor2"), py::kw_only(), py::arg("value") = 1,
      "In-place addcdiv.");
}

}  // namespace

void bind_elementwise(Binder& b) {
  bind_unary(b);
  bind_binary(b);
  bind_arithmetic(b);
  bind_parameterised(b);
  bind_ternary(b);
}

}  // namespace tercel
