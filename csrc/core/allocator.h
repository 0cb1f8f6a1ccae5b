// Caching CPU allocator: 64-byte aligned blocks, reused without page-faulting again.
//
// Small blocks (<= 64 KB) come from per-thread size-class lists; larger ones from a shared cache of
// mmapped blocks (huge pages requested from 2 MB up). TERCEL_GUARD=end|start puts every block
// against an inaccessible page to catch reads past its end or before its start.
#pragma once

#include <cstdint>

namespace tercel {

struct MemoryStats {
  int64_t allocated;  // bytes in live blocks as requested
  int64_t allocated_peak;
  int64_t reserved;  // bytes held from the system, cached blocks included
  int64_t reserved_peak;
  int64_t num_allocs;  // since start
  int64_t num_live;    // live blocks
  int64_t num_system;  // requests that reached the system
};

void* cpu_alloc(int64_t nbytes);  // raises OutOfMemoryError with requested / available bytes
void cpu_free(void* p, int64_t nbytes) noexcept;
MemoryStats memory_stats();
void reset_peak_memory_stats();
void empty_cache();
const char* allocator_name();  // "caching", "guard-end", "guard-start", "sanitizer"

}  // namespace tercel
