// frexp by the bits of a float: the exponent field, less the bias, and the number with that field
// set to the one of [1/2, 1). Subnormal numbers are scaled into the normal range first.
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/numeric/numeric.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

struct FrexpNode final : Node {
  Saved exponent;
  const char* name() const override { return "FrexpBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(1);
    if (!g[0].defined()) return out;
    // Two steps: 2^-exponent of a subnormal number alone would overflow.
    const Tensor e = neg(to(exponent.get(*this), g[0].dtype()));
    const Tensor half = floor(mul(e, 0.5));
    out[0] = ldexp(ldexp(g[0], half), sub(e, half));
    return out;
  }
  void release_saved() override { exponent.reset(); }
};

std::pair<Tensor, Tensor> by_bits(const Tensor& x) {
  const bool wide = x.dtype() == DType::f64;
  const DType integer = wide ? DType::i64 : DType::i32;
  const int64_t digits = wide ? 52 : 23, mask = wide ? 0x7ff : 0xff, half = wide ? 1022 : 126;
  const auto number = [&](int64_t v) { return full({}, Scalar(v), integer, x.device()); };
  const auto field = [&](const Tensor& bits) {
    return bitwise_and(bitwise_right_shift(bits, number(digits)), number(mask));
  };
  const Tensor none = number(0);
  const Tensor subnormal = eq(field(view_dtype(x, integer)), none);
  const int64_t lift = digits + 1;
  const Tensor factor = full({}, Scalar(wide ? 0x1p53 : 0x1p24), x.dtype(), x.device());
  const Tensor bits = view_dtype(where(subnormal, mul(x, factor), x), integer);
  const Tensor at = field(bits);
  // Zero, infinity and NaN are their own mantissa.
  const Tensor plain = logical_or(eq(at, none), eq(at, number(mask)));
  const Tensor e = sub(sub(at, number(half)), where(subnormal, number(lift), none));
  const Tensor kept = bitwise_and(bits, number(~(mask << digits)));
  const Tensor mantissa = view_dtype(bitwise_or(kept, number(half << digits)), x.dtype());
  return {where(plain, x, mantissa), to(where(plain, none, e), DType::i32)};
}

}  // namespace

std::pair<Tensor, Tensor> frexp(const Tensor& x) {
  TERCEL_CHECK(is_float(x.dtype()), DType, "frexp: expected a float tensor, got ",
               dtype_name(x.dtype()));
  std::pair<Tensor, Tensor> result;
  {
    const GradMode off(false);
    const bool narrow = x.dtype() != DType::f64 && x.dtype() != DType::f32;
    const Tensor values = contiguous(narrow ? to(x.detach(), DType::f32) : x.detach());
    auto [mantissa, exponent] = by_bits(values);
    result = {to(mantissa, x.dtype()), exponent};
  }
  if (grad_needed(x)) {
    auto node = make_node<FrexpNode>({&x});
    node->exponent.save(result.second);
    set_history(result.first, node);
  }
  return result;
}

}  // namespace tercel
