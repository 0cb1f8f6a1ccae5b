// The generic part of elementwise ops: dtypes, outputs, fast path, history.
#include <cctype>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/elementwise/engine.h"
#include "ops/elementwise/kernels.h"
#include "ops/elementwise/rules.h"
#include "ops/reduce/reduce.h"

namespace tercel {

const ParamList kNoParams = {};

namespace {

constexpr int64_t kInlineNumel =
    2048;                             // at most this many elements are computed without the engine
constexpr int64_t kInlineFill = 256;  // a number is expanded on the stack up to this size

[[noreturn, gnu::cold, gnu::noinline]] void fail_domain(const char* name, Domain domain,
                                                        DType got) {
  if (domain == Domain::strict) fail_dtype(name, got, kFloatMask);
  if (domain == Domain::integer) fail_dtype(name, got, kIntMask | dtype_bit(DType::b8));
  fail_dtype(name, got, kFloatMask | kIntMask);
}

// Dtype of the result before Result::boolean is applied.
DType result_dtype(const char* name, Domain domain, DType t) {
  switch (domain) {
    case Domain::floats:
      return is_float(t) ? t : default_dtype();
    case Domain::strict:
      if (!is_float(t)) fail_domain(name, domain, t);
      return t;
    case Domain::numeric:
      if (is_bool(t)) fail_domain(name, domain, t);
      return t;
    case Domain::integer:
      if (is_float(t)) fail_domain(name, domain, t);
      return t;
    case Domain::any:
      break;
  }
  return t;
}

ElementwiseCall make_call(const Op& op, Work work, Result result, const double* params) {
  const DType t = work_dtype(work);
  return {op.fn[static_cast<int>(work)],
          params,
          op.cost,
          result == Result::boolean ? DType::b8 : t,
          {t, t, t, t},
          &op};
}
// "mul" -> "MulBackward"; asked for by people and debuggers only.
const char* node_name(const char* rule_name) {
  static std::mutex mutex;
  static std::map<std::string, std::string> names;
  const std::lock_guard<std::mutex> lock(mutex);
  std::string& text = names[rule_name];
  if (text.empty()) {
    bool upper = true;
    for (const char* c = rule_name; *c; ++c) {
      if (*c != '_') text += upper ? static_cast<char>(std::toupper(*c)) : *c;
      upper = *c == '_';
    }
    text += "Backward";
  }
  return text.c_str();
}

struct UnaryNode final : Node {
  const UnaryRule* rule;
  Saved saved;
  ParamList params;
  DType dtype;
  const char* name() const override { return node_name(rule->name); }
  TensorList backward(const TensorList& g) override {
    const Tensor kept = rule->keep == UnaryRule::nothing ? Tensor() : saved.get(*this);
    const Tensor none;
    const bool input = rule->keep == UnaryRule::input;
    return {to(rule->grad({g[0], input ? kept : none, input ? none : kept, params}), dtype)};
  }
  void release_saved() override { saved.reset(); }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    if (!saved.defined()) return {};
    return {{rule->keep == UnaryRule::input ? "input" : "result", saved.peek()}};
  }
};

struct BinaryNode final : Node {
  const BinaryRule* rule;
  Saved a, b, y;
  Shape shape_a, shape_b;
  DType dtype_a, dtype_b;
  ParamList params;
  const char* name() const override { return node_name(rule->name); }
  TensorList backward(const TensorList& g) override {
    TensorList out(2);
    const Tensor ta = a.defined() ? a.get(*this) : Tensor(),
                 tb = b.defined() ? b.get(*this) : Tensor();
    const Tensor ty = y.defined() ? y.get(*this) : Tensor();
    const BinaryGrad d{g[0], ta, tb, ty, params};
    if (needs(0) && rule->grad_a) out[0] = to(sum_to(rule->grad_a(d), shape_a), dtype_a);
    if (needs(1) && rule->grad_b) out[1] = to(sum_to(rule->grad_b(d), shape_b), dtype_b);
    return out;
  }
  void release_saved() override {
    a.reset();
    b.reset();
    y.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    std::vector<std::pair<const char*, Tensor>> list;
    if (a.defined()) list.push_back({"self", a.peek()});
    if (b.defined()) list.push_back({"other", b.peek()});
    if (y.defined()) list.push_back({"result", y.peek()});
    return list;
  }
};

Ref<UnaryNode> make_unary_node(const UnaryRule& rule, const Tensor& x, const double* params) {
  auto node = make_node<UnaryNode>({&x});
  node->rule = &rule;
  node->dtype = x.dtype();
  std::memcpy(node->params, params, sizeof(ParamList));
  return node;
}
Ref<BinaryNode> make_binary_node(const BinaryRule& rule, const Tensor& a, const Tensor& b,
                                 const double* params) {
  auto node = make_node<BinaryNode>({&a, &b});
  node->rule = &rule;
  node->shape_a = a.shape();
  node->shape_b = b.shape();
  node->dtype_a = a.dtype();
  node->dtype_b = b.dtype();
  std::memcpy(node->params, params, sizeof(ParamList));
  return node;
}
uint8_t keep_bits(const BinaryRule& rule, const Node& node) {
  return static_cast<uint8_t>((node.needs(0) ? rule.keep_for_a : 0) |
                              (node.needs(1) ? rule.keep_for_b : 0));
}

void check_no_grad_out(const char* name, const Tensor* out, bool needed) {
  TERCEL_CHECK(!out || (!needed && !(grad_enabled() && out->requires_grad())), Runtime, name,
               ": out= does not support automatic differentiation, but an argument requires grad");
}

void check_divisor(const BinaryRule& rule, const Tensor& b) {
  TERCEL_CHECK(!any_zero(b), Runtime, rule.name, ": ZeroDivisionError: integer division by zero");
}

// Comparisons of small integers with a number beyond int32 are made in int64, where it is itself.
DType compared_dtype(const BinaryRule& rule, DType compute, const Tensor& a, const Tensor& b) {
  if (rule.result != Result::boolean || !is_int(compute) || compute == DType::i64) return compute;
  for (const Tensor* t : {&a, &b}) {
    if (t->dtype() != DType::i64 || t->dim() != 0 || !t->device().is_cpu()) continue;
    const int64_t n = *t->data_as<int64_t>();
    if (n != static_cast<int32_t>(n)) return DType::i64;
  }
  return compute;
}

// Same-shape contiguous tensors of a work dtype, or such a tensor and a number: no geometry needed.
bool run_inline(const ElementwiseCall& call, const Tensor& y, const Tensor& a, const Tensor& b,
                DType work) {
  const int64_t n = y.numel();
  if (!y.device().is_cpu()) [[unlikely]]
    return false;
  if (n > kInlineNumel || a.dtype() != work || !a.is_contiguous() || a.numel() != n ||
      !y.is_contiguous())
    return false;
  const void* in[2] = {a.data(), b.data()};
  if (b.numel() == n && b.dtype() == work && b.is_contiguous()) {
    call.fn(call.params, y.data(), in, n);
    return true;
  }
  if (b.numel() != 1 || n > kInlineFill) return false;
  alignas(64) char filled[kInlineFill * 8];
  char value[8];
  const MoveKernels& move = move_kernels();
  move.convert[static_cast<int>(b.dtype())][static_cast<int>(work)](value, b.data(), 1);
  move.gather[log2_itemsize(work)](filled, value, 0, n);
  in[1] = filled;
  call.fn(call.params, y.data(), in, n);
  return true;
}

}  // namespace

void check_out(const char* op, const Tensor& out, const Shape& shape, DType result) {
  check_cast(op, result, out.dtype());
  fit_out(op, out, shape);
  TERCEL_CHECK(!has_internal_overlap(out), Runtime, op,
               ": elements of out share memory; clone it first");
  TERCEL_CHECK(!out.storage()->readonly(), Runtime, op, ": out is read-only");
}

Tensor empty_output(const Shape& shape, DType dtype, std::initializer_list<const Tensor*> inputs) {
  for (const Tensor* t : inputs) {
    if (t->shape() == shape) {
      if (t->is_contiguous()) break;
      bool alike = true;
      for (const Tensor* u : inputs) alike &= u->shape() != shape || u->strides() == t->strides();
      if (alike && t->device() == common_device(inputs)) return empty_like(*t, dtype);
      break;
    }
  }
  return empty(shape, dtype, common_device(inputs));
}

bool any_zero(const Tensor& t) {
  if (!t.device().is_cpu()) return item(any(eq(t, Scalar(0)))).to_int() != 0;
  const Op& op = unary_kernels().logical_not;
  Tensor flags = empty(t.shape(), DType::b8);
  const ElementwiseCall call = make_call(op, work_of(op, t.dtype()), Result::boolean, kNoParams);
  run_elementwise(call, flags, {&t});
  return flags.numel() > 0 &&
         std::memchr(flags.data(), 1, static_cast<size_t>(flags.numel())) != nullptr;
}

Tensor apply_unary(const Op& op, const Tensor& x, const double* params) {
  Tensor y = empty_like(x);
  run_elementwise(make_call(op, work_of(x.dtype()), Result::same, params), y, {&x});
  return y;
}
Tensor apply_binary(const Op& op, const Tensor& g, const Tensor& x, const double* params) {
  Tensor y = empty_output(x.shape(), g.dtype(), {&x, &g});
  run_elementwise(make_call(op, work_of(g.dtype()), Result::same, params), y, {&g, &x});
  return y;
}

Tensor unary(const UnaryRule& rule, const Tensor& x, const double* params, const Tensor* out) {
  if (rule.for_bool && is_bool(x.dtype())) return unary(*rule.for_bool, x, params, out);
  const DType compute = result_dtype(rule.name, rule.domain, x.dtype());
  const DType result = rule.result == Result::boolean ? DType::b8 : compute;
  const bool needs_grad = rule.grad && grad_needed(x);
  Tensor y;
  if (out) {
    check_no_grad_out(rule.name, out, needs_grad);
    check_out(rule.name, *out, x.shape(), result);
    y = *out;
    if (partially_overlaps(y, x)) return copy_(y, unary(rule, x, params));
  } else {
    y = empty_like(x, result);
  }
  const ElementwiseCall call =
      make_call(rule.op(), work_of(rule.op(), compute), rule.result, params);
  if (x.dtype() == call.in_work[0] && y.dtype() == call.out_work && x.numel() <= kInlineNumel &&
      x.is_contiguous() && y.is_contiguous() && x.device().is_cpu()) {
    const void* in[] = {x.data()};
    call.fn(params, y.data(), in, x.numel());
  } else {
    run_elementwise(call, y, {&x});
  }
  if (out) y.storage()->bump_version(rule.name);
  if (needs_grad) {
    auto node = make_unary_node(rule, x, params);
    if (rule.keep == UnaryRule::input) node->saved.save(x);
    set_history(y, node);
    if (rule.keep == UnaryRule::output) node->saved.save_output(y, 0);
  }
  return y;
}

Tensor& unary_(const UnaryRule& rule, Tensor& x, const double* params) {
  if (rule.for_bool && is_bool(x.dtype())) return unary_(*rule.for_bool, x, params);
  check_inplace(x, rule.name);
  const DType compute = result_dtype(rule.name, rule.domain, x.dtype());
  check_cast(rule.name, rule.result == Result::boolean ? DType::b8 : compute, x.dtype());
  Ref<UnaryNode> node;
  if (rule.grad && grad_needed(x)) {
    node = make_unary_node(rule, x, params);
    // The copy is recorded: second derivatives run through it.
    if (rule.keep == UnaryRule::input) node->saved.save(clone(x));
  }
  run_elementwise(make_call(rule.op(), work_of(rule.op(), compute), rule.result, params), x, {&x});
  finish_inplace(x, node, rule.name);
  if (node && rule.keep == UnaryRule::output) node->saved.save_output(x, 0);
  return x;
}

Tensor binary(const BinaryRule& rule, const Tensor& a, const Tensor& b, const double* params,
              const Tensor* out) {
  const bool same_dtype = a.dtype() == b.dtype();
  const DType promoted = same_dtype ? a.dtype() : result_type({&a, &b});
  const DType compute = compared_dtype(rule, result_dtype(rule.name, rule.domain, promoted), a, b);
  const DType result = rule.result == Result::boolean ? DType::b8 : compute;
  if (rule.refuses_zero_divisor && !is_float(compute)) check_divisor(rule, b);
  const bool needs_grad = (rule.grad_a || rule.grad_b) && is_float(result) && grad_needed(a, b);
  const ElementwiseCall call =
      make_call(rule.op(), work_of(rule.op(), compute), rule.result, params);
  Tensor y;
  if (out) {
    check_no_grad_out(rule.name, out, needs_grad);
    check_out(rule.name, *out, broadcast_shapes(a.shape(), b.shape(), rule.name), result);
    y = *out;
    if (partially_overlaps(y, a) || partially_overlaps(y, b))
      return copy_(y, binary(rule, a, b, params));
    run_elementwise(call, y, {&a, &b});
    y.storage()->bump_version(rule.name);
    return y;
  }
  if (a.shape() == b.shape()) {
    y = a.is_contiguous() && a.device() == b.device() ? empty(a.shape(), result, a.device())
                                                      : empty_output(a.shape(), result, {&a, &b});
  } else {
    y = empty_output(broadcast_shapes(a.shape(), b.shape(), rule.name), result, {&a, &b});
  }
  if (call.out_work != y.dtype() || !run_inline(call, y, a, b, call.in_work[0]))
    run_elementwise(call, y, {&a, &b});
  if (needs_grad) {
    auto node = make_binary_node(rule, a, b, params);
    const uint8_t keep = keep_bits(rule, *node);
    if (keep & kKeepA) node->a.save(a);
    if (keep & kKeepB) node->b.save(b);
    set_history(y, node);
    if (keep & kKeepY) node->y.save_output(y, 0);
  }
  return y;
}

Tensor& binary_(const BinaryRule& rule, Tensor& a, const Tensor& b, const double* params) {
  check_inplace(a, rule.name);
  const DType promoted = a.dtype() == b.dtype() ? a.dtype() : result_type({&a, &b});
  const DType compute = compared_dtype(rule, result_dtype(rule.name, rule.domain, promoted), a, b);
  check_cast(rule.name, rule.result == Result::boolean ? DType::b8 : compute, a.dtype());
  TERCEL_CHECK(
      a.shape() == b.shape() || broadcast_shapes(a.shape(), b.shape(), rule.name) == a.shape(),
      Shape, rule.name, "_: other of shape ", b.shape(), " cannot be broadcast to ", a.shape(),
      " in place");
  if (rule.refuses_zero_divisor && !is_float(compute)) check_divisor(rule, b);
  Ref<BinaryNode> node;
  if ((rule.grad_a || rule.grad_b) && is_float(compute) && grad_needed(a, b)) {
    node = make_binary_node(rule, a, b, params);
    const uint8_t keep = keep_bits(rule, *node);
    if (keep & kKeepA) node->a.save(clone(a));
    if (keep & kKeepB) node->b.save(b.is_same(a) ? clone(b) : b);
  }
  const Tensor other = partially_overlaps(a, b) ? clone_contiguous(b.detach()) : b;
  const ElementwiseCall call =
      make_call(rule.op(), work_of(rule.op(), compute), rule.result, params);
  if (a.dtype() != call.out_work || !run_inline(call, a, a, other, call.in_work[0])) {
    run_elementwise(call, a, {&a, &other});
  }
  finish_inplace(a, node, rule.name);
  if (node && (keep_bits(rule, *node) & kKeepY)) node->y.save_output(a, 0);
  return a;
}

}  // namespace tercel
