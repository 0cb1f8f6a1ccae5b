// The padded, residue-split copy that the direct convolution kernels read (see ConvPadArgs). Only
// for files compiled per ISA level.
#pragma once

#include "core/parallel.h"
#include "ops/conv/conv_args.h"
#include "simd/prefetch.h"
#include "simd/vec.h"
#if defined(TERCEL_LEVEL_AVX512)
#include <immintrin.h>
#endif

namespace tercel {
namespace {

// Smallest j in [0, limit] with stride * (first + j) + residue >= bound.
TERCEL_INLINE int64_t first_at_least(int64_t bound, int64_t stride, int64_t first, int64_t residue,
                                     int64_t limit) {
  const int64_t a = bound - residue;
  const int64_t q = a > 0 ? (a - 1) / stride + 1 : -((-a) / stride);
  const int64_t j = q - first;
  return j < 0 ? 0 : j > limit ? limit : j;
}

// n elements of any float dtype to the compute type.
template <class S, class T>
TERCEL_INLINE void convert_row(const S* src, int64_t step, T* dst, int64_t n) {
  using V = simd::Vec<T>;
  if (step == 1) {
    int64_t i = 0;
    for (; i + V::size <= n; i += V::size) V::load(src + i).store(dst + i);
    if (i < n) V::load_n(src + i, n - i).store_n(dst + i, n - i);
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i] = static_cast<T>(src[i * step]);
  }
}

template <class T>
TERCEL_INLINE void zero_row(T* dst, int64_t n) {
  using V = simd::Vec<T>;
  const V zero(static_cast<T>(0));
  int64_t i = 0;
  for (; i + V::size <= n; i += V::size) zero.store(dst + i);
  if (i < n) zero.store_n(dst + i, n - i);
}

#if defined(TERCEL_LEVEL_AVX512)
// Lanes l of a vector with 0 <= first + l < size.
TERCEL_INLINE __mmask16 lanes_inside(int64_t first, int64_t size) {
  const int64_t low = first < 0 ? -first : 0;
  const int64_t high = size - first < 16 ? size - first : 16;
  return high > low ? static_cast<__mmask16>((1u << high) - (1u << low)) : __mmask16{0};
}

// Rows of n <= 16 kVectors pixels: dst[j] = src[first + step * j], or 0 where that is outside of
// [0, size); step 1, 2 or 4. Every lane is masked, and the masks are those of all rows of a plane:
// nothing outside of src and dst is touched, and 16 pixels cost one load per step and one store.
template <int step>
struct RowSampler {
  static constexpr int kVectors = 16;
  int vectors;
  __mmask16 in[kVectors][step], out[kVectors];

  RowSampler(int64_t size, int64_t first, int64_t n) : vectors(static_cast<int>((n + 15) / 16)) {
    for (int v = 0; v < vectors; ++v) {
      for (int i = 0; i < step; ++i) in[v][i] = lanes_inside(first + 16 * (v * step + i), size);
      out[v] = lanes_inside(0, n - 16 * v);
    }
  }
  TERCEL_INLINE void run(const float* src, float* dst) const {
    constexpr int kAll[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const __m512i index = _mm512_mullo_epi32(_mm512_loadu_si512(kAll), _mm512_set1_epi32(step));
    for (int v = 0; v < vectors; ++v, src += 16 * step, dst += 16) {
      __m512 x[step];
#pragma GCC unroll 4
      for (int i = 0; i < step; ++i) x[i] = _mm512_maskz_loadu_ps(in[v][i], src + 16 * i);
      if constexpr (step == 2) x[0] = _mm512_permutex2var_ps(x[0], index, x[1]);
      if constexpr (step == 4) {
        x[0] = _mm512_permutex2var_ps(x[0], index, x[1]);
        x[2] = _mm512_permutex2var_ps(x[2], index, x[3]);
        x[0] = _mm512_shuffle_f32x4(x[0], x[2], 0x44);  // the lower halves
      }
      _mm512_mask_storeu_ps(dst, out[v], x[0]);
    }
  }
  TERCEL_INLINE void zero(float* dst) const {
    for (int v = 0; v < vectors; ++v)
      _mm512_mask_storeu_ps(dst + 16 * v, out[v], _mm512_setzero_ps());
  }
};

template <int step>
void sample_plane(const ConvPadArgs& p, const float* src, float* dst) {
  const int64_t pitch = p.size[2], width = p.src_size[2];
  const int64_t most = 16 * RowSampler<step>::kVectors;
  for (int64_t a = 0; a < p.num_residues[0]; ++a)
    for (int64_t b = 0; b < p.num_residues[1]; ++b)
      for (int64_t c = 0; c < p.num_residues[2]; ++c, dst += p.size[0] * p.size[1] * pitch)
        for (int64_t x = 0; x < pitch; x += most) {
          const int64_t first = step * (p.first[2] + x) + p.residues[2][c];
          const RowSampler<step> row(width, first, pitch - x < most ? pitch - x : most);
          float* out = dst + x;
          for (int64_t jz = 0; jz < p.size[0]; ++jz) {
            const int64_t z = p.stride[0] * (p.first[0] + jz) + p.residues[0][a];
            for (int64_t jy = 0; jy < p.size[1]; ++jy, out += pitch) {
              const int64_t y = p.stride[1] * (p.first[1] + jy) + p.residues[1][b];
              if (z < 0 || z >= p.src_size[0] || y < 0 || y >= p.src_size[1])
                row.zero(out);
              else
                row.run(src + (z * p.src_size[1] + y) * width + first, out);
            }
          }
        }
}
#endif

// One source plane to its residue planes.
template <class S, class T>
void pad_plane(const ConvPadArgs& p, const S* src, T* dst) {
#if defined(TERCEL_LEVEL_AVX512)
  if constexpr (sizeof(S) == 4 && sizeof(T) == 4) {
    if (p.stride[2] == 1) return sample_plane<1>(p, src, dst);
    if (p.stride[2] == 2) return sample_plane<2>(p, src, dst);
    if (p.stride[2] == 4) return sample_plane<4>(p, src, dst);
  }
#endif
  for (int64_t a = 0; a < p.num_residues[0]; ++a)
    for (int64_t b = 0; b < p.num_residues[1]; ++b)
      for (int64_t c = 0; c < p.num_residues[2]; ++c) {
        const int64_t rx = p.residues[2][c], sx = p.stride[2];
        const int64_t pitch = p.size[2];
        const int64_t x0 = first_at_least(0, sx, p.first[2], rx, pitch);
        const int64_t x1 = first_at_least(p.src_size[2], sx, p.first[2], rx, pitch);
        for (int64_t jz = 0; jz < p.size[0]; ++jz) {
          const int64_t z = p.stride[0] * (p.first[0] + jz) + p.residues[0][a];
          for (int64_t jy = 0; jy < p.size[1]; ++jy, dst += pitch) {
            const int64_t y = p.stride[1] * (p.first[1] + jy) + p.residues[1][b];
            if (z < 0 || z >= p.src_size[0] || y < 0 || y >= p.src_size[1] || x0 >= x1) {
              zero_row(dst, pitch);
              continue;
            }
            const S* row =
                src + (z * p.src_size[1] + y) * p.src_size[2] + sx * (p.first[2] + x0) + rx;
            zero_row(dst, x0);
            convert_row(row, sx, dst + x0, x1 - x0);
            zero_row(dst + x1, pitch - x1);
          }
        }
      }
}

// Planes [begin, end) of the source; plane `begin` goes to the start of dst.
template <class S, class T>
void pad_planes(const ConvPadArgs& p, int64_t begin, int64_t end) {
  const int64_t in = p.src_size[0] * p.src_size[1] * p.src_size[2];
  const int64_t out =
      p.num_residues[0] * p.num_residues[1] * p.num_residues[2] * p.size[0] * p.size[1] * p.size[2];
  const S* src = static_cast<const S*>(p.src);
  T* dst = static_cast<T*>(p.dst);
  const int64_t grain = 1 + 16384 / (out + 1);
  parallel_for(end - begin, grain, [&](int64_t i0, int64_t i1) {
    const simd::ReadAhead ahead;
    for (int64_t i = i0; i < i1; ++i) {
      const S* plane = src + (begin + i) * in;
      ahead.fetch_block(plane, in * sizeof(S));
      pad_plane(p, plane, dst + i * out);
    }
  });
  zero_row(dst + (end - begin) * out, p.slack);
}

}  // namespace
}  // namespace tercel
