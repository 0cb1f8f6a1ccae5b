// Python names of the random family.
#include "ops/creation/factory_args.h"
#include "ops/random/random.h"

namespace tercel {
namespace {

template <class Make>
void def_random(Binder& b, const char* name, Make make, const char* doc) {
  b.function(
      name,
      [name, make](const py::args& args, std::optional<Dims> size, const GeneratorRef& generator,
                   std::optional<Tensor> out, std::optional<DType> dtype, const py::object& layout,
                   std::optional<Device> device, bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, name);
        const Shape shape = factory_shape(args, size, name);
        const DType t = dtype.value_or(out && out->defined() ? out->dtype() : default_dtype());
        return with_requires_grad(
            into_out(make(shape, t, generator, device_for(device, out)), out, name), requires_grad);
      },
      py::arg("size") = py::none(), py::arg("generator") = py::none(), py::arg("out") = py::none(),
      py::arg("dtype") = py::none(), py::arg("layout") = py::none(), py::arg("device") = py::none(),
      py::arg("pin_memory") = false, py::arg("requires_grad") = false, doc);
}

template <class Make>
void def_random_like(Binder& b, const char* name, Make make, const char* doc) {
  b.function(
      name,
      [name, make](const Tensor& input, const GeneratorRef& generator, std::optional<DType> dtype,
                   const py::object& layout, std::optional<Device> device, bool requires_grad,
                   const py::object&) {
        check_layout(layout, false, name);
        return with_requires_grad(make(input.shape(), dtype.value_or(input.dtype()), generator,
                                       device.value_or(input.device())),
                                  requires_grad);
      },
      py::arg("input"), py::kw_only(), py::arg("generator") = py::none(),
      py::arg("dtype") = py::none(), py::arg("layout") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false, py::arg("memory_format") = py::none(), doc);
}

void bind_randint(Binder& b) {
  const char* doc =
      "randint(low=0, high, size): integers drawn uniformly from [low, high), int64 unless dtype= "
      "is given.\n\n"
      "Raises ValueError unless low < high, OverflowError when high - 1 does not fit dtype.";
  b.function(
      "randint",
      [](int64_t low, int64_t high, const Dims& size, const GeneratorRef& generator,
         std::optional<Tensor> out, std::optional<DType> dtype, const py::object& layout,
         std::optional<Device> device, bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, "randint");
        const DType t = dtype.value_or(out && out->defined() ? out->dtype() : DType::i64);
        return with_requires_grad(
            into_out(randint(low, high, size, t, generator, device_for(device, out)), out,
                     "randint"),
            requires_grad);
      },
      py::arg("low"), py::arg("high"), py::arg("size"), py::kw_only(),
      py::arg("generator") = py::none(), py::arg("out") = py::none(), py::arg("dtype") = py::none(),
      py::arg("layout") = py::none(), py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false, doc);
  b.function(
      "randint",
      [](int64_t high, const Dims& size, const GeneratorRef& generator, std::optional<Tensor> out,
         std::optional<DType> dtype, const py::object& layout, std::optional<Device> device,
         bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, "randint");
        const DType t = dtype.value_or(out && out->defined() ? out->dtype() : DType::i64);
        return with_requires_grad(
            into_out(randint(0, high, size, t, generator, device_for(device, out)), out, "randint"),
            requires_grad);
      },
      py::arg("high"), py::arg("size"), py::kw_only(), py::arg("generator") = py::none(),
      py::arg("out") = py::none(), py::arg("dtype") = py::none(), py::arg("layout") = py::none(),
      py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false);
  const auto like = [](const Tensor& input, int64_t low, int64_t high,
                       const GeneratorRef& generator, std::optional<DType> dtype,
                       const py::object& layout, std::optional<Device> device, bool requires_grad,
                       const py::object&) {
    check_layout(layout, false, "randint_like");
    return with_requires_grad(randint(low, high, input.shape(), dtype.value_or(input.dtype()),
                                      generator, device.value_or(input.device())),
                              requires_grad);
  };
  b.function("randint_like", like, py::arg("input"), py::arg("low"), py::arg("high"), py::kw_only(),
             py::arg("generator") = py::none(), py::arg("dtype") = py::none(),
             py::arg("layout") = py::none(), py::arg("device") = py::none(),
             py::arg("requires_grad") = false, py::arg("memory_format") = py::none(),
             "randint with the shape, dtype and device of input.");
  b.function(
      "randint_like",
      [like](const Tensor& input, int64_t high, const GeneratorRef& generator,
             std::optional<DType> dtype, const py::object& layout, std::optional<Device> device,
             bool requires_grad, const py::object& format) {
        return like(input, 0, high, generator, dtype, layout, device, requires_grad, format);
      },
      py::arg("input"), py::arg("high"), py::kw_only(), py::arg("generator") = py::none(),
      py::arg("dtype") = py::none(), py::arg("layout") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false, py::arg("memory_format") = py::none());
  b.function(
      "randperm",
      [](int64_t n, const GeneratorRef& generator, std::optional<Tensor> out,
         std::optional<DType> dtype, const py::object& layout, std::optional<Device> device,
         bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, "randperm");
        const DType t = dtype.value_or(out && out->defined() ? out->dtype() : DType::i64);
        return with_requires_grad(
            into_out(randperm(n, t, generator, device_for(device, out)), out, "randperm"),
            requires_grad);
      },
      py::arg("n"), py::kw_only(), py::arg("generator") = py::none(), py::arg("out") = py::none(),
      py::arg("dtype") = py::none(), py::arg("layout") = py::none(), py::arg("device") = py::none(),
      py::arg("pin_memory") = false, py::arg("requires_grad") = false,
      "Random permutation of 0 .. n-1, int64 unless dtype= is given.");
}

void bind_draws(Binder& b) {
  b.function(
      "normal",
      [](const Operand& mean, const Operand& std, const GeneratorRef& generator,
         std::optional<Tensor> out) {
        return into_out(normal(mean, std, generator), out, "normal");
      },
      py::arg("mean"), py::arg("std") = 1.0, py::kw_only(), py::arg("generator") = py::none(),
      py::arg("out") = py::none(),
      "Normal draws with element-wise mean and std (tensors or numbers, broadcast), or with "
      "numbers and size=.\n"
      "Differentiable in mean and std. Raises ValueError for a negative std.");
  b.function(
      "normal",
      [](double mean, double std, const Dims& size, const GeneratorRef& generator,
         std::optional<Tensor> out, std::optional<DType> dtype, std::optional<Device> device,
         bool requires_grad) {
        Tensor t =
            empty(size, dtype.value_or(out && out->defined() ? out->dtype() : default_dtype()),
                  device_for(device, out));
        return with_requires_grad(into_out(normal_(t, mean, std, generator), out, "normal"),
                                  requires_grad);
      },
      py::arg("mean"), py::arg("std"), py::arg("size"), py::kw_only(),
      py::arg("generator") = py::none(), py::arg("out") = py::none(), py::arg("dtype") = py::none(),
      py::arg("device") = py::none(), py::arg("requires_grad") = false);
  b.both(
      "bernoulli",
      [](const Tensor& input, std::optional<double> p, const GeneratorRef& generator,
         std::optional<Tensor> out) {
        return into_out(p ? bernoulli(input, *p, generator) : bernoulli(input, generator), out,
                        "bernoulli");
      },
      py::arg("input"), py::arg("p") = py::none(), py::kw_only(), py::arg("generator") = py::none(),
      py::arg("out") = py::none(),
      "0 or 1 (dtype of input) with probability input[i], or p for every element.");
  b.both(
      "multinomial",
      [](const Tensor& input, int64_t num_samples, bool replacement, const GeneratorRef& generator,
         std::optional<Tensor> out) {
        return into_out(multinomial(input, num_samples, replacement, generator), out,
                        "multinomial");
      },
      py::arg("input"), py::arg("num_samples"), py::arg("replacement") = false, py::kw_only(),
      py::arg("generator") = py::none(), py::arg("out") = py::none(),
      "int64 category indices drawn from each row of unnormalised probabilities: [C] -> [n], [R, "
      "C] -> [R, n].");
  b.function(
      "poisson",
      [](const Tensor& input, const GeneratorRef& generator) { return poisson(input, generator); },
      py::arg("input"), py::arg("generator") = py::none(),
      "Poisson draws with rates input[i], in input's dtype.");
}

void bind_inplace(Binder& b) {
  b.method("uniform_", &uniform_, py::arg("from") = 0.0, py::arg("to") = 1.0, py::kw_only(),
           py::arg("generator") = py::none(), "Fills with uniform draws from [from, to).");
  b.method("normal_", &normal_, py::arg("mean") = 0.0, py::arg("std") = 1.0, py::kw_only(),
           py::arg("generator") = py::none(), "Fills with normal draws.");
  b.method("exponential_", &exponential_, py::arg("lambd") = 1.0, py::kw_only(),
           py::arg("generator") = py::none(), "Fills with exponential draws of rate lambd.");
  b.method("cauchy_", &cauchy_, py::arg("median") = 0.0, py::arg("sigma") = 1.0, py::kw_only(),
           py::arg("generator") = py::none(), "Fills with Cauchy draws.");
  b.method("log_normal_", &log_normal_, py::arg("mean") = 1.0, py::arg("std") = 2.0, py::kw_only(),
           py::arg("generator") = py::none(), "Fills with exp of normal draws.");
  b.method("geometric_", &geometric_, py::arg("p"), py::kw_only(),
           py::arg("generator") = py::none(),
           "Fills with the number of trials (1, 2, ...) up to the first success of probability p.");
  b.method(
      "bernoulli_",
      [](const Tensor& self, double p, const GeneratorRef& generator) {
        return bernoulli_(self, p, generator);
      },
      py::arg("p") = 0.5, py::kw_only(), py::arg("generator") = py::none(),
      "Fills with 0 or 1 drawn with probability p (a number or a tensor that broadcasts).");
  b.method(
      "bernoulli_",
      [](const Tensor& self, const Tensor& p, const GeneratorRef& generator) {
        return bernoulli_(self, p, generator);
      },
      py::arg("p"), py::kw_only(), py::arg("generator") = py::none());
  b.method(
      "random_",
      [](const Tensor& self, const GeneratorRef& generator) {
        return random_(self, 0, {}, generator);
      },
      py::kw_only(), py::arg("generator") = py::none(),
      "random_(), random_(to), random_(from, to): fills with integers from [from, to); without "
      "bounds from the\n"
      "non-negative range of the dtype (floats: the integers it holds exactly).");
  b.method(
      "random_",
      [](const Tensor& self, int64_t to, const GeneratorRef& generator) {
        return random_(self, 0, to, generator);
      },
      py::arg("to"), py::kw_only(), py::arg("generator") = py::none());
  b.method(
      "random_",
      [](const Tensor& self, int64_t from, std::optional<int64_t> to,
         const GeneratorRef& generator) { return random_(self, from, to, generator); },
      py::arg("from"), py::arg("to"), py::kw_only(), py::arg("generator") = py::none());
}

}  // namespace

void bind_random(Binder& b) {
  def_random(b, "rand", &rand,
             "rand(*size, generator=None, dtype=None): uniform draws from [0, 1).");
  def_random(b, "randn", &randn,
             "randn(*size, generator=None, dtype=None): normal draws of mean 0 and variance 1 "
             "(Box-Muller on\n"
             "Philox4x32-10). The same for any number of threads.");
  def_random_like(b, "rand_like", &rand, "rand with the shape and dtype of input.");
  def_random_like(b, "randn_like", &randn, "randn with the shape and dtype of input.");
  bind_randint(b);
  bind_draws(b);
  bind_inplace(b);
}

}  // namespace tercel
