#include "python/tensor_type.h"

#include <Python.h>
#include <structmember.h>

#include "ops/view/view.h"
#include "python/caster.h"
#include "python/errors.h"
#include "python/values.h"

namespace tercel {

PyTypeObject* g_tensor_type = nullptr;

namespace {

// ---- lifetime
// --------------------------------------------------------------------------------------

PyObject* new_object(PyTypeObject* type, const Tensor& t) {
  PyObject* o = type->tp_alloc(type, 0);
  if (!o) throw pybind11::error_already_set();
  new (&py_tensor(o)->tensor) Tensor(t);
  t.impl()->pyobj = o;
  return o;
}

void visit_hooks(const Tensor& t, visitproc visit, void* arg, int* result) {
  // Only when this object is the sole owner does a cycle run through it.
  const TensorImpl* impl = t.impl();
  if (!impl || impl->use_count() != 1 || !impl->autograd) return;
  auto visit_one = [&](const TensorHook& hook) {
    if (*result) return;
    if (const PyHook* h = hook.target<PyHook>()) *result = visit(h->callable, arg);
  };
  for (const auto& [id, hook] : impl->autograd->leaf_hooks) visit_one(hook);
  const Ref<Node>& fn = impl->autograd->grad_fn;
  if (fn && fn->use_count() == 1 && fn->hooks) {
    for (const auto& hook : fn->hooks->tensor) visit_one(hook.fn);
  }
}

int tensor_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(py_tensor(self)->dict);
  int result = 0;
  visit_hooks(py_tensor(self)->tensor, visit, arg, &result);
  return result;
}

int tensor_clear(PyObject* self) {
  Py_CLEAR(py_tensor(self)->dict);
  const Tensor& t = py_tensor(self)->tensor;
  if (t.defined() && t.impl()->autograd && t.impl()->use_count() == 1) {
    auto leaf_hooks = std::move(t.impl()->autograd->leaf_hooks);
    const Ref<Node> fn = t.impl()->autograd->grad_fn;
    if (fn && fn->use_count() == 2 && fn->hooks) auto hooks = std::move(fn->hooks->tensor);
  }
  return 0;
}

void tensor_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (py_tensor(self)->weakrefs) PyObject_ClearWeakRefs(self);
  Py_CLEAR(py_tensor(self)->dict);
  Tensor& t = py_tensor(self)->tensor;
  if (t.defined() && t.impl()->pyobj == self) t.impl()->pyobj = nullptr;
  t.~Tensor();
  type->tp_free(self);
  Py_DECREF(type);
}

// The sizes of Tensor(2, 3) or Tensor(Size([2, 3])), if `args` are sizes.
bool legacy_sizes(PyObject* args, Dims* sizes) {
  const Py_ssize_t n = PyTuple_GET_SIZE(args);
  if (n == 1 && is_size_object(PyTuple_GET_ITEM(args, 0)))
    return dims_from_object(PyTuple_GET_ITEM(args, 0), sizes);
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = PyTuple_GET_ITEM(args, i);
    if (!PyLong_Check(o) && (!PyIndex_Check(o) || is_tensor_object(o) || PySequence_Check(o)))
      return false;
  }
  return dims_from_object(args, sizes);
}

// Tensor(data) and Tensor(*sizes): PyTorch's legacy constructor, in the default dtype.
PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return object_or_null([&]() -> PyObject* {
    Dims sizes{0};
    const Py_ssize_t n = PyTuple_GET_SIZE(args);
    const bool by_size = n == 0 || legacy_sizes(args, &sizes);
    if ((kwargs && PyDict_GET_SIZE(kwargs)) || (n != 1 && !by_size)) {
      PyErr_SetString(PyExc_TypeError, "Tensor: expected the data, or sizes as ints");
      return nullptr;
    }
    if (by_size) return new_object(type, empty(sizes, default_dtype()));
    PyObject* data = PyTuple_GET_ITEM(args, 0);
    return new_object(
        type, tensor_from_data(
                  data, is_tensor_object(data) ? std::optional<DType>() : default_dtype(), true));
  });
}

// ---- attributes
// ------------------------------------------------------------------------------------

#define TERCEL_GETTER(name, expression)          \
  PyObject* name(PyObject* self, void*) {        \
    return object_or_null([&]() -> PyObject* {   \
      const Tensor& t = py_tensor(self)->tensor; \
      return expression;                         \
    });                                          \
  }
TERCEL_GETTER(get_shape, size_object(t.shape()))
TERCEL_GETTER(get_dtype, dtype_object(t.dtype()))
TERCEL_GETTER(get_device, device_object(t.device()))
TERCEL_GETTER(get_ndim, PyLong_FromLong(t.dim()))
TERCEL_GETTER(get_requires_grad, PyBool_FromLong(t.requires_grad()))
TERCEL_GETTER(get_is_leaf, PyBool_FromLong(t.is_leaf()))
TERCEL_GETTER(get_grad, wrap_tensor(t.grad()))
TERCEL_GETTER(get_data, wrap_tensor([&] {
                Tensor data = t.detach();
                data.impl()->unchecked = true;
                return data;
              }()))
TERCEL_GETTER(get_T, wrap_tensor(reverse_dims(t)))
TERCEL_GETTER(get_mT, wrap_tensor(mT(t)))
TERCEL_GETTER(get_version, PyLong_FromUnsignedLong(t.checked_version()))
TERCEL_GETTER(get_itemsize, PyLong_FromLongLong(t.itemsize()))
TERCEL_GETTER(get_nbytes, PyLong_FromLongLong(t.numel() * t.itemsize()))
TERCEL_GETTER(get_base, wrap_tensor(t.base()))
TERCEL_GETTER(get_retains_grad,
              PyBool_FromLong(t.impl()->autograd&& t.impl()->autograd->retains_grad))
TERCEL_GETTER(get_output_nr,
              PyLong_FromUnsignedLong(t.impl()->autograd ? t.impl()->autograd->output_index : 0))
TERCEL_GETTER(get_is_cuda, PyBool_FromLong(t.device().is_cuda()))
TERCEL_GETTER(get_is_cpu, PyBool_FromLong(t.device().is_cpu()))
PyObject* get_layout(PyObject*, void*) {
  return object_or_null([]() -> PyObject* {
    return pybind11::object(pybind11::module_::import("tercel._formats").attr("strided"))
        .release()
        .ptr();
  });
}
TERCEL_GETTER(get_real, wrap_tensor(t))
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }

int set_requires_grad(PyObject* self, PyObject* value, void*) {
  return guarded(
      [&] {
        TERCEL_CHECK(value && PyBool_Check(value), Type, "requires_grad: expected a bool");
        py_tensor(self)->tensor.set_requires_grad(value == Py_True);
        return 0;
      },
      -1);
}

int set_grad(PyObject* self, PyObject* value, void*) {
  return guarded(
      [&] {
        TERCEL_CHECK(!value || value == Py_None || is_tensor_object(value), Type,
                     "grad: expected a Tensor or None");
        py_tensor(self)->tensor.set_grad(value && value != Py_None ? tensor_of(value) : Tensor());
        return 0;
      },
      -1);
}

// x.data = y: x takes y's memory and geometry; history and identity stay.
int set_data(PyObject* self, PyObject* value, void*) {
  return guarded(
      [&] {
        TERCEL_CHECK(value && is_tensor_object(value), Type, "data: expected a Tensor");
        const Tensor& from = tensor_of(value);
        TensorImpl* impl = py_tensor(self)->tensor.impl();
        TERCEL_CHECK(
            !(impl->autograd && (impl->autograd->requires_grad || impl->autograd->grad_fn)) ||
                is_float(from.dtype()),
            DType, "data: a tensor that requires grad needs float data, got ",
            dtype_name(from.dtype()));
        impl->dtype = from.dtype();
        impl->base.reset();
        impl->set_geometry(from.storage(), from.offset(), from.shape(), from.strides());
        return 0;
      },
      -1);
}

PyGetSetDef getset[] = {
    {"shape", get_shape, nullptr, "Sizes of the tensor (tercel.Size).", nullptr},
    {"dtype", get_dtype, nullptr, "Element type.", nullptr},
    {"device", get_device, nullptr, "Where the data lives.", nullptr},
    {"layout", get_layout, nullptr, "tercel.strided.", nullptr},
    {"real", get_real, nullptr, "The tensor itself: complex dtypes are not provided.", nullptr},
    {"ndim", get_ndim, nullptr, "Number of dimensions.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad,
     "Whether gradients are recorded for this tensor.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "True for a tensor that was not made by a recorded op.",
     nullptr},
    {"grad", get_grad, set_grad, "Accumulated gradient, or None.", nullptr},
    {"data", get_data, set_data, "The same values without history.", nullptr},
    {"T", get_T, nullptr, "The tensor with its dimensions reversed.", nullptr},
    {"mT", get_mT, nullptr, "The tensor with its last two dimensions swapped.", nullptr},
    {"mH", get_mT, nullptr, "Conjugate transpose of matrices (real: mT).", nullptr},
    {"H", get_mT, nullptr, "Conjugate transpose of a matrix (real: the transpose).", nullptr},
    {"_version", get_version, nullptr, "Counts in-place writes to the storage.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes per element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"_base", get_base, nullptr, "The tensor this one is a view of, or None.", nullptr},
    {"retains_grad", get_retains_grad, nullptr, "True if a non-leaf keeps its gradient.", nullptr},
    {"output_nr", get_output_nr, nullptr, "Which output of grad_fn this tensor is.", nullptr},
    {"is_cuda", get_is_cuda, nullptr, "True if the tensor is on a CUDA device.", nullptr},
    {"is_cpu", get_is_cpu, nullptr, "True if the tensor is in host memory.", nullptr},
    {"is_meta", get_false, nullptr, "False: tensors always have data.", nullptr},
    {"is_sparse", get_false, nullptr, "False: sparse layouts are not provided.", nullptr},
    {"is_quantized", get_false, nullptr, "False for this tensor type.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(PyTensor, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

#define SLOT(id, fn) {id, reinterpret_cast<void*>(fn)}
PyType_Slot own_slots[] = {
    SLOT(Py_tp_new, tensor_new),
    SLOT(Py_tp_dealloc, tensor_dealloc),
    SLOT(Py_tp_traverse, tensor_traverse),
    SLOT(Py_tp_clear, tensor_clear),
    SLOT(Py_tp_getset, getset),
    SLOT(Py_tp_members, members),
    SLOT(Py_mp_subscript, tensor_getitem),
    SLOT(Py_mp_ass_subscript, tensor_setitem),
    SLOT(Py_bf_getbuffer, tensor_getbuffer),
    SLOT(Py_bf_releasebuffer, tensor_releasebuffer),
    {Py_tp_doc, const_cast<char*>("Multi-dimensional array with automatic differentiation.")}};
#undef SLOT

}  // namespace

PyHook::~PyHook() {
  // At interpreter exit the object is left alone.
  if (!Py_IsInitialized()) return;
  const PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(callable);
  PyGILState_Release(state);
}
void PyHook::retain() const {
  const PyGILState_STATE state = PyGILState_Ensure();
  Py_INCREF(callable);
  PyGILState_Release(state);
}
Tensor PyHook::operator()(const Tensor& grad) const {
  pybind11::object result = pybind11::reinterpret_borrow<pybind11::object>(callable)(grad);
  if (result.is_none()) return {};
  TERCEL_CHECK(is_tensor_object(result.ptr()), Type,
               "register_hook: a hook must return a Tensor or None, got ",
               Py_TYPE(result.ptr())->tp_name);
  const Tensor& t = tensor_of(result.ptr());
  TERCEL_CHECK(t.shape() == grad.shape(), Shape,
               "register_hook: a hook must keep the gradient's shape ", grad.shape(), ", returned ",
               t.shape());
  return t;
}

bool is_tensor_object(PyObject* object) {
  return Py_IS_TYPE(object, g_tensor_type) || PyType_IsSubtype(Py_TYPE(object), g_tensor_type);
}
const Tensor& tensor_of(PyObject* object) { return py_tensor(object)->tensor; }

PyObject* wrap_tensor(const Tensor& t) {
  if (!t.defined()) Py_RETURN_NONE;
  if (auto* existing = static_cast<PyObject*>(t.impl()->pyobj)) {
    Py_INCREF(existing);
    return existing;
  }
  return new_object(g_tensor_type, t);
}

PyObject* wrap_tensor_as(PyTypeObject* type, const Tensor& t) { return new_object(type, t); }

void bind_tensor_type(pybind11::module_& module) {
  std::vector<PyType_Slot> slots(std::begin(own_slots), std::end(own_slots));
  add_operator_slots(slots);
  slots.push_back({0, nullptr});
  PyType_Spec spec = {"tercel.Tensor", sizeof(PyTensor), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots.data()};
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) throw pybind11::error_already_set();
  g_tensor_type = reinterpret_cast<PyTypeObject*>(type);
  module.attr("Tensor") = pybind11::handle(type);
}

}  // namespace tercel
