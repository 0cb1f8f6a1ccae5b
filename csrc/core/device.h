// Device of a tensor.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"

namespace tercel {

enum class DeviceType : uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int8_t index = 0;
  bool operator==(const Device&) const = default;
  bool is_cpu() const { return type == DeviceType::cpu; }
};

std::string to_string(Device device);  // "cpu", "cuda:0"
Device parse_device(
    const std::string& text);  // raises ValueError; "cuda" without the backend: RuntimeError

}  // namespace tercel
