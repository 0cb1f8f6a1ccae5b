#include "core/cpu_isa.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "core/kernel_table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

namespace tercel {
namespace {

// The caps, weakest first: a cap allows its level and the features listed with it.
struct Cap {
  const char* name;
  IsaLevel level;
  uint32_t features;
};
constexpr uint32_t bit(CpuFeature f) { return 1u << static_cast<int>(f); }
constexpr uint32_t kAvx2 = bit(CpuFeature::avx2);
constexpr uint32_t kAvx512 = kAvx2 | bit(CpuFeature::avx512);
constexpr uint32_t kVnni = kAvx512 | bit(CpuFeature::avx512vnni) | bit(CpuFeature::avxvnni);
constexpr uint32_t kBf16 = kVnni | bit(CpuFeature::avx512bf16);
constexpr uint32_t kFp16 = kBf16 | bit(CpuFeature::avx512fp16);
constexpr uint32_t kAmx =
    kFp16 | bit(CpuFeature::amx_int8) | bit(CpuFeature::amx_bf16) | bit(CpuFeature::amx_fp16);
constexpr Cap kCaps[] = {
    {"generic", IsaLevel::generic, 0},
    {"avx2", IsaLevel::avx2, kAvx2},
    {"avxvnni", IsaLevel::avx2, kAvx2 | bit(CpuFeature::avxvnni)},
    {"avx512", IsaLevel::avx512, kAvx512},
    {"avx512vnni", IsaLevel::avx512, kVnni},
    {"avx512bf16", IsaLevel::avx512, kBf16},
    {"avx512fp16", IsaLevel::avx512, kFp16},
    {"amx", IsaLevel::avx512, kAmx},
};
// What a cap needs beyond its level to be accepted.
constexpr uint32_t kRequired[] = {0,
                                  kAvx2,
                                  bit(CpuFeature::avxvnni),
                                  kAvx512,
                                  bit(CpuFeature::avx512vnni),
                                  bit(CpuFeature::avx512bf16),
                                  bit(CpuFeature::avx512fp16),
                                  bit(CpuFeature::amx_int8) | bit(CpuFeature::amx_bf16)};
constexpr const char* kFeatureNames[kNumCpuFeatures] = {"avx2",       "avxvnni",    "avx512",
                                                        "avx512vnni", "avx512bf16", "avx512fp16",
                                                        "amx_int8",   "amx_bf16",   "amx_fp16"};

#if defined(__x86_64__)
uint64_t xcr0() {
  uint32_t a, d;
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return static_cast<uint64_t>(d) << 32 | a;
}

// Linux grants the AMX tile state per process on request.
bool request_amx() {
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kXfeatureTileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTileData) == 0;
}

uint32_t detect() {
  uint32_t a, b, c, d, found = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const bool osxsave = c >> 27 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1, avx = c >> 28 & 1;
  if (!osxsave || !avx) return 0;
  const uint64_t state = xcr0();
  if ((state & 0x6) != 0x6) return 0;
  uint32_t b7, c7, d7, a71 = 0, d71;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return 0;
  uint32_t eb, ec;
  __get_cpuid_count(7, 1, &a71, &eb, &ec, &d71);
  uint32_t ext_c = 0;
  __get_cpuid(0x80000001u, &a, &b, &ext_c, &d);
  const bool bmi = (b7 >> 3 & 1) && (b7 >> 8 & 1), lzcnt = ext_c >> 5 & 1;
  if (!(b7 >> 5 & 1) || !fma || !f16c || !bmi || !lzcnt) return 0;
  found |= bit(CpuFeature::avx2);
  if (a71 >> 4 & 1) found |= bit(CpuFeature::avxvnni);
  const bool zmm = (state & 0xe6) == 0xe6;
  const bool f = b7 >> 16 & 1, dq = b7 >> 17 & 1, cd = b7 >> 28 & 1, bw = b7 >> 30 & 1,
             vl = b7 >> 31 & 1;
  if (!(zmm && f && dq && cd && bw && vl)) return found;
  found |= bit(CpuFeature::avx512);
  if (c7 >> 11 & 1) found |= bit(CpuFeature::avx512vnni);
  if (a71 >> 5 & 1) found |= bit(CpuFeature::avx512bf16);
  if (d7 >> 23 & 1) found |= bit(CpuFeature::avx512fp16);
  const bool tile_state = (state >> 17 & 3) == 3, amx_tile = d7 >> 24 & 1;
  if (tile_state && amx_tile && ((d7 >> 22 & 1) || (d7 >> 25 & 1)) && request_amx()) {
    if (d7 >> 25 & 1) found |= bit(CpuFeature::amx_int8);
    if (d7 >> 22 & 1) found |= bit(CpuFeature::amx_bf16);
    if (a71 >> 21 & 1) found |= bit(CpuFeature::amx_fp16);
  }
  return found;
}
#else
uint32_t detect() { return 0; }
#endif

uint32_t found_features() {
  static const uint32_t found = detect();
  return found;
}

int g_cap = 0;

bool cap_available(int i) {
  return level_supported(kCaps[i].level) && (found_features() & kRequired[i]) == kRequired[i];
}

int best_cap() {
  // The widest cap: level and every feature the processor has; named after the last one it meets.
  int best = 0;
  for (int i = 0; i < static_cast<int>(std::size(kCaps)); ++i) {
    if (cap_available(i)) best = i;
  }
  return best;
}

void apply(int cap) {
  g_cap = cap;
  g_isa_level = kCaps[cap].level;
}

std::string available_caps() {
  std::string text;
  for (int i = 0; i < static_cast<int>(std::size(kCaps)); ++i) {
    if (cap_available(i)) text += (text.empty() ? "" : ", ") + std::string(kCaps[i].name);
  }
  return text;
}

// Chosen when the library is loaded. A bad TERCEL_ISA must not throw from a static initialiser: the
// name is kept and `set_isa` raises when the module asks for it (python/module.cpp).
IsaLevel initial_level() {
  const char* wanted = getenv("TERCEL_ISA");
  if (wanted && *wanted) {
    for (int i = 0; i < static_cast<int>(std::size(kCaps)); ++i) {
      if (std::string(wanted) == kCaps[i].name && cap_available(i)) {
        g_cap = i;
        return kCaps[i].level;
      }
    }
  }
  g_cap = best_cap();
  return kCaps[g_cap].level;
}

}  // namespace

IsaLevel g_isa_level = initial_level();

bool level_built(IsaLevel level) {
  switch (level) {
    case IsaLevel::generic:
      return true;
    case IsaLevel::avx2:
      return TERCEL_HAVE_AVX2;
    case IsaLevel::avx512:
      return TERCEL_HAVE_AVX512;
  }
  return false;
}

bool level_supported(IsaLevel level) {
  if (!level_built(level)) return false;
  switch (level) {
    case IsaLevel::generic:
      return true;
    case IsaLevel::avx2:
      return cpu_found(CpuFeature::avx2);
    case IsaLevel::avx512:
      return cpu_found(CpuFeature::avx512);
  }
  return false;
}

const char* level_name(IsaLevel level) {
  constexpr const char* names[] = {"generic", "avx2", "avx512"};
  return names[static_cast<int>(level)];
}

void set_isa(const std::string& name) {
  if (name == "auto") return apply(best_cap());
  for (int i = 0; i < static_cast<int>(std::size(kCaps)); ++i) {
    if (name != kCaps[i].name) continue;
    TERCEL_CHECK(cap_available(i), Runtime, "set_isa: '", name,
                 "' is not available on this processor or build (available: ", available_caps(),
                 ")");
    return apply(i);
  }
  fail(ErrorKind::Value,
       str("set_isa: unknown level '", name, "' (available: auto, ", available_caps(), ")"));
}

std::string isa_name() { return kCaps[g_cap].name; }
bool cpu_found(CpuFeature feature) { return found_features() & bit(feature); }
bool cpu_has(CpuFeature feature) { return found_features() & kCaps[g_cap].features & bit(feature); }
const char* feature_name(CpuFeature feature) { return kFeatureNames[static_cast<int>(feature)]; }

std::vector<std::string> cpu_flags() {
  std::vector<std::string> flags;
  for (int i = 0; i < kNumCpuFeatures; ++i) {
    if (found_features() >> i & 1u) flags.emplace_back(kFeatureNames[i]);
  }
  return flags;
}

std::string cpu_model() {
#if defined(__x86_64__)
  char text[49] = {};
  for (uint32_t i = 0; i < 3; ++i) {
    auto* r = reinterpret_cast<uint32_t*>(text + 16 * i);
    if (!__get_cpuid(0x80000002u + i, &r[0], &r[1], &r[2], &r[3])) return "unknown";
  }
  std::string model = text;
  const size_t begin = model.find_first_not_of(' ');
  return begin == std::string::npos ? "unknown" : model.substr(begin);
#else
  return "unknown";
#endif
}

const CpuIdentity& cpu_identity() {
  static const CpuIdentity identity = [] {
    CpuIdentity id{};
#if defined(__x86_64__)
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d)) return id;
    id.intel = b == signature_INTEL_ebx && c == signature_INTEL_ecx && d == signature_INTEL_edx;
    id.amd = b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return id;
    const uint32_t family = a >> 8 & 15;
    id.family = static_cast<int>(family + (family == 15 ? a >> 20 & 0xff : 0));
    id.model = static_cast<int>((a >> 4 & 15) | (a >> 12 & 0xf0));
#endif
    return id;
  }();
  return identity;
}

bool trace_enabled() {
  static const bool enabled = [] {
    const char* v = getenv("TERCEL_TRACE");
    return v && *v && *v != '0';
  }();
  return enabled;
}

void trace(const std::string& line) { fprintf(stderr, "tercel: %s\n", line.c_str()); }

namespace {
// The data caches that the first processor sees. sysconf has the sum of all L3 slices of an AMD
// processor, of which a core uses one.
CacheSizes caches_of_sysfs() {
  CacheSizes s{};
  for (int i = 0; i < 8; ++i) {
    const std::string folder = str("/sys/devices/system/cpu/cpu0/cache/index", i, "/");
    std::ifstream level_file(folder + "level"), type_file(folder + "type"),
        size_file(folder + "size");
    int level = 0;
    std::string type;
    int64_t kilobytes = 0;
    if (!(level_file >> level && type_file >> type && size_file >> kilobytes)) break;
    if (type == "Instruction") continue;
    (level == 1 ? s.l1d : level == 2 ? s.l2 : s.l3) = kilobytes << 10;
  }
  return s;
}
}  // namespace

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = [] {
    CacheSizes s = caches_of_sysfs();
    const auto fill = [](int64_t& size, int name, int64_t usual) {
      if (size <= 0 && name >= 0) size = sysconf(name);
      if (size <= 0) size = usual;
    };
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    constexpr int kL1 = _SC_LEVEL1_DCACHE_SIZE, kL2 = _SC_LEVEL2_CACHE_SIZE,
                  kL3 = _SC_LEVEL3_CACHE_SIZE;
#else
    constexpr int kL1 = -1, kL2 = -1, kL3 = -1;
#endif
    fill(s.l1d, kL1, 32 << 10);
    fill(s.l2, kL2, 1 << 20);
    fill(s.l3, kL3, 16 << 20);
    return s;
  }();
  return sizes;
}

}  // namespace tercel
