// Python bindings of the normalisation family.
#include "ops/norm/norm.h"
#include "python/bind.h"
#include "python/optional.h"

namespace tercel {

namespace {
using Optional = std::optional<Tensor>;
}  // namespace

void bind_norm(Binder& b) {
  b.function(
      "layer_norm",
      [](const Tensor& x, const Dims& shape, const Optional& weight, const Optional& bias,
         double eps, bool) {
        return layer_norm(x, shape, tensor_or_undefined(weight), tensor_or_undefined(bias), eps);
      },
      py::arg("input"), py::arg("normalized_shape"), py::arg("weight") = py::none(),
      py::arg("bias") = py::none(), py::arg("eps") = 1e-5, py::arg("cudnn_enable") = true,
      R"(Layer normalisation over the last dims: (x - mean) / sqrt(var + eps) * weight + bias.

input: [..., *normalized_shape], float64/32/16 or bfloat16.  weight, bias: [*normalized_shape], of the
input's dtype, or float32 with a 16-bit input; None = 1 and 0.  eps is added to the biased variance.
Returns a tensor of input's shape and dtype.  ShapeError, DTypeError on mismatch.

>>> tercel.layer_norm(tercel.randn(2, 5), (5,)).mean(-1)      # about 0
Ba, Kiros, Hinton 2016, arXiv:1607.06450.)");
  b.function(
      "rms_norm",
      [](const Tensor& x, const Dims& shape, const Optional& weight, std::optional<double> eps) {
        return rms_norm(x, shape, tensor_or_undefined(weight), eps);
      },
      py::arg("input"), py::arg("normalized_shape"), py::arg("weight") = py::none(),
      py::arg("eps") = py::none(),
      R"(Root-mean-square normalisation over the last dims: x / sqrt(mean(x^2) + eps) * weight.

input: [..., *normalized_shape], float64/32/16 or bfloat16.  weight: [*normalized_shape] or None.
eps: None = machine epsilon of the input's dtype.  Returns a tensor of input's shape and dtype.

>>> tercel.rms_norm(tercel.ones(2, 4), (4,))                  # ones
Zhang, Sennrich 2019, arXiv:1910.07467.)");
  b.function(
      "add_layer_norm",
      [](const Tensor& x, const Tensor& residual, const Dims& shape, const Optional& weight,
         const Optional& bias, double eps) {
        return add_layer_norm(x, residual, shape, tensor_or_undefined(weight),
                              tensor_or_undefined(bias), eps);
      },
      py::arg("input"), py::arg("residual"), py::arg("normalized_shape"),
      py::arg("weight") = py::none(), py::arg("bias") = py::none(), py::arg("eps") = 1e-5,
      R"((layer_norm(s), s) with s = input + residual, in one pass over memory; the bits of the two calls.

input, residual: [..., *normalized_shape], of one shape and dtype; the rest as layer_norm.
The pattern of a residual stream: ``y, x = tercel.add_layer_norm(branch, x, (d,), w, b)``.
Returns two tensors of input's shape and dtype.  ShapeError, DTypeError on mismatch.)");
  b.function(
      "add_rms_norm",
      [](const Tensor& x, const Tensor& residual, const Dims& shape, const Optional& weight,
         std::optional<double> eps) {
        return add_rms_norm(x, residual, shape, tensor_or_undefined(weight), eps);
      },
      py::arg("input"), py::arg("residual"), py::arg("normalized_shape"),
      py::arg("weight") = py::none(), py::arg("eps") = py::none(),
      R"((rms_norm(s), s) with s = input + residual, in one pass over memory; the bits of the two calls.

input, residual: [..., *normalized_shape], of one shape and dtype; the rest as rms_norm.
Returns two tensors of input's shape and dtype.  ShapeError, DTypeError on mismatch.)");
  b.function(
      "batch_norm",
      [](const Tensor& x, const Optional& mean, const Optional& var, const Optional& weight,
         const Optional& bias, bool training, double momentum, double eps) {
        return batch_norm(x, tensor_or_undefined(mean), tensor_or_undefined(var),
                          tensor_or_undefined(weight), tensor_or_undefined(bias), training,
                          momentum, eps);
      },
      py::arg("input"), py::arg("running_mean"), py::arg("running_var"),
      py::arg("weight") = py::none(), py::arg("bias") = py::none(), py::arg("training") = false,
      py::arg("momentum") = 0.1, py::arg("eps") = 1e-5,
      R"(Batch normalisation per channel: (x - mean) / sqrt(var + eps) * weight + bias.

input: [B, C, ...].  running_mean, running_var, weight, bias: [C] or None.
training=True: statistics of the batch; the running ones move in place by `momentum` towards them (with
the unbiased variance).  False: the running statistics are used.
Returns a tensor of input's shape and dtype.  ValueError for a single value per channel in training.

>>> y = tercel.batch_norm(tercel.randn(8, 3, 4, 4), None, None, training=True)
Ioffe, Szegedy 2015, arXiv:1502.03167.)");
  b.function(
      "group_norm",
      [](const Tensor& x, int64_t groups, const Optional& weight, const Optional& bias, double eps,
         bool) {
        return group_norm(x, groups, tensor_or_undefined(weight), tensor_or_undefined(bias), eps);
      },
      py::arg("input"), py::arg("num_groups"), py::arg("weight") = py::none(),
      py::arg("bias") = py::none(), py::arg("eps") = 1e-5, py::arg("cudnn_enabled") = true,
      R"(Group normalisation: each sample's C channels in num_groups groups, each normalised by itself.

input: [B, C, ...]; num_groups divides C.  weight, bias: [C] or None.
Returns a tensor of input's shape and dtype.

>>> y = tercel.group_norm(tercel.randn(2, 6, 4, 4), 3)
Wu, He 2018, arXiv:1803.08494.)");
  b.function(
      "instance_norm",
      [](const Tensor& x, const Optional& mean, const Optional& var, const Optional& weight,
         const Optional& bias, bool use_input_stats, double momentum, double eps) {
        return instance_norm(x, tensor_or_undefined(mean), tensor_or_undefined(var),
                             tensor_or_undefined(weight), tensor_or_undefined(bias),
                             use_input_stats, momentum, eps);
      },
      py::arg("input"), py::arg("running_mean") = py::none(), py::arg("running_var") = py::none(),
      py::arg("weight") = py::none(), py::arg("bias") = py::none(),
      py::arg("use_input_stats") = true, py::arg("momentum") = 0.1, py::arg("eps") = 1e-5,
      R"(Instance normalisation: every channel of every sample is normalised over its spatial elements.

input: [B, C, ...].  running_mean, running_var, weight, bias: [C] or None; the running statistics move
in place towards the average over the samples, or are used when use_input_stats=False.
Returns a tensor of input's shape and dtype.

>>> y = tercel.instance_norm(tercel.randn(2, 3, 8, 8))
Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.)");
  b.function("local_response_norm", &local_response_norm, py::arg("input"), py::arg("size"),
             py::arg("alpha") = 1e-4, py::arg("beta") = 0.75, py::arg("k") = 1.0,
             R"(x / (k + alpha / size * sum of x^2 over `size` neighbouring channels) ^ beta.

input: [B, C, ...], at least 3 dims.  Channels beyond the edge count as 0.
Returns a tensor of input's shape and dtype.  Krizhevsky, Sutskever, Hinton 2012.)");
  b.function("normalize", &normalize, py::arg("input"), py::arg("p") = 2.0, py::arg("dim") = 1,
             py::arg("eps") = 1e-12,
             R"(input / max(||input||_p, eps), the norm over `dim` (an int or several).

Returns a tensor of input's shape and dtype. Raises IndexError for a dim out of range.

>>> tercel.normalize(tercel.tensor([[3., 4.]]))
tensor([[0.6000, 0.8000]]))");
}

}  // namespace tercel
