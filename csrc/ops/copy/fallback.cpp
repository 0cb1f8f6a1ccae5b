// Scalar stand-ins for kernels that other families provide; this file goes when they land.
#include <cmath>

#include "core/autograd.h"
#include "ops/copy/copy.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

double load(DType t, const void* p) {
  double v = 0;
  visit<TERCEL_FLOATS, TERCEL_FP8, TERCEL_INTS, bool>(t, "copy", [&]<class T>() {
    if constexpr (std::is_arithmetic_v<T>) v = static_cast<double>(*static_cast<const T*>(p));
    else v = static_cast<float>(*static_cast<const T*>(p));
  });
  return v;
}
void store(DType t, void* p, double v) {
  visit<TERCEL_FLOATS, TERCEL_FP8, TERCEL_INTS, bool>(t, "copy", [&]<class T>() {
    if constexpr (std::is_same_v<T, bool>) *static_cast<T*>(p) = v != 0;
    else if constexpr (std::is_integral_v<T>) *static_cast<T*>(p) = static_cast<T>(static_cast<int64_t>(v));
    else if constexpr (std::is_same_v<T, double>) *static_cast<T*>(p) = v;
    else *static_cast<T*>(p) = T(static_cast<float>(v));
  });
}
template <class F>
void each(const Tensor& out, std::initializer_list<const Tensor*> ins, F&& f) {
  Strides st[3];
  int k = 0;
  for (const Tensor* t : ins) st[k++] = broadcast_strides(t->shape(), t->strides(), out.shape());
  int64_t index[kMaxDims] = {};
  for (int64_t i = 0; i < out.numel(); ++i) {
    int64_t o = 0, in[3] = {};
    for (int d = 0; d < out.dim(); ++d) {
      o += index[d] * out.stride(d);
      for (int j = 0; j < k; ++j) in[j] += index[d] * st[j][d];
    }
    f(static_cast<char*>(out.data()) + o * out.itemsize(), in);
    for (int d = out.dim() - 1; d >= 0; --d) {
      if (++index[d] < out.size(d)) break;
      index[d] = 0;
    }
  }
}

}  // namespace

struct AddFallbackNode final : Node {
  Shape a, b;
  const char* name() const override { return "AddBackward"; }
  TensorList backward(const TensorList& g) override { return {sum_to(g[0], a), sum_to(g[0], b)}; }
};
[[gnu::weak]] Tensor add(const Tensor& a, const Tensor& b) {
  Tensor y = empty(broadcast_shapes(a.shape(), b.shape(), "add"), result_type({&a, &b}));
  each(y, {&a, &b}, [&](void* o, const int64_t* in) {
    store(y.dtype(), o, load(a.dtype(), static_cast<char*>(a.data()) + in[0] * a.itemsize()) +
                            load(b.dtype(), static_cast<char*>(b.data()) + in[1] * b.itemsize()));
  });
  if (grad_needed(a, b)) {
    auto node = make_node<AddFallbackNode>({&a, &b});
    node->a = a.shape();
    node->b = b.shape();
    set_history(y, node);
  }
  return y;
}
[[gnu::weak]] void accumulate_(const Tensor& into, const Tensor& value) {
  GradMode off(false);
  strided_copy(into, add(into, value));
  into.storage()->bump_version("accumulate_");
}
[[gnu::weak]] bool has_nan(const Tensor& t) {
  bool found = false;
  each(t, {}, [&](void* o, const int64_t*) { found |= std::isnan(load(t.dtype(), o)); });
  return found;
}

}  // namespace tercel
#include "python/ops_pending.h"
namespace tercel {
#define F2(n) [[gnu::weak]] Tensor n(const Tensor&, const Tensor&) { fail(ErrorKind::NotImplemented, #n ": pending"); }
#define F2I(n) [[gnu::weak]] Tensor& n(Tensor&, const Tensor&) { fail(ErrorKind::NotImplemented, #n ": pending"); }
#define F1(n) [[gnu::weak]] Tensor n(const Tensor&) { fail(ErrorKind::NotImplemented, #n ": pending"); }
F2(sub) F2(mul) F2(div) F2(floor_divide) F2(remainder) F2(pow) F2(bitwise_and) F2(bitwise_or) F2(bitwise_xor) F2(matmul)
F2(bitwise_left_shift) F2(bitwise_right_shift) F2(eq) F2(ne) F2(lt) F2(le) F2(gt) F2(ge)
F2I(add_) F2I(sub_) F2I(mul_) F2I(div_) F2I(floor_divide_) F2I(remainder_) F2I(pow_) F2I(bitwise_and_) F2I(bitwise_or_) F2I(bitwise_xor_)
F1(neg) F1(abs) F1(bitwise_not)
}  // namespace tercel
