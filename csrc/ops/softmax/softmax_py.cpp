// Python bindings of the softmax family.
#include "ops/softmax/softmax.h"
#include "python/out.h"

namespace tercel {

namespace {

// dim=None is PyTorch's deprecated choice: the channels of (N, C, *) inputs, else the first dim.
using AlongDim = Tensor (*)(const Tensor&, int64_t, std::optional<DType>);
template <AlongDim F>
Tensor along(const Tensor& x, std::optional<int64_t> dim, std::optional<DType> dtype) {
  if (dim) return F(x, *dim, dtype);
  const char* op = F == &softmax ? "softmax" : F == &softmin ? "softmin" : "log_softmax";
  if (PyErr_WarnFormat(PyExc_UserWarning, 1,
                       "%s: the choice of a dimension without dim= is deprecated; pass dim",
                       op) < 0)
    throw py::error_already_set();
  return F(x, x.dim() == 0 || x.dim() == 1 || x.dim() == 3 ? 0 : 1, dtype);
}

}  // namespace

void bind_softmax(Binder& b) {
  both_out(b, "softmax", along<softmax>, py::arg("input"), py::arg("dim") = py::none(),
           py::arg("dtype") = py::none(),
           R"(Softmax along a dim: exp(x - max) / sum exp(x - max).

input: any float tensor; dim: int; dtype: converts the input first.
Returns a tensor of the input's shape. A row of -inf gives NaN.
Raises IndexError for a bad dim, DTypeError for integers.
Example: softmax(tensor([[1., 2.]]), 1))");
  both_out(b, "log_softmax", along<log_softmax>, py::arg("input"), py::arg("dim") = py::none(),
           py::arg("dtype") = py::none(),
           R"(Logarithm of softmax along a dim: x - max - log sum exp(x - max).

input: any float tensor; dim: int; dtype: converts the input first.
Returns a tensor of the input's shape, accurate where softmax underflows.
Raises IndexError for a bad dim, DTypeError for integers.)");
  b.function("softmin", along<softmin>, py::arg("input"), py::arg("dim") = py::none(),
             py::arg("dtype") = py::none(),
             R"(softmax(-input) along a dim. Arguments as softmax.)");
}

}  // namespace tercel
