// Launches of the CUDA convolution kernels.
#include "ops/conv/conv_device.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/launch.h"
#include "ops/copy/copy.h"

namespace tercel {
namespace {

const ConvDeviceKernels& kernels() {
  return *static_cast<const ConvDeviceKernels*>(cuda_kernels("conv_kernels"));
}

ConvDeviceArgs geometry(const ConvGeometry& g, DType dtype) {
  ConvDeviceArgs a{};
  a.dtype = dtype;
  a.images = g.images;
  a.groups = g.groups;
  a.cin = g.cin;
  a.cout = g.cout;
  for (int d = 0; d < 3; ++d) {
    a.in[d] = g.in[d];
    a.out[d] = g.out[d];
    a.kernel[d] = g.kernel[d];
    a.stride[d] = g.stride[d];
    a.pad[d] = g.pad[d];
    a.dilation[d] = g.dilation[d];
  }
  a.splits = 1;
  return a;
}

const void* optional_data(const Tensor& t, Device dev) {
  return t.defined() ? t.data(dev) : nullptr;
}

}  // namespace

Tensor device_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g) {
  const Device dev = x.device();
  Tensor y = empty(g.output_shape(), x.dtype(), dev);
  if (y.numel() == 0) return y;
  ConvDeviceArgs a = geometry(g, x.dtype());
  a.x = x.data(dev);
  a.w = w.data(dev);
  a.bias = optional_data(bias, dev);
  a.result = y.data(dev);
  launch(kernels().forward, a, 0, dev);
  return y;
}

Tensor device_input_grad(const Tensor& dy, const Tensor& w, const Tensor& bias,
                         const ConvGeometry& g) {
  const Device dev = dy.device();
  Tensor dx = empty(g.input_shape(), dy.dtype(), dev);
  if (dx.numel() == 0) return dx;
  ConvDeviceArgs a = geometry(g, dy.dtype());
  a.y = dy.data(dev);
  a.w = w.data(dev);
  a.bias = optional_data(bias, dev);
  a.result = dx.data(dev);
  launch(kernels().input_grad, a, 0, dev);
  return dx;
}

Tensor device_weight_grad(const Tensor& x, const Tensor& dy, const ConvGeometry& g) {
  const Device dev = x.device();
  Tensor dw = empty(g.weight_shape(), x.dtype(), dev);
  if (dw.numel() == 0) return dw;
  if (g.images == 0 || g.out_size() == 0) return zeros(g.weight_shape(), x.dtype(), dev);
  ConvDeviceArgs a = geometry(g, x.dtype());
  const int64_t length = g.images * g.out_size();
  a.split = std::max<int64_t>(2048, (length + 255) / 256);
  a.splits = (length + a.split - 1) / a.split;
  a.x = x.data(dev);
  a.y = dy.data(dev);
  a.result = dw.data(dev);
  const Tensor workspace = empty({a.splits, dw.numel()}, accumulate_dtype(x.dtype()), dev);
  a.workspace = workspace.data(dev);
  launch(kernels().weight_grad, a, 0, dev);
  return dw;
}

}  // namespace tercel
