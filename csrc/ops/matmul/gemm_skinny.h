// Products with few rows (decode, matrix-vector): every element of the large operand w is read
// once.
//
// Both variants keep the blocked order of gemm.h with n across lanes and k sequential.
//   w_ks == 1 (linear weight [N, K]): squares of w are transposed in registers and converted there;
//   one register of sums per row of x. A square of float32 (1 KB) costs about 60 cycles of
//   shuffles, of float8 (256 B) about 50: under its DRAM time. Its chain of multiply-adds takes as
//   long: where `prefetches_reads`, one or two rows of 16-bit elements take two squares at a time.
//   w_ns == 1 (w is [K, N]): eight rows of w at a time update the sums, which stay in L1.
//
// Prefetching: on Cascade Lake a few lines ahead in each of the rows of a square; rows of [K, N]
// come with the hardware's streams, and prefetching them as well took 1.5 times as long (on Zen 5
// it changes little). Where `prefetches_reads`, a KB of one row after the other, which DRAM likes
// better: one row of float32 29 -> 35 GB/s.
#pragma once

#include "core/streaming.h"
#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/lane_math.h"
#include "ops/matmul/load_simd.h"
#include "simd/vec.h"

namespace tercel {
namespace {

// A copy of L rows of one block of k, of which only `rows` exist, the others are zero. Its rows lie
// a line more than a power of two apart.
template <class S>
inline constexpr int64_t kCopyStride = kGemmKBlock + 64 / sizeof(S);
template <class S>
TERCEL_OUTLINE void copy_rows(const S* w, int64_t stride, int rows, int64_t count, S* out) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(S);
  for (int i = 0; i < TransposeTraits<acc_t<S>>::kLanes; ++i, out += kCopyStride<S>) {
    if (i < rows) {
      __builtin_memcpy(static_cast<void*>(out), w + i * stride, bytes);
    } else {
      __builtin_memset(static_cast<void*>(out), 0, bytes);
    }
  }
}

// Block scales of the columns [n0, n0 + lanes) from k on.
TERCEL_OUTLINE void load_factors(const SkinnyArgs& g, int64_t n0, int lanes, int64_t k,
                                 float* factor) {
  const GemmBlockScale& s = g.scale;
  for (int i = 0; i < lanes; ++i) {
    factor[i] = s.data[(g.row0 + n0 + i) / s.row_block * s.row_stride + k / s.k_block * s.k_stride];
  }
}

// The last `cols` < L of k, for `rows` rows of x; the sums pass through memory.
template <class S, class T, class Reg>
TERCEL_OUTLINE void skinny_tail(const SkinnyArgs& g, const T* x, const S* w, const T* factor,
                                int lanes, int cols, int rows, Reg* sum) {
  Reg t[TransposeTraits<T>::kLanes];
  transpose_part(w, g.w_ns, lanes, cols, t);
  if constexpr (sizeof(T) == 4) {
    if (g.scale.data) {
      for (int j = 0; j < cols; ++j) t[j] = times(t[j], load_lanes(factor));
    }
  }
  for (int m = 0; m < rows; ++m) {
    Reg s = sum[m];
    for (int j = 0; j < cols; ++j) s = mul_add(x[m * g.x_rs + j * g.x_ks], t[j], s);
    sum[m] = s;
  }
}

// Columns [n0, n0 + lanes) with w_ks == 1 and ROWS rows of x.
template <class S, int ROWS>
struct SkinnySquare {
  using T = acc_t<S>;
  using Traits = TransposeTraits<T>;
  using Reg = typename Traits::Reg;
  static constexpr int L = Traits::kLanes;
  static constexpr int64_t kLine = 64 / sizeof(S), kAhead = 256 / sizeof(S);
  static constexpr int64_t kUnit = 1024 / sizeof(S);  // of a row, prefetched together

  struct Room {  // outside, so that the compiler keeps the rest in registers
    alignas(64) T factor[L];
    alignas(64) S rows[L * kCopyStride<S>];
  };

  const SkinnyArgs& g;
  const T* x;
  const S* w;
  const int64_t n0;
  const int lanes;        // L, or N < L
  const int next_rows;    // of w, from this square to the next of its kind
  const bool first;       // of the row groups: it brings w into the caches
  const bool by_units;    // a unit ahead, one row after the other
  const bool copies;      // lanes < L, or against lines of rows that lie in one set of L1
  const int64_t k_block;  // 0: no block scales
  T* const factor;        // the block scales of the columns
  S* const rows;          // of copy_rows
  const S* from;          // row n0 of w or the copy; k counts from from_k
  int64_t from_k, stride;
  Reg total[ROWS], sum[ROWS];

  // Rows of x from m0 on, columns from n on, one of `squares` side by side.
  TERCEL_INLINE SkinnySquare(const SkinnyArgs& args, int64_t m0, int64_t n, int squares, Room& room)
      : g(args),
        x(static_cast<const T*>(g.x) + m0 * g.x_rs),
        w(static_cast<const S*>(g.w) + n * g.w_ns),
        n0(n),
        lanes(g.N < L ? static_cast<int>(g.N) : L),
        next_rows(squares * L),
        first(m0 == 0),
        by_units(prefetches_reads()),
        copies(squares > 1 || lanes < L),
        k_block(g.scale.data ? g.scale.k_block : 0),
        factor(room.factor),
        rows(room.rows) {}

  TERCEL_INLINE void scale_from(int64_t k) {
    if constexpr (sizeof(T) == 4) {
      if (k_block && k % k_block == 0) load_factors(g, n0, lanes, k, factor);
    }
  }
  TERCEL_INLINE void fetch(int64_t k) const {
    if (by_units) {
      // Each step takes L * L elements of the next units of all rows.
      const int64_t part = k % kUnit * L;
      int64_t row = part / kUnit, at = (k / kUnit + 1) * kUnit;
      if (at >= g.K) at -= g.K, row += next_rows;
      const S* p = w + row * g.w_ns + at + part % kUnit;
      for (int64_t i = 0; i < L * L; i += kLine) __builtin_prefetch(p + i);
    } else if (k % kLine == 0) {
      for (int i = 0; i < L; ++i) __builtin_prefetch(w + i * g.w_ns + k + kAhead);
    }
  }
  TERCEL_INLINE void step(int64_t k) {
    // Fresh in each step: the addresses of all its elements would fill the stack.
    int64_t w_ns = stride, x_rs = g.x_rs, x_ks = g.x_ks;
    asm("" : "+r"(w_ns), "+r"(x_rs), "+r"(x_ks));
    const S* p = from + (k - from_k);
    if (first && lanes == L) fetch(k);
    Reg t[L];
    transpose(p, w_ns, t);
    scale_from(k);
    if constexpr (sizeof(T) == 4) {
      if (k_block) {
#pragma GCC unroll 16
        for (int j = 0; j < L; ++j) t[j] = times(t[j], load_lanes(factor));
      }
    }
    const T* xk = x + k * x_ks;
#pragma GCC unroll 16
    for (int j = 0; j < L; ++j, xk += x_ks) {
#pragma GCC unroll 16
      for (int m = 0; m < ROWS; ++m) sum[m] = mul_add(xk[m * x_rs], t[j], sum[m]);
    }
  }
  TERCEL_INLINE void tail(int64_t k, int cols) {
    scale_from(k);
    Reg part[ROWS];
#pragma GCC unroll 16
    for (int m = 0; m < ROWS; ++m) part[m] = sum[m];
    int rows = ROWS;
    asm("" : "+r"(rows));  // one copy for every ROWS
    skinny_tail(g, x + k * g.x_ks, w + k, factor, lanes, cols, rows, part);
#pragma GCC unroll 16
    for (int m = 0; m < ROWS; ++m) sum[m] = part[m];
  }
  TERCEL_INLINE void begin_block(int64_t k0, int64_t count) {
    from = w + k0;
    from_k = k0;
    stride = g.w_ns;
    if (copies) {
      copy_rows(from, stride, lanes, count, rows);
      from = rows;
      stride = kCopyStride<S>;
    }
#pragma GCC unroll 16
    for (int m = 0; m < ROWS; ++m) sum[m] = Reg{};
  }
  TERCEL_INLINE void end_block(bool fresh) {
#pragma GCC unroll 16
    for (int m = 0; m < ROWS; ++m) total[m] = fresh ? sum[m] : plus(total[m], sum[m]);
  }
  TERCEL_INLINE void finish(int64_t m0) {
    T* out = static_cast<T*>(g.acc) + m0 * g.ld + n0;
#pragma GCC unroll 16
    for (int m = 0; m < ROWS; ++m) {
      const int n = m0 + m < g.M ? lanes : 0;  // the rest are zeros of x
      if (n == L)
        store(out + m * g.ld, total[m]);
      else if (n > 0)
        store(out + m * g.ld, total[m], n);
    }
  }
};

// The blocks of k of one square, or of two side by side.
template <int L, class... Square>
TERCEL_INLINE void skinny_run(const SkinnyArgs& g, int64_t m0, Square&... s) {
  for (int64_t k0 = 0; k0 < g.K; k0 += kGemmKBlock) {
    const int64_t k1 = k0 + kGemmKBlock < g.K ? k0 + kGemmKBlock : g.K;
    (s.begin_block(k0, k1 - k0), ...);
    int64_t k = k0;
    for (; k + L <= k1; k += L) (s.step(k), ...);
    if (k < k1) (s.tail(k, static_cast<int>(k1 - k)), ...);
    (s.end_block(k0 == 0), ...);
  }
  (s.finish(m0), ...);
}
template <class S, int ROWS>
void skinny_square(const SkinnyArgs& g, int64_t m0, int64_t n0) {
  using Square = SkinnySquare<S, ROWS>;
  typename Square::Room room;
  Square square(g, m0, n0, 1, room);
  skinny_run<Square::L>(g, m0, square);
}
// For float32, L rows of w are as many streams as the hardware prefetcher of Cascade Lake follows:
// two squares took 1.15 times as long from memory there.
template <class S, int ROWS>
void skinny_two_squares(const SkinnyArgs& g, int64_t n0) {
  using Square = SkinnySquare<S, ROWS>;
  typename Square::Room room[2];
  Square left(g, 0, n0, 2, room[0]), right(g, 0, n0 + Square::L, 2, room[1]);
  skinny_run<Square::L>(g, 0, left, right);
}

// All rows of x with the columns from n on; how many of them it took. A last group that is too
// short overlaps the one before it, where there is one.
template <class S>
int64_t skinny_group(const SkinnyArgs& g, int64_t n) {
  constexpr int L = TransposeTraits<acc_t<S>>::kLanes;
  if constexpr (sizeof(S) == 2) {
    if (prefetches_reads() && g.M <= 2 && n + 2 * L <= g.N) {
      g.M == 1 ? skinny_two_squares<S, 1>(g, n) : skinny_two_squares<S, 2>(g, n);
      return 2 * L;
    }
  }
  const int64_t at = n + L <= g.N ? n : g.N < L ? 0 : g.N - L;
  int64_t m = 0;                  // a row of zeros costs less than another pass
#if defined(TERCEL_LEVEL_AVX512)  // elsewhere the sums would leave the registers
  for (; m + 4 < g.M; m += 8) skinny_square<S, 8>(g, m, at);
#endif
  for (; m + 2 < g.M; m += 4) skinny_square<S, 4>(g, m, at);
  if (g.M - m == 2) skinny_square<S, 2>(g, m, at);
  if (g.M - m == 1) skinny_square<S, 1>(g, m, at);
  return L;
}

template <class S>
void skinny_transposed(const SkinnyArgs& g) {
  for (int64_t n = 0; n < g.N;) n += skinny_group<S>(g, n);
}

// sums[m][i..i + VECS * L) += x[m][k..k+STEPS) w[k..k+STEPS)[i..), or the n < L columns of a
// partial register; `fresh`: the sums start at zero.
template <class S, int STEPS, int VECS, bool PART>
TERCEL_INLINE void skinny_rows(const SkinnyArgs& g, const S* w, int64_t k, acc_t<S>* sums,
                               int64_t ld, int64_t i, int n, bool fresh) {
  using T = acc_t<S>;
  using Reg = typename TransposeTraits<T>::Reg;
  constexpr int L = TransposeTraits<T>::kLanes;
  const T* x = static_cast<const T*>(g.x) + k;
  Reg t[STEPS][VECS];
#pragma GCC unroll 8
  for (int r = 0; r < STEPS; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < VECS; ++v) {
      const S* p = w + (k + r) * g.w_ks + i + v * L;
      t[r][v] = PART ? load_lanes(p, n) : load_lanes(p);
    }
  }
  for (int64_t m = 0; m < g.M; ++m, x += g.x_rs) {
    T* at = sums + m * ld + i;
    Reg s[VECS];
#pragma GCC unroll 2
    for (int v = 0; v < VECS; ++v)
      s[v] = fresh ? Reg{} : PART ? load_lanes(at, n) : load_lanes(at + v * L);
#pragma GCC unroll 8
    for (int r = 0; r < STEPS; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < VECS; ++v) s[v] = mul_add(x[r], t[r][v], s[v]);
    }
#pragma GCC unroll 2
    for (int v = 0; v < VECS; ++v) PART ? store(at, s[v], n) : store(at + v * L, s[v]);
  }
}

// The sums of a column chunk have a place of their own, half of L1, with rows a line more than the
// chunk apart: rows of the output, often a power of two apart, would push each other out.
template <class S>
void skinny_streamed(const SkinnyArgs& g) {
  using T = acc_t<S>;
  constexpr int L = TransposeTraits<T>::kLanes;
  constexpr int64_t kPad = 64 / sizeof(T), kSums = 16384 / sizeof(T);
  alignas(64) T sums[kSums + kSkinnyStreamedRows * (64 + kPad)];
  const int64_t fit = kSums / g.M / 64 * 64, chunk = fit < 64 ? 64 : fit, ld = chunk + kPad;
  for (int64_t n0 = 0; n0 < g.N; n0 += chunk) {
    const int64_t n = n0 + chunk < g.N ? chunk : g.N - n0;
    const S* w = static_cast<const S*>(g.w) + n0;
    for (int64_t k0 = 0; k0 < g.K; k0 += kGemmKBlock) {
      const int64_t k1 = k0 + kGemmKBlock < g.K ? k0 + kGemmKBlock : g.K;
      int64_t k = k0;
      for (; k + 8 <= k1; k += 8) {
        int64_t i = 0;
        for (; i + 2 * L <= n; i += 2 * L)
          skinny_rows<S, 8, 2, false>(g, w, k, sums, ld, i, L, k == k0);
        for (; i < n; i += L) {
          const int cols = n - i < L ? static_cast<int>(n - i) : L;
          skinny_rows<S, 8, 1, true>(g, w, k, sums, ld, i, cols, k == k0);
        }
      }
      for (; k < k1; ++k) {
        for (int64_t i = 0; i < n; i += L) {
          const int cols = n - i < L ? static_cast<int>(n - i) : L;
          skinny_rows<S, 1, 1, true>(g, w, k, sums, ld, i, cols, k == k0);
        }
      }
      for (int64_t m = 0; m < g.M; ++m) {
        T* out = static_cast<T*>(g.acc) + m * g.ld + n0;
        const T* s = sums + m * ld;
        if (k0 == 0) {
          __builtin_memcpy(out, s, static_cast<size_t>(n) * sizeof(T));
        } else {
#pragma GCC ivdep
          for (int64_t i = 0; i < n; ++i) out[i] += s[i];
        }
      }
    }
  }
}

template <class S>
void skinny_as(const SkinnyArgs& g) {
  if (g.w_ks == 1) return skinny_transposed<S>(g);
  skinny_streamed<S>(g);
}

void skinny(const SkinnyArgs& g) {
  switch (g.w_dtype) {
    case DType::f64:
      return skinny_as<double>(g);
    case DType::f32:
      return skinny_as<float>(g);
    case DType::f16:
      return skinny_as<f16>(g);
    case DType::bf16:
      return skinny_as<bf16>(g);
    case DType::f8e4m3:
      return skinny_as<f8e4m3>(g);
    case DType::f8e5m2:
      return skinny_as<f8e5m2>(g);
    default:
      return;
  }
}

}  // namespace
}  // namespace tercel
