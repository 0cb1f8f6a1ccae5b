// Body shared by the micro-kernel files. Each file defines a vector wrapper `V` (type, lanes, Mask,
// load, masked load/store, set1, fma, add) and uses TERCEL_DEFINE_GEMM_UKR.
//
// The register tile is ROWS x VECS accumulators. Masks act on the last vector only. Everything is a
// template over types of an anonymous namespace, so it stays local to the file.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/half.h"

namespace tercel {
namespace {

template <class V, int ROWS, int VECS>
struct TileSums {
  using T = typename V::T;
  typename V::Reg acc[ROWS][VECS];

  TERCEL_INLINE void clear() {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < VECS; ++j) acc[i][j] = V::zero();
    }
  }
  // a(i): the element of row i.
  template <class A>
  TERCEL_INLINE void add(const A& a, const typename V::Reg (&b)[VECS]) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const typename V::Reg x = V::set1(a(i));
#pragma GCC unroll 4
      for (int j = 0; j < VECS; ++j) acc[i][j] = V::fma(x, b[j], acc[i][j]);
    }
  }
  TERCEL_INLINE void write(T* c, int64_t ldc, typename V::Mask mask, bool accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < VECS; ++j) {
        T* dst = c + i * ldc + j * V::kLanes;
        if (j + 1 == VECS) {
          if (accumulate) acc[i][j] = V::add(V::load(dst, mask), acc[i][j]);
          V::store(dst, acc[i][j], mask);
        } else {
          if (accumulate) acc[i][j] = V::add(V::load(dst), acc[i][j]);
          V::store(dst, acc[i][j]);
        }
      }
    }
  }
};

// One register of B per vector; the last one is masked when B lies in place.
template <class V, int VECS, bool MASKED>
TERCEL_INLINE void load_step(const typename V::T* b, typename V::Mask mask,
                             typename V::Reg (&out)[VECS]) {
#pragma GCC unroll 4
  for (int j = 0; j < VECS; ++j) {
    out[j] =
        MASKED && j + 1 == VECS ? V::load(b + j * V::kLanes, mask) : V::load(b + j * V::kLanes);
  }
}

// Brings the rows of C in one after the other while the sums run: all at once would take every
// fill buffer of L1 for the time of a memory access.
template <class T, int ROWS, int WIDTH>
struct TilePrefetch {
  const T* row;
  int64_t ldc;
  int64_t pace;  // a row every pace + 1 steps
  int rows = 0;
  TERCEL_INLINE void step() {
    if (rows == ROWS) return;
#pragma GCC unroll 4
    for (int j = 0; j < WIDTH; j += 64 / static_cast<int>(sizeof(T)))
      __builtin_prefetch(row + j, 1, 3);
    row += ldc;
    ++rows;
  }
};

// Both operands in panels.
template <class V, int ROWS, int VECS, int MR, int NR>
[[gnu::noinline]] void packed_kernel(int64_t kc, const typename V::T* a, const typename V::T* b,
                                     typename V::T* c, int64_t ldc, typename V::Mask mask,
                                     bool accumulate, const char* next) {
  using T = typename V::T;
  TileSums<V, ROWS, VECS> sums;
  sums.clear();
  TilePrefetch<T, ROWS, VECS * V::kLanes> out{c, ldc, kc >= 16 * ROWS ? 15 : 3};
  const auto step = [&](const T* ap, const T* bp) TERCEL_LAMBDA_INLINE {
    typename V::Reg bv[VECS];
    load_step<V, VECS, false>(bp, mask, bv);
    sums.add([&](int i) TERCEL_LAMBDA_INLINE { return ap[i]; }, bv);
  };
  int64_t p = 0;
  for (; p + 4 <= kc; p += 4) {
    __builtin_prefetch(next, 0, 2);
    next += 64;
    if ((p & out.pace) == 0) out.step();
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) step(a + u * MR, b + u * NR);
    a += 4 * MR;
    b += 4 * NR;
  }
  for (; p < kc; ++p) {
    step(a, b);
    a += MR;
    b += NR;
  }
  sums.write(c, ldc, mask, accumulate);
}

// Both operands in place.
template <class V, int ROWS, int VECS>
[[gnu::noinline]] void direct_kernel(int64_t kc, const typename V::T* a, int64_t a_rs, int64_t a_ks,
                                     const typename V::T* b, int64_t b_ks, typename V::T* c,
                                     int64_t ldc, typename V::Mask mask, bool accumulate) {
  TileSums<V, ROWS, VECS> sums;
  sums.clear();
#pragma GCC unroll 4
  for (int64_t p = 0; p < kc; ++p) {
    typename V::Reg bv[VECS];
    load_step<V, VECS, true>(b, mask, bv);
    sums.add([&](int i) TERCEL_LAMBDA_INLINE { return a[i * a_rs]; }, bv);
    a += a_ks;
    b += b_ks;
  }
  sums.write(c, ldc, mask, accumulate);
}

// Rows of A in place, k contiguous. KEEP: B in place too, rows b_ks apart, and copied into `panel`
// on the way (the stores are free beside the multiply-adds); otherwise B is a panel.
template <class V, int ROWS, int VECS, bool KEEP, int NR>
[[gnu::noinline]] void rows_kernel(int64_t kc, const typename V::T* a, int64_t a_rs,
                                   const typename V::T* b, int64_t b_ks, typename V::T* panel,
                                   typename V::T* c, int64_t ldc, typename V::Mask mask,
                                   bool accumulate, const typename V::T* next) {
  using T = typename V::T;
  TileSums<V, ROWS, VECS> sums;
  sums.clear();
  TilePrefetch<T, ROWS, VECS * V::kLanes> out{c, ldc, kc >= 16 * ROWS ? 15 : 3};
  // A pointer per three rows: base, base + stride, base + 2 stride are single addresses.
  constexpr int kBases = (ROWS + 2) / 3;
  const T* base[kBases];
#pragma GCC unroll 8
  for (int g = 0; g < kBases; ++g) base[g] = a + 3 * g * a_rs;
  const auto step = [&](int u, const T* bp) TERCEL_LAMBDA_INLINE {
    typename V::Reg bv[VECS];
    load_step<V, VECS, KEEP>(bp, mask, bv);
    if (KEEP) {
#pragma GCC unroll 4
      for (int j = 0; j < VECS; ++j) V::store(panel + u * NR + j * V::kLanes, bv[j]);
    }
    sums.add([&](int i) TERCEL_LAMBDA_INLINE { return base[i / 3][i % 3 * a_rs + u]; }, bv);
  };
  const auto advance = [&](int steps) TERCEL_LAMBDA_INLINE {
#pragma GCC unroll 8
    for (int g = 0; g < kBases; ++g) base[g] += steps;
    if (KEEP) {
      panel += steps * NR;
    } else {
      b += steps * NR;
    }
  };
  int64_t p = 0;
  for (; p + 4 <= kc; p += 4) {
    if ((p & out.pace) == 0) out.step();
    if (!KEEP && next) {
      __builtin_prefetch(next, 0, 2);
      next += p % 16 == 12 ? 16 - 3 * a_rs : a_rs;
    }
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      if (KEEP) {
        const T* ahead = b + 8 * b_ks;
        __builtin_prefetch(ahead);
        if (VECS > 1) __builtin_prefetch(ahead + (VECS - 1) * V::kLanes);
        step(u, b);
        b += b_ks;
      } else {
        step(u, b + u * NR);
      }
    }
    advance(4);
  }
  for (; p < kc; ++p) {
    step(0, b);
    if (KEEP) b += b_ks;
    advance(1);
  }
  sums.write(c, ldc, mask, accumulate);
}

template <int... I>
struct IntList {};
template <int N, int... I>
struct MakeIntList : MakeIntList<N - 1, N - 1, I...> {};
template <int... I>
struct MakeIntList<0, I...> {
  using type = IntList<I...>;
};

// Kernels by (rows - 1, vectors - 1): KERNEL<rows, vectors>::fn.
template <template <int, int> class KERNEL, int MAX_ROWS, int VECS>
struct TileKernels {
  using Fn = std::remove_const_t<decltype(KERNEL<1, 1>::fn)>;
  struct Row {
    Fn fn[VECS];
  };
  struct Table {
    Row row[MAX_ROWS];
  };
  template <int R, int... J>
  static constexpr Row make_row(IntList<J...>) {
    return {{KERNEL<R + 1, J + 1>::fn...}};
  }
  template <int... R>
  static constexpr Table make(IntList<R...>) {
    return {{make_row<R>(typename MakeIntList<VECS>::type())...}};
  }
  static constexpr Table kTable = make(typename MakeIntList<MAX_ROWS>::type());

  static TERCEL_INLINE Fn find(int64_t m, int64_t vecs) { return kTable.row[m - 1].fn[vecs - 1]; }
};

// The kernels of one micro-kernel: MR x NR panels, up to DIRECT rows in place.
template <class V, int MR, int NR, int DIRECT>
struct TileSet {
  using T = typename V::T;
  static constexpr int kVecs = NR / V::kLanes;
  template <int R, int J>
  struct Packed {
    static constexpr auto fn = &packed_kernel<V, R, J, MR, NR>;
  };
  template <int R, int J>
  struct Direct {
    static constexpr auto fn = &direct_kernel<V, R, J>;
  };
  template <int R, int J>
  struct Rows {
    static constexpr auto fn = &rows_kernel<V, R, J, false, NR>;
  };
  template <int R, int J>
  struct RowsKeep {
    static constexpr auto fn = &rows_kernel<V, R, J, true, NR>;
  };

  static TERCEL_INLINE int64_t vectors(int64_t n) { return (n + V::kLanes - 1) / V::kLanes; }
  static TERCEL_INLINE typename V::Mask mask(int64_t n) {
    return V::mask(n - (vectors(n) - 1) * V::kLanes);
  }

  static TERCEL_INLINE void packed(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                                   int64_t m, int64_t n, bool accumulate, const void* next) {
    TileKernels<Packed, MR, kVecs>::find(m, vectors(n))(
        kc, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(c), ldc, mask(n),
        accumulate, static_cast<const char*>(next));
  }
  // n may be any size here: columns are walked in tiles of NR.
  static TERCEL_INLINE void direct(int64_t kc, const void* a, int64_t a_rs, int64_t a_ks,
                                   const void* b, int64_t b_ks, void* c, int64_t ldc, int64_t m,
                                   int64_t n, bool accumulate) {
    for (int64_t j = 0; j < n; j += NR) {
      const int64_t cols = n - j < NR ? n - j : NR;
      TileKernels<Direct, DIRECT, kVecs>::find(m, vectors(cols))(
          kc, static_cast<const T*>(a), a_rs, a_ks, static_cast<const T*>(b) + j, b_ks,
          static_cast<T*>(c) + j, ldc, mask(cols), accumulate);
    }
  }
  static TERCEL_INLINE void rows(int64_t kc, const void* a, int64_t a_rs, const void* b,
                                 int64_t b_ks, void* panel, void* c, int64_t ldc, int64_t m,
                                 int64_t n, bool accumulate, const void* next) {
    const auto kernel = b_ks ? TileKernels<RowsKeep, MR, kVecs>::find(m, vectors(n))
                             : TileKernels<Rows, MR, kVecs>::find(m, vectors(n));
    kernel(kc, static_cast<const T*>(a), a_rs, static_cast<const T*>(b), b_ks,
           static_cast<T*>(panel), static_cast<T*>(c), ldc, mask(n), accumulate,
           static_cast<const T*>(next));
  }
};

}  // namespace
}  // namespace tercel

// Defines the three functions of one line of gemm_ukernels.inc.
#define TERCEL_DEFINE_GEMM_UKR(name, V, mr, nr, direct_mr)                                        \
  void gemm_ukr_##name(int64_t kc, const void* a, const void* b, void* c, int64_t ldc, int64_t m, \
                       int64_t n, bool accumulate, const void* next) {                            \
    TileSet<V, mr, nr, direct_mr>::packed(kc, a, b, c, ldc, m, n, accumulate, next);              \
  }                                                                                               \
  void gemm_direct_##name(int64_t kc, const void* a, int64_t a_rs, int64_t a_ks, const void* b,   \
                          int64_t b_ks, void* c, int64_t ldc, int64_t m, int64_t n,               \
                          bool accumulate) {                                                      \
    TileSet<V, mr, nr, direct_mr>::direct(kc, a, a_rs, a_ks, b, b_ks, c, ldc, m, n, accumulate);  \
  }                                                                                               \
  void gemm_rows_##name(int64_t kc, const void* a, int64_t a_rs, const void* b, int64_t b_ks,     \
                        void* panel, void* c, int64_t ldc, int64_t m, int64_t n, bool accumulate, \
                        const void* next) {                                                       \
    TileSet<V, mr, nr, direct_mr>::rows(kc, a, a_rs, b, b_ks, panel, c, ldc, m, n, accumulate,    \
                                        next);                                                    \
  }
