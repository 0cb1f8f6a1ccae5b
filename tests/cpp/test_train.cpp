// A small model trained from C++ alone, and a long chain of nodes.
#include "check.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/reduce/reduce.h"

namespace tercel {
namespace {

Tensor values(const Shape& shape, uint32_t seed) {
  const Tensor t = empty(shape, DType::f32);
  for (int64_t i = 0; i < t.numel(); ++i) {
    seed = seed * 1664525u + 1013904223u;
    t.data_as<float>()[i] = static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-31f;
  }
  return t;
}

}  // namespace

TEST(gradient_descent_fits_a_line) {
  const Tensor x = values({64, 3}, 1), true_w = values({3, 1}, 2);
  const Tensor y = add(matmul(x, true_w), full({1}, 0.5, DType::f32));
  Tensor w = zeros({3, 1}, DType::f32), b = zeros({1}, DType::f32);
  w.set_requires_grad(true);
  b.set_requires_grad(true);
  double last = 1;
  for (int step = 0; step < 500; ++step) {
    const Tensor error = sub(add(matmul(x, w), b), y);
    const Tensor loss = mul(sum(mul(error, error)), full({}, 1.0 / 64, DType::f32));
    loss.backward();
    GradMode off(false);
    for (Tensor* p : {&w, &b}) {
      add_(*p, mul(p->grad(), full({}, -0.3, DType::f32)));
      p->set_grad({});
    }
    last = item(loss).to_double();
  }
  CHECK_NEAR(last, 0.0, 1e-8);
  CHECK_NEAR(item(sub(b, full({1}, 0.5, DType::f32))).to_double(), 0.0, 1e-3);
}

TEST(a_chain_of_200000_nodes_is_built_run_and_freed) {
  Tensor x = full({1}, 1.0, DType::f32);
  x.set_requires_grad(true);
  const Tensor one = full({1}, 1.0, DType::f32);
  Tensor y = x;
  for (int i = 0; i < 200'000; ++i) y = mul(y, one);
  y.backward(full({1}, 2.0, DType::f32));
  CHECK_NEAR(item(x.grad()).to_double(), 2.0, 0.0);
  Tensor z = x;
  for (int i = 0; i < 200'000; ++i) z = mul(z, one);  // freed without having been run
}

}  // namespace tercel
