// Bindings of the activations: functions, and methods where PyTorch has them.
#include "ops/elementwise/activation.h"
#include "ops/elementwise/activation_rules.h"
#include "python/bind.h"

namespace tercel {
namespace {

// f(input) with no parameters: function, and its in-place twin.
void bind_plain(Binder& b, const UnaryRule* rule) {
  const std::string doc = std::string(rule->doc) + ", elementwise.";
  b.function(
      rule->name, [rule](const Tensor& input) { return unary(*rule, input); }, py::arg("input"),
      doc.c_str());
  b.function((std::string(rule->name) + "_").c_str(),
             [rule](Tensor input) { return unary_(*rule, input); }, py::arg("input"),
             (std::string("In-place ") + rule->name + ".").c_str());
}

}  // namespace

void bind_activation(Binder& b) {
  for (const UnaryRule* rule : {&kRelu, &kSilu, &kMish, &kHardswish, &kHardsigmoid, &kSoftsign,
                                &kTanhshrink, &kLogsigmoid}) {
    bind_plain(b, rule);
  }
  b.method("relu", [](const Tensor& x) { return relu(x); }, "max(x, 0).");
  b.method("relu_", [](Tensor x) { return relu_(x); }, "In-place relu.");
  b.function(
      "relu6", [](const Tensor& x) { return relu6(x); }, py::arg("input"), "min(max(x, 0), 6).");
  b.function(
      "leaky_relu", [](const Tensor& x, double slope) { return leaky_relu(x, slope); },
      py::arg("input"), py::arg("negative_slope") = 0.01,
      "x where x > 0, negative_slope x elsewhere.");
  b.function(
      "leaky_relu_",
      [](Tensor x, double slope) {
        const ParamList p = {slope};
        return unary_(kLeakyRelu, x, p);
      },
      py::arg("input"), py::arg("negative_slope") = 0.01, "In-place leaky_relu.");
  b.both(
      "prelu", [](const Tensor& x, const Tensor& w) { return prelu(x, w); }, py::arg("input"),
      py::arg("weight"),
      "x where x > 0, weight x elsewhere (He et al. 2015). weight: 1 value or one per channel (dim "
      "1).");
  b.function(
      "rrelu",
      [](const Tensor& x, double lower, double upper, bool training,
         const Ref<Generator>& generator) { return rrelu(x, lower, upper, training, generator); },
      py::arg("input"), py::arg("lower") = 1.0 / 8, py::arg("upper") = 1.0 / 3,
      py::arg("training") = false, py::arg("generator") = py::none(),
      "Leaky relu with a slope drawn from [lower, upper] per element (training) or their mean.");
  b.function(
      "elu", [](const Tensor& x, double alpha) { return elu(x, alpha); }, py::arg("input"),
      py::arg("alpha") = 1.0, "x where x > 0, alpha (e^x - 1) elsewhere (Clevert et al. 2015).");
  b.function(
      "celu", [](const Tensor& x, double alpha) { return celu(x, alpha); }, py::arg("input"),
      py::arg("alpha") = 1.0, "x where x > 0, alpha (e^(x / alpha) - 1) elsewhere.");
  b.function(
      "selu", [](const Tensor& x) { return selu(x); }, py::arg("input"),
      "Self-normalising elu (Klambauer et al. 2017).");
  b.function(
      "gelu", [](const Tensor& x, const std::string& approximate) { return gelu(x, approximate); },
      py::arg("input"), py::kw_only(), py::arg("approximate") = "none",
      "x Phi(x) (Hendrycks and Gimpel 2016); approximate='tanh' uses the tanh formula. 8 ulp for x "
      ">= -5.");
  b.function(
      "hardtanh", [](const Tensor& x, double lo, double hi) { return hardtanh(x, lo, hi); },
      py::arg("input"), py::arg("min_val") = -1.0, py::arg("max_val") = 1.0,
      "Limits x to [min_val, max_val].");
  b.function(
      "softplus",
      [](const Tensor& x, double beta, double threshold) { return softplus(x, beta, threshold); },
      py::arg("input"), py::arg("beta") = 1.0, py::arg("threshold") = 20.0,
      "log(1 + e^(beta x)) / beta; x itself where beta x > threshold.");
  b.function(
      "softshrink", [](const Tensor& x, double lambd) { return softshrink(x, lambd); },
      py::arg("input"), py::arg("lambd") = 0.5,
      "x - lambd above lambd, x + lambd below -lambd, 0 between.");
  b.both(
      "hardshrink", [](const Tensor& x, double lambd) { return hardshrink(x, lambd); },
      py::arg("input"), py::arg("lambd") = 0.5, "x outside [-lambd, lambd], 0 inside.");
  b.function(
      "threshold", [](const Tensor& x, double t, double v) { return threshold(x, t, v); },
      py::arg("input"), py::arg("threshold"), py::arg("value"),
      "x where x > threshold, value elsewhere.");
  b.function(
      "glu", [](const Tensor& x, int64_t dim) { return glu(x, dim); }, py::arg("input"),
      py::arg("dim") = -1,
      "a sigmoid(b) for the halves a, b of input along dim (Dauphin et al. 2016).");
}

}  // namespace tercel
