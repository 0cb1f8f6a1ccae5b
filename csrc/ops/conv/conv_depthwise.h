// The third form of direct convolution: one input and one output channel per group. A plane is
// padded and read again at once, and sums go from registers to the output. Four rows are computed
// together: the lines of the source are visited once, in order, and each is added to every output
// row that has a tap there. Each output is the same chain k = 0, 1, ... of fused multiply-adds as
// in the other forms. Included by conv_direct_cpu.cpp only.
#pragma once

#include "ops/conv/conv_args.h"
#include "ops/conv/conv_pad.h"

namespace tercel {
namespace {

inline constexpr int kRowBlock = 4;  // rows together
template <int R>
inline constexpr int kRowVecs = R == 1 ? 4 : 1;  // vectors of R rows at a time
#if defined(TERCEL_LEVEL_AVX512)
template <>
inline constexpr int kRowVecs<kRowBlock> = 4;
#endif

// Lines of taps in the order of k. `shared`: line l of an output row is line l + 1 of the row above
// it.
struct TapLines {
  int64_t taps, columns, row;
  bool shared;
  const int64_t* offset;  // [taps / columns][columns]

  TapLines(const ConvPhase& ph, int64_t source_row)
      : taps(ph.taps),
        columns(ph.columns),
        row(source_row),
        shared(ph.taps > 0),
        offset(ph.offset) {
    for (int64_t k = columns; k < taps; k += columns)
      shared = shared && offset[k] == offset[k - columns] + row;
  }
};

// One line of the source to N rows from R0 on; w: weights of row R0.
template <int R0, int N, class V, class T, int R, int NV>
TERCEL_INLINE void add_line(V (&sum)[R][NV], const TapLines& a, const T* src, int64_t last,
                            const int64_t* offset, const T* w) {
  for (int64_t x = 0; x < a.columns; ++x, ++w) {
    const T* p = src + offset[x];
    V v[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) v[j] = V::load(p + (j == NV - 1 ? last : j * V::size));
#pragma GCC unroll 4
    for (int i = 0; i < N; ++i) {
      const V wi(w[-i * a.columns]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) sum[R0 + i][j] = fma(wi, v[j], sum[R0 + i][j]);
    }
  }
}

// kRowBlock rows whose lines are shared.
template <class V, class T, int NV>
TERCEL_INLINE void add_lines(V (&sum)[kRowBlock][NV], const TapLines& a, const T* src, int64_t last,
                             const T* w) {
  const int64_t lines = a.taps / a.columns;
  for (int64_t s = 0; s < lines + kRowBlock - 1; ++s) {
    const int64_t r0 = s < lines ? 0 : s - lines + 1;  // rows r0..r1 have a tap in line s
    const int64_t r1 = s < kRowBlock ? s : kRowBlock - 1;
    const T* from = src + r0 * a.row;
    const int64_t* offset = a.offset + (s - r0) * a.columns;
    const T* wk = w + (s - r0) * a.columns;
    static_assert(kRowBlock == 4);
    switch (r0 * 4 + r1) {
        // clang-format off
      case 0: add_line<0, 1>(sum, a, from, last, offset, wk); break;
      case 1: add_line<0, 2>(sum, a, from, last, offset, wk); break;
      case 2: add_line<0, 3>(sum, a, from, last, offset, wk); break;
      case 3: add_line<0, 4>(sum, a, from, last, offset, wk); break;
      case 5: add_line<1, 1>(sum, a, from, last, offset, wk); break;
      case 6: add_line<1, 2>(sum, a, from, last, offset, wk); break;
      case 7: add_line<1, 3>(sum, a, from, last, offset, wk); break;
      case 10: add_line<2, 1>(sum, a, from, last, offset, wk); break;
      case 11: add_line<2, 2>(sum, a, from, last, offset, wk); break;
      default: add_line<3, 1>(sum, a, from, last, offset, wk); break;
        // clang-format on
    }
  }
}

// R rows of NV vectors, the last of which starts at `last` (it may overlap the one before) and has
// `n` lanes. Loads that cross cache lines cost twice: shared lines pay off if rows are long.
template <int R, int NV, bool kShared, class S, class T>
TERCEL_OUTLINE void depthwise_block(const TapLines& a, const T* w, const T* src, T bias,
                                    int64_t last, int64_t n, S* y, int64_t y_row) {
  using V = simd::Vec<T>;
  V sum[R][NV];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) sum[r][j] = V(static_cast<T>(0));
  if constexpr (kShared) {
    add_lines(sum, a, src, last, w);
  } else {
    for (int64_t k = 0; k < a.taps; ++k) {
      const V wk(w[k]);
      const T* p = src + a.offset[k];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j)
          sum[r][j] =
              fma(wk, V::load(p + r * a.row + (j == NV - 1 ? last : j * V::size)), sum[r][j]);
    }
  }
  const V b(bias);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r, y += y_row) {
#pragma GCC unroll 4
    for (int j = 0; j < NV - 1; ++j) (sum[r][j] + b).store(y + j * V::size);
    // what passes the end of a row is overwritten by the next one
    if (n == V::size || (r + 1 < R && y_row + n >= V::size))
      (sum[r][NV - 1] + b).store(y + last);
    else
      (sum[r][NV - 1] + b).store_n(y + last, n);
  }
}

// R rows of n pixels. Full vectors only, if one fits: the last one starts where it ends the row.
template <int R, class S, class T>
TERCEL_INLINE void depthwise_rows(const TapLines& a, const T* w, const T* src, T bias, int64_t n,
                                  S* y, int64_t y_row) {
  constexpr int64_t kLanes = simd::Vec<T>::size, kStep = kRowVecs<R> * kLanes;
  const int64_t lanes = n < kLanes ? n : kLanes;
  for (; n > 0; n -= kStep, src += kStep, y += kStep) {
    const int64_t last = n > kStep ? kStep - kLanes : n - lanes;
    const int64_t vecs = n > kStep ? kRowVecs<R> : (n + kLanes - 1) / kLanes;
    constexpr bool kBlock = R == kRowBlock, kNarrow = kBlock && kRowVecs<R> == 1;
    // measured: what few taps or short rows share is not worth the turns of the loops
    const bool shared = kBlock && a.shared && (kNarrow ? a.taps > 3 * a.columns : vecs > 1);
    if (vecs == 1 && kNarrow && shared)
      depthwise_block<R, 1, kNarrow>(a, w, src, bias, last, lanes, y, y_row);
    else if (vecs == 1)
      depthwise_block<R, 1, false>(a, w, src, bias, last, lanes, y, y_row);
    if constexpr (kRowVecs<R> == 4) {
      if (shared) {
        if (vecs == 2) depthwise_block<R, 2, kBlock>(a, w, src, bias, last, lanes, y, y_row);
        if (vecs == 3) depthwise_block<R, 3, kBlock>(a, w, src, bias, last, lanes, y, y_row);
        if (vecs == 4) depthwise_block<R, 4, kBlock>(a, w, src, bias, last, lanes, y, y_row);
      } else {
        if (vecs == 2) depthwise_block<R, 2, false>(a, w, src, bias, last, lanes, y, y_row);
        if (vecs == 3) depthwise_block<R, 3, false>(a, w, src, bias, last, lanes, y, y_row);
        if (vecs == 4) depthwise_block<R, 4, false>(a, w, src, bias, last, lanes, y, y_row);
      }
    }
  }
}

// Images [n0, n0 + images).
template <class S, class T>
void depthwise(const ConvArgs& a, int64_t n0, int64_t images) {
  const ConvPhase& ph = a.phases[0];
  const int64_t in = a.pad.src_size[0] * a.pad.src_size[1] * a.pad.src_size[2];
  const S* bias = static_cast<const S*>(a.bias);
  const int64_t work = ph.grid[0] * ph.grid[1] * ph.grid[2] * (ph.K + 8);
  const TapLines lines(ph, a.row);
  parallel_for(images * a.groups, 1 + 65536 / (work + 1), [&](int64_t i0, int64_t i1) {
    // One padded plane after the other in the place of the first: it stays in L1.
    T* const padded = static_cast<T*>(a.pad.dst) + (a.in_place ? 0 : i0 * a.src_channel);
    const simd::ReadAhead ahead;
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t plane = n0 * a.groups + i, g = i % a.groups;
      const T* src;
      if (a.in_place) {
        src = static_cast<const T*>(a.pad.src) + plane * a.src_channel;
      } else {
        const S* from = static_cast<const S*>(a.pad.src) + plane * in;
        ahead.fetch_block(from, in * sizeof(S));
        pad_plane(a.pad, from, padded);
        zero_row(padded + a.src_channel - a.pad.slack, a.pad.slack);
        src = padded;
      }
      const T* w = static_cast<const T*>(ph.packed) + g * kConvRows * ph.K;
      const T b = bias ? static_cast<T>(bias[g]) : static_cast<T>(0);
      S* const y = static_cast<S*>(a.y) + plane * a.y_channel + ph.y_first;
      for (int64_t z = 0; z < ph.grid[0]; ++z)
        for (int64_t r = 0; r < ph.grid[1];) {
          // the last rows may be computed twice
          const bool block = ph.grid[1] >= kRowBlock;
          if (block && r + kRowBlock > ph.grid[1]) r = ph.grid[1] - kRowBlock;
          const T* s = src + z * a.slab + r * a.row;
          S* to = y + z * ph.y_step[0] + r * ph.y_step[1];
          if (block)
            depthwise_rows<kRowBlock>(lines, w, s, b, ph.grid[2], to, ph.y_step[1]);
          else
            depthwise_rows<1>(lines, w, s, b, ph.grid[2], to, ph.y_step[1]);
          r += block ? kRowBlock : 1;
        }
    }
  });
}

}  // namespace
}  // namespace tercel
