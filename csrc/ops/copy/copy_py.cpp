// Python names of copies, casts and tensor metadata.
#include "ops/copy/copy.h"

#include "cuda/runtime.h"
#include "ops/view/view.h"
#include "python/out.h"

namespace tercel {
namespace {

void require_cuda(Device device) { cuda::api(str("tensor.to('", to_string(device), "')").c_str()); }

struct ToArguments {
  std::optional<DType> dtype;
  std::optional<Device> device;
  bool copy = false, non_blocking = false;
};

// to(dtype) | to(device) | to(device, dtype) | to(other), with non_blocking, copy.
Tensor to_any(const Tensor& t, const py::args& args, const py::kwargs& kwargs) {
  ToArguments a;
  auto take = [&](py::handle value, const char* name) {
    DType dtype;
    Device device;
    if (value.is_none()) return;
    if (dtype_from_object(value.ptr(), &dtype)) {
      a.dtype = dtype;
    } else if (device_from_object(value.ptr(), &device)) {
      a.device = device;
    } else if (is_tensor_object(value.ptr())) {
      a.dtype = tensor_of(value.ptr()).dtype();
      a.device = tensor_of(value.ptr()).device();
    } else {
      fail(ErrorKind::Type, str("to: ", name, " must be a dtype, device or Tensor, got ",
                                Py_TYPE(value.ptr())->tp_name));
    }
  };
  size_t position = 0;
  for (py::handle value : args) {
    if (PyBool_Check(value.ptr())) {
      // to(x, non_blocking, copy)
      (position >= 2 ? a.copy : a.non_blocking) = value.ptr() == Py_True;
    } else {
      take(value, "argument");
    }
    ++position;
  }
  for (auto [key, value] : kwargs) {
    const std::string name = py::str(key);
    if (name == "copy") {
      a.copy = value.cast<bool>();
    } else if (name == "non_blocking") {
      a.non_blocking = value.cast<bool>();
    } else if (name == "dtype" || name == "device" || name == "other") {
      take(value, name.c_str());
    } else {
      TERCEL_CHECK(name == "memory_format", Type, "to: unexpected argument '", name, "'");
    }
  }
  const DType dtype = a.dtype.value_or(t.dtype());
  const Device device = a.device.value_or(t.device());
  if (device == t.device()) return a.copy ? to_copy(t, dtype) : to(t, dtype);
  // Converted where it takes fewer bytes over the bus, or on the device.
  if (device.is_cuda()) require_cuda(device);
  const bool narrow_first = dtype_size(dtype) < t.itemsize();
  return narrow_first ? to_device(to(t, dtype), device, a.non_blocking)
                      : to(to_device(t, device, a.non_blocking), dtype);
}

Device cuda_device(const py::object& device) {
  Device d = parse_device("cuda");
  if (py::isinstance<py::int_>(device)) {
    d = parse_device("cuda:" + std::to_string(device.cast<int>()));
  } else if (!device.is_none()) {
    TERCEL_CHECK(device_from_object(device.ptr(), &d) && d.is_cuda(), Value,
                 "cuda: expected a CUDA device");
  }
  return d;
}

}  // namespace

void bind_copy(Binder& b) {
  b.both(
      "clone", [](const Tensor& t, const py::object&) { return clone(t); }, py::arg("input"),
      py::kw_only(), py::arg("memory_format") = py::none(),
      "Copy with its own memory; differentiable.");
  b.method(
      "contiguous", [](const Tensor& t, const py::object&) { return contiguous(t); },
      py::arg("memory_format") = py::none(),
      "Itself if the elements are in row-major order, else a copy in that order.");
  b.method(
      "is_contiguous", [](const Tensor& t, const py::object&) { return t.is_contiguous(); },
      py::arg("memory_format") = py::none(),
      "True if the elements are in row-major order without gaps.");
  b.method("to", to_any,
           "to(dtype), to(device), to(device, dtype), to(other): converted tensor, or itself when "
           "nothing changes.\n\n"
           "copy=True always copies. Floats round to nearest even; float8 saturates; float to "
           "integer truncates.");
  b.method(
      "_is_inference", [](const Tensor& t) { return t.impl()->inference; },
      "True for a tensor made in inference mode.");
  b.method(
      "type_as", [](const Tensor& t, const Tensor& other) { return to(t, other.dtype()); },
      py::arg("other"), "Cast to the dtype of `other`.");
  const std::pair<const char*, DType> casts[] = {{"double", DType::f64}, {"float", DType::f32},
                                                 {"half", DType::f16},   {"bfloat16", DType::bf16},
                                                 {"char", DType::i8},    {"byte", DType::u8},
                                                 {"short", DType::i16},  {"int", DType::i32},
                                                 {"long", DType::i64},   {"bool", DType::b8}};
  for (const auto& [name, dtype] : casts) {
    b.method(
        name, [dtype = dtype](const Tensor& t) { return to(t, dtype); },
        "Cast; itself if it has the dtype already.");
  }
  b.method(
      "cpu", [](const Tensor& t, const py::object&) { return to_device(t, Device{}); },
      py::arg("memory_format") = py::none(), "Copy in host memory; itself if it is there already.");
  b.method(
      "cuda",
      [](const Tensor& t, const py::object& device, bool non_blocking) {
        const Device d = cuda_device(device);
        require_cuda(d);
        return to_device(t, d, non_blocking);
      },
      py::arg("device") = py::none(), py::arg("non_blocking") = false,
      "Copy on a CUDA device (default: the current one); itself if it is there already.");
  b.method(
      "pin_memory",
      [](const Tensor& t) { return cuda::unavailable_reason().empty() ? pin_memory(t) : t; },
      "Copy in page-locked memory, from which copies to a CUDA device can overlap with other work; "
      "itself "
      "without CUDA.");
  b.method(
      "is_pinned", [](const Tensor& t) { return cuda::is_pinned(*t.storage()); },
      "True if the tensor is in page-locked memory.");
  b.method(
      "copy_",
      [](Tensor t, const Operand& src, bool non_blocking) {
        return copy_(t, src.tensor, non_blocking);
      },
      py::arg("src"), py::arg("non_blocking") = false,
      "Copies src (a tensor, broadcast and converted, or a number) into this tensor.");
  b.method(
      "fill_",
      [](Tensor t, const Operand& value) {
        TERCEL_CHECK(value.tensor.numel() == 1, Shape,
                     "fill_: expected a number or 0-d tensor, got shape ", value.tensor.shape());
        if (value.tensor.requires_grad()) {
          TERCEL_CHECK(value.tensor.dim() == 0, Shape,
                       "fill_: expected a number or 0-d tensor, got shape ", value.tensor.shape());
          return copy_(t, value.tensor);
        }
        return fill_(t, item(value.tensor));
      },
      py::arg("value"), "Sets every element to a number.");
  b.method("zero_", [](Tensor t) { return zero_(t); }, "Sets every element to 0.");
  // metadata
  b.method(
      "size",
      [](const Tensor& t, std::optional<int64_t> dim) -> py::object {
        if (!dim) return py::reinterpret_steal<py::object>(size_object(t.shape()));
        TERCEL_CHECK(t.dim() > 0, Index, "size: a 0-d tensor has no dimensions");
        return py::int_(t.size(normalize_dim(*dim, t.dim(), "size")));
      },
      py::arg("dim") = py::none(), "Sizes, or the size of one dimension.");
  b.method(
      "stride",
      [](const Tensor& t, std::optional<int64_t> dim) -> py::object {
        if (dim) {
          TERCEL_CHECK(t.dim() > 0, Index, "stride: a 0-d tensor has no dimensions");
          return py::int_(t.stride(normalize_dim(*dim, t.dim(), "stride")));
        }
        py::tuple out(static_cast<size_t>(t.dim()));
        for (int i = 0; i < t.dim(); ++i) out[static_cast<size_t>(i)] = t.stride(i);
        return out;
      },
      py::arg("dim") = py::none(), "Strides in elements.");
  b.method("dim", [](const Tensor& t) { return t.dim(); }, "Number of dimensions.");
  b.method("ndimension", [](const Tensor& t) { return t.dim(); }, "Number of dimensions.");
  b.both(
      "numel", [](const Tensor& t) { return t.numel(); }, py::arg("input"), "Number of elements.");
  b.method("nelement", [](const Tensor& t) { return t.numel(); }, "Number of elements.");
  b.both(
      "get_device",
      [](const Tensor& t) { return t.device().is_cpu() ? -1 : static_cast<int>(t.device().index); },
      py::arg("input"), "Ordinal of the CUDA device of the tensor; -1 on the CPU.");
  b.function(
      "_into_out",
      [](const Tensor& result, const Tensor& out, const std::string& op) {
        return into_out(result, out, op.c_str());
      },
      py::arg("result"), py::arg("out"), py::arg("op"));
  b.method("element_size", [](const Tensor& t) { return t.itemsize(); }, "Bytes per element.");
  b.method(
      "storage_offset", [](const Tensor& t) { return t.offset(); },
      "Offset in the storage, in elements.");
  b.method(
      "data_ptr",
      [](const Tensor& t) {
        return reinterpret_cast<uintptr_t>(t.numel() ? t.data(t.device()) : nullptr);
      },
      "Address of the first element.");
  b.method(
      "_storage_id", [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.storage().get()); },
      "Identity of the storage: equal for views of one buffer.");
  b.method(
      "_storage_nbytes", [](const Tensor& t) { return t.storage()->nbytes(); },
      "Bytes of the storage.");
  b.both(
      "is_floating_point", [](const Tensor& t) { return is_float(t.dtype()); }, py::arg("input"),
      "True for float dtypes.");
  b.both(
      "is_complex", [](const Tensor&) { return false; }, py::arg("input"),
      "False: complex dtypes are not provided yet.");
  b.method(
      "is_signed", [](const Tensor& t) { return !is_unsigned(t.dtype()) && !is_bool(t.dtype()); },
      "True for signed dtypes.");
  b.function(
      "is_tensor", [](const py::object& o) { return is_tensor_object(o.ptr()); }, py::arg("obj"),
      "True for a Tensor.");
  b.function(
      "result_type",
      [](const Operand& a, const Operand& c) { return result_type({&a.tensor, &c.tensor}); },
      py::arg("tensor1"), py::arg("tensor2"), "Dtype of an op on the two operands.");
  b.function("promote_types", &promote, py::arg("type1"), py::arg("type2"),
             "Smallest dtype that both convert to.");
  b.function(
      "can_cast",
      [](DType from, DType to) {
        auto category = [](DType t) {
          return static_cast<int>(kDTypeInfo[static_cast<int>(t)].category);
        };
        return category(to) >= category(from);
      },
      py::arg("from_"), py::arg("to"), "True if the category of `to` can hold that of `from_`.");
}

}  // namespace tercel
