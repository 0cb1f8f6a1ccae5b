// The buffer protocol in both directions: tensors over the memory of other objects (NumPy arrays,
// bytearrays), and Tensor as an exporter, which is how NumPy reads a tensor without a copy.
#include "python/buffers.h"

#include <cstring>

#include "python/caster.h"
#include "python/errors.h"
#include "python/tensor_type.h"

namespace tercel {
namespace {

bool dtype_of_format(const char* format, Py_ssize_t itemsize, DType* out) {
  if (!format) format = "B";
  if (*format == '@' || *format == '=' ||
      (*format == '<' && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__))
    ++format;
  if (strlen(format) != 1) return false;
  switch (*format) {
    case '?':
      *out = DType::b8;
      break;
    case 'b':
      *out = DType::i8;
      break;
    case 'B':
      *out = DType::u8;
      break;
    case 'h':
      *out = DType::i16;
      break;
    case 'i':
      *out = DType::i32;
      break;
    case 'l':
    case 'q':
      *out = itemsize == 8 ? DType::i64 : DType::i32;
      break;
    case 'e':
      *out = DType::f16;
      break;
    case 'f':
      *out = DType::f32;
      break;
    case 'd':
      *out = DType::f64;
      break;
    default:
      return false;
  }
  return dtype_size(*out) == itemsize;
}

const char* format_of_dtype(DType t) {
  switch (t) {
    case DType::f64:
      return "d";
    case DType::f32:
      return "f";
    case DType::f16:
      return "e";
    case DType::i8:
      return "b";
    case DType::u8:
      return "B";
    case DType::i16:
      return "h";
    case DType::i32:
      return "i";
    case DType::i64:
      return "q";
    case DType::b8:
      return "?";
    default:
      return nullptr;
  }
}

}  // namespace

void release_buffer(void* context) {
  auto* view = static_cast<Py_buffer*>(context);
  // The exporter stays alive until exit once the interpreter is gone.
  if (Py_IsInitialized()) {
    const PyGILState_STATE state = PyGILState_Ensure();
    PyBuffer_Release(view);
    PyGILState_Release(state);
  }
  delete view;
}

Tensor from_buffer_object(PyObject* object, const char* op) {
  BufferOwner owner;
  if (PyObject_GetBuffer(object, owner.view, PyBUF_RECORDS) != 0) {
    PyErr_Clear();
    if (PyObject_GetBuffer(object, owner.view, PyBUF_RECORDS_RO) != 0)
      throw pybind11::error_already_set();
  }
  owner.held = true;
  const Py_buffer& b = *owner.view;
  DType dtype;
  TERCEL_CHECK(dtype_of_format(b.format, b.itemsize, &dtype), Type, op, ": element format '",
               b.format ? b.format : "B",
               "' is not supported (native-endian bool, int8/16/32/64, uint8, float16/32/64)");
  Shape shape;
  Strides strides;
  int64_t span = 0;
  for (int i = 0; i < b.ndim; ++i) {
    shape.push_back(b.shape[i]);
    const int64_t stride = b.strides[i];
    TERCEL_CHECK(stride >= 0 || b.shape[i] <= 1, Value, op,
                 ": negative strides are not supported; copy the array first");
    TERCEL_CHECK(stride % b.itemsize == 0 || b.shape[i] <= 1, Value, op, ": stride ", stride,
                 " is not a multiple of the element size ", b.itemsize);
    const int64_t step =
        b.shape[i] <= 1 && (stride < 0 || stride % b.itemsize) ? 0 : stride / b.itemsize;
    strides.push_back(step);
    span += b.shape[i] > 0 ? (b.shape[i] - 1) * step : 0;
  }
  const int64_t numel = checked_numel(shape, op);
  TERCEL_CHECK(reinterpret_cast<uintptr_t>(b.buf) % static_cast<uintptr_t>(b.itemsize) == 0, Value,
               op, ": the memory is not aligned to the element size");
  const int64_t nbytes = numel == 0 ? 0 : (span + 1) * b.itemsize;
  Py_buffer* view = owner.give();
  return Tensor(
      make_ref<TensorImpl>(Storage::wrap(view->buf, nbytes, release_buffer, view, view->readonly),
                           0, shape, strides, dtype));
}

namespace {
struct ExportedBuffer {
  Ref<Storage> storage;  // not the tensor: `x.data = y` and resize_ may give that other memory
  Py_ssize_t shape[kMaxDims], strides[kMaxDims];
};
}  // namespace

int tensor_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  return guarded(
      [&] {
        const Tensor& t = tensor_of(self);
        const char* format = format_of_dtype(t.dtype());
        TERCEL_CHECK(format, Buffer, "buffer: dtype ", dtype_name(t.dtype()),
                     " has no buffer format; use numpy()");
        TERCEL_CHECK(!t.requires_grad(), Buffer,
                     "buffer: the tensor requires grad; use detach() first");
        TERCEL_CHECK(t.device().is_cpu(), Buffer, "buffer: the tensor is not on the CPU");
        const bool writable = !t.storage()->readonly();
        TERCEL_CHECK(writable || !(flags & PyBUF_WRITABLE), Buffer,
                     "buffer: the tensor's memory is read-only");
        TERCEL_CHECK(t.is_contiguous() || (flags & PyBUF_STRIDES) == PyBUF_STRIDES, Buffer,
                     "buffer: the tensor is not contiguous");
        if ((flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS ||
            (flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS) {
          TERCEL_CHECK(t.is_contiguous(), Buffer, "buffer: the tensor is not contiguous");
        }
        if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS) {
          TERCEL_CHECK(t.dim() <= 1 && t.is_contiguous(), Buffer,
                       "buffer: the tensor is not Fortran-contiguous");
        }
        auto* e = new ExportedBuffer{t.storage(), {}, {}};
        for (int i = 0; i < t.dim(); ++i) {
          e->shape[i] = t.size(i);
          e->strides[i] = t.stride(i) * t.itemsize();
        }
        view->buf = t.data();
        view->len = t.numel() * t.itemsize();
        view->itemsize = t.itemsize();
        view->readonly = !writable;
        view->ndim = t.dim();
        view->format = (flags & PyBUF_FORMAT) ? const_cast<char*>(format) : nullptr;
        view->shape = (flags & PyBUF_ND) ? e->shape : nullptr;
        view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? e->strides : nullptr;
        view->suboffsets = nullptr;
        view->internal = e;
        view->obj = self;
        Py_INCREF(self);
        return 0;
      },
      -1);
}

void tensor_releasebuffer(PyObject*, Py_buffer* view) {
  delete static_cast<ExportedBuffer*>(view->internal);
}

}  // namespace tercel
