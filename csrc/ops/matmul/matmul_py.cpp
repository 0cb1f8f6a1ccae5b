// Python names of the matrix products.
#include "core/autocast.h"
#include "ops/copy/copy.h"
#include "ops/creation/factory_args.h"
#include "ops/matmul/linear_packed.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/product.h"
#include "ops/view/view.h"
#include "python/sequences.h"

namespace tercel {
namespace {

using Out = std::optional<Tensor>;
using AddProduct = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, Scalar, Scalar);

Tensor or_undefined(const Out& t) { return t ? *t : Tensor(); }

// name(input, other, *, out=None) and Tensor.name(other).
template <Tensor (*F)(const Tensor&, const Tensor&)>
void bind_pair(Binder& b, const char* name, const char* second, const char* doc) {
  b.function(
      name,
      [name](const Tensor& x, const Tensor& y, const Out& out) {
        return into_out(F(x, y), out, name);
      },
      py::arg("input"), py::arg(second), py::kw_only(), py::arg("out") = py::none(), doc);
  b.method(name, F, py::arg(second), doc);
}

// name(input, a, b, *, beta=1, alpha=1, out=None), Tensor.name and the in-place Tensor.name_.
template <AddProduct F>
void bind_add(Binder& b, const char* name, const char* in_place, const char* first,
              const char* second, const char* doc) {
  b.function(
      name,
      [name](const Tensor& input, const Tensor& x, const Tensor& y, Scalar beta, Scalar alpha,
             const Out& out) { return into_out(F(input, x, y, beta, alpha), out, name); },
      py::arg("input"), py::arg(first), py::arg(second), py::kw_only(), py::arg("beta") = 1,
      py::arg("alpha") = 1, py::arg("out") = py::none(), doc);
  b.method(name, F, py::arg(first), py::arg(second), py::kw_only(), py::arg("beta") = 1,
           py::arg("alpha") = 1, doc);
  b.method(
      in_place,
      [in_place](const Tensor& self, const Tensor& x, const Tensor& y, Scalar beta, Scalar alpha) {
        const Tensor result = F(self, x, y, beta, alpha);
        TERCEL_CHECK(result.shape() == self.shape(), Shape, in_place, ": self must have the shape ",
                     result.shape(), " of the result, got ", self.shape());
        Tensor target = self;
        return copy_(target, result);
      },
      py::arg(first), py::arg(second), py::kw_only(), py::arg("beta") = 1, py::arg("alpha") = 1,
      doc);
}

void bind_products(Binder& b) {
  bind_pair<&matmul>(
      b, "matmul", "other",
      "Matrix product of the last two dims; leading dims broadcast. A 1-D operand is a row (left) "
      "or\n"
      "column (right) whose dim is removed from the result; 1-D x 1-D is the dot product.\n\n"
      "input [..., M, K], other [..., K, N] of one dtype (floats, integers) -> [..., M, N].\n"
      "float16, bfloat16 and float8 accumulate in float32 and are rounded once. Bits do not "
      "depend\n"
      "on threads, batch or layout. Raises ShapeError, DTypeError.\n\n"
      ">>> tercel.matmul(tercel.ones(2, 3), tercel.ones(3)).tolist()\n[3.0, 3.0]");
  bind_pair<&mm>(b, "mm", "mat2", "Matrix product [M, K] x [K, N], without broadcasting.");
  bind_pair<&bmm>(b, "bmm", "mat2", "Batch of matrix products [B, M, K] x [B, K, N].");
  bind_pair<&mv>(b, "mv", "vec", "Matrix-vector product [M, K] x [K].");
  bind_pair<&dot>(b, "dot", "tensor",
                  "Dot product of two vectors, summed in 64 lanes and pairwise over blocks.");
  bind_pair<&dot>(b, "vdot", "other", "Dot product; the conjugate of a real vector is itself.");
  bind_pair<&inner>(b, "inner", "other",
                    "Sum of products over the last dims; a 0-d operand multiplies.");
  for (const char* name : {"outer", "ger"}) {
    bind_pair<&outer>(b, name, "vec2", "Outer product [M], [N] -> [M, N].");
  }
  bind_add<&addmm>(b, "addmm", "addmm_", "mat1", "mat2",
                   "beta * input + alpha * (mat1 @ mat2). input broadcasts to [M, N]; with beta=0 "
                   "it is not read, so\n"
                   "its NaN do not spread. Integer tensors need integer beta and alpha.");
  bind_add<&addmv>(b, "addmv", "addmv_", "mat", "vec",
                   "beta * input + alpha * (mat @ vec), see addmm.");
  bind_add<&addbmm>(b, "addbmm", "addbmm_", "batch1", "batch2",
                    "beta * input + alpha * sum_b batch1[b] @ batch2[b], see addmm.");
  bind_add<&baddbmm>(b, "baddbmm", "baddbmm_", "batch1", "batch2",
                     "beta * input + alpha * (batch1 @ batch2) per batch index, see addmm.");
  bind_add<&addr>(b, "addr", "addr_", "vec1", "vec2",
                  "beta * input + alpha * outer(vec1, vec2), see addmm.");
}

// nn.utils.pack_linear_ is the public face.
void bind_packed(Binder& b) {
  py::class_<LinearPanels>(b.module(), "_LinearPanels", "Panels of a weight, kept between calls.")
      .def(py::init<>())
      .def_property_readonly("nbytes", &LinearPanels::nbytes)
      .def("__deepcopy__",
           [](const LinearPanels&, const py::dict&) { return std::make_unique<LinearPanels>(); })
      .def("__reduce__", [](const LinearPanels&) {
        return py::make_tuple(py::type::of<LinearPanels>(), py::tuple());
      });
  b.function(
      "_linear_packed",
      [](const Tensor& x, const Tensor& w, const Out& bias, LinearPanels& panels) {
        return linear_packed(x, w, or_undefined(bias), panels);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("panels"));
}

void bind_linear(Binder& b) {
  b.function(
      "linear",
      [](const Tensor& x, const Tensor& w, const Out& bias) {
        return linear(x, w, or_undefined(bias));
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(),
      "y = x w^T + bias.\n\n"
      "input [..., I], weight [O, I] (or [I]), bias [O] or None -> [..., O]. The bias is added "
      "before the one rounding\n"
      "to the output dtype. input is kept for backward only if weight needs a gradient, and the "
      "other way round.");
  b.function("linear_input_grad", &linear_input_grad, py::arg("grad_output"), py::arg("weight"),
             "Gradient of linear with respect to its input: dy w.");
  b.function(
      "linear_weight_grad", &linear_weight_grad, py::arg("grad_output"), py::arg("input"),
      "Gradient of linear with respect to its weight: dy^T x, summed over all leading dims.");
  b.function(
      "linear_act",
      [](const Tensor& x, const Tensor& w, const Out& bias, const std::string& activation,
         const Out& residual) {
        return linear_act(x, w, or_undefined(bias), activation, or_undefined(residual));
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(),
      py::arg("activation") = "none", py::arg("residual") = py::none(),
      "y = act(x w^T + bias) + residual, computed on the float32 sums and rounded once.\n\n"
      "input [..., I], weight [O, I], bias [O] or None, residual broadcasting to [..., O] or None; "
      "one float dtype.\n"
      "activation: 'none', 'relu', 'gelu', 'gelu_tanh', 'silu', 'tanh' or 'sigmoid'. For backward "
      "the value before the\n"
      "activation is kept, rounded to the dtype. Raises ShapeError, DTypeError, ValueError.");
  b.function(
      "gated_linear",
      [](const Tensor& x, const Tensor& w, const Out& bias, const std::string& activation) {
        return gated_linear(x, w, or_undefined(bias), activation);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(),
      py::arg("activation") = "silu",
      "y = act(x g^T + bias_g) * (x u^T + bias_u), rounded once; weight = [g; u] of shape [2 O, "
      "I].\n\n"
      "SwiGLU with 'silu', GeGLU with 'gelu', GLU with 'sigmoid' on the first half (Shazeer 2020). "
      "float32, float16,\n"
      "bfloat16; bias [2 O] or None -> [..., O].");
  b.function(
      "scaled_matmul",
      [](const Tensor& x, const Tensor& y, const std::optional<Operand>& sx,
         const std::optional<Operand>& sy, const Out& bias, std::optional<DType> out_dtype) {
        const auto scale = [&](const std::optional<Operand>& s) {
          if (!s) return Tensor();
          const bool number = s->tensor.impl()->wrapped_number;
          return number ? to_device(to(s->tensor, DType::f32), x.device()) : s->tensor;
        };
        return scaled_matmul(x, y, scale(sx), scale(sy), or_undefined(bias), out_dtype);
      },
      py::arg("input"), py::arg("other"), py::arg("scale_a") = py::none(),
      py::arg("scale_b") = py::none(), py::arg("bias") = py::none(),
      py::arg("out_dtype") = py::none(),
      "(scale_a * input) @ (scale_b * other) + bias for narrow floats, on every processor.\n\n"
      "input [..., M, K], other [K, N]: float8_e4m3fn, float8_e5m2, float16, bfloat16 or float32, "
      "each its own dtype.\n"
      "scale_a: a number, float32 scalar, [M] or [M, 1], [M, ceil(K/128)] or [ceil(M/128), "
      "ceil(K/128)]; "
      "scale_b: scalar, [N] or\n"
      "[1, N], [ceil(K/128), N] or [ceil(K/128), ceil(N/128)]; None is 1. Sums are float32; one "
      "rounding to out_dtype\n"
      "(default: dtype of input, bfloat16 for float8; float8 results saturate). NaN and infinite "
      "elements or scales\n"
      "follow IEEE arithmetic. Gradients for input and bias; other and the scales are constants.\n"
      "Raises ShapeError, DTypeError naming what exists.");
  b.function(
      "bilinear",
      [](const Tensor& x1, const Tensor& x2, const Tensor& w, const Out& bias) {
        return bilinear(x1, x2, w, or_undefined(bias));
      },
      py::arg("input1"), py::arg("input2"), py::arg("weight"), py::arg("bias") = py::none(),
      "y[..., o] = sum_ij x1[..., i] w[o, i, j] x2[..., j] + bias[o].\n\n"
      "input1 [..., I], input2 [..., J], weight [O, I, J], bias [O] or None -> [..., O].");
}

void bind_precision(Binder& b) {
  b.function("_float32_matmul_precision",
             [] { return static_cast<int>(float32_matmul_precision()); });
  b.function(
      "_set_float32_matmul_precision",
      [](int64_t level) { set_float32_matmul_precision(static_cast<MatmulPrecision>(level)); },
      py::arg("level"));
}

// The state behind tercel.amp.autocast: (enabled, dtype, cache) of this thread.
void bind_autocast(Binder& b) {
  b.function("_autocast_state", [] {
    const AutocastState s = autocast_state();
    return std::make_tuple(s.enabled, s.dtype, s.cache);
  });
  b.function(
      "_set_autocast",
      [](bool enabled, DType dtype, bool cache) { set_autocast({enabled, dtype, cache}); },
      py::arg("enabled"), py::arg("dtype"), py::arg("cache"));
  b.function("_clear_autocast_cache", &clear_autocast_cache);
}

// einsum's sublist form: operand, labels, operand, labels, ..., [output labels]; labels are 0..51.
std::string equation_from_sublists(const py::args& args, TensorList* operands) {
  const auto text = [](const py::handle& labels) {
    std::string s;
    for (const py::handle& item : py::reinterpret_borrow<py::sequence>(labels)) {
      if (item.is(py::ellipsis())) {
        s += "...";
        continue;
      }
      Dims number;
      TERCEL_CHECK(PyIndex_Check(item.ptr()) && dims_from_object(item.ptr(), &number), Type,
                   "einsum: sublist labels must be ints, got ", Py_TYPE(item.ptr())->tp_name);
      const int64_t label = number[0];
      TERCEL_CHECK(label >= 0 && label < 52, Value,
                   "einsum: sublist labels must be in [0, 52), got ", label);
      // PyTorch orders sublist labels 0-25 as A-Z and 26-51 as a-z.
      s += static_cast<char>(label < 26 ? 'A' + label : 'a' + (label - 26));
    }
    return s;
  };
  std::string equation;
  size_t i = 0;
  for (; i + 1 < args.size(); i += 2) {
    TERCEL_CHECK(is_tensor_object(args[i].ptr()) && py::isinstance<py::sequence>(args[i + 1]), Type,
                 "einsum: expected operand, labels, operand, labels, ..., [output labels]");
    operands->push_back(tensor_of(args[i].ptr()));
    equation += (i ? "," : "") + text(args[i + 1]);
  }
  if (i < args.size()) {
    TERCEL_CHECK(py::isinstance<py::sequence>(args[i]) && !is_tensor_object(args[i].ptr()), Type,
                 "einsum: expected operand, labels, operand, labels, ..., [output labels]");
    equation += "->" + text(args[i]);
  }
  return equation;
}

void bind_einsum(Binder& b) {
  b.function(
      "einsum",
      [](const py::args& args) {
        TERCEL_CHECK(args.size() > 0, Type, "einsum: expected an equation and operands");
        TensorList operands;
        if (is_tensor_object(args[0].ptr())) {
          const std::string equation = equation_from_sublists(args, &operands);
          return einsum(equation, operands);
        }
        TERCEL_CHECK(py::isinstance<py::str>(args[0]), Type, "einsum: the equation must be a str");
        const std::string equation = args[0].cast<std::string>();
        if (args.size() == 2 && !is_tensor_object(args[1].ptr())) {
          return einsum(equation, tensors_of(args[1], "einsum"));
        }
        return einsum(equation, tensors_of(args[py::slice(1, {}, {})], "einsum"));
      },
      "einsum(equation, *operands): sum of products over labelled dims, e.g. 'bij,bjk->bik'.\n\n"
      "Letters label dims, '...' stands for dims that broadcast, a repeated letter takes a "
      "diagonal, letters missing\n"
      "after '->' are summed. Without '->' the result has the ellipsis dims, then the letters that "
      "appear once, in\n"
      "alphabetical order. Operands are contracted from left to right as (batched) matrix "
      "products. The sublist form\n"
      "einsum(op, [0, 1], op, [1, 2], [0, 2]) is accepted. Raises ValueError, ShapeError.\n\n"
      ">>> tercel.einsum('ii', tercel.eye(3)).item()\n3.0");
  b.function(
      "tensordot",
      [](const Tensor& x, const Tensor& y, const py::object& dims, const Out& out) {
        if (py::isinstance<py::int_>(dims))
          return into_out(tensordot(x, y, dims.cast<int64_t>()), out, "tensordot");
        TERCEL_CHECK(py::isinstance<py::sequence>(dims) && py::len(dims) == 2, Type,
                     "tensordot: dims must be an int or a pair of dim lists");
        const auto pair = py::reinterpret_borrow<py::sequence>(dims);
        Dims of_x, of_y;
        TERCEL_CHECK(dims_from_object(py::object(pair[0]).ptr(), &of_x) &&
                         dims_from_object(py::object(pair[1]).ptr(), &of_y),
                     Type, "tensordot: dims must be an int or a pair of dim lists");
        return into_out(tensordot(x, y, of_x, of_y), out, "tensordot");
      },
      py::arg("a"), py::arg("b"), py::arg("dims") = 2, py::arg("out") = py::none(),
      "Sum of products over the last `dims` dims of a and the first of b, or over the dims listed "
      "in\n"
      "dims=(dims_a, dims_b).");
  both_out(b, "kron", &kron, py::arg("input"), py::arg("other"),
           "Kronecker product: each element of input times other.");
  both_out(
      b, "matrix_power", &matrix_power, py::arg("input"), py::arg("n"),
      "n-th power of square matrices [..., N, N] by repeated squaring; n = 0 is the identity, n "
      "< 0 is not\n"
      "provided yet.");
  b.function(
      "multi_dot",
      [](const TensorList& tensors, const Out& out) {
        return into_out(multi_dot(tensors), out, "multi_dot");
      },
      py::arg("tensors"), py::kw_only(), py::arg("out") = py::none(),
      "Product of two or more matrices in the order that needs the fewest flops. The first and the "
      "last may be 1-D.");
  b.function(
      "chain_matmul",
      [](const py::args& args) { return multi_dot(tensors_from_args(args, "chain_matmul")); },
      "chain_matmul(*matrices): see multi_dot.");
}

}  // namespace

void bind_matmul(Binder& b) {
  bind_products(b);
  bind_linear(b);
  bind_packed(b);
  bind_einsum(b);
  bind_autocast(b);
  bind_precision(b);
}

}  // namespace tercel
