// Peaks of the machine, measured once, and the counters every benchmark sets.
#pragma once

#include <benchmark/benchmark.h>

#include "core/tensor.h"
#include "ops/roofline/roofline.h"

namespace tercel::bench {

inline double fma_peak(DType dtype) {  // GFLOP/s, all threads of the pool
  static const double f32 = roofline("fma_f32", 1 << 20, 0.2);
  static const double f64 = roofline("fma_f64", 1 << 20, 0.2);
  return dtype == DType::f64 ? f64 : f32;
}

inline double bandwidth_peak() {  // GB/s from memory
  static const double copy = roofline("copy", 1 << 28, 0.3);
  static const double read = roofline("read", 1 << 28, 0.3);
  return copy > read ? copy : read;
}

// Sets GFLOP/s or GB/s and the percentage of the measured peak, from the work of one iteration.
inline void count_flops(benchmark::State& state, double flops, DType dtype = DType::f32) {
  using benchmark::Counter;
  const double done = flops * static_cast<double>(state.iterations()) * 1e-9;
  state.counters["GFLOP/s"] = Counter(done, Counter::kIsRate);
  state.counters["%peak"] = Counter(100 * done / fma_peak(dtype), Counter::kIsRate);
}
inline void count_bytes(benchmark::State& state, double bytes) {
  using benchmark::Counter;
  const double done = bytes * static_cast<double>(state.iterations()) * 1e-9;
  state.counters["GB/s"] = Counter(done, Counter::kIsRate);
  state.counters["%peak"] = Counter(100 * done / bandwidth_peak(), Counter::kIsRate);
}

// Reproducible values in [-1, 1), without needing an op.
inline Tensor filled(const Shape& shape) {
  const Tensor t = empty(shape, DType::f32);
  uint32_t s = 1;
  for (int64_t i = 0; i < t.numel(); ++i) {
    s = s * 1664525u + 1013904223u;
    t.data_as<float>()[i] = static_cast<float>(static_cast<int32_t>(s)) * 0x1p-31f;
  }
  return t;
}

}  // namespace tercel::bench
