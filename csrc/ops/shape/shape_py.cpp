// Python names of the shape family.
#include "ops/creation/factory_args.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"
#include "python/sequences.h"

namespace tercel {
namespace {

void bind_joins(Binder& b) {
  for (const char* name : {"cat", "concat", "concatenate"}) {
    function_out(
        b, name, &cat, py::arg("tensors"), py::arg("dim") = 0,
        "Joins tensors along an existing dim; their other sizes must be equal. dtypes are "
        "promoted, tensors of\n"
        "shape [0] are skipped. Raises ShapeError when sizes differ, ValueError for an empty "
        "list.\n\n"
        ">>> tercel.cat([tercel.zeros(2, 3), tercel.ones(1, 3)]).shape\ntercel.Size([3, 3])");
  }
  function_out(b, "stack", &stack, py::arg("tensors"), py::arg("dim") = 0,
               "Joins tensors of one shape along a new dim.");
  function_out(b, "hstack", &hstack, py::arg("tensors"),
               "Joins along dim 1 (dim 0 for 1-D tensors).");
  function_out(b, "vstack", &vstack, py::arg("tensors"),
               "Joins along dim 0 after making every tensor at least 2-D.");
  function_out(b, "row_stack", &vstack, py::arg("tensors"), "Same as vstack.");
  function_out(b, "dstack", &dstack, py::arg("tensors"),
               "Joins along dim 2 after making every tensor at least 3-D.");
  function_out(b, "column_stack", &column_stack, py::arg("tensors"),
               "Joins along dim 1; 1-D tensors become columns.");
  b.function(
      "block_diag",
      [](const py::args& args) { return block_diag(tensors_from_args(args, "block_diag")); },
      "block_diag(*tensors): matrix with the given matrices on its diagonal and zeros elsewhere.");
  b.function(
      "broadcast_tensors",
      [](const py::args& args) {
        return broadcast_tensors(tensors_from_args(args, "broadcast_tensors"));
      },
      "broadcast_tensors(*tensors): the tensors expanded (as views) to their common shape.");
  b.function(
      "meshgrid",
      [](const py::args& args, std::optional<std::string> indexing) {
        return meshgrid(tensors_from_args(args, "meshgrid"), indexing.value_or("ij"));
      },
      py::arg("indexing") = py::none(),
      "meshgrid(*tensors, indexing='ij'): coordinate grids of 1-D tensors, as views. 'xy' swaps "
      "the first two dims.");
  b.function(
      "cartesian_prod",
      [](const py::args& args) {
        return cartesian_prod(tensors_from_args(args, "cartesian_prod"));
      },
      "cartesian_prod(*tensors): all tuples of elements of 1-D tensors, [product of sizes, number "
      "of tensors].");
  b.function("combinations", &combinations, py::arg("input"), py::arg("r") = 2,
             py::arg("with_replacement") = false,
             "All length-r combinations of the elements of a 1-D tensor, in index order.");
}

void bind_rearrange(Binder& b) {
  b.both(
      "roll",
      [](const Tensor& input, const Dims& shifts, std::optional<Dims> dims) {
        return roll(input, shifts, dims.value_or(Dims{}));
      },
      py::arg("input"), py::arg("shifts"), py::arg("dims") = py::none(),
      "Moves elements by `shifts` along `dims`, wrapping around; without dims on the flattened "
      "tensor.");
  const auto flip_args = [](const Tensor& input, const py::args& args, std::optional<Dims> dims) {
    return flip(input, factory_shape(args, dims, "flip"));
  };
  b.both("flip", flip_args, py::arg("input"), py::arg("dims") = py::none(),
         "flip(input, dims): reverses the order of elements along dims; a copy.");
  b.both(
      "fliplr",
      [](const Tensor& input) {
        TERCEL_CHECK(input.dim() >= 2, Shape,
                     "fliplr: input must have at least 2 dimensions, got shape ", input.shape());
        return flip(input, {1});
      },
      py::arg("input"), "Reverses dim 1.");
  b.both(
      "flipud",
      [](const Tensor& input) {
        TERCEL_CHECK(input.dim() >= 1, Shape,
                     "flipud: input must have at least 1 dimension, got a 0-d tensor");
        return flip(input, {0});
      },
      py::arg("input"), "Reverses dim 0.");
  b.both("rot90", &rot90, py::arg("input"), py::arg("k") = 1, py::arg("dims") = Dims{0, 1},
         "Rotates the plane of `dims` by k quarter turns, from the first dim towards the second.");
  b.method(
      "repeat",
      [](const Tensor& self, const py::args& args, std::optional<Dims> repeats) {
        return repeat(self, factory_shape(args, repeats, "repeat"));
      },
      py::arg("repeats") = py::none(),
      "repeat(*repeats): the tensor repeated along each dim; more repeats than dims add leading "
      "dims. A copy.");
  b.both(
      "tile",
      [](const Tensor& input, const py::args& args, std::optional<Dims> dims) {
        return tile(input, factory_shape(args, dims, "tile"));
      },
      py::arg("input"), py::arg("dims") = py::none(),
      "tile(input, dims): repeat with missing leading repeats taken as 1.");
  b.both(
      "repeat_interleave",
      [](const Tensor& input, int64_t repeats, std::optional<int64_t> dim, std::optional<int64_t>) {
        return repeat_interleave(input, repeats, dim);
      },
      py::arg("input"), py::arg("repeats"), py::arg("dim") = py::none(), py::kw_only(),
      py::arg("output_size") = py::none(),
      "Repeats each element (of the flattened tensor, or along dim) `repeats` times: a number, or "
      "an integer\n"
      "tensor with one count per position. Counts must be >= 0.");
  b.both(
      "repeat_interleave",
      [](const Tensor& input, const Tensor& repeats, std::optional<int64_t> dim,
         std::optional<int64_t> output_size) {
        return repeat_interleave(input, repeats, dim, output_size);
      },
      py::arg("input"), py::arg("repeats"), py::arg("dim") = py::none(), py::kw_only(),
      py::arg("output_size") = py::none());
  b.function(
      "repeat_interleave",
      [](const Tensor& repeats, std::optional<int64_t> output_size) {
        return repeat_positions(repeats, output_size);
      },
      py::arg("repeats"), py::kw_only(), py::arg("output_size") = py::none());
  b.function(
      "pad",
      [](const Tensor& input, const std::vector<int64_t>& amounts, const std::string& mode,
         std::optional<Scalar> value) {
        TERCEL_CHECK(mode == "constant" || !value || value->to_double() == 0.0, Value,
                     "pad: mode '", mode, "' takes no value");
        return pad(input, amounts, mode, value.value_or(Scalar(0)));
      },
      py::arg("input"), py::arg("pad"), py::arg("mode") = "constant", py::arg("value") = py::none(),
      "Pads the last dims by (before, after) amounts, last dim first; negative amounts crop.\n\n"
      "mode: 'constant' (value, default 0), 'reflect' (amount < size), 'replicate', 'circular' "
      "(amount <= size).\n"
      "Raises ValueError for amounts that do not fit the input's shape.");
}

void bind_triangles(Binder& b) {
  both_out(b, "tril", &tril, py::arg("input"), py::arg("diagonal") = 0,
           "Lower triangle of each trailing matrix: keeps elements with column - row <= diagonal, "
           "zeroes the rest.");
  both_out(b, "triu", &triu, py::arg("input"), py::arg("diagonal") = 0,
           "Upper triangle of each trailing matrix: keeps elements with column - row >= diagonal, "
           "zeroes the rest.");
  b.method(
      "tril_", [](const Tensor& self, int64_t diagonal) { return tril_(self, diagonal); },
      py::arg("diagonal") = 0, "In-place tril.");
  b.method(
      "triu_", [](const Tensor& self, int64_t diagonal) { return triu_(self, diagonal); },
      py::arg("diagonal") = 0, "In-place triu.");
  const auto def_indices = [&b](const char* name, Tensor (*make)(int64_t, int64_t, int64_t, DType),
                                const char* doc) {
    b.function(
        name,
        [make](int64_t row, int64_t col, int64_t offset, std::optional<DType> dtype,
               std::optional<Device> device, const py::object&) {
          return to_device(make(row, col, offset, dtype.value_or(DType::i64)),
                           device.value_or(default_device()));
        },
        py::arg("row"), py::arg("col"), py::arg("offset") = 0, py::kw_only(),
        py::arg("dtype") = py::none(), py::arg("device") = py::none(),
        py::arg("layout") = py::none(), doc);
  };
  def_indices("tril_indices", &tril_indices,
              "Row and column indices, [2, n], of the lower triangle of a row x col matrix.");
  def_indices("triu_indices", &triu_indices,
              "Row and column indices, [2, n], of the upper triangle of a row x col matrix.");
  both_out(b, "diag", &diag, py::arg("input"), py::arg("diagonal") = 0,
           "1-D input: square matrix with it on the given diagonal. 2-D input: a copy of that "
           "diagonal.");
  b.both("diag_embed", &diag_embed, py::arg("input"), py::arg("offset") = 0, py::arg("dim1") = -2,
         py::arg("dim2") = -1,
         "Zeros with the last dim of input on a diagonal of two new dims dim1, dim2.");
  b.both(
      "diagflat",
      [](const Tensor& input, int64_t offset) {
        return diag_embed(reshape(input, {input.numel()}), offset);
      },
      py::arg("input"), py::arg("offset") = 0,
      "Square matrix with the flattened input on a diagonal.");
  b.both("trace", static_cast<Tensor (*)(const Tensor&)>(&trace), py::arg("input"),
         "Sum of the main diagonal of a matrix.");
}

}  // namespace

void bind_shape(Binder& b) {
  bind_joins(b);
  bind_rearrange(b);
  bind_triangles(b);
}

}  // namespace tercel
