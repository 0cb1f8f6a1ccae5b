// Python class of QTensor, and the overload of linear that takes one.
#include "ops/quant/qtensor.h"

#include "cuda/runtime.h"
#include "ops/copy/copy.h"
#include "python/bind.h"

namespace tercel {

void bind_qtensor(Binder& b) {
  using Opt = std::optional<Tensor>;
  py::class_<QTensor, std::shared_ptr<QTensor>>(
      b.module(), "QTensor",
      R"(A frozen quantised tensor: element = (code - zero point) * scale, one scale per block.

values: codes, row-major (4-bit formats two per byte along the last dim, the even element low); scales: float32, or
uint8 exponents (e8m0); zero_points: int8 or uint8, or None.  format: int8 uint8 int4 uint4 nf4 float8_e4m3fn
float8_e5m2 float4_e2m1.  dynamic: linear rounds its input to int8 per token.  nn.functional.linear takes one as weight.
Made by tercel.quantization.quantize.)")
      .def(py::init([](const Tensor& values, const Tensor& scales, const Opt& zeros,
                       const std::string& format, const Dims& shape, const Dims& block,
                       bool dynamic) {
             return std::make_shared<QTensor>(values, scales, zeros ? *zeros : Tensor(),
                                              parse_qformat("QTensor", format), shape, block,
                                              dynamic);
           }),
           py::arg("values"), py::arg("scales"), py::arg("zero_points"), py::arg("format"),
           py::arg("shape"), py::arg("block_size"), py::arg("dynamic") = false)
      .def_property_readonly("values", &QTensor::values)
      .def_property_readonly("scales", &QTensor::scales)
      .def_property_readonly("zero_points", &QTensor::zeros)
      .def_property_readonly("format",
                             [](const QTensor& q) { return std::string(info(q.format()).name); })
      .def_property_readonly("shape", &QTensor::shape)
      .def_property_readonly("block_size", &QTensor::block)
      .def_property_readonly("dynamic", &QTensor::dynamic)
      .def_property_readonly("nbytes", &QTensor::nbytes, "Bytes of values, scales and zero points.")
      .def_property_readonly("device", [](const QTensor& q) { return q.values().device(); })
      .def(
          "to",
          [](const std::shared_ptr<QTensor>& q, Device device) {
            if (!device.is_cpu()) cuda::api("QTensor.to");
            return device == q->values().device() ? q : q->on(device);
          },
          py::arg("device"), "The same on another device; itself if it is there.")
      .def("dequantize", &QTensor::dequantize, py::arg("dtype") = DType::f32,
           "The values as a plain tensor.")
      .def("__deepcopy__",
           [](const QTensor& q, const py::dict&) {
             return std::make_shared<QTensor>(clone(q.values()), clone(q.scales()),
                                              q.zeros().defined() ? clone(q.zeros()) : Tensor(),
                                              q.format(), q.shape(), q.block(), q.dynamic());
           })
      .def("__reduce__",
           [](const QTensor& q) {
             const auto tuple = [](const auto& sizes) {
               py::tuple t(static_cast<size_t>(sizes.size()));
               for (int i = 0; i < sizes.size(); ++i) t[static_cast<size_t>(i)] = sizes[i];
               return t;
             };
             return py::make_tuple(
                 py::type::of<QTensor>(),
                 py::make_tuple(
                     q.values(), q.scales(), q.zeros().defined() ? py::cast(q.zeros()) : py::none(),
                     info(q.format()).name, tuple(q.shape()), tuple(q.block()), q.dynamic()));
           })
      .def("__repr__", &QTensor::text);
  b.function(
      "linear",
      [](const Tensor& x, const std::shared_ptr<QTensor>& w, const Opt& bias) {
        return linear(x, w, bias ? *bias : Tensor());
      },
      py::arg("input"), py::arg("weight").none(false), py::arg("bias") = py::none(),
      R"(With a QTensor as weight: input float32, bfloat16 or float16 (bias of the same dtype; autocast narrows both).

Weight only: bit for bit linear(input, weight.dequantize(), bias), decoded on the fly.  Dynamic: input is rounded to int8
per token (scale max|x| / 127), sums are exact; a token with NaN or an infinity gives NaN.  The gradient flows to input
and bias; the weight is frozen and the input is not kept.)");
}

}  // namespace tercel
