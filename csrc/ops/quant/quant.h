// Quantise, dequantise, scale search, fake quantisation. Formats and rounding: quant_format.h,
// quant_kernels.h.
//
// Granularity is a block size per dim, as in torchao: element i along dim d belongs to block i /
// block[d], and scales (and zero points) have shape ceil(size / block). Per tensor: block = shape;
// per channel c: shape with 1 at c; per token: 1 everywhere but the last dim; groups of g: the same
// with g last. -1 stands for the whole dim.
//
// Defined results: x = NaN gives the zero point (integer formats, nf4 and fp4: the code of 0) or
// NaN (fp8); infinities saturate. A scale s multiplies as it is given: s = 0 sends positive x to
// qmax, negative x to qmin and 0 to the zero point, NaN sends everything to the zero point. Scale
// search leaves NaN and infinities out of the range; an all-zero block has scale 1.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "core/autograd.h"
#include "core/random.h"
#include "ops/quant/quant_format.h"

namespace tercel {

QFormat parse_qformat(const char* op, const std::string& name);  // raises listing what exists
QFormat qformat_of(const char* op, DType dtype);

struct QuantizeOptions {
  std::optional<double> quant_min, quant_max;  // default: the range of the format
  bool stochastic = false;                     // else to nearest, ties to even
  Ref<Generator> generator;
};
// Codes of x (float32, bfloat16, float16; float64 is rounded to float32 first): same shape in the
// format's dtype, 4-bit formats as uint8 with ceil(n / 2) bytes along the last dim. scale: float,
// or uint8 for e8m0 exponents.
Tensor quantize_affine(const Tensor& x, const Dims& block, const Tensor& scale, const Tensor& zero,
                       QFormat format, const QuantizeOptions& options = {});
// (code - zero) * scale in `dtype`. `last`: elements along the last dim of 4-bit codes (default
// twice the bytes).
Tensor dequantize_affine(const Tensor& codes, const Dims& block, const Tensor& scale,
                         const Tensor& zero, QFormat format, DType dtype,
                         std::optional<int64_t> last = {});

enum class ScaleSearch : uint8_t { absmax, percentile, mse };
struct ChooseOptions {
  bool symmetric = true;
  ScaleSearch method = ScaleSearch::absmax;
  double percentile = 99.9;   // of |x| (symmetric), or of both tails
  bool power_of_two = false;  // mx: e8m0 scales as uint8
  std::optional<double> quant_min,
      quant_max;  // default: symmetric int8 -127..127, int4 -7..7; else the full range
};
// (scale, zero point as int32; undefined when symmetric)
std::pair<Tensor, Tensor> choose_qparams_affine(const Tensor& x, const Dims& block, QFormat format,
                                                const ChooseOptions& options = {});

// dequantise(quantise(x)) in the dtype of x. Gradient: passes where round(x / scale) + zero lies in
// [qmin, qmax], else 0 (straight-through). Saves one byte per element.
Tensor fake_quantize_affine(const char* op, const Tensor& x, const Dims& block, const Tensor& scale,
                            const Tensor& zero, double quant_min, double quant_max);

// Block of "one channel along dim axis".
Dims channel_block(const char* op, const Tensor& x, int64_t axis);
// Scales of a block layout from a vector along `axis`.
Tensor along_axis(const char* op, const char* name, const Tensor& vector, const Tensor& x,
                  int64_t axis);

// 2^(e - 127) of e8m0 codes (255: NaN) and back.
Tensor e8m0_to_float(const Tensor& codes);

}  // namespace tercel
