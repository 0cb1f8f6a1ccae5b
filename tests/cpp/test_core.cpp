// Tensors, views and errors of the core, without ops.
#include "check.h"
#include "core/tensor.h"

namespace tercel {

TEST(empty_has_the_asked_shape) {
  const Tensor t = empty({2, 3}, DType::f32);
  CHECK(t.dim() == 2);
  CHECK(t.numel() == 6);
  CHECK(t.is_contiguous());
  CHECK(reinterpret_cast<uintptr_t>(t.data()) % 64 == 0);
}

TEST(sizes_are_checked) {
  CHECK_THROWS(empty({-1}, DType::f32));
  CHECK_THROWS(empty({int64_t{1} << 62, 4}, DType::f32));
}

}  // namespace tercel
