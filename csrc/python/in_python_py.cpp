// Methods of Tensor that are written in Python: the module is imported when one is first called.
#include "python/bind.h"

namespace tercel {

void bind_in_python(Binder& b) {
  b.module().def("_storage_of", [](const Tensor& t) {
    return std::pair{reinterpret_cast<uintptr_t>(t.storage()->data()), t.storage()->nbytes()};
  });
  struct Methods {
    const char* module;
    std::initializer_list<const char*> names;
  };
  for (const Methods& m : {
           Methods{"tercel.linalg._plain",
                   {"cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet",
                    "matrix_exp", "pinverse", "qr", "slogdet", "svd"}},
           Methods{"tercel._elements", {"apply_", "map_"}},
           Methods{"tercel._legacy", {"new", "type"}},
           Methods{"tercel._small",
                   {"conj", "is_conj", "is_inference", "is_neg", "is_nonzero", "is_same_size",
                    "is_set_to", "isreal", "resolve_conj", "resolve_neg", "sum_to_size"}},
           Methods{"tercel.special", {"mvlgamma"}},
           Methods{"tercel.storage", {"storage", "untyped_storage"}},
       }) {
    for (const char* name : m.names) {
      b.method(
          name,
          [module = m.module, name](const py::object& self, const py::args& args,
                                    const py::kwargs& kwargs) {
            return py::module_::import(module).attr(name)(self, *args, **kwargs);
          },
          (std::string("See ") + m.module + "." + name + ".").c_str());
    }
  }
}

}  // namespace tercel
