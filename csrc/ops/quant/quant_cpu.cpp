// Quantise, dequantise, range and scale search, row quantisation for dynamic int8.
//
// Work is split into pieces of kPiece columns of a row; inside, runs of columns that share a scale.
// Codes are computed from and to float32: 16-bit rows pass through a buffer, kChunk at a time.
#include "core/parallel.h"
#include "ops/elementwise/move_kernels.h"
#include "ops/quant/quant_codes.h"
#include "ops/quant/quant_kernels.h"

namespace tercel {
namespace {

constexpr int64_t kPiece = 4096;
constexpr int64_t kChunk = 256;  // codes kept on the stack between encoding and packing

#define TERCEL_QFORMATS(call)     \
  switch (format) {               \
    case QFormat::i8:             \
      return call(QFormat::i8);   \
    case QFormat::u8:             \
      return call(QFormat::u8);   \
    case QFormat::i4:             \
      return call(QFormat::i4);   \
    case QFormat::u4:             \
      return call(QFormat::u4);   \
    case QFormat::nf4:            \
      return call(QFormat::nf4);  \
    case QFormat::e4m3:           \
      return call(QFormat::e4m3); \
    case QFormat::e5m2:           \
      return call(QFormat::e5m2); \
    case QFormat::e2m1:           \
      return call(QFormat::e2m1); \
  }

// Elements of a dtype to float32 and back; null if they are float32.
struct FloatRows {
  ConvertFn load, store;
};
TERCEL_INLINE FloatRows float_rows(DType dtype) {
  if (dtype == DType::f32) return {};
  const auto& convert = TERCEL_LEVEL::move_kernels.convert;
  const int narrow = static_cast<int>(dtype), wide = static_cast<int>(DType::f32);
  return {convert[narrow][wide], convert[wide][narrow]};
}
TERCEL_INLINE int64_t float_size(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

// The scales of sixteen columns from c: one for all, or (run == 1) one each.
template <bool kEach, bool kFull>
TERCEL_INLINE VecF pick(const float* p, int64_t n) {
  if constexpr (kEach) return load<kFull, VecF>(p, n);
  return VecF(*p);
}

// Float formats: one of the two neighbours of t, the farther from zero with the probability of t's
// place between them; `bits` are uniform. The rest as encode_float.
template <QFormat F>
TERCEL_INLINE VecI encode_stochastic(VecF t, VecI bits) {
  constexpr bool kTable = F == QFormat::nf4;  // codes rise with the value, else with the magnitude
  constexpr int kLast = kTable ? 15 : F == QFormat::e4m3 ? 0x7e : F == QFormat::e5m2 ? 0x7b : 7;
  const VecF a = kTable ? t : abs(t);
  const VecI nearest = encode_float<F>(a), one(1);
  const VecI low = select((decode<F>(nearest) > a) & (nearest > VecI(0)), nearest - one, nearest);
  const VecI high = select(low > VecI(kLast - 1), low, low + one);
  const VecF v = decode<F>(low), u = to_float(simd::shift_right<8>(bits)) * VecF(0x1p-24f);
  VecI code = select(u * (decode<F>(high) - v) < a - v, high, low);
  if (F == QFormat::e2m1) code = code | (simd::shift_right<28>(as_int(t)) & VecI(8));
  if (F == QFormat::e4m3 || F == QFormat::e5m2)
    code = code | (simd::shift_right<24>(as_int(t)) & VecI(0x80));
  return select(simd::isnan(t), encode_float<F>(t), code);
}

template <QFormat F, bool kEach, bool kFull>
TERCEL_INLINE void encode16(const QuantizeArgs& a, const float* x, const float* scale,
                            const float* zero, int64_t n, uint64_t element, uint8_t* codes,
                            float* y, uint8_t* mask) {
  const VecF s = pick<kEach, kFull>(scale, n);
  const VecF t = load<kFull, VecF>(x, n) * (VecF(1.0f) / s);
  alignas(64) uint8_t out[16];
  if constexpr (kInteger<F>) {
    const Rounding r{zero ? pick<kEach, kFull>(zero, n) : VecF(0.0f), VecF(a.range.qmin),
                     VecF(a.range.qmax)};
    const VecF rounded =
        a.stochastic ? round_stochastic(t, simd::philox16(a.key, element).v[0]) : round_nearest(t);
    const VecF q = clamp_code(rounded, r);
    if (y) {
      store<kFull>((q - r.zero) * s, y, n);
      if (mask) {
        const VecF v = rounded + r.zero;
        const auto in = (v >= r.qmin) & (v <= r.qmax);
        select(in, VecI(1), VecI(0)).store(out);
        __builtin_memcpy(mask, out, static_cast<size_t>(n));
      }
      return;
    }
    to_int(q).store(out);
  } else {
    const VecI code = a.stochastic ? encode_stochastic<F>(t, simd::philox16(a.key, element).v[0])
                                   : encode_float<F>(t);
    code.store(out);
  }
  __builtin_memcpy(codes, out, static_cast<size_t>(n));
}

template <QFormat F, bool kEach>
TERCEL_INLINE void encode_run(const QuantizeArgs& a, const float* x, const float* scale,
                              const float* zero, int64_t n, uint64_t element, uint8_t* codes,
                              float* y, uint8_t* mask) {
  for_vectors<VecF>(n, [&]<bool kFull>(int64_t i, int64_t count) {
    encode16<F, kEach, kFull>(a, x + i, scale + (kEach ? i : 0),
                              zero ? zero + (kEach ? i : 0) : nullptr, count,
                              element + static_cast<uint64_t>(i), codes + i, y ? y + i : nullptr,
                              mask ? mask + i : nullptr);
  });
}

TERCEL_INLINE void pack4(const uint8_t* codes, int64_t n, uint8_t* dst) {
  for (int64_t i = 0; i < n / 2; ++i) {
    dst[i] = static_cast<uint8_t>((codes[2 * i] & 15) | codes[2 * i + 1] << 4);
  }
  if (n & 1) dst[n / 2] = codes[n - 1] & 15;
}

// Calls f(c, n, k) for each stretch [c, c + n) of [c0, c1) that lies in one run; k: number of its
// scale.
template <class F>
TERCEL_INLINE void for_runs(int64_t c0, int64_t c1, int64_t run, F&& f) {
  for (int64_t c = c0; c < c1;) {
    const int64_t k = c / run, end = (k + 1) * run < c1 ? (k + 1) * run : c1;
    f(c, end - c, k);
    c = end;
  }
}

template <QFormat F>
void quantize_piece(const QuantizeArgs& a, int64_t r, int64_t c0, int64_t c1) {
  alignas(64) uint8_t buffer[kChunk];
  alignas(64) float values[kChunk], results[kChunk];
  const FloatRows rows = float_rows(a.dtype);
  const int64_t size = float_size(a.dtype);
  uint8_t* mask = a.mask ? a.mask + r * a.cols : nullptr;
  const int64_t base = a.s.base ? a.s.base[r] : 0;
  const float *scale = a.s.scale + base, *zero = a.s.zero ? a.s.zero + base : nullptr;
  for (int64_t start = c0; start < c1; start += kChunk) {
    const int64_t end = start + kChunk < c1 ? start + kChunk : c1;
    const int64_t at = (r * a.cols + start) * size;
    const char* source = static_cast<const char*>(a.x) + at;
    char* target = a.y ? static_cast<char*>(a.y) + at : nullptr;
    if (rows.load) rows.load(values, source, end - start);
    const float* x = rows.load ? values : reinterpret_cast<const float*>(source);
    float* y = rows.store && a.y ? results : reinterpret_cast<float*>(target);
    const auto run = [&](int64_t c, int64_t n, int64_t k, auto each) {
      encode_run<F, decltype(each)::value>(a, x + (c - start), scale + k, zero ? zero + k : nullptr,
                                           n, static_cast<uint64_t>(r * a.cols + c),
                                           buffer + (c - start), y ? y + (c - start) : nullptr,
                                           mask ? mask + c : nullptr);
    };
    if (a.s.run == 1) {
      run(start, end - start, start, std::bool_constant<true>());
    } else {
      for_runs(start, end, a.s.run,
               [&](int64_t c, int64_t n, int64_t k) { run(c, n, k, std::bool_constant<false>()); });
    }
    if (y == results) rows.store(target, results, end - start);
    if (!a.codes) continue;
    uint8_t* dst = a.codes + r * code_bytes(F, a.cols);
    if (info(F).bits == 4) {
      pack4(buffer, end - start, dst + start / 2);
    } else {
      __builtin_memcpy(dst + start, buffer, static_cast<size_t>(end - start));
    }
  }
}

// f(r, c0, c1) for pieces of all rows
template <class F>
TERCEL_INLINE void for_pieces(int64_t rows, int64_t cols, F&& f) {
  const int64_t per_row = (cols + kPiece - 1) / kPiece;
  const int64_t grain = cols >= kPiece ? 2 : 1 + 2 * kPiece / (cols + 1);
  parallel_for(rows * per_row, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t r = p / per_row, c0 = p % per_row * kPiece;
      f(r, c0, c0 + kPiece < cols ? c0 + kPiece : cols);
    }
  });
}

template <QFormat F>
void quantize_as(const QuantizeArgs& a) {
  for_pieces(a.rows, a.cols,
             [&](int64_t r, int64_t c0, int64_t c1) { quantize_piece<F>(a, r, c0, c1); });
}
void quantize(const QuantizeArgs& a) {
  const QFormat format = a.format;
#define CALL(F) quantize_as<F>(a)
  TERCEL_QFORMATS(CALL)
#undef CALL
}

// Codes of columns [c, c + n) of a row, one per byte.
template <QFormat F>
TERCEL_INLINE void unpack(const uint8_t* row, int64_t c, int64_t n, uint8_t* out) {
  if constexpr (info(F).bits == 8) {
    __builtin_memcpy(out, row + c, static_cast<size_t>(n));
  } else {  // c is even
    const uint8_t* src = row + c / 2;
    for (int64_t i = 0; i < n / 2; ++i) {
      out[2 * i] = src[i] & 15;
      out[2 * i + 1] = src[i] >> 4;
    }
    if (n & 1) out[n - 1] = src[n / 2] & 15;
  }
}

template <QFormat F, bool kEach>
TERCEL_INLINE void decode_run(const uint8_t* codes, const float* scale, const float* zero,
                              int64_t n, float* y) {
  for_vectors<VecF>(n, [&]<bool kFull>(int64_t i, int64_t count) {
    VecF v = decode<F>(VecI::load(codes + i));  // the buffer is 16 bytes longer than its codes
    if (zero) v = v - pick<kEach, kFull>(zero + (kEach ? i : 0), count);
    store<kFull>(v * pick<kEach, kFull>(scale + (kEach ? i : 0), count), y + i, count);
  });
}

template <QFormat F>
void dequantize_as(const DequantizeArgs& a) {
  const FloatRows rows = float_rows(a.dtype);
  const int64_t size = float_size(a.dtype);
  for_pieces(a.rows, a.cols, [&](int64_t r, int64_t c0, int64_t c1) {
    alignas(64) uint8_t buffer[kChunk + 16];
    alignas(64) float results[kChunk];
    const int64_t base = a.s.base ? a.s.base[r] : 0;
    const float *scale = a.s.scale + base, *zero = a.s.zero ? a.s.zero + base : nullptr;
    for (int64_t start = c0; start < c1; start += kChunk) {
      const int64_t end = start + kChunk < c1 ? start + kChunk : c1;
      char* target = static_cast<char*>(a.y) + (r * a.cols + start) * size;
      float* y = rows.store ? results : reinterpret_cast<float*>(target);
      unpack<F>(a.codes + r * code_bytes(F, a.cols), start, end - start, buffer);
      if (a.s.run == 1) {
        decode_run<F, true>(buffer, scale + start, zero ? zero + start : nullptr, end - start, y);
      } else {
        for_runs(start, end, a.s.run, [&](int64_t c, int64_t n, int64_t k) {
          decode_run<F, false>(buffer + (c - start), scale + k, zero ? zero + k : nullptr, n,
                               y + (c - start));
        });
      }
      if (rows.store) rows.store(target, results, end - start);
    }
  });
}
void dequantize(const DequantizeArgs& a) {
  const QFormat format = a.format;
#define CALL(F) dequantize_as<F>(a)
  TERCEL_QFORMATS(CALL)
#undef CALL
}

int64_t row_grain(int64_t cols) { return cols >= 32768 ? 1 : 32768 / (cols + 1) + 1; }

void range(const RangeArgs& a) {
  parallel_for(a.rows, row_grain(a.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      VecF lo(0.0f), hi(0.0f);
      const float* x = a.x + r * a.cols;
      for_vectors<VecF>(a.cols, [&]<bool kFull>(int64_t i, int64_t n) {
        const VecF v = load<kFull, VecF>(x + i, n);
        const VecF finite = select(abs(v) < VecF(__builtin_inff()), v, VecF(0.0f));
        lo = min_or_second(lo, finite);
        hi = max_or_second(hi, finite);
      });
      a.lo[r] = simd::min_lanes(lo);
      a.hi[r] = simd::max_lanes(hi);
    }
  });
}

template <QFormat F>
TERCEL_INLINE double squared_error(const float* x, int64_t n, QParams p, QRange range) {
  const VecF scale(p.scale), inverse(1.0f / p.scale);
  const Rounding r{VecF(p.zero), VecF(range.qmin), VecF(range.qmax)};
  double total;
  blocked_sums<float, 1>(n, &total, [&]<bool kFull>(int64_t i, int64_t count, VecF* acc) {
    VecF v = load<kFull, VecF>(x + i, count);
    v = select(abs(v) < VecF(__builtin_inff()), v, VecF(0.0f));
    VecF q;
    if constexpr (kInteger<F>) {
      q = clamp_code(round_nearest(v * inverse), r) - r.zero;
    } else {
      q = decode<F>(encode_float<F>(v * inverse));
    }
    const VecF e = v - q * scale;
    acc[0] = acc[0] + e * e;
  });
  return total;
}

template <QFormat F>
void mse_as(const MseArgs& a) {
  parallel_for(a.rows, row_grain(a.cols * a.steps), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float lo = a.lo[r], hi = a.hi[r];
      double best = 0;
      float factor = 1.0f;
      for (int k = 0; k < a.steps; ++k) {  // from 1 down to 0.2
        const float f = 1.0f - 0.8f * static_cast<float>(k) / static_cast<float>(a.steps);
        const QParams p = params_from_range(lo * f, hi * f, a.range, a.symmetric);
        const double error = squared_error<F>(a.x + r * a.cols, a.cols, p, a.range);
        if (k == 0 || error < best) {
          best = error;
          factor = f;
        }
      }
      a.lo[r] = lo * factor;
      a.hi[r] = hi * factor;
    }
  });
}
void mse(const MseArgs& a) {
  const QFormat format = a.format;
#define CALL(F) mse_as<F>(a)
  TERCEL_QFORMATS(CALL)
#undef CALL
}

template <class T>
void row_quant_as(const RowQuantArgs& a) {
  for (int64_t r = a.row0; r < a.row1; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * a.row_stride;
    int8_t* q = a.q + r * a.cols;
    // Magnitudes are compared as integers: NaN and infinity are the largest.
    VecI top0(0), top1(0);
    int64_t i = 0;
    const VecI magnitude(0x7fffffff);
    for (; i + 32 <= a.cols; i += 32) {
      const VecI v0 = as_int(VecF::load(x + i)) & magnitude,
                 v1 = as_int(VecF::load(x + i + 16)) & magnitude;
      top0 = select(v0 > top0, v0, top0);
      top1 = select(v1 > top1, v1, top1);
    }
    for (; i < a.cols; i += 16) {
      const int64_t n = a.cols - i < 16 ? a.cols - i : 16;
      const VecI v = as_int(VecF::load_n(x + i, n)) & magnitude;
      top0 = select(v > top0, v, top0);
    }
    top0 = select(top1 > top0, top1, top0);
    alignas(64) int32_t lanes[16];
    top0.store(lanes);
    int32_t bits = 0;
    for (int l = 0; l < 16; ++l) bits = lanes[l] > bits ? lanes[l] : bits;
    const float top = detail::bits_float(static_cast<uint32_t>(bits));
    if (bits >= 0x7f800000) {
      a.scale[r] = __builtin_nanf("");
      __builtin_memset(q, 0, static_cast<size_t>(a.cols));
      continue;
    }
    const float scale = top > 0.0f ? (top / 127.0f < kMinScale ? kMinScale : top / 127.0f) : 1.0f;
    a.scale[r] = scale;
    const VecF inverse(1.0f / scale), bound(127.0f);
    for (i = 0; i < a.cols; i += 16) {
      const int64_t n = a.cols - i < 16 ? a.cols - i : 16;
      const VecF v = n == 16 ? VecF::load(x + i) : VecF::load_n(x + i, n);
      const VecI code = to_int(min_or_second(max_or_second(round(v * inverse), -bound), bound));
      if (n == 16) {
        code.store(reinterpret_cast<uint8_t*>(q + i));
      } else {
        alignas(64) uint8_t tail[16];
        code.store(tail);
        __builtin_memcpy(q + i, tail, static_cast<size_t>(n));
      }
    }
  }
}
void row_quant(const RowQuantArgs& a) {
  visit<float, bf16, f16>(a.dtype, "dynamic int8", [&]<class T>() { row_quant_as<T>(a); });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const QuantKernels quant_kernels = {quantize, dequantize, range, mse, row_quant};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
