// Philox4x32-10 counter-based random numbers (Salmon et al. 2011): the same numbers for any thread
// count and on every device, because element i of a call is a pure function of (seed, offset, i).
#pragma once

#include <cstdint>
#include <mutex>

#include "core/device.h"
#include "core/half.h"
#include "core/refcount.h"

namespace tercel {

struct PhiloxKey {
  uint64_t seed;
  uint64_t offset;  // of 128-bit blocks already consumed
  // In device memory, for a kernel of a captured graph: seed and offset to start from, written
  // before each replay; `offset` above counts from there.
  const PhiloxKey* replay = nullptr;
};
TERCEL_INLINE PhiloxKey resolved(PhiloxKey key) {
  return key.replay ? PhiloxKey{key.replay->seed, key.replay->offset + key.offset} : key;
}

struct Philox4 {
  uint32_t v[4];
};

// Block `index` (counter = offset + index) of four uint32.
TERCEL_INLINE Philox4 philox(PhiloxKey key, uint64_t index) {
  const uint64_t counter = key.offset + index;
  uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32), c2 = 0,
           c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}
// [0, 1) with 24 bits; [0, 1) with 53 bits.
TERCEL_INLINE float uniform_float(uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}
TERCEL_INLINE double uniform_double(uint32_t hi, uint32_t lo) {
  return static_cast<double>((static_cast<uint64_t>(hi) << 21) ^ (lo >> 11)) * 0x1p-53;
}

class Generator final : public RefCounted {
 public:
  explicit Generator(uint64_t seed = 67280421310721ull) : key_{seed, 0} {}
  void manual_seed(uint64_t seed);
  uint64_t initial_seed() const;
  uint64_t seed();  // a fresh non-deterministic one
  PhiloxKey state() const;
  void set_state(PhiloxKey key);
  // Reserves `blocks` counter values and returns the key whose block 0 is the first of them, for a
  // kernel on `device` (while a graph is captured there, numbers belong to its replays).
  PhiloxKey take(uint64_t blocks, Device device = {});

 private:
  mutable std::mutex mutex_;
  PhiloxKey key_;
};

Ref<Generator> default_generator();

// True while a graph is captured on the device's current stream; *key is then one that the graph's
// replays resolve (cuda/graph.cpp).
bool take_for_graph(Generator& generator, uint64_t blocks, Device device, PhiloxKey* key);

}  // namespace tercel
