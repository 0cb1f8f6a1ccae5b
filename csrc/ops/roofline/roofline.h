// Peaks of this machine, measured: what the benches divide by.
#pragma once

#include <cstdint>
#include <string>

#include "core/kernel_table.h"

namespace tercel {

enum class Peak : uint8_t { fma_f32, fma_f64, read, write, copy };

// Runs the loop `repeats` times on each of `parts` equal slices, one slice per thread at a time.
// read: sums; write: non-temporal stores if `stream`; copy: first half of a slice to its second
// half. sink: one float per part, keeps the work alive.
struct RooflineArgs {
  Peak peak;
  float* buffer;  // parts * count floats, 64-byte aligned; not used by fma
  int64_t count;  // floats per part, a multiple of 256
  int64_t repeats;
  int64_t parts;
  bool stream;
  float* sink;
};

struct RooflineKernels {
  void (*run)(const RooflineArgs&);
  int fma_chains;  // independent 64-byte accumulators of the fma loop
};
TERCEL_KERNEL_TABLE(RooflineKernels, roofline_kernels)

// GFLOP/s for "fma_f32" and "fma_f64", GB/s for "read", "write" and "copy" (bytes read + written)
// with all threads of the pool together, on `bytes` of memory in total; best of five tries that
// take `seconds` altogether. Raises ValueError for another name, bytes outside 16 KiB .. 16 GiB, or
// seconds outside (0, 60].
double roofline(const std::string& name, int64_t bytes, double seconds);

}  // namespace tercel
