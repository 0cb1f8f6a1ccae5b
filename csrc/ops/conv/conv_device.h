// Convolution on a CUDA device: argument struct of its kernels, and the calls that stand beside
// conv_run.h's.
#pragma once

#include "core/tensor.h"
#include "ops/conv/conv_plan.h"

namespace tercel {

// Contiguous images x [N, groups cin, in], weights w [groups cout, cin, kernel], result y [N,
// groups cout, out]; cin and cout per group, sizes z, y, x. Forward writes y, the input gradient x,
// the weight gradient w. Sums run in float32 (float64 for float64), one chain in increasing k, in
// `splits` parts for the weight gradient.
struct ConvDeviceArgs {
  const void* x;
  const void* w;
  const void* y;
  const void* bias;  // or null; one per channel of the result
  void* result;
  void* workspace;  // weight gradient: splits * numel(w) sums
  DType dtype;
  int64_t images, groups, cin, cout;
  int64_t in[3], out[3], kernel[3], stride[3], pad[3], dilation[3];
  int64_t splits, split;  // parts, and length of one, of the sum over images and pixels
};

struct ConvDeviceKernels {
  void (*forward)(const ConvDeviceArgs&);
  void (*input_grad)(const ConvDeviceArgs&);
  void (*weight_grad)(const ConvDeviceArgs&);
};

Tensor device_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g);
Tensor device_input_grad(const Tensor& dy, const Tensor& w, const Tensor& bias,
                         const ConvGeometry& g);
Tensor device_weight_grad(const Tensor& x, const Tensor& dy, const ConvGeometry& g);

}  // namespace tercel
