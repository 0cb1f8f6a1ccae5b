#include "ops/conv/conv_shape.h"

namespace tercel {

Dims spatial_dims(const Dims& values, int n, int64_t low, const char* op, const char* argument) {
  TERCEL_CHECK(values.size() == 1 || values.size() == n, Value, op, ": ", argument,
               " must be an int or ", n, " ints, got ", values);
  Dims out;
  for (int i = 0; i < n; ++i) {
    out.push_back(values.size() == 1 ? values[0] : values[i]);
    TERCEL_CHECK(out[i] >= low, Value, op, ": ", argument, " must be at least ", low, ", got ",
                 values);
  }
  return out;
}

int64_t window_extent(int64_t kernel, int64_t dilation, const char* op) {
  if (kernel == 0) return 0;
  return checked_add(checked_mul(dilation, kernel - 1, op), 1, op);
}

int64_t conv_output_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad_low,
                         int64_t pad_high, int64_t dilation, const char* op) {
  const int64_t extent = window_extent(kernel, dilation, op);
  const int64_t padded = checked_add(in, checked_add(pad_low, pad_high, op), op);
  TERCEL_CHECK(padded >= extent, Shape, op,
               ": the kernel must not exceed the padded input, got extent ", extent, " (kernel ",
               kernel, ", dilation ", dilation, ") for input size ", in, " with padding ", pad_low,
               " + ", pad_high);
  return (padded - extent) / stride + 1;
}

int64_t conv_transpose_output_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad,
                                   int64_t output_pad, int64_t dilation, const char* op) {
  TERCEL_CHECK(output_pad < stride || output_pad < dilation, Value, op,
               ": output_padding must be smaller than stride or dilation, got ", output_pad,
               " with stride ", stride, " and dilation ", dilation);
  const int64_t extent = window_extent(kernel, dilation, op);
  const int64_t full =
      checked_add(checked_mul(in - 1, stride, op), checked_add(extent, output_pad, op), op);
  const int64_t out = checked_add(full, -checked_mul(2, pad, op), op);
  TERCEL_CHECK(out > 0, Shape, op, ": output size must be positive, got ", out, " for input size ",
               in, ", kernel ", kernel, ", stride ", stride, ", padding ", pad);
  return out;
}

int64_t pool_output_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                         bool ceil_mode, const char* op) {
  TERCEL_CHECK(pad <= kernel / 2, Value, op,
               ": padding must be at most half the kernel size, got padding ", pad, " for kernel ",
               kernel);
  const int64_t extent = window_extent(kernel, dilation, op);
  const int64_t span = checked_add(checked_add(in, 2 * pad, op), -extent, op);
  TERCEL_CHECK(span >= 0 || (ceil_mode && checked_add(span, stride, op) > 0), Shape, op,
               ": the window must not exceed the padded input, got extent ", extent, " (kernel ",
               kernel, ", dilation ", dilation, ") for input size ", in, " with padding ", pad);
  int64_t out = span >= 0 ? span / stride + 1 : 0;
  if (ceil_mode && (span < 0 || span % stride != 0)) ++out;
  if (ceil_mode && checked_mul(out - 1, stride, op) >= checked_add(in, pad, op)) --out;
  TERCEL_CHECK(out > 0, Shape, op, ": output size must be positive, got ", out, " for input size ",
               in, ", kernel ", kernel, ", stride ", stride, ", padding ", pad);
  return out;
}

}  // namespace tercel
