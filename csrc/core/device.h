// Device of a tensor, and the two calls through which the core reaches CUDA (cuda/runtime.cpp has
// them).
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
  bool is_cuda() const { return type == DeviceType::cuda; }
};

std::string to_string(Device device);  // "cpu", "cuda:0"
// "cpu", "cuda" (the current one), "cuda:1"; does not touch the driver. Raises ValueError.
Device parse_device(const std::string& text);
// A kernel on `expected` met a tensor on `got`; code that only knows host memory met one on `got`.
[[noreturn, gnu::cold, gnu::noinline]] void fail_device(Device expected, Device got);
[[noreturn, gnu::cold, gnu::noinline]] void fail_not_on_host(Device got);

// The kernel table `name` of the device library; raises when it has none or cannot be loaded.
const void* cuda_kernels(const char* name);
// Runs a launcher of such a table on the device's current stream. A null one raises
// NotImplementedError.
void cuda_launch(void (*kernel)(const void* args), const void* args, Device device);

}  // namespace tercel
