// tercel from C++ alone: fits y = x w + b by gradient descent.
//
//   cmake -S . -B build -G Ninja -DTERCEL_PYTHON=OFF -DTERCEL_TESTS=ON && ninja -C build
//   linear_regression build/tests/cpp/linear_regression
#include <cstdio>

#include "ops/ops.h"

int main() {
  using namespace tercel;
  const Tensor x = sin(reshape(arange(0.0, 192.0), {64, 3}));
  const Tensor true_w = cos(reshape(arange(0.0, 3.0), {3, 1}));
  const Tensor y = add(matmul(x, true_w), full({1}, 0.5, DType::f32));

  Tensor w = zeros({3, 1}, DType::f32), b = zeros({1}, DType::f32);
  w.set_requires_grad(true);
  b.set_requires_grad(true);
  double loss_value = 0;
  for (int step = 0; step < 200; ++step) {
    const Tensor error = sub(add(matmul(x, w), b), y);
    const Tensor loss = mul(sum(mul(error, error)), full({}, 1.0 / 64, DType::f32));
    loss.backward();
    GradMode off(false);
    for (Tensor* p : {&w, &b}) {
      add_(*p, mul(p->grad(), full({}, -0.1, DType::f32)));
      p->set_grad({});
    }
    loss_value = item(loss).to_double();
  }
  std::printf("loss after 200 steps: %.2e\n", loss_value);
  return loss_value < 1e-6 ? 0 : 1;
}
