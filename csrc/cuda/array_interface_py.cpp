// __cuda_array_interface__, version 3: memory of a GPU shared with other libraries in both
// directions. https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html
#include "cuda/array_interface.h"

#include "cuda/runtime.h"
#include "python/bind.h"

namespace tercel {
namespace {

constexpr const char* kTypes[kNumDTypes] = {"<f8", "<f4", "<f2", nullptr, nullptr, nullptr,
                                            "|i1", "|u1", "<i2", "<i4",   "<i8",   "|b1"};
const char* typestr(DType t) { return kTypes[static_cast<int>(t)]; }

py::dict array_interface(const Tensor& t) {
  TERCEL_CHECK(t.device().is_cuda(), Runtime, "__cuda_array_interface__: the tensor is on ",
               to_string(t.device()));
  TERCEL_CHECK(!t.requires_grad(), Runtime,
               "__cuda_array_interface__: the tensor requires grad; use detach() first");
  TERCEL_CHECK(typestr(t.dtype()), DType, "__cuda_array_interface__: dtype ", dtype_name(t.dtype()),
               " has no type string; use DLPack");
  py::tuple strides(t.dim());
  for (int i = 0; i < t.dim(); ++i) strides[static_cast<size_t>(i)] = t.stride(i) * t.itemsize();
  void* stream = cuda::current_stream(t.device().index);
  py::dict d;
  d["shape"] = py::tuple(py::cast(t.shape()));
  d["typestr"] = typestr(t.dtype());
  d["data"] = py::make_tuple(t.numel() ? reinterpret_cast<intptr_t>(t.data(t.device())) : 0,
                             t.storage()->readonly());
  d["strides"] = strides;
  d["version"] = 3;
  d["stream"] = stream ? reinterpret_cast<intptr_t>(stream) : intptr_t{1};
  return d;
}

constexpr const char* kOp = "__cuda_array_interface__";

DType dtype_from_typestr(const std::string& type) {
  for (int i = 0; i < kNumDTypes; ++i) {
    if (kTypes[i] && type == kTypes[i]) return static_cast<DType>(i);
  }
  fail(ErrorKind::DType, str(kOp, ": element type '", type, "' is not supported"));
}

// Strides in elements; the interface has bytes, or None for a contiguous array.
Strides strides_of(const py::dict& d, const Shape& shape, int64_t itemsize) {
  if (!d.contains("strides") || py::object(d["strides"]).is_none())
    return contiguous_strides(shape);
  const auto bytes = d["strides"].cast<std::vector<int64_t>>();
  TERCEL_CHECK(static_cast<int>(bytes.size()) == shape.size(), Value, kOp, ": expected ",
               shape.size(), " strides, got ", bytes.size());
  Strides strides;
  for (int i = 0; i < shape.size(); ++i) {
    const int64_t s = bytes[static_cast<size_t>(i)];
    TERCEL_CHECK((s >= 0 || shape[i] <= 1) && s % itemsize == 0, Value, kOp,
                 ": strides must be multiples of the ", itemsize, " bytes of an element, not ",
                 "negative, got ", s);
    strides.push_back(s / itemsize);
  }
  return strides;
}

// The producer's stream, for which ours waits. None: no waiting is needed.
void wait_for_producer(const py::dict& d, int device) {
  if (!d.contains("stream") || py::object(d["stream"]).is_none()) return;
  const auto stream = d["stream"].cast<intptr_t>();
  TERCEL_CHECK(stream != 0, Value, kOp, ": stream 0 is ambiguous; 1 or 2 is meant");
  cuda::wait_stream(device, cuda::current_stream(device),
                    stream == 1 ? nullptr : reinterpret_cast<void*>(stream));
}

void drop_owner(void* owner) {
  if (!Py_IsInitialized()) return;
  const PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(static_cast<PyObject*>(owner));
  PyGILState_Release(state);
}

}  // namespace

Tensor tensor_from_cuda_array(PyObject* source) {
  const py::object owner = py::reinterpret_borrow<py::object>(source);
  const auto d = owner.attr("__cuda_array_interface__").cast<py::dict>();
  const DType dtype = dtype_from_typestr(d["typestr"].cast<std::string>());
  TERCEL_CHECK(!d.contains("mask") || py::object(d["mask"]).is_none(), NotImplemented, kOp,
               ": masked arrays are not supported");
  const Shape shape = d["shape"].cast<Dims>();
  const int64_t numel = checked_numel(shape, kOp);
  const Strides strides = strides_of(d, shape, dtype_size(dtype));
  const auto [address, readonly] = d["data"].cast<std::pair<intptr_t, bool>>();
  int64_t last = 0;
  for (int i = 0; numel && i < shape.size(); ++i)
    last = checked_add(last, checked_mul(shape[i] - 1, strides[i], kOp), kOp);
  const int64_t nbytes = numel ? checked_mul(last + 1, dtype_size(dtype), kOp) : 0;
  int index = cuda::current_device();
  void* data = reinterpret_cast<void*>(address);
  const TercelCudaApi& a = cuda::api(kOp);
  if (numel > 0) {
    TERCEL_CHECK(address % dtype_size(dtype) == 0, Value, kOp,
                 ": the memory is not aligned to the element size");
    cuda::check(a.pointer_device(data, &index), "cudaPointerGetAttributes");
    TERCEL_CHECK(index >= 0, Value, kOp, ": the address is not memory of a GPU");
  }
  wait_for_producer(d, index);
  Py_INCREF(source);
  return Tensor(make_ref<TensorImpl>(Storage::wrap(data, nbytes, drop_owner, source, readonly,
                                                   {DeviceType::cuda, static_cast<int8_t>(index)}),
                                     0, shape, strides, dtype));
}

void bind_cuda_array_interface(Binder& b) {
  b.property("__cuda_array_interface__", array_interface,
             "Version 3 of the interface; AttributeError-like RuntimeError for a CPU tensor.");
}

}  // namespace tercel
