// Kernel contract of the random family, and the layout of the numbers: what another device must
// reproduce.
//
// A call reserves `random_blocks` counter values of its generator; block b of the call is
// Philox4x32-10 of counter offset + b (core/random.h), four words W[b][0..3].
//
// 32-bit draws (float32 and narrower): elements come in groups of 64. Element i, with group g = i /
// 64, row w = i % 64 / 16 and lane l = i % 16, uses word W[16 g + l][w]:
//   uniform        (W >> 8) 2^-24 (float16: W >> 21, bfloat16: W >> 24), scaled to [a, b)
//   normal         rows (0, 1) and (2, 3) are the cosine and sine of one Box-Muller pair (p, q) =
//   rows' words:
//                  sqrt(-2 ln u) {cos, sin}(2 pi q 2^-32), u = (float(p >> 1) + 0.5) 2^-31
//   exponential    -ln(u) / a, u from W as above
//   bernoulli      (W >> 8) 2^-24 < p
// 64-bit draws: groups of 32. Element i, g = i / 32, h = i % 32 / 16, l = i % 16, uses the 64-bit
// value X = W[16 g + l][2 h] 2^32 + W[16 g + l][2 h + 1]:
//   integer        low + floor(X range / 2^64)
//   float64        u = (X >> 11) 2^-53; normal: u1 = 1 - u of h = 0 for the radius, u of h = 1 for
//   the angle; cauchy, geometric: transforms in double of (X >> 12) 2^-52 + 2^-53
// The formulas are those of random_formulas.h: the same bits on every device and level.
#pragma once

#include "core/dtype.h"
#include "core/kernel_table.h"
#include "core/random.h"

namespace tercel {

enum class Distribution : uint8_t {
  uniform,
  normal,
  exponential,
  bernoulli,
  integer,
  cauchy,
  geometric,
  log_normal
};

struct RandomArgs {
  void* out;  // contiguous; bool for bernoulli
  int64_t n;
  DType dtype;
  Distribution kind;
  PhiloxKey key;
  // uniform: [a, b). normal, log_normal: mean a, std b. exponential: rate a. bernoulli: probability
  // a. cauchy: median a, scale b. geometric: probability a, b = 1 / ln(1 - a).
  double a, b;
  const float* p;  // bernoulli with one probability per element; null: a
  int64_t low;     // integer: low + [0, range); range 0 means 2^64
  uint64_t range;
};

struct RandomKernels {
  void (*fill)(const RandomArgs&);
};
TERCEL_KERNEL_TABLE(RandomKernels, random_kernels)

// True if the draw takes 64 bits per element.
inline bool draws_64_bits(Distribution kind, DType dtype) {
  return kind >= Distribution::integer || (dtype == DType::f64 && kind != Distribution::bernoulli);
}
// Counter values a call consumes.
inline uint64_t random_blocks(Distribution kind, DType dtype, int64_t n) {
  const uint64_t group = draws_64_bits(kind, dtype) ? 32 : 64;
  return (static_cast<uint64_t>(n) + group - 1) / group * 16;
}

}  // namespace tercel
