// How an indexed tensor is walked: outer dims x positions x inner dims (private to this folder).
#pragma once

#include <functional>
#include <vector>

#include "core/tensor.h"
#include "ops/index/index_kernels.h"

namespace tercel {

// Appends a dim to `list`, merging it with the previous one when they are one run in memory.
inline void append_dim(DimList& list, int64_t size, int64_t stride) {
  if (size == 1) return;
  if (list.rank > 0 && list.stride[list.rank - 1] == size * stride) {
    list.size[list.rank - 1] *= size;
    list.stride[list.rank - 1] = stride;
    return;
  }
  list.size[list.rank] = size;
  list.stride[list.rank] = stride;
  ++list.rank;
}

// Kernels that cannot raise read element 0 for an index out of range, so there must be one.
inline void check_indexable(const Tensor& self, int dim, int64_t positions, const char* op) {
  TERCEL_CHECK(positions == 0 || self.dim() == 0 || self.size(dim) > 0 || self.device().is_cpu(),
               Index, op, ": index into dimension ", dim, ", which has size 0");
}

struct IndexGeometry {
  Shape shape;  // of self[indices]
  DimList outer{}, inner{};
  int64_t outer_numel = 1, inner_numel = 1, n = 1;
  Tensor offsets;     // [n] int64, elements
  int64_t limit = 0;  // offsets lie in [0, limit)

  IndexArgs args(const Tensor& self) const {
    IndexArgs a{};
    a.x = static_cast<char*>(self.data(self.device()));
    a.offset = offsets.data_as<int64_t>(self.device());
    a.n = n;
    a.outer_numel = outer_numel;
    a.inner_numel = inner_numel;
    a.outer = outer;
    a.inner = inner;
    a.dtype = self.dtype();
    a.itemsize = static_cast<int>(self.itemsize());
    a.limit = limit;
    return a;
  }
};

// `indices` has one entry per dim of self, undefined or integer.
IndexGeometry index_geometry(const Tensor& self, const std::vector<Tensor>& indices,
                             const char* op);
// The same walk when dim `dim` is indexed by a 1-D int64 tensor without negative values.
IndexGeometry index_geometry_dim(const Tensor& self, int dim, const Tensor& index, const char* op);

Tensor index_get(const Tensor& self, const IndexGeometry& g);
using GeometryFn = std::function<IndexGeometry(const Tensor& target)>;
// The elements of self described by geometry(self) (+)= value, which broadcasts to their shape and
// is converted to self's dtype. The geometry may be asked for a float32 copy of self instead.
void index_write(const Tensor& self, const GeometryFn& geometry, const Tensor& value,
                 bool accumulate, const char* op);

}  // namespace tercel
