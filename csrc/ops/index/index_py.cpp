// Python names of the index family: indexing along a dim, gather/scatter, masks.
#include "ops/creation/factory_args.h"
#include "ops/index/index.h"

namespace tercel {
namespace {

void bind_dim(Binder& b) {
  both_out(b, "index_select", &index_select, py::arg("input"), py::arg("dim"), py::arg("index"),
           "Slices input[..., index[i], ...] along dim, for a 1-D integer index. A copy.\n\n"
           "Raises IndexError for an index outside [0, size of dim).");
  both_out(b, "index_add", &index_add, py::arg("input"), py::arg("dim"), py::arg("index"),
           py::arg("source"), py::kw_only(), py::arg("alpha") = 1,
           "Copy of input with alpha * source[..., i, ...] added to its slice index[i] along dim. "
           "Repeated indices\n"
           "add up in index order, with the same bits for any number of threads.");
  b.method("index_add_", &index_add_, py::arg("dim"), py::arg("index"), py::arg("source"),
           py::kw_only(), py::arg("alpha") = 1, "In-place index_add.");
  both_out(b, "index_copy", &index_copy, py::arg("input"), py::arg("dim"), py::arg("index"),
           py::arg("source"),
           "Copy of input whose slices index[i] along dim are those of source, in index order.");
  b.method("index_copy_", &index_copy_, py::arg("dim"), py::arg("index"), py::arg("source"),
           "In-place index_copy.");
  b.both(
      "index_fill",
      [](const Tensor& input, int64_t dim, const Tensor& index, const Operand& value) {
        return index_fill(input, dim, index, value);
      },
      py::arg("input"), py::arg("dim"), py::arg("index"), py::arg("value"),
      "Copy of input whose slices index[i] along dim are filled with value (a number or 0-d "
      "tensor).");
  b.method(
      "index_fill_",
      [](const Tensor& self, int64_t dim, const Tensor& index, const Operand& value) {
        return index_fill_(self, dim, index, value);
      },
      py::arg("dim"), py::arg("index"), py::arg("value"), "In-place index_fill.");
  b.both(
      "index_put",
      [](const Tensor& input, const TensorList& indices, const Tensor& values, bool accumulate) {
        return index_put(input, indices, values, accumulate);
      },
      py::arg("input"), py::arg("indices"), py::arg("values"), py::arg("accumulate") = false,
      "Copy of input with input[indices] = values, or += values (repeated positions add up in "
      "order).");
  b.method(
      "index_put_",
      [](const Tensor& self, const TensorList& indices, const Tensor& values, bool accumulate) {
        return index_put_(self, indices, values, accumulate);
      },
      py::arg("indices"), py::arg("values"), py::arg("accumulate") = false, "In-place index_put.");
  both_out(
      b, "take", &take, py::arg("input"), py::arg("index"),
      "Elements of the flattened input at index (any shape); negative indices count from the end.");
  b.both(
      "put", &put, py::arg("input"), py::arg("index"), py::arg("source"),
      py::arg("accumulate") = false,
      "Copy of input whose flattened positions index take the elements of source (or add them).");
  b.method("put_", &put_, py::arg("index"), py::arg("source"), py::arg("accumulate") = false,
           "In-place put.");
}

void bind_gather(Binder& b) {
  both_out(
      b, "gather",
      [](const Tensor& input, int64_t dim, const Tensor& index, bool) {
        return gather(input, dim, index);
      },
      py::arg("input"), py::arg("dim"), py::arg("index"), py::kw_only(),
      py::arg("sparse_grad") = false,
      "out[i, j, k] = input[index[i, j, k], j, k] for dim 0, and so on for other dims.\n\n"
      "index: integers, rank of input, sizes <= those of input outside dim; out has its shape. "
      "Raises\n"
      "IndexError for a value outside [0, size of dim).");
  both_out(
      b, "take_along_dim", &take_along_dim, py::arg("input"), py::arg("indices"),
      py::arg("dim") = py::none(),
      "gather after broadcasting input and indices outside dim; without dim on flattened tensors.");
  for (const char* name : {"src", "value"}) {
    both_out(
        b, "scatter",
        [](const Tensor& input, int64_t dim, const Tensor& index, const Operand& src,
           std::optional<std::string> reduce) {
          return scatter(input, dim, index, src, reduce.value_or(""));
        },
        py::arg("input"), py::arg("dim"), py::arg("index"), py::arg(name), py::kw_only(),
        py::arg("reduce") = py::none(),
        "Copy of input with out[index[i, j, k], j, k] = src[i, j, k] for dim 0, and so on for "
        "other dims.\n\n"
        "src: a tensor with at least the sizes of index, or a number. reduce: 'add' or 'multiply' "
        "combines with\n"
        "the old value. Where positions collide the last one in index order stays.");
    b.method(
        "scatter_",
        [](const Tensor& self, int64_t dim, const Tensor& index, const Operand& src,
           std::optional<std::string> reduce) {
          return scatter_(self, dim, index, src, reduce.value_or(""));
        },
        py::arg("dim"), py::arg("index"), py::arg(name), py::kw_only(),
        py::arg("reduce") = py::none(), "In-place scatter.");
  }
  both_out(
      b, "scatter_add", &scatter_add, py::arg("input"), py::arg("dim"), py::arg("index"),
      py::arg("src"),
      "Copy of input with src[i, j, k] added to out[index[i, j, k], j, k] for dim 0, and so on; "
      "colliding\n"
      "positions add up in index order, with the same bits for any number of threads.");
  b.method("scatter_add_", &scatter_add_, py::arg("dim"), py::arg("index"), py::arg("src"),
           "In-place scatter_add.");
}

void bind_masks(Binder& b) {
  b.both(
      "nonzero",
      [](const Tensor& input, bool as_tuple, std::optional<Tensor> out) -> py::object {
        if (as_tuple) return py::cast(nonzero_tuple(input));
        return py::cast(into_out(nonzero(input), out, "nonzero"));
      },
      py::arg("input"), py::kw_only(), py::arg("as_tuple") = false, py::arg("out") = py::none(),
      "Coordinates of the nonzero elements in row-major order: int64 [count, rank], or a tuple of "
      "one [count]\n"
      "tensor per dim.");
  both_out(b, "nonzero_static", &nonzero_static, py::arg("input"), py::kw_only(), py::arg("size"),
           py::arg("fill_value") = -1,
           "nonzero with exactly `size` rows: the first ones, or followed by rows of fill_value.");
  b.both("argwhere", &argwhere, py::arg("input"),
         "Coordinates of the nonzero elements, int64 [count, rank].");
  both_out(b, "masked_select", &masked_select, py::arg("input"), py::arg("mask"),
           "1-D tensor of the elements where the boolean mask (broadcast against input) is true.");
  b.both(
      "masked_fill",
      [](const Tensor& input, const Tensor& mask, const Operand& value) {
        return masked_fill(input, mask, value);
      },
      py::arg("input"), py::arg("mask"), py::arg("value"),
      "Copy of input with `value` where the boolean mask is true.");
  b.method(
      "masked_fill_",
      [](const Tensor& self, const Tensor& mask, const Operand& value) {
        return masked_fill_(self, mask, value);
      },
      py::arg("mask"), py::arg("value"), "In-place masked_fill.");
  b.both("masked_scatter", &masked_scatter, py::arg("input"), py::arg("mask"), py::arg("source"),
         "Copy of input whose true positions take the elements of source in order.");
  b.method("masked_scatter_", &masked_scatter_, py::arg("mask"), py::arg("source"),
           "In-place masked_scatter.");
}

}  // namespace

void bind_index(Binder& b) {
  bind_dim(b);
  bind_gather(b);
  bind_masks(b);
}

}  // namespace tercel
