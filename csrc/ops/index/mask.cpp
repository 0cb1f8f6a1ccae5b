// Boolean masks: nonzero, masked_select, masked_fill, masked_scatter. Kernels in mask_cpu.cpp.
#include <algorithm>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/index/index.h"
#include "ops/index/index_kernels.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// Counts per block and their prefix sums.
struct MaskBlocks {
  Tensor count, start;  // int64
  int64_t total = 0;
};

MaskBlocks count_mask(const Tensor& mask) {
  MaskBlocks b;
  const int64_t blocks = (mask.numel() + kMaskBlock - 1) / kMaskBlock;
  const Device dev = mask.device();
  b.count = empty({blocks}, DType::i64, dev);
  MaskCountArgs args{static_cast<const uint8_t*>(mask.data(dev)), mask.numel(),
                     b.count.data_as<int64_t>(dev)};
  launch(mask_kernels(dev).count, args, mask.numel() / 16, dev);
  const Tensor counts = to_device(b.count, Device{}), start = empty({blocks}, DType::i64);
  for (int64_t i = 0; i < blocks; ++i) {
    start.data_as<int64_t>()[i] = b.total;
    b.total += counts.data_as<int64_t>()[i];
  }
  b.start = to_device(start, dev);
  return b;
}

MaskSelectArgs select_args(const Tensor& mask, const MaskBlocks& b) {
  MaskSelectArgs args{};
  const Device dev = mask.device();
  args.mask = static_cast<const uint8_t*>(mask.data(dev));
  args.n = mask.numel();
  args.block_start = b.start.data_as<int64_t>(dev);
  args.block_count = b.count.data_as<int64_t>(dev);
  args.rank = mask.dim();
  for (int d = 0; d < mask.dim(); ++d) args.size[d] = mask.size(d);
  return args;
}

void check_mask(const Tensor& mask, const char* op) {
  if (!is_bool(mask.dtype())) fail_dtype(op, "mask", mask.dtype(), dtype_bit(DType::b8));
}

}  // namespace

// ---- nonzero
// -----------------------------------------------------------------------------------------

Tensor nonzero(const Tensor& x) {
  const Tensor mask = contiguous(to(make_alias(x), DType::b8));
  const MaskBlocks b = count_mask(mask);
  const Device dev = x.device();
  Tensor out = empty({b.total, x.dim()}, DType::i64, dev);
  if (x.dim() > 0 && b.total > 0) {
    MaskSelectArgs args = select_args(mask, b);
    args.coordinates = out.data_as<int64_t>(dev);
    launch(mask_kernels(dev).positions, args, mask.numel(), dev);
  }
  return out;
}

TensorList nonzero_tuple(const Tensor& x) {
  if (x.dim() == 0) return nonzero_tuple(reshape(make_alias(x), {1}));
  return unbind(nonzero(x), 1);
}

Tensor nonzero_static(const Tensor& x, int64_t size, int64_t fill) {
  TERCEL_CHECK(size >= 0, Value, "nonzero_static: size must not be negative, got ", size);
  const Tensor found = nonzero(x),
               out = full({size, x.dim()}, Scalar(fill), DType::i64, x.device());
  const int64_t n = std::min(size, found.size(0));
  Tensor begin = narrow(out, 0, 0, n);
  copy_(begin, narrow(found, 0, 0, n));
  return out;
}

Tensor argwhere(const Tensor& x) { return nonzero(x); }

// ---- masked_select
// -----------------------------------------------------------------------------------

struct MaskedSelectNode final : Node {
  Saved mask;
  Shape shape;  // of x broadcast against the mask
  Shape x_shape;
  const char* name() const override { return "MaskedSelectBackward"; }
  TensorList backward(const TensorList& g) override {
    return {sum_to(masked_scatter(zeros(shape, g[0].dtype(), g[0].device()), mask.get(*this), g[0]),
                   x_shape)};
  }
  void release_saved() override { mask.reset(); }
};

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  check_mask(mask, "masked_select");
  const Shape shape = broadcast_shapes(x.shape(), mask.shape(), "masked_select");
  const Tensor m = contiguous(make_alias(expand(make_alias(mask), shape)));
  const Tensor values = contiguous(make_alias(expand(make_alias(x), shape)));
  const MaskBlocks b = count_mask(m);
  const Device dev = x.device();
  Tensor out = empty({b.total}, x.dtype(), dev);
  if (b.total > 0) {
    MaskSelectArgs args = select_args(m, b);
    args.x = static_cast<const char*>(values.data(dev));
    args.mask = static_cast<const uint8_t*>(m.data(dev));
    args.out = static_cast<char*>(out.data(dev));
    args.itemsize = static_cast<int>(x.itemsize());
    launch(mask_kernels(dev).compress, args, m.numel(), dev);
  }
  if (grad_needed(x)) {
    auto node = make_node<MaskedSelectNode>({&x});
    node->mask.save(mask);
    node->shape = shape;
    node->x_shape = x.shape();
    set_history(out, node);
  }
  return out;
}

// ---- masked_fill
// -------------------------------------------------------------------------------------

struct MaskedFillNode final : Node {
  Saved mask;
  Shape x_shape;
  DType value_dtype = DType::f32;
  const char* name() const override { return "MaskedFillBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor m = mask.get(*this);
    TensorList out(2);
    if (needs(0)) out[0] = sum_to(masked_fill(g[0], m, zeros({}, g[0].dtype())), x_shape);
    if (needs(1)) out[1] = to(sum_to(masked_select(g[0], m), {}), value_dtype);
    return out;
  }
  void release_saved() override { mask.reset(); }
};

namespace {

// out = mask ? value : out, for an `out` already holding x.
void masked_fill_run(const Tensor& out, const Tensor& mask, const Tensor& value) {
  if (out.numel() == 0) return;
  const Device dev = out.device();
  const Tensor one = to(to_device(value.detach(), Device{}), out.dtype());  // read on the host
  const Tensor m = contiguous(make_alias(expand(make_alias(mask), out.shape())));
  const bool direct = out.is_contiguous();
  const Tensor target = direct ? out : clone_contiguous(make_alias(out));
  MaskFillArgs args{static_cast<const uint8_t*>(m.data(dev)), static_cast<char*>(target.data(dev)),
                    static_cast<const char*>(one.data()), out.numel(),
                    static_cast<int>(out.itemsize())};
  launch(mask_kernels(dev).fill, args, out.numel() / 4, dev);
  if (!direct) strided_copy(out, target);
}

Ref<Node> masked_fill_node(const Tensor& x, const Tensor& mask, const Tensor& value) {
  if (!is_float(x.dtype()) || !grad_needed(x, value)) return {};
  auto node = make_node<MaskedFillNode>({&x, &value});
  node->mask.save(mask);
  node->x_shape = x.shape();
  node->value_dtype = value.dtype();
  return node;
}

void check_fill(const Tensor& x, const Tensor& mask, const Tensor& value, const char* op) {
  check_mask(mask, op);
  TERCEL_CHECK(value.dim() == 0, Shape, op, ": value must be a number or a 0-d tensor, got shape ",
               value.shape());
  const Scalar v = item(value);
  TERCEL_CHECK(!is_bool(x.dtype()) || v.is_bool() || v.to_double() == 0.0 || v.to_double() == 1.0,
               Type, op, ": value for dtype bool must be a bool, got ", v.to_double());
  TERCEL_CHECK(!is_int(x.dtype()) || !v.is_float(), Type, op, ": value for dtype ",
               dtype_name(x.dtype()), " must be an integer, got ", v.to_double());
  check_fits(v, x.dtype(), op);
}

}  // namespace

Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value) {
  check_fill(x, mask, value, "masked_fill");
  const Shape shape = broadcast_shapes(x.shape(), mask.shape(), "masked_fill");
  Tensor out = clone(expand(make_alias(x), shape));
  masked_fill_run(out, mask, value);
  if (Ref<Node> node = masked_fill_node(x, mask, value)) set_history(out, node);
  return out;
}

Tensor masked_fill_(const Tensor& x, const Tensor& mask, const Tensor& value) {
  check_inplace(x, "masked_fill_");
  check_fill(x, mask, value, "masked_fill_");
  TERCEL_CHECK(broadcast_shapes(x.shape(), mask.shape(), "masked_fill_") == x.shape(), Shape,
               "masked_fill_: mask of shape ", mask.shape(), " cannot be broadcast to ", x.shape());
  Ref<Node> node = masked_fill_node(x, mask, value);
  const Tensor m = mask.storage() == x.storage() ? clone_contiguous(make_alias(mask)) : mask;
  masked_fill_run(x, m, value);
  finish_inplace(x, node, "masked_fill_");
  return x;
}

// ---- masked_scatter
// ------------------------------------------------------------------------------------

// In terms of index_put on the flattened tensor, which supplies the gradients.
Tensor masked_scatter(const Tensor& x, const Tensor& mask, const Tensor& source) {
  check_mask(mask, "masked_scatter");
  TERCEL_CHECK(source.dtype() == x.dtype(), DType,
               "masked_scatter: source must have the dtype of the tensor, ", dtype_name(x.dtype()),
               ", got ", dtype_name(source.dtype()));
  const Shape shape = broadcast_shapes(x.shape(), mask.shape(), "masked_scatter");
  const Tensor m = expand(make_alias(mask), shape);
  const Tensor where = select(nonzero(reshape(m, {m.numel()})), 1, 0);
  const int64_t count = where.numel();
  TERCEL_CHECK(count <= source.numel(), Shape, "masked_scatter: mask has ", count,
               " true elements, source only ", source.numel());
  const Tensor flat = reshape(expand(x, shape), {numel_of(shape)});
  const Tensor picked = narrow(reshape(source, {source.numel()}), 0, 0, count);
  return reshape(index_put(flat, {where}, picked), shape);
}

Tensor masked_scatter_(const Tensor& x, const Tensor& mask, const Tensor& source) {
  check_inplace(x, "masked_scatter_");
  TERCEL_CHECK(broadcast_shapes(x.shape(), mask.shape(), "masked_scatter_") == x.shape(), Shape,
               "masked_scatter_: mask of shape ", mask.shape(), " cannot be broadcast to ",
               x.shape());
  Tensor target = x;
  copy_(target, masked_scatter(x, mask, source));
  return x;
}

}  // namespace tercel
