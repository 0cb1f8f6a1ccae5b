// State of the emulator: a block, its warps, warpgroups and fibers. Included by its sources only.
#pragma once

#include <deque>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

#include "emu/emulator.h"

// Sanitizer hooks; weak, so the same objects serve plain, ASan and TSan programs.
extern "C" {
#define EMU_WEAK __attribute__((weak))
EMU_WEAK void* __tsan_create_fiber(unsigned);
EMU_WEAK void __tsan_destroy_fiber(void*);
EMU_WEAK void __tsan_switch_to_fiber(void*, unsigned);
EMU_WEAK void* __tsan_get_current_fiber();
EMU_WEAK void __tsan_acquire(void*);
EMU_WEAK void __tsan_release(void*);
EMU_WEAK void __tsan_read_range(void*, unsigned long);
EMU_WEAK void __tsan_write_range(void*, unsigned long);
EMU_WEAK void __sanitizer_start_switch_fiber(void**, const void*, size_t);
EMU_WEAK void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
EMU_WEAK void __asan_poison_memory_region(const volatile void*, size_t);
EMU_WEAK void __asan_unpoison_memory_region(const volatile void*, size_t);
#undef EMU_WEAK
}

namespace emu {

inline bool tsan() { return __tsan_create_fiber != nullptr; }
inline bool asan() { return __asan_poison_memory_region != nullptr; }
inline void release(void* p) {
  if (tsan()) __tsan_release(p);
}
inline void acquire(void* p) {
  if (tsan()) __tsan_acquire(p);
}
inline void note_read(const void* p, size_t n) {
  if (tsan() && n) __tsan_read_range(const_cast<void*>(p), n);
}
inline void note_write(void* p, size_t n) {
  if (tsan() && n) __tsan_write_range(p, n);
}

// Copies that TSan's memcpy does not see: what the hardware does is told to it in other ways.
inline void copy_quietly(void* dst, const void* src, size_t n) {
  auto* d = static_cast<volatile unsigned char*>(dst);
  auto* s = static_cast<const unsigned char*>(src);
  for (size_t i = 0; i < n; ++i) d[i] = s[i];
}
inline void clear_quietly(void* dst, size_t n) {
  auto* d = static_cast<volatile unsigned char*>(dst);
  for (size_t i = 0; i < n; ++i) d[i] = 0;
}

struct AsyncCopy {
  unsigned char* dst;
  const void* src;
  int bytes, source_bytes;
  bool done = false;
};

struct TmaCopy {
  bool store;
  TensorMap map;
  uint32_t shared;
  int x, y;
  uint32_t mbarrier;
  bool done = false;
};

struct Collective {  // in flight, of one mask
  uint32_t mask = 0, arrived = 0, generation = 0;
  const char* op = "";
  int line = 0;
  void* argument[32] = {};
};

struct Warp {
  std::vector<Collective> collectives;
  uint32_t live = 0;
};

struct Barrier {
  uint32_t arrived = 0, generation = 0, expected = 0;
  int line = 0, count = 0, result = 0;
};

struct Mbarrier {
  uint32_t count = 0, pending = 0, generation = 0;
  int64_t bytes = 0;
};

struct WgmmaOp {
  MmaKind kind;
  float* d[128];
  int n;
  uint64_t a, b;
  bool accumulate;
};

struct Warpgroup {
  bool fenced = false;
  uint32_t arrived = 0, generation = 0;
  const char* op = "";
  int line = 0;
  WgmmaOp current;
  std::vector<WgmmaOp> open;
  std::deque<std::vector<WgmmaOp>> groups;
};

struct Block;
struct Fiber : Lane {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  bool done = true;
  const uint32_t* waits_for = nullptr;  // runs again when this differs from wait_value
  uint32_t wait_value = 0;
  const char* what = "";
  int line = 0;
  Warp* w = nullptr;
  Block* b = nullptr;
  std::vector<AsyncCopy> open_copies;
  std::deque<std::vector<AsyncCopy>> copy_groups;
  std::vector<TmaCopy> open_stores;
  std::vector<uint32_t>
      unfenced;  // rows of 16 bytes written by stmatrix since the last proxy fence
  std::deque<std::vector<TmaCopy>> store_groups;
  void* tsan_fiber = nullptr;
  void* fake_stack = nullptr;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<Warpgroup> warpgroups;
  Barrier barriers[16];
  std::unordered_map<uint32_t, Mbarrier> mbarriers;
  std::vector<TmaCopy> tma;  // loads under way, in order of issue
  size_t tma_head = 0;
  unsigned live = 0;
  unsigned char* shared = nullptr;
  size_t used = 0;
  std::vector<std::pair<const void*, void*>> statics;
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
  std::string error;
  std::mt19937 random;
  void* main_stack_pointer = nullptr;
  void* main_tsan = nullptr;
  void* main_fake_stack = nullptr;
  const void* main_stack = nullptr;
  size_t main_stack_size = 0;
};

struct Abort {};  // unwinds a fiber after an error

extern thread_local Fiber* current;

// Gives the processor away until *generation changes from `value`.
void block_on(const uint32_t* generation, uint32_t value, const char* what, int line);
void run_tma(Block& b, TmaCopy& copy);
void flush_copies(std::vector<AsyncCopy>& group, bool random);
bool coin();  // of the block's generator

// Runs `op(arguments)` once, by the last lane of `mask` that arrives; `argument` is this lane's.
template <class Op>
void warp_collective(uint32_t mask, const char* name, int line, void* argument, Op&& op) {
  Fiber* f = current;
  Warp& w = *f->w;
  ++stats.collectives;
  const std::string at = std::string(name) + " at line " + std::to_string(line);
  if (!(mask >> f->lane & 1)) fail(at + ": the calling lane is not in the mask");
  if (mask & ~w.live) fail(at + ": the mask names lanes that have exited");
  Collective* c = nullptr;
  for (Collective& k : w.collectives) {
    if (k.mask == mask) c = &k;
  }
  if (!c) {
    if (w.collectives.capacity() == 0) w.collectives.reserve(64);
    if (w.collectives.size() == 64) fail(at + ": more than 64 different masks");
    w.collectives.push_back({});
    c = &w.collectives.back();
    c->mask = mask;
  }
  if (!c->arrived) {
    c->op = name;
    c->line = line;
  } else if (std::strcmp(c->op, name) != 0 || c->line != line) {
    fail("divergent warp: " + at + ", other lanes in " + c->op + " at line " +
         std::to_string(c->line));
  }
  c->argument[f->lane] = argument;
  c->arrived |= 1u << f->lane;
  release(c);
  if (c->arrived == mask) {
    acquire(c);
    op(c->argument);
    release(c);
    c->arrived = 0;
    ++c->generation;
  } else {
    block_on(&c->generation, c->generation, name, line);
    acquire(c);
  }
}

}  // namespace emu
