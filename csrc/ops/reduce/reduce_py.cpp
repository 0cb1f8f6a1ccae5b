// Python bindings of the reductions.
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/reduce/reduce.h"
#include "python/bind.h"

namespace tercel {
namespace {

using OptDims = std::optional<Dims>;
using OptInt = std::optional<int64_t>;
using OptDType = std::optional<DType>;
using OptTensor = std::optional<Tensor>;

Dims dims_or_all(const OptDims& dims) { return dims.value_or(Dims{}); }

// Writes a result to out=, which must have its shape and dtype.
Tensor deliver(const Tensor& y, const OptTensor& out, const char* op) {
  if (!out || !out->defined()) return y;
  TERCEL_CHECK(out->shape() == y.shape(), Shape, op, ": out must have shape ", y.shape(), ", got ",
               out->shape());
  TERCEL_CHECK(out->dtype() == y.dtype(), DType, op, ": out must have dtype ",
               dtype_name(y.dtype()), ", got ", dtype_name(out->dtype()));
  Tensor target = *out;
  return copy_(target, y);
}

// A named tuple (values, indices), as PyTorch's return types.
py::object pair_type(Binder& b, const char* name, const char* fields) {
  py::object type = py::module_::import("collections").attr("namedtuple")(name, fields);
  type.attr("__module__") = "tercel.return_types";
  (void)b;
  return type;
}

template <Tensor (*F)(const Tensor&, const Dims&, bool, OptDType)>
void bind_sum_like(Binder& b, const char* name, const char* doc) {
  b.both(
      name,
      [name](const Tensor& x, const OptDims& dim, bool keepdim, OptDType dtype,
             const OptTensor& out) {
        return deliver(F(x, dims_or_all(dim), keepdim, dtype), out, name);
      },
      py::arg("input"), py::arg("dim") = py::none(), py::arg("keepdim") = false, py::kw_only(),
      py::arg("dtype") = py::none(), py::arg("out") = py::none(), doc);
}

template <Tensor (*F)(const Tensor&, const Dims&, bool)>
void bind_dims(Binder& b, const char* name, const char* doc) {
  b.both(
      name,
      [name](const Tensor& x, const OptDims& dim, bool keepdim, const OptTensor& out) {
        return deliver(F(x, dims_or_all(dim), keepdim), out, name);
      },
      py::arg("input"), py::arg("dim") = py::none(), py::arg("keepdim") = false, py::kw_only(),
      py::arg("out") = py::none(), doc);
}

using PairFn = std::pair<Tensor, Tensor> (*)(const Tensor&, int64_t, bool);

// f(x), f(x, other) and f(x, dim, keepdim).
template <Tensor (*All)(const Tensor&, const Dims&, bool), PairFn Along,
          Tensor (*Binary)(const Tensor&, const Tensor&)>
void bind_extreme(Binder& b, const char* name, const char* doc) {
  const py::object type = pair_type(b, name, "values indices");
  b.both(name, [](const Tensor& x) { return All(x, {}, false); }, py::arg("input"), doc);
  b.both(
      name,
      [type](const Tensor& x, int64_t dim, bool keepdim) {
        const auto r = Along(x, dim, keepdim);
        return type(r.first, r.second);
      },
      py::arg("input"), py::arg("dim"), py::arg("keepdim") = false, doc);
  b.both(
      name, [](const Tensor& x, const Tensor& other) { return Binary(x, other); }, py::arg("input"),
      py::arg("other"), doc);
}

template <class F>
void bind_pair(Binder& b, const char* name, const py::object& type, F f, bool has_default,
               const char* doc) {
  const auto fn = [type, f](const Tensor& x, int64_t dim, bool keepdim) {
    const auto r = f(x, dim, keepdim);
    return type(r.first, r.second);
  };
  if (has_default) {
    b.both(name, fn, py::arg("input"), py::arg("dim") = -1, py::arg("keepdim") = false, doc);
  } else {
    b.both(name, fn, py::arg("input"), py::arg("dim"), py::arg("keepdim") = false, doc);
  }
}

double order_of(const py::object& p, const char* op) {
  if (p.is_none()) return 2;
  if (py::isinstance<py::str>(p)) {
    const std::string text = py::cast<std::string>(p);
    TERCEL_CHECK(text == "fro", Value, op, ": p must be a number, inf or 'fro', got '", text, "'");
    return 2;
  }
  return py::cast<double>(p);
}

// PyTorch has var(x, dim, unbiased, keepdim) besides var(x, dim, *, correction, keepdim).
template <class R, R (*F)(const Tensor&, const Dims&, double, bool)>
void bind_var(Binder& b, const char* name, const char* doc) {
  b.both(
      name, [](const Tensor& x, bool unbiased) { return F(x, {}, unbiased ? 1 : 0, false); },
      py::arg("input"), py::arg("unbiased").noconvert(), doc);
  b.both(
      name,
      [](const Tensor& x, const OptDims& dim, bool unbiased, bool keepdim) {
        return F(x, dims_or_all(dim), unbiased ? 1 : 0, keepdim);
      },
      py::arg("input"), py::arg("dim"), py::arg("unbiased").noconvert(), py::arg("keepdim") = false,
      doc);
  b.both(
      name,
      [](const Tensor& x, const OptDims& dim, double correction, bool keepdim) {
        return F(x, dims_or_all(dim), correction, keepdim);
      },
      py::arg("input"), py::arg("dim") = py::none(), py::kw_only(), py::arg("correction") = 1.0,
      py::arg("keepdim") = false, doc);
}

Tensor level_tensor(const Tensor& x, const py::object& q) {
  if (is_tensor_object(q.ptr())) return tensor_of(q.ptr());
  return full({}, Scalar(py::cast<double>(q)), x.dtype());
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
  b.both(
      "prod", [](const Tensor& x, OptDType dtype) { return prod(x, dtype); }, py::arg("input"),
      py::kw_only(), py::arg("dtype") = py::none(), prod_doc);
  b.both(
      "prod",
      [](const Tensor& x, int64_t dim, bool keepdim, OptDType dtype, const OptTensor& out) {
        return deliver(prod(x, dim, keepdim, dtype), out, "prod");
      },
      py::arg("input"), py::arg("dim"), py::arg("keepdim") = false, py::kw_only(),
      py::arg("dtype") = py::none(), py::arg("out") = py::none(), prod_doc);

  bind_dims<amax>(b, "amax", R"(Largest element over dims (all by default); NaN if there is one.
The gradient is shared evenly among equal maxima. Raises IndexError for zero elements.)");
  bind_dims<amin>(b, "amin", R"(Smallest element over dims (all by default); NaN if there is one.
The gradient is shared evenly among equal minima. Raises IndexError for zero elements.)");
  const py::object aminmax_type = pair_type(b, "aminmax", "min max");
  b.both(
      "aminmax",
      [aminmax_type](const Tensor& x, OptInt dim, bool keepdim) {
        const auto r = aminmax(x, dim, keepdim);
        return aminmax_type(r.first, r.second);
      },
      py::arg("input"), py::kw_only(), py::arg("dim") = py::none(), py::arg("keepdim") = false,
      "(amin, amax) over one dim or all.");
  bind_extreme<amax, max, maximum>(b, "max", R"(max(input): the largest element, as amax.
max(input, dim, keepdim=False): (values, indices) along dim; the first index of equal ones.
max(input, other): elementwise maximum. NaN is larger than everything.)");
  bind_extreme<amin, min, minimum>(b, "min", R"(min(input): the smallest element, as amin.
min(input, dim, keepdim=False): (values, indices) along dim; the first index of equal ones.
min(input, other): elementwise minimum. NaN is smaller than everything.)");
  b.both("argmax", &argmax, py::arg("input"), py::arg("dim") = py::none(),
         py::arg("keepdim") = false,
         "Index (int64) of the first maximum along dim, or in the flattened tensor. NaN is the "
         "maximum.");
  b.both("argmin", &argmin, py::arg("input"), py::arg("dim") = py::none(),
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
  bind_var<Tensor, var>(b, "var", var_doc);
  bind_var<Tensor, std>(b, "std", var_doc);
  bind_var<std::pair<Tensor, Tensor>, var_mean>(b, "var_mean", var_doc);
  bind_var<std::pair<Tensor, Tensor>, std_mean>(b, "std_mean", var_doc);

  b.both(
      "norm",
      [](const Tensor& x, const py::object& p, const OptDims& dim, bool keepdim, OptDType dtype) {
        return norm(x, order_of(p, "norm"), dims_or_all(dim), keepdim, dtype);
      },
      py::arg("input"), py::arg("p") = "fro", py::arg("dim") = py::none(),
      py::arg("keepdim") = false, py::arg("dtype") = py::none(),
      R"(Vector norm (sum |x|^p)^(1/p) over dims (all by default).

p: a number, inf, -inf, 0 (number of nonzeros) or 'fro' (2). dtype: convert first.)");
  b.function(
      "linalg_vector_norm",
      [](const Tensor& x, double ord, const OptDims& dim, bool keepdim, OptDType dtype) {
        return vector_norm(x, ord, dims_or_all(dim), keepdim, dtype);
      },
      py::arg("x"), py::arg("ord") = 2.0, py::arg("dim") = py::none(), py::arg("keepdim") = false,
      py::kw_only(), py::arg("dtype") = py::none(),
      "Vector norm of order ord over dims; see norm.");
  b.both("dist", &dist, py::arg("input"), py::arg("other"), py::arg("p") = 2.0,
         "p-norm of input - other.");
  b.both(
      "logsumexp",
      [](const Tensor& x, const Dims& dim, bool keepdim, const OptTensor& out) {
        return deliver(logsumexp(x, dim, keepdim), out, "logsumexp");
      },
      py::arg("input"), py::arg("dim"), py::arg("keepdim") = false, py::kw_only(),
      py::arg("out") = py::none(), "log(sum(exp(input))) over dims without overflow; floats only.");

  const auto scan = [&](const char* name, Tensor (*f)(const Tensor&, int64_t, OptDType),
                        const char* doc) {
    b.both(
        name,
        [f, name](const Tensor& x, int64_t dim, OptDType dtype, const OptTensor& out) {
          return deliver(f(x, dim, dtype), out, name);
        },
        py::arg("input"), py::arg("dim"), py::kw_only(), py::arg("dtype") = py::none(),
        py::arg("out") = py::none(), doc);
  };
  scan("cumsum", &cumsum,
       R"(Cumulative sum along dim, in float64 (int64) and rounded once per element.
dtype: result dtype; integers give int64.)");
  scan("cumprod", &cumprod,
       "Cumulative product along dim, in float64 (int64). dtype: result dtype.");
  b.both("logcumsumexp", &logcumsumexp, py::arg("input"), py::arg("dim"),
         "log(cumsum(exp(input))) along dim.");
  const auto cum = [&](const char* name, std::pair<Tensor, Tensor> (*f)(const Tensor&, int64_t),
                       const char* doc) {
    const py::object type = pair_type(b, name, "values indices");
    b.both(
        name,
        [f, type](const Tensor& x, int64_t dim) {
          const auto r = f(x, dim);
          return type(r.first, r.second);
        },
        py::arg("input"), py::arg("dim"), doc);
  };
  cum("cummax", &cummax,
      "(values, indices) of the largest element so far along dim; the last of equal ones.");
  cum("cummin", &cummin,
      "(values, indices) of the smallest element so far along dim; the last of equal ones.");

  const char* median_doc =
      R"(Median: the lower of two middle values; NaN if there is one (nanmedian ignores NaN).
median(input) over all elements; median(input, dim, keepdim=False): (values, indices).)";
  b.both("median", [](const Tensor& x) { return median(x); }, py::arg("input"), median_doc);
  bind_pair(b, "median", pair_type(b, "median", "values indices"), static_cast<PairFn>(&median),
            false, median_doc);
  b.both("nanmedian", [](const Tensor& x) { return nanmedian(x); }, py::arg("input"), median_doc);
  bind_pair(b, "nanmedian", pair_type(b, "nanmedian", "values indices"),
            static_cast<PairFn>(&nanmedian), false, median_doc);
  bind_pair(b, "mode", pair_type(b, "mode", "values indices"), static_cast<PairFn>(&mode), true,
            "(values, indices) of the most frequent value along dim: the smallest of several, its "
            "last index.");

  const auto quantiles = [&](const char* name, auto f, const char* doc) {
    b.both(
        name,
        [f](const Tensor& x, const py::object& q, OptInt dim, bool keepdim,
            const std::string& interpolation) {
          return f(x, level_tensor(x, q), dim, keepdim, interpolation);
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
