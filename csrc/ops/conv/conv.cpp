#include "ops/conv/conv.h"

#include <algorithm>

#include "core/autocast.h"
#include "ops/conv/conv_run.h"
#include "ops/conv/conv_shape.h"
#include "ops/copy/copy.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

// ---- the three differentiable building blocks, each the gradient of the others
// ---------------------

Tensor forward(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g,
               ConvAlgorithm algorithm);
Tensor input_grad(const Tensor& dy, const Tensor& w, const Tensor& bias, const ConvGeometry& g,
                  ConvAlgorithm algorithm);
Tensor weight_grad(const Tensor& x, const Tensor& dy, const ConvGeometry& g);

Tensor bias_grad(const Tensor& dy) {
  Dims dims;
  for (int d = 0; d < dy.dim(); ++d)
    if (d != 1) dims.push_back(d);
  return sum(dy, dims);
}

struct ConvNode final : Node {
  ConvGeometry geometry;
  ConvAlgorithm algorithm;
  Saved x, w;
  ConvNode(const ConvGeometry& g, ConvAlgorithm a) : geometry(g), algorithm(a) {}
  const char* name() const override { return "ConvolutionBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(3);
    if (needs(0)) out[0] = input_grad(g[0], w.get(*this), {}, geometry, algorithm);
    if (needs(1)) out[1] = weight_grad(x.get(*this), g[0], geometry);
    if (needs(2)) out[2] = bias_grad(g[0]);
    return out;
  }
  void release_saved() override {
    x.reset();
    w.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"input", x.peek()}, {"weight", w.peek()}};
  }
};

Tensor forward(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g,
               ConvAlgorithm algorithm) {
  Tensor y = run_forward(contiguous(x.detach()), contiguous(w.detach()),
                         bias.defined() ? contiguous(bias.detach()) : bias, g, algorithm);
  if (grad_needed(x, w, bias)) {
    auto node = make_node<ConvNode>({&x, &w, &bias}, g, algorithm);
    if (node->needs(1)) node->x.save(x);
    if (node->needs(0)) node->w.save(w);
    set_history(y, node);
  }
  return y;
}

struct ConvInputGradNode final : Node {
  ConvGeometry geometry;
  ConvAlgorithm algorithm;
  Saved dy, w;
  ConvInputGradNode(const ConvGeometry& g, ConvAlgorithm a) : geometry(g), algorithm(a) {}
  const char* name() const override { return "ConvolutionInputGradBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(3);
    if (needs(0)) out[0] = forward(g[0], w.get(*this), {}, geometry, algorithm);
    if (needs(1)) out[1] = weight_grad(g[0], dy.get(*this), geometry);
    if (needs(2)) out[2] = bias_grad(g[0]);
    return out;
  }
  void release_saved() override {
    dy.reset();
    w.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"input", dy.peek()}, {"weight", w.peek()}};
  }
};

Tensor input_grad(const Tensor& dy, const Tensor& w, const Tensor& bias, const ConvGeometry& g,
                  ConvAlgorithm algorithm) {
  Tensor dx = run_input_grad(contiguous(dy.detach()), contiguous(w.detach()),
                             bias.defined() ? contiguous(bias.detach()) : bias, g, algorithm);
  if (grad_needed(dy, w, bias)) {
    auto node = make_node<ConvInputGradNode>({&dy, &w, &bias}, g, algorithm);
    if (node->needs(1)) node->dy.save(dy);
    if (node->needs(0)) node->w.save(w);
    set_history(dx, node);
  }
  return dx;
}

struct ConvWeightGradNode final : Node {
  ConvGeometry geometry;
  Saved x, dy;
  explicit ConvWeightGradNode(const ConvGeometry& g) : geometry(g) {}
  const char* name() const override { return "ConvolutionWeightGradBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(2);
    if (needs(0)) out[0] = input_grad(dy.get(*this), g[0], {}, geometry, ConvAlgorithm::automatic);
    if (needs(1)) out[1] = forward(x.get(*this), g[0], {}, geometry, ConvAlgorithm::automatic);
    return out;
  }
  void release_saved() override {
    x.reset();
    dy.reset();
  }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"input", x.peek()}, {"grad_output", dy.peek()}};
  }
};

Tensor weight_grad(const Tensor& x, const Tensor& dy, const ConvGeometry& g) {
  Tensor dw = run_weight_grad(contiguous(x.detach()), contiguous(dy.detach()), g);
  if (grad_needed(x, dy)) {
    auto node = make_node<ConvWeightGradNode>({&x, &dy}, g);
    if (node->needs(1)) node->x.save(x);
    if (node->needs(0)) node->dy.save(dy);
    set_history(dw, node);
  }
  return dw;
}

// ---- checks
// ----------------------------------------------------------------------------------------

constexpr uint32_t kConvMask = kWideFloatMask;

void check_dtypes(const char* op, const Tensor& x, const Tensor& w, const Tensor& bias) {
  if (!(dtype_bit(x.dtype()) & kConvMask)) fail_dtype(op, "input", x.dtype(), kConvMask);
  TERCEL_CHECK(w.dtype() == x.dtype(), DType, op, ": weight must have the dtype of input, ",
               dtype_name(x.dtype()), ", got ", dtype_name(w.dtype()));
  TERCEL_CHECK(!bias.defined() || bias.dtype() == x.dtype(), DType, op,
               ": bias must have the dtype of input, ", dtype_name(x.dtype()), ", got ",
               dtype_name(bias.dtype()));
}

ConvAlgorithm algorithm_from(const std::string& name, const char* op) {
  if (name == "auto") return ConvAlgorithm::automatic;
  if (name == "direct") return ConvAlgorithm::direct;
  TERCEL_CHECK(name == "winograd", Value, op,
               ": algorithm must be 'auto', 'direct' or 'winograd', got '", name, "'");
  return ConvAlgorithm::winograd;
}

struct Spatial {
  Dims stride, padding, dilation;
};

Spatial check_spatial(const char* op, int dims, const Dims& stride, const Dims& padding,
                      const Dims& dilation) {
  return {spatial_dims(stride, dims, 1, op, "stride"),
          spatial_dims(padding, dims, 0, op, "padding"),
          spatial_dims(dilation, dims, 1, op, "dilation")};
}

// Everything of the geometry but out/in sizes, from batched shapes. `w` is [groups cout, cin,
// kernel].
ConvGeometry base_geometry(const char* op, int dims, const Shape& w, const Spatial& s,
                           int64_t groups) {
  TERCEL_CHECK(w.size() == dims + 2, Shape, op, ": weight must have ", dims + 2,
               " dimensions, got shape ", w);
  TERCEL_CHECK(groups >= 1, Value, op, ": groups must be at least 1, got ", groups);
  TERCEL_CHECK(w[0] % groups == 0, Shape, op,
               ": groups must divide dimension 0 of weight, got groups ", groups, " for weight ",
               w);
  ConvGeometry g{};
  g.dims = dims;
  g.groups = groups;
  g.cout = w[0] / groups;
  g.cin = w[1];
  for (int d = 0; d < 3; ++d) g.in[d] = g.out[d] = g.kernel[d] = g.stride[d] = g.dilation[d] = 1;
  for (int d = 0; d < dims; ++d) {
    const int e = 3 - dims + d;
    g.kernel[e] = w[2 + d];
    g.stride[e] = s.stride[d];
    g.pad[e] = s.padding[d];
    g.dilation[e] = s.dilation[d];
    TERCEL_CHECK(g.kernel[e] >= 1, Shape, op, ": kernel sizes must be at least 1, got weight ", w);
    window_extent(g.kernel[e], g.dilation[e], op);
  }
  return g;
}

void check_bias(const char* op, const Tensor& bias, int64_t channels) {
  TERCEL_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == channels), Shape, op,
               ": bias must have shape [", channels, "] (output channels), got ",
               bias.defined() ? bias.shape() : Shape{});
}

// Input as a batch; `unbatched` tells to drop the batch again.
Tensor as_batch(const char* op, const Tensor& x, int dims, bool* unbatched) {
  TERCEL_CHECK(x.dim() == dims + 1 || x.dim() == dims + 2, Shape, op, ": input must have ",
               dims + 2, " dimensions (or ", dims + 1, " without batch), got shape ", x.shape());
  *unbatched = x.dim() == dims + 1;
  return *unbatched ? unsqueeze(x, 0) : x;
}

void check_channels(const char* op, const Tensor& x, int64_t expected, const Shape& w,
                    int64_t groups) {
  TERCEL_CHECK(x.size(1) == expected, Shape, op, ": input must have ", expected,
               " channels (weight ", w, ", groups ", groups, "), got input ", x.shape());
}

Tensor conv(const char* op, int dims, const Tensor& input, const Tensor& w, const Tensor& bias,
            const Dims& stride, const Dims& padding, const Dims* padding_end, const Dims& dilation,
            int64_t groups, const std::string& algorithm) {
  if (autocast_narrows(input, w, bias))
    return conv(op, dims, autocast_narrow(input), autocast_narrow(w), autocast_narrow(bias), stride,
                padding, padding_end, dilation, groups, algorithm);
  check_dtypes(op, input, w, bias);
  const ConvAlgorithm asked = algorithm_from(algorithm, op);
  bool unbatched;
  Tensor x = as_batch(op, input, dims, &unbatched);
  const Spatial s = check_spatial(op, dims, stride, padding, dilation);
  ConvGeometry g = base_geometry(op, dims, w.shape(), s, groups);
  check_channels(op, x, checked_mul(g.cin, groups, op), w.shape(), groups);
  check_bias(op, bias, w.size(0));
  g.images = x.size(0);
  for (int d = 0; d < dims; ++d) {
    const int e = 3 - dims + d;
    g.in[e] = x.size(2 + d);
    g.out[e] = conv_output_size(g.in[e], g.kernel[e], g.stride[e], g.pad[e],
                                padding_end ? (*padding_end)[d] : g.pad[e], g.dilation[e], op);
  }
  checked_numel(g.output_shape(), op);
  Tensor y = forward(x, w, bias, g, asked);
  return unbatched ? squeeze(y, Dims{0}) : y;
}

Tensor conv_transpose(const char* op, int dims, const Tensor& input, const Tensor& w,
                      const Tensor& bias, const Dims& stride, const Dims& padding,
                      const Dims& output_padding, int64_t groups, const Dims& dilation) {
  if (autocast_narrows(input, w, bias))
    return conv_transpose(op, dims, autocast_narrow(input), autocast_narrow(w),
                          autocast_narrow(bias), stride, padding, output_padding, groups, dilation);
  check_dtypes(op, input, w, bias);
  bool unbatched;
  Tensor x = as_batch(op, input, dims, &unbatched);
  const Spatial s = check_spatial(op, dims, stride, padding, dilation);
  const Dims extra = spatial_dims(output_padding, dims, 0, op, "output_padding");
  ConvGeometry g = base_geometry(op, dims, w.shape(), s, groups);
  check_channels(op, x, w.size(0), w.shape(), groups);
  check_bias(op, bias, checked_mul(g.cin, groups, op));
  g.images = x.size(0);
  for (int d = 0; d < dims; ++d) {
    const int e = 3 - dims + d;
    g.out[e] = x.size(2 + d);
    TERCEL_CHECK(g.out[e] >= 1, Shape, op, ": spatial sizes of input must be at least 1, got ",
                 x.shape());
    g.in[e] = conv_transpose_output_size(g.out[e], g.kernel[e], g.stride[e], g.pad[e], extra[d],
                                         g.dilation[e], op);
  }
  checked_numel(g.input_shape(), op);
  Tensor y = input_grad(x, w, bias, g, ConvAlgorithm::automatic);
  return unbatched ? squeeze(y, Dims{0}) : y;
}

const char* const kConvNames[] = {"conv1d", "conv2d", "conv3d"};

// Geometry of a gradient call: x and dy are given by shape and must belong together.
ConvGeometry grad_geometry(const char* op, const Shape& x, const Shape& w, const Shape& dy,
                           const Dims& stride, const Dims& padding, const Dims& dilation,
                           int64_t groups) {
  const int dims = w.size() - 2;
  TERCEL_CHECK(dims >= 1 && dims <= 3, Shape, op,
               ": weight must have 3, 4 or 5 dimensions, got shape ", w);
  checked_numel(x, op);
  checked_numel(w, op);
  TERCEL_CHECK(x.size() == dims + 2 && dy.size() == dims + 2, Shape, op,
               ": input and grad_output must have ", dims + 2, " dimensions like weight, got ", x,
               " and ", dy);
  const Spatial s = check_spatial(op, dims, stride, padding, dilation);
  ConvGeometry g = base_geometry(op, dims, w, s, groups);
  TERCEL_CHECK(x[1] == checked_mul(g.cin, groups, op), Shape, op, ": input must have ",
               g.cin * groups, " channels (weight ", w, ", groups ", groups, "), got ", x);
  g.images = x[0];
  for (int d = 0; d < dims; ++d) {
    const int e = 3 - dims + d;
    g.in[e] = x[2 + d];
    g.out[e] =
        conv_output_size(g.in[e], g.kernel[e], g.stride[e], g.pad[e], g.pad[e], g.dilation[e], op);
  }
  TERCEL_CHECK(dy == g.output_shape(), Shape, op, ": grad_output must have shape ",
               g.output_shape(), ", got ", dy);
  return g;
}

}  // namespace

#define TERCEL_CONV(n)                                                                            \
  Tensor conv##n##d(const Tensor& x, const Tensor& w, const Tensor& bias, const Dims& stride,     \
                    const Dims& pad, const Dims& dilation, int64_t groups,                        \
                    const std::string& algorithm) {                                               \
    return conv("conv" #n "d", n, x, w, bias, stride, pad, nullptr, dilation, groups, algorithm); \
  }                                                                                               \
  Tensor conv_transpose##n##d(const Tensor& x, const Tensor& w, const Tensor& bias,               \
                              const Dims& stride, const Dims& pad, const Dims& output_padding,    \
                              int64_t groups, const Dims& dilation) {                             \
    return conv_transpose("conv_transpose" #n "d", n, x, w, bias, stride, pad, output_padding,    \
                          groups, dilation);                                                      \
  }
TERCEL_CONV(1)
TERCEL_CONV(2)
TERCEL_CONV(3)
#undef TERCEL_CONV

Tensor conv_named_padding(int dims, const Tensor& x, const Tensor& w, const Tensor& bias,
                          const Dims& stride, const std::string& padding, const Dims& dilation,
                          int64_t groups, const std::string& algorithm) {
  const char* op = kConvNames[dims - 1];
  if (padding == "valid")
    return conv(op, dims, x, w, bias, stride, {0}, nullptr, dilation, groups, algorithm);
  TERCEL_CHECK(padding == "same", Value, op, ": padding must be ints, 'same' or 'valid', got '",
               padding, "'");
  for (int64_t s : stride)
    TERCEL_CHECK(s == 1, Value, op, ": padding='same' needs stride 1, got stride ", stride);
  TERCEL_CHECK(w.dim() == dims + 2, Shape, op, ": weight must have ", dims + 2,
               " dimensions, got shape ", w.shape());
  const Dims dil = spatial_dims(dilation, dims, 1, op, "dilation");
  Dims low, high;
  for (int d = 0; d < dims; ++d) {
    const int64_t total = std::max<int64_t>(0, window_extent(w.size(2 + d), dil[d], op) - 1);
    low.push_back(total / 2);
    high.push_back(total - total / 2);
  }
  return conv(op, dims, x, w, bias, stride, low, &high, dil, groups, algorithm);
}

Tensor conv_input_grad(const Shape& input_size, const Tensor& weight, const Tensor& grad_output,
                       const Dims& stride, const Dims& padding, const Dims& dilation,
                       int64_t groups) {
  const char* op = "conv_input_grad";
  check_dtypes(op, grad_output, weight, {});
  const ConvGeometry g = grad_geometry(op, input_size, weight.shape(), grad_output.shape(), stride,
                                       padding, dilation, groups);
  return input_grad(grad_output, weight, {}, g, ConvAlgorithm::automatic);
}

Tensor conv_weight_grad(const Tensor& input, const Shape& weight_size, const Tensor& grad_output,
                        const Dims& stride, const Dims& padding, const Dims& dilation,
                        int64_t groups) {
  const char* op = "conv_weight_grad";
  check_dtypes(op, input, grad_output, {});
  const ConvGeometry g = grad_geometry(op, input.shape(), weight_size, grad_output.shape(), stride,
                                       padding, dilation, groups);
  return weight_grad(input, grad_output, g);
}

}  // namespace tercel
