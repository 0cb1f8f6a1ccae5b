#include "ops/conv/conv.h"
#include "python/bind.h"

namespace tercel {

namespace {

using OptionalTensor = std::optional<Tensor>;
using ConvFn = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const Dims&, const Dims&,
                          const Dims&, int64_t, const std::string&);
using TransposeFn = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const Dims&,
                               const Dims&, const Dims&, int64_t, const Dims&);

template <int N>
void bind_conv(Binder& b, const char* name, ConvFn conv) {
  const auto doc = [&](const char* rest) {
    return std::string("Convolution over ") + std::to_string(N) + rest;
  };
  b.function(
      name,
      [conv](const Tensor& x, const Tensor& w, const OptionalTensor& bias, const Dims& stride,
             const Dims& padding, const Dims& dilation, int64_t groups,
             const std::string& algorithm) {
        return conv(x, w, bias.value_or(Tensor()), stride, padding, dilation, groups, algorithm);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(),
      py::arg("stride") = Dims{1}, py::arg("padding") = Dims{0}, py::arg("dilation") = Dims{1},
      py::arg("groups") = 1, py::arg("algorithm") = "auto",
      doc(" spatial dimension(s).\n\n"
          "y[n, o, p] = bias[o] + sum_{c,k} weight[o, c, k] input[n, c, p*stride + k*dilation - "
          "padding]\n\n"
          "input: [N, groups*C, ...] or [groups*C, ...]; weight: [O, C, kernel...]; bias: [O].\n"
          "stride, padding, dilation: an int or one per dimension; padding also 'same' or "
          "'valid'.\n"
          "dtypes float64, float32, float16, bfloat16 (16-bit formats accumulate in float32).\n"
          "algorithm: 'auto', 'direct' or 'winograd' (float32 3x3, stride 1). Same bits for any "
          "batch\n"
          "and number of threads. Raises ShapeError, DTypeError, ValueError, OverflowError.\n\n"
          "Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015).")
          .c_str());
  b.function(
      name,
      [](const Tensor& x, const Tensor& w, const OptionalTensor& bias, const Dims& stride,
         const std::string& padding, const Dims& dilation, int64_t groups,
         const std::string& algorithm) {
        return conv_named_padding(N, x, w, bias.value_or(Tensor()), stride, padding, dilation,
                                  groups, algorithm);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(),
      py::arg("stride") = Dims{1}, py::arg("padding") = "valid", py::arg("dilation") = Dims{1},
      py::arg("groups") = 1, py::arg("algorithm") = "auto");
}

void bind_conv_transpose(Binder& b, const char* name, TransposeFn conv) {
  b.function(
      name,
      [conv](const Tensor& x, const Tensor& w, const OptionalTensor& bias, const Dims& stride,
             const Dims& padding, const Dims& output_padding, int64_t groups,
             const Dims& dilation) {
        return conv(x, w, bias.value_or(Tensor()), stride, padding, output_padding, groups,
                    dilation);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(),
      py::arg("stride") = Dims{1}, py::arg("padding") = Dims{0},
      py::arg("output_padding") = Dims{0}, py::arg("groups") = 1, py::arg("dilation") = Dims{1},
      "Transposed convolution: the adjoint of the convolution with the same arguments.\n\n"
      "input: [N, C, ...] or [C, ...]; weight: [C, O/groups, kernel...]; bias: [O].\n"
      "Output size (in - 1)*stride - 2*padding + dilation*(kernel - 1) + 1 + output_padding.\n"
      "dtypes float64, float32, float16, bfloat16. Raises ShapeError, DTypeError, ValueError.\n\n"
      "Zeiler et al., Deconvolutional Networks (2010).");
}

}  // namespace

void bind_conv(Binder& b) {
  bind_conv<1>(b, "conv1d", conv1d);
  bind_conv<2>(b, "conv2d", conv2d);
  bind_conv<3>(b, "conv3d", conv3d);
  bind_conv_transpose(b, "conv_transpose1d", conv_transpose1d);
  bind_conv_transpose(b, "conv_transpose2d", conv_transpose2d);
  bind_conv_transpose(b, "conv_transpose3d", conv_transpose3d);
  b.function(
      "conv_input_grad", &conv_input_grad, py::arg("input_size"), py::arg("weight"),
      py::arg("grad_output"), py::arg("stride") = Dims{1}, py::arg("padding") = Dims{0},
      py::arg("dilation") = Dims{1}, py::arg("groups") = 1,
      "Gradient of convN (N from the rank of weight) with respect to its input of shape "
      "input_size.\n"
      "grad_output: [N, O, out...]. Differentiable. Raises ShapeError, DTypeError, ValueError.");
  b.function(
      "conv_weight_grad", &conv_weight_grad, py::arg("input"), py::arg("weight_size"),
      py::arg("grad_output"), py::arg("stride") = Dims{1}, py::arg("padding") = Dims{0},
      py::arg("dilation") = Dims{1}, py::arg("groups") = 1,
      "Gradient of convN (N from weight_size) with respect to its weight of shape weight_size.\n"
      "input: [N, C, in...], grad_output: [N, O, out...]. Summed in one fixed order whatever the\n"
      "threads. Differentiable. Raises ShapeError, DTypeError, ValueError.");
}

}  // namespace tercel
