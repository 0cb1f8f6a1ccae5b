#include "core/device.h"

#include "cuda/runtime.h"

namespace tercel {

std::string to_string(Device device) {
  if (device.is_cpu()) return "cpu";
  return "cuda:" + std::to_string(device.index);
}

Device parse_device(const std::string& text) {
  if (text == "cpu" || text == "cpu:0") return {};
  if (text == "cuda") return {DeviceType::cuda, static_cast<int8_t>(cuda::current_device())};
  if (text.rfind("cuda:", 0) == 0 && text.size() > 5 && text.size() <= 7 &&
      text.find_first_not_of("0123456789", 5) == std::string::npos) {
    return {DeviceType::cuda, static_cast<int8_t>(std::stoi(text.substr(5)))};
  }
  fail(ErrorKind::Value, str("device: expected 'cpu' or 'cuda[:index]', got '", text, "'"));
}

void fail_device(Device expected, Device got) {
  fail(ErrorKind::Runtime, str("expected all tensors to be on one device, got ",
                               to_string(expected), " and ", to_string(got)));
}

void fail_not_on_host(Device got) {
  fail(ErrorKind::NotImplemented,
       str("this operation has no CUDA kernel: expected a tensor on cpu, got one on ",
           to_string(got), " (move it with .cpu())"));
}

}  // namespace tercel
