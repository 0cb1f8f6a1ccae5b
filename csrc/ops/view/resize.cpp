#include "ops/view/resize.h"

#include <algorithm>

#include "ops/copy/copy.h"
#include "ops/view/view.h"

namespace tercel {

Tensor& resize_(Tensor& t, const Shape& shape) {
  const int64_t wanted = checked_numel(shape, "resize_");
  TERCEL_CHECK(!t.requires_grad(), Runtime,
               "resize_: not provided for tensors that require grad; got one of shape ", t.shape());
  const int64_t held = t.storage()->nbytes() / t.itemsize() - t.offset();
  if (wanted <= held) {
    t.impl()->set_geometry(t.storage(), t.offset(), shape, contiguous_strides(shape));
    return t;
  }
  TERCEL_CHECK(!t.is_view(), Runtime, "resize_: a view cannot grow beyond its storage: shape ",
               shape, " needs ", wanted, " elements, there are ", held);
  const Tensor room = empty({wanted}, t.dtype(), t.device());
  if (held > 0) {
    Tensor begin = make_view(room, {held}, {1}, 0);
    copy_(begin, make_view(t.detach(), {held}, {1}, t.offset()));
  }
  t.impl()->set_geometry(room.storage(), 0, shape, contiguous_strides(shape));
  return t;
}

Tensor& fill_diagonal_(Tensor& t, const Scalar& value, bool wrap) {
  TERCEL_CHECK(t.dim() >= 2, Shape, "fill_diagonal_: expected at least 2 dimensions, got shape ",
               t.shape());
  int64_t step = 0;
  for (int d = 0; d < t.dim(); ++d) {
    TERCEL_CHECK(t.dim() == 2 || t.size(d) == t.size(0), Shape,
                 "fill_diagonal_: with more than 2 dimensions all must have one size, got shape ",
                 t.shape());
    step += t.stride(d);
  }
  const int64_t n = *std::min_element(t.shape().begin(), t.shape().end());
  if (n == 0) return t;
  Tensor along = as_strided(t, {n}, {step}, t.offset());
  fill_(along, value);
  if (wrap && t.dim() == 2) {
    const int64_t columns = t.size(1);
    for (int64_t top = columns + 1; top < t.size(0); top += columns + 1) {
      Tensor part = as_strided(t, {std::min(columns, t.size(0) - top)}, {step},
                               t.offset() + top * t.stride(0));
      fill_(part, value);
    }
  }
  return t;
}

}  // namespace tercel
