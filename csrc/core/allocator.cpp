#include "core/allocator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "core/error.h"
#include "core/refcount.h"

namespace tercel {
namespace {

// Small blocks: size classes with four steps per power of two, 64 B .. 64 KB, cut from 1 MB slabs
// that are never returned. A thread keeps up to kThreadBytes per class; the rest goes to the shared
// list.
constexpr int64_t kAlign = 64;
constexpr int64_t kSmallLimit = 64 << 10;
constexpr int kNumClasses = 36;
constexpr int64_t kSlabBytes = 1 << 20;
constexpr int64_t kThreadBytes = 256 << 10;

// Large blocks: mmapped, cached whole by rounded size.
constexpr int64_t kPage = 4096;
constexpr int64_t kHugePage = 2 << 20;

std::atomic<int64_t> g_allocated{0}, g_allocated_peak{0}, g_reserved{0}, g_reserved_peak{0};
std::atomic<int64_t> g_allocs{0}, g_live{0}, g_system{0};

void raise_peak(std::atomic<int64_t>& peak, int64_t value) {
  int64_t seen = peak.load(std::memory_order_relaxed);
  while (value > seen && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

int class_of(int64_t bytes) {
  if (bytes <= 256) return bytes <= 64 ? 0 : static_cast<int>((bytes - 1) / 64);
  const int log =
      63 - __builtin_clzll(static_cast<uint64_t>(bytes - 1));  // 2^log < bytes <= 2^(log+1)
  const int64_t step = int64_t{1} << (log - 2);
  const int quarter = static_cast<int>((bytes - 1 - (int64_t{1} << log)) / step);  // 0..3
  return 4 + (log - 8) * 4 + quarter;
}

int64_t class_bytes(int c) {
  if (c < 4) return (c + 1) * 64;
  const int log = 8 + (c - 4) / 4, quarter = (c - 4) % 4;
  return (int64_t{1} << log) + (int64_t{1} << (log - 2)) * (quarter + 1);
}

struct FreeBlock {
  FreeBlock* next;
};

struct SharedSmall {
  std::mutex mutex;
  FreeBlock* lists[kNumClasses] = {};
  char* slab = nullptr;
  int64_t slab_left = 0;
};

// Leaked on purpose: blocks may be freed by threads that outlive static destruction.
SharedSmall& shared_small() {
  static SharedSmall* s = new SharedSmall;
  return *s;
}

void* system_map(int64_t bytes) {
  void* p = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  g_system.fetch_add(1, std::memory_order_relaxed);
  raise_peak(g_reserved_peak, g_reserved.fetch_add(bytes, std::memory_order_relaxed) + bytes);
  return p;
}

struct ThreadCache {
  FreeBlock* lists[kNumClasses] = {};
  int32_t counts[kNumClasses] = {};
  ~ThreadCache() {
    SharedSmall& shared = shared_small();
    std::lock_guard lock(shared.mutex);
    for (int c = 0; c < kNumClasses; ++c) {
      while (FreeBlock* b = lists[c]) {
        lists[c] = b->next;
        b->next = shared.lists[c];
        shared.lists[c] = b;
      }
      counts[c] = 0;
    }
  }
};

// A thread that is past its thread_local destructors must not touch the cache again.
thread_local bool t_dead = false;
struct DeadMarker {
  ~DeadMarker() { t_dead = true; }
};
ThreadCache* thread_cache() {
  if (t_dead) return nullptr;
  thread_local DeadMarker marker;
  thread_local ThreadCache cache;
  (void)marker;
  return &cache;
}

[[noreturn]] void fail_memory(int64_t nbytes) {
  int64_t available = static_cast<int64_t>(sysconf(_SC_AVPHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  fail(ErrorKind::OutOfMemory, str("out of memory: requested ", nbytes, " bytes; ", available,
                                   " bytes free, ", g_allocated.load(), " bytes in live tensors, ",
                                   g_reserved.load() - g_allocated.load(), " bytes cached"));
}

void* small_alloc(int c) {
  ThreadCache* cache = thread_cache();
  if (cache) {
    if (FreeBlock* b = cache->lists[c]) {
      cache->lists[c] = b->next;
      --cache->counts[c];
      return b;
    }
  }
  const int64_t bytes = class_bytes(c);
  SharedSmall& shared = shared_small();
  std::lock_guard lock(shared.mutex);
  if (FreeBlock* b = shared.lists[c]) {
    shared.lists[c] = b->next;
    return b;
  }
  if (shared.slab_left < bytes) {
    // The tail of the old slab is given to the largest classes that fit.
    while (shared.slab_left >= kAlign) {
      int tail = class_of(shared.slab_left < kSmallLimit ? shared.slab_left : kSmallLimit);
      while (class_bytes(tail) > shared.slab_left) --tail;
      auto* b = reinterpret_cast<FreeBlock*>(shared.slab);
      b->next = shared.lists[tail];
      shared.lists[tail] = b;
      shared.slab += class_bytes(tail);
      shared.slab_left -= class_bytes(tail);
    }
    void* slab = system_map(kSlabBytes);
    if (!slab) return nullptr;
    shared.slab = static_cast<char*>(slab);
    shared.slab_left = kSlabBytes;
  }
  void* p = shared.slab;
  shared.slab += bytes;
  shared.slab_left -= bytes;
  return p;
}

void small_free(void* p, int c) {
  auto* b = static_cast<FreeBlock*>(p);
  ThreadCache* cache = thread_cache();
  if (cache && cache->counts[c] * class_bytes(c) < kThreadBytes) {
    b->next = cache->lists[c];
    cache->lists[c] = b;
    ++cache->counts[c];
    return;
  }
  SharedSmall& shared = shared_small();
  std::lock_guard lock(shared.mutex);
  b->next = shared.lists[c];
  shared.lists[c] = b;
}

struct LargeCache {
  std::mutex mutex;
  std::multimap<int64_t, void*> free;  // rounded size -> block
};
LargeCache& large_cache() {
  static LargeCache* c = new LargeCache;
  return *c;
}

// Eight steps per power of two: at most 12.5 % slack, and sizes of one training step repeat
// exactly.
int64_t round_large(int64_t bytes) {
  const int log = 63 - __builtin_clzll(static_cast<uint64_t>(bytes));
  int64_t step = int64_t{1} << (log - 3);
  if (step < kPage) step = kPage;
  if (bytes >= 4 * kHugePage && step < kHugePage) step = kHugePage;
  return (bytes + step - 1) / step * step;
}

void* large_alloc(int64_t rounded) {
  LargeCache& cache = large_cache();
  {
    std::lock_guard lock(cache.mutex);
    auto it = cache.free.find(rounded);
    if (it != cache.free.end()) {
      void* p = it->second;
      cache.free.erase(it);
      return p;
    }
  }
  if (rounded < kHugePage) return system_map(rounded);
  // Align to a huge page so that the kernel can back the block with them.
  char* p = static_cast<char*>(system_map(rounded + kHugePage));
  if (!p) return nullptr;
  char* aligned = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(p) + kHugePage - 1) /
                                          kHugePage * kHugePage);
  if (aligned != p) munmap(p, static_cast<size_t>(aligned - p));
  const int64_t tail = (p + rounded + kHugePage) - (aligned + rounded);
  if (tail > 0) munmap(aligned + rounded, static_cast<size_t>(tail));
  g_reserved.fetch_sub(kHugePage, std::memory_order_relaxed);
#ifdef MADV_HUGEPAGE
  madvise(aligned, static_cast<size_t>(rounded), MADV_HUGEPAGE);
#endif
  return aligned;
}

void large_free(void* p, int64_t rounded) {
  LargeCache& cache = large_cache();
  std::lock_guard lock(cache.mutex);
  cache.free.emplace(rounded, p);
}

// Guard mode: every block ends (or starts) at an inaccessible page.
enum class Guard { off, end, start };
Guard guard_mode() {
  static const Guard mode = [] {
    const char* v = getenv("TERCEL_GUARD");
    if (!v || !*v || !strcmp(v, "0")) return Guard::off;
    return strcmp(v, "start") == 0 ? Guard::start : Guard::end;
  }();
  return mode;
}

struct GuardLayout {
  int64_t body, total, lead;
};
GuardLayout guard_layout(int64_t nbytes) {
  const int64_t body = (nbytes + kPage - 1) / kPage * kPage;
  // End-aligned blocks keep 8-byte alignment only: that is what exposes reads past the end.
  const int64_t lead = guard_mode() == Guard::end ? body - (nbytes + 7) / 8 * 8 : 0;
  return {body, body + 2 * kPage, lead};
}

void* guard_alloc(int64_t nbytes) {
  const GuardLayout g = guard_layout(nbytes);
  char* p = static_cast<char*>(system_map(g.total));
  if (!p) return nullptr;
  mprotect(p, kPage, PROT_NONE);
  mprotect(p + kPage + g.body, kPage, PROT_NONE);
  memset(p + kPage, 0xa5, static_cast<size_t>(g.body));
  return p + kPage + g.lead;
}

void guard_free(void* p, int64_t nbytes) {
  const GuardLayout g = guard_layout(nbytes);
  munmap(static_cast<char*>(p) - g.lead - kPage, static_cast<size_t>(g.total));
  g_reserved.fetch_sub(g.total, std::memory_order_relaxed);
}

// The address sanitizer sees overruns and uses after free only in blocks of its own malloc.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

void* try_alloc(int64_t nbytes) {
  if (guard_mode() != Guard::off) return guard_alloc(nbytes);
  if (kSanitized) {
    void* p = nullptr;
    return posix_memalign(&p, kAlign, static_cast<size_t>(nbytes)) ? nullptr : p;
  }
  return nbytes <= kSmallLimit ? small_alloc(class_of(nbytes)) : large_alloc(round_large(nbytes));
}

}  // namespace

void* cpu_alloc(int64_t nbytes) {
  // More than the machine has would be mapped lazily and then kill the process when it is touched.
  static const int64_t physical =
      static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  if (nbytes < 0 || nbytes > physical) fail_memory(nbytes);
  if (nbytes == 0) nbytes = 1;
  void* p = try_alloc(nbytes);
  if (!p) {
    empty_cache();
    p = try_alloc(nbytes);
    if (!p) fail_memory(nbytes);
  }
  g_allocs.fetch_add(1, std::memory_order_relaxed);
  g_live.fetch_add(1, std::memory_order_relaxed);
  raise_peak(g_allocated_peak, g_allocated.fetch_add(nbytes, std::memory_order_relaxed) + nbytes);
  return p;
}

void cpu_free(void* p, int64_t nbytes) noexcept {
  if (!p) return;
  if (nbytes == 0) nbytes = 1;
  g_live.fetch_sub(1, std::memory_order_relaxed);
  g_allocated.fetch_sub(nbytes, std::memory_order_relaxed);
  if (guard_mode() != Guard::off) {
    guard_free(p, nbytes);
  } else if (kSanitized) {
    free(p);
  } else if (nbytes <= kSmallLimit) {
    small_free(p, class_of(nbytes));
  } else {
    large_free(p, round_large(nbytes));
  }
}

MemoryStats memory_stats() {
  return {g_allocated.load(), g_allocated_peak.load(), g_reserved.load(), g_reserved_peak.load(),
          g_allocs.load(),    g_live.load(),           g_system.load()};
}

void reset_peak_memory_stats() {
  g_allocated_peak.store(g_allocated.load());
  g_reserved_peak.store(g_reserved.load());
}

void empty_cache() {
  LargeCache& cache = large_cache();
  std::lock_guard lock(cache.mutex);
  for (auto& [bytes, p] : cache.free) {
    munmap(p, static_cast<size_t>(bytes));
    g_reserved.fetch_sub(bytes, std::memory_order_relaxed);
  }
  cache.free.clear();
}

const char* allocator_name() {
  switch (guard_mode()) {
    case Guard::end:
      return "guard-end";
    case Guard::start:
      return "guard-start";
    default:
      return kSanitized ? "sanitizer" : "caching";
  }
}

void* object_alloc(size_t bytes) {
  if (kSanitized || static_cast<int64_t>(bytes) > kSmallLimit) return ::operator new(bytes);
  void* p = small_alloc(class_of(static_cast<int64_t>(bytes)));
  if (!p) throw std::bad_alloc();
  return p;
}

void object_free(void* p, size_t bytes) noexcept {
  if (kSanitized || static_cast<int64_t>(bytes) > kSmallLimit) {
    ::operator delete(p);
  } else {
    small_free(p, class_of(static_cast<int64_t>(bytes)));
  }
}

}  // namespace tercel
