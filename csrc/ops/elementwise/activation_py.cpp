// Bindings of the activations: functions, and methods where PyTorch has them.
#include "ops/copy/copy.h"
#include "ops/elementwise/activation.h"
#include "ops/elementwise/activation_rules.h"
#include "python/bind.h"

namespace tercel {
namespace {

// f(x), or x overwritten with it. A recorded in-place call works on a copy, since f may keep its
// input.
template <class F>
Tensor apply(Tensor x, bool inplace, F&& f) {
  if (!inplace) return f(x);
  const Tensor y = f(grad_needed(x) ? clone(x) : x);
  return copy_(x, y);
}
// name and name_ with the same parameters; `name` also takes inplace as its last one.
template <class... P, class F, class... Extra>
void bind_with_inplace(Binder& b, const char* name, F f, const char* doc, const Extra&... args) {
  b.function(
      name,
      [f](Tensor x, P... p, bool inplace) {
        return apply(std::move(x), inplace, [&](const Tensor& t) { return f(t, p...); });
      },
      py::arg("input"), args..., py::arg("inplace") = false, doc);
  b.function((std::string(name) + "_").c_str(),
             [f](Tensor x, P... p) {
               return apply(std::move(x), true, [&](const Tensor& t) { return f(t, p...); });
             },
             py::arg("input"), args..., (std::string("In-place ") + name + ".").c_str());
}

// f(input) with no parameters: function, and its in-place twin.
void bind_plain(Binder& b, const UnaryRule* rule) {
  const std::string doc = std::string(rule->doc) + ", elementwise.";
  b.function(
      rule->name,
      [rule](Tensor input, bool inplace) {
        return inplace ? unary_(*rule, input) : unary(*rule, input);
      },
      py::arg("input"), py::arg("inplace") = false, doc.c_str());
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
  bind_with_inplace<>(b, "relu6", [](const Tensor& x) { return relu6(x); }, "min(max(x, 0), 6).");
  bind_with_inplace<double>(
      b, "leaky_relu", [](const Tensor& x, double slope) { return leaky_relu(x, slope); },
      "x where x > 0, negative_slope x elsewhere.", py::arg("negative_slope") = 0.01);
  b.both(
      "prelu", [](const Tensor& x, const Tensor& w) { return prelu(x, w); }, py::arg("input"),
      py::arg("weight"),
      "x where x > 0, weight x elsewhere (He et al. 2015). weight: 1 value or one per channel (dim "
      "1).");
  b.function(
      "rrelu",
      [](Tensor x, double lower, double upper, bool training, bool inplace,
         const Ref<Generator>& generator) {
        return apply(std::move(x), inplace,
                     [&](const Tensor& t) { return rrelu(t, lower, upper, training, generator); });
      },
      py::arg("input"), py::arg("lower") = 1.0 / 8, py::arg("upper") = 1.0 / 3,
      py::arg("training") = false, py::arg("inplace") = false, py::arg("generator") = py::none(),
      "Leaky relu with a slope drawn from [lower, upper] per element (training) or their mean.");
  bind_with_inplace<double>(
      b, "elu", [](const Tensor& x, double alpha) { return elu(x, alpha); },
      "x where x > 0, alpha (e^x - 1) elsewhere (Clevert et al. 2015).", py::arg("alpha") = 1.0);
  bind_with_inplace<double>(
      b, "celu", [](const Tensor& x, double alpha) { return celu(x, alpha); },
      "x where x > 0, alpha (e^(x / alpha) - 1) elsewhere.", py::arg("alpha") = 1.0);
  bind_with_inplace<>(
      b, "selu", [](const Tensor& x) { return selu(x); },
      "Self-normalising elu (Klambauer et al. 2017).");
  b.function(
      "gelu", [](const Tensor& x, const std::string& approximate) { return gelu(x, approximate); },
      py::arg("input"), py::arg("approximate") = "none",
      "x Phi(x) (Hendrycks and Gimpel 2016); approximate='tanh' uses the tanh formula. 8 ulp for x "
      ">= -5.");
  bind_with_inplace<double, double>(
      b, "hardtanh", [](const Tensor& x, double lo, double hi) { return hardtanh(x, lo, hi); },
      "Limits x to [min_val, max_val].", py::arg("min_val") = -1.0, py::arg("max_val") = 1.0);
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
  bind_with_inplace<double, double>(
      b, "threshold", [](const Tensor& x, double t, double v) { return threshold(x, t, v); },
      "x where x > threshold, value elsewhere.", py::arg("threshold"), py::arg("value"));
  b.function(
      "glu", [](const Tensor& x, int64_t dim) { return glu(x, dim); }, py::arg("input"),
      py::arg("dim") = -1,
      "a sigmoid(b) for the halves a, b of input along dim (Dauphin et al. 2016).");
}

}  // namespace tercel
