// Packing of operands into panels, with conversion to the accumulation dtype, and the epilogue.
//
// Three source layouts: rows contiguous (copy), k contiguous (transpose in registers), anything
// else (element by element). In the first two the source is read in whole cache lines.
#include "ops/matmul/dot_cpu.h"
#include "ops/matmul/gemm_int.h"
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/gemm_skinny.h"
#include "ops/matmul/transpose_simd.h"

namespace tercel {
namespace {

template <class S, class T>
void pack_strided(const GemmPackArgs& g) {
  const S* src = static_cast<const S*>(g.src);
  T* dst = static_cast<T*>(g.dst);
  const int w = g.width;
  const int64_t padded = (g.rows + w - 1) / w * w;
  for (int64_t r = 0; r < padded; ++r) {
    T* out = dst + r / w * g.panel_stride + r % w;
    if (r < g.rows) {
      for (int64_t p = 0; p < g.kc; ++p) {
        out[p * w] = static_cast<T>(src[r * g.row_stride + p * g.k_stride]);
      }
    } else {
      for (int64_t p = 0; p < g.kc; ++p) out[p * w] = T(0);
    }
  }
}

// Rows contiguous. Eight k at a time over all panels: the source is read along its rows, the panels
// are written in runs.
template <class S, class T, int W>
TERCEL_INLINE void pack_copy_width(const GemmPackArgs& g, int width) {
  const S* src = static_cast<const S*>(g.src);
  T* dst = static_cast<T*>(g.dst);
  const int w = W > 0 ? W : width;
  const int64_t full = g.rows / w;
  for (int64_t p0 = 0; p0 < g.kc; p0 += 8) {
    const int64_t p1 = p0 + 8 < g.kc ? p0 + 8 : g.kc;
    for (int64_t q = 0; q < full; ++q) {
      T* out = dst + q * g.panel_stride + p0 * w;
      const S* in = src + q * w + p0 * g.k_stride;
      for (int64_t p = p0; p < p1; ++p) {
#pragma GCC ivdep
        for (int i = 0; i < w; ++i) out[i] = static_cast<T>(in[i]);
        out += w;
        in += g.k_stride;
      }
    }
  }
  if (full * w < g.rows) {
    GemmPackArgs rest = g;
    rest.src = src + full * w;
    rest.dst = dst + full * g.panel_stride;
    rest.rows = g.rows - full * w;
    pack_strided<S, T>(rest);
  }
}

template <class S, class T>
void pack_copy(const GemmPackArgs& g) {
  switch (g.width) {
    case 6:
      return pack_copy_width<S, T, 6>(g, 6);
    case 8:
      return pack_copy_width<S, T, 8>(g, 8);
    case 14:
      return pack_copy_width<S, T, 14>(g, 14);
    case 16:
      return pack_copy_width<S, T, 16>(g, 16);
    case 32:
      return pack_copy_width<S, T, 32>(g, 32);
    default:
      return pack_copy_width<S, T, 0>(g, g.width);
  }
}

// k contiguous. A panel of `width` rows is covered by squares of kLanes rows; when width is not a
// multiple the last square starts at width - kLanes (its first rows are written twice, with the
// same values).
template <class T>
void pack_transpose(const GemmPackArgs& g) {
  using Traits = TransposeTraits<T>;
  constexpr int L = Traits::kLanes;
  const T* src = static_cast<const T*>(g.src);
  const int w = g.width;
  const int64_t full = g.rows / w;
  for (int64_t q = 0; q < full; ++q) {
    T* panel = static_cast<T*>(g.dst) + q * g.panel_stride;
    const T* rows = src + q * w * g.row_stride;
    // A square wider than the panel reads rows of the next panel, which must exist.
    const int64_t k_fast = w >= L || q * w + L <= g.rows ? g.kc / L * L : 0;
    for (int i = 0; i < w; i += L) {
      const int at = i + L <= w ? i : (w >= L ? w - L : 0);
      for (int64_t p = 0; p < k_fast; p += L) {
        typename Traits::Reg t[L];
        transpose(rows + at * g.row_stride + p, g.row_stride, t);
        T* out = panel + p * w + at;
        if (w >= L) {
#pragma GCC unroll 16
          for (int j = 0; j < L; ++j) store(out + j * w, t[j]);
        } else {
#pragma GCC unroll 16
          for (int j = 0; j < L; ++j) store(out + j * w, t[j], w);
        }
      }
    }
    for (int64_t p = k_fast; p < g.kc; ++p) {
      for (int i = 0; i < w; ++i) panel[p * w + i] = rows[i * g.row_stride + p];
    }
  }
  if (full * w < g.rows) {
    GemmPackArgs rest = g;
    rest.src = src + full * w * g.row_stride;
    rest.dst = static_cast<T*>(g.dst) + full * g.panel_stride;
    rest.rows = g.rows - full * w;
    pack_strided<T, T>(rest);
  }
}

template <class S, class T>
void pack_as(const GemmPackArgs& g) {
  if (g.row_stride == 1) return pack_copy<S, T>(g);
  if constexpr (sizeof(S) == sizeof(T)) {
    if (g.k_stride == 1 && g.kc >= TransposeTraits<T>::kLanes) return pack_transpose<T>(g);
  }
  pack_strided<S, T>(g);
}

void pack(const GemmPackArgs& g) {
  switch (g.src_dtype) {
    case DType::f64:
      return pack_as<double, double>(g);
    case DType::f32:
      return pack_as<float, float>(g);
    case DType::f16:
      return pack_as<f16, float>(g);
    case DType::bf16:
      return pack_as<bf16, float>(g);
    case DType::f8e4m3:
      return pack_as<f8e4m3, float>(g);
    case DType::f8e5m2:
      return pack_as<f8e5m2, float>(g);
    default:
      return;
  }
}

template <class T>
TERCEL_INLINE T fma_acc(T a, T b, T c) {
#if defined(__FMA__) || defined(__aarch64__)
  if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// One row of the tile; the strides are template constants in the common cases so that it
// vectorises.
template <class T, class O, bool HAS_C, bool RELU>
TERCEL_INLINE void epilogue_row(const T* acc, O* out, int64_t out_cs, const O* c, int64_t c_cs,
                                int64_t n, T alpha, T beta) {
#pragma GCC ivdep
  for (int64_t j = 0; j < n; ++j) {
    T v = alpha * acc[j];
    if (HAS_C) v = fma_acc<T>(beta, static_cast<T>(c[j * c_cs]), v);
    if (RELU) v = v < T(0) ? T(0) : v;
    out[j * out_cs] = static_cast<O>(v);
  }
}

template <class T, class O, bool HAS_C, bool RELU>
void epilogue_tile(const GemmEpilogueArgs& e) {
  const T alpha = static_cast<T>(e.epilogue.alpha);
  const T beta = static_cast<T>(e.epilogue.beta);
  const int64_t c_cs = e.epilogue.c_col_stride;
  for (int64_t i = 0; i < e.m; ++i) {
    const T* acc = static_cast<const T*>(e.acc) + i * e.ld;
    O* out = static_cast<O*>(e.out) + i * e.out_row_stride;
    const O* c =
        HAS_C ? static_cast<const O*>(e.epilogue.c) + i * e.epilogue.c_row_stride : nullptr;
    if (e.out_col_stride == 1 && c_cs == 1) {
      epilogue_row<T, O, HAS_C, RELU>(acc, out, 1, c, 1, e.n, alpha, beta);
    } else if (e.out_col_stride == 1 && c_cs == 0) {
      epilogue_row<T, O, HAS_C, RELU>(acc, out, 1, c, 0, e.n, alpha, beta);
    } else {
      epilogue_row<T, O, HAS_C, RELU>(acc, out, e.out_col_stride, c, c_cs, e.n, alpha, beta);
    }
  }
}

template <class T, class O>
void epilogue_as(const GemmEpilogueArgs& e) {
  const bool relu = e.epilogue.activation == GemmActivation::relu;
  if (e.epilogue.beta != 0.0) {
    return relu ? epilogue_tile<T, O, true, true>(e) : epilogue_tile<T, O, true, false>(e);
  }
  return relu ? epilogue_tile<T, O, false, true>(e) : epilogue_tile<T, O, false, false>(e);
}

void epilogue(const GemmEpilogueArgs& e) {
  switch (e.out_dtype) {
    case DType::f64:
      return epilogue_as<double, double>(e);
    case DType::f32:
      return epilogue_as<float, float>(e);
    case DType::f16:
      return epilogue_as<float, f16>(e);
    case DType::bf16:
      return epilogue_as<float, bf16>(e);
    case DType::f8e4m3:
      return epilogue_as<float, f8e4m3>(e);
    case DType::f8e5m2:
      return epilogue_as<float, f8e5m2>(e);
    default:
      return;
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const GemmKernels gemm_kernels = {pack,          epilogue,       int_gemm,
                                         skinny<float>, skinny<double>, dot};
}

}  // namespace tercel
