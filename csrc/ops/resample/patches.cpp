// Pixel and channel shuffles, patches of an image as columns and back: moves composed of views.
#include <algorithm>

#include "ops/conv/conv_shape.h"
#include "ops/copy/copy.h"
#include "ops/resample/resample.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {

Tensor pixel_shuffle(const Tensor& x, int64_t r) {
  const char* op = "pixel_shuffle";
  TERCEL_CHECK(x.dim() >= 3, Shape, op, ": input must have at least 3 dimensions, got shape ",
               x.shape());
  TERCEL_CHECK(r >= 1, Value, op, ": upscale_factor must be at least 1, got ", r);
  const int n = x.dim() - 3;
  TERCEL_CHECK(x.size(n) % checked_mul(r, r, op) == 0, Shape, op,
               ": channels must be a multiple of ", r * r, ", got ", x.shape());
  Shape split(x.shape().data(), n), out = split;
  Dims order;
  for (int d = 0; d < n; ++d) order.push_back(d);
  for (int64_t v : {x.size(n) / (r * r), r, r, x.size(n + 1), x.size(n + 2)}) split.push_back(v);
  for (int d : {0, 3, 1, 4, 2}) order.push_back(n + d);
  for (int64_t v : {x.size(n) / (r * r), x.size(n + 1) * r, x.size(n + 2) * r}) out.push_back(v);
  return reshape(permute(reshape(x, split), order), out);
}

Tensor pixel_unshuffle(const Tensor& x, int64_t r) {
  const char* op = "pixel_unshuffle";
  TERCEL_CHECK(x.dim() >= 3, Shape, op, ": input must have at least 3 dimensions, got shape ",
               x.shape());
  TERCEL_CHECK(r >= 1, Value, op, ": downscale_factor must be at least 1, got ", r);
  const int n = x.dim() - 3;
  TERCEL_CHECK(x.size(n + 1) % r == 0 && x.size(n + 2) % r == 0, Shape, op,
               ": height and width must be multiples of ", r, ", got ", x.shape());
  Shape split(x.shape().data(), n), out = split;
  Dims order;
  for (int d = 0; d < n; ++d) order.push_back(d);
  for (int64_t v : {x.size(n), x.size(n + 1) / r, r, x.size(n + 2) / r, r}) split.push_back(v);
  for (int d : {0, 2, 4, 1, 3}) order.push_back(n + d);
  out.push_back(checked_mul(x.size(n), checked_mul(r, r, op), op));
  out.push_back(x.size(n + 1) / r);
  out.push_back(x.size(n + 2) / r);
  return reshape(permute(reshape(x, split), order), out);
}

Tensor channel_shuffle(const Tensor& x, int64_t groups) {
  const char* op = "channel_shuffle";
  TERCEL_CHECK(x.dim() >= 3, Shape, op, ": input must have at least 3 dimensions, got shape ",
               x.shape());
  TERCEL_CHECK(groups >= 1 && x.size(1) % groups == 0, Value, op,
               ": groups must divide the channels, got groups ", groups, " for input ", x.shape());
  Shape split = x.shape();
  split[1] = groups;
  split.insert(2, x.size(1) / groups);
  return reshape(transpose(reshape(x, split), 1, 2), x.shape());
}

namespace {

// Geometry of patches: blocks per dimension, and the strided view [N, C, kh, kw, OH, OW] of a
// padded image.
struct Patches {
  Dims kernel, dilation, padding, stride, blocks;
  Shape padded, view;
  Strides padded_strides, view_strides;
};

Patches patches_of(const char* op, int64_t n, int64_t c, const Dims& size, const Dims& kernel,
                   const Dims& dilation, const Dims& padding, const Dims& stride) {
  Patches p{spatial_dims(kernel, 2, 1, op, "kernel_size"),
            spatial_dims(dilation, 2, 1, op, "dilation"),
            spatial_dims(padding, 2, 0, op, "padding"),
            spatial_dims(stride, 2, 1, op, "stride"),
            {},
            {n, c},
            {},
            {},
            {}};
  for (int d = 0; d < 2; ++d) {
    p.blocks.push_back(conv_output_size(size[d], p.kernel[d], p.stride[d], p.padding[d],
                                        p.padding[d], p.dilation[d], op));
    p.padded.push_back(size[d] + 2 * p.padding[d]);
  }
  checked_numel(p.padded, op);
  p.view = {n, c, p.kernel[0], p.kernel[1], p.blocks[0], p.blocks[1]};
  checked_numel(p.view, op);
  p.padded_strides = contiguous_strides(p.padded);
  const int64_t row = p.padded_strides[2];
  p.view_strides = {p.padded_strides[0], p.padded_strides[1], p.dilation[0] * row,
                    p.dilation[1],       p.stride[0] * row,   p.stride[1]};
  return p;
}

}  // namespace

Tensor im2col(const Tensor& input, const Dims& kernel_size, const Dims& dilation,
              const Dims& padding, const Dims& stride) {
  const char* op = "unfold";
  TERCEL_CHECK(input.dim() == 3 || input.dim() == 4, Shape, op,
               ": input must have 3 or 4 dimensions, got shape ", input.shape());
  const bool unbatched = input.dim() == 3;
  const Tensor x = unbatched ? unsqueeze(input, 0) : input;
  const Patches p = patches_of(op, x.size(0), x.size(1), {x.size(2), x.size(3)}, kernel_size,
                               dilation, padding, stride);
  const bool pads = p.padding[0] != 0 || p.padding[1] != 0;
  const Tensor padded =
      contiguous(pads ? pad(x, {p.padding[1], p.padding[1], p.padding[0], p.padding[0]}, "constant",
                            Scalar(0.0))
                      : x);
  const Tensor view = as_strided(padded, p.view, p.view_strides, padded.offset());
  const Tensor columns =
      reshape(view, {x.size(0), x.size(1) * p.kernel[0] * p.kernel[1], p.blocks[0] * p.blocks[1]});
  return unbatched ? squeeze(columns, Dims{0}) : columns;
}

Tensor col2im(const Tensor& input, const Dims& output_size, const Dims& kernel_size,
              const Dims& dilation, const Dims& padding, const Dims& stride) {
  const char* op = "fold";
  TERCEL_CHECK(input.dim() == 2 || input.dim() == 3, Shape, op,
               ": input must have 2 or 3 dimensions, got shape ", input.shape());
  const bool unbatched = input.dim() == 2;
  const Tensor x = unbatched ? unsqueeze(input, 0) : input;
  const Dims kernel = spatial_dims(kernel_size, 2, 1, op, "kernel_size");
  const int64_t taps = checked_mul(kernel[0], kernel[1], op);
  TERCEL_CHECK(x.size(1) % taps == 0, Shape, op,
               ": dimension 1 of input must be a multiple of the kernel's ", taps,
               " elements, got ", input.shape());
  const Dims size = spatial_dims(output_size, 2, 1, op, "output_size");
  const Patches p =
      patches_of(op, x.size(0), x.size(1) / taps, size, kernel, dilation, padding, stride);
  TERCEL_CHECK(x.size(2) == p.blocks[0] * p.blocks[1], Shape, op,
               ": the last dimension of input must be ", p.blocks[0] * p.blocks[1], " blocks (",
               p.blocks[0], " x ", p.blocks[1], "), got ", input.shape());
  Tensor padded =
      as_strided_adjoint(reshape(x, p.view), p.padded, p.padded_strides, p.view_strides, 0);
  Tensor y = narrow(narrow(padded, 2, p.padding[0], size[0]), 3, p.padding[1], size[1]);
  return unbatched ? squeeze(y, Dims{0}) : y;
}

}  // namespace tercel
