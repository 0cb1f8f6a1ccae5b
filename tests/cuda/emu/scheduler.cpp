// Fibers, blocks, barriers and warp collectives.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "emu/core.h"

extern "C" void emu_switch(void** save, void* load);
// Saves the callee-saved registers on the stack and exchanges stacks.
asm(R"(
.pushsection .text
.globl emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch,.-emu_switch
.popsection
)");

namespace emu {

thread_local Options options;
thread_local Stats stats;
thread_local const Lane* me = nullptr;
thread_local Fiber* current = nullptr;

namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kArenaBytes = 256 << 10;
thread_local std::string first_error;
thread_local Block* device = nullptr;

void* map(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  return p;
}

// Stack switches, told to the sanitizer that is there.
void switch_to_scheduler() {
  Fiber* f = current;
  Block* b = f->b;
  ++stats.switches;
  if (tsan()) {
    __tsan_switch_to_fiber(b->main_tsan, 1);
  } else if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber(f->done ? nullptr : &f->fake_stack, b->main_stack,
                                   b->main_stack_size);
  }
  emu_switch(&f->stack_pointer, b->main_stack_pointer);
  if (!tsan() && __sanitizer_finish_switch_fiber) {
    __sanitizer_finish_switch_fiber(f->fake_stack, nullptr, nullptr);
  }
}

void switch_to_fiber(Block& b, Fiber& f) {
  current = &f;
  me = &f;
  if (tsan()) {
    __tsan_switch_to_fiber(f.tsan_fiber, 1);
  } else if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber(&b.main_fake_stack, f.stack, kStackBytes);
  }
  emu_switch(&b.main_stack_pointer, f.stack_pointer);
  if (!tsan() && __sanitizer_finish_switch_fiber) {
    __sanitizer_finish_switch_fiber(b.main_fake_stack, nullptr, nullptr);
  }
}

void fiber_main() {
  Block* b = current->b;
  if (!tsan() && __sanitizer_finish_switch_fiber) {
    __sanitizer_finish_switch_fiber(nullptr, &b->main_stack, &b->main_stack_size);
  }
  acquire(&b->entry);  // what came before the launch, not what other threads of it have done
  try {
    b->entry(b->argument);
    if (!current->open_copies.empty()) fail("thread exited with uncommitted cp.async");
    if (!current->store_groups.empty() || !current->open_stores.empty()) {
      fail("thread exited before its TMA stores had read shared memory");
    }
  } catch (Abort&) {
  } catch (std::exception& e) {
    if (b->error.empty()) b->error = e.what();
  }
  Fiber* f = current;
  f->done = true;
  --f->b->live;
  f->w->live &= ~(1u << f->lane);
  f->copy_groups.clear();
  f->open_copies.clear();
  f->store_groups.clear();
  f->open_stores.clear();
  release(f->b);
  switch_to_scheduler();
  abort();
}

void start(Fiber& f) {
  if (!f.stack) {
    f.stack = static_cast<char*>(map(kStackBytes));
    if (tsan()) f.tsan_fiber = __tsan_create_fiber(0);
  }
  if (asan()) __asan_unpoison_memory_region(f.stack, kStackBytes);
  void** top = reinterpret_cast<void**>(f.stack + kStackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.stack_pointer = top;
  f.done = false;
  f.waits_for = nullptr;
}

std::string describe_deadlock(const Block& b) {
  std::string text = "deadlock or divergent synchronisation:";
  std::vector<std::pair<std::string, int>> seen;
  for (const Fiber& f : b.fibers) {
    if (f.done || seen.size() == 6) continue;
    const std::pair<std::string, int> place{f.what, f.line};
    if (std::find(seen.begin(), seen.end(), place) != seen.end()) continue;
    seen.push_back(place);
    text += (seen.size() > 1 ? "; thread " : " thread ") + std::to_string(f.linear) + " in " +
            f.what + " at line " + std::to_string(f.line);
  }
  if (b.live < b.fibers.size()) {
    text += "; " + std::to_string(b.fibers.size() - b.live) + " threads have exited";
  }
  return text;
}

// One pending TMA load; which, and whether now, depends on the options.
bool advance_tma(Block& b, bool stuck) {
  if (b.tma_head == b.tma.size()) return false;
  const bool now =
      stuck || options.async == Async::early || (options.async == Async::random && coin());
  if (!now) return false;
  size_t i = b.tma_head;
  if (options.async == Async::random) {  // loads may overtake each other
    i += b.random() % (b.tma.size() - b.tma_head);
    while (b.tma[i].done) --i;
  }
  b.tma[i].done = true;
  TmaCopy copy = b.tma[i];
  while (b.tma_head < b.tma.size() && b.tma[b.tma_head].done) ++b.tma_head;
  run_tma(b, copy);
  return true;
}

void run_block(Block& b) {
  std::vector<unsigned> order(b.fibers.size());
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  if (options.order == Order::reverse) std::reverse(order.begin(), order.end());
  const bool shuffled = options.order == Order::random;
  if (tsan()) b.main_tsan = __tsan_get_current_fiber();
  while (b.live) {
    bool progress = false;
    if (shuffled) std::shuffle(order.begin(), order.end(), b.random);
    for (unsigned i : order) {
      Fiber& f = b.fibers[i];
      const bool blocked = f.waits_for && *f.waits_for == f.wait_value && b.error.empty();
      if (f.done || blocked) continue;
      progress = true;
      if (shuffled && b.random() % 4 == 0) continue;
      f.waits_for = nullptr;
      switch_to_fiber(b, f);
    }
    progress |= advance_tma(b, !progress);
    if (!progress && b.error.empty()) b.error = describe_deadlock(b);
  }
  if (b.error.empty() && b.tma_head != b.tma.size()) {
    b.error = "block exited with TMA loads under way";
  }
}

void resize(Block& b, unsigned threads) {
  if (b.fibers.size() == threads) return;
  for (Fiber& f : b.fibers) {
    if (f.stack) munmap(f.stack, kStackBytes);
    if (tsan() && f.tsan_fiber) __tsan_destroy_fiber(f.tsan_fiber);
  }
  b.fibers.clear();
  b.fibers.resize(threads);
}

void prepare_block(Block& b, dim3 grid, dim3 block, uint3 id, size_t shared_bytes) {
  const unsigned n = static_cast<unsigned>(b.fibers.size());
  b.live = n;
  b.warps.assign((n + 31) / 32, Warp{});
  b.warpgroups.assign((n + 127) / 128, Warpgroup{});
  b.statics.clear();
  b.used = (shared_bytes + 127) & ~size_t{127};
  b.mbarriers.clear();
  b.tma.clear();
  b.tma_head = 0;
  for (Barrier& barrier : b.barriers) barrier = Barrier{};
  b.random.seed(options.seed * 7919 + id.x * 31 + id.y * 17 + id.z);
  if (asan()) __asan_unpoison_memory_region(b.shared, kArenaBytes);
  std::memset(b.shared, 0xff, kArenaBytes);  // NaN in every float format
  if (asan()) __asan_poison_memory_region(b.shared + shared_bytes, kArenaBytes - shared_bytes);
  for (unsigned i = 0; i < n; ++i) {
    Fiber& f = b.fibers[i];
    f.linear = i;
    f.lane = i % 32;
    f.warp = i / 32;
    f.tid = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    f.bid = id;
    f.block = block;
    f.grid = grid;
    f.b = &b;
    f.w = &b.warps[f.warp];
    f.w->live |= 1u << f.lane;
    f.unfenced.clear();
    start(f);
  }
}

void report(const std::string& text) {
  if (options.throw_errors) throw Error("emulator: " + text);
  if (first_error.empty()) first_error = "emulator: " + text;
}

}  // namespace

std::string last_error() { return std::exchange(first_error, ""); }

bool coin() { return device->random() % 2 == 0; }

void fail(const std::string& text) {
  Fiber* f = current;
  if (f->b->error.empty()) {
    f->b->error = text + " [block " + std::to_string(f->bid.x) + "," + std::to_string(f->bid.y) +
                  "," + std::to_string(f->bid.z) + " thread " + std::to_string(f->linear) + "]";
  }
  throw Abort{};
}

void block_on(const uint32_t* generation, uint32_t value, const char* what, int line) {
  Fiber* f = current;
  f->waits_for = generation;
  f->wait_value = value;
  f->what = what;
  f->line = line;
  switch_to_scheduler();
  if (!f->b->error.empty()) throw Abort{};
}

void run_kernel(dim3 grid, dim3 block, size_t shared_bytes, void (*entry)(void*), void* argument) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (shared_bytes > kMaxShared) return report("more than 227 KB of shared memory");
  if (threads == 0 || threads > 1024 || block.z > 64) return report("bad block dimensions");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535) {
    return report("bad grid dimensions");
  }
  if (!device) {
    device = new Block;
    device->shared = static_cast<unsigned char*>(map(kArenaBytes));
  }
  Block& b = *device;
  resize(b, static_cast<unsigned>(threads));
  b.error.clear();
  b.entry = entry;
  b.argument = argument;
  ++stats.launches;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        ++stats.blocks;
        prepare_block(b, grid, block, {x, y, z}, shared_bytes);
        release(&b.entry);
        run_block(b);
        acquire(&b);
        if (!b.error.empty()) return report(b.error);
      }
    }
  }
}

// ---- barriers and warp collectives
// -----------------------------------------------------------------------

void barrier(int id, unsigned threads, int line) {
  Fiber* f = current;
  Barrier& r = f->b->barriers[id];
  if (!threads) threads = static_cast<unsigned>(f->b->fibers.size());
  if (threads % 32 && threads != f->b->fibers.size())
    fail("barrier: thread count is not a multiple of 32");
  if (r.arrived && (r.line != line || r.expected != threads)) {
    fail("barrier " + std::to_string(id) + " reached from lines " + std::to_string(r.line) +
         " and " + std::to_string(line));
  }
  r.line = line;
  r.expected = threads;
  release(&r);
  if (++r.arrived == threads) {
    r.arrived = 0;
    ++r.generation;
    acquire(&r);
  } else {
    block_on(&r.generation, r.generation, "barrier", line);
    acquire(&r);
  }
}

int barrier_count(int predicate, int line) {
  Barrier& r = current->b->barriers[0];
  if (r.arrived == 0) r.count = 0;
  r.count += predicate != 0;
  if (r.arrived + 1 == current->b->fibers.size()) r.result = r.count;
  barrier(0, 0, line);
  return r.result;
}

void sync_warp(uint32_t mask, int line) {
  warp_collective(mask, "__syncwarp", line, nullptr, [](void**) {});
}

void shuffle(Shuffle kind, uint32_t mask, void* value, int bytes, int argument, int width,
             int line) {
  struct Call {
    void* value;
    int argument;
  } call{value, argument};
  if (width <= 0 || width > 32 || (width & (width - 1)))
    fail("__shfl: width is not a power of two");
  warp_collective(mask, "__shfl", line, &call, [=](void** calls) {
    unsigned char in[32][8];
    auto at = [&](int l) -> Call& { return *static_cast<Call*>(calls[l]); };
    for (int l = 0; l < 32; ++l) {
      if (mask >> l & 1) std::memcpy(in[l], at(l).value, bytes);
    }
    for (int l = 0; l < 32; ++l) {
      if (!(mask >> l & 1)) continue;
      const int x = at(l).argument, low = l & ~(width - 1);
      int source = l;
      switch (kind) {
        case Shuffle::index:
          source = low | (x & (width - 1));
          break;
        case Shuffle::exchange:
          source = (l ^ x) < low + width ? l ^ x : l;
          break;
        case Shuffle::down:
          source = l + x < low + width ? l + x : l;
          break;
        case Shuffle::up:
          source = l - x >= low ? l - x : l;
          break;
      }
      if (!(mask >> source & 1)) fail("__shfl reads a lane outside the mask");
      std::memcpy(at(l).value, in[source], bytes);
    }
  });
}

uint32_t ballot(uint32_t mask, int predicate, int line) {
  struct Call {
    int predicate;
    uint32_t result;
  } call{predicate, 0};
  warp_collective(mask, "__ballot", line, &call, [=](void** calls) {
    uint32_t r = 0;
    for (int l = 0; l < 32; ++l) {
      if (mask >> l & 1)
        r |= static_cast<uint32_t>(static_cast<Call*>(calls[l])->predicate != 0) << l;
    }
    for (int l = 0; l < 32; ++l) {
      if (mask >> l & 1) static_cast<Call*>(calls[l])->result = r;
    }
  });
  return call.result;
}

uint32_t match_any(uint32_t mask, uint64_t value, int line) {
  struct Call {
    uint64_t value;
    uint32_t result;
  } call{value, 0};
  warp_collective(mask, "__match_any", line, &call, [=](void** calls) {
    for (int l = 0; l < 32; ++l) {
      if (!(mask >> l & 1)) continue;
      auto& mine = *static_cast<Call*>(calls[l]);
      for (int k = 0; k < 32; ++k) {
        if ((mask >> k & 1) && static_cast<Call*>(calls[k])->value == mine.value) {
          mine.result |= 1u << k;
        }
      }
    }
  });
  return call.result;
}

AtomicScope::AtomicScope(void* p) : p_(p) { acquire(p_); }
AtomicScope::~AtomicScope() { release(p_); }

}  // namespace emu
