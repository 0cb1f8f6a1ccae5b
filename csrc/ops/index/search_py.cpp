// Python names of counting, searching, unique and window-writing ops.
#include "ops/creation/factory_args.h"
#include "ops/index/index.h"

namespace tercel {
namespace {

// searchsorted's side= and right= must agree.
bool search_right(bool right, const std::optional<std::string>& side, const char* op) {
  if (!side) return right;
  TERCEL_CHECK(*side == "left" || *side == "right", Value, op,
               ": side must be 'left' or 'right', got '", *side, "'");
  TERCEL_CHECK(!(right && *side == "left"), Value, op, ": side='left' contradicts right=True");
  return *side == "right";
}

// output, or a tuple with inverse and counts when asked for.
py::object unique_result(const std::tuple<Tensor, Tensor, Tensor>& r, bool inverse, bool counts) {
  py::list out;
  out.append(std::get<0>(r));
  if (inverse) out.append(std::get<1>(r));
  if (counts) out.append(std::get<2>(r));
  if (!inverse && !counts) return out[0];
  return py::tuple(out);
}

void bind_unique(Binder& b) {
  b.both(
      "unique",
      [](const Tensor& input, bool, bool return_inverse, bool return_counts,
         std::optional<int64_t> dim) {
        return unique_result(unique(input, dim), return_inverse, return_counts);
      },
      py::arg("input"), py::arg("sorted") = true, py::arg("return_inverse") = false,
      py::arg("return_counts") = false, py::arg("dim") = py::none(),
      "Distinct elements (of the flattened tensor) or slices along dim, in ascending order.\n\n"
      "return_inverse: also the position of each element in the result. return_counts: also how "
      "often each\n"
      "occurs. NaNs are distinct from each other.");
  b.both(
      "unique_consecutive",
      [](const Tensor& input, bool return_inverse, bool return_counts, std::optional<int64_t> dim) {
        return unique_result(unique_consecutive(input, dim), return_inverse, return_counts);
      },
      py::arg("input"), py::arg("return_inverse") = false, py::arg("return_counts") = false,
      py::arg("dim") = py::none(), "unique that only merges equal neighbours and keeps the order.");
}

void bind_view_scatters(Binder& b) {
  b.both("select_scatter", &select_scatter, py::arg("input"), py::arg("src"), py::arg("dim"),
         py::arg("index"), "Copy of input with input.select(dim, index) replaced by src.");
  b.both("slice_scatter", &slice_scatter, py::arg("input"), py::arg("src"), py::arg("dim") = 0,
         py::arg("start") = py::none(), py::arg("end") = py::none(), py::arg("step") = 1,
         "Copy of input with input[start:end:step] along dim replaced by src.");
  b.both("diagonal_scatter", &diagonal_scatter, py::arg("input"), py::arg("src"),
         py::arg("offset") = 0, py::arg("dim1") = 0, py::arg("dim2") = 1,
         "Copy of input with a diagonal replaced by src.");
}

}  // namespace

void bind_search(Binder& b) {
  const auto search = [](const Tensor& sorted, const Operand& values, bool out_int32, bool right,
                         std::optional<std::string> side, std::optional<Tensor> sorter,
                         std::optional<Tensor> out) {
    return into_out(searchsorted(sorted, values, search_right(right, side, "searchsorted"),
                                 out_int32, sorter.value_or(Tensor())),
                    out, "searchsorted");
  };
  b.function(
      "searchsorted", search, py::arg("sorted_sequence"), py::arg("input"), py::kw_only(),
      py::arg("out_int32") = false, py::arg("right") = false, py::arg("side") = py::none(),
      py::arg("sorter") = py::none(), py::arg("out") = py::none(),
      "Positions where values would be inserted into the sorted rows to keep them sorted.\n\n"
      "sorted_sequence [S] or [..., S], input [..., V] -> int64 [..., V]: the number of elements < "
      "value, or\n"
      "<= value with right=True (side='right'). sorter: indices that sort an unsorted sequence.");
  both_out(
      b, "bucketize",
      [](const Operand& input, const Tensor& boundaries, bool out_int32, bool right) {
        return bucketize(input, boundaries, out_int32, right);
      },
      py::arg("input"), py::arg("boundaries"), py::kw_only(), py::arg("out_int32") = false,
      py::arg("right") = false, "searchsorted(boundaries, input) for 1-D boundaries.");
  function_out(
      b, "isin",
      [](const Operand& elements, const Operand& test_elements, bool, bool invert) {
        return isin(elements, test_elements, invert);
      },
      py::arg("elements"), py::arg("test_elements"), py::kw_only(),
      py::arg("assume_unique") = false, py::arg("invert") = false,
      "Whether each element occurs in test_elements (not: with invert).");
  b.function(
      "one_hot", &one_hot, py::arg("tensor"), py::arg("num_classes") = -1,
      "int64 [..., C] with a 1 at each class index; num_classes -1 means the largest index + 1.");
  b.both(
      "bincount",
      [](const Tensor& input, std::optional<Tensor> weights, int64_t minlength) {
        return bincount(input, weights.value_or(Tensor()), minlength);
      },
      py::arg("input"), py::arg("weights") = py::none(), py::arg("minlength") = 0,
      "Number of occurrences (or sum of weights) of each value 0, 1, ... of a 1-D integer tensor.");
  const char* histogram_doc = R"(Histogram of input's values: (hist, bin_edges).

bins: number of equal bins over range (low, high) (default: of the values), or a tensor of edges.
weight: tensor of input's shape, summed instead of counting. density: the bins integrate to 1.
Values outside, and NaN, do not count. Results have input's dtype (float).)";
  const py::object histogram_type = result_tuple("histogram", "hist bin_edges");
  both_out(
      b, "histogram", histogram_type,
      [](const Tensor& x, int64_t bins, std::optional<std::pair<double, double>> range,
         const std::optional<Tensor>& weight,
         bool density) { return histogram(x, bins, range, weight.value_or(Tensor()), density); },
      py::arg("input"), py::arg("bins"), py::kw_only(), py::arg("range") = py::none(),
      py::arg("weight") = py::none(), py::arg("density") = false, histogram_doc);
  both_out(
      b, "histogram", histogram_type,
      [](const Tensor& x, const Tensor& bins, const std::optional<Tensor>& weight, bool density) {
        return histogram(x, bins, weight.value_or(Tensor()), density);
      },
      py::arg("input"), py::arg("bins"), py::kw_only(), py::arg("weight") = py::none(),
      py::arg("density") = false, histogram_doc);
  both_out(b, "histc", &histc, py::arg("input"), py::arg("bins") = 100, py::arg("min") = 0.0,
           py::arg("max") = 0.0,
           "Counts of `bins` equal intervals of [min, max] (both 0: the range of the data), in "
           "input's dtype.");
  both_out(
      b, "scatter_reduce", &scatter_reduce, py::arg("input"), py::arg("dim"), py::arg("index"),
      py::arg("src"), py::arg("reduce"), py::kw_only(), py::arg("include_self") = true,
      "Copy of input with src[i, j, k] reduced into out[index[i, j, k], j, k] for dim 0, and so "
      "on.\n\n"
      "reduce: 'sum', 'prod', 'mean', 'amax' or 'amin'; include_self: whether the old values "
      "take part.");
  b.method("scatter_reduce_", &scatter_reduce_, py::arg("dim"), py::arg("index"), py::arg("src"),
           py::arg("reduce"), py::kw_only(), py::arg("include_self") = true,
           "In-place scatter_reduce.");
  bind_unique(b);
  bind_view_scatters(b);
}

}  // namespace tercel
