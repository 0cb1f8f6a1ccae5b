// Body shared by the micro-kernel files. Each file defines a vector wrapper `V` (type, lanes, Mask,
// load, masked load/store, set1, fma, add) and uses TERCEL_DEFINE_GEMM_UKR.
//
// The register tile is ROWS x VECS accumulators. Masks act on the last vector only. Everything is a
// template over types of an anonymous namespace, so it stays local to the file.
#pragma once

#include <cstdint>

#include "core/half.h"

namespace tercel {
namespace {

template <class V, int ROWS, int VECS, bool PACKED, int MR, int NR>
[[gnu::noinline]] void gemm_tile_kernel(int64_t kc, const typename V::T* a, int64_t a_rs,
                                        int64_t a_ks, const typename V::T* b, int64_t b_ks,
                                        typename V::T* c, int64_t ldc, typename V::Mask mask,
                                        bool accumulate, const char* next) {
  if (PACKED) {
    a_rs = 1;
    a_ks = MR;
    b_ks = NR;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < VECS; ++j) __builtin_prefetch(c + i * ldc + j * V::kLanes, 1, 3);
    }
  }
  typename V::Reg acc[ROWS][VECS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < VECS; ++j) acc[i][j] = V::zero();
  }
#pragma GCC unroll 4
  for (int64_t p = 0; p < kc; ++p) {
    if (PACKED && p % 4 == 0) {
      __builtin_prefetch(next, 0, 2);
      next += 64;
    }
    typename V::Reg bv[VECS];
#pragma GCC unroll 4
    for (int j = 0; j < VECS; ++j) {
      if (PACKED) {
        bv[j] = V::load(b + j * V::kLanes);
      } else {
        bv[j] = j + 1 == VECS ? V::load(b + j * V::kLanes, mask) : V::load(b + j * V::kLanes);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const typename V::Reg av = V::set1(a[i * a_rs]);
#pragma GCC unroll 4
      for (int j = 0; j < VECS; ++j) acc[i][j] = V::fma(av, bv[j], acc[i][j]);
    }
    a += a_ks;
    b += b_ks;
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < VECS; ++j) {
      typename V::T* dst = c + i * ldc + j * V::kLanes;
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

template <int... I>
struct IntList {};
template <int N, int... I>
struct MakeIntList : MakeIntList<N - 1, N - 1, I...> {};
template <int... I>
struct MakeIntList<0, I...> {
  using type = IntList<I...>;
};

// Kernels by (rows - 1, vectors - 1).
template <class V, bool PACKED, int MAX_ROWS, int MR, int NR>
struct TileKernels {
  static constexpr int kVecs = NR / V::kLanes;
  using T = typename V::T;
  using Fn = void (*)(int64_t, const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t,
                      typename V::Mask, bool, const char*);
  struct Row {
    Fn fn[kVecs];
  };
  struct Table {
    Row row[MAX_ROWS];
  };
  template <int R, int... J>
  static constexpr Row make_row(IntList<J...>) {
    return {{gemm_tile_kernel<V, R + 1, J + 1, PACKED, MR, NR>...}};
  }
  template <int... R>
  static constexpr Table make(IntList<R...>) {
    return {{make_row<R>(typename MakeIntList<kVecs>::type())...}};
  }
  static constexpr Table kTable = make(typename MakeIntList<MAX_ROWS>::type());

  static TERCEL_INLINE Fn find(int64_t m, int64_t vecs) { return kTable.row[m - 1].fn[vecs - 1]; }
};

template <class V, int MR, int NR>
TERCEL_INLINE void run_packed(int64_t kc, const void* a, const void* b, void* c, int64_t ldc,
                              int64_t m, int64_t n, bool accumulate, const void* next) {
  using T = typename V::T;
  const int64_t vecs = (n + V::kLanes - 1) / V::kLanes;
  const int64_t tail = n - (vecs - 1) * V::kLanes;
  TileKernels<V, true, MR, MR, NR>::find(m, vecs)(
      kc, static_cast<const T*>(a), 1, MR, static_cast<const T*>(b), NR, static_cast<T*>(c), ldc,
      V::mask(tail), accumulate, static_cast<const char*>(next));
}

// n may be any size here: columns are walked in tiles of NR.
template <class V, int MAX_ROWS, int NR>
TERCEL_INLINE void run_direct(int64_t kc, const void* a, int64_t a_rs, int64_t a_ks, const void* b,
                              int64_t b_ks, void* c, int64_t ldc, int64_t m, int64_t n,
                              bool accumulate) {
  using T = typename V::T;
  for (int64_t j = 0; j < n; j += NR) {
    const int64_t cols = n - j < NR ? n - j : NR;
    const int64_t vecs = (cols + V::kLanes - 1) / V::kLanes;
    const int64_t tail = cols - (vecs - 1) * V::kLanes;
    TileKernels<V, false, MAX_ROWS, 0, NR>::find(m, vecs)(
        kc, static_cast<const T*>(a), a_rs, a_ks, static_cast<const T*>(b) + j, b_ks,
        static_cast<T*>(c) + j, ldc, V::mask(tail), accumulate, nullptr);
  }
}

}  // namespace
}  // namespace tercel

// Defines the two functions of one line of gemm_ukernels.inc.
#define TERCEL_DEFINE_GEMM_UKR(name, V, mr, nr, direct_mr)                                        \
  void gemm_ukr_##name(int64_t kc, const void* a, const void* b, void* c, int64_t ldc, int64_t m, \
                       int64_t n, bool accumulate, const void* next) {                            \
    run_packed<V, mr, nr>(kc, a, b, c, ldc, m, n, accumulate, next);                              \
  }                                                                                               \
  void gemm_direct_##name(int64_t kc, const void* a, int64_t a_rs, int64_t a_ks, const void* b,   \
                          int64_t b_ks, void* c, int64_t ldc, int64_t m, int64_t n,               \
                          bool accumulate) {                                                      \
    run_direct<V, direct_mr, nr>(kc, a, a_rs, a_ks, b, b_ks, c, ldc, m, n, accumulate);           \
  }
