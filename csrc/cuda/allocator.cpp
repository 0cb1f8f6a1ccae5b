// Caching, stream-ordered allocator of device memory.
//
// A block belongs to the stream it was allocated on. A freed block may be handed out again at once
// on the same stream, because work on a stream is ordered; blocks used on other streams
// (record_stream) wait for events. Requests of at most 1 MB are cut from 2 MB segments, those up to
// 10 MB from 20 MB segments, larger ones get a segment of their own, rounded to 2 MB. Neighbouring
// free blocks of a segment are merged. When the device is full, cached segments go back and the
// request is tried once more.
#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "cuda/graph.h"
#include "cuda/runtime.h"

namespace tercel::cuda {
namespace {

constexpr int64_t kRound = 512;
constexpr int64_t kSmall = 1 << 20, kSmallSegment = 2 << 20;
constexpr int64_t kMedium = 10 << 20, kMediumSegment = 20 << 20, kLargeRound = 2 << 20;

struct Block {
  char* data;
  int64_t size;
  int64_t requested = 0;
  int device;
  void* stream;
  bool small, free = true;
  Block* previous = nullptr;  // neighbours in the segment
  Block* next = nullptr;
  std::vector<void*> used_on;  // other streams
};

struct BySize {
  bool operator()(const Block* a, const Block* b) const {
    if (a->stream != b->stream) return std::less<>()(a->stream, b->stream);
    if (a->size != b->size) return a->size < b->size;
    return std::less<>()(a->data, b->data);
  }
};

struct Waiting {  // freed, but still read by other streams
  Block* block;
  std::vector<void*> events;
  std::vector<void*> unmarked;  // streams that get their event when no capture is under way
};

struct Pool {
  std::mutex mutex;
  std::set<Block*, BySize> free[2];  // large, small
  std::vector<Waiting> waiting;
  std::map<void*, int> pins;  // streams whose blocks belong to captured graphs
  MemoryStats stats{};
};

Pool& pool_of(int device) {
  static Pool* pools = new Pool[64];  // leaked: storages may outlive static destruction
  return pools[device];
}

int64_t segment_bytes(int64_t size) {
  if (size <= kSmall) return kSmallSegment;
  if (size <= kMedium) return kMediumSegment;
  return (size + kLargeRound - 1) / kLargeRound * kLargeRound;
}

void join(Pool& pool, Block* block, Block* neighbour) {  // neighbour is free: block swallows it
  pool.free[block->small].erase(neighbour);
  if (neighbour == block->next) {
    block->next = neighbour->next;
    if (block->next) block->next->previous = block;
  } else {
    block->data = neighbour->data;
    block->previous = neighbour->previous;
    if (block->previous) block->previous->next = block;
  }
  block->size += neighbour->size;
  delete neighbour;
}

void put_back(Pool& pool, Block* block) {
  block->free = true;
  block->used_on.clear();
  if (block->next && block->next->free) join(pool, block, block->next);
  if (block->previous && block->previous->free) join(pool, block, block->previous);
  pool.free[block->small].insert(block);
}

// Marks where each of the streams has come to.
void mark(Waiting& w, const TercelCudaApi& a) {
  for (void* stream : w.unmarked) {
    void* event = nullptr;
    if (a.event_create(&event, 0) == 0 && a.event_record(event, stream) == 0)
      w.events.push_back(event);
  }
  w.unmarked.clear();
}

void collect_waiting(Pool& pool, const TercelCudaApi& a, bool wait) {
  if (capture_under_way()) return;  // an event recorded in a capture cannot be asked
  std::erase_if(pool.waiting, [&](Waiting& w) {
    mark(w, a);
    for (void* event : w.events) {
      int done = 0;
      if (wait) a.event_synchronize(event);
      if (a.event_query(event, &done) != 0 || !done) return false;
    }
    for (void* event : w.events) a.event_destroy(event);
    put_back(pool, w.block);
    return true;
  });
}

void release_segments(Pool& pool, const TercelCudaApi& a) {
  collect_waiting(pool, a, true);
  for (auto& set : pool.free) {
    for (auto it = set.begin(); it != set.end();) {
      Block* block = *it;
      if (block->previous || block->next || pool.pins.count(block->stream)) {
        ++it;
        continue;
      }
      it = set.erase(it);
      a.release(block->data);
      pool.stats.reserved -= block->size;
      delete block;
    }
  }
}

Block* take_cached(Pool& pool, int64_t size, bool small, void* stream) {
  Block key{nullptr, size, 0, 0, stream, small, true, nullptr, nullptr, {}};
  auto& set = pool.free[small];
  const auto it = set.lower_bound(&key);
  if (it == set.end() || (*it)->stream != stream) return nullptr;
  // A large block is not given away for a small part of it.
  if (!small && size > kMedium && (*it)->size > size + size / 4 + kLargeRound) return nullptr;
  Block* block = *it;
  set.erase(it);
  return block;
}

void split(Pool& pool, Block* block, int64_t size) {
  const int64_t rest = block->size - size;
  if (rest < (block->small ? kRound : kSmall)) return;
  Block* tail = new Block{block->data + size, rest, 0,     block->device, block->stream,
                          block->small,       true, block, block->next,   {}};
  if (tail->next) tail->next->previous = tail;
  block->next = tail;
  block->size = size;
  pool.free[block->small].insert(tail);
}

}  // namespace

void* allocate(int64_t nbytes, int device, void** out) {
  *out = nullptr;
  const TercelCudaApi& a = api("cuda");
  TERCEL_CHECK(device >= 0 && device < device_count(), Runtime, "cuda: device index must be 0 to ",
               device_count() - 1, ", got ", device);
  if (nbytes == 0) return nullptr;
  Pool& pool = pool_of(device);
  void* stream = current_stream(device);
  // A request beyond any device must not wrap around in the rounding.
  const int64_t limit = int64_t{1} << 50;
  const int64_t size = (std::min(nbytes, limit) + kRound - 1) / kRound * kRound;
  const bool small = size <= kSmall;
  std::lock_guard lock(pool.mutex);
  if (!pool.waiting.empty()) collect_waiting(pool, a, false);
  Block* block = take_cached(pool, size, small, stream);
  if (!block) {
    const int64_t bytes = segment_bytes(size);
    void* p = nullptr;
    on_device(device);
    int code = a.allocate(&p, static_cast<size_t>(bytes));
    if (code == a.out_of_memory_code) {
      release_segments(pool, a);
      code = a.allocate(&p, static_cast<size_t>(bytes));
    }
    if (code == a.out_of_memory_code) {
      size_t free_bytes = 0, total = 0;
      a.memory_info(&free_bytes, &total);
      fail(ErrorKind::OutOfMemory,
           str("out of memory on cuda:", device, ": requested ", nbytes, " bytes; ", free_bytes,
               " of ", total, " bytes free, ", pool.stats.allocated, " bytes in live tensors, ",
               pool.stats.reserved - pool.stats.allocated, " bytes cached"));
    }
    check(code, "cudaMalloc");
    ++pool.stats.num_system;
    pool.stats.reserved += bytes;
    pool.stats.reserved_peak = std::max(pool.stats.reserved_peak, pool.stats.reserved);
    block = new Block{
        static_cast<char*>(p), bytes, 0, device, stream, small, true, nullptr, nullptr, {}};
  }
  split(pool, block, size);
  block->free = false;
  block->requested = nbytes;
  pool.stats.allocated += nbytes;
  pool.stats.allocated_peak = std::max(pool.stats.allocated_peak, pool.stats.allocated);
  ++pool.stats.num_allocs;
  ++pool.stats.num_live;
  *out = block;
  return block->data;
}

void release(void* p) noexcept {
  if (!p) return;
  auto* block = static_cast<Block*>(p);
  Pool& pool = pool_of(block->device);
  std::lock_guard lock(pool.mutex);
  pool.stats.allocated -= block->requested;
  --pool.stats.num_live;
  if (block->used_on.empty()) return put_back(pool, block);
  Waiting w{block, {}, block->used_on};
  if (!capture_under_way()) mark(w, api("cuda"));
  pool.waiting.push_back(std::move(w));
}

void record_stream(const Storage& storage, void* stream) {
  if (storage.deleter() != &release || !storage.context()) return;
  auto* block = static_cast<Block*>(storage.context());
  Pool& pool = pool_of(block->device);
  std::lock_guard lock(pool.mutex);
  if (stream == block->stream) return;
  if (std::find(block->used_on.begin(), block->used_on.end(), stream) == block->used_on.end())
    block->used_on.push_back(stream);
}

MemoryStats memory_stats(int device) {
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  return pool.stats;
}

void reset_peak_memory_stats(int device) {
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  pool.stats.allocated_peak = pool.stats.allocated;
  pool.stats.reserved_peak = pool.stats.reserved;
}

void empty_cache() {
  if (!is_initialized()) return;
  for (int device = 0; device < device_count(); ++device) {
    Pool& pool = pool_of(device);
    std::lock_guard lock(pool.mutex);
    release_segments(pool, api("cuda"));
  }
}

void pin_stream(int device, void* stream) {
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  ++pool.pins[stream];
}

void unpin_stream(int device, void* stream) {
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  const auto it = pool.pins.find(stream);
  if (it != pool.pins.end() && --it->second == 0) pool.pins.erase(it);
}

namespace {
void release_pinned(void* p) { api("cuda").host_release(p); }
}  // namespace

Ref<Storage> allocate_pinned(int64_t nbytes) {
  void* p = nullptr;
  const TercelCudaApi& a = api("pin_memory");
  const int code = a.host_allocate(&p, static_cast<size_t>(std::max<int64_t>(nbytes, 1)));
  TERCEL_CHECK(code != a.out_of_memory_code, OutOfMemory,
               "pin_memory: out of page-locked memory: requested ", nbytes, " bytes");
  check(code, "cudaHostAlloc");
  return Storage::wrap(p, nbytes, release_pinned, p, false);
}

bool is_pinned(const Storage& storage) { return storage.deleter() == &release_pinned; }

}  // namespace tercel::cuda
