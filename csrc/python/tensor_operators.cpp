// Operators of Tensor: arithmetic, comparison, conversion to numbers, length, iteration, repr.
#include <Python.h>

#include <cstring>

#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/view/view.h"
#include "python/caster.h"
#include "python/tensor_type.h"

namespace tercel {
namespace {

// False (without an exception) if the object is no operand: the slot returns NotImplemented.
bool operand(PyObject* o, Tensor* out) {
  if (is_tensor_object(o)) {
    *out = py_tensor(o)->tensor;
    return true;
  }
  Scalar s(0);
  if (scalar_from_object(o, &s)) {
    *out = wrap_number(s);
    return true;
  }
  // __array_priority__ (data.cpp) makes NumPy leave the operation to the tensor.
  if (std::strcmp(Py_TYPE(o)->tp_name, "numpy.ndarray") != 0) return false;
  *out = tensor_from_data(o, std::nullopt, false);
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
    f(py_tensor(a)->tensor, y);
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
  return object_or_null([&] { return wrap_tensor(neg(py_tensor(a)->tensor)); });
}
PyObject* slot_pos(PyObject* a) {
  Py_INCREF(a);
  return a;
}
PyObject* slot_abs(PyObject* a) {
  return object_or_null([&] { return wrap_tensor(abs(py_tensor(a)->tensor)); });
}
PyObject* slot_invert(PyObject* a) {
  return object_or_null([&] { return wrap_tensor(bitwise_not(py_tensor(a)->tensor)); });
}

int slot_bool(PyObject* a) {
  return guarded(
      [&] {
        const Tensor& t = py_tensor(a)->tensor;
        TERCEL_CHECK(t.numel() == 1, Runtime, "bool: the truth value of a tensor with ", t.numel(),
                     " elements is ambiguous; use any() or all()");
        return item(t).to_double() != 0 ? 1 : 0;
      },
      -1);
}

PyObject* number_of(PyObject* a, const char* op) {
  const Tensor& t = py_tensor(a)->tensor;
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
    const Tensor& t = py_tensor(a)->tensor;
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
        const Tensor& t = py_tensor(a)->tensor;
        TERCEL_CHECK(t.dim() > 0, Type, "len: a 0-d tensor has no length");
        return static_cast<Py_ssize_t>(t.size(0));
      },
      static_cast<Py_ssize_t>(-1));
}

PyObject* slot_iter(PyObject* a) {
  return object_or_null([&]() -> PyObject* {
    const Tensor& t = py_tensor(a)->tensor;
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

}  // namespace

void add_operator_slots(std::vector<PyType_Slot>& slots) {
#define SLOT(id, fn)                \
  {                                 \
    id, reinterpret_cast<void*>(fn) \
  }
  const PyType_Slot operators[] = {
      SLOT(Py_tp_repr, slot_repr),
      SLOT(Py_tp_hash, slot_hash),
      SLOT(Py_tp_richcompare, slot_compare),
      SLOT(Py_tp_iter, slot_iter),
      SLOT(Py_mp_length, slot_length),
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
  };
#undef SLOT
  slots.insert(slots.end(), std::begin(operators), std::end(operators));
}

}  // namespace tercel
