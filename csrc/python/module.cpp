// The extension module tercel._core: one bind_* per op family.
#include <cstdlib>

#include "core/cpu_isa.h"
#include "python/aliases.h"
#include "python/bind.h"
#include "python/errors.h"
#include "python/tensor_type.h"
#include "python/values.h"

namespace tercel {

void bind_autograd(Binder& b);
void bind_copy(Binder& b);
void bind_conv(Binder& b);
void bind_core(Binder& b);
void bind_creation(Binder& b);
void bind_cuda(Binder& b);
void bind_data(Binder& b);
void bind_dlpack(Binder& b);
void bind_dropout(Binder& b);
void bind_activation(Binder& b);
void bind_elementwise(Binder& b);
void bind_embedding(Binder& b);
void bind_function(Binder& b);
void bind_index(Binder& b);
void bind_in_python(Binder& b);
void bind_loss(Binder& b);
void bind_matmul(Binder& b);
void bind_module_type(Binder& b);
void bind_norm(Binder& b);
void bind_numeric(Binder& b);
void bind_optim(Binder& b);
void bind_quant(Binder& b);
void bind_random(Binder& b);
void bind_reduce(Binder& b);
void bind_pool(Binder& b);
void bind_resample(Binder& b);
void bind_roofline(Binder& b);
void bind_search(Binder& b);
void bind_shape(Binder& b);
void bind_softmax(Binder& b);
void bind_sort(Binder& b);
void bind_view(Binder& b);

}  // namespace tercel

PYBIND11_MODULE(_core, module) {
  using namespace tercel;
  module.doc() = "tercel's C++ core: tensors, kernels and autograd.";
  bind_errors(module);
  bind_values(module);
  bind_tensor_type(module);
  if (const char* isa = std::getenv("TERCEL_ISA"); isa && *isa) set_isa(isa);
  Binder b(module, pybind11::handle(reinterpret_cast<PyObject*>(g_tensor_type)));
  bind_core(b);
  bind_data(b);
  bind_dlpack(b);
  bind_view(b);
  bind_copy(b);
  bind_conv(b);
  bind_creation(b);
  bind_cuda(b);
  bind_dropout(b);
  bind_activation(b);
  bind_elementwise(b);
  bind_embedding(b);
  bind_index(b);
  bind_loss(b);
  bind_matmul(b);
  bind_module_type(b);
  bind_norm(b);
  bind_numeric(b);
  bind_optim(b);
  bind_quant(b);
  bind_random(b);
  bind_reduce(b);
  bind_pool(b);
  bind_resample(b);
  bind_roofline(b);
  bind_search(b);
  bind_shape(b);
  bind_softmax(b);
  bind_sort(b);
  bind_autograd(b);
  bind_function(b);
  bind_in_python(b);
  accept_numpy_names(module);
  accept_numpy_names(b.tensor_type());
}
