#include "core/streaming.h"

#include "core/cpu_isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace tercel {

namespace {

bool streaming_pays() {
#if defined(__x86_64__)
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return true;
  const uint32_t base = a >> 8 & 15, family = base + (base == 15 ? a >> 20 & 0xff : 0);
  const uint32_t model = (a >> 4 & 15) | (a >> 12 & 0xf0);
  const bool cascade_lake = family == 6 && model == 0x55;  // and Skylake, Cooper Lake servers
  const bool zen5 = family == 26;
  return !cascade_lake && !zen5;
#else
  return true;
#endif
}

}  // namespace

bool exceeds_caches(int64_t out_bytes) { return out_bytes > cache_sizes().l3 / 2; }

bool streams(int64_t out_bytes) {
  static const bool pays = streaming_pays();
  return pays && exceeds_caches(out_bytes);
}

}  // namespace tercel
