// Walking a contiguous row with all threads of a block, 16 bytes per access where alignment allows.
#pragma once

#include "cuda/compat.cuh"

#include "core/dtype.h"

namespace tercel::cuda {

// float for everything but double; storage types through to_float / to_storage.
template <class T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};
template <class T>
using Acc = typename Accumulator<T>::type;

template <class T>
TERCEL_DEVICE T to_storage(Acc<T> x) {
  if constexpr (sizeof(T) == 8) {
    return x;
  } else {
    return from_float<T>(x);
  }
}

TERCEL_DEVICE float exp_of(float x) { return ::expf(x); }
TERCEL_DEVICE double exp_of(double x) { return ::exp(x); }
TERCEL_DEVICE float log_of(float x) { return ::logf(x); }
TERCEL_DEVICE double log_of(double x) { return ::log(x); }
TERCEL_DEVICE float sqrt_of(float x) { return ::sqrtf(x); }
TERCEL_DEVICE double sqrt_of(double x) { return ::sqrt(x); }

template <class T>
TERCEL_DEVICE bool takes_packs(const T* row, int64_t n) {
  constexpr int kPack = 16 / sizeof(T);
  return (reinterpret_cast<uintptr_t>(row) & 15) == 0 && n % kPack == 0;
}

// f(i, row[i]) for the calling thread's share of the row.
template <class T, class F>
TERCEL_DEVICE void read_row(const T* row, int64_t n, F f) {
  constexpr int kPack = 16 / sizeof(T);
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  if (takes_packs(row, n)) {
    for (int64_t i = thread; i < n / kPack; i += threads) {
      const Pack<T, kPack> x = load_pack<kPack>(row + i * kPack);
      TERCEL_UNROLL
      for (int j = 0; j < kPack; ++j) f(i * kPack + j, to_float(x.v[j]));
    }
  } else {
    for (int64_t i = thread; i < n; i += threads) f(i, to_float(row[i]));
  }
}

// row[i] = f(i), by the thread that read_row gives i to when `packs` is the same.
template <class T, class F>
TERCEL_DEVICE void write_row(T* row, int64_t n, bool packs, F f) {
  constexpr int kPack = 16 / sizeof(T);
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  if (packs) {
    for (int64_t i = thread; i < n / kPack; i += threads) {
      Pack<T, kPack> y;
      TERCEL_UNROLL
      for (int j = 0; j < kPack; ++j) y.v[j] = to_storage<T>(f(i * kPack + j));
      store_pack<kPack>(row + i * kPack, y);
    }
  } else {
    for (int64_t i = thread; i < n; i += threads) row[i] = to_storage<T>(f(i));
  }
}

// Threads of a block that owns a row of n elements.
inline int row_threads(int64_t n) {
  return n <= 256 ? 32 : n <= 2048 ? 128 : n <= 8192 ? 256 : 512;
}

// Shared memory for a row of n accumulators, or 0 when it does not fit and the row is read again
// instead.
template <class A>
size_t row_cache_bytes(int64_t n) {
  const int64_t bytes = n * static_cast<int64_t>(sizeof(A));
  return bytes <= 64 * 1024 ? static_cast<size_t>(bytes) : 0;
}

// Calls f.template operator()<T>() with the storage type.
template <class F>
void with_float_type(DType t, F f) {
  switch (t) {
    case DType::f64:
      return f(double{});
    case DType::f32:
      return f(float{});
    case DType::f16:
      return f(f16{});
    default:
      return f(bf16{});
  }
}

}  // namespace tercel::cuda
