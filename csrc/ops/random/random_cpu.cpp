// Random fills. 16 Philox blocks advance together, one per vector lane; see random_kernels.h for
// which element takes which word. Work is cut into fixed groups, so the numbers do not depend on
// the threads.
#include "core/parallel.h"
#include "ops/random/random_kernels.h"
#include "ops/random/random_math.h"

namespace tercel {
namespace {

constexpr int64_t kGroupsPerChunk = 128;
constexpr int64_t kStreamFrom = 4 << 20;  // elements

// Number of random bits of a uniform value that T holds exactly.
template <class T>
constexpr int uniform_bits() {
  return std::is_same_v<T, f16> ? 11 : std::is_same_v<T, bf16> ? 8 : 24;
}

// Values that were rounded up to the open end b fall back to a.
template <class T>
TERCEL_INLINE void keep_below(T* p, int64_t n, float a, float b) {
  for (int64_t i = 0; i < n; ++i) {
    if (static_cast<float>(p[i]) >= b) p[i] = T(a);
  }
}

// Values of one group from its words.
template <class T, Distribution kKind>
TERCEL_INLINE void group_32(const RandomArgs& r, const VecI (&w)[4], VecF (&v)[4]) {
  const VecF a(static_cast<float>(r.a)), b(static_cast<float>(r.b));
  if constexpr (kKind == Distribution::uniform) {
    constexpr int kBits = uniform_bits<T>();
    const VecF scale(static_cast<float>(r.b - r.a) * (1.0f / static_cast<float>(1 << kBits)));
    for (int k = 0; k < 4; ++k) {
      v[k] = fma(to_float(shift_right<32 - kBits>(w[k])), scale, a);
      if constexpr (std::is_same_v<T, float>) v[k] = select(v[k] < b, v[k], a);
    }
  } else if constexpr (kKind == Distribution::normal) {
    for (int k = 0; k < 4; k += 2) {
      const VecF radius = sqrt(log_fast(open_uniform(w[k])) * VecF(-2.0f)) * b;
      VecF c, s;
      sincos_turn(w[k + 1], &c, &s);
      v[k] = fma(radius, c, a);
      v[k + 1] = fma(radius, s, a);
    }
  } else {
    const VecF scale(static_cast<float>(-1.0 / r.a));
    for (int k = 0; k < 4; ++k) v[k] = abs(log_fast(open_uniform(w[k])) * scale);
  }
}

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
    keep_below(p, left < 64 ? left : 64, static_cast<float>(r.a), static_cast<float>(r.b));
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
      philox_16<2>(r.key, static_cast<uint64_t>(g) * 16, w);
      VecF v[2][4];
      group_32<T, kKind>(r, w[0], v[0]);
      group_32<T, kKind>(r, w[1], v[1]);
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
      VecI words[1][4];
      philox_16<1>(r.key, static_cast<uint64_t>(g) * 16, words);
      const VecI(&w)[4] = words[0];
      for (int k = 0; k < 4; ++k) {
        const int64_t at = g * 64 + k * 16, n = r.n - at < 16 ? r.n - at : 16;
        if (n <= 0) break;
        const VecF u = to_float(shift_right<8>(w[k])) * VecF(0x1p-24f);
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
      VecI w[1][4];
      philox_16<1>(r.key, static_cast<uint64_t>(g) * 16, w);
      uint32_t word[4][16];
      for (int k = 0; k < 4; ++k) w[0][k].store(reinterpret_cast<int32_t*>(word[k]));
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

TERCEL_INLINE double unit(uint64_t x) {
  return static_cast<double>(static_cast<int64_t>(x >> 11)) * 0x1p-53;
}
// (0, 1): never an end.
TERCEL_INLINE double inside(uint64_t x) {
  return static_cast<double>(static_cast<int64_t>(x >> 12)) * 0x1p-52 + 0x1p-53;
}

template <class T>
TERCEL_INLINE T narrowed(double v) {
  if constexpr (sizeof(T) == 2) {
    return T(static_cast<float>(v));
  } else {
    return static_cast<T>(v);
  }
}

TERCEL_INLINE void normal_pair(uint64_t x0, uint64_t x1, double* z0, double* z1) {
  const double radius = __builtin_sqrt(-2.0 * ::log(1.0 - unit(x0)));
  double c, s;
  sincos_turn(unit(x1), &c, &s);
  *z0 = radius * c;
  *z1 = radius * s;
}

void fill_double(const RandomArgs& r) {
  const double a = r.a, b = r.b;
  if (r.kind == Distribution::uniform) {
    const auto scaled = [=](uint64_t x) {
      const double v = a + unit(x) * (b - a);
      return v < b ? v : a;
    };
    fill_64<double>(r, [&](uint64_t x0, uint64_t x1, double* v0, double* v1) {
      *v0 = scaled(x0);
      *v1 = scaled(x1);
    });
  } else if (r.kind == Distribution::normal) {
    fill_64<double>(r, [&](uint64_t x0, uint64_t x1, double* v0, double* v1) {
      double z0, z1;
      normal_pair(x0, x1, &z0, &z1);
      *v0 = a + b * z0;
      *v1 = a + b * z1;
    });
  } else {
    fill_64<double>(r, [&](uint64_t x0, uint64_t x1, double* v0, double* v1) {
      *v0 = __builtin_fabs(::log(1.0 - unit(x0)) / a);
      *v1 = __builtin_fabs(::log(1.0 - unit(x1)) / a);
    });
  }
}

void fill_integer(const RandomArgs& r) {
  visit<TERCEL_FLOATS, TERCEL_INTS, bool>(r.dtype, "randint", [&]<class T>() {
    const auto draw = [&](uint64_t x) {
      const uint64_t k =
          r.range ? static_cast<uint64_t>(static_cast<unsigned __int128>(x) * r.range >> 64) : x;
      const int64_t v = static_cast<int64_t>(static_cast<uint64_t>(r.low) + k);
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

void fill_transform(const RandomArgs& r) {
  const double a = r.a, b = r.b;
  visit<TERCEL_FLOATS>(r.dtype, "random", [&]<class T>() {
    if (r.kind == Distribution::cauchy) {
      fill_64<T>(r, [&](uint64_t x0, uint64_t x1, T* v0, T* v1) {
        *v0 = narrowed<T>(a + b * ::tan(M_PI * (inside(x0) - 0.5)));
        *v1 = narrowed<T>(a + b * ::tan(M_PI * (inside(x1) - 0.5)));
      });
    } else if (r.kind == Distribution::geometric) {
      const double scale = 1.0 / ::log1p(-a);  // p = 1: -0, every draw is 1
      const auto draw = [=](uint64_t x) {
        const double k = ::ceil(::log(inside(x)) * scale);
        return k < 1.0 ? 1.0 : k;
      };
      fill_64<T>(r, [&](uint64_t x0, uint64_t x1, T* v0, T* v1) {
        *v0 = narrowed<T>(draw(x0));
        *v1 = narrowed<T>(draw(x1));
      });
    } else {
      fill_64<T>(r, [&](uint64_t x0, uint64_t x1, T* v0, T* v1) {
        double z0, z1;
        normal_pair(x0, x1, &z0, &z1);
        *v0 = narrowed<T>(::exp(a + b * z0));
        *v1 = narrowed<T>(::exp(a + b * z1));
      });
    }
  });
}

void fill(const RandomArgs& r) {
  switch (r.kind) {
    case Distribution::bernoulli:
      return fill_bernoulli(r);
    case Distribution::integer:
      return fill_integer(r);
    case Distribution::cauchy:
    case Distribution::geometric:
    case Distribution::log_normal:
      return fill_transform(r);
    default:
      break;
  }
  if (r.dtype == DType::f64) return fill_double(r);
  visit<float, f16, bf16>(r.dtype, "random", [&]<class T>() {
    if (r.kind == Distribution::uniform)
      fill_32<T, Distribution::uniform>(r);
    else if (r.kind == Distribution::normal)
      fill_32<T, Distribution::normal>(r);
    else
      fill_32<T, Distribution::exponential>(r);
  });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const RandomKernels random_kernels = {fill};
}
}  // namespace tercel
