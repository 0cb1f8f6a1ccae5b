// Reductions over any dims, positions of extremes, moments, norms and scans.
//
// Common to all: `dims` may be negative and in any order; empty = all dims; duplicates raise.
// `keepdim` keeps reduced dims with size 1. Strides are arbitrary. float16, bfloat16 and float8
// accumulate in float32, integers and bool in int64 (wrapping), and the result is rounded once. The
// summation tree is fixed by the shape (reduce_kernels.h): the same bits for any layout, thread
// count, number of rows and for avx2 and avx512; error of a float32 sum <= 8 eps sum |x|. NaN
// propagates as in PyTorch. All have gradients of any order. Cost: one read of x unless stated.
#pragma once

#include <limits>
#include <optional>
#include <utility>

#include "core/autograd.h"
#include "core/scalar.h"

namespace tercel {

// y = sum of x. Result dtype: `dtype` (x is converted first), else int64 for integers and bool,
// else x's. Empty sum: 0.
Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false,
           std::optional<DType> dtype = {});
// NaN counts as 0.
Tensor nansum(const Tensor& x, const Dims& dims = {}, bool keepdim = false,
              std::optional<DType> dtype = {});
// sum / n; floats only (or `dtype`). Empty mean: NaN.
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false,
            std::optional<DType> dtype = {});
Tensor nanmean(const Tensor& x, const Dims& dims = {}, bool keepdim = false,
               std::optional<DType> dtype = {});
Tensor prod(const Tensor& x, std::optional<DType> dtype = {});
Tensor prod(const Tensor& x, int64_t dim, bool keepdim = false, std::optional<DType> dtype = {});

// Extremes; the gradient is shared evenly among equal ones. Reducing zero elements raises.
Tensor amax(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor amin(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
std::pair<Tensor, Tensor> aminmax(const Tensor& x, std::optional<int64_t> dim = {},
                                  bool keepdim = false);
// (values, int64 indices); ties: the first index; NaN is the extreme. The gradient goes to the
// index.
std::pair<Tensor, Tensor> max(const Tensor& x, int64_t dim, bool keepdim = false);
std::pair<Tensor, Tensor> min(const Tensor& x, int64_t dim, bool keepdim = false);
Tensor argmax(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);
Tensor argmin(const Tensor& x, std::optional<int64_t> dim = {}, bool keepdim = false);

Tensor all(const Tensor& x, const Dims& dims = {}, bool keepdim = false);  // bool
Tensor any(const Tensor& x, const Dims& dims = {}, bool keepdim = false);  // bool
Tensor count_nonzero(const Tensor& x, const Dims& dims = {});              // int64

// sum (x - mean)^2 / max(0, n - correction): two-pass in blocks, combined by Chan's formula in
// float64.
Tensor var(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
Tensor std(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
std::pair<Tensor, Tensor> var_mean(const Tensor& x, const Dims& dims = {}, double correction = 1,
                                   bool keepdim = false);
std::pair<Tensor, Tensor> std_mean(const Tensor& x, const Dims& dims = {}, double correction = 1,
                                   bool keepdim = false);

// (sum |x|^p)^(1/p); p = inf: max |x|, -inf: min |x|, 0: number of nonzeros.
Tensor vector_norm(const Tensor& x, double p = 2, const Dims& dims = {}, bool keepdim = false,
                   std::optional<DType> dtype = {});
Tensor norm(const Tensor& x, double p = 2, const Dims& dims = {}, bool keepdim = false,
            std::optional<DType> dtype = {});
Tensor dist(const Tensor& a, const Tensor& b, double p = 2);

// log sum exp(x), exact for large |x|; rows of -inf give -inf.
Tensor logsumexp(const Tensor& x, const Dims& dims, bool keepdim = false);

// Scans along a dim, in index order; float sums and products run in float64 and are rounded once.
Tensor cumsum(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
Tensor cumprod(const Tensor& x, int64_t dim, std::optional<DType> dtype = {});
Tensor logcumsumexp(const Tensor& x, int64_t dim);
std::pair<Tensor, Tensor> cummax(const Tensor& x, int64_t dim);
std::pair<Tensor, Tensor> cummin(const Tensor& x, int64_t dim);

// The lower of the two middle values; NaN if there is one. nanmedian ignores NaN.
Tensor median(const Tensor& x);
std::pair<Tensor, Tensor> median(const Tensor& x, int64_t dim, bool keepdim = false);
Tensor nanmedian(const Tensor& x);
std::pair<Tensor, Tensor> nanmedian(const Tensor& x, int64_t dim, bool keepdim = false);
// The most frequent value (the smallest of several) and the last index where it occurs.
std::pair<Tensor, Tensor> mode(const Tensor& x, int64_t dim = -1, bool keepdim = false);
// Quantiles q in [0, 1] (0-d or 1-d) along dim (none: over all). linear, lower, higher, midpoint,
// nearest.
Tensor quantile(const Tensor& x, const Tensor& q, std::optional<int64_t> dim = {},
                bool keepdim = false, const std::string& interpolation = "linear");
Tensor nanquantile(const Tensor& x, const Tensor& q, std::optional<int64_t> dim = {},
                   bool keepdim = false, const std::string& interpolation = "linear");

}  // namespace tercel
