// Random numbers. Every function takes the generator to draw from (null: the default one); a call
// advances it by a number of counter values that depends on the number of elements only, so results
// are a function of (seed, calls so far), the same for any number of threads. random_kernels.h
// documents the layout.
#pragma once

#include <optional>

#include "core/random.h"
#include "core/tensor.h"
#include "ops/random/random_kernels.h"

namespace tercel {

using GeneratorRef = Ref<Generator>;

// ---- new tensors. dtypes: float64, float32, float16, bfloat16 unless stated
// -----------------------------
// [0, 1)
Tensor rand(const Shape& shape, DType dtype, const GeneratorRef& g = {}, Device device = {});
// mean 0, variance 1
Tensor randn(const Shape& shape, DType dtype, const GeneratorRef& g = {}, Device device = {});
// Integers in [low, high); any dtype that holds high - 1.
Tensor randint(int64_t low, int64_t high, const Shape& shape, DType dtype = DType::i64,
               const GeneratorRef& g = {}, Device device = {});
// Permutation of 0 .. n-1: the stable order of n random 64-bit keys.
Tensor randperm(int64_t n, DType dtype = DType::i64, const GeneratorRef& g = {},
                Device device = {});
// Element-wise mean + std * z; a 0-d or number argument broadcasts. Differentiable in mean and std.
Tensor normal(const Tensor& mean, const Tensor& std, const GeneratorRef& g = {});
Tensor bernoulli(const Tensor& p, const GeneratorRef& g = {});  // 0 or 1 with probability p[i]
Tensor bernoulli(const Tensor& like, double p, const GeneratorRef& g = {});
// Indices drawn from the rows of unnormalised probabilities p [C] or [R, C] -> [n] or [R, n].
// Without replacement: the order of exponential races (Gumbel top-k). With: inverse of the
// cumulative sum. Computed on the host for CUDA tensors too, as poisson.
Tensor multinomial(const Tensor& p, int64_t n, bool replacement = false,
                   const GeneratorRef& g = {});
// Counts with rate[i] events expected (Knuth below 10, PTRS rejection above; Hoermann 1993).
Tensor poisson(const Tensor& rate, const GeneratorRef& g = {});

// ---- in place: t is overwritten; history is cut as by fill_
// -----------------------------------------------
Tensor uniform_(const Tensor& t, double from = 0, double to = 1, const GeneratorRef& g = {});
Tensor normal_(const Tensor& t, double mean = 0, double std = 1, const GeneratorRef& g = {});
Tensor exponential_(const Tensor& t, double lambd = 1, const GeneratorRef& g = {});
Tensor cauchy_(const Tensor& t, double median = 0, double sigma = 1, const GeneratorRef& g = {});
Tensor log_normal_(const Tensor& t, double mean = 1, double std = 2, const GeneratorRef& g = {});
Tensor geometric_(const Tensor& t, double p, const GeneratorRef& g = {});
Tensor bernoulli_(const Tensor& t, double p = 0.5, const GeneratorRef& g = {});
Tensor bernoulli_(const Tensor& t, const Tensor& p, const GeneratorRef& g = {});
// Integers in [from, to); without `to` the whole non-negative range of the dtype (floats: exact
// integers).
Tensor random_(const Tensor& t, int64_t from = 0, std::optional<int64_t> to = {},
               const GeneratorRef& g = {});

}  // namespace tercel
