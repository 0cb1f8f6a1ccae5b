// Views: tensors that share storage with their input. No data moves; only reshape may copy.
//
// Errors: ShapeError for sizes that do not fit, IndexError for dims out of range. Cost: one tensor
// header. Gradients: the adjoint of each view; all are differentiable any number of times.
#pragma once

#include <optional>

#include "core/autograd.h"

namespace tercel {

// View of `t`'s storage with explicit geometry (elements). The span must lie inside the storage.
Tensor as_strided(const Tensor& t, const Shape& shape, const Strides& strides, int64_t offset);
Tensor as_strided_adjoint(const Tensor& g, const Shape& base_shape, const Strides& base_strides,
                          const Strides& strides, int64_t offset);

// One size may be -1. `view` raises if the strides do not allow it, `reshape` copies then.
Tensor view(const Tensor& t, const Shape& shape);
Tensor view_dtype(const Tensor& t, DType dtype);  // reinterprets the bytes; no gradient
Tensor reshape(const Tensor& t, const Shape& shape);
Tensor flatten(const Tensor& t, int64_t start = 0, int64_t end = -1);
Tensor unflatten(const Tensor& t, int64_t dim, const Shape& sizes);

Tensor permute(const Tensor& t, const Dims& dims);
Tensor transpose(const Tensor& t, int64_t dim0, int64_t dim1);
Tensor t_(const Tensor& t);  // rank <= 2: reverse the dims
Tensor mT(const Tensor& t);  // swap the last two dims
Tensor reverse_dims(const Tensor& t);
Tensor movedim(const Tensor& t, const Dims& source, const Dims& destination);

Tensor expand(const Tensor& t, const Shape& shape);  // -1 keeps a size
Tensor squeeze(const Tensor& t);
Tensor squeeze(const Tensor& t, const Dims& dims);
Tensor unsqueeze(const Tensor& t, int64_t dim);

Tensor select(const Tensor& t, int64_t dim, int64_t index);
// Python slice semantics: negative and out-of-range bounds are clamped; step >= 1.
Tensor slice(const Tensor& t, int64_t dim, std::optional<int64_t> start, std::optional<int64_t> end,
             int64_t step = 1);
Tensor narrow(const Tensor& t, int64_t dim, int64_t start, int64_t length);
TensorList split(const Tensor& t, int64_t size, int64_t dim = 0);
TensorList split_sizes(const Tensor& t, const Dims& sizes, int64_t dim = 0);
TensorList chunk(const Tensor& t, int64_t chunks, int64_t dim = 0);
TensorList tensor_split(const Tensor& t, int64_t sections, int64_t dim = 0);
TensorList tensor_split_at(const Tensor& t, const Dims& indices, int64_t dim = 0);
TensorList unbind(const Tensor& t, int64_t dim = 0);

Tensor diagonal(const Tensor& t, int64_t offset = 0, int64_t dim1 = 0, int64_t dim2 = 1);
// Sliding windows of `size` every `step` along `dim`, as a new last dim.
Tensor unfold(const Tensor& t, int64_t dim, int64_t size, int64_t step);

Tensor view_as_is(const Tensor& t);  // the same geometry as a new view
Tensor detach(const Tensor& t);

// Target shape with -1 filled in; raises ShapeError naming `op`.
Shape infer_shape(const Shape& shape, int64_t numel, const char* op);

}  // namespace tercel
