// What happens to a sum of products before it is stored, and where it goes; shared by all GEMM kernels.
//
//   out[m, n] = act(alpha * sum + bias[n] + beta * c[m, n]) + residual[m, n], rounded once to the output type
//
// in float (double for float64). Integer sums are stored modulo 2^bits when nothing is to be done.
#pragma once

#include "cuda/compat.cuh"
#include "cuda/ptx.cuh"
#include "ops/matmul/gemm.h"

namespace tercel::cuda {

using Activation = GemmActivation;

struct GemmOutput {
  void* out;
  int64_t row_stride, col_stride;
  const void* c;  // output dtype; read when beta != 0, may be out itself
  int64_t c_row_stride, c_col_stride;
  const void* bias;  // output dtype, one per column, or null
  double alpha, beta;
  Activation activation;
  const void* residual;  // output dtype, or null
  int64_t residual_row_stride, residual_col_stride;
};

// Batch dims of a launch, innermost last; offsets in elements.
struct GemmBatch {
  int ndim;
  int64_t first;  // batch index of blockIdx.z == 0
  int64_t size[14], a[14], b[14], c[14], out[14], residual[14];
};
struct BatchOffsets {
  int64_t a, b, c, out, residual;
};
TERCEL_DEVICE BatchOffsets batch_offsets(const GemmBatch& batch, int64_t index) {
  BatchOffsets o{0, 0, 0, 0, 0};
  for (int d = batch.ndim - 1; d >= 0; --d) {
    const int64_t i = index % batch.size[d];
    index /= batch.size[d];
    o.a += i * batch.a[d];
    o.b += i * batch.b[d];
    o.c += i * batch.c[d];
    o.out += i * batch.out[d];
    o.residual += i * batch.residual[d];
  }
  return o;
}

template <class A>
TERCEL_DEVICE A activate(A x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x < A(0) ? A(0) : x;  // NaN stays
    case Activation::gelu: return A(0.5) * x * (A(1) + ::erf(x * A(0.70710678118654752)));
    case Activation::gelu_tanh:
      return A(0.5) * x *
             (A(1) + ::tanh(A(0.79788456080286536) * (x + A(0.044715) * x * x * x)));
    case Activation::silu: return x / (A(1) + ::exp(-x));
    case Activation::tanh: return ::tanh(x);
    case Activation::sigmoid: return A(1) / (A(1) + ::exp(-x));
    default: return x;
  }
}

// The value of element (m, n) from its sum.
template <class Out, class A>
TERCEL_DEVICE A finish(const GemmOutput& g, A sum, int64_t m, int64_t n, const BatchOffsets& offset) {
  A x = g.alpha == 1.0 ? sum : static_cast<A>(g.alpha) * sum;
  if (g.bias) x += static_cast<A>(to_float(static_cast<const Out*>(g.bias)[n]));
  if (g.beta != 0.0) {
    const Out c =
        static_cast<const Out*>(g.c)[offset.c + m * g.c_row_stride + n * g.c_col_stride];
    x += static_cast<A>(g.beta) * static_cast<A>(to_float(c));
  }
  if (g.activation != Activation::none) x = activate(x, g.activation);
  if (g.residual) {
    const Out r = static_cast<const Out*>(
        g.residual)[offset.residual + m * g.residual_row_stride + n * g.residual_col_stride];
    x += static_cast<A>(to_float(r));
  }
  return x;
}

template <class Out>
struct is_integer_out : std::is_integral<Out> {};

// Stores the sums of columns n and n + 1 of row m; `count` of them are inside.
template <class Out, class Sum>
TERCEL_DEVICE void store_two(const GemmOutput& g, Sum s0, Sum s1, int count, int64_t m, int64_t n,
                             const BatchOffsets& offset) {
  Out* p = static_cast<Out*>(g.out) + offset.out + m * g.row_stride + n * g.col_stride;
  if constexpr (is_integer_out<Out>::value) {
    p[0] = static_cast<Out>(s0);
    if (count > 1) p[g.col_stride] = static_cast<Out>(s1);
  } else {
    using A = std::conditional_t<std::is_same<Out, double>::value, double, float>;
    const A x0 = finish<Out>(g, static_cast<A>(s0), m, n, offset);
    if (count < 2) {
      *p = from_float<Out>(x0);
      return;
    }
    const A x1 = finish<Out>(g, static_cast<A>(s1), m, n + 1, offset);
    const Pack<Out, 2> pair{{from_float<Out>(x0), from_float<Out>(x1)}};
    if (g.col_stride == 1 && reinterpret_cast<uintptr_t>(p) % sizeof(pair) == 0) {
      store_pack(p, pair);
    } else {
      p[0] = pair.v[0];
      p[g.col_stride] = pair.v[1];
    }
  }
}

// Number of the block -> tile: blocks that run together share rows and columns in the L2 cache. Groups
// of 8 tile rows, column by column inside a group.
TERCEL_DEVICE void tile_of_block(int64_t index, int64_t tiles_m, int64_t tiles_n, int64_t* m,
                                 int64_t* n) {
  const int64_t per_group = 8 * tiles_n, group = index / per_group, first = group * 8;
  const int64_t rows = tiles_m - first < 8 ? tiles_m - first : 8;
  const int64_t inside = index - group * per_group;
  *m = first + inside % rows;
  *n = inside / rows;
}

}  // namespace tercel::cuda
