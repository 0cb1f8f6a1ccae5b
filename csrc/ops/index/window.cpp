// Copies with a window overwritten: a clone and a copy through a view, whose gradients do the rest.
#include "ops/copy/copy.h"
#include "ops/index/index.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

Tensor write_window(const Tensor& out, Tensor window, const Tensor& src, const char* op) {
  TERCEL_CHECK(src.shape() == window.shape(), Shape, op, ": src must have shape ", window.shape(),
               ", got ", src.shape());
  copy_(window, src);
  return out;
}

}  // namespace

Tensor select_scatter(const Tensor& x, const Tensor& src, int64_t dim, int64_t index) {
  const Tensor out = clone(x);
  return write_window(out, select(out, dim, index), src, "select_scatter");
}

Tensor slice_scatter(const Tensor& x, const Tensor& src, int64_t dim, std::optional<int64_t> start,
                     std::optional<int64_t> end, int64_t step) {
  const Tensor out = clone(x);
  return write_window(out, slice(out, dim, start, end, step), src, "slice_scatter");
}

Tensor diagonal_scatter(const Tensor& x, const Tensor& src, int64_t offset, int64_t dim1,
                        int64_t dim2) {
  const Tensor out = clone(x);
  return write_window(out, diagonal(out, offset, dim1, dim2), src, "diagonal_scatter");
}

}  // namespace tercel
