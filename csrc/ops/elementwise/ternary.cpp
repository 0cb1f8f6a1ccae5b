// Three-operand ops: where, clamp, lerp, addcmul, addcdiv.
#include "ops/elementwise/ternary.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/binary_rules.h"
#include "ops/elementwise/elementwise.h"
#include "ops/elementwise/engine.h"
#include "ops/elementwise/kernels.h"

namespace tercel {
namespace {

// Node of an op y = f(a, b, c; params); `grad(node, g, k)` gives the gradient of operand k.
struct TernaryNode final : Node {
  const char* label;
  Tensor (*grad)(TernaryNode& node, const Tensor& g, int k);
  Saved saved[3];
  Shape shapes[3];
  DType dtypes[3];
  ParamList params = {};
  const char* name() const override { return label; }
  Tensor operand(int k) { return saved[k].get(*this); }
  TensorList backward(const TensorList& g) override {
    TensorList out(3);
    for (int k = 0; k < 3; ++k) {
      if (needs(static_cast<size_t>(k)))
        out[static_cast<size_t>(k)] = to(sum_to(grad(*this, g[0], k), shapes[k]), dtypes[k]);
    }
    return out;
  }
  void release_saved() override {
    for (Saved& s : saved) s.reset();
  }
};

Tensor where_grad(TernaryNode& n, const Tensor& g, int k) {  // operands: condition, a, b
  const Tensor zero = wrap_number(0.0);
  return k == 1 ? where(n.operand(0), g, zero) : where(n.operand(0), zero, g);
}
Tensor clamp_grad(TernaryNode& n, const Tensor& g, int k) {  // x, min, max
  const Tensor x = n.operand(0), lo = n.operand(1), hi = n.operand(2);
  Tensor mask;
  if (k == 0) mask = logical_and(ge(x, lo), le(x, hi));
  if (k == 1) mask = logical_and(lt(x, lo), lt(lo, hi));
  if (k == 2) mask = logical_or(gt(x, hi), gt(lo, hi));
  return mul(g, to(mask, g.dtype()));
}
Tensor lerp_grad(TernaryNode& n, const Tensor& g, int k) {  // start, end, weight
  if (k == 0) return mul(g, sub(1.0, n.operand(2)));
  if (k == 1) return mul(g, n.operand(2));
  return mul(g, sub(n.operand(1), n.operand(0)));
}
Tensor addcmul_grad(TernaryNode& n, const Tensor& g, int k) {  // x, a, b
  if (k == 0) return g;
  return mul(g, mul(n.operand(3 - k), n.params[0]));
}
Tensor addcdiv_grad(TernaryNode& n, const Tensor& g, int k) {
  if (k == 0) return g;
  const Tensor a = n.operand(1), b = n.operand(2);
  if (k == 1) return mul(g, div(wrap_number(n.params[0]), b));
  return neg(mul(g, div(mul(div(a, b), n.params[0]), b)));
}

Shape broadcast3(const Tensor& a, const Tensor& b, const Tensor& c, const char* op) {
  return broadcast_shapes(broadcast_shapes(a.shape(), b.shape(), op), c.shape(), op);
}

struct TernarySpec {
  const char* name;
  const char* node;
  const Op& op;
  Tensor (*grad)(TernaryNode&, const Tensor&, int);
  DType result;
  uint8_t keep;  // bit k: operand k is saved
};

Ref<TernaryNode> make_ternary_node(const TernarySpec& s, const Tensor* const* t,
                                   const double* params) {
  auto node = make_node<TernaryNode>({t[0], t[1], t[2]});
  node->label = s.node;
  node->grad = s.grad;
  for (int k = 0; k < 3; ++k) {
    node->shapes[k] = t[k]->shape();
    node->dtypes[k] = t[k]->dtype();
    node->params[k] = params[k];
  }
  return node;
}

// `target`: null for a new tensor, else out= or (in_place) the first operand.
Tensor ternary(const TernarySpec& s, const Tensor& a, const Tensor& b, const Tensor& c,
               const double* params, const Tensor* out, bool in_place = false) {
  const Tensor* operands[3] = {&a, &b, &c};
  const Shape shape = broadcast3(a, b, c, s.name);
  const bool needs_grad = grad_needed(a, b, c) && is_float(s.result);
  Tensor y;
  Ref<TernaryNode> node;
  if (needs_grad) {
    TERCEL_CHECK(!out || in_place, Runtime, s.name,
                 ": out= does not support automatic differentiation");
    node = make_ternary_node(s, operands, params);
    for (int k = 0; k < 3; ++k) {
      if (s.keep >> k & 1)
        node->saved[k].save(in_place && k == 0 ? clone(*operands[k]) : *operands[k]);
    }
  }
  if (out) {
    check_out(s.name, *out, shape, s.result);
    y = *out;
  } else {
    y = empty_output(shape, s.result, {&a, &b, &c});
  }
  Tensor copies[3];
  for (int k = 0; k < 3; ++k) {
    if (out && partially_overlaps(y, *operands[k])) {
      copies[k] = clone_contiguous(operands[k]->detach());
      operands[k] = &copies[k];
    }
  }
  const Work work = work_of(s.result);
  const DType t = work_dtype(work);
  const ElementwiseCall call{
      s.op.fn[static_cast<int>(work)], params, s.op.cost, t, {t, t, t, t}, &s.op};
  run_elementwise(call, y, operands, 3);
  if (in_place) {
    finish_inplace(y, node, s.name);
  } else if (out) {
    y.storage()->bump_version(s.name);
  } else if (node) {
    set_history(y, node);
  }
  return y;
}

DType float_result(const char* op, std::initializer_list<const Tensor*> tensors, bool integers) {
  const DType t = result_type(tensors);
  if (is_bool(t) || (!integers && !is_float(t)))
    fail_dtype(op, t, kFloatMask | (integers ? kIntMask : 0u));
  return t;
}

TernarySpec clamp_spec(const Tensor& x, const Tensor& lo, const Tensor& hi) {
  return {"clamp",
          "ClampBackward",
          ternary_kernels().clamp,
          clamp_grad,
          float_result("clamp", {&x, &lo, &hi}, true),
          7};
}
TernarySpec lerp_spec(const Tensor& a, const Tensor& b, const Tensor& w) {
  return {"lerp",
          "LerpBackward",
          ternary_kernels().lerp,
          lerp_grad,
          float_result("lerp", {&a, &b, &w}, false),
          7};
}
TernarySpec addcmul_spec(const Tensor& x, const Tensor& a, const Tensor& b) {
  return {"addcmul",
          "AddcmulBackward",
          ternary_kernels().addcmul,
          addcmul_grad,
          float_result("addcmul", {&x, &a, &b}, true),
          6};
}
TernarySpec addcdiv_spec(const Tensor& x, const Tensor& a, const Tensor& b) {
  const DType t = result_type({&x, &a, &b});
  TERCEL_CHECK(is_float(t), DType, "addcdiv: integer division is not supported, got dtype ",
               dtype_name(t));
  return {"addcdiv", "AddcdivBackward", ternary_kernels().addcdiv, addcdiv_grad, t, 6};
}
void check_inplace_cast(const TernarySpec& s, const Tensor& x) {
  check_inplace(x, s.name);
  check_cast(s.name, s.result, x.dtype());
}
struct ValueParam {
  ParamList p = {};
  ValueParam(const char* op, DType result, const Scalar& value) {
    TERCEL_CHECK(is_float(result) || !value.is_float(), Runtime, op,
                 ": value must be an integer for integer tensors");
    p[0] = scale_param(value, result);
  }
};

}  // namespace

Tensor where_out(const Tensor& condition, const Tensor& a, const Tensor& b, const Tensor* out) {
  TERCEL_CHECK(is_bool(condition.dtype()) || condition.dtype() == DType::u8, DType,
               "where: condition must be a bool tensor, got ", dtype_name(condition.dtype()));
  const DType t = result_type({&a, &b});
  check_fits(a, t, "where");
  check_fits(b, t, "where");
  const TernaryKernels& k = ternary_kernels();
  const Op* const by_size[] = {&k.where8, &k.where16, &k.where32, &k.where64};
  const Shape shape = broadcast3(condition, a, b, "where");
  const bool needs_grad = grad_needed(a, b) && is_float(t);
  TERCEL_CHECK(!out || !needs_grad, Runtime,
               "where: out= does not support automatic differentiation");
  Tensor y;
  if (out) {
    check_out("where", *out, shape, t);
    y = *out;
    if (partially_overlaps(y, a) || partially_overlaps(y, b) || partially_overlaps(y, condition)) {
      return copy_(y, where_out(condition, a, b, nullptr));
    }
  } else {
    y = empty_output(shape, t, {&a, &b, &condition});
  }
  const Op& op = *by_size[log2_itemsize(t)];
  const ElementwiseCall call{op.fn[0], kNoParams, op.cost, t, {DType::u8, t, t, t}, &op};
  run_elementwise(call, y, {&condition, &a, &b});
  if (out) y.storage()->bump_version("where");
  if (needs_grad) {
    const TernarySpec s{"where", "WhereBackward", op, where_grad, t, 1};
    const Tensor* operands[3] = {&condition, &a, &b};
    auto node = make_ternary_node(s, operands, kNoParams);
    node->saved[0].save(condition);
    set_history(y, node);
  }
  return y;
}
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  return where_out(condition, a, b, nullptr);
}

void check_bounds(const char* op, const Tensor& x, const Tensor* min, const Tensor* max) {
  TERCEL_CHECK(min || max, Runtime, op, ": at least one of min and max is needed");
  for (const Tensor* bound : {min, max}) {
    if (bound) check_fits(*bound, result_type({&x, bound}), op);
  }
}

Tensor clamp_out(const Tensor& x, const std::optional<Tensor>& min,
                 const std::optional<Tensor>& max, const Tensor* out) {
  const bool lo = min && min->defined(), hi = max && max->defined();
  check_bounds("clamp", x, lo ? &*min : nullptr, hi ? &*max : nullptr);
  if (!hi) return binary(kClampMin, x, *min, kNoParams, out);
  if (!lo) return binary(kClampMax, x, *max, kNoParams, out);
  return ternary(clamp_spec(x, *min, *max), x, *min, *max, kNoParams, out);
}
Tensor clamp(const Tensor& x, const std::optional<Tensor>& min, const std::optional<Tensor>& max) {
  return clamp_out(x, min, max, nullptr);
}
Tensor& clamp_(Tensor& x, const std::optional<Tensor>& min, const std::optional<Tensor>& max) {
  const bool lo = min && min->defined(), hi = max && max->defined();
  check_bounds("clamp_", x, lo ? &*min : nullptr, hi ? &*max : nullptr);
  if (!hi) return binary_(kClampMin, x, *min);
  if (!lo) return binary_(kClampMax, x, *max);
  const TernarySpec s = clamp_spec(x, *min, *max);
  check_inplace_cast(s, x);
  ternary(s, x, *min, *max, kNoParams, &x, true);
  return x;
}

Tensor lerp_out(const Tensor& a, const Tensor& b, const Tensor& w, const Tensor* out) {
  return ternary(lerp_spec(a, b, w), a, b, w, kNoParams, out);
}
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& w) {
  return lerp_out(a, b, w, nullptr);
}
Tensor& lerp_(Tensor& a, const Tensor& b, const Tensor& w) {
  const TernarySpec s = lerp_spec(a, b, w);
  check_inplace_cast(s, a);
  ternary(s, a, b, w, kNoParams, &a, true);
  return a;
}

Tensor addcmul_out(const Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value,
                   const Tensor* out) {
  const TernarySpec s = addcmul_spec(x, a, b);
  if (!scale_param_holds(value, s.result))
    return addcmul_out(x, mul(to(a, s.result), wrap_number(value)), b, Scalar(1), out);
  return ternary(s, x, a, b, ValueParam("addcmul", s.result, value).p, out);
}
Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value) {
  return addcmul_out(x, a, b, value, nullptr);
}
Tensor& addcmul_(Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value) {
  const TernarySpec s = addcmul_spec(x, a, b);
  check_inplace_cast(s, x);
  if (!scale_param_holds(value, s.result))
    return addcmul_(x, mul(to(a, s.result), wrap_number(value)), b, Scalar(1));
  ternary(s, x, a, b, ValueParam("addcmul", s.result, value).p, &x, true);
  return x;
}
Tensor addcdiv_out(const Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value,
                   const Tensor* out) {
  const TernarySpec s = addcdiv_spec(x, a, b);
  return ternary(s, x, a, b, ValueParam("addcdiv", s.result, value).p, out);
}
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value) {
  return addcdiv_out(x, a, b, value, nullptr);
}
Tensor& addcdiv_(Tensor& x, const Tensor& a, const Tensor& b, const Scalar& value) {
  const TernarySpec s = addcdiv_spec(x, a, b);
  check_inplace_cast(s, x);
  ternary(s, x, a, b, ValueParam("addcdiv", s.result, value).p, &x, true);
  return x;
}

}  // namespace tercel
