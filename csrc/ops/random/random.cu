// Random fills on the GPU: the numbers of the CPU, bit for bit (this file is compiled without
// contraction of products and sums). Thread 16 g + l computes the Philox block of lane l of group
// g, hence one element of each of its rows.
#include "cuda/compat.cuh"

#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "cuda/geometry.cuh"
#include "ops/random/random_formulas.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

// One lane of what simd/vec.h has sixteen of.
struct LaneI {
  int32_t v;
  TERCEL_DEVICE explicit LaneI(int32_t x) : v(x) {}
  TERCEL_DEVICE explicit LaneI(uint32_t x) : v(static_cast<int32_t>(x)) {}
  TERCEL_DEVICE uint32_t u() const { return static_cast<uint32_t>(v); }
};
struct LaneF {
  float v;
  LaneF() = default;
  TERCEL_DEVICE explicit LaneF(float x) : v(x) {}
};
TERCEL_DEVICE LaneI operator+(LaneI a, LaneI b) { return LaneI(a.u() + b.u()); }
TERCEL_DEVICE LaneI operator-(LaneI a, LaneI b) { return LaneI(a.u() - b.u()); }
TERCEL_DEVICE LaneI operator&(LaneI a, LaneI b) { return LaneI(a.u() & b.u()); }
TERCEL_DEVICE LaneI operator^(LaneI a, LaneI b) { return LaneI(a.u() ^ b.u()); }
TERCEL_DEVICE bool operator==(LaneI a, LaneI b) { return a.v == b.v; }
template <int kBits>
TERCEL_DEVICE LaneI shift_left(LaneI a) {
  return LaneI(a.u() << kBits);
}
template <int kBits>
TERCEL_DEVICE LaneI shift_right(LaneI a) {
  return LaneI(a.u() >> kBits);
}
template <int kBits>
TERCEL_DEVICE LaneI shift_right_signed(LaneI a) {
  return LaneI(a.v >> kBits);
}
TERCEL_DEVICE LaneF operator+(LaneF a, LaneF b) { return LaneF(a.v + b.v); }
TERCEL_DEVICE LaneF operator-(LaneF a, LaneF b) { return LaneF(a.v - b.v); }
TERCEL_DEVICE LaneF operator*(LaneF a, LaneF b) { return LaneF(a.v * b.v); }
TERCEL_DEVICE bool operator<(LaneF a, LaneF b) { return a.v < b.v; }
TERCEL_DEVICE LaneF fma(LaneF a, LaneF b, LaneF c) { return LaneF(::fmaf(a.v, b.v, c.v)); }
TERCEL_DEVICE LaneF sqrt(LaneF a) { return LaneF(::sqrtf(a.v)); }
TERCEL_DEVICE LaneF abs(LaneF a) { return LaneF(::fabsf(a.v)); }
TERCEL_DEVICE LaneF select(bool c, LaneF a, LaneF b) { return c ? a : b; }
TERCEL_DEVICE LaneF to_float(LaneI a) { return LaneF(static_cast<float>(a.v)); }
TERCEL_DEVICE LaneI as_int(LaneF a) { return LaneI(float_to_bits(a.v)); }
TERCEL_DEVICE LaneF as_float(LaneI a) { return LaneF(bits_to_float(a.u())); }

// f(thread's block t, its words), for the blocks of `groups` groups.
template <class F>
TERCEL_DEVICE void each_block(PhiloxKey key, int64_t groups, F f) {
  key = resolved(key);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; t < groups * 16;
       t += step) {
    f(t, philox(key, static_cast<uint64_t>(t)));
  }
}

template <class T, Distribution kKind>
__global__ void __launch_bounds__(kThreads) fill_32_kernel(RandomArgs r) {
  T* out = static_cast<T*>(r.out);
  each_block(r.key, (r.n + 63) / 64, [&](int64_t t, const Philox4& words) {
    const LaneI w[4] = {LaneI(words.v[0]), LaneI(words.v[1]), LaneI(words.v[2]), LaneI(words.v[3])};
    LaneF v[4];
    draw_32<T, kKind>(r, w, v);
    const int64_t first = t / 16 * 64 + t % 16;
    TERCEL_UNROLL
    for (int k = 0; k < 4; ++k) {
      const int64_t i = first + 16 * k;
      if (i >= r.n) continue;
      T y = from_float<T>(v[k].v);
      if constexpr (kKind == Distribution::uniform && sizeof(T) == 2) {
        y = keep_below(y, static_cast<float>(r.a), static_cast<float>(r.b));
      }
      out[i] = y;
    }
  });
}

__global__ void __launch_bounds__(kThreads) fill_bernoulli_kernel(RandomArgs r) {
  uint8_t* out = static_cast<uint8_t*>(r.out);
  each_block(r.key, (r.n + 63) / 64, [&](int64_t t, const Philox4& words) {
    const int64_t first = t / 16 * 64 + t % 16;
    TERCEL_UNROLL
    for (int k = 0; k < 4; ++k) {
      const int64_t i = first + 16 * k;
      if (i < r.n) out[i] = uniform_float(words.v[k]) < (r.p ? r.p[i] : static_cast<float>(r.a));
    }
  });
}

// store(element, X) of h = 0, 1
template <class F>
TERCEL_DEVICE void each_pair(const RandomArgs& r, F f) {
  each_block(r.key, (r.n + 31) / 32, [&](int64_t t, const Philox4& words) {
    f(t / 16 * 32 + t % 16, static_cast<uint64_t>(words.v[0]) << 32 | words.v[1],
      static_cast<uint64_t>(words.v[2]) << 32 | words.v[3]);
  });
}

TERCEL_DEVICE void store_narrowed(const RandomArgs& r, int64_t i, double v) {
  if (i >= r.n) return;
  switch (r.dtype) {
    case DType::f64:
      static_cast<double*>(r.out)[i] = v;
      return;
    case DType::f32:
      static_cast<float*>(r.out)[i] = static_cast<float>(v);
      return;
    case DType::f16:
      static_cast<f16*>(r.out)[i] = from_float<f16>(static_cast<float>(v));
      return;
    default:
      static_cast<bf16*>(r.out)[i] = from_float<bf16>(static_cast<float>(v));
  }
}

template <Distribution kKind>
__global__ void __launch_bounds__(kThreads) fill_64_kernel(RandomArgs r) {
  each_pair(r, [&](int64_t i, uint64_t x0, uint64_t x1) {
    double v0, v1;
    draw_64<kKind>(r, x0, x1, &v0, &v1);
    store_narrowed(r, i, v0);
    store_narrowed(r, i + 16, v1);
  });
}

TERCEL_DEVICE void store_integer(const RandomArgs& r, int item_bytes, int64_t i, int64_t v) {
  if (i >= r.n) return;
  if (r.dtype <= DType::bf16) return store_narrowed(r, i, static_cast<double>(v));
  store_element(static_cast<char*>(r.out) + i * item_bytes, r.dtype, v);
}
__global__ void __launch_bounds__(kThreads) fill_integer_kernel(RandomArgs r, int item_bytes) {
  each_pair(r, [&](int64_t i, uint64_t x0, uint64_t x1) {
    store_integer(r, item_bytes, i, draw_integer(r, x0));
    store_integer(r, item_bytes, i + 16, draw_integer(r, x1));
  });
}

template <class... A>
void start(void (*kernel)(RandomArgs, A...), const RandomArgs& r, A... rest) {
  const int64_t group = draws_64_bits(r.kind, r.dtype) ? 32 : 64;
  launch(kernel, grid_for((r.n + group - 1) / group * 16, kThreads), kThreads, 0, r, rest...);
}

template <Distribution kKind>
void fill_plain(const RandomArgs& r) {
  switch (r.dtype) {
    case DType::f64:
      return start(fill_64_kernel<kKind>, r);
    case DType::f32:
      return start(fill_32_kernel<float, kKind>, r);
    case DType::f16:
      return start(fill_32_kernel<f16, kKind>, r);
    default:
      return start(fill_32_kernel<bf16, kKind>, r);
  }
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
      return start(fill_bernoulli_kernel, r);
    case Distribution::integer:
      return start(fill_integer_kernel, r, item_of(r.dtype));
    case Distribution::cauchy:
      return start(fill_64_kernel<Distribution::cauchy>, r);
    case Distribution::geometric:
      return start(fill_64_kernel<Distribution::geometric>, r);
    case Distribution::log_normal:
      return start(fill_64_kernel<Distribution::log_normal>, r);
  }
}

}  // namespace

TERCEL_DEVICE_TABLE(RandomKernels, random_kernels) = {.fill = fill};

}  // namespace tercel::cuda
