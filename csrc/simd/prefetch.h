// Sequential reads from memory: the hardware prefetcher runs ahead of them to the end of a page of
// 4096 bytes and starts again, at full latency, in the next one. Bringing in the first lines of the
// next page while the middle of this one is read hides that.
//
//   for (...) { fetch_next_page(x + i, 64); ...load x[i]... }
//
// Rows of float32 in memory (64 MB, dim 1): sum 6.2 -> 5.5 ms.
#pragma once

#include <stdint.h>

#include "core/inline.h"

namespace tercel::simd {
namespace {

// The next page, where the `step` bytes at p (a power of two up to 2048) reach the middle of one.
TERCEL_INLINE const char* next_page(const void* p, uint64_t step) {
  const uint64_t at = reinterpret_cast<uint64_t>(p), offset = at % 4096;
  return offset - 2048 < step ? reinterpret_cast<const char*>(at - offset + 4096) : nullptr;
}
TERCEL_INLINE void fetch_lines(const char* p) {
  for (int line = 0; line < 8; ++line) __builtin_prefetch(p + 64 * line);
}
TERCEL_INLINE void fetch_next_page(const void* p, uint64_t step) {
  if (const char* page = next_page(p, step)) fetch_lines(page);
}

}  // namespace
}  // namespace tercel::simd
