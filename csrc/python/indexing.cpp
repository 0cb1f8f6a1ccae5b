// self[index]: integers, slices, None, Ellipsis, booleans, masks, integer tensors, lists, and any
// mix.
//
// The basic parts become views; what remains is one list of index tensors (undefined = whole
// dimension), handed to index / index_put_.
#include <vector>

#include "ops/copy/copy.h"
#include "ops/index/index.h"
#include "ops/view/view.h"
#include "python/caster.h"
#include "python/errors.h"
#include "python/tensor_type.h"

namespace tercel {
namespace {

struct Parsed {
  Tensor view;                   // after the basic parts
  std::vector<Tensor> advanced;  // aligned with view's dims; empty if none
};

int64_t int_of(PyObject* o) {
  const Py_ssize_t v = PyNumber_AsSsize_t(o, PyExc_IndexError);
  if (v == -1 && PyErr_Occurred()) throw pybind11::error_already_set();
  return v;
}

bool is_plain_int(PyObject* o) { return PyLong_Check(o) && !PyBool_Check(o); }
bool is_index_sequence(PyObject* o) {
  return PyList_Check(o) || PyTuple_Check(o) || PyRange_Check(o);
}

Tensor apply_slice(const Tensor& t, int64_t dim, PyObject* slice_object) {
  auto* s = reinterpret_cast<PySliceObject*>(slice_object);
  auto bound = [](PyObject* o) -> std::optional<int64_t> {
    if (o == Py_None) return std::nullopt;
    // Bounds beyond int64 clamp, as for lists.
    const Py_ssize_t v = PyNumber_AsSsize_t(o, nullptr);
    if (v == -1 && PyErr_Occurred()) throw pybind11::error_already_set();
    return v;
  };
  const std::optional<int64_t> step = bound(s->step);
  TERCEL_CHECK(!step || *step > 0, Value, "index: slice steps must be positive, got ", *step,
               "; use flip()");
  return slice(t, dim, bound(s->start), bound(s->stop), step.value_or(1));
}

// How many dimensions of the tensor an item consumes.
int dims_consumed(PyObject* item, Tensor* as_tensor) {
  if (item == Py_None || item == Py_Ellipsis || PyBool_Check(item)) return 0;
  if (PySlice_Check(item) || is_plain_int(item)) return 1;
  if (is_tensor_object(item)) {
    *as_tensor = tensor_of(item);
  } else if (is_index_sequence(item) || PyObject_CheckBuffer(item) ||
             PyObject_HasAttrString(item, "__array__")) {
    *as_tensor = tensor_from_data(item, std::nullopt, false);
    // An empty list selects nothing: it has no dtype of its own.
    if (as_tensor->numel() == 0 && is_float(as_tensor->dtype()))
      *as_tensor = to(*as_tensor, DType::i64);
  } else if (PyIndex_Check(item)) {
    return 1;
  } else {
    fail(ErrorKind::Type,
         str("index: expected integers, slices, None, Ellipsis, tensors or lists, got ",
             Py_TYPE(item)->tp_name));
  }
  TERCEL_CHECK(!is_float(as_tensor->dtype()), Index,
               "index: index tensors must be integer or bool, got ",
               dtype_name(as_tensor->dtype()));
  return is_bool(as_tensor->dtype()) ? as_tensor->dim() : 1;
}

Parsed parse(const Tensor& self, PyObject* index) {
  PyObject* single[1] = {index};
  PyObject** items = single;
  Py_ssize_t n = 1;
  if (PyTuple_Check(index)) {
    n = PyTuple_GET_SIZE(index);
    items = PySequence_Fast_ITEMS(index);
  }
  TERCEL_CHECK(n <= 3 * kMaxDims, Index, "index: too many indices: ", n);
  std::vector<Tensor> tensors(static_cast<size_t>(n));
  int consumed = 0, ellipses = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    consumed += dims_consumed(items[i], &tensors[static_cast<size_t>(i)]);
    ellipses += items[i] == Py_Ellipsis;
  }
  TERCEL_CHECK(ellipses <= 1, Index, "index: only one Ellipsis is allowed");
  TERCEL_CHECK(consumed <= self.dim(), Index, "index: too many indices: ", consumed,
               " for a tensor of ", self.dim(), " dimensions");
  Parsed p{self, {}};
  bool any_advanced = false;
  std::vector<Tensor> advanced;  // per dim of p.view processed so far
  int64_t dim = 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* entry = items[i];
    const Tensor& t = tensors[static_cast<size_t>(i)];
    if (entry == Py_None) {
      p.view = unsqueeze(p.view, dim++);
      advanced.emplace_back();
    } else if (entry == Py_Ellipsis) {
      const int64_t skip = self.dim() - consumed;
      for (int64_t k = 0; k < skip; ++k) advanced.emplace_back();
      dim += skip;
    } else if (PyBool_Check(entry)) {
      // A Python bool is a 0-d mask: a new dimension of size 1 or 0.
      p.view = unsqueeze(p.view, dim);
      Tensor mask = full({1}, Scalar(entry == Py_True), DType::b8);
      advanced.push_back(mask);
      any_advanced = true;
      ++dim;
    } else if (t.defined() && !(t.dim() == 0 && is_int(t.dtype()) && !is_tensor_object(entry))) {
      if (is_bool(t.dtype())) {
        if (t.dim() == 0) p.view = unsqueeze(p.view, dim);
        const int span = t.dim() == 0 ? 1 : t.dim();
        advanced.push_back(t.dim() == 0 ? reshape(t, {1}) : t);
        for (int k = 1; k < span; ++k) advanced.emplace_back();
        dim += span;
        any_advanced = true;
      } else if (t.dim() == 0) {
        p.view = select(p.view, dim, item(t).to_int());
      } else {
        advanced.push_back(t);
        ++dim;
        any_advanced = true;
      }
    } else if (PySlice_Check(entry)) {
      p.view = apply_slice(p.view, dim++, entry);
      advanced.emplace_back();
    } else {
      p.view = select(p.view, dim, t.defined() ? item(t).to_int() : int_of(entry));
    }
  }
  if (any_advanced) {
    // A mask of rank r stands for r dims: index() expects one entry per index, in order.
    p.advanced = std::move(advanced);
  }
  return p;
}

// index() takes one tensor per index; the entries a multi-dim mask spans are dropped here.
std::vector<Tensor> compact(const std::vector<Tensor>& aligned) {
  std::vector<Tensor> out;
  for (size_t i = 0; i < aligned.size();) {
    out.push_back(aligned[i]);
    const bool mask = aligned[i].defined() && is_bool(aligned[i].dtype());
    i += mask ? static_cast<size_t>(aligned[i].dim()) : 1;
  }
  return out;
}

}  // namespace

PyObject* tensor_getitem(PyObject* self, PyObject* item) {
  return guarded(
      [&]() -> PyObject* {
        const Tensor& t = tensor_of(self);
        if (is_plain_int(item)) return wrap_tensor(select(t, 0, int_of(item)));
        if (PySlice_Check(item)) {
          TERCEL_CHECK(t.dim() > 0, Index, "index: a 0-d tensor cannot be sliced");
          return wrap_tensor(apply_slice(t, 0, item));
        }
        const Parsed p = parse(t, item);
        if (!p.advanced.empty()) return wrap_tensor(index(p.view, compact(p.advanced)));
        // x[...] and x[()] are views, never the object itself.
        return wrap_tensor(p.view.is_same(t) ? view_as_is(t) : p.view);
      },
      static_cast<PyObject*>(nullptr));
}

int tensor_setitem(PyObject* self, PyObject* item, PyObject* value) {
  return guarded(
      [&] {
        TERCEL_CHECK(value, Type, "index: tensor elements cannot be deleted");
        const Tensor& t = tensor_of(self);
        Parsed p = parse(t, item);
        Tensor source;
        if (is_tensor_object(value)) {
          source = tensor_of(value);
        } else {
          Scalar number(0);
          if (scalar_from_object(value, &number)) {
            check_fits(number, t.dtype(), "index");
            if (p.advanced.empty()) {
              fill_(p.view, number);
              return 0;
            }
            source = full({}, number, t.dtype());
          } else {
            source = tensor_from_data(value, t.dtype(), false);
          }
        }
        if (!p.advanced.empty()) {
          if (source.dtype() != t.dtype()) source = to(source, t.dtype());
          index_put_(p.view, compact(p.advanced), source, false);
          return 0;
        }
        // Leading dims of size 1 in the value are dropped, as NumPy does.
        while (source.dim() > p.view.dim() && source.size(0) == 1) source = squeeze(source, {0});
        copy_(p.view, source);
        return 0;
      },
      -1);
}

}  // namespace tercel
