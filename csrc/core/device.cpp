#include "core/device.h"

namespace tercel {

std::string to_string(Device device) {
  if (device.is_cpu()) return "cpu";
  return "cuda:" + std::to_string(device.index);
}

Device parse_device(const std::string& text) {
  if (text == "cpu" || text == "cpu:0") return {};
  if (text == "cuda" || (text.rfind("cuda:", 0) == 0 && text.size() > 5)) {
    fail(ErrorKind::Runtime,
         str("device '", text, "': this build of tercel has no CUDA backend (available: cpu)"));
  }
  fail(ErrorKind::Value, str("device: expected 'cpu' or 'cuda[:index]', got '", text, "'"));
}

}  // namespace tercel
