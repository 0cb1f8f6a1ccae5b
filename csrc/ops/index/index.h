// Indexing: reading and writing elements chosen by integer tensors and boolean masks.
//
// Index tensors are int64 (the other integer dtypes are converted); every value is range-checked
// before anything is written and a bad one raises IndexError naming value, position, dim and size.
// Where several positions hit one destination they are applied in index order, whatever the number
// of threads. 16-bit and fp8 floats are summed in float32 and rounded once. All ops take every
// dtype and any strides; those on floats are differentiable to any order (their backward is written
// with the ops below).
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/autograd.h"

namespace tercel {

// ---- advanced indexing (index.cpp)
// ----------------------------------------------------------------- self[indices]; an undefined
// entry is a full slice, missing trailing entries too. Integer tensors are broadcast together and
// may be negative; a bool mask of rank r stands for its r coordinate lists. The broadcast dims
// replace the indexed ones if those are adjacent, else they come first.
Tensor index(const Tensor& self, const std::vector<Tensor>& indices);
// self[indices] = value, or += if accumulate; value broadcasts to the shape of self[indices].
Tensor index_put(const Tensor& self, const std::vector<Tensor>& indices, const Tensor& value,
                 bool accumulate = false);
Tensor index_put_(const Tensor& self, const std::vector<Tensor>& indices, const Tensor& value,
                  bool accumulate = false);

// ---- one dim (index_dim.cpp): `index` is 1-D (or 0-d) and counts from 0
// ---------------------------------
Tensor index_select(const Tensor& x, int64_t dim, const Tensor& index);
// x[.., index[i], ..] += alpha * source[.., i, ..]
Tensor index_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                 Scalar alpha = 1);
Tensor index_add_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source,
                  Scalar alpha = 1);
Tensor index_copy(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);
Tensor index_copy_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& source);
// value: a 0-d tensor (numbers through wrap_number).
Tensor index_fill(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& value);
Tensor index_fill_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& value);

// Elements of the flattened tensor; negative indices count from the end.
Tensor take(const Tensor& x, const Tensor& index);
Tensor put(const Tensor& x, const Tensor& index, const Tensor& source, bool accumulate = false);
Tensor put_(const Tensor& x, const Tensor& index, const Tensor& source, bool accumulate = false);

// ---- element-wise along a dim (gather.cpp)
// ---------------------------------------------------------- out[i, j, k] = x[index[i, j, k], j, k]
// for dim 0. index has the rank of x and sizes <= those of x in the other dims; out has the shape
// of index.
Tensor gather(const Tensor& x, int64_t dim, const Tensor& index);
// x[index[i, j, k], j, k] = src[i, j, k] for dim 0; src has at least the sizes of index, or is 0-d
// (a value). reduce: "", "add" or "multiply".
Tensor scatter(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
               const std::string& reduce = "");
Tensor scatter_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
                const std::string& reduce = "");
Tensor scatter_add(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter_add_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src);
// reduce: sum, prod, mean, amax, amin. include_self: whether the values already in x take part.
Tensor scatter_reduce(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
                      const std::string& reduce, bool include_self = true);
Tensor scatter_reduce_(const Tensor& x, int64_t dim, const Tensor& index, const Tensor& src,
                       const std::string& reduce, bool include_self = true);
// gather after broadcasting x and index against each other outside dim; without dim on flattened
// tensors.
Tensor take_along_dim(const Tensor& x, const Tensor& index, std::optional<int64_t> dim = {});

// ---- masks (mask.cpp)
// ----------------------------------------------------------------------------
Tensor nonzero(const Tensor& x);  // [count, rank] int64, in row-major order
// nonzero with exactly `size` rows: the first ones, or followed by rows of `fill`.
Tensor nonzero_static(const Tensor& x, int64_t size, int64_t fill = -1);
TensorList nonzero_tuple(const Tensor& x);  // one [count] tensor per dim; a 0-d x counts as [1]
Tensor argwhere(const Tensor& x);
Tensor masked_select(const Tensor& x, const Tensor& mask);  // 1-D; x and mask broadcast
// value: 0-d; converted to x's dtype. mask broadcasts (in place: to x's shape).
Tensor masked_fill(const Tensor& x, const Tensor& mask, const Tensor& value);
Tensor masked_fill_(const Tensor& x, const Tensor& mask, const Tensor& value);
// True positions take the elements of source, in order.
Tensor masked_scatter(const Tensor& x, const Tensor& mask, const Tensor& source);
Tensor masked_scatter_(const Tensor& x, const Tensor& mask, const Tensor& source);

// ---- counting and searching (search.cpp, unique.cpp)
// ---------------------------------------------------
Tensor one_hot(const Tensor& x, int64_t num_classes = -1);  // int64 [..., C]
Tensor bincount(const Tensor& x, const Tensor& weights = {}, int64_t minlength = 0);
Tensor histc(const Tensor& x, int64_t bins = 100, double min = 0, double max = 0);
// (counts or sums of `weight`, edges). Bin i is [edges[i], edges[i + 1]), the last one closed; what
// lies outside or is NaN does not count. density: divided by the total and the width of the bin.
std::pair<Tensor, Tensor> histogram(const Tensor& x, const Tensor& edges, const Tensor& weight = {},
                                    bool density = false);
// `bins` equal bins over range (low, high), by default over the values of x.
std::pair<Tensor, Tensor> histogram(const Tensor& x, int64_t bins,
                                    std::optional<std::pair<double, double>> range = {},
                                    const Tensor& weight = {}, bool density = false);
// Number of elements of the sorted row that are < value (<= with right). NaN sorts last.
Tensor searchsorted(const Tensor& sorted, const Tensor& values, bool right = false,
                    bool out_int32 = false, const Tensor& sorter = {});
Tensor bucketize(const Tensor& x, const Tensor& boundaries, bool out_int32 = false,
                 bool right = false);
// Values, inverse (shape of x), counts. Without dim on the flattened tensor. NaNs are distinct.
std::tuple<Tensor, Tensor, Tensor> unique(const Tensor& x, std::optional<int64_t> dim = {});
std::tuple<Tensor, Tensor, Tensor> unique_consecutive(const Tensor& x,
                                                      std::optional<int64_t> dim = {});
Tensor isin(const Tensor& elements, const Tensor& test_elements, bool invert = false);

// ---- writing a window of a copy (window.cpp)
// ---------------------------------------------------------
Tensor select_scatter(const Tensor& x, const Tensor& src, int64_t dim, int64_t index);
Tensor slice_scatter(const Tensor& x, const Tensor& src, int64_t dim = 0,
                     std::optional<int64_t> start = {}, std::optional<int64_t> end = {},
                     int64_t step = 1);
Tensor diagonal_scatter(const Tensor& x, const Tensor& src, int64_t offset = 0, int64_t dim1 = 0,
                        int64_t dim2 = 1);

// ---- shared by the files of this folder
// ------------------------------------------------------------ int64 contiguous copy-if-needed of
// an index tensor; DTypeError for floats, bools.
Tensor as_index(const Tensor& index, const char* op);
// IndexError naming the first value outside [low, size).
[[noreturn, gnu::cold]] void fail_index(const Tensor& index, int64_t low, int64_t dim, int64_t size,
                                        const char* op);
// Contiguous float32 copy for sums of 16- and 8-bit floats; undefined if dtype sums in itself.
inline bool sums_in_float(DType t) { return is_half(t) || is_fp8(t); }

}  // namespace tercel
