// Sums against plain loops: every access pattern, and the same bits for all of them.
#include <random>

#include "check.h"
#include "ops/copy/copy.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

static Tensor random_tensor(const Shape& shape) {
  static std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  Tensor t = empty(shape, DType::f32);
  for (int64_t i = 0; i < t.numel(); ++i) t.data_as<float>()[i] = normal(engine);
  return t;
}

TEST(sum_matches_a_loop_along_each_dim) {
  for (int64_t n : {1, 2, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4095, 4096, 4097, 10000}) {
    const Tensor x = random_tensor({3, n, 5});
    const Tensor y = sum(x, {1});
    const Tensor rows = sum(contiguous(transpose(x, 1, 2)), {-1});
    CHECK(y.shape() == (Shape{3, 5}));
    for (int64_t o = 0; o < 15; ++o) {
      double expected = 0, magnitude = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double v = x.data_as<float>()[(o / 5) * n * 5 + i * 5 + o % 5];
        expected += v;
        magnitude += std::fabs(v);
      }
      CHECK_NEAR(y.data_as<float>()[o], expected, magnitude * 0x1p-22);
      CHECK(y.data_as<float>()[o] == rows.data_as<float>()[o]);  // rows and columns: one tree
    }
  }
}

TEST(sum_over_all_and_over_several_dims) {
  const Tensor x = random_tensor({7, 33, 40, 3});
  double expected = 0;
  for (int64_t i = 0; i < x.numel(); ++i) expected += x.data_as<float>()[i];
  CHECK_NEAR(sum(x).data_as<float>()[0], expected, 1e-2);
  const Tensor y = sum(x, {0, 2}, true);
  CHECK(y.shape() == (Shape{1, 33, 1, 3}));
  const Tensor z = sum(contiguous(permute(x, {1, 3, 0, 2})), {2, 3});
  for (int64_t i = 0; i < z.numel(); ++i) CHECK(y.data_as<float>()[i] == z.data_as<float>()[i]);
}

TEST(sum_of_a_row_does_not_depend_on_the_other_rows) {
  const Tensor x = random_tensor({100, 5000});
  const Tensor y = sum(x, {1});
  for (int64_t i = 0; i < 100; i += 13) {
    CHECK(sum(narrow(x, 0, i, 1), {1}).data_as<float>()[0] == y.data_as<float>()[i]);
  }
}

TEST(sum_of_integers_and_of_nothing) {
  Tensor x = full({300}, Scalar(200), DType::u8);
  CHECK(sum(x).dtype() == DType::i64);
  CHECK(sum(x).data_as<int64_t>()[0] == 60000);
  CHECK(sum(empty({0, 3}, DType::f32), {0}).data_as<float>()[2] == 0.0f);
  CHECK(all(empty({0}, DType::b8)).data_as<bool>()[0]);
  CHECK(!any(zeros({5}, DType::f32)).data_as<bool>()[0]);
  CHECK(count_nonzero(ones({5, 2}, DType::f16)).data_as<int64_t>()[0] == 10);
  CHECK_THROWS(sum(x, {1}));
  CHECK_THROWS(sum(x, {0, 0}));
}

TEST(sum_gradient_is_ones) {
  Tensor x = random_tensor({4, 5});
  x.set_requires_grad(true);
  sum(sum(x, {1})).backward();
  for (int64_t i = 0; i < 20; ++i) CHECK(contiguous(x.grad()).data_as<float>()[i] == 1.0f);
}

}  // namespace tercel
