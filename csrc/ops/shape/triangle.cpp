// Triangles, diagonals and their index lists.
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

struct TriangleNode final : Node {
  int64_t diagonal = 0;
  bool upper = false;
  const char* name() const override { return upper ? "TriuBackward" : "TrilBackward"; }
  TensorList backward(const TensorList& g) override {
    return {upper ? triu(g[0], diagonal) : tril(g[0], diagonal)};
  }
};

Tensor triangle(const Tensor& x, int64_t diagonal, bool upper, const char* op) {
  TERCEL_CHECK(x.dim() >= 2, Shape, op, ": input must have at least 2 dimensions, got shape ",
               x.shape());
  const Tensor src = contiguous(make_alias(x));
  Tensor out = empty(x.shape(), x.dtype(), x.device());
  TriangleArgs args;
  const Device dev = x.device();
  args.src = static_cast<const char*>(src.data(dev));
  args.dst = static_cast<char*>(out.data(dev));
  args.rows = x.size(-2);
  args.cols = x.size(-1);
  args.batch = args.rows * args.cols > 0 ? x.numel() / (args.rows * args.cols) : 0;
  // Beyond the matrix every diagonal means the same; clamped so that row + diagonal cannot
  // overflow.
  args.diagonal = diagonal < -args.rows ? -args.rows : diagonal > args.cols ? args.cols : diagonal;
  args.itemsize = static_cast<int>(x.itemsize());
  args.upper = upper;
  if (x.numel() > 0) launch(shape_kernels(dev).triangle, args, x.numel() * x.itemsize() / 16, dev);
  if (grad_needed(x)) {
    auto node = make_node<TriangleNode>({&x});
    node->diagonal = diagonal;
    node->upper = upper;
    set_history(out, node);
  }
  return out;
}

Tensor triangle_indices(int64_t row, int64_t col, int64_t offset, DType dtype, bool upper,
                        const char* op) {
  TERCEL_CHECK(row >= 0 && col >= 0, Value, op, ": row and col must be >= 0, got ", row, " and ",
               col);
  if (dtype != DType::i64 && dtype != DType::i32)
    fail_dtype(op, dtype, dtype_bit(DType::i64) | dtype_bit(DType::i32));
  checked_mul(row, col, op);
  offset = offset < -row ? -row : offset > col ? col : offset;
  auto first = [&](int64_t r) { return upper ? (r + offset < 0 ? 0 : r + offset) : 0; };
  auto last = [&](int64_t r) {  // one past
    const int64_t end = upper ? col : r + offset + 1;
    return end > col ? col : end;
  };
  int64_t n = 0;
  for (int64_t r = 0; r < row; ++r) n += last(r) > first(r) ? last(r) - first(r) : 0;
  Tensor out = empty({2, n}, DType::i64);
  int64_t* rows = out.data_as<int64_t>();
  int64_t* cols = rows + n;
  for (int64_t r = 0; r < row; ++r) {
    for (int64_t c = first(r); c < last(r); ++c) {
      *rows++ = r;
      *cols++ = c;
    }
  }
  return to(out, dtype);
}

}  // namespace

Tensor tril(const Tensor& x, int64_t diagonal) { return triangle(x, diagonal, false, "tril"); }
Tensor triu(const Tensor& x, int64_t diagonal) { return triangle(x, diagonal, true, "triu"); }

// The op is linear with a constant mask, so the in-place forms only copy the result back.
Tensor tril_(Tensor x, int64_t diagonal) { return copy_(x, tril(x, diagonal)); }
Tensor triu_(Tensor x, int64_t diagonal) { return copy_(x, triu(x, diagonal)); }

Tensor tril_indices(int64_t row, int64_t col, int64_t offset, DType dtype) {
  return triangle_indices(row, col, offset, dtype, false, "tril_indices");
}
Tensor triu_indices(int64_t row, int64_t col, int64_t offset, DType dtype) {
  return triangle_indices(row, col, offset, dtype, true, "triu_indices");
}

struct DiagEmbedNode final : Node {
  int64_t offset = 0, dim1 = 0, dim2 = 0;
  const char* name() const override { return "DiagEmbedBackward"; }
  TensorList backward(const TensorList& g) override { return {diagonal(g[0], offset, dim1, dim2)}; }
};

Tensor diag_embed(const Tensor& x, int64_t offset, int64_t dim1, int64_t dim2) {
  TERCEL_CHECK(x.dim() >= 1, Shape,
               "diag_embed: input must have at least 1 dimension, got a 0-d tensor");
  const int a = normalize_dim(dim1, x.dim() + 1, "diag_embed"),
            b = normalize_dim(dim2, x.dim() + 1, "diag_embed");
  TERCEL_CHECK(a != b, Value, "diag_embed: dim1 and dim2 must differ, got ", dim1, " and ", dim2);
  TERCEL_CHECK(offset > -(int64_t{1} << 62) && offset < int64_t{1} << 62, Value,
               "diag_embed: offset ", offset, " is out of range");
  const int64_t n = checked_add(x.size(-1), offset < 0 ? -offset : offset, "diag_embed");
  Shape shape = x.shape();
  shape.erase(shape.size() - 1);
  shape.insert(a < b ? a : b, n);
  shape.insert(a < b ? b : a, n);
  Tensor out = zeros(shape, x.dtype(), x.device());
  strided_copy(diagonal(out, offset, a, b), x);
  if (grad_needed(x)) {
    auto node = make_node<DiagEmbedNode>({&x});
    node->offset = offset;
    node->dim1 = a;
    node->dim2 = b;
    set_history(out, node);
  }
  return out;
}

Tensor diag(const Tensor& x, int64_t k) {
  TERCEL_CHECK(x.dim() == 1 || x.dim() == 2, Shape,
               "diag: input must have 1 or 2 dimensions, got shape ", x.shape());
  return x.dim() == 1 ? diag_embed(x, k) : clone(diagonal(x, k));
}

Tensor trace(const Tensor& x) {
  TERCEL_CHECK(x.dim() == 2, Shape, "trace: input must have 2 dimensions, got shape ", x.shape());
  return sum_to(diagonal(x), {});
}

}  // namespace tercel
