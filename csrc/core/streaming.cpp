#include "core/streaming.h"

#include "core/cpu_isa.h"

namespace tercel {

namespace {

bool is_zen5() { return cpu_identity().amd && cpu_identity().family == 26; }

bool streaming_pays() {
  const CpuIdentity& cpu = cpu_identity();
  const bool cascade_lake = cpu.intel && cpu.family == 6 && cpu.model == 0x55;  // and its relatives
  return !cascade_lake;
}

}  // namespace

bool exceeds_caches(int64_t out_bytes) { return out_bytes > cache_sizes().l3 / 2; }

bool streams(const void* out, int64_t out_bytes) {
  static const bool pays = streaming_pays();
  return pays && exceeds_caches(out_bytes) && reinterpret_cast<uintptr_t>(out) % 64 == 0;
}

bool prefetches_reads() {
  static const bool pays = is_zen5();
  return pays;
}

}  // namespace tercel
