// Python bindings of the reductions.
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/reduce/reduce.h"
#include "python/out.h"

namespace tercel {
namespace {

using OptDims = std::optional<Dims>;
using OptInt = std::optional<int64_t>;
using OptDType = std::optional<DType>;

Dims dims_or_all(const OptDims& dims) { return dims.value_or(Dims{}); }

template <Tensor (*F)(const Tensor&, const Dims&, bool, OptDType)>
void bind_sum_like(Binder& b, const char* name, const char* doc) {
  both_out(
      b, name,
      [](const Tensor& x, const OptDims& dim, bool keepdim, OptDType dtype) {
        return F(x, dims_or_all(dim), keepdim, dtype);
      },
      py::arg("input"), py::arg("dim") = py::none(), py::arg("keepdim") = false, py::kw_only(),
      py::arg("dtype") = py::none(), doc);
}

template <Tensor (*F)(const Tensor&, const Dims&, bool)>
void bind_dims(Binder& b, const char* name, const char* doc) {
  both_out(
      b, name,
      [](const Tensor& x, const OptDims& dim, bool keepdim) {
        return F(x, dims_or_all(dim), keepdim);
      },
      py::arg("input"), py::arg("dim") = py::none(), py::arg("keepdim") = false, doc);
}

using PairFn = std::pair<Tensor, Tensor> (*)(const Tensor&, int64_t, bool);

// f(x), f(x, other) and f(x, dim, keepdim).
template <Tensor (*All)(const Tensor&, const Dims&, bool), PairFn Along,
          Tensor (*Binary)(const Tensor&, const Tensor&)>
void bind_extreme(Binder& b, const char* name, const char* doc) {
  both_out(
      b, name,
      [name](const Tensor& x) {
        TERCEL_CHECK(x.numel() > 0, Index, name,
                     ": cannot reduce over zero elements, input has shape ", x.shape());
        return All(x, {}, false);
      },
      py::arg("input"), doc);
  // Before the form with a dim, which would take a 0-d integer tensor for a dim.
  both_out(b, name, Binary, py::arg("input"), py::arg("other"), doc);
  both_out(b, name, pair_type(name), Along, py::arg("input"), py::arg("dim"),
           py::arg("keepdim") = false, doc);
}

double order_of(const py::object& p, const char* op) {
  if (p.is_none()) return 2;
  if (py::isinstance<py::str>(p)) {
    const std::string text = py::cast<std::string>(p);
    TERCEL_CHECK(text == "fro", Value, op, ": p must be a number, inf, 'fro' or 'nuc', got '", text,
                 "'");
    return 2;
  }
  Scalar order(0);
  TERCEL_CHECK(scalar_from_object(p.ptr(), &order), Type, op,
               ": p must be a number, inf, 'fro' or 'nuc', got ", Py_TYPE(p.ptr())->tp_name);
  return order.to_double();
}

// norm with every p of PyTorch's: the nuclear norm is a function of tercel.linalg.
Tensor norm_of(const Tensor& x, const py::object& p, const OptDims& dim, bool keepdim,
               OptDType dtype) {
  if (!py::isinstance<py::str>(p) || py::cast<std::string>(p) != "nuc")
    return norm(x, order_of(p, "norm"), dims_or_all(dim), keepdim, dtype);
  const py::object dims = dim ? py::cast(*dim) : py::make_tuple(-2, -1);
  TERCEL_CHECK(dim || x.dim() == 2, Shape,
               "norm: the nuclear norm without dim needs a matrix, got shape ", x.shape());
  return py::module_::import("tercel.linalg")
      .attr("matrix_norm")(x, "nuc", dims, keepdim, py::arg("dtype") = dtype)
      .cast<Tensor>();
}

// PyTorch has var(x, dim, unbiased, keepdim) besides var(x, dim, *, correction, keepdim).
// `bind(name, f, args...)` registers one form.
template <class R, R (*F)(const Tensor&, const Dims&, double, bool), class Bind>
void bind_var(const Bind& bind, const char* doc) {
  bind([](const Tensor& x, bool unbiased) { return F(x, {}, unbiased ? 1 : 0, false); },
       py::arg("input"), py::arg("unbiased").noconvert(), doc);
  bind([](const Tensor& x, const OptDims& dim, bool unbiased,
          bool keepdim) { return F(x, dims_or_all(dim), unbiased ? 1 : 0, keepdim); },
       py::arg("input"), py::arg("dim"), py::arg("unbiased").noconvert(),
       py::arg("keepdim") = false, doc);
  bind([](const Tensor& x, const OptDims& dim, std::optional<double> correction,
          bool keepdim) { return F(x, dims_or_all(dim), correction.value_or(1), keepdim); },
       py::arg("input"), py::arg("dim") = py::none(), py::kw_only(), py::arg("correction") = 1.0,
       py::arg("keepdim") = false, doc);
}

Tensor level_tensor(const Tensor& x, const py::object& q, const char* op) {
  if (is_tensor_object(q.ptr())) return tensor_of(q.ptr());
  Scalar number(0);
  TERCEL_CHECK(scalar_from_object(q.ptr(), &number), Type, op,
               ": q must be a number or a Tensor, got ", Py_TYPE(q.ptr())->tp_name);
  return full({}, number, x.dtype());
}

}  // namespace

void bind_reduce(Binder& b) {
  bind_sum_like<sum>(b, "sum", R"(Sum over dims (all by default).

input: any dtype; dim: int, tuple or None; keepdim: keep reduced dims as size 1;
dtype: convert first. Integers and bool sum to int64. float16/bfloat16 accumulate in float32.
Fixed pairwise tree: the same bits for any layout and thread count, error <= 8 eps sum |x|.
Raises IndexError for a bad dim. Example: x.sum(0, keepdim=True))");
  bind_sum_like<nansum>(b, "nansum", "Sum over dims with NaN counted as 0. Arguments as sum.");
  bind_sum_like<mean>(b, "mean",
                      R"(Mean over dims (all by default). Arguments as sum; floats only, or dtype=.
The mean of nothing is NaN.)");
  bind_sum_like<nanmean>(b, "nanmean",
                         "Mean over dims of the elements that are not NaN. Arguments as mean.");

  const char* prod_doc = R"(Product of all elements, or along one dim.

input: any dtype; dim: int; keepdim; dtype: convert first. Integers multiply in int64.
The gradient is right with zeros in the input.)";
  both_out(
      b, "prod", [](const Tensor& x, OptDType dtype) { return prod(x, dtype); }, py::arg("input"),
      py::kw_only(), py::arg("dtype") = py::none(), prod_doc);
  both_out(
      b, "prod",
      [](const Tensor& x, int64_t dim, bool keepdim, OptDType dtype) {
        return prod(x, dim, keepdim, dtype);
      },
      py::arg("input"), py::arg("dim"), py::arg("keepdim") = false, py::kw_only(),
      py::arg("dtype") = py::none(), prod_doc);

  bind_dims<amax>(b, "amax", R"(Largest element over dims (all by default); NaN if there is one.
The gradient is shared evenly among equal maxima. Raises IndexError for zero elements.)");
  bind_dims<amin>(b, "amin", R"(Smallest element over dims (all by default); NaN if there is one.
The gradient is shared evenly among equal minima. Raises IndexError for zero elements.)");
  both_out(b, "aminmax", result_tuple("aminmax", "min max"), &aminmax, py::arg("input"),
           py::kw_only(), py::arg("dim") = py::none(), py::arg("keepdim") = false,
           "(amin, amax) over one dim or all.");
  bind_extreme<amax, max, maximum>(b, "max", R"(max(input): the largest element, as amax.
max(input, dim, keepdim=False): (values, indices) along dim; the first index of equal ones.
max(input, other): elementwise maximum. NaN is larger than everything.)");
  bind_extreme<amin, min, minimum>(b, "min", R"(min(input): the smallest element, as amin.
min(input, dim, keepdim=False): (values, indices) along dim; the first index of equal ones.
min(input, other): elementwise minimum. NaN is smaller than everything.)");
  both_out(b, "argmax", &argmax, py::arg("input"), py::arg("dim") = py::none(),
           py::arg("keepdim") = false,
           "Index (int64) of the first maximum along dim, or in the flattened tensor. NaN is the "
           "maximum.");
  both_out(b, "argmin", &argmin, py::arg("input"), py::arg("dim") = py::none(),
           py::arg("keepdim") = false,
           "Index (int64) of the first minimum along dim, or in the flattened tensor. NaN is the "
           "minimum.");

  bind_dims<all>(b, "all", "Whether all elements over dims (all by default) are nonzero; bool.");
  bind_dims<any>(b, "any", "Whether any element over dims (all by default) is nonzero; bool.");
  b.both(
      "count_nonzero",
      [](const Tensor& x, const OptDims& dim) { return count_nonzero(x, dims_or_all(dim)); },
      py::arg("input"), py::arg("dim") = py::none(),
      "Number of nonzero elements over dims; int64.");

  const char* var_doc = R"(Variance (std: its root; *_mean: with the mean) over dims.

sum (x - mean)^2 / max(0, n - correction); unbiased=True is correction=1, False is 0.
input: floats; dim: int, tuple or None; keepdim. Two-pass in blocks, combined in float64.)";
  const auto variance = [&b](const char* name) {
    return [&b, name](auto f, const auto&... extra) { both_out(b, name, f, extra...); };
  };
  const auto with_mean = [&b](const char* name) {
    return [&b, name](auto f, const auto&... extra) { b.both(name, f, extra...); };
  };
  using Pair = std::pair<Tensor, Tensor>;
  bind_var<Tensor, var>(variance("var"), var_doc);
  bind_var<Tensor, std>(variance("std"), var_doc);
  bind_var<Pair, var_mean>(with_mean("var_mean"), var_doc);
  bind_var<Pair, std_mean>(with_mean("std_mean"), var_doc);

  const char* norm_doc = R"(Vector norm (sum |x|^p)^(1/p) over dims (all by default).

p: a number, inf, -inf, 0 (number of nonzeros) or 'fro' (2). dtype: convert first.)";
  b.function(
      "norm",
      [](const Tensor& x, const py::object& p, const OptDims& dim, bool keepdim,
         const OptionalOut& out,
         OptDType dtype) { return into_out(norm_of(x, p, dim, keepdim, dtype), out, "norm"); },
      py::arg("input"), py::arg("p") = "fro", py::arg("dim") = py::none(),
      py::arg("keepdim") = false, py::arg("out") = py::none(), py::arg("dtype") = py::none(),
      norm_doc);
  b.method("norm", norm_of, py::arg("p") = "fro", py::arg("dim") = py::none(),
           py::arg("keepdim") = false, py::arg("dtype") = py::none(), norm_doc);
  function_out(
      b, "linalg_vector_norm",
      [](const Tensor& x, double ord, const OptDims& dim, bool keepdim, OptDType dtype) {
        return vector_norm(x, ord, dims_or_all(dim), keepdim, dtype);
      },
      py::arg("x"), py::arg("ord") = 2.0, py::arg("dim") = py::none(), py::arg("keepdim") = false,
      py::kw_only(), py::arg("dtype") = py::none(),
      "Vector norm of order ord over dims; see norm.");
  b.both("dist", &dist, py::arg("input"), py::arg("other"), py::arg("p") = 2.0,
         "p-norm of input - other.");
  both_out(b, "logsumexp", &logsumexp, py::arg("input"), py::arg("dim"), py::arg("keepdim") = false,
           "log(sum(exp(input))) over dims without overflow; integers are computed as floats.");

  const auto scan = [&](const char* name, Tensor (*f)(const Tensor&, int64_t, OptDType),
                        const char* doc) {
    both_out(b, name, f, py::arg("input"), py::arg("dim"), py::kw_only(),
             py::arg("dtype") = py::none(), doc);
    b.method((std::string(name) + "_").c_str(),
             [f](Tensor self, int64_t dim, OptDType dtype) {
               return copy_(self, f(kept(self), dim, dtype));
             },
             py::arg("dim"), py::kw_only(), py::arg("dtype") = py::none(), "In place.");
  };
  scan("cumsum", &cumsum,
       R"(Cumulative sum along dim, in float64 (int64) and rounded once per element.
dtype: result dtype; integers give int64.)");
  scan("cumprod", &cumprod,
       "Cumulative product along dim, in float64 (int64). dtype: result dtype.");
  both_out(b, "logcumsumexp", &logcumsumexp, py::arg("input"), py::arg("dim"),
           "log(cumsum(exp(input))) along dim.");
  both_out(b, "cummax", pair_type("cummax"), &cummax, py::arg("input"), py::arg("dim"),
           "(values, indices) of the largest element so far along dim; the last of equal ones.");
  both_out(b, "cummin", pair_type("cummin"), &cummin, py::arg("input"), py::arg("dim"),
           "(values, indices) of the smallest element so far along dim; the last of equal ones.");

  const char* median_doc =
      R"(Median: the lower of two middle values; NaN if there is one (nanmedian ignores NaN).
median(input) over all elements; median(input, dim, keepdim=False): (values, indices).)";
  const auto medians = [&](const char* name, Tensor (*whole)(const Tensor&), PairFn along) {
    b.both(name, whole, py::arg("input"), median_doc);
    both_out(b, name, pair_type(name), along, py::arg("input"), py::arg("dim"),
             py::arg("keepdim") = false, median_doc);
  };
  medians("median", &median, &median);
  medians("nanmedian", &nanmedian, &nanmedian);
  both_out(b, "mode", pair_type("mode"), &mode, py::arg("input"), py::arg("dim") = -1,
           py::arg("keepdim") = false,
           "(values, indices) of the most frequent value along dim: the smallest of several, its "
           "last index.");

  const auto quantiles = [&](const char* name, auto f, const char* doc) {
    both_out(
        b, name,
        [f, name](const Tensor& x, const py::object& q, OptInt dim, bool keepdim,
                  const std::string& interpolation) {
          return f(x, level_tensor(x, q, name), dim, keepdim, interpolation);
        },
        py::arg("input"), py::arg("q"), py::arg("dim") = py::none(), py::arg("keepdim") = false,
        py::kw_only(), py::arg("interpolation") = "linear", doc);
  };
  quantiles("quantile", &quantile,
            R"(Quantiles q (float or 1-d tensor, in [0, 1]) along dim, or of all elements.

interpolation: linear, lower, higher, midpoint or nearest. A 1-d q gives a leading dim.
Rows with NaN give NaN. float32 and float64.)");
  quantiles("nanquantile", &nanquantile, "As quantile, ignoring NaN.");
}

}  // namespace tercel
