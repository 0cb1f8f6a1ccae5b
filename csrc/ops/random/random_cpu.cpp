// Random fills. 16 Philox blocks advance together, one per vector lane; see random_kernels.h for
// which element takes which word. Work is cut into fixed groups, so the numbers do not depend on
// the threads.
#include "core/parallel.h"
#include "ops/random/random_formulas.h"
#include "simd/philox.h"

namespace tercel {
namespace {

using namespace simd;

constexpr int64_t kGroupsPerChunk = 128;
constexpr int64_t kStreamFrom = 4 << 20;  // elements

template <class T, Distribution kKind>
TERCEL_INLINE void store_group(const RandomArgs& r, int64_t g, bool stream, const VecF (&v)[4]) {
  T* p = static_cast<T*>(r.out) + g * 64;
  const int64_t left = r.n - g * 64;
  if constexpr (std::is_same_v<T, float>) {
    if (stream && left >= 64) {
      for (int k = 0; k < 4; ++k) v[k].stream(p + k * 16);
      return;
    }
  }
  for (int k = 0; k < 4; ++k) {
    const int64_t n = left - k * 16;
    if (n >= 16) {
      v[k].store(p + k * 16);
    } else if (n > 0) {
      v[k].store_n(p + k * 16, n);
    }
  }
  if constexpr (kKind == Distribution::uniform && !std::is_same_v<T, float>) {
    const float a = static_cast<float>(r.a), b = static_cast<float>(r.b);
    for (int64_t i = 0; i < (left < 64 ? left : 64); ++i) p[i] = keep_below(p[i], a, b);
  }
}

// Two groups at a time. A result larger than the caches is written around them.
template <class T, Distribution kKind>
void fill_32(const RandomArgs& r) {
  const bool stream = r.n >= kStreamFrom && reinterpret_cast<uintptr_t>(r.out) % 64 == 0;
  const int64_t groups = (r.n + 63) / 64;
  parallel_for(groups, kGroupsPerChunk, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; g += 2) {
      VecI w[2][4];
      philox16_groups<2>(r.key, static_cast<uint64_t>(g) * 16, w);
      VecF v[2][4];
      draw_32<T, kKind>(r, w[0], v[0]);
      draw_32<T, kKind>(r, w[1], v[1]);
      store_group<T, kKind>(r, g, stream, v[0]);
      if (g + 1 < end) store_group<T, kKind>(r, g + 1, stream, v[1]);
    }
    if (stream) stream_fence();
  });
}

void fill_bernoulli(const RandomArgs& r) {
  uint8_t* out = static_cast<uint8_t*>(r.out);
  parallel_for((r.n + 63) / 64, kGroupsPerChunk, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const PhiloxVec w = philox16(r.key, static_cast<uint64_t>(g) * 16);
      for (int k = 0; k < 4; ++k) {
        const int64_t at = g * 64 + k * 16, n = r.n - at < 16 ? r.n - at : 16;
        if (n <= 0) break;
        const VecF u = to_float(shift_right<8>(w.v[k])) * VecF(0x1p-24f);
        const VecF p = r.p ? VecF::load_n(r.p + at, n) : VecF(static_cast<float>(r.a));
        const uint32_t hit = bits(u < p);
        for (int64_t l = 0; l < n; ++l) out[at + l] = hit >> l & 1u;
      }
    }
  });
}

// f(X of h = 0, X of h = 1, &value of h = 0, &value of h = 1)
template <class T, class F>
TERCEL_INLINE void fill_64(const RandomArgs& r, F f) {
  T* out = static_cast<T*>(r.out);
  parallel_for((r.n + 31) / 32, kGroupsPerChunk, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const PhiloxVec w = philox16(r.key, static_cast<uint64_t>(g) * 16);
      uint32_t word[4][16];
      for (int k = 0; k < 4; ++k) w.v[k].store(reinterpret_cast<int32_t*>(word[k]));
      T value[32];
      for (int l = 0; l < 16; ++l) {
        const uint64_t x0 = static_cast<uint64_t>(word[0][l]) << 32 | word[1][l];
        const uint64_t x1 = static_cast<uint64_t>(word[2][l]) << 32 | word[3][l];
        f(x0, x1, &value[l], &value[16 + l]);
      }
      const int64_t left = r.n - g * 32;
      __builtin_memcpy(out + g * 32, value, sizeof(T) * static_cast<size_t>(left < 32 ? left : 32));
    }
  });
}

template <Distribution kKind, class T>
void fill_double(const RandomArgs& r) {
  fill_64<T>(r, [&](uint64_t x0, uint64_t x1, T* v0, T* v1) {
    double w0, w1;
    draw_64<kKind>(r, x0, x1, &w0, &w1);
    *v0 = narrowed<T>(w0);
    *v1 = narrowed<T>(w1);
  });
}

void fill_integer(const RandomArgs& r) {
  visit<TERCEL_FLOATS, TERCEL_INTS, bool>(r.dtype, "randint", [&]<class T>() {
    const auto draw = [&](uint64_t x) {
      const int64_t v = draw_integer(r, x);
      if constexpr (std::is_integral_v<T>)
        return static_cast<T>(v);
      else
        return narrowed<T>(static_cast<double>(v));
    };
    fill_64<T>(r, [&](uint64_t x0, uint64_t x1, T* v0, T* v1) {
      *v0 = draw(x0);
      *v1 = draw(x1);
    });
  });
}

template <Distribution kKind>
void fill_transform(const RandomArgs& r) {
  visit<TERCEL_FLOATS>(r.dtype, "random", [&]<class T>() { fill_double<kKind, T>(r); });
}

template <Distribution kKind>
void fill_plain(const RandomArgs& r) {
  if (r.dtype == DType::f64) return fill_double<kKind, double>(r);
  visit<float, f16, bf16>(r.dtype, "random", [&]<class T>() { fill_32<T, kKind>(r); });
}

void fill(const RandomArgs& r) {
  switch (r.kind) {
    case Distribution::uniform:
      return fill_plain<Distribution::uniform>(r);
    case Distribution::normal:
      return fill_plain<Distribution::normal>(r);
    case Distribution::exponential:
      return fill_plain<Distribution::exponential>(r);
    case Distribution::bernoulli:
      return fill_bernoulli(r);
    case Distribution::integer:
      return fill_integer(r);
    case Distribution::cauchy:
      return fill_transform<Distribution::cauchy>(r);
    case Distribution::geometric:
      return fill_transform<Distribution::geometric>(r);
    case Distribution::log_normal:
      return fill_transform<Distribution::log_normal>(r);
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const RandomKernels random_kernels = {fill};
}
}  // namespace tercel
