// Products with few rows (decode, matrix-vector): every element of the large operand w is read
// once.
//
// Both variants keep the blocked order of gemm.h with n across lanes and k sequential.
//   w_ks == 1 (linear weight [N, K]): squares of w are transposed in registers; one register of
//   sums per row of x. Shuffles and fma of a 1 KB square cost about 60 cycles, under its DRAM time.
//   w_ns == 1 (w is [K, N]): eight rows of w at a time update the sums, which stay in L1.
#pragma once

#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/transpose_simd.h"

namespace tercel {
namespace {

template <class T>
TERCEL_INLINE T skinny_fma(T a, T b, T c) {
#if defined(__FMA__) || defined(__aarch64__)
  if constexpr (sizeof(T) == 4) return __builtin_fmaf(a, b, c);
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

#if defined(TERCEL_LEVEL_AVX512)
TERCEL_INLINE __m512 mul_add(float a, __m512 b, __m512 c) {
  return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c);
}
TERCEL_INLINE __m512d mul_add(double a, __m512d b, __m512d c) {
  return _mm512_fmadd_pd(_mm512_set1_pd(a), b, c);
}
TERCEL_INLINE __m512 plus(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
TERCEL_INLINE __m512d plus(__m512d a, __m512d b) { return _mm512_add_pd(a, b); }
#elif defined(TERCEL_LEVEL_AVX2)
TERCEL_INLINE __m256 mul_add(float a, __m256 b, __m256 c) {
  return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c);
}
TERCEL_INLINE __m256d mul_add(double a, __m256d b, __m256d c) {
  return _mm256_fmadd_pd(_mm256_set1_pd(a), b, c);
}
TERCEL_INLINE __m256 plus(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
TERCEL_INLINE __m256d plus(__m256d a, __m256d b) { return _mm256_add_pd(a, b); }
#else
template <class T, class R>
TERCEL_INLINE R mul_add(T a, const R& b, const R& c) {
  R r;
  for (int i = 0; i < 4; ++i) r.v[i] = skinny_fma<T>(a, b.v[i], c.v[i]);
  return r;
}
template <class R>
TERCEL_INLINE R plus(const R& a, const R& b) {
  R r;
  for (int i = 0; i < 4; ++i) r.v[i] = a.v[i] + b.v[i];
  return r;
}
#endif

// Element by element, for what the vector loops leave over.
template <class T>
void skinny_scalar(const SkinnyArgs& g, int64_t n0, int64_t n1) {
  const T* x = static_cast<const T*>(g.x);
  const T* w = static_cast<const T*>(g.w);
  for (int64_t m = 0; m < g.M; ++m) {
    for (int64_t n = n0; n < n1; ++n) {
      T total = T(0);
      for (int64_t k0 = 0; k0 < g.K; k0 += kGemmKBlock) {
        const int64_t k1 = k0 + kGemmKBlock < g.K ? k0 + kGemmKBlock : g.K;
        T sum = T(0);
        for (int64_t k = k0; k < k1; ++k) {
          sum = skinny_fma<T>(x[m * g.x_rs + k * g.x_ks], w[n * g.w_ns + k * g.w_ks], sum);
        }
        total = k0 == 0 ? sum : total + sum;
      }
      static_cast<T*>(g.acc)[m * g.ld + n] = total;
    }
  }
}

// Columns [n0, n0 + L) with w_ks == 1 and ROWS rows of x.
template <class T, int ROWS>
TERCEL_INLINE void skinny_square(const SkinnyArgs& g, int64_t m0, int64_t n0) {
  using Traits = TransposeTraits<T>;
  using Reg = typename Traits::Reg;
  constexpr int L = Traits::kLanes;
  // L streams are more than the hardware prefetcher likes to follow.
  constexpr int64_t kAhead = 256 / sizeof(T);
  const T* x = static_cast<const T*>(g.x) + m0 * g.x_rs;
  const T* w = static_cast<const T*>(g.w) + n0 * g.w_ns;
  T* out = static_cast<T*>(g.acc) + m0 * g.ld + n0;
  Reg total[ROWS] = {};
  for (int64_t k0 = 0; k0 < g.K; k0 += kGemmKBlock) {
    const int64_t k1 = k0 + kGemmKBlock < g.K ? k0 + kGemmKBlock : g.K;
    Reg sum[ROWS];
#pragma GCC unroll 16
    for (int m = 0; m < ROWS; ++m) sum[m] = Reg{};
    int64_t k = k0;
    for (; k + L <= k1; k += L) {
      if (m0 == 0) {
        for (int i = 0; i < L; ++i) __builtin_prefetch(w + i * g.w_ns + k + kAhead);
      }
      Reg t[L];
      transpose(w + k, g.w_ns, t);
#pragma GCC unroll 16
      for (int m = 0; m < ROWS; ++m) {
        const T* xm = x + m * g.x_rs + k * g.x_ks;
#pragma GCC unroll 16
        for (int j = 0; j < L; ++j) sum[m] = mul_add(xm[j * g.x_ks], t[j], sum[m]);
      }
    }
    for (; k < k1; ++k) {
      alignas(64) T column[L];
      for (int i = 0; i < L; ++i) column[i] = w[i * g.w_ns + k];
      Reg t;
      __builtin_memcpy(&t, column, sizeof(t));
      for (int m = 0; m < ROWS; ++m) sum[m] = mul_add(x[m * g.x_rs + k * g.x_ks], t, sum[m]);
    }
#pragma GCC unroll 16
    for (int m = 0; m < ROWS; ++m) total[m] = k0 == 0 ? sum[m] : plus(total[m], sum[m]);
  }
#pragma GCC unroll 16
  for (int m = 0; m < ROWS; ++m) store(out + m * g.ld, total[m]);
}

template <class T>
void skinny_transposed(const SkinnyArgs& g) {
  constexpr int L = TransposeTraits<T>::kLanes;
  if (g.N < L || g.K == 0) return skinny_scalar<T>(g, 0, g.N);
  for (int64_t n = 0; n < g.N; n += L) {
    const int64_t at = n + L <= g.N ? n : g.N - L;  // the last square may overlap: same bits
    int64_t m = 0;
    for (; m + 4 <= g.M; m += 4) skinny_square<T, 4>(g, m, at);
    for (; m + 2 <= g.M; m += 2) skinny_square<T, 2>(g, m, at);
    if (m < g.M) skinny_square<T, 1>(g, m, at);
  }
}

// sums[m][0..n) += x[m][k..k+8) * w[k..k+8)[0..n); `fresh`: the sums start at zero.
template <class T>
TERCEL_INLINE void skinny_rows8(const T* x, int64_t x_ks, const T* w, int64_t w_ks, T* sums,
                                int64_t n, bool fresh) {
  const T x0 = x[0], x1 = x[x_ks], x2 = x[2 * x_ks], x3 = x[3 * x_ks];
  const T x4 = x[4 * x_ks], x5 = x[5 * x_ks], x6 = x[6 * x_ks], x7 = x[7 * x_ks];
  const T *w1 = w + w_ks, *w2 = w + 2 * w_ks, *w3 = w + 3 * w_ks, *w4 = w + 4 * w_ks;
  const T *w5 = w + 5 * w_ks, *w6 = w + 6 * w_ks, *w7 = w + 7 * w_ks;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    T s = fresh ? T(0) : sums[i];
    s = skinny_fma<T>(x0, w[i], s);
    s = skinny_fma<T>(x1, w1[i], s);
    s = skinny_fma<T>(x2, w2[i], s);
    s = skinny_fma<T>(x3, w3[i], s);
    s = skinny_fma<T>(x4, w4[i], s);
    s = skinny_fma<T>(x5, w5[i], s);
    s = skinny_fma<T>(x6, w6[i], s);
    s = skinny_fma<T>(x7, w7[i], s);
    sums[i] = s;
  }
}

template <class T>
void skinny_streamed(const SkinnyArgs& g) {
  const T* x = static_cast<const T*>(g.x);
  constexpr int64_t kLine = 64 / sizeof(T);
  // Sums of a column chunk stay in half of L1.
  int64_t chunk = 16384 / static_cast<int64_t>(sizeof(T)) / g.M / 64 * 64;
  if (chunk < 64) chunk = 64;
  for (int64_t n0 = 0; n0 < g.N; n0 += chunk) {
    const int64_t n = n0 + chunk < g.N ? chunk : g.N - n0;
    const T* w = static_cast<const T*>(g.w) + n0;
    for (int64_t k0 = 0; k0 < g.K; k0 += kGemmKBlock) {
      const int64_t k1 = k0 + kGemmKBlock < g.K ? k0 + kGemmKBlock : g.K;
      T* sums = k0 == 0 ? static_cast<T*>(g.acc) + n0 : static_cast<T*>(g.work) + n0;
      const int64_t ld = k0 == 0 ? g.ld : g.N;
      int64_t k = k0;
      for (; k + 8 <= k1; k += 8) {
        for (int64_t m = 0; m < g.M; ++m) {
          // One of the next eight rows; for a single row of x the hardware streams do better alone.
          if (g.M > 1 && m < 8 && k + 16 <= g.K) {
            const T* next = w + (k + 8 + m) * g.w_ks;
            for (int64_t i = 0; i < n; i += kLine) __builtin_prefetch(next + i);
          }
          skinny_rows8(x + m * g.x_rs + k * g.x_ks, g.x_ks, w + k * g.w_ks, g.w_ks, sums + m * ld,
                       n, k == k0);
        }
      }
      for (; k < k1; ++k) {
        for (int64_t m = 0; m < g.M; ++m) {
          const T xv = x[m * g.x_rs + k * g.x_ks];
          const T* row = w + k * g.w_ks;
          T* s = sums + m * ld;
#pragma GCC ivdep
          for (int64_t i = 0; i < n; ++i) s[i] = skinny_fma<T>(xv, row[i], k == k0 ? T(0) : s[i]);
        }
      }
      if (k0 > 0) {
        for (int64_t m = 0; m < g.M; ++m) {
          T* out = static_cast<T*>(g.acc) + m * g.ld + n0;
          const T* s = sums + m * ld;
#pragma GCC ivdep
          for (int64_t i = 0; i < n; ++i) out[i] += s[i];
        }
      }
    }
  }
}

template <class T>
void skinny(const SkinnyArgs& g) {
  if (g.w_ks == 1) return skinny_transposed<T>(g);
  if (g.w_ns == 1 && g.K > 0) return skinny_streamed<T>(g);
  skinny_scalar<T>(g, 0, g.N);
}

}  // namespace
}  // namespace tercel
