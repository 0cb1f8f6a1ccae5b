#include "python/tensor_type.h"

#include <Python.h>
#include <structmember.h>

#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/view/view.h"
#include "python/caster.h"
#include "python/errors.h"

namespace tercel {

PyTypeObject* g_tensor_type = nullptr;

namespace {

PyTensor* cast(PyObject* o) { return reinterpret_cast<PyTensor*>(o); }

template <class F>
PyObject* object_or_null(F&& f) {
  return guarded([&]() -> PyObject* { return f(); }, static_cast<PyObject*>(nullptr));
}

// ---- lifetime
// --------------------------------------------------------------------------------------

PyObject* new_object(PyTypeObject* type, const Tensor& t) {
  PyObject* o = type->tp_alloc(type, 0);
  if (!o) throw pybind11::error_already_set();
  new (&cast(o)->tensor) Tensor(t);
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
  Py_VISIT(cast(self)->dict);
  int result = 0;
  visit_hooks(cast(self)->tensor, visit, arg, &result);
  return result;
}

int tensor_clear(PyObject* self) {
  Py_CLEAR(cast(self)->dict);
  const Tensor& t = cast(self)->tensor;
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
  if (cast(self)->weakrefs) PyObject_ClearWeakRefs(self);
  Py_CLEAR(cast(self)->dict);
  Tensor& t = cast(self)->tensor;
  if (t.defined() && t.impl()->pyobj == self) t.impl()->pyobj = nullptr;
  t.~Tensor();
  type->tp_free(self);
  Py_DECREF(type);
}

// Tensor(data): like PyTorch's legacy constructor, in the default dtype; sizes are refused with a
// hint.
PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return object_or_null([&]() -> PyObject* {
    PyObject* data = nullptr;
    if ((kwargs && PyDict_GET_SIZE(kwargs)) || !PyArg_UnpackTuple(args, "Tensor", 0, 1, &data)) {
      if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_SetString(
            PyExc_TypeError,
            "Tensor: expected at most one argument (the data); use empty(sizes) for sizes");
      }
      return nullptr;
    }
    Tensor t =
        data ? tensor_from_data(
                   data, is_tensor_object(data) ? std::optional<DType>() : default_dtype(), true)
             : empty({0}, default_dtype());
    return new_object(type, t);
  });
}

// ---- numbers
// ---------------------------------------------------------------------------------------

// False (without an exception) if the object is no operand: the slot returns NotImplemented.
bool operand(PyObject* o, Tensor* out) {
  if (is_tensor_object(o)) {
    *out = cast(o)->tensor;
    return true;
  }
  Scalar s(0);
  if (!scalar_from_object(o, &s)) return false;
  *out = wrap_number(s);
  return true;
}

template <class F>
PyObject* binary(PyObject* a, PyObject* b, F&& f) {
  return object_or_null([&]() -> PyObject* {
    Tensor x, y;
    if (!operand(a, &x) || !operand(b, &y)) Py_RETURN_NOTIMPLEMENTED;
    return wrap_tensor(f(x, y));
  });
}

// self op= other, returning self.
template <class F>
PyObject* inplace(PyObject* a, PyObject* b, F&& f) {
  return object_or_null([&]() -> PyObject* {
    Tensor y;
    if (!operand(b, &y)) Py_RETURN_NOTIMPLEMENTED;
    f(cast(a)->tensor, y);
    Py_INCREF(a);
    return a;
  });
}

#define TERCEL_BINARY_SLOT(slot, call)                                          \
  PyObject* slot(PyObject* a, PyObject* b) {                                    \
    return binary(a, b, [](const Tensor& x, const Tensor& y) { return call; }); \
  }
#define TERCEL_INPLACE_SLOT(slot, call)                             \
  PyObject* slot(PyObject* a, PyObject* b) {                        \
    return inplace(a, b, [](Tensor& x, const Tensor& y) { call; }); \
  }
TERCEL_BINARY_SLOT(slot_add, add(x, y))
TERCEL_BINARY_SLOT(slot_sub, sub(x, y))
TERCEL_BINARY_SLOT(slot_mul, mul(x, y))
TERCEL_BINARY_SLOT(slot_div, div(x, y))
TERCEL_BINARY_SLOT(slot_floordiv, floor_divide(x, y))
TERCEL_BINARY_SLOT(slot_mod, remainder(x, y))
TERCEL_BINARY_SLOT(slot_matmul, matmul(x, y))
TERCEL_BINARY_SLOT(slot_and, bitwise_and(x, y))
TERCEL_BINARY_SLOT(slot_or, bitwise_or(x, y))
TERCEL_BINARY_SLOT(slot_xor, bitwise_xor(x, y))
TERCEL_BINARY_SLOT(slot_lshift, bitwise_left_shift(x, y))
TERCEL_BINARY_SLOT(slot_rshift, bitwise_right_shift(x, y))
TERCEL_INPLACE_SLOT(slot_iadd, add_(x, y))
TERCEL_INPLACE_SLOT(slot_isub, sub_(x, y))
TERCEL_INPLACE_SLOT(slot_imul, mul_(x, y))
TERCEL_INPLACE_SLOT(slot_idiv, div_(x, y))
TERCEL_INPLACE_SLOT(slot_ifloordiv, floor_divide_(x, y))
TERCEL_INPLACE_SLOT(slot_imod, remainder_(x, y))
TERCEL_INPLACE_SLOT(slot_iand, bitwise_and_(x, y))
TERCEL_INPLACE_SLOT(slot_ior, bitwise_or_(x, y))
TERCEL_INPLACE_SLOT(slot_ixor, bitwise_xor_(x, y))

PyObject* slot_pow(PyObject* a, PyObject* b, PyObject* modulus) {
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return binary(a, b, [](const Tensor& x, const Tensor& y) { return pow(x, y); });
}
PyObject* slot_ipow(PyObject* a, PyObject* b, PyObject*) {
  return inplace(a, b, [](Tensor& x, const Tensor& y) { pow_(x, y); });
}

PyObject* slot_neg(PyObject* a) {
  return object_or_null([&] { return wrap_tensor(neg(cast(a)->tensor)); });
}
PyObject* slot_pos(PyObject* a) {
  Py_INCREF(a);
  return a;
}
PyObject* slot_abs(PyObject* a) {
  return object_or_null([&] { return wrap_tensor(abs(cast(a)->tensor)); });
}
PyObject* slot_invert(PyObject* a) {
  return object_or_null([&] { return wrap_tensor(bitwise_not(cast(a)->tensor)); });
}

int slot_bool(PyObject* a) {
  return guarded(
      [&] {
        const Tensor& t = cast(a)->tensor;
        TERCEL_CHECK(t.numel() == 1, Runtime, "bool: the truth value of a tensor with ", t.numel(),
                     " elements is ambiguous; use any() or all()");
        return item(t).to_double() != 0 ? 1 : 0;
      },
      -1);
}

PyObject* number_of(PyObject* a, const char* op) {
  const Tensor& t = cast(a)->tensor;
  TERCEL_CHECK(t.numel() == 1, Type, op, ": expected a tensor with one element, got shape ",
               t.shape());
  return pybind11::cast(item(t)).release().ptr();
}
PyObject* slot_int(PyObject* a) {
  return object_or_null([&] {
    auto number = pybind11::reinterpret_steal<pybind11::object>(number_of(a, "int"));
    return PyNumber_Long(number.ptr());
  });
}
PyObject* slot_float(PyObject* a) {
  return object_or_null([&] {
    auto number = pybind11::reinterpret_steal<pybind11::object>(number_of(a, "float"));
    return PyNumber_Float(number.ptr());
  });
}
PyObject* slot_index(PyObject* a) {
  return object_or_null([&]() -> PyObject* {
    const Tensor& t = cast(a)->tensor;
    TERCEL_CHECK(t.numel() == 1 && !is_float(t.dtype()), Type,
                 "index: only integer tensors with one element can be used as an index, got ",
                 dtype_name(t.dtype()), " of shape ", t.shape());
    return PyLong_FromLongLong(item(t).to_int());
  });
}

PyObject* slot_compare(PyObject* a, PyObject* b, int op) {
  return binary(a, b, [op](const Tensor& x, const Tensor& y) {
    switch (op) {
      case Py_EQ:
        return eq(x, y);
      case Py_NE:
        return ne(x, y);
      case Py_LT:
        return lt(x, y);
      case Py_LE:
        return le(x, y);
      case Py_GT:
        return gt(x, y);
      default:
        return ge(x, y);
    }
  });
}
Py_hash_t slot_hash(PyObject* a) {
  return static_cast<Py_hash_t>(reinterpret_cast<uintptr_t>(a) >> 4);
}

Py_ssize_t slot_length(PyObject* a) {
  return guarded(
      [&] {
        const Tensor& t = cast(a)->tensor;
        TERCEL_CHECK(t.dim() > 0, Type, "len: a 0-d tensor has no length");
        return static_cast<Py_ssize_t>(t.size(0));
      },
      static_cast<Py_ssize_t>(-1));
}

PyObject* slot_iter(PyObject* a) {
  return object_or_null([&]() -> PyObject* {
    const Tensor& t = cast(a)->tensor;
    TERCEL_CHECK(t.dim() > 0, Type, "iter: a 0-d tensor cannot be iterated");
    pybind11::object rows = pybind11::cast(unbind(t, 0));
    return PyObject_GetIter(rows.ptr());
  });
}

PyObject* slot_repr(PyObject* a) {
  // The formatting lives in Python: it is not on any hot path.
  PyObject* module = PyImport_ImportModule("tercel._printing");
  if (!module) return nullptr;
  PyObject* out = PyObject_CallMethod(module, "format_tensor", "O", a);
  Py_DECREF(module);
  return out;
}

// ---- attributes
// ------------------------------------------------------------------------------------

#define TERCEL_GETTER(name, expression)        \
  PyObject* name(PyObject* self, void*) {      \
    return object_or_null([&]() -> PyObject* { \
      const Tensor& t = cast(self)->tensor;    \
      return expression;                       \
    });                                        \
  }
TERCEL_GETTER(get_shape, size_object(t.shape()))
TERCEL_GETTER(get_dtype, dtype_object(t.dtype()))
TERCEL_GETTER(get_device, device_object(t.device()))
TERCEL_GETTER(get_ndim, PyLong_FromLong(t.dim()))
TERCEL_GETTER(get_requires_grad, PyBool_FromLong(t.requires_grad()))
TERCEL_GETTER(get_is_leaf, PyBool_FromLong(t.is_leaf()))
TERCEL_GETTER(get_grad, wrap_tensor(t.grad()))
TERCEL_GETTER(get_data, wrap_tensor(t.detach()))
TERCEL_GETTER(get_T, wrap_tensor(reverse_dims(t)))
TERCEL_GETTER(get_mT, wrap_tensor(mT(t)))
TERCEL_GETTER(get_version, PyLong_FromUnsignedLong(t.version()))
TERCEL_GETTER(get_itemsize, PyLong_FromLongLong(t.itemsize()))
TERCEL_GETTER(get_nbytes, PyLong_FromLongLong(t.numel() * t.itemsize()))
TERCEL_GETTER(get_base, wrap_tensor(t.base()))
TERCEL_GETTER(get_retains_grad,
              PyBool_FromLong(t.impl()->autograd&& t.impl()->autograd->retains_grad))
TERCEL_GETTER(get_output_nr,
              PyLong_FromUnsignedLong(t.impl()->autograd ? t.impl()->autograd->output_index : 0))
TERCEL_GETTER(get_is_cuda, PyBool_FromLong(t.device().is_cuda()))
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }

int set_requires_grad(PyObject* self, PyObject* value, void*) {
  return guarded(
      [&] {
        TERCEL_CHECK(value && PyBool_Check(value), Type, "requires_grad: expected a bool");
        cast(self)->tensor.set_requires_grad(value == Py_True);
        return 0;
      },
      -1);
}

int set_grad(PyObject* self, PyObject* value, void*) {
  return guarded(
      [&] {
        TERCEL_CHECK(!value || value == Py_None || is_tensor_object(value), Type,
                     "grad: expected a Tensor or None");
        cast(self)->tensor.set_grad(value && value != Py_None ? tensor_of(value) : Tensor());
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
        TensorImpl* impl = cast(self)->tensor.impl();
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
    {"ndim", get_ndim, nullptr, "Number of dimensions.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad,
     "Whether gradients are recorded for this tensor.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "True for a tensor that was not made by a recorded op.",
     nullptr},
    {"grad", get_grad, set_grad, "Accumulated gradient, or None.", nullptr},
    {"data", get_data, set_data, "The same values without history.", nullptr},
    {"T", get_T, nullptr, "The tensor with its dimensions reversed.", nullptr},
    {"mT", get_mT, nullptr, "The tensor with its last two dimensions swapped.", nullptr},
    {"H", get_mT, nullptr, "Conjugate transpose of a matrix (real: the transpose).", nullptr},
    {"_version", get_version, nullptr, "Counts in-place writes to the storage.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes per element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"_base", get_base, nullptr, "The tensor this one is a view of, or None.", nullptr},
    {"retains_grad", get_retains_grad, nullptr, "True if a non-leaf keeps its gradient.", nullptr},
    {"output_nr", get_output_nr, nullptr, "Which output of grad_fn this tensor is.", nullptr},
    {"is_cuda", get_is_cuda, nullptr, "True if the tensor is on a CUDA device.", nullptr},
    {"is_sparse", get_false, nullptr, "False: sparse layouts are not provided.", nullptr},
    {"is_quantized", get_false, nullptr, "False for this tensor type.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(PyTensor, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

#define SLOT(id, fn) {id, reinterpret_cast<void*>(fn)}
PyType_Slot slots[] = {
    SLOT(Py_tp_new, tensor_new),
    SLOT(Py_tp_dealloc, tensor_dealloc),
    SLOT(Py_tp_traverse, tensor_traverse),
    SLOT(Py_tp_clear, tensor_clear),
    SLOT(Py_tp_repr, slot_repr),
    SLOT(Py_tp_hash, slot_hash),
    SLOT(Py_tp_richcompare, slot_compare),
    SLOT(Py_tp_iter, slot_iter),
    SLOT(Py_tp_getset, getset),
    SLOT(Py_tp_members, members),
    SLOT(Py_mp_length, slot_length),
    SLOT(Py_mp_subscript, tensor_getitem),
    SLOT(Py_mp_ass_subscript, tensor_setitem),
    SLOT(Py_nb_add, slot_add),
    SLOT(Py_nb_subtract, slot_sub),
    SLOT(Py_nb_multiply, slot_mul),
    SLOT(Py_nb_true_divide, slot_div),
    SLOT(Py_nb_floor_divide, slot_floordiv),
    SLOT(Py_nb_remainder, slot_mod),
    SLOT(Py_nb_power, slot_pow),
    SLOT(Py_nb_matrix_multiply, slot_matmul),
    SLOT(Py_nb_and, slot_and),
    SLOT(Py_nb_or, slot_or),
    SLOT(Py_nb_xor, slot_xor),
    SLOT(Py_nb_lshift, slot_lshift),
    SLOT(Py_nb_rshift, slot_rshift),
    SLOT(Py_nb_inplace_add, slot_iadd),
    SLOT(Py_nb_inplace_subtract, slot_isub),
    SLOT(Py_nb_inplace_multiply, slot_imul),
    SLOT(Py_nb_inplace_true_divide, slot_idiv),
    SLOT(Py_nb_inplace_floor_divide, slot_ifloordiv),
    SLOT(Py_nb_inplace_remainder, slot_imod),
    SLOT(Py_nb_inplace_power, slot_ipow),
    SLOT(Py_nb_inplace_and, slot_iand),
    SLOT(Py_nb_inplace_or, slot_ior),
    SLOT(Py_nb_inplace_xor, slot_ixor),
    SLOT(Py_nb_negative, slot_neg),
    SLOT(Py_nb_positive, slot_pos),
    SLOT(Py_nb_absolute, slot_abs),
    SLOT(Py_nb_invert, slot_invert),
    SLOT(Py_nb_bool, slot_bool),
    SLOT(Py_nb_int, slot_int),
    SLOT(Py_nb_float, slot_float),
    SLOT(Py_nb_index, slot_index),
    SLOT(Py_bf_getbuffer, tensor_getbuffer),
    SLOT(Py_bf_releasebuffer, tensor_releasebuffer),
    {Py_tp_doc, const_cast<char*>("Multi-dimensional array with automatic differentiation.")},
    {0, nullptr}};
#undef SLOT

PyType_Spec spec = {"tercel.Tensor", sizeof(PyTensor), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

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
const Tensor& tensor_of(PyObject* object) { return cast(object)->tensor; }

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
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) throw pybind11::error_already_set();
  g_tensor_type = reinterpret_cast<PyTypeObject*>(type);
  module.attr("Tensor") = pybind11::handle(type);
}

}  // namespace tercel
