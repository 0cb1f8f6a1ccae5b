// What follows the sums of a product: scales, bias or accumulate, activation, residual, rounding.
// Formula in gemm.h. Vectors along a row; other column strides go through a small buffer.
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/load_simd.h"
#include "simd/rows.h"
#include "simd/vmath.h"

namespace tercel {
namespace {

template <class V>
[[gnu::noinline]] V activate_slow(V v, GemmActivation f) {
  switch (f) {
    case GemmActivation::gelu:
      return simd::gelu(v);
    case GemmActivation::gelu_tanh:
      return simd::gelu_tanh(v);
    case GemmActivation::silu:
      return simd::silu(v);
    case GemmActivation::tanh:
      return simd::tanh(v);
    default:
      return simd::sigmoid(v);
  }
}
template <class V>
TERCEL_INLINE V activate(V v, GemmActivation f) {
  if (f == GemmActivation::none) return v;
  if (f == GemmActivation::relu) return select(v < V(0), V(0), v);  // NaN stays
  return activate_slow(v, f);
}

// n elements `stride` apart as a vector; a zero stride repeats one.
template <class V, bool kFull, class O>
TERCEL_INLINE V load_at(const O* p, int64_t stride, int64_t n) {
  using T = acc_t<O>;
  if (stride == 1) return load<kFull, V>(p, n);
  if (stride == 0) return V(static_cast<T>(*p));
  alignas(64) T buffer[V::size] = {};
  for (int64_t i = 0; i < n; ++i) buffer[i] = static_cast<T>(p[i * stride]);
  return V::load(buffer);
}
template <bool kFull, class V, class O>
TERCEL_INLINE void store_at(const V& v, O* p, int64_t stride, int64_t n) {
  if (stride == 1) return store<kFull>(v, p, n);
  alignas(64) O buffer[V::size];
  v.store(buffer);
  for (int64_t i = 0; i < n; ++i) p[i * stride] = buffer[i];
}

// Whether along a row everything lies together, and nothing is scaled or kept.
TERCEL_INLINE bool usual(const GemmEpilogueArgs& g) {
  const GemmEpilogue& e = g.epilogue;
  return g.out_col_stride == 1 && e.alpha == 1.0 && (e.beta == 0.0 || e.c_col_stride == 1) &&
         !e.row_scale && !e.col_scale && !e.pre && (!e.residual || e.residual_col_stride == 1);
}
// Beside a product over a few hundred k the tests of the general case, vector by vector, would be
// seen.
template <class V, class T, class O, bool kC, bool kActivation, bool kResidual>
void usual_rows(const GemmEpilogueArgs& g) {
  const GemmEpilogue& e = g.epilogue;
  const V beta(static_cast<T>(e.beta));
  for (int64_t i = 0; i < g.m; ++i) {
    const T* acc = static_cast<const T*>(g.acc) + i * g.ld;
    O* out = static_cast<O*>(g.out) + i * g.out_row_stride;
    const O* c = static_cast<const O*>(e.c) + i * e.c_row_stride;
    const O* residual = static_cast<const O*>(e.residual) + i * e.residual_row_stride;
    for_vectors<V>(g.n, [&]<bool kFull>(int64_t j, int64_t n) {
      V v = load<kFull, V>(acc + j, n);
      if constexpr (kC) v = fma(beta, load<kFull, V>(c + j, n), v);
      if constexpr (kActivation) v = activate(v, e.activation);
      if constexpr (kResidual) v = v + load<kFull, V>(residual + j, n);
      store<kFull>(v, out + j, n);
    });
  }
}

template <class V, class T, class O>
[[gnu::noinline]] void epilogue_rows(const GemmEpilogueArgs& g) {
  const GemmEpilogue& e = g.epilogue;
  if (usual(g)) {
    constexpr void (*kRows[])(const GemmEpilogueArgs&) = {
        usual_rows<V, T, O, false, false, false>, usual_rows<V, T, O, true, false, false>,
        usual_rows<V, T, O, false, true, false>,  usual_rows<V, T, O, true, true, false>,
        usual_rows<V, T, O, false, false, true>,  usual_rows<V, T, O, true, false, true>,
        usual_rows<V, T, O, false, true, true>,   usual_rows<V, T, O, true, true, true>};
    return kRows[(e.beta != 0.0) + 2 * (e.activation != GemmActivation::none) + 4 * !!e.residual](
        g);
  }
  const V alpha(static_cast<T>(e.alpha)), beta(static_cast<T>(e.beta));
  for (int64_t i = 0; i < g.m; ++i) {
    const T* acc = static_cast<const T*>(g.acc) + i * g.ld;
    O* out = static_cast<O*>(g.out) + i * g.out_row_stride;
    O* pre = e.pre ? static_cast<O*>(e.pre) + i * g.out_row_stride : nullptr;
    const O* c = static_cast<const O*>(e.c) + i * e.c_row_stride;
    const O* residual = static_cast<const O*>(e.residual) + i * e.residual_row_stride;
    for_vectors<V>(g.n, [&]<bool kFull>(int64_t j, int64_t n) {
      V v = load<kFull, V>(acc + j, n) * alpha;
      if constexpr (sizeof(T) == 4) {
        if (e.row_scale) v = v * V(e.row_scale[i * e.row_scale_stride]);
        if (e.col_scale)
          v = v * load_at<V, kFull>(e.col_scale + j * e.col_scale_stride, e.col_scale_stride, n);
      }
      if (e.beta != 0.0)
        v = fma(beta, load_at<V, kFull>(c + j * e.c_col_stride, e.c_col_stride, n), v);
      if (pre) store_at<kFull>(v, pre + j * g.out_col_stride, g.out_col_stride, n);
      v = activate(v, e.activation);
      if (e.residual) {
        v = v + load_at<V, kFull>(residual + j * e.residual_col_stride, e.residual_col_stride, n);
      }
      store_at<kFull>(v, out + j * g.out_col_stride, g.out_col_stride, n);
    });
  }
}

// Elements of a column of the output lie together: squares of the sums are turned over first.
template <class V, class T, class O>
void epilogue_columns(const GemmEpilogueArgs& g) {
  constexpr int L = TransposeTraits<T>::kLanes;
  alignas(64) T square[L * L];
  GemmEpilogueArgs t = g;
  t.acc = square;
  t.ld = L;
  t.out_row_stride = g.out_col_stride;
  t.out_col_stride = 1;
  const bool plain = trivial(g.epilogue);
  for (int64_t i0 = 0; i0 < g.m; i0 += L) {
    for (int64_t j0 = 0; j0 < g.n; j0 += L) {
      t.n = g.m - i0 < L ? g.m - i0 : L;
      t.m = g.n - j0 < L ? g.n - j0 : L;
      const T* sums = static_cast<const T*>(g.acc) + i0 * g.ld + j0;
      typename TransposeTraits<T>::Reg turned[L];
      if (t.n == L && t.m == L) {
        transpose(sums, g.ld, turned);
      } else {
        transpose_part(sums, g.ld, static_cast<int>(t.n), static_cast<int>(t.m), turned);
      }
      if constexpr (sizeof(T) == sizeof(O)) {
        if (plain) {
          T* out = static_cast<T*>(g.out) + i0 + j0 * g.out_col_stride;
          for (int j = 0; j < t.m; ++j) {
            if (t.n == L) {
              store(out + j * g.out_col_stride, turned[j]);
            } else {
              store(out + j * g.out_col_stride, turned[j], static_cast<int>(t.n));
            }
          }
          continue;
        }
      }
      for (int j = 0; j < L; ++j) store(square + j * L, turned[j]);
      t.out = static_cast<O*>(g.out) + i0 + j0 * g.out_col_stride;
      GemmEpilogue here = g.epilogue;
      advance(here, i0, j0, 1, g.out_col_stride, sizeof(O));
      t.epilogue = transposed(here);
      epilogue_rows<V, T, O>(t);
    }
  }
}

template <class V, class T, class O>
void epilogue_as(const GemmEpilogueArgs& g) {
  if (g.out_row_stride == 1 && g.out_col_stride != 1 && g.m > 1)
    return epilogue_columns<V, T, O>(g);
  epilogue_rows<V, T, O>(g);
}

template <class O>
void gated_as(const GatedArgs& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    const float *gate = g.gate + i * g.ld, *up = g.up + i * g.ld;
    O* out = static_cast<O*>(g.out) + i * g.out_row_stride;
    O* pre_gate = static_cast<O*>(g.pre_gate) + i * g.pre_row_stride;
    O* pre_up = static_cast<O*>(g.pre_up) + i * g.pre_row_stride;
    for_vectors<VecF>(g.n, [&]<bool kFull>(int64_t j, int64_t n) {
      VecF a = load<kFull, VecF>(gate + j, n), b = load<kFull, VecF>(up + j, n);
      if (g.bias) {
        a = a + load<kFull, VecF>(static_cast<const O*>(g.bias) + j, n);
        b = b + load<kFull, VecF>(static_cast<const O*>(g.up_bias) + j, n);
      }
      if (g.pre_gate) {
        store<kFull>(a, pre_gate + j, n);
        store<kFull>(b, pre_up + j, n);
      }
      store<kFull>(activate(a, g.activation) * b, out + j, n);
    });
  }
}

void epilogue(const GemmEpilogueArgs& e) {
  switch (e.out_dtype) {
    case DType::f64:
      return epilogue_as<VecD, double, double>(e);
    case DType::f32:
      return epilogue_as<VecF, float, float>(e);
    case DType::f16:
      return epilogue_as<VecF, float, f16>(e);
    case DType::bf16:
      return epilogue_as<VecF, float, bf16>(e);
    case DType::f8e4m3:
      return epilogue_as<VecF, float, f8e4m3>(e);
    case DType::f8e5m2:
      return epilogue_as<VecF, float, f8e5m2>(e);
    default:
      return;
  }
}

void gated(const GatedArgs& g) {
  switch (g.out_dtype) {
    case DType::f32:
      return gated_as<float>(g);
    case DType::f16:
      return gated_as<f16>(g);
    case DType::bf16:
      return gated_as<bf16>(g);
    default:
      return;
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const GemmEpilogueKernels gemm_epilogue_kernels = {epilogue, gated};
}

}  // namespace tercel
