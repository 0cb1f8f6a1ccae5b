// Python names of the factory functions and of Tensor.new_*.
#include "ops/creation/creation.h"
#include "ops/creation/factory_args.h"

namespace tercel {
namespace {

// fill(shape, dtype, device) for name(*size, ...): zeros, ones, empty.
template <class Make>
void def_sized(Binder& b, const char* name, Make make, const char* doc) {
  b.function(
      name,
      [name, make](const py::args& args, std::optional<Dims> size, std::optional<Tensor> out,
                   std::optional<DType> dtype, const py::object& layout,
                   std::optional<Device> device, bool pin_memory, bool requires_grad,
                   const py::object&) {
        check_layout(layout, pin_memory, name);
        const Shape shape = factory_shape(args, size, name);
        checked_numel(shape, name);
        const DType t = dtype.value_or(out && out->defined() ? out->dtype() : default_dtype());
        return with_requires_grad(into_out(make(shape, t, device_for(device, out)), out, name),
                                  requires_grad);
      },
      py::arg("size") = py::none(), py::arg("out") = py::none(), py::arg("dtype") = py::none(),
      py::arg("layout") = py::none(), py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false, py::arg("memory_format") = py::none(), doc);
}

template <class Make>
void def_like(Binder& b, const char* name, Make make, const char* doc) {
  b.function(
      name,
      [name, make](const Tensor& input, std::optional<DType> dtype, const py::object& layout,
                   std::optional<Device> device, bool pin_memory, bool requires_grad,
                   const py::object&) {
        check_layout(layout, pin_memory, name);
        return with_requires_grad(
            placed(make(empty_like(input, dtype.value_or(input.dtype()))), device), requires_grad);
      },
      py::arg("input"), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("layout") = py::none(), py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false, py::arg("memory_format") = py::none(), doc);
}

template <class Make>
void def_new(Binder& b, const char* name, Make make, const char* doc) {
  b.method(
      name,
      [name, make](const Tensor& self, const py::args& args, std::optional<Dims> size,
                   std::optional<DType> dtype, const py::object& layout,
                   std::optional<Device> device, bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, name);
        const Shape shape = factory_shape(args, size, name);
        checked_numel(shape, name);
        return with_requires_grad(
            placed(make(shape, dtype.value_or(self.dtype()), self.device()), device),
            requires_grad);
      },
      py::arg("size") = py::none(), py::arg("dtype") = py::none(), py::arg("layout") = py::none(),
      py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false, doc);
}

Tensor make_filled(const Shape& shape, DType dtype, Device device, Scalar value,
                   const char* op = "full") {
  checked_numel(shape, op);
  check_fits(value, dtype, op);
  Tensor t = empty(shape, dtype, device);
  fill_(t, value);
  return t;
}

DType fill_dtype(const Scalar& value, std::optional<DType> dtype) {
  return dtype.value_or(value.natural_dtype());
}

template <class Make>
void def_window(Binder& b, const char* name, Make make, const char* doc) {
  b.function(
      name,
      [name, make](int64_t window_length, bool periodic, std::optional<DType> dtype,
                   const py::object& layout, std::optional<Device> device, bool pin_memory,
                   bool requires_grad) {
        check_layout(layout, pin_memory, name);
        return with_requires_grad(
            placed(make(window_length, periodic, dtype), device_for(device, {})), requires_grad);
      },
      py::arg("window_length"), py::arg("periodic") = true, py::kw_only(),
      py::arg("dtype") = py::none(), py::arg("layout") = py::none(), py::arg("device") = py::none(),
      py::arg("pin_memory") = false, py::arg("requires_grad") = false, doc);
}

void bind_ranges(Binder& b) {
  b.function(
      "arange",
      [](Scalar start, std::optional<Scalar> end, Scalar step, std::optional<Tensor> out,
         std::optional<DType> dtype, const py::object& layout, std::optional<Device> device,
         bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, "arange");
        if (!dtype && out && out->defined()) dtype = out->dtype();
        const Device dev = device_for(device, out);
        const Tensor t = end ? arange(start, *end, step, dtype, dev)
                             : arange(Scalar(0), start, step, dtype, dev);
        return with_requires_grad(into_out(t, out, "arange"), requires_grad);
      },
      py::arg("start"), py::arg("end") = py::none(), py::arg("step") = 1, py::kw_only(),
      py::arg("out") = py::none(), py::arg("dtype") = py::none(), py::arg("layout") = py::none(),
      py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false,
      "arange(end) or arange(start, end, step=1): start + i * step for i in [0, ceil((end - start) "
      "/ step)).\n\n"
      "dtype defaults to int64 if all arguments are integers, else the default dtype. Values are "
      "computed from\n"
      "the index in int64 or double and rounded once. Raises ValueError for step 0, non-finite "
      "bounds or a\n"
      "step that leads away from end; OverflowError if a value does not fit dtype.");
  b.function(
      "arange",
      [](Scalar end, std::optional<DType> dtype, std::optional<Device> device, bool requires_grad) {
        return with_requires_grad(arange(Scalar(0), end, Scalar(1), dtype, device_for(device, {})),
                                  requires_grad);
      },
      py::kw_only(), py::arg("end"), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false);
  b.function(
      "linspace",
      [](Scalar start, Scalar end, int64_t steps, std::optional<Tensor> out,
         std::optional<DType> dtype, const py::object& layout, std::optional<Device> device,
         bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, "linspace");
        if (!dtype && out && out->defined()) dtype = out->dtype();
        return with_requires_grad(
            into_out(linspace(start, end, steps, dtype, device_for(device, out)), out, "linspace"),
            requires_grad);
      },
      py::arg("start"), py::arg("end"), py::arg("steps"), py::kw_only(),
      py::arg("out") = py::none(), py::arg("dtype") = py::none(), py::arg("layout") = py::none(),
      py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false,
      "`steps` evenly spaced values from start to end, both included.\n\n"
      "The second half is counted back from end, so the result is symmetric and end is exact.");
  b.function(
      "logspace",
      [](Scalar start, Scalar end, int64_t steps, double base, std::optional<Tensor> out,
         std::optional<DType> dtype, const py::object& layout, std::optional<Device> device,
         bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, "logspace");
        if (!dtype && out && out->defined()) dtype = out->dtype();
        return with_requires_grad(
            placed(into_out(logspace(start, end, steps, base, dtype), out, "logspace"),
                   device_for(device, out)),
            requires_grad);
      },
      py::arg("start"), py::arg("end"), py::arg("steps"), py::arg("base") = 10.0, py::kw_only(),
      py::arg("out") = py::none(), py::arg("dtype") = py::none(), py::arg("layout") = py::none(),
      py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false, "base ** linspace(start, end, steps), computed in double.");
  b.function(
      "eye",
      [](int64_t n, std::optional<int64_t> m, std::optional<Tensor> out, std::optional<DType> dtype,
         const py::object& layout, std::optional<Device> device, bool pin_memory,
         bool requires_grad) {
        check_layout(layout, pin_memory, "eye");
        TERCEL_CHECK(!m || *m >= 0, Value, "eye: m must be >= 0, got ", m.value_or(0));
        if (!dtype && out && out->defined()) dtype = out->dtype();
        return with_requires_grad(
            into_out(eye(n, m.value_or(-1), dtype, device_for(device, out)), out, "eye"),
            requires_grad);
      },
      py::arg("n"), py::arg("m") = py::none(), py::kw_only(), py::arg("out") = py::none(),
      py::arg("dtype") = py::none(), py::arg("layout") = py::none(), py::arg("device") = py::none(),
      py::arg("pin_memory") = false, py::arg("requires_grad") = false,
      "[n, m] tensor with ones on the main diagonal and zeros elsewhere; m defaults to n.");
  b.function(
      "vander",
      [](const Tensor& x, std::optional<int64_t> n, bool increasing) {
        TERCEL_CHECK(!n || *n >= 0, Value, "vander: N must be >= 0, got ", n.value_or(0));
        return vander(x, n.value_or(-1), increasing);
      },
      py::arg("x"), py::arg("N") = py::none(), py::arg("increasing") = false,
      "Vandermonde matrix [R, N] of x [R]: column j is x ** (N-1-j), or x ** j when increasing.");
}

void bind_windows(Binder& b) {
  def_window(
      b, "hann_window",
      [](int64_t n, bool periodic, std::optional<DType> t) {
        return cosine_window(n, periodic, 0.5, 0.5, 0.0, t, "hann_window");
      },
      "Hann window 0.5 - 0.5 cos(2 pi i / m), m = window_length if periodic, else window_length - "
      "1.");
  def_window(
      b, "blackman_window",
      [](int64_t n, bool periodic, std::optional<DType> t) {
        return cosine_window(n, periodic, 0.42, 0.5, 0.08, t, "blackman_window");
      },
      "Blackman window 0.42 - 0.5 cos(2 pi i / m) + 0.08 cos(4 pi i / m).");
  def_window(b, "bartlett_window", &bartlett_window, "Triangular window 1 - |2 i / m - 1|.");
  b.function(
      "hamming_window",
      [](int64_t window_length, bool periodic, double alpha, double beta,
         std::optional<DType> dtype, const py::object& layout, std::optional<Device> device,
         bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, "hamming_window");
        return with_requires_grad(placed(cosine_window(window_length, periodic, alpha, beta, 0.0,
                                                       dtype, "hamming_window"),
                                         device_for(device, {})),
                                  requires_grad);
      },
      py::arg("window_length"), py::arg("periodic") = true, py::arg("alpha") = 0.54,
      py::arg("beta") = 0.46, py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("layout") = py::none(), py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false, "Hamming window alpha - beta cos(2 pi i / m).");
}

}  // namespace

void bind_creation(Binder& b) {
  def_sized(
      b, "zeros", [](const Shape& s, DType t, Device d) { return make_filled(s, t, d, Scalar(0)); },
      "zeros(*size, dtype=None, requires_grad=False): tensor of zeros. Sizes as zeros(2, 3) or "
      "zeros((2, 3)).\n\n"
      "dtype defaults to get_default_dtype(). Raises ValueError for a negative size, OverflowError "
      "or\n"
      "MemoryError for sizes that cannot be held.");
  def_sized(
      b, "ones", [](const Shape& s, DType t, Device d) { return make_filled(s, t, d, Scalar(1)); },
      "ones(*size, dtype=None, requires_grad=False): tensor of ones. See zeros.");
  def_sized(
      b, "empty", [](const Shape& s, DType t, Device d) { return empty(s, t, d); },
      "empty(*size, dtype=None, requires_grad=False): tensor with unspecified values. See zeros.");
  def_like(
      b, "zeros_like", [](Tensor t) { return fill_(t, Scalar(0)), t; },
      "Zeros with the shape, dtype (unless given) and dense stride order of `input`.");
  def_like(
      b, "ones_like", [](Tensor t) { return fill_(t, Scalar(1)), t; },
      "Ones with the shape, dtype (unless given) and dense stride order of `input`.");
  def_like(
      b, "empty_like", [](Tensor t) { return t; },
      "Unspecified values with the shape, dtype (unless given) and dense stride order of `input`.");
  def_new(
      b, "new_zeros",
      [](const Shape& s, DType t, Device d) { return make_filled(s, t, d, Scalar(0)); },
      "Zeros of the given size with this tensor's dtype unless dtype= is given.");
  def_new(
      b, "new_ones",
      [](const Shape& s, DType t, Device d) { return make_filled(s, t, d, Scalar(1)); },
      "Ones of the given size with this tensor's dtype unless dtype= is given.");
  def_new(
      b, "new_empty", [](const Shape& s, DType t, Device d) { return empty(s, t, d); },
      "Unspecified values of the given size with this tensor's dtype unless dtype= is given.");
  b.function(
      "full",
      [](const Dims& size, Scalar fill_value, std::optional<Tensor> out, std::optional<DType> dtype,
         const py::object& layout, std::optional<Device> device, bool pin_memory,
         bool requires_grad) {
        check_layout(layout, pin_memory, "full");
        if (!dtype && out && out->defined()) dtype = out->dtype();
        const Tensor t =
            make_filled(size, fill_dtype(fill_value, dtype), device_for(device, out), fill_value);
        return with_requires_grad(into_out(t, out, "full"), requires_grad);
      },
      py::arg("size"), py::arg("fill_value"), py::kw_only(), py::arg("out") = py::none(),
      py::arg("dtype") = py::none(), py::arg("layout") = py::none(), py::arg("device") = py::none(),
      py::arg("pin_memory") = false, py::arg("requires_grad") = false,
      "Tensor of the given size filled with fill_value; dtype defaults to the number's (bool, "
      "int64, default).");
  b.function(
      "full_like",
      [](const Tensor& input, Scalar fill_value, std::optional<DType> dtype,
         const py::object& layout, std::optional<Device> device, bool requires_grad,
         const py::object&) {
        check_layout(layout, false, "full_like");
        Tensor t = empty_like(input, dtype.value_or(input.dtype()));
        fill_(t, fill_value);
        return with_requires_grad(placed(t, device), requires_grad);
      },
      py::arg("input"), py::arg("fill_value"), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("layout") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false, py::arg("memory_format") = py::none(),
      "fill_value everywhere, with the shape and dtype of `input`.");
  b.method(
      "new_full",
      [](const Tensor& self, const Dims& size, Scalar fill_value, std::optional<DType> dtype,
         const py::object& layout, std::optional<Device> device, bool pin_memory,
         bool requires_grad) {
        check_layout(layout, pin_memory, "new_full");
        return with_requires_grad(
            placed(make_filled(size, dtype.value_or(self.dtype()), self.device(), fill_value),
                   device),
            requires_grad);
      },
      py::arg("size"), py::arg("fill_value"), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("layout") = py::none(), py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false,
      "fill_value everywhere, with this tensor's dtype unless dtype= is given.");
  b.function(
      "empty_strided",
      [](const Dims& size, const Dims& stride, std::optional<DType> dtype, const py::object& layout,
         std::optional<Device> device, bool pin_memory, bool requires_grad) {
        check_layout(layout, pin_memory, "empty_strided");
        TERCEL_CHECK(size.size() == stride.size(), Shape,
                     "empty_strided: size and stride must have one length, got ", size, " and ",
                     stride);
        return with_requires_grad(
            empty_strided(size, stride, dtype.value_or(default_dtype()), device_for(device, {})),
            requires_grad);
      },
      py::arg("size"), py::arg("stride"), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("layout") = py::none(), py::arg("device") = py::none(), py::arg("pin_memory") = false,
      py::arg("requires_grad") = false, "Unspecified values with explicit strides, in elements.");
  bind_ranges(b);
  bind_windows(b);
}

}  // namespace tercel
