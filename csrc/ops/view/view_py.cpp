// Python names of the view operations.
#include "ops/view/view.h"

#include "ops/copy/copy.h"
#include "ops/view/resize.h"
#include "ops/view/split.h"
#include "python/bind.h"
#include "python/sequences.h"

namespace tercel {
namespace {

using OptionalInt = std::optional<int64_t>;

Tensor squeeze_any(const Tensor& t, const std::optional<Dims>& dim) {
  return dim ? squeeze(t, *dim) : squeeze(t);
}

// Sizes or positions given as a sequence of ints or a tensor of them.
std::vector<int64_t> cuts_of(const py::object& given, const char* op) {
  py::object numbers = given;
  if (is_tensor_object(given.ptr())) {
    const Tensor& t = tensor_of(given.ptr());
    TERCEL_CHECK(!is_float(t.dtype()) && t.dim() == 1, Type, op,
                 ": expected an int, ints, or a 1-d integer tensor, got ", dtype_name(t.dtype()),
                 " of shape ", t.shape());
    numbers = given.attr("tolist")();
  }
  TERCEL_CHECK(py::isinstance<py::sequence>(numbers) && !py::isinstance<py::str>(numbers), Type, op,
               ": expected an int or a sequence of ints, got ", Py_TYPE(given.ptr())->tp_name);
  std::vector<int64_t> cuts;
  for (const py::handle& number : numbers) {
    Dims one;
    TERCEL_CHECK(PyIndex_Check(number.ptr()) && dims_from_object(number.ptr(), &one), Type, op,
                 ": expected ints, got ", Py_TYPE(number.ptr())->tp_name);
    cuts.push_back(one[0]);
  }
  return cuts;
}

// One number: an int, a NumPy integer or a 0-d integer tensor.
bool is_count(const py::object& given) {
  if (is_tensor_object(given.ptr())) {
    const Tensor& t = tensor_of(given.ptr());
    return t.dim() == 0 && !is_float(t.dtype());
  }
  return PyIndex_Check(given.ptr());
}

TensorList split_any(const Tensor& t, const py::object& size_or_sections, int64_t dim) {
  if (is_count(size_or_sections)) return split(t, size_or_sections.cast<int64_t>(), dim);
  return split_sizes(t, cuts_of(size_or_sections, "split"), dim);
}

TensorList tensor_split_any(const Tensor& t, const py::object& indices_or_sections, int64_t dim) {
  if (is_count(indices_or_sections))
    return tensor_split(t, indices_or_sections.cast<int64_t>(), dim);
  return tensor_split_at(t, cuts_of(indices_or_sections, "tensor_split"), dim);
}

// PyTorch names the argument in all three ways.
constexpr const char* kSplitNames[] = {"indices_or_sections", "indices", "sections"};

// At least `rank` dims of size 1 around t's own, placed as NumPy's atleast_1d, _2d and _3d do.
template <int rank>
Tensor atleast(const Tensor& t) {
  if (t.dim() >= rank) return t;
  if (t.dim() == 0) return reshape(t, Dims::filled(rank, 1));
  const Tensor row = rank == 1 || t.dim() == 2 ? t : unsqueeze(t, 0);
  return rank == 3 ? unsqueeze(row, 2) : row;
}

template <int rank>
void bind_atleast(Binder& b, const char* name) {
  b.function(name, &atleast<rank>, py::arg("tensor"),
             "View with leading (in 3-d also trailing) dimensions of size 1 up to that rank.");
  b.function(
      name,
      [name](const py::args& tensors) {
        TensorList out = tensors_from_args(tensors, name);
        for (Tensor& t : out) t = atleast<rank>(t);
        return out;
      },
      "The same for several tensors, or a sequence of them.");
}

// hsplit, vsplit, dsplit: tensor_split along a fixed dim.
void bind_dim_split(Binder& b, const char* name, int rank, int dim) {
  const auto split = [name, rank, dim](const Tensor& t, const py::object& indices_or_sections) {
    TERCEL_CHECK(t.dim() >= rank, Shape, name, ": expected at least ", rank,
                 " dimensions, got shape ", t.shape());
    const int along = t.dim() == 1 ? 0 : dim;
    if (is_count(indices_or_sections)) {
      const auto sections = indices_or_sections.cast<int64_t>();
      TERCEL_CHECK(sections <= 0 || t.size(along) % sections == 0, Value, name, ": size ",
                   t.size(along), " of dim ", along, " is not divisible by ", sections,
                   "; use tensor_split");
    }
    return tensor_split_any(t, indices_or_sections, along);
  };
  for (const char* cuts : kSplitNames) {
    b.both(name, split, py::arg("input"), py::arg(cuts),
           "tensor_split along a fixed dimension (hsplit: columns, vsplit: rows, dsplit: depth).");
  }
}

// Replaces the geometry of `self` by that of a view of it.
Tensor& become(Tensor& self, const Tensor& view, const char* op) {
  TERCEL_CHECK(!self.requires_grad(), NotImplemented, op,
               ": not provided for tensors that require grad; use the version without _");
  self.impl()->set_geometry(view.storage(), view.offset(), view.shape(), view.strides());
  return self;
}

void bind_resize(Binder& b) {
  b.method(
      "resize_",
      [](Tensor self, const py::args& sizes, const py::object&) {
        return resize_(self, dims_from_args(sizes, "resize_"));
      },
      py::kw_only(), py::arg("memory_format") = py::none(),
      R"(Gives the tensor the sizes, contiguous, in place: resize_(2, 3) or resize_((2, 3)).

Memory is kept where it suffices; otherwise the old elements are moved and the rest is unspecified.
Raises RuntimeError for tensors that require grad and for views that would outgrow their storage.)");
  b.method(
      "resize_as_",
      [](Tensor self, const Tensor& other, const py::object&) {
        return resize_(self, other.shape());
      },
      py::arg("the_template"), py::kw_only(), py::arg("memory_format") = py::none(),
      "resize_ to the shape of another tensor.");
  b.method(
      "fill_diagonal_",
      [](Tensor self, Scalar value, bool wrap) { return fill_diagonal_(self, value, wrap); },
      py::arg("fill_value"), py::arg("wrap") = false,
      "Writes fill_value along the main diagonal, in place. More than 2 dimensions must have one "
      "size. wrap: in a\ntall matrix of N columns the diagonal starts again N + 1 rows below.");
  b.function(
      "broadcast_shapes",
      [](const py::args& shapes) {
        Shape out;
        for (py::handle s : shapes) {
          Dims shape;
          TERCEL_CHECK(dims_from_object(s.ptr(), &shape), Type,
                       "broadcast_shapes: expected shapes, got ", Py_TYPE(s.ptr())->tp_name);
          out = broadcast_shapes(out, shape, "broadcast_shapes");
        }
        checked_numel(out, "broadcast_shapes");
        return out;
      },
      "broadcast_shapes(*shapes): the shape that the shapes (tuples, or ints) broadcast to.");
}

}  // namespace

void bind_view(Binder& b) {
  bind_resize(b);
  b.method(
      "view",
      [](const Tensor& t, const py::args& args) {
        DType dtype;
        if (args.size() == 1 && dtype_from_object(args[0].ptr(), &dtype))
          return view_dtype(t, dtype);
        return view(t, dims_from_args(args, "view"));
      },
      "view(*sizes) or view(dtype): same memory, other shape (one size may be -1) or "
      "dtype.\n\nRaises RuntimeError if the "
      "strides do not allow it without a copy; see reshape().");
  b.method(
      "view_as", [](const Tensor& t, const Tensor& other) { return view(t, other.shape()); },
      py::arg("other"), "view with the shape of `other`.");
  b.method(
      "reshape",
      [](const Tensor& t, const py::args& args) {
        return reshape(t, dims_from_args(args, "reshape"));
      },
      "reshape(*sizes): a view if the strides allow it, else a copy. One size may be -1.");
  b.function(
      "reshape", &reshape, py::arg("input"), py::arg("shape"),
      "Same elements in another shape; one size may be -1. A view if possible, else a copy.");
  b.method(
      "reshape_as", [](const Tensor& t, const Tensor& other) { return reshape(t, other.shape()); },
      py::arg("other"), "reshape to the shape of `other`.");
  b.both("flatten", &flatten, py::arg("input"), py::arg("start_dim") = 0, py::arg("end_dim") = -1,
         "Merges the dimensions start_dim..end_dim into one.");
  b.both(
      "ravel", [](const Tensor& t) { return reshape(t, {-1}); }, py::arg("input"),
      "The elements as a 1-d tensor.");
  b.both("unflatten", &unflatten, py::arg("input"), py::arg("dim"), py::arg("sizes"),
         "Splits dimension `dim` into `sizes` (one may be -1).");
  b.function("permute", &permute, py::arg("input"), py::arg("dims"), "Reorders the dimensions.");
  b.method(
      "permute",
      [](const Tensor& t, const py::args& args) {
        return permute(t, dims_from_args(args, "permute"));
      },
      "permute(*dims): reorders the dimensions.");
  const auto swap = [&b](const char* name, const char* first, const char* second) {
    b.both(name, &transpose, py::arg("input"), py::arg(first), py::arg(second),
           "Swaps two dimensions.");
  };
  swap("transpose", "dim0", "dim1");
  swap("swapdims", "dim0", "dim1");
  swap("swapaxes", "axis0", "axis1");
  b.both("t", &t_, py::arg("input"), "Transpose of a matrix; vectors and scalars unchanged.");
  b.both("adjoint", &mT, py::arg("input"), "Swaps the last two dimensions.");
  for (const char* name : {"movedim", "moveaxis"}) {
    b.both(name, &movedim, py::arg("input"), py::arg("source"), py::arg("destination"),
           "Moves the dimensions `source` to the positions `destination`.");
  }
  b.method(
      "expand",
      [](const Tensor& t, const py::args& args) {
        return expand(t, dims_from_args(args, "expand"));
      },
      "expand(*sizes): broadcast view; -1 keeps a size. Several elements then share memory.");
  b.method(
      "expand_as", [](const Tensor& t, const Tensor& other) { return expand(t, other.shape()); },
      py::arg("other"), "expand to the shape of `other`.");
  b.both("broadcast_to", &expand, py::arg("input"), py::arg("size"),
         "Broadcast view of the given shape.");
  b.both("squeeze", squeeze_any, py::arg("input"), py::arg("dim") = py::none(),
         "Drops dimensions of size 1 (all, or those in `dim`).");
  b.both("unsqueeze", &unsqueeze, py::arg("input"), py::arg("dim"),
         "Inserts a dimension of size 1 at `dim`.");
  b.method(
      "squeeze_",
      [](Tensor t, const std::optional<Dims>& dim) {
        return become(t, squeeze_any(t, dim), "squeeze_");
      },
      py::arg("dim") = py::none(), "In-place squeeze.");
  b.method(
      "unsqueeze_",
      [](Tensor t, int64_t dim) { return become(t, unsqueeze(t, dim), "unsqueeze_"); },
      py::arg("dim"), "In-place unsqueeze.");
  for (const char* name : {"transpose_", "swapaxes_", "swapdims_"}) {
    b.method(
        name,
        [](Tensor t, int64_t dim0, int64_t dim1) {
          return become(t, transpose(t, dim0, dim1), "transpose_");
        },
        py::arg("dim0"), py::arg("dim1"), "In-place transpose.");
  }
  b.method("t_", [](Tensor t) { return become(t, t_(t), "t_"); }, "In-place t().");
  b.both("select", &select, py::arg("input"), py::arg("dim"), py::arg("index"),
         "View at `index` along `dim`; drops the dimension.");
  b.both("narrow", &narrow, py::arg("input"), py::arg("dim"), py::arg("start"), py::arg("length"),
         "View of `length` elements from `start` along `dim`.");
  const char* split_doc =
      "Views of `split_size` elements (the last may be shorter), or of the listed sizes, along "
      "`dim`.";
  b.function("split", split_any, py::arg("tensor"), py::arg("split_size_or_sections"),
             py::arg("dim") = 0, split_doc);
  b.method("split", split_any, py::arg("split_size"), py::arg("dim") = 0, split_doc);
  b.both(
      "split_with_sizes",
      [](const Tensor& t, const py::object& sizes, int64_t dim) {
        return split_sizes(t, cuts_of(sizes, "split_with_sizes"), dim);
      },
      py::arg("input"), py::arg("split_sizes"), py::arg("dim") = 0,
      "Views of the listed sizes along `dim`.");
  b.both("chunk", &chunk, py::arg("input"), py::arg("chunks"), py::arg("dim") = 0,
         "At most `chunks` views of equal size along `dim`.");
  for (const char* cuts : kSplitNames) {
    b.both("tensor_split", tensor_split_any, py::arg("input"), py::arg(cuts), py::arg("dim") = 0,
           "Views along `dim`: that many nearly equal ones, or cut at the listed indices.");
  }
  // Sizes by keyword: overloads of their own, so that f(2, 3) stays as fast as it is.
  b.method("view", &view_dtype, py::kw_only(), py::arg("dtype"));
  b.method(
      "view", [](const Tensor& t, const Dims& size) { return view(t, size); }, py::kw_only(),
      py::arg("size"));
  b.method(
      "reshape", [](const Tensor& t, const Dims& shape) { return reshape(t, shape); },
      py::kw_only(), py::arg("shape"));
  b.method(
      "permute", [](const Tensor& t, const Dims& dims) { return permute(t, dims); }, py::kw_only(),
      py::arg("dims"));
  b.method(
      "expand", [](const Tensor& t, const Dims& size, bool) { return expand(t, size); },
      py::kw_only(), py::arg("size"), py::arg("implicit") = false);
  bind_dim_split(b, "hsplit", 1, 1);
  bind_dim_split(b, "vsplit", 2, 0);
  bind_dim_split(b, "dsplit", 3, 2);
  bind_atleast<1>(b, "atleast_1d");
  bind_atleast<2>(b, "atleast_2d");
  bind_atleast<3>(b, "atleast_3d");
  b.both("unbind", &unbind, py::arg("input"), py::arg("dim") = 0, "All slices along `dim`.");
  b.both("diagonal", &diagonal, py::arg("input"), py::arg("offset") = 0, py::arg("dim1") = 0,
         py::arg("dim2") = 1, "View of a diagonal of two dimensions, as a new last dimension.");
  b.method("unfold", &unfold, py::arg("dimension"), py::arg("size"), py::arg("step"),
           "Sliding windows of `size` every `step` along a dimension, as a new last dimension (a "
           "view).");
  auto strided = [](const Tensor& t, const Dims& size, const Dims& stride, OptionalInt offset) {
    return as_strided(t, size, stride, offset.value_or(t.offset()));
  };
  b.both("as_strided", strided, py::arg("input"), py::arg("size"), py::arg("stride"),
         py::arg("storage_offset") = py::none(),
         "View of the storage with explicit sizes and strides (elements); it must stay inside the "
         "storage.");
  b.both(
      "detach", [](const Tensor& t) { return t.detach(); }, py::arg("input"),
      "The same values without history.");
  b.method(
      "detach_",
      [](Tensor t) {
        if (t.impl()->autograd) {
          TERCEL_CHECK(!t.is_view(), Runtime,
                       "detach_: views cannot be detached in place; use detach()");
          t.impl()->autograd->grad_fn.reset();
          t.impl()->autograd->requires_grad = false;
        }
        return t;
      },
      "Drops the history of this tensor.");
}

}  // namespace tercel
