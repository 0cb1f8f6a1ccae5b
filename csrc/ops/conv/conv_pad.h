// The padded, residue-split copy that the direct convolution kernels read (see ConvPadArgs). Only
// for files compiled per ISA level.
#pragma once

#include "core/parallel.h"
#include "ops/conv/conv_args.h"
#include "simd/vec.h"

namespace tercel {
namespace {

// Smallest j in [0, limit] with stride * (first + j) + residue >= bound.
TERCEL_INLINE int64_t first_at_least(int64_t bound, int64_t stride, int64_t first, int64_t residue,
                                     int64_t limit) {
  const int64_t a = bound - residue;
  const int64_t q = a > 0 ? (a + stride - 1) / stride : -((-a) / stride);
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
    for (int64_t i = i0; i < i1; ++i) pad_plane(p, src + (begin + i) * in, dst + i * out);
  });
  zero_row(dst + (end - begin) * out, p.slack);
}

}  // namespace
}  // namespace tercel
