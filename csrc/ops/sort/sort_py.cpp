// Python names of the sort family. Pairs come back as named tuples (values, indices).
#include "ops/creation/factory_args.h"
#include "ops/sort/sort.h"

namespace tercel {
namespace {

// A collections.namedtuple type `name`(values, indices).
py::object pair_type(const char* name) {
  return py::module_::import("collections")
      .attr("namedtuple")(name, py::make_tuple("values", "indices"));
}

// Result pair, copied into out=(values, indices) when given.
py::object named(const py::object& type, const ValuesIndices& r,
                 const std::optional<std::pair<Tensor, Tensor>>& out, const char* op) {
  const auto& [values, indices] = r;
  if (!out) return type(values, indices);
  return type(into_out(values, out->first, op), into_out(indices, out->second, op));
}
using Out = std::optional<std::pair<Tensor, Tensor>>;

}  // namespace

void bind_sort(Binder& b) {
  const py::object sort_type = pair_type("sort"), topk_type = pair_type("topk"),
                   kth_type = pair_type("kthvalue");
  b.both(
      "sort",
      [sort_type](const Tensor& input, int64_t dim, bool descending, bool stable, const Out& out) {
        return named(sort_type, sort(input, dim, descending, stable), out, "sort");
      },
      py::arg("input"), py::arg("dim") = -1, py::arg("descending") = false,
      py::arg("stable") = false, py::kw_only(), py::arg("out") = py::none(),
      "Sorts along dim; returns (values, indices). Always stable; NaN counts as the largest "
      "value.\n\n"
      "The values are differentiable.");
  b.both("argsort", &argsort, py::arg("input"), py::arg("dim") = -1, py::arg("descending") = false,
         py::arg("stable") = false, "Indices that sort input along dim (stable).");
  b.both("msort", &msort, py::arg("input"), "Values sorted along dim 0.");
  b.both(
      "topk",
      [topk_type](const Tensor& input, int64_t k, int64_t dim, bool largest, bool sorted,
                  const Out& out) {
        return named(topk_type, topk(input, k, dim, largest, sorted), out, "topk");
      },
      py::arg("input"), py::arg("k"), py::arg("dim") = -1, py::arg("largest") = true,
      py::arg("sorted") = true, py::kw_only(), py::arg("out") = py::none(),
      "The k largest (or smallest) elements along dim, best first: (values, indices). Ties go to "
      "the smaller\n"
      "index. Raises ValueError unless 0 <= k <= size of dim.");
  b.both(
      "kthvalue",
      [kth_type](const Tensor& input, int64_t k, int64_t dim, bool keepdim, const Out& out) {
        return named(kth_type, kthvalue(input, k, dim, keepdim), out, "kthvalue");
      },
      py::arg("input"), py::arg("k"), py::arg("dim") = -1, py::arg("keepdim") = false,
      py::kw_only(), py::arg("out") = py::none(),
      "The k-th smallest element (k from 1) along dim: (values, indices).");
}

}  // namespace tercel
