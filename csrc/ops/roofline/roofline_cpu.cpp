// The loops behind bench/roofline.py: independent fused multiply-add chains, and streams over
// memory.
#include "ops/roofline/roofline.h"

#include "core/parallel.h"
#include "simd/prefetch.h"
#include "simd/vec.h"

namespace tercel::TERCEL_LEVEL {
namespace {

using simd::Vec;

// Enough chains to cover the latency (4-5 cycles on two ports), few enough to stay in registers; a
// Vec takes two registers of AVX2.
#if defined(TERCEL_LEVEL_AVX512)
constexpr int kChains = 16;
#else
constexpr int kChains = 6;
#endif

template <class T>
TERCEL_INLINE float fma_loop(int64_t repeats) {
  using V = Vec<T>;
  V acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = V(static_cast<T>(i));
  const V a(static_cast<T>(0.999)), b(static_cast<T>(1e-3));
  for (int64_t r = 0; r < repeats; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], a, b);
  }
  V total = acc[0];
  for (int i = 1; i < kChains; ++i) total = total + acc[i];
  T lanes[V::size];
  total.store(lanes);
  return static_cast<float>(lanes[0]);
}

float read_loop(const float* p, int64_t n) {
  Vec<float> acc[4] = {Vec<float>(0.f), Vec<float>(0.f), Vec<float>(0.f), Vec<float>(0.f)};
  const simd::ReadAhead ahead;
  for (int64_t i = 0; i < n; i += 64) {
    ahead.fetch(p + i, 256);
    for (int k = 0; k < 4; ++k) acc[k] = acc[k] + Vec<float>::load(p + i + 16 * k);
  }
  float lanes[16];
  (acc[0] + acc[1] + acc[2] + acc[3]).store(lanes);
  return lanes[0];
}

void write_loop(float* p, int64_t n, bool stream) {
  const Vec<float> one(1.f);
  if (stream) {
    for (int64_t i = 0; i < n; i += 16) one.stream(p + i);
    simd::stream_fence();
  } else {
    for (int64_t i = 0; i < n; i += 16) one.store(p + i);
  }
}

void copy_loop(const float* src, float* dst, int64_t n, bool stream) {
  if (stream) {
    for (int64_t i = 0; i < n; i += 16) Vec<float>::load(src + i).stream(dst + i);
    simd::stream_fence();
  } else {
    for (int64_t i = 0; i < n; i += 16) Vec<float>::load(src + i).store(dst + i);
  }
}

void run(const RooflineArgs& a) {
  parallel_for(a.parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      float* p = a.buffer + part * a.count;
      float kept = 0;
      if (a.peak == Peak::fma_f32) {
        kept = fma_loop<float>(a.repeats);
      } else if (a.peak == Peak::fma_f64) {
        kept = fma_loop<double>(a.repeats);
      } else {
        for (int64_t r = 0; r < a.repeats; ++r) {
          if (a.peak == Peak::read) kept += read_loop(p, a.count);
          if (a.peak == Peak::write) write_loop(p, a.count, a.stream);
          if (a.peak == Peak::copy) copy_loop(p, p + a.count / 2, a.count / 2, a.stream);
        }
      }
      a.sink[part] = kept;
    }
  });
}

}  // namespace

extern const RooflineKernels roofline_kernels = {run, kChains};

}  // namespace tercel::TERCEL_LEVEL
