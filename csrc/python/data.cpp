// Tensors from Python data: nested sequences, numbers, arrays (buffers.cpp).
#include <cstring>

#include "cuda/array_interface.h"
#include "cuda/runtime.h"
#include "ops/copy/copy.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"
#include "python/bind.h"
#include "python/buffers.h"
#include "python/default_device.h"
#include "python/tensor_type.h"

namespace tercel {
namespace {

// ---- nested sequences
// ------------------------------------------------------------------------------

struct Inferred {
  Shape shape;
  bool any_float = false, any_int = false, any_bool = false, any_number = false;
  std::optional<DType> tensor_dtype;
};

bool is_sequence(PyObject* o) {
  return PyList_Check(o) || PyTuple_Check(o) ||
         (PySequence_Check(o) && !PyUnicode_Check(o) && !PyBytes_Check(o) && !is_tensor_object(o) &&
          !PyObject_CheckBuffer(o));
}

// Elements that are tensors or arrays themselves.
bool is_array(PyObject* o) {
  return is_tensor_object(o) || (PyObject_CheckBuffer(o) && !PyBytes_Check(o));
}

pybind11::object fast_sequence(PyObject* o) {
  PyObject* fast = PySequence_Fast(o, "tensor: expected a sequence");
  if (!fast) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(fast);
}

// Depth is bounded by kMaxDims (Dims raises beyond it), so self-referential lists end here.
void infer(PyObject* o, int depth, bool first, Inferred* out) {
  if (is_array(o)) {
    const Tensor t = is_tensor_object(o) ? tensor_of(o) : from_buffer_object(o, "tensor");
    if (first) {
      for (int64_t s : t.shape()) out->shape.push_back(s);
    }
    for (int i = 0; i < t.dim(); ++i) {
      TERCEL_CHECK(depth + t.dim() == out->shape.size() && t.size(i) == out->shape[depth + i],
                   Value, "tensor: element of shape ", t.shape(), " at depth ", depth,
                   " does not fit shape ", out->shape);
    }
    TERCEL_CHECK(depth + t.dim() == out->shape.size(), Value,
                 "tensor: elements are nested to different depths");
    out->tensor_dtype = out->tensor_dtype ? promote(*out->tensor_dtype, t.dtype()) : t.dtype();
    return;
  }
  if (is_sequence(o)) {
    const pybind11::object fast = fast_sequence(o);
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(fast.ptr());
    if (first) {
      out->shape.push_back(n);
    } else {
      TERCEL_CHECK(depth < out->shape.size(), Value,
                   "tensor: elements are nested to different depths");
      TERCEL_CHECK(out->shape[depth] == n, Value, "tensor: expected a sequence of length ",
                   out->shape[depth], " at depth ", depth, ", got ", n);
    }
    for (Py_ssize_t i = 0; i < n; ++i)
      infer(PySequence_Fast_GET_ITEM(fast.ptr(), i), depth + 1, first && i == 0, out);
    return;
  }
  TERCEL_CHECK(depth == out->shape.size(), Value,
               "tensor: elements are nested to different depths");
  Scalar s(0);
  TERCEL_CHECK(scalar_from_object(o, &s), Type,
               "tensor: expected numbers, sequences or arrays, got ", Py_TYPE(o)->tp_name);
  out->any_number = true;
  (s.is_float() ? out->any_float : s.is_bool() ? out->any_bool : out->any_int) = true;
}

template <class T>
void store(char* p, const Scalar& s) {
  T v;
  if constexpr (std::is_same_v<T, bool>) {
    v = s.to_double() != 0;
  } else if constexpr (std::is_integral_v<T>) {
    v = static_cast<T>(s.to_int());
  } else if constexpr (std::is_same_v<T, double>) {
    v = s.to_double();
  } else {
    v = T(static_cast<float>(s.to_double()));
  }
  std::memcpy(p, &v, sizeof v);
}

void fill_from(PyObject* o, int depth, const Tensor& out, int64_t* at,
               void (*put)(char*, const Scalar&)) {
  if (is_array(o)) {
    const Tensor t = is_tensor_object(o) ? tensor_of(o) : from_buffer_object(o, "tensor");
    Tensor window = make_alias(out);
    window.impl()->set_geometry(out.storage(), *at, t.shape(), contiguous_strides(t.shape()));
    strided_copy(window, t);
    *at += t.numel();
    return;
  }
  if (depth < out.dim()) {
    const pybind11::object fast = fast_sequence(o);
    // Checked again: a user's __getitem__ may have changed its mind since the first pass.
    TERCEL_CHECK(PySequence_Fast_GET_SIZE(fast.ptr()) == out.size(depth), Value,
                 "tensor: a sequence changed while it was read");
    for (Py_ssize_t i = 0; i < out.size(depth); ++i) {
      fill_from(PySequence_Fast_GET_ITEM(fast.ptr(), i), depth + 1, out, at, put);
    }
    return;
  }
  Scalar s(0);
  TERCEL_CHECK(scalar_from_object(o, &s), Type, "tensor: expected a number, got ",
               Py_TYPE(o)->tp_name);
  check_fits(s, out.dtype(), "tensor");
  put(static_cast<char*>(out.data()) + *at * out.itemsize(), s);
  ++*at;
}

Tensor from_sequence(PyObject* data, std::optional<DType> dtype) {
  Inferred info;
  infer(data, 0, true, &info);
  if (!dtype) {
    dtype = info.any_float  ? default_dtype()
            : info.any_int  ? DType::i64
            : info.any_bool ? DType::b8
                            : default_dtype();
    if (info.tensor_dtype)
      dtype = info.any_number ? promote(*info.tensor_dtype, *dtype) : *info.tensor_dtype;
  }
  Tensor out = empty(info.shape, *dtype);
  int64_t at = 0;
  void (*put)(char*, const Scalar&) = nullptr;
  visit<TERCEL_FLOATS, TERCEL_FP8, TERCEL_INTS, bool>(*dtype, "tensor",
                                                      [&]<class T>() { put = store<T>; });
  fill_from(data, 0, out, &at, put);
  return out;
}

pybind11::object to_list(const Tensor& t, int depth, const char* p) {
  if (depth == t.dim()) {
    Tensor one = make_alias(t);
    one.impl()->set_geometry(t.storage(),
                             (p - static_cast<char*>(t.storage()->data())) / t.itemsize(), {}, {});
    return pybind11::cast(item(one));
  }
  pybind11::list out(static_cast<size_t>(t.size(depth)));
  for (int64_t i = 0; i < t.size(depth); ++i) {
    PyList_SET_ITEM(out.ptr(), i,
                    to_list(t, depth + 1, p + i * t.stride(depth) * t.itemsize()).release().ptr());
  }
  return out;
}

}  // namespace

Tensor tensor_from_data(PyObject* data, std::optional<DType> dtype, bool copy) {
  if (is_tensor_object(data)) {
    const Tensor& t = tensor_of(data);
    return copy ? to_copy(t.detach(), dtype.value_or(t.dtype())) : to(t, dtype.value_or(t.dtype()));
  }
  if (PyObject_CheckBuffer(data) && !PyBytes_Check(data) && !PyByteArray_Check(data)) {
    const Tensor t = from_buffer_object(data, "tensor");
    // A NumPy float64 array keeps its dtype: only Python floats become the default dtype.
    return copy || t.storage()->readonly() ? to_copy(t, dtype.value_or(t.dtype()))
                                           : to(t, dtype.value_or(t.dtype()));
  }
  const bool plain = PyList_CheckExact(data) || PyTuple_CheckExact(data) ||
                     PyFloat_CheckExact(data) || PyLong_CheckExact(data);
  if (!plain && PyObject_HasAttrString(data, "__cuda_array_interface__") && !PyType_Check(data)) {
    const Tensor t = tensor_from_cuda_array(data);
    return copy ? to_copy(t, dtype.value_or(t.dtype())) : to(t, dtype.value_or(t.dtype()));
  }
  if (!plain && PyObject_HasAttrString(data, "__array__") && !PyType_Check(data)) {
    pybind11::object array =
        pybind11::reinterpret_borrow<pybind11::object>(data).attr("__array__")();
    if (PyObject_CheckBuffer(array.ptr())) return tensor_from_data(array.ptr(), dtype, copy);
  }
  return from_sequence(data, dtype);
}

// ---- bindings
// --------------------------------------------------------------------------------------

void bind_data(Binder& b) {
  b.function(
      "tensor",
      [](const py::object& data, std::optional<DType> dtype, std::optional<Device> device,
         bool requires_grad, bool pin) {
        Tensor t = tensor_from_data(data.ptr(), dtype, true);
        if (pin) t = pin_memory(t);
        if (device) {
          t = to_device(t, *device);
        } else if (!pin && !is_tensor_object(data.ptr()) && t.device().is_cpu()) {
          t = to_device(t, default_device());
        }
        if (requires_grad) t.set_requires_grad(true);
        return t;
      },
      py::arg("data"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false, py::arg("pin_memory") = false,
      R"(Tensor with a copy of `data` (numbers, nested sequences, arrays, tensors).

dtype: inferred by default: bool, int64, or the default float dtype for Python numbers; kept for arrays.
Raises ValueError for ragged sequences, OverflowError for integers that do not fit, TypeError otherwise.

Example: tercel.tensor([[1, 2], [3, 4]], dtype=tercel.float32))");
  b.function(
      "as_tensor",
      [](const py::object& data, std::optional<DType> dtype, std::optional<Device> device) {
        const Tensor t = tensor_from_data(data.ptr(), dtype, false);
        if (device) return to_device(t, *device);
        const bool placed = is_tensor_object(data.ptr()) || !t.device().is_cpu();
        return placed ? t : to_device(t, default_device());
      },
      py::arg("data"), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      "Tensor from `data`, sharing memory where possible (tensors and writable arrays of the "
      "dtype).");
  b.method(
      "new_tensor",
      [](const Tensor& self, const py::object& data, std::optional<DType> dtype,
         std::optional<Device> device, bool requires_grad, bool) {
        Tensor t = tensor_from_data(data.ptr(), dtype ? *dtype : self.dtype(), true);
        t = to_device(t, device.value_or(self.device()));
        if (requires_grad) t.set_requires_grad(true);
        return t;
      },
      py::arg("data"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false, py::arg("pin_memory") = false,
      "tensor(data) with this tensor's dtype and device by default.");
  b.function(
      "_from_buffer",
      [](const py::object& array) { return from_buffer_object(array.ptr(), "from_numpy"); },
      py::arg("array"));
  b.function(
      "frombuffer",
      [](const py::object& buffer, DType dtype, int64_t count, int64_t offset, bool requires_grad) {
        BufferOwner owner;
        if (PyObject_GetBuffer(buffer.ptr(), owner.view, PyBUF_WRITABLE) != 0) {
          PyErr_Clear();
          if (PyObject_GetBuffer(buffer.ptr(), owner.view, PyBUF_SIMPLE) != 0)
            throw py::error_already_set();
        }
        owner.held = true;
        const int64_t size = dtype_size(dtype), have = owner.view->len;
        TERCEL_CHECK(offset >= 0 && offset <= have, Value, "frombuffer: offset must be 0 to ", have,
                     " bytes, got ", offset);
        if (count < 0) {
          TERCEL_CHECK(count == -1, Value, "frombuffer: count must be -1 or >= 0, got ", count);
          TERCEL_CHECK((have - offset) % size == 0, Value, "frombuffer: ", have - offset,
                       " bytes are not a multiple of the element size ", size);
          count = (have - offset) / size;
        }
        TERCEL_CHECK(checked_mul(count, size, "frombuffer") <= have - offset, Value,
                     "frombuffer: ", count, " elements of ", dtype_name(dtype), " need ",
                     count * size, " bytes, the buffer has ", have - offset);
        char* data = static_cast<char*>(owner.view->buf) + offset;
        TERCEL_CHECK(reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(size) == 0, Value,
                     "frombuffer: offset ", offset, " is not aligned to the element size ", size);
        Py_buffer* view = owner.give();
        Tensor t(make_ref<TensorImpl>(
            Storage::wrap(data, count * size, release_buffer, view, view->readonly), 0,
            Shape{count}, Strides{1}, dtype));
        if (requires_grad) t.set_requires_grad(true);
        return t;
      },
      py::arg("buffer"), py::kw_only(), py::arg("dtype"), py::arg("count") = -1,
      py::arg("offset") = 0, py::arg("requires_grad") = false,
      R"(1-d tensor over the memory of an object with the buffer protocol; no copy.

count: elements (-1: to the end); offset: bytes. The buffer is locked and kept alive; a read-only buffer
gives a tensor that refuses in-place writes.)");
  b.method(
      "numpy",
      [](const py::object& self, bool force) {
        return py::module_::import("tercel._numpy")
            .attr("to_numpy")(self, py::arg("force") = force);
      },
      py::kw_only(), py::arg("force") = false, "NumPy array that shares this tensor's memory.");
  b.method(
      "__array__",
      [](const py::object& self, const py::object& dtype, const py::object& copy) {
        return py::module_::import("tercel._numpy").attr("array_of")(self, dtype, copy);
      },
      py::arg("dtype") = py::none(), py::kw_only(), py::arg("copy") = py::none(),
      "For numpy.asarray.");
  b.method(
      "__array_wrap__",
      [](const py::object&, const py::object& array, const py::args&) {
        return py::module_::import("tercel._numpy").attr("wrap")(array);
      },
      "Results of NumPy's functions of a tensor are tensors.");
  // Copies: leaves only, as a copy of the graph is not meaningful. Subclass and attributes are
  // kept.
  auto duplicate = [](const py::object& self, bool deep, const py::object& memo) {
    const Tensor& t = tensor_of(self.ptr());
    TERCEL_CHECK(!deep || t.is_leaf(), Runtime,
                 "deepcopy: only leaf tensors can be copied; use detach() or clone()");
    Tensor data = deep ? clone(t.detach()) : t.detach();
    if (t.requires_grad() && t.is_leaf()) data.set_requires_grad(true);
    py::object out = py::reinterpret_steal<py::object>(wrap_tensor_as(Py_TYPE(self.ptr()), data));
    if (py::hasattr(self, "__dict__")) {
      py::dict attributes = self.attr("__dict__");
      if (deep) {
        memo[py::int_(reinterpret_cast<uintptr_t>(self.ptr()))] = out;
        attributes = py::module_::import("copy").attr("deepcopy")(attributes, memo);
      }
      out.attr("__dict__").attr("update")(attributes);
    }
    if (deep && t.grad().defined()) data.set_grad(clone(t.grad().detach()));
    return out;
  };
  b.method(
      "__deepcopy__",
      [duplicate](const py::object& self, const py::object& memo) {
        return duplicate(self, true, memo);
      },
      py::arg("memo"));
  b.method("__copy__",
           [duplicate](const py::object& self) { return duplicate(self, false, py::none()); });
  // For sending tensors to worker processes: raw bytes, dtype name and shape.
  b.method("__reduce_ex__", [](const py::object& self, const py::object&) {
    const Tensor& t = tensor_of(self.ptr());
    TERCEL_CHECK(!t.requires_grad() || t.is_leaf(), Runtime,
                 "pickle: only leaf tensors can be sent; use detach()");
    const Tensor c = contiguous(t.detach());
    py::bytes raw(static_cast<const char*>(c.data()),
                  static_cast<size_t>(c.numel() * c.itemsize()));
    return py::make_tuple(
        py::module_::import("tercel._core").attr("_rebuild"),
        py::make_tuple(raw, py::cast(c.dtype()), py::cast(c.shape()), t.requires_grad()));
  });
  b.function(
      "_rebuild", [](const py::bytes& raw, DType dtype, const Dims& shape, bool requires_grad) {
        Tensor t = empty(shape, dtype);
        const auto text = static_cast<std::string_view>(raw);
        TERCEL_CHECK(static_cast<int64_t>(text.size()) == t.numel() * t.itemsize(), Value,
                     "_rebuild: expected ", t.numel() * t.itemsize(), " bytes, got ", text.size());
        if (!text.empty()) std::memcpy(t.data(), text.data(), text.size());
        if (requires_grad) t.set_requires_grad(true);
        return t;
      });
  b.method("__contains__", [](const py::object& self, const py::object& value) {
    Scalar number(0);
    TERCEL_CHECK(is_tensor_object(value.ptr()) || scalar_from_object(value.ptr(), &number), Type,
                 "in: expected a number or a Tensor, got ", Py_TYPE(value.ptr())->tp_name);
    return py::cast<bool>(self.attr("__eq__")(value).attr("any")().attr("item")());
  });
  b.method("__reversed__",
           [](const Tensor& t) { return t.dim() == 0 ? t : flip(t, Dims::filled(1, 0)); });
  // NumPy's operators with a tensor on the right are the tensor's.
  b.tensor_type().attr("__array_priority__") = 1000;
  b.method("__format__", [](const py::object& self, const std::string& spec) {
    const Tensor& t = tensor_of(self.ptr());
    if (t.dim() == 0) return py::str(py::cast(item(t)).attr("__format__")(spec));
    TERCEL_CHECK(spec.empty(), Type, "format: only 0-d tensors take a format, got shape ",
                 t.shape());
    return py::str(self);
  });
  b.method(
      "tolist",
      [](const Tensor& t) {
        const Tensor host = to_device(t.detach(), Device{});
        return to_list(host, 0, static_cast<const char*>(host.data()));
      },
      "Nested list of Python numbers; a number for a 0-d tensor.");
  b.method(
      "item", [](const Tensor& t) { return item(t); },
      "The value of a one-element tensor as a Python number.");
}

}  // namespace tercel
