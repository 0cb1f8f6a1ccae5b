// The device library on the host: cuda/abi.h on plain memory, kernels in the emulator. Loaded by
// the tests with TERCEL_CUDA_LIBRARY=.../libtercel_cuda_emu.so, it makes device="cuda" work without
// a GPU, at small sizes. Streams and events exist, but everything has already happened. "Device"
// memory is limited and filled with NaN bytes, so that out-of-memory and reads of uninitialised
// memory show.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "cuda/compat.cuh"
#include "cuda/device_table.h"

namespace tercel::cuda {
namespace {

constexpr int kOutOfMemory = 2, kInvalidValue = 1, kLaunchFailure = 719;
constexpr size_t kMemory = size_t{1} << 30;

const TableEntry* g_tables = nullptr;
std::mutex g_mutex;
std::map<void*, size_t> g_blocks;
size_t g_used = 0;
std::string g_message;
TercelCudaErrorSlot g_slot{};

const char* init(int* count) {
  *count = 2;  // two, so that mixing devices can be tested
  return nullptr;
}
const char* error_text(int code) {
  if (code == kOutOfMemory) return "out of memory";
  if (code == kLaunchFailure) return g_message.c_str();
  return "invalid argument";
}
int set_device(int index) { return index == 0 || index == 1 ? 0 : kInvalidValue; }
int properties(int, TercelCudaProperties* p) {
  std::memset(p, 0, sizeof *p);
  std::strcpy(p->name, "emulated device");
  p->major = 8;
  p->multi_processor_count = 2;
  p->max_threads_per_multi_processor = 2048;
  p->warp_size = 32;
  p->total_memory = static_cast<int64_t>(kMemory);
  p->shared_memory_per_block_optin = 227 << 10;
  p->l2_cache_size = 1 << 20;
  return 0;
}
int memory_info(size_t* free_bytes, size_t* total) {
  *free_bytes = kMemory - g_used;
  *total = kMemory;
  return 0;
}
int nothing() { return 0; }
int last_launch_error() {
  std::string text = emu::last_error();
  if (text.empty()) return 0;
  g_message = std::move(text);
  return kLaunchFailure;
}

int allocate(void** out, size_t nbytes) {
  const std::lock_guard lock(g_mutex);
  if (nbytes > kMemory - g_used) return kOutOfMemory;
  void* p = std::aligned_alloc(512, (nbytes + 511) / 512 * 512);
  if (!p) return kOutOfMemory;
  std::memset(p, 0xff, nbytes);
  g_blocks[p] = nbytes;
  g_used += nbytes;
  *out = p;
  return 0;
}
int release(void* p) {
  const std::lock_guard lock(g_mutex);
  const auto it = g_blocks.find(p);
  if (it == g_blocks.end()) return kInvalidValue;
  g_used -= it->second;
  g_blocks.erase(it);
  std::free(p);
  return 0;
}
int host_allocate(void** out, size_t nbytes) {
  *out = std::malloc(nbytes);
  return *out ? 0 : kOutOfMemory;
}
int host_release(void* p) {
  std::free(p);
  return 0;
}
int copy(void* dst, const void* src, size_t nbytes, int, void*) {
  std::memmove(dst, src, nbytes);
  return 0;
}

struct Event {
  std::chrono::steady_clock::time_point time;
};
void set_stream(void*) {}
int stream_create(void** out, int) {
  *out = new char;
  return 0;
}
int stream_destroy(void* s) {
  delete static_cast<char*>(s);
  return 0;
}
int stream_synchronize(void*) { return 0; }
int done(void*, int* flag) {
  *flag = 1;
  return 0;
}
int stream_wait_event(void*, void*) { return 0; }
int event_create(void** out, int) {
  *out = new Event{};
  return 0;
}
int event_destroy(void* e) {
  delete static_cast<Event*>(e);
  return 0;
}
int event_record(void* e, void*) {
  static_cast<Event*>(e)->time = std::chrono::steady_clock::now();
  return 0;
}
int event_synchronize(void*) { return 0; }
int event_elapsed(float* ms, void* a, void* b) {
  *ms = std::chrono::duration<float, std::milli>(static_cast<Event*>(b)->time -
                                                 static_cast<Event*>(a)->time)
            .count();
  return 0;
}
int no_capture(void*) { return 801; }
int no_capture_end(void*, void**) { return 801; }
int no_graph_launch(void*, void*) { return 801; }

const void* table(const char* name) {
  for (const TableEntry* e = g_tables; e; e = e->next) {
    if (std::strcmp(e->name, name) == 0) return e->table;
  }
  return nullptr;
}

}  // namespace

TableEntry::TableEntry(const char* n, const void* t) : name(n), table(t), next(g_tables) {
  g_tables = this;
}
Stream current_stream() { return nullptr; }
int multiprocessors() { return 2; }
TercelCudaErrorSlot* error_slot() { return &g_slot; }

}  // namespace tercel::cuda

extern "C" __attribute__((visibility("default"))) const TercelCudaApi* tercel_cuda_api() {
  using namespace tercel::cuda;
  emu::options.throw_errors = false;
  static const TercelCudaApi api = {
      .version = TERCEL_CUDA_ABI_VERSION,
      .name = "emulated",
      .init = init,
      .error_text = error_text,
      .out_of_memory_code = kOutOfMemory,
      .set_device = set_device,
      .properties = properties,
      .memory_info = memory_info,
      .device_synchronize = nothing,
      .last_launch_error = last_launch_error,
      .error_slot = error_slot,
      .allocate = allocate,
      .release = release,
      .host_allocate = host_allocate,
      .host_release = host_release,
      .copy = copy,
      .set_stream = set_stream,
      .stream_create = stream_create,
      .stream_destroy = stream_destroy,
      .stream_synchronize = stream_synchronize,
      .stream_query = done,
      .stream_wait_event = stream_wait_event,
      .event_create = event_create,
      .event_destroy = event_destroy,
      .event_record = event_record,
      .event_query = done,
      .event_synchronize = event_synchronize,
      .event_elapsed = event_elapsed,
      .capture_begin = no_capture,
      .capture_end = no_capture_end,
      .graph_launch = no_graph_launch,
      .graph_destroy = no_capture,
      .table = table,
  };
  return &api;
}
