// Dropout kernels: random bits, comparison and scaling in one pass over the data.
#include "core/parallel.h"
#include "ops/dropout/dropout_kernels.h"
#include "simd/philox.h"
#include "simd/rows.h"

namespace tercel {
namespace {

using simd::VecI;

constexpr int32_t kLaneBits[16] = {1,       1 << 1,  1 << 2,  1 << 3, 1 << 4,  1 << 5,
                                   1 << 6,  1 << 7,  1 << 8,  1 << 9, 1 << 10, 1 << 11,
                                   1 << 12, 1 << 13, 1 << 14, 1 << 15};

struct Affine {
  double scale, shift, dropped;
};

// Sixteen elements at i, `n` of them real, with the keep bits `bits`.
template <bool kFull, class T>
TERCEL_INLINE void apply_bits(const T* x, T* y, int64_t n, uint32_t bits, const Affine& f) {
  if constexpr (sizeof(acc_t<T>) == 4) {
    const VecI lanes = VecI::load(kLaneBits);
    const auto keep = (VecI(static_cast<int32_t>(bits)) & lanes) == lanes;
    const VecF v = fma(load<kFull, VecF>(x, n), VecF(static_cast<float>(f.scale)),
                       VecF(static_cast<float>(f.shift)));
    store<kFull>(select(keep, v, VecF(static_cast<float>(f.dropped))), y, n);
  } else {
    for (int64_t l = 0; l < n; ++l) y[l] = bits >> l & 1u ? x[l] * f.scale + f.shift : f.dropped;
  }
}

template <class T, bool kData>
void run(const DropoutArgs& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  const Affine f{a.scale, a.shift, a.dropped};
  const VecI flip(INT32_MIN), threshold(static_cast<int32_t>(a.threshold ^ 0x80000000u));
  parallel_for(dropout_groups(a.n), 256, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const simd::PhiloxVec r = simd::philox16(a.key, static_cast<uint64_t>(g) * 16);
      const int64_t start = g * kDropoutGroup;
      for (int j = 0; j < 4; ++j) {
        const uint32_t keep = bits(!((r.v[j] ^ flip) < threshold));
        if (a.mask) a.mask[g * 4 + j] = static_cast<uint16_t>(keep);
        if constexpr (kData) {
          const int64_t i = start + j * 16, left = a.n - i;
          if (left >= 16) {
            apply_bits<true>(x + i, y + i, 16, keep, f);
          } else if (left > 0) {
            apply_bits<false>(x + i, y + i, left, keep, f);
          }
        }
      }
    }
  });
}

void dropout(const DropoutArgs& a) {
  if (!a.x) {
    run<float, false>(a);
    return;
  }
  visit<TERCEL_FLOATS>(a.dtype, "dropout", [&]<class T>() { run<T, true>(a); });
}

template <class T>
void run_apply(const MaskApplyArgs& a) {
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  const Affine f{a.scale, a.shift, a.dropped};
  if (a.inner == 1) {
    parallel_for((a.n + 15) / 16, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t w = begin; w < end; ++w) {
        const int64_t i = w * 16, left = a.n - i;
        if (left >= 16) {
          apply_bits<true>(x + i, y + i, 16, a.mask[w], f);
        } else {
          apply_bits<false>(x + i, y + i, left, a.mask[w], f);
        }
      }
    });
    return;
  }
  const int64_t grain = a.inner >= 16384 ? 1 : 16384 / a.inner;
  parallel_for(a.n / a.inner, grain, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const uint32_t keep = a.mask[plane / 16] >> (plane % 16) & 1u ? 0xffffu : 0u;
      const T* xp = x + plane * a.inner;
      T* yp = y + plane * a.inner;
      int64_t i = 0;
      for (; i + 16 <= a.inner; i += 16) apply_bits<true>(xp + i, yp + i, 16, keep, f);
      if (i < a.inner) apply_bits<false>(xp + i, yp + i, a.inner - i, keep, f);
    }
  });
}

void apply(const MaskApplyArgs& a) {
  visit<TERCEL_FLOATS>(a.dtype, "dropout", [&]<class T>() { run_apply<T>(a); });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const DropoutKernels dropout_kernels = {dropout, apply};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
