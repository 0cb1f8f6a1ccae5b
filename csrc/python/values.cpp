// Small immutable Python types: dtype, device, Size; and conversion of Python numbers and size
// lists.
#include "python/values.h"

#include <vector>

#include "core/random.h"
#include "python/caster.h"
#include "python/default_device.h"
#include "python/errors.h"

namespace tercel {
namespace {

template <class T>
struct Holder {
  PyObject_HEAD T value;
};

PyTypeObject* g_dtype_type = nullptr;
PyTypeObject* g_device_type = nullptr;
PyTypeObject* g_size_type = nullptr;
PyObject* g_dtypes[kNumDTypes] = {};

template <class T>
T value_of(PyObject* self) {
  return reinterpret_cast<Holder<T>*>(self)->value;
}

PyObject* text(const std::string& s) {
  return PyUnicode_FromStringAndSize(s.data(), static_cast<Py_ssize_t>(s.size()));
}

// ---- dtype ----

PyObject* dtype_repr(PyObject* self) {
  return text(std::string("tercel.") + dtype_name(value_of<DType>(self)));
}
PyObject* dtype_is_float(PyObject* self, void*) {
  return PyBool_FromLong(is_float(value_of<DType>(self)));
}
PyObject* dtype_is_signed(PyObject* self, void*) {
  const DType t = value_of<DType>(self);
  return PyBool_FromLong(!is_unsigned(t) && !is_bool(t));
}
PyObject* dtype_is_complex(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* dtype_itemsize(PyObject* self, void*) {
  return PyLong_FromLongLong(dtype_size(value_of<DType>(self)));
}
PyObject* dtype_reduce(PyObject* self, PyObject*) {
  return text(dtype_name(value_of<DType>(self)));
}

PyGetSetDef dtype_getset[] = {
    {"is_floating_point", dtype_is_float, nullptr, "True for the float formats.", nullptr},
    {"is_signed", dtype_is_signed, nullptr, "True if negative values can be represented.", nullptr},
    {"is_complex", dtype_is_complex, nullptr, "False: complex dtypes are not provided yet.",
     nullptr},
    {"itemsize", dtype_itemsize, nullptr, "Bytes per element.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
// Pickled and copied by name, so that `is` keeps working.
PyMethodDef dtype_methods[] = {{"__reduce__", dtype_reduce, METH_NOARGS, nullptr},
                               {nullptr, nullptr, 0, nullptr}};
PyType_Slot dtype_slots[] = {{Py_tp_repr, reinterpret_cast<void*>(dtype_repr)},
                             {Py_tp_getset, dtype_getset},
                             {Py_tp_methods, dtype_methods},
                             {Py_tp_doc, const_cast<char*>("Element type of a tensor.")},
                             {0, nullptr}};
PyType_Spec dtype_spec = {"tercel.dtype", sizeof(Holder<DType>), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, dtype_slots};

// ---- device ----

PyObject* device_repr(PyObject* self) {
  const Device d = value_of<Device>(self);
  std::string s = std::string("device(type='") + (d.is_cpu() ? "cpu'" : "cuda'");
  if (!d.is_cpu()) s += ", index=" + std::to_string(d.index);
  return text(s + ")");
}
PyObject* device_str(PyObject* self) { return text(to_string(value_of<Device>(self))); }
PyObject* device_type_of(PyObject* self, void*) {
  return text(value_of<Device>(self).is_cpu() ? "cpu" : "cuda");
}
PyObject* device_index(PyObject* self, void*) {
  const Device d = value_of<Device>(self);
  if (d.is_cpu()) Py_RETURN_NONE;
  return PyLong_FromLong(d.index);
}
Py_hash_t device_hash(PyObject* self) {
  const Device d = value_of<Device>(self);
  return static_cast<Py_hash_t>(d.type) * 1000 + d.index + 1;
}
PyObject* device_compare(PyObject* a, PyObject* b, int op) {
  if ((op != Py_EQ && op != Py_NE) || !Py_IS_TYPE(b, g_device_type)) Py_RETURN_NOTIMPLEMENTED;
  return PyBool_FromLong((value_of<Device>(a) == value_of<Device>(b)) == (op == Py_EQ));
}
PyObject* device_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  return guarded(
      [&]() -> PyObject* {
        static const char* names[] = {"type", "index", nullptr};
        PyObject* type = nullptr;
        PyObject* index = Py_None;
        if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:device", const_cast<char**>(names),
                                         &type, &index))
          return nullptr;
        Device d;
        if (index != Py_None) {
          if (!PyUnicode_Check(type) || !PyLong_Check(index)) {
            PyErr_SetString(PyExc_TypeError, "device: expected (str, int)");
            return nullptr;
          }
          PyObject* joined = PyUnicode_FromFormat("%U:%S", type, index);
          if (!joined) return nullptr;
          const bool ok = device_from_object(joined, &d);
          Py_DECREF(joined);
          if (!ok) return nullptr;
        } else if (!device_from_object(type, &d)) {
          if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError, "device: expected str or device, got %s",
                         Py_TYPE(type)->tp_name);
          return nullptr;
        }
        return device_object(d);
      },
      static_cast<PyObject*>(nullptr));
}
PyObject* device_reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(N)", reinterpret_cast<PyObject*>(Py_TYPE(self)), device_str(self));
}
PyGetSetDef device_getset[] = {
    {"type", device_type_of, nullptr, "'cpu' or 'cuda'.", nullptr},
    {"index", device_index, nullptr, "Ordinal of the device, None for the CPU.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

thread_local Device t_default_device;
thread_local std::vector<Device> t_outer_devices;  // of the `with` blocks around this point

PyObject* device_enter(PyObject* self, PyObject*) {
  t_outer_devices.push_back(t_default_device);
  t_default_device = value_of<Device>(self);
  Py_INCREF(self);
  return self;
}
PyObject* device_exit(PyObject*, PyObject*) {
  if (t_outer_devices.empty()) {
    PyErr_SetString(PyExc_RuntimeError, "device: __exit__ without __enter__ in this thread");
    return nullptr;
  }
  t_default_device = t_outer_devices.back();
  t_outer_devices.pop_back();
  Py_RETURN_NONE;
}
PyMethodDef device_methods[] = {
    {"__reduce__", device_reduce, METH_NOARGS, nullptr},
    {"__enter__", device_enter, METH_NOARGS, "Factory functions make tensors here meanwhile."},
    {"__exit__", device_exit, METH_VARARGS, "Back to the default device of before."},
    {nullptr, nullptr, 0, nullptr}};
PyType_Slot device_slots[] = {
    {Py_tp_repr, reinterpret_cast<void*>(device_repr)},
    {Py_tp_str, reinterpret_cast<void*>(device_str)},
    {Py_tp_hash, reinterpret_cast<void*>(device_hash)},
    {Py_tp_richcompare, reinterpret_cast<void*>(device_compare)},
    {Py_tp_new, reinterpret_cast<void*>(device_new)},
    {Py_tp_getset, device_getset},
    {Py_tp_methods, device_methods},
    {Py_tp_doc,
     const_cast<char*>("device(type, index=None): where a tensor lives. `with device(...)`: "
                       "where factory functions make tensors meanwhile.")},
    {0, nullptr}};
PyType_Spec device_spec = {"tercel.device", sizeof(Holder<Device>), 0, Py_TPFLAGS_DEFAULT,
                           device_slots};

// ---- Size ----

PyObject* size_repr(PyObject* self) {
  PyObject* list = PySequence_List(self);
  if (!list) return nullptr;
  PyObject* out = PyUnicode_FromFormat("tercel.Size(%R)", list);
  Py_DECREF(list);
  return out;
}
PyObject* size_numel(PyObject* self, PyObject*) {
  return guarded(
      [&]() -> PyObject* {
        Dims d;
        if (!dims_from_object(self, &d)) return nullptr;
        return PyLong_FromLongLong(checked_numel(d, "numel"));
      },
      static_cast<PyObject*>(nullptr));
}
// What a tuple operation made, as a Size; other results (an element, NotImplemented, nullptr) pass.
PyObject* as_size(PyObject* made) {
  if (!made || !PyTuple_CheckExact(made)) return made;
  PyObject* args = PyTuple_Pack(1, made);
  Py_DECREF(made);
  if (!args) return nullptr;
  PyObject* out = PyTuple_Type.tp_new(g_size_type, args, nullptr);
  Py_DECREF(args);
  return out;
}
PyObject* size_subscript(PyObject* self, PyObject* item) {
  return as_size(PyTuple_Type.tp_as_mapping->mp_subscript(self, item));
}
PyObject* size_concat(PyObject* self, PyObject* other) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_concat(self, other));
}
PyObject* size_repeat(PyObject* self, Py_ssize_t n) {
  return as_size(PyTuple_Type.tp_as_sequence->sq_repeat(self, n));
}
PyMethodDef size_methods[] = {{"numel", size_numel, METH_NOARGS, "Product of the sizes."},
                              {nullptr, nullptr, 0, nullptr}};
PyType_Slot size_slots[] = {{Py_tp_repr, reinterpret_cast<void*>(size_repr)},
                            {Py_mp_subscript, reinterpret_cast<void*>(size_subscript)},
                            {Py_sq_concat, reinterpret_cast<void*>(size_concat)},
                            {Py_sq_repeat, reinterpret_cast<void*>(size_repeat)},
                            {Py_tp_methods, size_methods},
                            {Py_tp_doc, const_cast<char*>("Sizes of a tensor: a tuple of ints.")},
                            {0, nullptr}};
PyType_Spec size_spec = {"tercel.Size", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, size_slots};

bool int64_from_object(PyObject* object, int64_t* out) {
  PyObject* index = PyNumber_Index(object);
  if (!index) {
    if (PyErr_ExceptionMatches(PyExc_TypeError)) PyErr_Clear();
    return false;
  }
  int overflow = 0;
  *out = PyLong_AsLongLongAndOverflow(index, &overflow);
  Py_DECREF(index);
  TERCEL_CHECK(overflow == 0, Overflow, "expected an integer that fits in 64 bits");
  return true;
}

}  // namespace

PyObject* dtype_object(DType t) {
  PyObject* o = g_dtypes[static_cast<int>(t)];
  Py_INCREF(o);
  return o;
}

bool dtype_from_object(PyObject* object, DType* out) {
  if (Py_IS_TYPE(object, g_dtype_type)) {
    *out = value_of<DType>(object);
    return true;
  }
  if (object == reinterpret_cast<PyObject*>(&PyFloat_Type)) {
    *out = DType::f64;
  } else if (object == reinterpret_cast<PyObject*>(&PyLong_Type)) {
    *out = DType::i64;
  } else if (object == reinterpret_cast<PyObject*>(&PyBool_Type)) {
    *out = DType::b8;
  } else {
    return false;
  }
  return true;
}

PyObject* device_object(Device d) {
  auto* o = reinterpret_cast<Holder<Device>*>(g_device_type->tp_alloc(g_device_type, 0));
  if (o) o->value = d;
  return reinterpret_cast<PyObject*>(o);
}

bool device_from_object(PyObject* object, Device* out) {
  if (Py_IS_TYPE(object, g_device_type)) {
    *out = value_of<Device>(object);
    return true;
  }
  if (!PyUnicode_Check(object)) return false;
  const char* s = PyUnicode_AsUTF8(object);
  if (!s) throw pybind11::error_already_set();
  *out = parse_device(s);
  return true;
}

Device default_device() { return t_default_device; }
void set_default_device(Device device) { t_default_device = device; }

PyObject* size_object(const Dims& d) {
  PyObject* o = g_size_type->tp_alloc(g_size_type, d.size());
  if (!o) return nullptr;
  for (int i = 0; i < d.size(); ++i) PyTuple_SET_ITEM(o, i, PyLong_FromLongLong(d[i]));
  return o;
}

bool is_size_object(PyObject* object) { return Py_IS_TYPE(object, g_size_type); }

bool dims_from_object(PyObject* object, Dims* out) {
  *out = Dims();
  if (PyTuple_Check(object) || PyList_Check(object)) {
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(object);
    for (Py_ssize_t i = 0; i < n; ++i) {
      int64_t v;
      if (!int64_from_object(PySequence_Fast_GET_ITEM(object, i), &v)) return false;
      out->push_back(v);
    }
    return true;
  }
  int64_t v;
  if (!int64_from_object(object, &v)) return false;
  out->push_back(v);
  return true;
}

bool scalar_from_object(PyObject* object, Scalar* out) {
  if (PyFloat_Check(object)) {
    *out = Scalar(PyFloat_AS_DOUBLE(object));
    return true;
  }
  if (PyBool_Check(object)) {
    *out = Scalar(object == Py_True);
    return true;
  }
  if (PyLong_Check(object)) {
    int overflow = 0;
    const int64_t v = PyLong_AsLongLongAndOverflow(object, &overflow);
    TERCEL_CHECK(overflow == 0, Overflow,
                 "expected an integer that fits in 64 bits, got a larger one");
    *out = Scalar(v);
    return true;
  }
  if (is_tensor_object(object)) {
    const Tensor& t = tensor_of(object);
    if (t.numel() != 1 || t.dim() != 0) return false;
    *out = item(t);
    return true;
  }
  // NumPy scalars and other numbers: integers by __index__, the rest by __float__.
  if (PyIndex_Check(object)) {
    int64_t v;
    if (!int64_from_object(object, &v)) return false;
    *out = Scalar(v);
    return true;
  }
  const PyNumberMethods* number = Py_TYPE(object)->tp_as_number;
  if (!number || !number->nb_float || PySequence_Check(object) || PyUnicode_Check(object)) {
    // 0-d NumPy arrays and NumPy floats pass PySequence_Check? Only arrays do; they convert as
    // tensors.
    return false;
  }
  const double v = PyFloat_AsDouble(object);
  if (v == -1.0 && PyErr_Occurred()) throw pybind11::error_already_set();
  // numpy.bool_ has __float__ too.
  if (std::string(Py_TYPE(object)->tp_name).find("bool") != std::string::npos) {
    *out = Scalar(v != 0);
  } else {
    *out = Scalar(v);
  }
  return true;
}

void bind_values(pybind11::module_& module) {
  namespace py = pybind11;
  auto make = [](PyType_Spec* spec, PyObject* bases) {
    PyObject* type = PyType_FromSpecWithBases(spec, bases);
    if (!type) throw py::error_already_set();
    return reinterpret_cast<PyTypeObject*>(type);
  };
  g_dtype_type = make(&dtype_spec, nullptr);
  g_device_type = make(&device_spec, nullptr);
  size_spec.basicsize = static_cast<int>(PyTuple_Type.tp_basicsize);
  size_spec.itemsize = static_cast<int>(PyTuple_Type.tp_itemsize);
  g_size_type = make(&size_spec,
                     py::make_tuple(py::handle(reinterpret_cast<PyObject*>(&PyTuple_Type))).ptr());
  for (int i = 0; i < kNumDTypes; ++i) {
    auto* o = reinterpret_cast<Holder<DType>*>(g_dtype_type->tp_alloc(g_dtype_type, 0));
    o->value = static_cast<DType>(i);
    g_dtypes[i] = reinterpret_cast<PyObject*>(o);
    module.attr(kDTypeInfo[i].name) = py::handle(g_dtypes[i]);
    if (kDTypeInfo[i].alias) module.attr(kDTypeInfo[i].alias) = py::handle(g_dtypes[i]);
  }
  module.attr("dtype") = py::handle(reinterpret_cast<PyObject*>(g_dtype_type));
  module.attr("device") = py::handle(reinterpret_cast<PyObject*>(g_device_type));
  module.attr("Size") = py::handle(reinterpret_cast<PyObject*>(g_size_type));
}

}  // namespace tercel
