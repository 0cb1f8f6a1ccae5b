// Python bindings of the softmax family.
#include "ops/softmax/softmax.h"
#include "python/out.h"

namespace tercel {

void bind_softmax(Binder& b) {
  both_out(b, "softmax", &softmax, py::arg("input"), py::arg("dim"), py::arg("dtype") = py::none(),
           R"(Softmax along a dim: exp(x - max) / sum exp(x - max).

input: any float tensor; dim: int; dtype: converts the input first.
Returns a tensor of the input's shape. A row of -inf gives NaN.
Raises IndexError for a bad dim, DTypeError for integers.
Example: softmax(tensor([[1., 2.]]), 1))");
  both_out(b, "log_softmax", &log_softmax, py::arg("input"), py::arg("dim"),
           py::arg("dtype") = py::none(),
           R"(Logarithm of softmax along a dim: x - max - log sum exp(x - max).

input: any float tensor; dim: int; dtype: converts the input first.
Returns a tensor of the input's shape, accurate where softmax underflows.
Raises IndexError for a bad dim, DTypeError for integers.)");
  b.function("softmin", &softmin, py::arg("input"), py::arg("dim"), py::arg("dtype") = py::none(),
             R"(softmax(-input) along a dim. Arguments as softmax.)");
}

}  // namespace tercel
