// The way from a reduction's arguments to its kernel; sum, any, all, count_nonzero.
#include "ops/reduce/reduce.h"

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/reduce/reduce_common.h"
#include "ops/view/view.h"

namespace tercel {

Shape reduced_shape(const Shape& shape, uint32_t mask, bool keepdim) {
  Shape out;
  for (int d = 0; d < shape.size(); ++d) {
    if (!(mask >> d & 1))
      out.push_back(shape[d]);
    else if (keepdim)
      out.push_back(1);
  }
  return out;
}

int64_t reduced_count(const Shape& shape, uint32_t mask) {
  int64_t n = 1;
  for (int d = 0; d < shape.size(); ++d) {
    if (mask >> d & 1) n *= shape[d];
  }
  return n;
}

static void append_dim(int64_t size, int64_t stride, int* dims, int64_t* sizes, int64_t* strides) {
  if (size == 1) return;
  if (*dims > 0 && strides[*dims - 1] == size * stride) {
    sizes[*dims - 1] *= size;
    strides[*dims - 1] = stride;
    return;
  }
  sizes[*dims] = size;
  strides[*dims] = stride;
  ++*dims;
}

void fill_geometry(const Tensor& x, uint32_t mask, ReduceGeometry* g) {
  for (int d = 0; d < x.dim(); ++d) {
    if (mask >> d & 1) {
      append_dim(x.size(d), x.stride(d), &g->reduced, g->red_size, g->red_stride);
      g->n *= x.size(d);
    } else {
      append_dim(x.size(d), x.stride(d), &g->kept, g->kept_size, g->kept_stride);
      g->outputs *= x.size(d);
    }
  }
}

// A reduced dim that is contiguous makes rows, a kept one columns, if it is the last of its kind.
// Anything else costs a cache line per element, so a large tensor is made contiguous first.
Tensor readable(const Tensor& x, uint32_t mask) {
  if (x.is_contiguous() || x.numel() < 4096) return x;
  int64_t last_kept = -1, last_reduced = -1;
  for (int d = 0; d < x.dim(); ++d) {
    if (x.size(d) == 1) continue;
    (mask >> d & 1 ? last_reduced : last_kept) = x.stride(d);
  }
  if (last_kept == 1) return x;
  const int64_t limit = 8;
  if (last_reduced >= 0 && last_reduced <= limit && last_reduced >= -limit) return x;
  GradMode off(false);
  return contiguous(x);
}

void check_not_empty(const Tensor& x, uint32_t mask, const char* op) {
  if (x.numel() > 0 || numel_of(reduced_shape(x.shape(), mask, false)) == 0) return;
  fail(ErrorKind::Index,
       str(op, ": cannot reduce over zero elements, input has shape ", x.shape()));
}

static int64_t reduce_cost(const Tensor& x) { return x.numel() * x.itemsize() / 10; }

Tensor run_reduce(const Tensor& input, uint32_t mask, bool keepdim, ReduceOp op, ReduceLoad load,
                  ReducePost post, DType acc, DType out) {
  const Tensor x = readable(input, mask);
  const Device dev = x.device();
  Tensor y = empty(reduced_shape(x.shape(), mask, keepdim), out, x.device());
  if (y.numel() == 0) return y;
  ReduceArgs args{};
  fill_geometry(x, mask, &args.g);
  args.x = x.data(dev);
  args.y = y.data(dev);
  args.in = x.dtype();
  args.acc = acc;
  args.out = out;
  args.op = op;
  args.load = load;
  args.post = post;
  Tensor workspace;
  if (args.g.n > kReduceBlock) {
    const int64_t blocks = (args.g.n + kReduceBlock - 1) / kReduceBlock;
    workspace = empty({args.g.outputs * blocks}, acc, x.device());
    args.workspace = workspace.data(dev);
  }
  launch(reduce_kernels(dev).reduce, args, reduce_cost(x), dev);
  return y;
}

Tensor with_dims(const Tensor& y, uint32_t mask, bool keepdim) {
  if (keepdim) return y;
  Tensor t = y;
  for (int d = 0; d < kMaxDims; ++d) {
    if (mask >> d & 1) t = unsqueeze(t, d);
  }
  return t;
}

Tensor spread(const Tensor& y, uint32_t mask, bool keepdim, const Shape& shape) {
  return expand(shape.size() == 0 ? y : with_dims(y, mask, keepdim), shape);
}

// ---- sum
// --------------------------------------------------------------------------------------------

struct SumNode final : ReduceNode {
  const char* name() const override { return "SumBackward"; }
  TensorList backward(const TensorList& g) override { return {spread_grad(g[0])}; }
};

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  const uint32_t mask = dims_mask(dims, x.dim(), "sum");
  const DType out = dtype.value_or(is_float(x.dtype()) ? x.dtype() : DType::i64);
  // Elements become `out` before they are added: in bool, 0.5 is true.
  const ReduceLoad load = is_bool(out) ? ReduceLoad::nonzero : ReduceLoad::value;
  Tensor y = run_reduce(x, mask, keepdim, ReduceOp::sum, load, ReducePost::none,
                        accumulate_dtype(out), out);
  if (is_float(out) && grad_needed(x)) {
    auto node = make_node<SumNode>({&x});
    node->describe(x, mask, keepdim);
    set_history(y, node);
  }
  return y;
}

// ---- any, all, count_nonzero
// -------------------------------------------------------------------------

Tensor all(const Tensor& x, const Dims& dims, bool keepdim) {
  // The empty minimum is INT64_MAX, which stores as true.
  return run_reduce(x, dims_mask(dims, x.dim(), "all"), keepdim, ReduceOp::min, ReduceLoad::nonzero,
                    ReducePost::none, DType::i64, DType::b8);
}

Tensor any(const Tensor& x, const Dims& dims, bool keepdim) {
  return run_reduce(x, dims_mask(dims, x.dim(), "any"), keepdim, ReduceOp::sum, ReduceLoad::nonzero,
                    ReducePost::none, DType::i64, DType::b8);
}

Tensor count_nonzero(const Tensor& x, const Dims& dims) {
  return run_reduce(x, dims_mask(dims, x.dim(), "count_nonzero"), false, ReduceOp::sum,
                    ReduceLoad::nonzero, ReducePost::none, DType::i64, DType::i64);
}

}  // namespace tercel
