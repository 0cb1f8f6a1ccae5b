// Creation ops that compute their values: ranges, grids, identity, windows. (zeros, ones, full and
// empty are in ops/copy and core/tensor.h; creation_py.cpp binds all of them.)
//
// Values are computed in double (int64 for integer ranges) and rounded once to the result dtype,
// element by element from its index, so no error accumulates along the range.
#pragma once

#include <optional>

#include "core/tensor.h"
#include "ops/creation/creation_kernels.h"

namespace tercel {

// out[i] = start + i step for i in [0, n). n = ceil((end - start) / step). With integer arguments
// the arithmetic is exact. dtype defaults to int64 when all arguments are integers, else the
// default dtype. Raises ValueError for step 0, a non-finite bound or a step of the wrong sign,
// OverflowError when a value does not fit dtype.
Tensor arange(Scalar start, Scalar end, Scalar step = 1, std::optional<DType> dtype = {},
              Device device = {});
// `steps` values from start to end inclusive; the second half counts back from end, so both ends
// are exact.
Tensor linspace(Scalar start, Scalar end, int64_t steps, std::optional<DType> dtype = {},
                Device device = {});
// base ** linspace(start, end, steps)
Tensor logspace(Scalar start, Scalar end, int64_t steps, double base = 10.0,
                std::optional<DType> dtype = {});
// [n, m] with ones on the main diagonal; m < 0 means m = n.
Tensor eye(int64_t n, int64_t m = -1, std::optional<DType> dtype = {}, Device device = {});
// out[i, j] = x[i] ** (N-1-j), or ** j when increasing. x [R] -> [R, N]; N < 0 means R.
Tensor vander(const Tensor& x, int64_t n = -1, bool increasing = false);
// Cosine windows of n points: sum_k (-1)^k a_k cos(2 pi k i / m), m = n if periodic, n - 1 if
// symmetric.
Tensor cosine_window(int64_t n, bool periodic, double a0, double a1, double a2,
                     std::optional<DType> dtype, const char* op);
// Triangular window.
Tensor bartlett_window(int64_t n, bool periodic = true, std::optional<DType> dtype = {});

}  // namespace tercel
