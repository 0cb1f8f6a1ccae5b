// The third form of direct convolution: one input and one output channel per group. A plane is
// padded and read again at once, and sums go from registers to the output. Four rows are computed
// together: the lines of the source are visited once, in order, and each is added to every output
// row that has a tap there. Each output is the same chain k = 0, 1, ... of fused multiply-adds as
// in the other forms. Included by conv_direct_cpu.cpp only.
#pragma once

#include <type_traits>

#include "ops/conv/conv_args.h"
#include "ops/conv/conv_lane.h"
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

// Lines of taps in the order of k. `shared`: line l of an output row is line l + 1 of its
// neighbour, the row above it, or (turned: an input gradient) below it.
struct TapLines {
  int64_t taps, columns, row;
  bool shared, turned;
  const int64_t* offset;  // [taps / columns][columns]

  TapLines(const ConvPhase& ph, int64_t source_row)
      : taps(ph.taps), columns(ph.columns), row(source_row), offset(ph.offset) {
    turned = taps > columns && offset[columns] < offset[0];
    shared = taps > 0;
    for (int64_t k = columns; k < taps; k += columns)
      shared = shared && offset[k] == offset[k - columns] + (turned ? -row : row);
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
// `n` lanes; the others may be stored in rows before `spill`. Loads that cross cache lines cost
// twice: shared lines pay off if rows are long.
template <int R, int NV, bool kShared, class S, class T>
TERCEL_OUTLINE void depthwise_block(const TapLines& a, const T* w, const T* src, T bias,
                                    int64_t last, int64_t n, int64_t spill, S* y, int64_t y_row) {
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
    if (n == V::size || r + 1 < spill)
      (sum[r][NV - 1] + b).store(y + last);
    else
      (sum[r][NV - 1] + b).store_n(y + last, n);
  }
}

// R rows of n pixels. Full vectors only, if one fits: the last one starts where it ends the row. If
// rows are `dense`, what passes the end of one is overwritten by the next.
template <int R, class S, class T>
TERCEL_INLINE void depthwise_rows(TapLines a, const T* w, const T* src, T bias, int64_t n, S* y,
                                  int64_t y_row, bool dense) {
  constexpr int64_t kLanes = simd::Vec<T>::size, kStep = kRowVecs<R> * kLanes;
  constexpr bool kBlock = R == kRowBlock, kNarrow = kBlock && kRowVecs<R> == 1;
  // measured: what few taps or short rows share is not worth the turns of the loops
  const bool share = kBlock && a.shared && (kNarrow ? a.taps > 3 * a.columns : n > kLanes);
  int64_t spill = dense && y_row + n >= kLanes ? R : 0;
  if (share && a.turned) {  // from the last row to the first
    src += (R - 1) * a.row;
    y += (R - 1) * y_row;
    a.row = -a.row;
    y_row = -y_row;
    spill = 0;
  }
  const int64_t lanes = n < kLanes ? n : kLanes;
  for (; n > 0; n -= kStep, src += kStep, y += kStep) {
    const int64_t last = n > kStep ? kStep - kLanes : n - lanes;
    const int64_t vecs = n > kStep ? kRowVecs<R> : (n + kLanes - 1) / kLanes;
    const auto block = [&](auto nv, auto shared) TERCEL_LAMBDA_INLINE {
      depthwise_block<R, nv(), shared()>(a, w, src, bias, last, lanes, spill, y, y_row);
    };
    const auto any = [&](auto shared) TERCEL_LAMBDA_INLINE {
      if (vecs == 2) block(std::integral_constant<int, 2>(), shared);
      if (vecs == 3) block(std::integral_constant<int, 3>(), shared);
      if (vecs == 4) block(std::integral_constant<int, 4>(), shared);
    };
    if (vecs == 1 && share && kNarrow)
      block(std::integral_constant<int, 1>(), std::bool_constant<kNarrow>());
    else if (vecs == 1)
      block(std::integral_constant<int, 1>(), std::false_type());
    else if constexpr (!kNarrow)
      share ? any(std::bool_constant<kBlock>()) : any(std::false_type());
  }
}

inline constexpr int64_t kStridedPixels = 64;  // of a row at a time

// to[2 i + j] = from[j][i]; writes whole vectors.
template <class T>
TERCEL_INLINE void interleave(const T* even, const T* odd, int64_t n, T* to) {
  using Rg = Reg<T>;
  constexpr int L = Rg::lanes;
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> I;
  typedef I VI __attribute__((vector_size(kRegBytes)));
  VI low, high;
  for (int i = 0; i < L; ++i) {
    low[i] = i / 2 + (i & 1) * L;
    high[i] = L / 2 + i / 2 + (i & 1) * L;
  }
  for (int64_t i = 0; i < n; i += L, to += 2 * L) {
    const auto a = Rg::load(even + i), b = Rg::load(odd + i);
    Rg::store(to, __builtin_shuffle(a, b, low));
    Rg::store(to + L, __builtin_shuffle(a, b, high));
  }
}

template <class T>
struct StridedSums {
  alignas(64) T of[2][kRowBlock * kStridedPixels + 16] = {};
  alignas(64) T both[2 * kStridedPixels + 16];
};

// R rows of one phase whose pixels are apart, or of two phases (the second one right of the first)
// that together have every pixel.
template <int R, class S, class T>
TERCEL_OUTLINE void strided_rows(const ConvPhase* const* ph, const TapLines* lines,
                                 const T* const* w, int count, const T* src, T bias, S* y,
                                 StridedSums<T>& sums) {
  using V = simd::Vec<T>;
  const int64_t step = ph[0]->y_step[2];
  for (int64_t x = 0; x < ph[0]->grid[2]; x += kStridedPixels) {
    int64_t n[2] = {};
    for (int c = 0; c < count; ++c) {
      const int64_t left = ph[c]->grid[2] - x;
      n[c] = left < kStridedPixels ? left : kStridedPixels;
      depthwise_rows<R>(lines[c], w[c], src + x, bias, n[c], sums.of[c], kStridedPixels, true);
    }
    S* to = y + x * step;
    for (int64_t r = 0; r < R; ++r, to += ph[0]->y_step[1]) {
      const T* even = sums.of[0] + r * kStridedPixels;
      if (count == 1) {
        for (int64_t i = 0; i < n[0]; ++i) to[i * step] = static_cast<S>(even[i]);
        continue;
      }
      interleave(even, sums.of[1] + r * kStridedPixels, n[0], sums.both);
      const int64_t all = n[0] + n[1];
      int64_t i = 0;
      for (; i + V::size <= all; i += V::size) V::load(sums.both + i).store(to + i);
      if (i < all && all >= V::size)
        V::load(sums.both + all - V::size).store(to + all - V::size);
      else if (i < all)
        V::load(sums.both).store_n(to, all);
    }
  }
}

// A plane of `count` phases, as in strided_rows.
template <class S, class T>
void depthwise_plane(const ConvArgs& a, const ConvPhase* const* ph, int count, int64_t g,
                     const T* src, T bias, S* y, StridedSums<T>& sums) {
  const TapLines lines[2] = {{*ph[0], a.row}, {*ph[count - 1], a.row}};
  const T* w[2];
  for (int c = 0; c < count; ++c)
    w[c] = static_cast<const T*>(ph[c]->packed) + g * kConvRows * ph[c]->K;
  const int64_t rows = ph[0]->grid[1], y_row = ph[0]->y_step[1];
  const auto some = [&](auto many, const T* s, S* to) {
    constexpr int R = many();
    if (ph[0]->y_step[2] == 1)
      depthwise_rows<R>(lines[0], w[0], s, bias, ph[0]->grid[2], to, y_row,
                        y_row == ph[0]->grid[2]);
    else
      strided_rows<R>(ph, lines, w, count, s, bias, to, sums);
  };
  for (int64_t z = 0; z < ph[0]->grid[0]; ++z) {
    const T* s = src + z * a.slab;
    S* to = y + ph[0]->y_first + z * ph[0]->y_step[0];
    for (int64_t r = 0; r < rows;) {
      if (rows < kRowBlock) {
        some(std::integral_constant<int, 1>(), s + r * a.row, to + r * y_row);
        ++r;
      } else {  // the last rows may be computed twice
        if (r + kRowBlock > rows) r = rows - kRowBlock;
        some(std::integral_constant<int, kRowBlock>(), s + r * a.row, to + r * y_row);
        r += kRowBlock;
      }
    }
  }
}

// Phase f and the one after it in order of their pixels, if they lie side by side: returns how
// many there are.
TERCEL_INLINE int pair_phases(const ConvArgs& a, int64_t f, const ConvPhase** ph) {
  const ConvPhase *one = a.phases + f, *next = one + 1;
  ph[0] = one;
  if (f + 1 == a.num_phases || one->y_step[2] != 2) return 1;
  const int64_t ahead = next->y_first - one->y_first;
  if (ahead * ahead != 1 || next->y_first / a.width != one->y_first / a.width) return 1;
  ph[0] = ahead > 0 ? one : next;
  ph[1] = ahead > 0 ? next : one;
  return 2;
}

// Images [n0, n0 + images).
template <class S, class T>
void depthwise(const ConvArgs& a, int64_t n0, int64_t images) {
  const int64_t in = volume(a.pad.src_size);
  const S* bias = static_cast<const S*>(a.bias);
  int64_t work = 1;
  for (int64_t f = 0; f < a.num_phases; ++f)
    work += a.y_channel / a.num_phases * (a.phases[f].K + 8);
  parallel_for(images * a.groups, 1 + 65536 / work, [&](int64_t i0, int64_t i1) {
    // One padded plane after the other in the place of the first: it stays in L1.
    T* const padded = static_cast<T*>(a.pad.dst) + (a.in_place ? 0 : i0 * a.src_channel);
    const simd::ReadAhead ahead;
    StridedSums<T> sums;
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t plane = n0 * a.groups + i, g = i % a.groups;
      const T* src;
      if (a.in_place) {
        src = static_cast<const T*>(a.pad.src) + plane * a.src_channel;
      } else {
        const S* from = static_cast<const S*>(a.pad.src) + plane * in;
        pad_some(a.pad, from, padded, 1, ahead);
        zero_row(padded + a.src_channel - a.pad.slack, a.pad.slack);
        src = padded;
      }
      const T b = bias ? static_cast<T>(bias[g]) : static_cast<T>(0);
      for (int64_t f = 0; f < a.num_phases;) {
        const ConvPhase* ph[2];
        const int count = pair_phases(a, f, ph);
        depthwise_plane(a, ph, count, g, src, b, static_cast<S*>(a.y) + plane * a.y_channel, sums);
        f += count;
      }
    }
  });
}

}  // namespace
}  // namespace tercel
