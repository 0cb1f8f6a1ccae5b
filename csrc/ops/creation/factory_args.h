// The arguments shared by all factory functions of the binding (creation, random): sizes as f(2, 3)
// or f((2, 3)), dtype, layout, device, pin_memory, requires_grad, out.
#pragma once

#include <optional>

#include "ops/copy/copy.h"
#include "python/default_device.h"
#include "python/out.h"

namespace tercel {

// Sizes from the positional arguments or from size=; `op` names the function in errors.
inline Shape factory_shape(const py::args& args, const std::optional<Dims>& size, const char* op) {
  if (size) {
    TERCEL_CHECK(args.empty(), Type, op, ": sizes given both by position and as size=");
    return *size;
  }
  return dims_from_args(args, op);
}

// Only strided memory exists; says so instead of ignoring a request for something else.
inline void check_layout(const py::object& layout, bool pin_memory, const char* op) {
  if (!layout.is_none()) {
    const std::string text = py::str(layout).cast<std::string>();
    TERCEL_CHECK(text.find("strided") != std::string::npos, NotImplemented, op,
                 ": only the strided layout is provided, got ", text);
  }
  TERCEL_CHECK(!pin_memory, NotImplemented, op,
               ": pin_memory=True is not provided here; call pin_memory() on the result");
}

// Where a factory makes its result: device=, or that of out=, or the default device.
inline Device device_for(const std::optional<Device>& device, const std::optional<Tensor>& out) {
  if (device) return *device;
  return out && out->defined() ? out->device() : default_device();
}

// Result of a function that follows its argument's device, or computes on the CPU, on another one.
inline Tensor placed(const Tensor& t, const std::optional<Device>& device) {
  return device ? to_device(t, *device) : t;
}

inline Tensor with_requires_grad(Tensor t, bool requires_grad) {
  if (requires_grad) t.set_requires_grad(true);
  return t;
}

}  // namespace tercel
