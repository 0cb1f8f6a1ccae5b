// The padded, residue-split copy that the direct convolution kernels read (see ConvPadArgs). Only
// for files compiled per ISA level.
#pragma once

#include <type_traits>

#include "core/parallel.h"
#include "ops/conv/conv_args.h"
#include "simd/prefetch.h"
#include "simd/vec.h"
#if defined(TERCEL_LEVEL_AVX512) || defined(TERCEL_LEVEL_AVX2)
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

// move(first byte, bytes) for a few fixed sizes, overlapping, that make up n bytes < 64; n is a
// multiple of 4.
template <class F>
TERCEL_INLINE void each_piece(int64_t n, F&& move) {
  if (n >= 32) {
    move(0, std::integral_constant<int, 32>());
    move(n - 32, std::integral_constant<int, 32>());
  } else if (n >= 16) {
    move(0, std::integral_constant<int, 16>());
    move(n - 16, std::integral_constant<int, 16>());
  } else {
    for (int64_t i = 0; i < n; i += 4) move(i, std::integral_constant<int, 4>());
  }
}

template <class T>
TERCEL_INLINE void zero_row(T* dst, int64_t n) {
  using V = simd::Vec<T>;
  const V zero(static_cast<T>(0));
  int64_t i = 0;
  for (; i + V::size <= n; i += V::size) zero.store(dst + i);
  each_piece((n - i) * static_cast<int64_t>(sizeof(T)),
             [&](int64_t at, auto bytes) TERCEL_LAMBDA_INLINE {
               __builtin_memset(reinterpret_cast<char*>(dst + i) + at, 0, bytes());
             });
}

#if defined(TERCEL_LEVEL_AVX2)
// Every second of 15 elements, to 8; reads no further, but 16-bit types one element before (end) or
// behind them.
TERCEL_INLINE void split8(const float* src, float* dst, bool) {
  const __m256 v = _mm256_shuffle_ps(_mm256_loadu_ps(src), _mm256_loadu_ps(src + 7), 0xd8);
  _mm256_storeu_ps(dst, _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8)));
}
template <class S>
TERCEL_INLINE void split8(const S* src, float* dst, bool end) {
  const auto x = simd::VecF::load(end ? src - 1 : src);
  const __m256 v = end ? _mm256_shuffle_ps(x.lo, x.hi, 0xdd) : _mm256_shuffle_ps(x.lo, x.hi, 0x88);
  _mm256_storeu_ps(dst, _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8)));
}
#endif

// n elements of any float dtype to the compute type.
template <class S, class T>
TERCEL_INLINE void convert_row(const S* src, int64_t step, T* dst, int64_t n) {
  using V = simd::Vec<T>;
  int64_t i = 0;
  if (step == 1) {
    for (; i + V::size <= n; i += V::size) V::load(src + i).store(dst + i);
    if constexpr (sizeof(S) == sizeof(T)) {
      each_piece((n - i) * static_cast<int64_t>(sizeof(T)),
                 [&](int64_t at, auto bytes) TERCEL_LAMBDA_INLINE {
                   __builtin_memcpy(reinterpret_cast<char*>(dst + i) + at,
                                    reinterpret_cast<const char*>(src + i) + at, bytes());
                 });
      return;
    }
    if (i < n && n >= V::size)
      i = n - V::size, V::load(src + i).store(dst + i);
    else if (i < n)
      V::load_n(src, n).store_n(dst, n);
    return;
  }
#if defined(TERCEL_LEVEL_AVX2)
  if constexpr (sizeof(T) == 4) {
    if (step == 2 && n > 8) {
      for (; i + 8 < n; i += 8) split8(src + 2 * i, dst + i, false);
      return split8(src + 2 * (n - 8), dst + n - 8, true);
    }
  }
#endif
  for (; i < n; ++i) dst[i] = static_cast<T>(src[i * step]);
}

#if defined(TERCEL_LEVEL_AVX512)
// Lanes l of a vector with 0 <= first + l < size.
TERCEL_INLINE __mmask16 lanes_inside(int64_t first, int64_t size) {
  const int64_t low = first < 0 ? -first : 0;
  const int64_t high = size - first < 16 ? size - first : 16;
  return high > low ? static_cast<__mmask16>((1u << high) - (1u << low)) : __mmask16{0};
}

TERCEL_INLINE __m512 load_lanes(__mmask16 m, const float* p) { return _mm512_maskz_loadu_ps(m, p); }
TERCEL_INLINE __m512 load_lanes(__mmask16 m, const f16* p) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, p));
}
TERCEL_INLINE __m512 load_lanes(__mmask16 m, const bf16* p) {
  const __m512i v = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
}

// Rows of n <= 16 kVectors pixels of each of `count` residues: dst[c][j] = src[step * j +
// residue[c]], or 0 where first + that is outside of [0, size); step 1, 2 or 4, residues in
// [0, step). Every lane is masked, and the masks are those of all rows of a plane: nothing outside
// of src and dst is touched, and 16 pixels of all residues cost one load per step.
template <int step>
struct RowSampler {
  static constexpr int kVectors = 16;
  int vectors, count;
  int64_t plane;  // elements between residues in dst
  __mmask16 in[kVectors][step], out[kVectors];
  __m512i index[step];

  RowSampler(int64_t size, int64_t first, int64_t n, int64_t residues, const int64_t* residue,
             int64_t lowest, int64_t plane_size)
      : vectors(static_cast<int>((n + 15) / 16)),
        count(static_cast<int>(residues)),
        plane(plane_size) {
    constexpr int kAll[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const __m512i places = _mm512_mullo_epi32(_mm512_loadu_si512(kAll), _mm512_set1_epi32(step));
    for (int c = 0; c < count; ++c)
      index[c] = _mm512_add_epi32(places, _mm512_set1_epi32(static_cast<int>(residue[c] - lowest)));
    for (int v = 0; v < vectors; ++v) {
      for (int i = 0; i < step; ++i) in[v][i] = lanes_inside(first + 16 * (v * step + i), size);
      out[v] = lanes_inside(0, n - 16 * v);
    }
  }
  template <class S>
  TERCEL_INLINE void run(const S* src, float* dst) const {
    for (int v = 0; v < vectors; ++v, src += 16 * step, dst += 16) {
      __m512 x[step];
#pragma GCC unroll 4
      for (int i = 0; i < step; ++i) x[i] = load_lanes(in[v][i], src + 16 * i);
      if constexpr (step == 1) _mm512_mask_storeu_ps(dst, out[v], x[0]);
      for (int c = 0; step > 1 && c < count; ++c) {
        __m512 y = _mm512_permutex2var_ps(x[0], index[c], x[step > 1 ? 1 : 0]);
        if constexpr (step == 4)
          y = _mm512_shuffle_f32x4(y, _mm512_permutex2var_ps(x[2], index[c], x[3]),
                                   0x44);  // the lower halves
        _mm512_mask_storeu_ps(dst + c * plane, out[v], y);
      }
    }
  }
  TERCEL_INLINE void zero(float* dst) const {
    for (int c = 0; c < count; ++c)
      for (int v = 0; v < vectors; ++v)
        _mm512_mask_storeu_ps(dst + c * plane + 16 * v, out[v], _mm512_setzero_ps());
  }
};

// A plane, from column x of the result on as far as `row` reaches.
template <int step, class S>
TERCEL_INLINE void sample_plane(const ConvPadArgs& p, const RowSampler<step>& row, const S* src,
                                float* out) {
  const int64_t pitch = p.size[2], width = p.src_size[2];
  for (int64_t a = 0; a < p.num_residues[0]; ++a)
    for (int64_t b = 0; b < p.num_residues[1]; ++b, out += (p.num_residues[2] - 1) * row.plane)
      for (int64_t jz = 0; jz < p.size[0]; ++jz) {
        const int64_t z = p.stride[0] * (p.first[0] + jz) + p.residues[0][a];
        int64_t y = p.stride[1] * p.first[1] + p.residues[1][b];
        const S* from = src + (z * p.src_size[1] + y) * width;
        const int64_t step_y = p.stride[1];
        const int64_t height = z >= 0 && z < p.src_size[0] ? p.src_size[1] : 0;
        for (int64_t jy = 0; jy < p.size[1];
             ++jy, out += pitch, y += step_y, from += step_y * width) {
          if (y >= 0 && y < height)
            row.run(from, out);
          else
            row.zero(out);
        }
      }
}

template <int step, class S>
void sample_planes(const ConvPadArgs& p, const S* src, float* dst, int64_t count, int64_t in,
                   int64_t out, const simd::ReadAhead& ahead) {
  const int64_t pitch = p.size[2];
  const int64_t most = 16 * RowSampler<step>::kVectors;
  int64_t lowest = p.residues[2][0];
  for (int64_t c = 1; c < p.num_residues[2]; ++c)
    if (p.residues[2][c] < lowest) lowest = p.residues[2][c];
  for (int64_t x = 0; x < pitch; x += most) {
    const int64_t first = step * (p.first[2] + x) + lowest;
    const RowSampler<step> row(p.src_size[2], first, pitch - x < most ? pitch - x : most,
                               p.num_residues[2], p.residues[2], lowest,
                               p.size[0] * p.size[1] * pitch);
    for (int64_t i = 0; i < count; ++i) {
      if (x == 0) ahead.fetch_block(src + i * in, in * sizeof(S));
      sample_plane(p, row, src + i * in + first, dst + i * out + x);
    }
  }
}
#endif

// One source plane to its residue planes.
template <class S, class T>
void pad_plane(const ConvPadArgs& p, const S* src, T* dst) {
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

// `count` consecutive source planes to consecutive places of dst.
template <class S, class T>
void pad_some(const ConvPadArgs& p, const S* src, T* dst, int64_t count,
              const simd::ReadAhead& ahead) {
  const int64_t in = volume(p.src_size);
  const int64_t out = volume(p.num_residues) * volume(p.size);
#if defined(TERCEL_LEVEL_AVX512)
  if constexpr (sizeof(T) == 4) {
    if (p.stride[2] == 1) return sample_planes<1>(p, src, dst, count, in, out, ahead);
    if (p.stride[2] == 2) return sample_planes<2>(p, src, dst, count, in, out, ahead);
    if (p.stride[2] == 4) return sample_planes<4>(p, src, dst, count, in, out, ahead);
  }
#endif
  for (int64_t i = 0; i < count; ++i) {
    ahead.fetch_block(src + i * in, in * sizeof(S));
    pad_plane(p, src + i * in, dst + i * out);
  }
}

// Planes [begin, end) of the source; plane `begin` goes to the start of dst.
template <class S, class T>
void pad_planes(const ConvPadArgs& p, int64_t begin, int64_t end) {
  const int64_t in = volume(p.src_size);
  const int64_t out = volume(p.num_residues) * volume(p.size);
  const S* src = static_cast<const S*>(p.src);
  T* dst = static_cast<T*>(p.dst);
  const int64_t grain = 1 + 16384 / (out + 1);
  parallel_for(end - begin, grain, [&](int64_t i0, int64_t i1) {
    pad_some(p, src + (begin + i0) * in, dst + i0 * out, i1 - i0, simd::ReadAhead());
  });
  zero_row(dst + (end - begin) * out, p.slack);
}

}  // namespace
}  // namespace tercel
