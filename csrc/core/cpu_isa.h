// CPU instruction set levels: what the processor and the OS support, and which level runs.
//
// A kernel file is compiled once per level (generic, avx2, avx512). Micro-kernel files carry extra
// features on top of a level; `cpu_has` answers for those, already capped by the active level.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tercel {

enum class IsaLevel : uint8_t { generic, avx2, avx512 };
inline constexpr int kNumIsaLevels = 3;

enum class CpuFeature : uint8_t {
  avx2,
  avxvnni,
  avx512,
  avx512vnni,
  avx512bf16,
  avx512fp16,
  amx_int8,
  amx_bf16,
  amx_fp16
};
inline constexpr int kNumCpuFeatures = 9;

// Index of the level in use, read by every kernel table.
extern IsaLevel g_isa_level;
inline IsaLevel isa_level() { return g_isa_level; }

bool level_built(IsaLevel level);      // compiled into this library
bool level_supported(IsaLevel level);  // and the processor can run it
const char* level_name(IsaLevel level);

// TERCEL_ISA / set_isa accept: generic avx2 avxvnni avx512 avx512vnni avx512bf16 avx512fp16 amx
// auto. A name caps the features; RuntimeError when this processor or build lacks it.
void set_isa(const std::string& name);
std::string isa_name();  // the cap in force, e.g. "avx512vnni"

bool cpu_found(CpuFeature feature);  // hardware and OS
bool cpu_has(CpuFeature feature);    // found and allowed by the cap
const char* feature_name(CpuFeature feature);
std::vector<std::string> cpu_flags();
std::string cpu_model();

// For choices that no flag tells: which of two ways is faster. Zeros where there is no cpuid.
struct CpuIdentity {
  bool intel, amd;
  int family, model;
};
const CpuIdentity& cpu_identity();

// TERCEL_TRACE=1: one line on stderr per kernel choice. Call under `if (trace_enabled())`.
bool trace_enabled();
void trace(const std::string& line);

struct CacheSizes {
  int64_t l1d, l2, l3;  // bytes
};
const CacheSizes& cache_sizes();

}  // namespace tercel
