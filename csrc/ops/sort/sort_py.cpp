// Python names of the sort family. Pairs come back as named tuples (values, indices).
#include "ops/sort/sort.h"
#include "python/out.h"

namespace tercel {

void bind_sort(Binder& b) {
  both_out(b, "sort", pair_type("sort"), &sort, py::arg("input"), py::arg("dim") = -1,
           py::arg("descending") = false, py::arg("stable") = false,
           "Sorts along dim; returns (values, indices). Always stable; NaN counts as the largest "
           "value.\n\n"
           "The values are differentiable.");
  both_out(b, "argsort", &argsort, py::arg("input"), py::arg("dim") = -1,
           py::arg("descending") = false, py::arg("stable") = false,
           "Indices that sort input along dim (stable).");
  both_out(b, "msort", &msort, py::arg("input"), "Values sorted along dim 0.");
  both_out(
      b, "topk", pair_type("topk"), &topk, py::arg("input"), py::arg("k"), py::arg("dim") = -1,
      py::arg("largest") = true, py::arg("sorted") = true,
      "The k largest (or smallest) elements along dim, best first: (values, indices). Ties go to "
      "the smaller\n"
      "index. Raises ValueError unless 0 <= k <= size of dim.");
  both_out(b, "kthvalue", pair_type("kthvalue"), &kthvalue, py::arg("input"), py::arg("k"),
           py::arg("dim") = -1, py::arg("keepdim") = false,
           "The k-th smallest element (k from 1) along dim: (values, indices).");
}

}  // namespace tercel
