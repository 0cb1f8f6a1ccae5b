// Dot product of two vectors, float dtypes.
#pragma once

#include "ops/matmul/gemm_kernels.h"
#include "ops/matmul/gemm_skinny.h"
#include "simd/vec.h"

namespace tercel {
namespace {

template <class V>
TERCEL_INLINE V dot_fma(const V& a, const V& b, const V& c) {
#if defined(__FMA__) || defined(__aarch64__)
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

// Sum of one block: element i goes to lane i % 64, lanes are added in a fixed tree.
template <class S, class T>
TERCEL_INLINE T dot_block(const S* a, int64_t a_stride, const S* b, int64_t b_stride, int64_t n) {
  using V = simd::Vec<T>;
  constexpr int kLanes = 64, kVectors = kLanes / V::size;
  V acc[kVectors];
  for (int i = 0; i < kVectors; ++i) acc[i] = V(T(0));
  int64_t k = 0;
  if (a_stride == 1 && b_stride == 1) {
    for (; k + kLanes <= n; k += kLanes) {
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        acc[i] = dot_fma(V::load(a + k + i * V::size), V::load(b + k + i * V::size), acc[i]);
      }
    }
  }
  T lane[kLanes];
  for (int i = 0; i < kVectors; ++i) acc[i].store(lane + i * V::size);
  for (; k < n; ++k) {
    T& sum = lane[k % kLanes];
    sum = scalar_fma<T>(static_cast<T>(a[k * a_stride]), static_cast<T>(b[k * b_stride]), sum);
  }
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

template <class S, class T>
void dot_as(const DotArgs& g) {
  const S* a = static_cast<const S*>(g.a);
  const S* b = static_cast<const S*>(g.b);
  // Pairwise over blocks as a binary counter: level i holds the sum of 2^i blocks.
  T level[64];
  int64_t blocks = 0;
  for (int64_t k = 0; k < g.K; k += kDotBlock) {
    const int64_t n = g.K - k < kDotBlock ? g.K - k : kDotBlock;
    T sum = dot_block<S, T>(a + k * g.a_stride, g.a_stride, b + k * g.b_stride, g.b_stride, n);
    int i = 0;
    for (int64_t bit = blocks; bit & 1; bit >>= 1) sum = level[i++] + sum;
    level[i] = sum;
    ++blocks;
  }
  T total = T(0);
  bool first = true;
  for (int i = 0; i < 63; ++i) {
    if (!(blocks >> i & 1)) continue;
    total = first ? level[i] : level[i] + total;
    first = false;
  }
  *static_cast<S*>(g.out) = static_cast<S>(total);
}

void dot(const DotArgs& g) {
  switch (g.dtype) {
    case DType::f64:
      return dot_as<double, double>(g);
    case DType::f32:
      return dot_as<float, float>(g);
    case DType::f16:
      return dot_as<f16, float>(g);
    case DType::bf16:
      return dot_as<bf16, float>(g);
    case DType::f8e4m3:
      return dot_as<f8e4m3, float>(g);
    case DType::f8e5m2:
      return dot_as<f8e5m2, float>(g);
    default:
      return;
  }
}

}  // namespace
}  // namespace tercel
