// Shared memory, cp.async, mbarriers and the tensor memory accelerator.
#include <algorithm>
#include <cstdlib>

#include "emu/core.h"

namespace emu {
namespace {

Mbarrier& mbarrier(uint32_t address) {
  const auto it = current->b->mbarriers.find(address);
  if (it == current->b->mbarriers.end()) fail("mbarrier used before its initialisation");
  return it->second;
}

void complete_phase(Mbarrier& m) {
  if (m.pending == 0 && m.bytes == 0) {
    m.pending = m.count;
    ++m.generation;
  }
}

size_t box_bytes(const TensorMap& map) {
  return size_t{map.box[0]} * map.box[1] * map.element_bytes;
}

void check_map(const TensorMap* map) {
  if (map->magic != kTensorMapMagic) fail("TMA: not a tensor map");
  const size_t inner = size_t{map->box[0]} * map->element_bytes;
  if (map->pitch_bytes % 16 || reinterpret_cast<uintptr_t>(map->base) % 16) {
    fail("TMA: base and pitch must be multiples of 16 bytes");
  }
  if (inner % 16 || map->box[0] > 256 || map->box[1] > 256) fail("TMA: bad box");
  if (map->swizzle_bytes && inner > static_cast<size_t>(map->swizzle_bytes)) {
    fail("TMA: the box is wider than the swizzle");
  }
}

}  // namespace

thread_local Recording* recording = nullptr;

Recording::~Recording() {
  for (void* p : memory) std::free(p);
}

void* allocate(size_t bytes) {
  void* p = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
  if (!p) return p;
  std::memset(p, 0xff, bytes);
  if (recording) {
    recording->memory.push_back(p);
    recording->work.push_back([=] { std::memset(p, 0xff, bytes); });
  }
  return p;
}
void deallocate(void* p) {
  if (!recording) std::free(p);
}

void* static_shared(const void* site, size_t bytes, size_t align) {
  Block& b = *current->b;
  for (auto& known : b.statics) {
    if (known.first == site) return known.second;
  }
  align = std::max<size_t>(align, 16);
  b.used = (b.used + align - 1) / align * align;
  if (b.used + bytes > kMaxShared) fail("shared memory overflow");
  void* p = b.shared + b.used;
  b.used += bytes + 32;  // a poisoned gap
  if (asan()) __asan_unpoison_memory_region(p, bytes);
  b.statics.push_back({site, p});
  return p;
}

unsigned char* dynamic_shared() { return current->b->shared; }

uint32_t shared_address(const void* p) {
  const ptrdiff_t d = static_cast<const unsigned char*>(p) - current->b->shared;
  if (d < 0 || d >= static_cast<ptrdiff_t>(kMaxShared)) fail("not an address in shared memory");
  return static_cast<uint32_t>(d);
}

unsigned char* shared_pointer(uint32_t a, size_t n) {
  if (a + n > std::max(current->b->used, size_t{1})) fail("shared address out of range");
  return current->b->shared + a;
}

// ---- cp.async
// --------------------------------------------------------------------------------------------

void flush_copies(std::vector<AsyncCopy>& group, bool random) {
  for (AsyncCopy& c : group) {
    if (c.done || (random && coin())) continue;
    c.done = true;
    note_read(c.src, static_cast<size_t>(c.source_bytes));
    note_write(c.dst, static_cast<size_t>(c.bytes));
    copy_quietly(c.dst, c.src, c.source_bytes);
    clear_quietly(c.dst + c.source_bytes, c.bytes - c.source_bytes);
  }
}

void cp_async(uint32_t dst, const void* src, int bytes, int source_bytes) {
  if (dst % bytes || (source_bytes && reinterpret_cast<uintptr_t>(src) % bytes)) {
    fail("cp.async: misaligned address");
  }
  if (source_bytes < 0 || source_bytes > bytes) fail("cp.async: bad source size");
  unsigned char* p = shared_pointer(dst, bytes);
  // The copy may land at once: nobody may read or write the destination from here on.
  note_write(p, static_cast<size_t>(bytes));
  current->open_copies.push_back({p, src, bytes, source_bytes});
  if (options.async == Async::early) flush_copies(current->open_copies, false);
  if (options.async == Async::random) flush_copies(current->open_copies, true);
}

void cp_async_commit() {
  current->copy_groups.push_back(std::move(current->open_copies));
  current->open_copies.clear();
}

void cp_async_wait(int pending) {
  auto& groups = current->copy_groups;
  while (static_cast<int>(groups.size()) > pending) {
    flush_copies(groups.front(), false);
    groups.pop_front();
  }
  if (options.async == Async::random) {
    for (auto& group : groups) flush_copies(group, true);
  }
}

// ---- mbarriers
// -------------------------------------------------------------------------------------------

void mbarrier_init(uint32_t address, unsigned count) {
  if (address & 7) fail("mbarrier: misaligned address");
  shared_pointer(address, 8);
  if (count == 0 || count >= 1u << 20) fail("mbarrier: bad count");
  Mbarrier& m = current->b->mbarriers[address];
  m = Mbarrier{};
  m.count = m.pending = count;
}

void mbarrier_arrive(uint32_t address, unsigned expect_bytes) {
  Mbarrier& m = mbarrier(address);
  if (!m.pending) fail("mbarrier: more arrivals than its count");
  m.bytes += expect_bytes;
  --m.pending;
  release(&m);
  complete_phase(m);
}

void mbarrier_wait(uint32_t address, unsigned parity, int line) {
  Mbarrier& m = mbarrier(address);
  while ((m.generation & 1) == (parity & 1)) {
    block_on(&m.generation, m.generation, "mbarrier wait", line);
  }
  acquire(&m);
}

// ---- TMA
// -------------------------------------------------------------------------------------------------

// One box, with swizzle; outside the tensor loads give zeros and stores nothing.
void run_tma(Block& b, TmaCopy& t) {
  const TensorMap& map = t.map;
  const int row_bytes = static_cast<int>(map.box[0]) * map.element_bytes;
  for (uint32_t r = 0; r < map.box[1]; ++r) {
    for (int c = 0; c < row_bytes; c += 16) {
      unsigned char* s = b.shared + swizzle(t.shared + r * row_bytes + c, map.swizzle_bytes);
      for (int e = 0; e < 16; e += map.element_bytes) {
        const int64_t x = t.x + (c + e) / map.element_bytes, y = t.y + static_cast<int64_t>(r);
        const bool inside = x >= 0 && y >= 0 && x < static_cast<int64_t>(map.size[0]) &&
                            y < static_cast<int64_t>(map.size[1]);
        char* g = static_cast<char*>(map.base) + y * static_cast<int64_t>(map.pitch_bytes) +
                  x * map.element_bytes;
        if (t.store) {
          if (inside) copy_quietly(g, s + e, map.element_bytes);
        } else if (inside) {
          copy_quietly(s + e, g, map.element_bytes);
        } else {
          clear_quietly(s + e, map.element_bytes);
        }
      }
    }
  }
  if (t.store) return;
  Mbarrier& m = b.mbarriers[t.mbarrier];
  m.bytes -= static_cast<int64_t>(box_bytes(map));
  complete_phase(m);
}

void tma_load(uint32_t dst, const TensorMap* map, int x, int y, uint32_t bar) {
  check_map(map);
  const uint32_t align = map->swizzle_bytes == 128 ? 1024 : map->swizzle_bytes == 64 ? 512 : 128;
  if (dst % align) fail("TMA load: destination is not aligned to the swizzle pattern");
  mbarrier(bar);
  note_write(shared_pointer(dst, box_bytes(*map)), box_bytes(*map));
  TmaCopy copy{false, *map, dst, x, y, bar};
  if (options.async == Async::early) {
    run_tma(*current->b, copy);
  } else {
    current->b->tma.push_back(copy);
  }
}

void tma_store(const TensorMap* map, uint32_t src, int x, int y) {
  check_map(map);
  if (src & 127) fail("TMA store: source is not aligned to 128 bytes");
  note_read(shared_pointer(src, box_bytes(*map)), box_bytes(*map));
  for (const Fiber& f : current->b->fibers) {
    for (uint32_t row : f.unfenced) {
      if (row >= src && row < src + box_bytes(*map))
        fail("TMA store reads what a thread wrote without a proxy fence");
    }
  }
  current->open_stores.push_back({true, *map, src, x, y, 0});
}

void tma_store_commit() {
  current->store_groups.push_back(std::move(current->open_stores));
  current->open_stores.clear();
}

void tma_store_wait(int pending, bool) {
  auto& groups = current->store_groups;
  while (static_cast<int>(groups.size()) > pending) {
    for (TmaCopy& copy : groups.front()) run_tma(*current->b, copy);
    groups.pop_front();
  }
}

void proxy_fence() { current->unfenced.clear(); }

}  // namespace emu
