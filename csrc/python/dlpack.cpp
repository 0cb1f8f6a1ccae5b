// DLPack (https://dmlc.github.io/dlpack): zero-copy exchange with other array libraries.
//
// The structures below are the stable C ABI of the protocol, versions 0 and 1.
#include "cuda/runtime.h"
#include "ops/copy/copy.h"
#include "python/bind.h"
#include "python/errors.h"

namespace tercel {
namespace {

struct DLDevice {
  int32_t device_type;  // 1: CPU
  int32_t device_id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // elements; may be null for a compact row-major tensor
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor*);
};
struct DLPackVersion {
  uint32_t major, minor;
};
struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor dl_tensor;
};
constexpr uint64_t kReadOnly = 1, kCopied = 2;
constexpr const char* kName = "dltensor";
constexpr const char* kNameVersioned = "dltensor_versioned";

struct Code {
  DType dtype;
  uint8_t code, bits;
};
constexpr Code kCodes[] = {{DType::i8, 0, 8},   {DType::i16, 0, 16},    {DType::i32, 0, 32},
                           {DType::i64, 0, 64}, {DType::u8, 1, 8},      {DType::f16, 2, 16},
                           {DType::f32, 2, 32}, {DType::f64, 2, 64},    {DType::bf16, 4, 16},
                           {DType::b8, 6, 8},   {DType::f8e4m3, 10, 8}, {DType::f8e5m2, 12, 8}};

constexpr int kDLCuda = 2;

struct Exported {
  Tensor tensor;  // an alias: `x.data = y` and resize_ may give x other memory
  int64_t shape[kMaxDims], strides[kMaxDims];
};

DLTensor describe(Exported* e) {
  const Tensor& t = e->tensor;
  DLTensor d{};
  for (int i = 0; i < t.dim(); ++i) {
    e->shape[i] = t.size(i);
    e->strides[i] = t.stride(i);
  }
  d.data = t.data(t.device());
  d.device = t.device().is_cpu() ? DLDevice{1, 0} : DLDevice{kDLCuda, t.device().index};
  d.ndim = t.dim();
  for (const Code& c : kCodes) {
    if (c.dtype == t.dtype()) d.dtype = {c.code, c.bits, 1};
  }
  d.shape = e->shape;
  d.strides = e->strides;
  return d;
}

// Tensors may be released by a consumer on any thread.
void drop(void* context) {
  if (!Py_IsInitialized()) return;
  const PyGILState_STATE state = PyGILState_Ensure();
  delete static_cast<Exported*>(context);
  PyGILState_Release(state);
}

template <class Managed>
void capsule_destructor(PyObject* capsule) {
  const char* name = std::is_same_v<Managed, DLManagedTensor> ? kName : kNameVersioned;
  if (!PyCapsule_IsValid(capsule, name)) return;  // consumed: the consumer owns it
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  if (m && m->deleter) m->deleter(m);
}

// The consumer's stream (None and 1: the legacy default one, -1: no synchronisation wanted) waits
// for ours.
void consumer_waits(int device, const py::object& stream) {
  const int64_t number = stream.is_none() ? 1 : stream.cast<int64_t>();
  if (number == -1) return;
  TERCEL_CHECK(number != 0, Value, "__dlpack__: stream 0 is ambiguous; pass 1 or 2");
  void* consumer = number == 1 ? nullptr : reinterpret_cast<void*>(number);
  cuda::wait_stream(device, consumer, cuda::current_stream(device));
}

py::object to_dlpack(const Tensor& self, const py::object& stream, const py::object& max_version,
                     const py::object& dl_device, const py::object& copy) {
  TERCEL_CHECK(!self.requires_grad(), Buffer,
               "__dlpack__: the tensor requires grad; use detach() first");
  TERCEL_CHECK(stream.is_none() || self.device().is_cuda(), Buffer,
               "__dlpack__: stream must be None for a CPU tensor");
  bool want_copy = !copy.is_none() && copy.cast<bool>();
  Tensor t = self;
  if (!dl_device.is_none()) {
    const auto device = dl_device.cast<std::pair<int, int>>();
    const bool here = self.device().is_cpu()
                          ? device.first == 1 && device.second == 0
                          : device.first == kDLCuda && device.second == self.device().index;
    TERCEL_CHECK(here || (device.first == 1 && device.second == 0), Buffer,
                 "__dlpack__: a tensor on ", to_string(self.device()),
                 " can be exported there or to the CPU (1, 0), got (", device.first, ", ",
                 device.second, ")");
    if (!here) {
      TERCEL_CHECK(copy.is_none() || want_copy, Buffer,
                   "__dlpack__: copy=False, but the tensor is on ", to_string(self.device()));
      t = to_device(self, Device{});
      want_copy = true;
    }
  }
  if (want_copy && t.is_same(self)) t = clone(self);
  if (t.device().is_cuda()) consumer_waits(t.device().index, stream);
  const bool versioned =
      !max_version.is_none() && max_version.cast<std::pair<int, int>>().first >= 1;
  const bool readonly = t.storage()->readonly();
  TERCEL_CHECK(versioned || !readonly, Buffer,
               "__dlpack__: the tensor is read-only, which DLPack before version 1.0 cannot "
               "express; pass copy=True");
  auto* e = new Exported{make_alias(t), {}, {}};
  PyObject* capsule;
  if (versioned) {
    auto* m = new DLManagedTensorVersioned{};
    m->version = {1, 0};
    m->manager_ctx = e;
    m->deleter = [](DLManagedTensorVersioned* p) {
      drop(p->manager_ctx);
      delete p;
    };
    m->flags = (readonly ? kReadOnly : 0) | (want_copy ? kCopied : 0);
    m->dl_tensor = describe(e);
    capsule = PyCapsule_New(m, kNameVersioned, capsule_destructor<DLManagedTensorVersioned>);
  } else {
    auto* m = new DLManagedTensor{};
    m->manager_ctx = e;
    m->deleter = [](DLManagedTensor* p) {
      drop(p->manager_ctx);
      delete p;
    };
    m->dl_tensor = describe(e);
    capsule = PyCapsule_New(m, kName, capsule_destructor<DLManagedTensor>);
  }
  if (!capsule) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(capsule);
}

template <class Managed>
void release_managed(void* context) {
  auto* m = static_cast<Managed*>(context);
  if (!m->deleter) return;
  if (!Py_IsInitialized()) return;
  const PyGILState_STATE state = PyGILState_Ensure();
  m->deleter(m);
  PyGILState_Release(state);
}

template <class Managed>
Tensor import(PyObject* capsule, const char* name, bool readonly) {
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  if (!m) throw py::error_already_set();
  const DLTensor& d = m->dl_tensor;
  TERCEL_CHECK(d.device.device_type == 1 || d.device.device_type == kDLCuda, Buffer,
               "from_dlpack: only CPU and CUDA tensors can be imported, got device type ",
               d.device.device_type);
  Device device;
  if (d.device.device_type == kDLCuda) {
    cuda::api("from_dlpack");
    device = {DeviceType::cuda, static_cast<int8_t>(d.device.device_id)};
  }
  const Code* code = nullptr;
  for (const Code& c : kCodes) {
    if (c.code == d.dtype.code && c.bits == d.dtype.bits && d.dtype.lanes == 1) code = &c;
  }
  TERCEL_CHECK(code, Buffer, "from_dlpack: element type (code ", static_cast<int>(d.dtype.code),
               ", bits ", static_cast<int>(d.dtype.bits), ", lanes ", d.dtype.lanes,
               ") is not supported");
  TERCEL_CHECK(d.ndim >= 0 && d.ndim <= kMaxDims, Buffer, "from_dlpack: at most ", kMaxDims,
               " dimensions, got ", d.ndim);
  const Shape shape(d.shape, d.ndim);
  const int64_t numel = checked_numel(shape, "from_dlpack");
  const Strides strides = d.strides ? Strides(d.strides, d.ndim) : contiguous_strides(shape);
  int64_t last = 0;
  for (int i = 0; i < d.ndim; ++i) {
    TERCEL_CHECK(strides[i] >= 0 || shape[i] <= 1, Buffer,
                 "from_dlpack: negative strides are not supported, got ", strides);
    if (numel)
      last = checked_add(last, checked_mul(shape[i] - 1, strides[i], "from_dlpack"), "from_dlpack");
  }
  char* data = static_cast<char*>(d.data) + d.byte_offset;
  const int64_t nbytes = numel ? checked_mul(last + 1, dtype_size(code->dtype), "from_dlpack") : 0;
  TERCEL_CHECK(
      numel == 0 ||
          reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(dtype_size(code->dtype)) == 0,
      Buffer, "from_dlpack: the memory is not aligned to the element size");
  Tensor t(make_ref<TensorImpl>(
      Storage::wrap(data, nbytes, release_managed<Managed>, m, readonly, device), 0, shape, strides,
      code->dtype));
  // Only now is the capsule consumed: an error above leaves it with its producer.
  PyCapsule_SetName(capsule, std::is_same_v<Managed, DLManagedTensor> ? "used_dltensor"
                                                                      : "used_dltensor_versioned");
  return t;
}

Tensor from_dlpack(const py::object& source) {
  py::object capsule = source;
  if (!PyCapsule_CheckExact(source.ptr())) {
    TERCEL_CHECK(py::hasattr(source, "__dlpack__"), Type,
                 "from_dlpack: expected an object with __dlpack__, got ",
                 Py_TYPE(source.ptr())->tp_name);
    const py::object method = source.attr("__dlpack__");
    try {
      py::object stream = py::none();
      if (py::hasattr(source, "__dlpack_device__")) {
        const auto device = source.attr("__dlpack_device__")().cast<std::pair<int, int>>();
        if (device.first == kDLCuda) {
          void* ours = cuda::current_stream(device.second);
          stream = py::int_(ours ? reinterpret_cast<intptr_t>(ours) : intptr_t{1});
        }
      }
      capsule = method(py::arg("stream") = stream, py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& e) {
      if (!e.matches(PyExc_TypeError)) throw;
      capsule = method();  // producers from before version 1.0
    }
  }
  if (PyCapsule_IsValid(capsule.ptr(), kNameVersioned)) {
    const auto* m =
        static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule.ptr(), kNameVersioned));
    TERCEL_CHECK(m->version.major == 1, Buffer, "from_dlpack: DLPack version ", m->version.major,
                 " is not supported (1)");
    return import<DLManagedTensorVersioned>(capsule.ptr(), kNameVersioned, m->flags & kReadOnly);
  }
  TERCEL_CHECK(
      PyCapsule_IsValid(capsule.ptr(), kName), Value,
      "from_dlpack: expected an unconsumed DLPack capsule; a capsule can be imported only once");
  return import<DLManagedTensor>(capsule.ptr(), kName, false);
}

}  // namespace

void bind_dlpack(Binder& b) {
  b.method("__dlpack__", to_dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none(), "DLPack capsule over this tensor's memory.");
  b.method(
      "__dlpack_device__",
      [](const Tensor& t) {
        const bool cpu = t.device().is_cpu();
        return py::make_tuple(cpu ? 1 : int{kDLCuda}, cpu ? 0 : static_cast<int>(t.device().index));
      },
      "(device type, index): (1, 0) for the CPU, (2, index) for CUDA.");
  b.function("from_dlpack", from_dlpack, py::arg("ext_tensor"),
             "Tensor over the memory of an object with __dlpack__ (or a capsule); no copy, "
             "read-only respected.");
}

}  // namespace tercel
