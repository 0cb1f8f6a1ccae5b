// Sequential reads from memory that the hardware does not keep up with. For ISA files only.
//
//   const simd::ReadAhead ahead;
//   for (...) { ahead.fetch(x + i, 64); ...load 64 bytes at x[i]... }
//
// Hardware prefetchers run ahead to the end of a page of 4096 bytes and start again, at full
// latency, in the next one. Bringing in the first lines of the next page while the middle of this
// one is read hides that (64 MB of float32 in rows on Cascade Lake: sum 6.2 -> 5.5 ms). Where
// `prefetches_reads`, every line is asked for, two pages ahead.
#pragma once

#include <stdint.h>

#include "core/inline.h"
#include "core/streaming.h"

namespace tercel::simd {
namespace {

class ReadAhead {
 public:
  TERCEL_INLINE ReadAhead() : every_line_(prefetches_reads()) {}

  // The next `step` bytes at p are about to be read; a power of two from 64 to 2048.
  TERCEL_INLINE void fetch(const void* p, uint64_t step) const {
    const uint64_t at = reinterpret_cast<uint64_t>(p), offset = at % 4096;
    if (every_line_)
      fetch_lines(at + 8192, step);
    else if (offset - 2048 < step)
      fetch_lines(at - offset + 4096, 512);
  }
  // The same for any number of bytes, where pages do not matter.
  TERCEL_INLINE void fetch_block(const void* p, uint64_t bytes) const {
    if (every_line_) fetch_lines(reinterpret_cast<uint64_t>(p) + 8192, bytes);
  }
  // The same for a line of each of `rows` rows, `stride` bytes apart.
  TERCEL_INLINE void fetch_column(const void* p, uint64_t stride, int rows) const {
    const char* at = static_cast<const char*>(p) + 256;
    for (int r = 0; every_line_ && r < rows; ++r, at += stride) __builtin_prefetch(at);
  }

 private:
  static TERCEL_INLINE void fetch_lines(uint64_t at, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes; i += 64)
      __builtin_prefetch(reinterpret_cast<const char*>(at + i));
  }
  bool every_line_;
};

}  // namespace
}  // namespace tercel::simd
