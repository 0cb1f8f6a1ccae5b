// Ops that rearrange elements into new memory: joining, padding, rolling, flipping, repeating,
// triangles. (Rearrangements without a copy are in ops/view.)
//
// All of them move elements bit for bit, accept every dtype, and are differentiable for float
// dtypes to any order; only cat, tril/triu, flip, constant pad and diag_embed have their own graph
// node, the others are written in terms of those and of views.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/autograd.h"
#include "core/tensor.h"
#include "ops/shape/shape_kernels.h"

namespace tercel {

// Joins along an existing dim. Other sizes must match; tensors of shape [0] are skipped; dtypes
// promote.
Tensor cat(const TensorList& tensors, int64_t dim = 0);
// Joins along a new dim; all shapes must be equal.
Tensor stack(const TensorList& tensors, int64_t dim = 0);
Tensor hstack(const TensorList& tensors);
Tensor vstack(const TensorList& tensors);
Tensor dstack(const TensorList& tensors);
Tensor column_stack(const TensorList& tensors);

// `pad` holds (before, after) pairs starting from the last dim; negative amounts crop.
// mode: constant (any amounts), reflect (amount < size), replicate (size > 0), circular (amount <=
// size).
Tensor pad(const Tensor& x, const std::vector<int64_t>& pad, const std::string& mode = "constant",
           Scalar value = 0.0);

// out[(i + shift) mod n] = x[i] along each dim; without dims on the flattened tensor.
Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims = {});
// Reverses the order along dims (none given: a plain copy).
Tensor flip(const Tensor& x, const Dims& dims);
// Rotates the plane dims[0], dims[1] by k quarter turns, from the first towards the second.
Tensor rot90(const Tensor& x, int64_t k = 1, const Dims& dims = {0, 1});

// Whole-tensor repetition; repeats may have more entries than x has dims.
Tensor repeat(const Tensor& x, const Dims& repeats);
// repeat with missing leading entries taken as 1.
Tensor tile(const Tensor& x, const Dims& dims);
// Element-wise repetition along dim (none: flattened). The tensor form takes one count per
// position.
Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int64_t> dim = {});
Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, std::optional<int64_t> dim = {},
                         std::optional<int64_t> output_size = {});
// [0] * repeats[0] + [1] * repeats[1] + ...: int64 positions. Counts must be >= 0.
Tensor repeat_positions(const Tensor& repeats, std::optional<int64_t> output_size = {});

// Keeps elements with column - row <= diagonal (tril) or >= diagonal (triu) of each trailing
// matrix.
Tensor tril(const Tensor& x, int64_t diagonal = 0);
Tensor triu(const Tensor& x, int64_t diagonal = 0);
Tensor tril_(Tensor x, int64_t diagonal = 0);
Tensor triu_(Tensor x, int64_t diagonal = 0);
Tensor tril_indices(int64_t row, int64_t col, int64_t offset = 0, DType dtype = DType::i64);
Tensor triu_indices(int64_t row, int64_t col, int64_t offset = 0, DType dtype = DType::i64);

// 1-D: square matrix with x on a diagonal. 2-D: copy of a diagonal.
Tensor diag(const Tensor& x, int64_t diagonal = 0);
// Zeros with x on the diagonal of two new dims.
Tensor diag_embed(const Tensor& x, int64_t offset = 0, int64_t dim1 = -2, int64_t dim2 = -1);
Tensor block_diag(const TensorList& tensors);
// Sum of the main diagonal of a matrix.
Tensor trace(const Tensor& x);

TensorList broadcast_tensors(const TensorList& tensors);  // views
TensorList meshgrid(const TensorList& tensors, const std::string& indexing = "ij");
Tensor cartesian_prod(const TensorList& tensors);
Tensor combinations(const Tensor& x, int64_t r = 2, bool with_replacement = false);

// Window on the memory of `t` for kernels, without history or base; strides may be negative.
inline Tensor raw_view(const Tensor& t, const Shape& shape, const Strides& strides,
                       int64_t offset) {
  return Tensor(make_ref<TensorImpl>(t.storage(), offset, shape, strides, t.dtype()));
}

}  // namespace tercel
