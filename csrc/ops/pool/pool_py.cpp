#include <variant>

#include "ops/pool/pool.h"
#include "python/bind.h"

namespace tercel {

namespace {

using OptionalDims = std::optional<Dims>;

const char* const kMaxDoc =
    "Maximum over sliding windows.\n\n"
    "input: [N, C, ...] or [C, ...], floating. kernel_size, stride (default kernel_size), "
    "padding,\n"
    "dilation: an int or one per dimension; padding (with -inf) at most half the kernel. "
    "ceil_mode\n"
    "rounds the output size up. return_indices=True also returns the int64 place of each maximum\n"
    "in its plane. NaN propagates; the first of equal values wins. Raises ShapeError, ValueError.";
const char* const kAvgDoc =
    "Mean over sliding windows.\n\n"
    "input: [N, C, ...] or [C, ...], floating. kernel_size, stride (default kernel_size), padding: "
    "an\n"
    "int or one per dimension. count_include_pad: padded zeros count in the divisor;\n"
    "divisor_override replaces it. Raises ShapeError, ValueError.";

using AdaptiveSize = std::variant<std::monostate, int64_t, std::vector<std::optional<int64_t>>>;

// None, an int, or a sequence of ints and None (= the input's size).
Dims adaptive_size(const AdaptiveSize& size, const char* op) {
  const auto one = [&](std::optional<int64_t> n) -> int64_t {
    TERCEL_CHECK(!n || *n >= 0, Value, op, ": output_size must be at least 0, got ", *n);
    return n.value_or(-1);
  };
  if (std::holds_alternative<std::monostate>(size)) return {-1};
  if (const int64_t* n = std::get_if<int64_t>(&size)) return {one(*n)};
  Dims out;
  for (const auto& n : std::get<2>(size)) out.push_back(one(n));
  return out;
}

// One of output_size and output_ratio (a float or one per dim) gives the size.
Dims fractional_size(const Tensor& x, int dims, const std::optional<Dims>& size,
                     const py::object& ratio, const std::string& op) {
  TERCEL_CHECK(size.has_value() == ratio.is_none(), Value, op,
               ": expected exactly one of output_size and output_ratio");
  if (size) return size->size() == 1 ? Dims::filled(dims, (*size)[0]) : *size;
  const auto ratios = py::isinstance<py::sequence>(ratio)
                          ? ratio.cast<std::vector<double>>()
                          : std::vector<double>(dims, ratio.cast<double>());
  TERCEL_CHECK(ratios.size() == size_t(dims) && x.dim() >= dims, Shape, op, ": expected ", dims,
               " ratios and at least ", dims, " dimensions");
  Dims out;
  for (int i = 0; i < dims; ++i) {
    TERCEL_CHECK(ratios[i] > 0 && ratios[i] < 1, Value, op,
                 ": output_ratio must lie between 0 and 1, got ", ratios[i]);
    out.push_back(int64_t(double(x.size(x.dim() - dims + i)) * ratios[i]));
  }
  return out;
}

template <int N>
void bind_fractional(Binder& b, const char* name) {
  b.function(
      name,
      [name](const Tensor& x, const Dims& kernel, const OptionalDims& size, const py::object& ratio,
             bool return_indices, const std::optional<Tensor>& samples) -> py::object {
        const Dims out = fractional_size(x, N, size, ratio, name);
        const Dims k = kernel.size() == 1 ? Dims::filled(N, kernel[0]) : kernel;
        auto result = fractional_max_pool(N, x, k, out, samples ? *samples : Tensor());
        return return_indices ? py::cast(result) : py::cast(result.first);
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("output_size") = py::none(),
      py::arg("output_ratio") = py::none(), py::arg("return_indices") = false,
      py::arg("_random_samples") = py::none(),
      "Maximum over windows whose borders are random, so that any output size is reached.\n\n"
      "input: [N, C, ...] or [C, ...], floating. kernel_size: an int or one per dimension. Give "
      "either\n"
      "output_size or output_ratio (between 0 and 1). _random_samples: [N, C, dims] in [0, 1), "
      "else drawn\n"
      "from the default generator. return_indices as in max_pool.\n\n"
      "Graham 2014, arXiv:1412.6071.");
}

template <int N>
void bind_dims(Binder& b) {
  const std::string n = std::to_string(N) + "d";
  const auto name = [&](const char* base) { return base + n; };
  b.function(
      name("max_pool").c_str(),
      [](const Tensor& x, const Dims& kernel, const OptionalDims& stride, const Dims& padding,
         const Dims& dilation, bool ceil_mode, bool return_indices) -> py::object {
        const Dims s = stride.value_or(Dims{});
        if (!return_indices)
          return py::cast(max_pool(N, x, kernel, s, padding, dilation, ceil_mode));
        return py::cast(max_pool_with_indices(N, x, kernel, s, padding, dilation, ceil_mode));
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("stride") = py::none(),
      py::arg("padding") = Dims{0}, py::arg("dilation") = Dims{1}, py::arg("ceil_mode") = false,
      py::arg("return_indices") = false, kMaxDoc);
  b.function(
      name("avg_pool").c_str(),
      [](const Tensor& x, const Dims& kernel, const OptionalDims& stride, const Dims& padding,
         bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override) {
        return avg_pool(N, x, kernel, stride.value_or(Dims{}), padding, ceil_mode,
                        count_include_pad, divisor_override);
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("stride") = py::none(),
      py::arg("padding") = Dims{0}, py::arg("ceil_mode") = false,
      py::arg("count_include_pad") = true, py::arg("divisor_override") = py::none(), kAvgDoc);
  b.function(
      name("adaptive_avg_pool").c_str(),
      [](const Tensor& x, const AdaptiveSize& size) {
        return adaptive_avg_pool(N, x, adaptive_size(size, "adaptive_avg_pool"));
      },
      py::arg("input"), py::arg("output_size"),
      "Mean over windows chosen so that the output has output_size (int or one per dimension; "
      "None\n"
      "keeps the input's size): window o covers floor(o*in/out) .. ceil((o+1)*in/out).\n"
      "input: [N, C, ...] or [C, ...], floating. Raises ShapeError, ValueError.");
  b.function(
      name("adaptive_max_pool").c_str(),
      [](const Tensor& x, const AdaptiveSize& size, bool return_indices) -> py::object {
        const Dims s = adaptive_size(size, "adaptive_max_pool");
        if (!return_indices) return py::cast(adaptive_max_pool(N, x, s));
        return py::cast(adaptive_max_pool_with_indices(N, x, s));
      },
      py::arg("input"), py::arg("output_size"), py::arg("return_indices") = false,
      "Maximum over the windows of adaptive_avg_pool; return_indices as in max_pool.\n"
      "input: [N, C, ...] or [C, ...], floating. Raises ShapeError, ValueError.");
  b.function(
      name("lp_pool").c_str(),
      [](const Tensor& x, double norm_type, const Dims& kernel, const OptionalDims& stride,
         bool ceil_mode) {
        return lp_pool(N, x, norm_type, kernel, stride.value_or(Dims{}), ceil_mode);
      },
      py::arg("input"), py::arg("norm_type"), py::arg("kernel_size"),
      py::arg("stride") = py::none(), py::arg("ceil_mode") = false,
      "Power-average pooling: (sum over the window of x^norm_type)^(1/norm_type).\n"
      "input: [N, C, ...] or [C, ...], floating. Raises ShapeError, ValueError.");
  b.function(
      name("max_unpool").c_str(),
      [](const Tensor& x, const Tensor& indices, const Dims& kernel, const OptionalDims& stride,
         const Dims& padding, const OptionalDims& output_size) {
        return max_unpool(N, x, indices, kernel, stride.value_or(Dims{}), padding, output_size);
      },
      py::arg("input"), py::arg("indices"), py::arg("kernel_size"), py::arg("stride") = py::none(),
      py::arg("padding") = Dims{0}, py::arg("output_size") = py::none(),
      "Partial inverse of max_pool: zeros with input written at indices (int64, from max_pool).\n"
      "output_size resolves the size that pooling rounded away. Raises IndexError for indices\n"
      "outside the output plane, ShapeError, ValueError.\n\nZeiler and Fergus (2014).");
}

}  // namespace

void bind_pool(Binder& b) {
  bind_fractional<2>(b, "fractional_max_pool2d");
  bind_fractional<3>(b, "fractional_max_pool3d");
  bind_dims<1>(b);
  bind_dims<2>(b);
  bind_dims<3>(b);
}

}  // namespace tercel
