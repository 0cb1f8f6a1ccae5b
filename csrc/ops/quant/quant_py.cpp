// Python names of the quantisation ops and of int_matmul.
#include "ops/quant/quant.h"

#include "ops/creation/creation.h"
#include "ops/matmul/gemm_int8.h"
#include "ops/matmul/int_matmul.h"
#include "ops/quant/qtensor.h"
#include "ops/view/view.h"
#include "python/bind.h"
#include "python/optional.h"

namespace tercel {
namespace {

using Opt = std::optional<Tensor>;
using OptNumber = std::optional<double>;

// A format by name, or by the dtype that stores it.
QFormat format_from(const char* op, const py::object& o) {
  if (py::isinstance<py::str>(o)) return parse_qformat(op, o.cast<std::string>());
  DType dtype;
  TERCEL_CHECK(dtype_from_object(o.ptr(), &dtype), Type, op,
               ": expected a dtype or the name of a format");
  return qformat_of(op, dtype);
}

// A number or a tensor of one element, as a tensor of the shape that per-tensor blocks ask for.
Tensor one_value(const Operand& value, const Tensor& x) {
  const Tensor& t = value.tensor;
  return t.numel() == 1 ? reshape(t, Dims::filled(x.numel() > 0 ? x.dim() : 0, 1)) : t;
}
void check_scale(const char* op, const Operand& scale) {
  if (!scale.tensor.impl()->wrapped_number) return;
  const double s = item(scale.tensor).to_double();
  TERCEL_CHECK(s > 0 && s <= 3.4028234663852886e38, Value, op,
               ": scale must be positive and finite, got ", s);
}
// Empty inputs have empty scale grids: any one value will do.
Tensor fit(const Tensor& t, const Tensor& x) {
  if (x.numel() > 0 || !t.defined()) return t;
  Shape s;
  for (int d = 0; d < x.dim(); ++d) s.push_back(x.size(d) > 0 ? 1 : 0);
  return empty(s, t.dtype());
}
Dims whole(const Tensor& x) { return Dims::filled(x.dim(), -1); }

ScaleSearch method_from(const std::string& name) {
  if (name == "absmax") return ScaleSearch::absmax;
  if (name == "percentile") return ScaleSearch::percentile;
  TERCEL_CHECK(name == "mse", Value, "choose_qparams_affine: unknown method '", name,
               "'; there are absmax, percentile, mse");
  return ScaleSearch::mse;
}

void bind_ops(Binder& b) {
  b.function(
      "quantize_per_tensor",
      [](const Tensor& x, const Operand& scale, const Operand& zero, const py::object& dtype) {
        const char* op = "quantize_per_tensor";
        check_scale(op, scale);
        return quantize_affine(x, whole(x), fit(one_value(scale, x), x), fit(one_value(zero, x), x),
                               format_from(op, dtype));
      },
      py::arg("input"), py::arg("scale"), py::arg("zero_point"), py::arg("dtype"),
      R"(Codes clamp(round(input * (1 / scale)) + zero_point) as a plain int8 or uint8 tensor.

scale, zero_point: numbers or one-element tensors.  dtype: int8 (-128..127) or uint8 (0..255).  Ties to even; values
saturate; NaN gives the zero point.
Unlike torch the result carries no scale: see tercel.quantization.QTensor for that.)");
  b.function(
      "quantize_per_channel",
      [](const Tensor& x, const Tensor& scales, const Tensor& zeros, int64_t axis,
         const py::object& dtype) {
        const char* op = "quantize_per_channel";
        return quantize_affine(
            x, channel_block(op, x, axis), along_axis(op, "scales", scales, x, axis),
            along_axis(op, "zero_points", zeros, x, axis), format_from(op, dtype));
      },
      py::arg("input"), py::arg("scales"), py::arg("zero_points"), py::arg("axis"),
      py::arg("dtype"),
      "quantize_per_tensor with one scale and zero point per index of dim `axis` (both [size of "
      "axis]).");
  b.function(
      "quantize_affine",
      [](const Tensor& x, const Dims& block, const Tensor& scale, const Opt& zero,
         const py::object& dtype, OptNumber lo, OptNumber hi, const std::string& rounding,
         const Ref<Generator>& generator) {
        const char* op = "quantize_affine";
        TERCEL_CHECK(rounding == "nearest" || rounding == "stochastic", Value, op,
                     ": unknown rounding '", rounding, "'; there are nearest, stochastic");
        return quantize_affine(x, block, scale, tensor_or_undefined(zero), format_from(op, dtype),
                               {lo, hi, rounding == "stochastic", generator});
      },
      py::arg("input"), py::arg("block_size"), py::arg("scale"), py::arg("zero_point") = py::none(),
      py::arg("output_dtype") = "int8", py::arg("quant_min") = py::none(),
      py::arg("quant_max") = py::none(), py::kw_only(), py::arg("rounding") = "nearest",
      py::arg("generator") = py::none(),
      R"(Codes clamp(round(input * (1 / scale)) + zero_point, quant_min, quant_max), one scale per block.

block_size: one entry per dim, -1 for the whole dim; scale and zero_point have shape ceil(size / block).  Per token:
1s and -1 last; groups of g: 1s and g last.  scale: float, or uint8 exponents (e8m0: 2^(code - 127)).
output_dtype: int8, uint8, int4, uint4, nf4, float8_e4m3fn, float8_e5m2, float4_e2m1 (names, or dtypes where there is
one); 4-bit codes lie two per byte along the last dim, the even one low.  rounding "stochastic" takes
one of the two neighbours with the probability of the place between them, from the generator (Philox: the same for any number of threads).
NaN: zero point (0 in nf4, fp4; NaN in fp8); infinities saturate.)");
  b.function(
      "dequantize_affine",
      [](const Tensor& codes, const Dims& block, const Tensor& scale, const Opt& zero,
         const py::object& from, DType to, std::optional<int64_t> last) {
        const char* op = "dequantize_affine";
        return dequantize_affine(
            codes, block, scale, tensor_or_undefined(zero),
            from.is_none() ? qformat_of(op, codes.dtype()) : format_from(op, from), to, last);
      },
      py::arg("input"), py::arg("block_size"), py::arg("scale"), py::arg("zero_point") = py::none(),
      py::arg("input_dtype") = py::none(), py::arg("output_dtype") = DType::f32, py::kw_only(),
      py::arg("last_size") = py::none(),
      R"((input - zero_point) * scale in float32, rounded once to output_dtype; the inverse of quantize_affine.

input_dtype: the format (default: that of the dtype).  last_size: elements along the last dim of 4-bit codes (default
two per byte).)");
  b.function(
      "choose_qparams_affine",
      [](const Tensor& x, const Dims& block, const py::object& dtype, bool symmetric,
         const std::string& method, double percentile, bool power_of_two, OptNumber lo,
         OptNumber hi) {
        return choose_qparams_affine(
            x, block, format_from("choose_qparams_affine", dtype),
            {symmetric, method_from(method), percentile, power_of_two, lo, hi});
      },
      py::arg("input"), py::arg("block_size"), py::arg("target_dtype") = "int8", py::kw_only(),
      py::arg("symmetric") = true, py::arg("method") = "absmax", py::arg("percentile") = 99.9,
      py::arg("power_of_two") = false, py::arg("quant_min") = py::none(),
      py::arg("quant_max") = py::none(),
      R"((scale, zero_point) for quantize_affine from the values of each block; zero_point is None when symmetric.

symmetric: scale = max|x| / qmax (int8: 127, int4: 7, fp8: largest value); else [min, max] with 0 is mapped onto
[quant_min, quant_max].  method: "absmax" (the whole range), "percentile" (of |x|, or of both tails), "mse" (of 80
shrunk ranges the one of least squared error).  power_of_two: e8m0 scales of the OCP MX formats.  NaN and infinities
are left out; a block of zeros has scale 1.)");
  b.function(
      "fake_quantize_per_tensor_affine",
      [](const Tensor& x, const Operand& scale, const Operand& zero, double lo, double hi) {
        const char* op = "fake_quantize_per_tensor_affine";
        check_scale(op, scale);
        return fake_quantize_affine(op, x, whole(x), fit(one_value(scale, x), x),
                                    fit(one_value(zero, x), x), lo, hi);
      },
      py::arg("input"), py::arg("scale"), py::arg("zero_point"), py::arg("quant_min"),
      py::arg("quant_max"),
      R"((clamp(round(input / scale) + zero_point, quant_min, quant_max) - zero_point) * scale, in input's dtype.

Gradient: straight through where the rounded value lies in [quant_min, quant_max], 0 elsewhere.
Jacob et al. 2018; Bengio et al. 2013.)");
  b.function(
      "fake_quantize_per_channel_affine",
      [](const Tensor& x, const Tensor& scale, const Tensor& zero, int64_t axis, double lo,
         double hi) {
        const char* op = "fake_quantize_per_channel_affine";
        return fake_quantize_affine(op, x, channel_block(op, x, axis),
                                    along_axis(op, "scale", scale, x, axis),
                                    along_axis(op, "zero_point", zero, x, axis), lo, hi);
      },
      py::arg("input"), py::arg("scale"), py::arg("zero_point"), py::arg("axis"),
      py::arg("quant_min"), py::arg("quant_max"),
      "fake_quantize_per_tensor_affine with one scale and zero point per index of dim `axis`.");
}

void bind_int_matmul(Binder& b) {
  const auto bind = [&b]<class W>(W*, const char* doc) {
    b.function(
        "int_matmul",
        [](const Tensor& a, const W& w, const std::optional<Operand>& zero_a,
           const std::optional<Operand>& scale_a, const std::optional<Operand>& scale_b,
           const Opt& bias, DType dtype, double out_scale, int64_t out_zero) {
          const auto tensor = [](const std::optional<Operand>& o) {
            return o ? o->tensor : Tensor();
          };
          return int_matmul(a, w,
                            {tensor(zero_a), tensor(scale_a), tensor(scale_b),
                             tensor_or_undefined(bias), out_scale, out_zero, dtype});
        },
        py::arg("input"), py::arg("other").none(false), py::kw_only(),
        py::arg("zero_point_a") = py::none(), py::arg("scale_a") = py::none(),
        py::arg("scale_b") = py::none(), py::arg("bias") = py::none(),
        py::arg("dtype") = DType::i32, py::arg("out_scale") = 1.0, py::arg("out_zero_point") = 0,
        doc);
  };
  bind(
      static_cast<Tensor*>(nullptr),
      R"(Integer matrix product with exact sums: input [..., M, K] int8 or uint8, other [K, N] or [..., K, N] int8.

dtype int32: sum (input - zero_point_a) other modulo 2^32, the same bits on every processor.
float32, bfloat16, float16: v = sum * scale_a * scale_b + bias.  int8, uint8: clamp(round(v / out_scale) +
out_zero_point).  zero_point_a, scale_a: one value or one per row (token); scale_b: one or one per column (channel).

>>> tercel.int_matmul(tercel.tensor([[1, 2]], dtype=tercel.int8), tercel.tensor([[3], [4]], dtype=tercel.int8))
Raises ShapeError, DTypeError naming what is accepted.)");
  bind(
      static_cast<QTensor*>(nullptr),
      R"(With a QTensor w [N, K] as other (symmetric int8, one scale per row): the product with its transpose.

It is packed at first use and kept; scale_b defaults to its scales where the result is scaled.)");
  b.function("_int8_kernel", &int8_kernel_name, "Name of the integer micro-kernel in use.");
}

}  // namespace

void bind_qtensor(Binder& b);  // qtensor_py.cpp

void bind_quant(Binder& b) {
  bind_ops(b);
  bind_qtensor(b);
  bind_int_matmul(b);
}

}  // namespace tercel
