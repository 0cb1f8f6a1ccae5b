// Quantise, dequantise, range and scale search, row quantisation on the GPU. Codes equal the CPU's
// bit for bit: products and differences that a rounding follows are kept apart from each other (no
// fused multiply-add).
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "cuda/geometry.cuh"
#include "cuda/reduce.cuh"
#include "ops/quant/quant_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

// Values of the 4-bit codes, in the constant bank of the kernel's arguments.
struct Table16 {
  float v[16];
};
Table16 table_of(QFormat f) {
  Table16 t{};
  for (int i = 0; i < 16 && info(f).bits == 4; ++i) t.v[i] = table4(f)[i];
  return t;
}

TERCEL_DEVICE float decode(QFormat f, uint32_t code, const Table16& table) {
  switch (f) {
    case QFormat::i8:
      return static_cast<float>(static_cast<int8_t>(code));
    case QFormat::u8:
      return static_cast<float>(code);
    case QFormat::e4m3: {
      f8e4m3 x;
      x.bits = static_cast<uint8_t>(code);
      return to_float(x);
    }
    case QFormat::e5m2: {
      f8e5m2 x;
      x.bits = static_cast<uint8_t>(code);
      return to_float(x);
    }
    default:
      return table.v[code & 15];
  }
}

// Float formats; finite overflow saturates, NaN stays NaN where the format has one.
TERCEL_DEVICE uint32_t encode_float(QFormat f, float t, const Table16& table) {
  if (f == QFormat::e4m3) return f8e4m3(t).bits;
  if (f == QFormat::e5m2) return f8e5m2(t).bits;
  uint32_t code = 0;
  if (f == QFormat::e2m1) {  // 0 0.5 1 1.5 2 3 4 6: middles, ties to the even code
    const float a = ::fabsf(t);
    code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) + (a >= 3.5f) +
           (a > 5.0f);
    return t != t ? 0u : code | (float_to_bits(t) >> 31) << 3;
  }
  TERCEL_UNROLL
  for (int i = 0; i < 15; ++i) code += t > 0.5f * (table.v[i] + table.v[i + 1]);
  return t != t ? 7u : code;
}

// Float formats: one of the two neighbours of t, the farther from zero with the probability of t's
// place between them; `bits` are uniform.
TERCEL_DEVICE uint32_t encode_stochastic(QFormat f, float t, uint32_t bits, const Table16& table) {
  if (t != t) return encode_float(f, t, table);
  const uint32_t last = f == QFormat::nf4    ? 15
                        : f == QFormat::e4m3 ? 0x7e
                        : f == QFormat::e5m2 ? 0x7b
                                             : 7;
  const float a = f == QFormat::nf4 ? t : ::fabsf(t);
  const uint32_t nearest = encode_float(f, a, table);
  const uint32_t low = nearest > 0 && decode(f, nearest, table) > a ? nearest - 1 : nearest;
  const uint32_t high = low > last - 1 ? low : low + 1;
  const float v = decode(f, low, table), u = static_cast<float>(bits >> 8) * 0x1p-24f;
  const uint32_t code = __fmul_rn(u, decode(f, high, table) - v) < a - v ? high : low;
  const uint32_t sign = float_to_bits(t) >> 31;
  return f == QFormat::nf4 ? code : code | sign << (f == QFormat::e2m1 ? 3 : 7);
}

TERCEL_DEVICE float clamp_to(float v, float low, float high) {
  v = v > low ? v : low;
  return v < high ? v : high;
}

// The code of element (r, c); `fake`, if wanted, gets the value it stands for, and `in_range`
// whether it was not clamped.
TERCEL_DEVICE uint32_t encode(const QuantizeArgs& a, const Table16& table, int64_t r, int64_t c,
                              float* fake, bool* in_range) {
  const int64_t element = r * a.cols + c, k = (a.s.base ? a.s.base[r] : 0) + c / a.s.run;
  const float scale = a.s.scale[k], zero = a.s.zero ? a.s.zero[k] : 0.0f;
  float x;
  if (a.dtype == DType::f32) {
    x = static_cast<const float*>(a.x)[element];
  } else if (a.dtype == DType::bf16) {
    x = to_float(static_cast<const bf16*>(a.x)[element]);
  } else {
    x = to_float(static_cast<const f16*>(a.x)[element]);
  }
  const float t = __fmul_rn(x, 1.0f / scale);
  const uint32_t bits =
      a.stochastic ? philox(resolved(a.key), static_cast<uint64_t>(element)).v[0] : 0u;
  if (a.format > QFormat::u4) {
    return a.stochastic ? encode_stochastic(a.format, t, bits, table)
                        : encode_float(a.format, t, table);
  }
  float rounded = ::rintf(t);
  if (a.stochastic) {
    const float down = ::floorf(t), u = static_cast<float>(bits >> 8) * 0x1p-24f;
    rounded = u < __fsub_rn(t, down) ? down + 1.0f : down;
  }
  const float v = rounded + zero;
  const float q = v != v ? zero : clamp_to(v, a.range.qmin, a.range.qmax);
  if (fake) {
    *fake = (q - zero) * scale;
    *in_range = v >= a.range.qmin && v <= a.range.qmax;
    return 0;
  }
  return static_cast<uint32_t>(static_cast<int32_t>(q));
}

// One byte of codes per thread: one element, or two of a 4-bit format.
__global__ void __launch_bounds__(kThreads)
    quantize_kernel(const __grid_constant__ QuantizeArgs a, const __grid_constant__ Table16 table,
                    int64_t row_bytes, bool pairs) {
  const int64_t total = a.rows * row_bytes, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total;
       i += step) {
    const int64_t r = i / row_bytes, c = (i - r * row_bytes) * (pairs ? 2 : 1);
    uint32_t code = encode(a, table, r, c, nullptr, nullptr);
    if (pairs) {
      code &= 15;
      if (c + 1 < a.cols) code |= encode(a, table, r, c + 1, nullptr, nullptr) << 4;
    }
    a.codes[i] = static_cast<uint8_t>(code);
  }
}

__global__ void __launch_bounds__(kThreads)
    fake_quantize_kernel(const __grid_constant__ QuantizeArgs a, Table16 table, int item) {
  const int64_t total = a.rows * a.cols, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total;
       i += step) {
    float value;
    bool in_range;
    encode(a, table, i / a.cols, i % a.cols, &value, &in_range);
    store_element<float>(static_cast<char*>(a.y) + i * item, a.dtype, value);
    if (a.mask) a.mask[i] = in_range;
  }
}

void quantize(const QuantizeArgs& a) {
  const Table16 table = table_of(a.format);
  if (a.y) {
    launch(fake_quantize_kernel, grid_for(a.rows * a.cols, kThreads), kThreads, 0, a, table,
           item_of(a.dtype));
    return;
  }
  const int64_t bytes = code_bytes(a.format, a.cols);
  launch(quantize_kernel, grid_for(a.rows * bytes, kThreads), kThreads, 0, a, table, bytes,
         info(a.format).bits == 4);
}

__global__ void __launch_bounds__(kThreads)
    dequantize_kernel(const __grid_constant__ DequantizeArgs a,
                      const __grid_constant__ Table16 table, int64_t row_bytes, bool pairs,
                      int item) {
  const int64_t total = a.rows * row_bytes, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total;
       i += step) {
    const int64_t r = i / row_bytes, first = (i - r * row_bytes) * (pairs ? 2 : 1),
                  base = a.s.base ? a.s.base[r] : 0;
    const uint32_t byte = a.codes[i];
    for (int64_t c = first; c < first + (pairs ? 2 : 1) && c < a.cols; ++c) {
      const int64_t k = base + c / a.s.run;
      const uint32_t code = !pairs ? byte : c == first ? byte & 15 : byte >> 4;
      float v = decode(a.format, code, table);
      if (a.s.zero) v -= a.s.zero[k];
      store_element<float>(static_cast<char*>(a.y) + (r * a.cols + c) * item, a.dtype,
                           v * a.s.scale[k]);
    }
  }
}
void dequantize(const DequantizeArgs& a) {
  const int64_t bytes = code_bytes(a.format, a.cols);
  launch(dequantize_kernel, grid_for(a.rows * bytes, kThreads), kThreads, 0, a, table_of(a.format),
         bytes, info(a.format).bits == 4, item_of(a.dtype));
}

// ---- ranges

struct Min {
  TERCEL_DEVICE float operator()(float a, float b) const { return a < b ? a : b; }
};
struct Most {
  TERCEL_DEVICE float operator()(float a, float b) const { return a > b ? a : b; }
};

TERCEL_DEVICE float finite_or_zero(float v) { return ::fabsf(v) < __builtin_inff() ? v : 0.0f; }

__global__ void __launch_bounds__(kThreads) range_kernel(RangeArgs a) {
  TERCEL_SHARED(float, shared, 32);
  const float* x = a.x + static_cast<int64_t>(blockIdx.x) * a.cols;
  float lo = 0, hi = 0;
  for (int64_t i = threadIdx.x; i < a.cols; i += kThreads) {
    const float v = finite_or_zero(x[i]);
    lo = Min()(lo, v);
    hi = Most()(hi, v);
  }
  lo = block_reduce(lo, Min(), 0.0f, shared);
  hi = block_reduce(hi, Most(), 0.0f, shared);
  if (threadIdx.x == 0) {
    a.lo[blockIdx.x] = lo;
    a.hi[blockIdx.x] = hi;
  }
}
void range(const RangeArgs& a) {
  launch(range_kernel, static_cast<unsigned>(a.rows), kThreads, 0, a);
}

// A block tries all factors for a row, the errors in double.
__global__ void __launch_bounds__(kThreads)
    mse_kernel(const __grid_constant__ MseArgs a, const __grid_constant__ Table16 table) {
  TERCEL_SHARED(double, shared, 32);
  const float* x = a.x + static_cast<int64_t>(blockIdx.x) * a.cols;
  const float lo = a.lo[blockIdx.x], hi = a.hi[blockIdx.x];
  double best = 0;
  float factor = 1.0f;
  for (int k = 0; k < a.steps; ++k) {  // from 1 down to 0.2
    const float f = 1.0f - 0.8f * static_cast<float>(k) / static_cast<float>(a.steps);
    const QParams p = params_from_range(lo * f, hi * f, a.range, a.symmetric);
    const float inverse = 1.0f / p.scale;
    double error = 0;
    for (int64_t i = threadIdx.x; i < a.cols; i += kThreads) {
      const float v = finite_or_zero(x[i]), t = __fmul_rn(v, inverse);
      const float q = a.format <= QFormat::u4
                          ? clamp_to(::rintf(t) + p.zero, a.range.qmin, a.range.qmax) - p.zero
                          : decode(a.format, encode_float(a.format, t, table), table);
      const double e = static_cast<double>(v - q * p.scale);
      error += e * e;
    }
    error = block_reduce(error, Sum(), 0.0, shared);
    if (k == 0 || error < best) {
      best = error;
      factor = f;
    }
  }
  if (threadIdx.x == 0) {
    a.lo[blockIdx.x] = lo * factor;
    a.hi[blockIdx.x] = hi * factor;
  }
}
void mse(const MseArgs& a) {
  launch(mse_kernel, static_cast<unsigned>(a.rows), kThreads, 0, a, table_of(a.format));
}

// ---- dynamic int8: a block per row

struct Largest {
  TERCEL_DEVICE uint32_t operator()(uint32_t a, uint32_t b) const { return a > b ? a : b; }
};

template <class T>
__global__ void __launch_bounds__(kThreads) row_quant_kernel(RowQuantArgs a) {
  TERCEL_SHARED(uint32_t, shared, 32);
  const int64_t r = a.row0 + blockIdx.x;
  const T* x = static_cast<const T*>(a.x) + r * a.row_stride;
  int8_t* q = a.q + r * a.cols;
  uint32_t bits = 0;  // magnitudes as integers: NaN and infinity are the largest
  for (int64_t i = threadIdx.x; i < a.cols; i += kThreads)
    bits = Largest()(bits, float_to_bits(to_float(x[i])) & 0x7fffffffu);
  bits = block_reduce(bits, Largest(), 0u, shared);
  const float top = bits_to_float(bits);
  const bool finite = bits < 0x7f800000u;
  const float scale = top > 0.0f ? (top / 127.0f < kMinScale ? kMinScale : top / 127.0f) : 1.0f;
  const float inverse = 1.0f / scale;
  if (threadIdx.x == 0) a.scale[r] = finite ? scale : bits_to_float(0x7fc00000u);
  for (int64_t i = threadIdx.x; i < a.cols; i += kThreads) {
    const float v = clamp_to(::rintf(__fmul_rn(to_float(x[i]), inverse)), -127.0f, 127.0f);
    q[i] = static_cast<int8_t>(finite ? static_cast<int32_t>(v) : 0);
  }
}
void row_quant(const RowQuantArgs& a) {
  const unsigned rows = static_cast<unsigned>(a.row1 - a.row0);
  if (a.dtype == DType::f32) return launch(row_quant_kernel<float>, rows, kThreads, 0, a);
  if (a.dtype == DType::bf16) return launch(row_quant_kernel<bf16>, rows, kThreads, 0, a);
  launch(row_quant_kernel<f16>, rows, kThreads, 0, a);
}

}  // namespace

TERCEL_DEVICE_TABLE(QuantKernels, quant_kernels) = {.quantize = quantize,
                                                    .dequantize = dequantize,
                                                    .range = range,
                                                    .mse = mse,
                                                    .row_quant = row_quant};

}  // namespace tercel::cuda
