// Packing of operands into panels, with conversion to the accumulation dtype.
//
// Three source layouts: rows contiguous (copy), k contiguous (transpose in registers), anything
// else (element by element). In the first two the source is read in whole cache lines.
#include "ops/matmul/dot_cpu.h"
#include "ops/matmul/gemm_int.h"
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/gemm_pairs.h"
#include "ops/matmul/gemm_skinny.h"
#include "ops/matmul/gemm_words.h"
#include "ops/matmul/load_simd.h"

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

// One row of one element per k: a plain conversion.
template <class S, class T>
void pack_rows(const GemmPackArgs& g) {
  constexpr int L = TransposeTraits<T>::kLanes;
  const int64_t ahead = (prefetches_reads() ? 4 : 1) * g.row_stride;
  for (int64_t r = 0; r < g.rows; ++r) {
    const S* in = static_cast<const S*>(g.src) + r * g.row_stride;
    T* out = static_cast<T*>(g.dst) + r * g.panel_stride;
    int64_t p = 0;
    for (; p + L <= g.kc; p += L) {
      __builtin_prefetch(in + p + ahead, 0, 2);
      store(out + p, load_lanes(in + p));
    }
    for (; p < g.kc; ++p) out[p] = static_cast<T>(in[p]);
  }
}

// w elements of one k step; `spare`: a whole register may be read at the end.
template <class S, class T, int W>
TERCEL_INLINE void pack_step(const S* in, T* out, int w, bool spare) {
  if constexpr (sizeof(S) == sizeof(T)) {
#pragma GCC ivdep
    for (int i = 0; i < w; ++i) out[i] = in[i];
  } else {
    constexpr int L = TransposeTraits<T>::kLanes;
    int i = 0;
    for (; i + L <= w; i += L) store(out + i, load_lanes(in + i));
    if (i < w) store(out + i, spare ? load_lanes(in + i) : load_lanes(in + i, w - i), w - i);
  }
}

// Rows contiguous. Eight k at a time over all panels: the source is read along its rows, the panels
// are written in runs.
template <class S, class T, int W>
TERCEL_INLINE void pack_copy_width(const GemmPackArgs& g, int width) {
  constexpr int L = TransposeTraits<T>::kLanes;
  const S* src = static_cast<const S*>(g.src);
  T* dst = static_cast<T*>(g.dst);
  const int w = W > 0 ? W : width;
  const int64_t full = g.rows / w;
  for (int64_t p0 = 0; p0 < g.kc; p0 += 8) {
    const int64_t p1 = p0 + 8 < g.kc ? p0 + 8 : g.kc;
    for (int64_t q = 0; q < full; ++q) {
      T* out = dst + q * g.panel_stride + p0 * w;
      const S* in = src + q * w + p0 * g.k_stride;
      const bool spare = q * w + (w + L - 1) / L * L <= g.rows;
      for (int64_t p = p0; p < p1; ++p) {
        pack_step<S, T, W>(in, out, w, spare);
        out += w;
        in += g.k_stride;
      }
    }
  }
  const int rest = static_cast<int>(g.rows - full * w);
  if (rest == 0) return;
  const S* in = src + full * w;
  T* out = dst + full * g.panel_stride;
  for (int64_t p = 0; p < g.kc; ++p) {
    for (int i = 0; i < w; i += L) {
      const int have = rest - i < 0 ? 0 : rest - i < L ? rest - i : L;
      store(out + i, load_lanes(in + (have > 0 ? i : 0), have), w - i < L ? w - i : L);
    }
    out += w;
    in += g.k_stride;
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
// same values), and a square wider than the panel reads rows of the next one, where it exists.
template <class S, class T>
void pack_transpose(const GemmPackArgs& g) {
  using Traits = TransposeTraits<T>;
  constexpr int L = Traits::kLanes;
  const S* src = static_cast<const S*>(g.src);
  const int w = g.width;
  for (int64_t r0 = 0; r0 < g.rows; r0 += w) {
    T* panel = static_cast<T*>(g.dst) + r0 / w * g.panel_stride;
    for (int i = 0; i < w; i += L) {
      const int at = i + L <= w || w < L ? i : w - L;
      const int lanes = w - at < L ? w - at : L;
      const int64_t left = g.rows - r0 - at;
      const int have = left < 0 ? 0 : left < L ? static_cast<int>(left) : L;
      const S* in = src + (r0 + (have > 0 ? at : 0)) * g.row_stride;
      for (int64_t p = 0; p < g.kc; p += L) {
        const int cols = g.kc - p < L ? static_cast<int>(g.kc - p) : L;
        typename Traits::Reg t[L];
        T* out = panel + p * w + at;
        if (have < L || cols < L) {
          transpose_part(in + p, g.row_stride, have, cols, t);
          for (int j = 0; j < cols; ++j) store(out + j * w, t[j], lanes);
          continue;
        }
        transpose(in + p, g.row_stride, t);
        if (lanes == L) {
#pragma GCC unroll 16
          for (int j = 0; j < L; ++j) store(out + j * w, t[j]);
        } else {
#pragma GCC unroll 16
          for (int j = 0; j < L; ++j) store(out + j * w, t[j], lanes);
        }
      }
    }
  }
}

// One scale per row and block of k: the packed value is rounded once more, to float32.
void scale_panels(const GemmPackArgs& g) {
  const GemmBlockScale& s = g.scale;
  float* dst = static_cast<float*>(g.dst);
  const int w = g.width;
  for (int64_t r0 = 0; r0 < g.rows; r0 += w) {
    float* panel = dst + r0 / w * g.panel_stride;
    const int rows = g.rows - r0 < w ? static_cast<int>(g.rows - r0) : w;
    float factor[64] = {};
    for (int64_t p = 0; p < g.kc;) {
      const int64_t block = (g.k0 + p) / s.k_block;
      const int64_t end = (block + 1) * s.k_block - g.k0;
      const int64_t p1 = end < g.kc ? end : g.kc;
      for (int i = 0; i < rows; ++i) {
        factor[i] = s.data[(g.row0 + r0 + i) / s.row_block * s.row_stride + block * s.k_stride];
      }
      if (w == 1) {
#pragma GCC ivdep
        for (int64_t q = p; q < p1; ++q) panel[q] *= factor[0];
      } else {
        for (int64_t q = p; q < p1; ++q) {
#pragma GCC ivdep
          for (int i = 0; i < w; ++i) panel[q * w + i] *= factor[i];
        }
      }
      p = p1;
    }
  }
}

template <class S, class T>
void pack_as(const GemmPackArgs& g) {
  if (g.width == 1 && g.k_stride == 1) return pack_rows<S, T>(g);
  if (g.width == 1) return pack_strided<S, T>(g);
  if (g.row_stride == 1) return pack_copy<S, T>(g);
  if (g.k_stride == 1) return pack_transpose<S, T>(g);
  pack_strided<S, T>(g);
}

void pack(const GemmPackArgs& g) {
  switch (g.src_dtype) {
    case DType::f64:
      return pack_as<double, double>(g);
    case DType::f32:
      pack_as<float, float>(g);
      break;
    case DType::f16:
      pack_as<f16, float>(g);
      break;
    case DType::bf16:
      pack_as<bf16, float>(g);
      break;
    case DType::f8e4m3:
      pack_as<f8e4m3, float>(g);
      break;
    case DType::f8e5m2:
      pack_as<f8e5m2, float>(g);
      break;
    default:
      return;
  }
  if (g.scale.data) scale_panels(g);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const GemmKernels gemm_kernels = {pack, pack_pairs, pack_words, int_gemm, skinny, dot};
}

}  // namespace tercel
