// The device on which factory functions make tensors when neither device= nor out= says where: set
// by tercel.set_default_device and `with tercel.device(...)`, for the calling thread. The C++ API
// has no such state; bindings pass it on.
#pragma once

#include <optional>

#include "core/device.h"

namespace tercel {

Device default_device();
void set_default_device(Device device);

}  // namespace tercel
