// Weight-only products: codes are decoded in registers, sixteen columns at a time, and multiplied
// at once (few rows), or decoded into the panels of the float product (many rows).
//
// Bound: few rows run at memory speed while decoding takes less than a line from memory. Decoding a
// 4-bit code: shift, table look-up in one permute, scale; an int8 code: two shifts, conversion,
// scale.
#include "ops/quant/qlinear_kernels.h"
#include "ops/quant/quant_codes.h"

namespace tercel {
namespace {

constexpr int64_t kBlock = 512;  // kGemmKBlock

// Rows of x at a time, and the panels that go with MR of them: enough chains of multiply-adds to
// cover their latency (one row of int4, 4096 x 4096: two panels 0.58 ms, four 0.33), few enough to
// stay in registers.
#if defined(TERCEL_LEVEL_AVX512)
constexpr int kMaxRows = 16;
template <int MR>
constexpr int kPanels = MR <= 2   ? 4
                        : MR == 4 ? 2
                                  : 1;
#else
constexpr int kMaxRows = 4;
template <int MR>
constexpr int kPanels = MR == 1 ? 2 : 1;
#endif

// As the generic micro-kernel of the float product: two roundings where the level has no fma.
TERCEL_INLINE VecF multiply_add(VecF a, VecF b, VecF c) {
#if defined(TERCEL_LEVEL_AVX512) || defined(TERCEL_LEVEL_AVX2)
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

// Decoders of code J of each 32-bit word.
template <QFormat F>
struct Byte {
  static constexpr int kPer = 4;
  static constexpr float kFactor = 1.0f;  // the value is that of `at` times this
  TERCEL_INLINE explicit Byte(QFormat) {}
  template <int J>
  TERCEL_INLINE VecF at(VecI word) const {
    return decode<F, J>(word);
  }
};
// Of float8 without NaN and infinities: the move of the exponent is left to the scale, exactly.
template <QFormat F>
struct FiniteByte {
  static constexpr int kPer = 4;
  static constexpr float kFactor = kMoved<F>;
  TERCEL_INLINE explicit FiniteByte(QFormat) {}
  template <int J>
  TERCEL_INLINE VecF at(VecI word) const {
    if constexpr (F == QFormat::e4m3) return moved_f8e4m3<J>(word);
    return moved_f8e5m2<J>(word);
  }
};
struct Nibble {
  static constexpr int kPer = 8;
  static constexpr float kFactor = 1.0f;
  const float* table;
  TERCEL_INLINE explicit Nibble(QFormat f) : table(table4(f)) {}
  template <int J>
  TERCEL_INLINE VecF at(VecI word) const {
    return lookup16(table, simd::shift_right<4 * J>(word));
  }
};

template <int... J>
struct Steps {};
template <int N>
struct StepsOf;
template <>
struct StepsOf<4> {
  using type = Steps<0, 1, 2, 3>;
};
template <>
struct StepsOf<8> {
  using type = Steps<0, 1, 2, 3, 4, 5, 6, 7>;
};

// f.operator()<J>() for each J.
template <int... J, class F>
TERCEL_INLINE void each(Steps<J...>, F&& f) {
  (f.template operator()<J>(), ...);
}

// The values of a line of codes, in order of k.
template <class D, bool kZero>
TERCEL_INLINE void decode_line(const D& decoder, const uint8_t* line, const VecF& scale,
                               const VecF& zero, VecF* values) {
  const VecI word = VecI::load(reinterpret_cast<const int32_t*>(line));
  each(typename StepsOf<D::kPer>::type(), [&]<int J>() TERCEL_LAMBDA_INLINE {
    VecF v = decoder.template at<J>(word);
    if constexpr (kZero) v = v - zero;
    values[J] = v * scale;
  });
}

// The first `limit` k of a line, once per panel: the sums of `rows` rows pass through memory.
template <class D, bool kZero>
TERCEL_OUTLINE void gemv_tail(const D& decoder, const uint8_t* line, const VecF& scale,
                              const VecF& zero, const float* x, int64_t rs, int64_t ks, int rows,
                              int64_t limit, VecF* acc) {
  VecF values[D::kPer];
  decode_line<D, kZero>(decoder, line, scale, zero, values);
  for (int m = 0; m < rows; ++m) {
    VecF sum = acc[m];
    for (int64_t j = 0; j < limit; ++j)
      sum = multiply_add(VecF(x[m * rs + j * ks]), values[j], sum);
    acc[m] = sum;
  }
}

template <class D, bool kZero, int MR, int P>
TERCEL_INLINE void gemv_panels(const QGemvArgs& a, int64_t p, int64_t m0) {
  const QPanels& w = a.w;
  const D decoder(w.format);
  using Index = typename StepsOf<D::kPer>::type;
  const float* x = a.x + m0 * a.x_row_stride;
  const int64_t rs = a.x_row_stride, ks = a.x_k_stride;
  const uint8_t* codes = w.codes + p * w.lines * 64;
  VecF total[MR][P];
  for (int64_t kb = 0; kb < w.K; kb += kBlock) {
    const int64_t k_end = kb + kBlock < w.K ? kb + kBlock : w.K;
    VecF acc[MR][P];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 4
      for (int q = 0; q < P; ++q) acc[m][q] = VecF(0.0f);
    }
    for (int64_t k0 = kb; k0 < k_end;) {
      const int64_t group = k0 / w.run;
      const int64_t k1 = (group + 1) * w.run < k_end ? (group + 1) * w.run : k_end;
      VecF scale[P], zero[P];
#pragma GCC unroll 4
      for (int q = 0; q < P; ++q) {
        const int64_t at = ((p + q) * w.groups + group) * 16;
        scale[q] = VecF::load(w.scales + at) * VecF(D::kFactor);
        if constexpr (kZero) zero[q] = VecF::load(w.zeros + at);
      }
      int64_t k = k0;
      for (; k + D::kPer <= k1; k += D::kPer) {
        VecI word[P];
#pragma GCC unroll 4
        for (int q = 0; q < P; ++q) {
          word[q] = VecI::load(
              reinterpret_cast<const int32_t*>(codes + (q * w.lines + k / D::kPer) * 64));
        }
        each(Index(), [&]<int J>() TERCEL_LAMBDA_INLINE {
#pragma GCC unroll 4
          for (int q = 0; q < P; ++q) {
            VecF v = decoder.template at<J>(word[q]);
            if constexpr (kZero) v = v - zero[q];
            v = v * scale[q];
#pragma GCC unroll 16
            for (int m = 0; m < MR; ++m) {
              acc[m][q] = multiply_add(VecF(x[m * rs + (k + J) * ks]), v, acc[m][q]);
            }
          }
        });
      }
      if (k < k1) {
        int rows = MR;
        asm("" : "+r"(rows));  // one copy for every MR
#pragma GCC unroll 4
        for (int q = 0; q < P; ++q) {
          VecF part[MR];
          const VecF part_scale = scale[q], part_zero = kZero ? zero[q] : VecF(0.0f);
#pragma GCC unroll 16
          for (int m = 0; m < MR; ++m) part[m] = acc[m][q];
          gemv_tail<D, kZero>(D(w.format), codes + (q * w.lines + k / D::kPer) * 64, part_scale,
                              part_zero, x + k * ks, rs, ks, rows, k1 - k, part);
#pragma GCC unroll 16
          for (int m = 0; m < MR; ++m) acc[m][q] = part[m];
        }
      }
      k0 = k1;
    }
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 4
      for (int q = 0; q < P; ++q) total[m][q] = kb == 0 ? acc[m][q] : total[m][q] + acc[m][q];
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 4
    for (int q = 0; q < P; ++q) {
      const int64_t n0 = (p + q) * 16, n = w.N - n0 < 16 ? w.N - n0 : 16;
      float* out = a.out + (m0 + m) * a.ld + n0;
      VecF v = total[m][q];
      if (n == 16) {
        if (a.bias) v = v + VecF::load(a.bias + n0);
        v.store(out);
      } else {
        if (a.bias) v = v + VecF::load_n(a.bias + n0, n);
        v.store_n(out, n);
      }
    }
  }
}

template <class D, bool kZero, int MR>
void gemv_rows(const QGemvArgs& a, int64_t p, int64_t p1, int64_t m) {
  for (; p + kPanels<MR> <= p1; p += kPanels<MR>) gemv_panels<D, kZero, MR, kPanels<MR>>(a, p, m);
  if constexpr (kPanels<MR> > 1) {
    for (; p < p1; ++p) gemv_panels<D, kZero, MR, 1>(a, p, m);
  }
}

template <class D, bool kZero>
void gemv_as(const QGemvArgs& a) {
  const int64_t together = a.M < 4 ? kPanels<1> : kPanels<4>;
  for (int64_t p = a.p0; p < a.p1; p += together) {
    const int64_t p1 = p + together < a.p1 ? p + together : a.p1;
    int64_t m = 0;
    if constexpr (kMaxRows == 16) {
      for (; m + 16 <= a.M; m += 16) gemv_rows<D, kZero, 16>(a, p, p1, m);
      for (; m + 8 <= a.M; m += 8) gemv_rows<D, kZero, 8>(a, p, p1, m);
    }
    for (; m + 4 <= a.M; m += 4) gemv_rows<D, kZero, 4>(a, p, p1, m);
    for (; m + 2 <= a.M; m += 2) gemv_rows<D, kZero, 2>(a, p, p1, m);
    if (m < a.M) gemv_rows<D, kZero, 1>(a, p, p1, m);
  }
}

// Sixteen columns of k, one by one to the panels they belong to.
TERCEL_OUTLINE void put_lanes(const QDecodeArgs& a, int64_t padded, int64_t first, int64_t k,
                              const VecF& v) {
  const int64_t width = a.width;
  alignas(64) float lanes[16];
  v.store(lanes);
  for (int l = 0; l < 16; ++l) {
    const int64_t c = first + l;
    if (c < 0 || c >= padded) continue;
    a.dst[(c / width * a.kc + (k - a.k0)) * width + c % width] = c < a.rows ? lanes[l] : 0.0f;
  }
}

template <class D, bool kZero>
void decode_as(const QDecodeArgs& a) {
  const QPanels& w = a.w;
  const D decoder(w.format);
  const int64_t padded = (a.rows + a.width - 1) / a.width * a.width;
  const bool whole = a.row0 % 16 == 0 && a.width % 16 == 0;
  for (int64_t c0 = a.row0 / 16 * 16; c0 < a.row0 + padded; c0 += 16) {
    const int64_t p = c0 / 16;
    const uint8_t* codes = w.codes + p * w.lines * 64;
    // Lanes go to column c - row0 of the panels.
    const int64_t first = c0 - a.row0, width = a.width, start = a.k0, end = a.k0 + a.kc;
    float* target = whole ? a.dst + first / width * a.kc * width + first % width : nullptr;
    const auto put = [&](int64_t k, const VecF& v) TERCEL_LAMBDA_INLINE {
      if (whole) {
        v.store(target + (k - start) * width);
      } else {
        put_lanes(a, padded, first, k, v);
      }
    };
    if (c0 >= w.N) {
      for (int64_t k = start; k < end; ++k) put(k, VecF(0.0f));
      continue;
    }
    for (int64_t k0 = start; k0 < end;) {
      const int64_t group = k0 / w.run;
      const int64_t k1 = (group + 1) * w.run < end ? (group + 1) * w.run : end;
      const int64_t at = (p * w.groups + group) * 16;
      const VecF scale = VecF::load(w.scales + at) * VecF(D::kFactor);
      const VecF zero = kZero ? VecF::load(w.zeros + at) : VecF(0.0f);
      for (int64_t k = k0; k < k1; k += D::kPer) {
        VecF values[D::kPer];
        decode_line<D, kZero>(decoder, codes + k / D::kPer * 64, scale, zero, values);
        if (whole && k + D::kPer <= k1) {
#pragma GCC unroll 16
          for (int j = 0; j < D::kPer; ++j) put(k + j, values[j]);
        } else {
          for (int64_t j = 0; j < D::kPer && k + j < k1; ++j) put(k + j, values[j]);
        }
      }
      k0 = k1;
    }
  }
}

#define TERCEL_QLINEAR_DISPATCH(name, Args)                                     \
  void name(const Args& a) {                                                    \
    const bool zero = a.w.zeros != nullptr;                                     \
    switch (a.w.format) {                                                       \
      case QFormat::i8:                                                         \
        return zero ? name##_as<Byte<QFormat::i8>, true>(a)                     \
                    : name##_as<Byte<QFormat::i8>, false>(a);                   \
      case QFormat::u8:                                                         \
        return zero ? name##_as<Byte<QFormat::u8>, true>(a)                     \
                    : name##_as<Byte<QFormat::u8>, false>(a);                   \
      case QFormat::e4m3:                                                       \
        return a.w.finite ? name##_as<FiniteByte<QFormat::e4m3>, false>(a)      \
                          : name##_as<Byte<QFormat::e4m3>, false>(a);           \
      case QFormat::e5m2:                                                       \
        return a.w.finite ? name##_as<FiniteByte<QFormat::e5m2>, false>(a)      \
                          : name##_as<Byte<QFormat::e5m2>, false>(a);           \
      default:                                                                  \
        return zero ? name##_as<Nibble, true>(a) : name##_as<Nibble, false>(a); \
    }                                                                           \
  }
TERCEL_QLINEAR_DISPATCH(gemv, QGemvArgs)
TERCEL_QLINEAR_DISPATCH(decode, QDecodeArgs)

}  // namespace

namespace TERCEL_LEVEL {
extern const QLinearKernels qlinear_kernels = {gemv, decode};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
