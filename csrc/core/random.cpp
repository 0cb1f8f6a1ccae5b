#include "core/random.h"

#include <random>

namespace tercel {

void Generator::manual_seed(uint64_t seed) {
  std::lock_guard lock(mutex_);
  key_ = {seed, 0};
}

uint64_t Generator::initial_seed() const {
  std::lock_guard lock(mutex_);
  return key_.seed;
}

uint64_t Generator::seed() {
  std::random_device device;
  const uint64_t value =
      (static_cast<uint64_t>(device()) << 32 | device()) >> 11;  // fits a double, as in PyTorch
  manual_seed(value);
  return value;
}

PhiloxKey Generator::state() const {
  std::lock_guard lock(mutex_);
  return key_;
}

void Generator::set_state(PhiloxKey key) {
  std::lock_guard lock(mutex_);
  key_ = key;
}

PhiloxKey Generator::take(uint64_t blocks, Device device) {
  PhiloxKey key;
  if (device.is_cuda() && take_for_graph(*this, blocks, device, &key)) return key;
  std::lock_guard lock(mutex_);
  key = key_;
  key_.offset += blocks;
  return key;
}

Ref<Generator> default_generator() {
  // Leaked on purpose: it must outlive every thread that still computes at exit.
  static Generator* generator = [] {
    auto* g = new Generator;
    g->retain();
    return g;
  }();
  return Ref<Generator>(generator);
}

}  // namespace tercel
