// Portable micro-kernels on plain arrays; the compiler vectorises the lane loops where it can.
#include "ops/matmul/gemm_tile.h"
#include "ops/matmul/gemm_ukr.h"
#include "ops/matmul/lane_math.h"

namespace tercel {
namespace {

template <class S>
struct Lanes4 {
  using T = S;
  struct Reg {
    S v[4];
  };
  using Mask = int64_t;  // lanes in use
  static constexpr int kLanes = 4;
  static TERCEL_INLINE Mask mask(int64_t n) { return n; }
  static TERCEL_INLINE Reg set1(S x) { return {{x, x, x, x}}; }
  static TERCEL_INLINE Reg zero() { return set1(S(0)); }
  static TERCEL_INLINE Reg load(const S* p) { return {{p[0], p[1], p[2], p[3]}}; }
  static TERCEL_INLINE Reg load(const S* p, Mask n) {
    Reg r = zero();
    for (int64_t i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  static TERCEL_INLINE void store(S* p, const Reg& r) { store(p, r, 4); }
  static TERCEL_INLINE void store(S* p, const Reg& r, Mask n) {
    for (int64_t i = 0; i < n; ++i) p[i] = r.v[i];
  }
  static TERCEL_INLINE Reg fma(const Reg& a, const Reg& b, const Reg& c) {
    Reg r;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) r.v[i] = scalar_fma<S>(a.v[i], b.v[i], c.v[i]);
    return r;
  }
  static TERCEL_INLINE Reg add(const Reg& a, const Reg& b) {
    Reg r;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) r.v[i] = a.v[i] + b.v[i];
    return r;
  }
};

}  // namespace

TERCEL_DEFINE_GEMM_UKR(f32_4x8_generic, Lanes4<float>, 4, 8, 4)
TERCEL_DEFINE_GEMM_UKR(f64_4x4_generic, Lanes4<double>, 4, 4, 4)

}  // namespace tercel
