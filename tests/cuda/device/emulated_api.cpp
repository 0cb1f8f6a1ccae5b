// The device library on the host: cuda/abi.h on plain memory, kernels in the emulator. Loaded by
// the tests with TERCEL_CUDA_LIBRARY=.../libtercel_cuda_emu.so, it makes device="cuda" work without
// a GPU, at small sizes. Streams and events exist, but everything has already happened, except what
// is captured in a graph: that runs when the graph is launched. "Device" memory is limited and
// filled with NaN bytes, so that out-of-memory and reads of uninitialised memory show.
//
// TERCEL_EMU_CAPABILITIES="75,80": how many devices there are, and what they are.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/compat.cuh"
#include "cuda/device_table.h"

namespace tercel::cuda {
namespace {

constexpr int kOutOfMemory = 2, kInvalidValue = 1, kLaunchFailure = 719;
constexpr int kCaptureUnsupported = 900, kCaptureInvalidated = 901;
constexpr size_t kMemory = size_t{1} << 30;

const TableEntry* g_tables = nullptr;
std::mutex g_mutex;
struct Allocation {
  size_t bytes;
  int device;
};
std::map<void*, Allocation> g_blocks;
thread_local int t_device = 0;
size_t g_used = 0;
std::string g_message;
TercelCudaErrorSlot g_slot{};

// Two devices, so that mixing them can be tested.
const std::vector<int>& capabilities() {
  static const std::vector<int> known = [] {
    const char* text = std::getenv("TERCEL_EMU_CAPABILITIES");
    std::vector<int> list;
    for (std::istringstream in(text ? text : "80,80"); in;) {
      std::string one;
      if (std::getline(in, one, ',')) list.push_back(std::stoi(one));
    }
    return list;
  }();
  return known;
}
const char* init(int* count) {
  *count = static_cast<int>(capabilities().size());
  return nullptr;
}
const char* error_text(int code) {
  if (code == kOutOfMemory) return "out of memory";
  if (code == kLaunchFailure) return g_message.c_str();
  if (code == kCaptureUnsupported) return "operation not permitted when stream is capturing";
  if (code == kCaptureInvalidated) return "operation failed due to a previous error during capture";
  return "invalid argument";
}
bool is_device(int index) { return index >= 0 && index < static_cast<int>(capabilities().size()); }
int set_device(int index) {
  if (!is_device(index)) return kInvalidValue;
  t_device = index;
  return 0;
}
int properties(int index, TercelCudaProperties* p) {
  if (!is_device(index)) return kInvalidValue;
  std::memset(p, 0, sizeof *p);
  std::strcpy(p->name, "emulated device");
  p->major = capabilities()[static_cast<size_t>(index)] / 10;
  p->minor = capabilities()[static_cast<size_t>(index)] % 10;
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
  g_blocks[p] = {nbytes, t_device};
  g_used += nbytes;
  *out = p;
  return 0;
}
int release(void* p) {
  const std::lock_guard lock(g_mutex);
  const auto it = g_blocks.find(p);
  if (it == g_blocks.end()) return kInvalidValue;
  g_used -= it->second.bytes;
  g_blocks.erase(it);
  std::free(p);
  return 0;
}
int pointer_device(const void* p, int* device) {
  const std::lock_guard lock(g_mutex);
  *device = -1;
  auto it = g_blocks.upper_bound(const_cast<void*>(p));
  if (it == g_blocks.begin()) return 0;
  --it;
  if (static_cast<const char*>(p) < static_cast<char*>(it->first) + it->second.bytes)
    *device = it->second.device;
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

// ---- capture

struct Capture {
  emu::Recording recording;
  uint64_t number;
  bool valid = true;
};
std::map<void*, Capture*> g_capturing;  // by stream; several streams may have joined one capture

Capture* capture_of(void* stream) {
  const std::lock_guard lock(g_mutex);
  const auto it = g_capturing.find(stream);
  return it == g_capturing.end() ? nullptr : it->second;
}
uint64_t capture_number(void* stream) {
  const Capture* c = capture_of(stream);
  return c ? c->number : 0;
}
// The capture of that number, if it is still under way.
Capture* capture_numbered(uint64_t number) {
  const std::lock_guard lock(g_mutex);
  for (auto& [stream, c] : g_capturing) {
    if (c->number == number) return c;
  }
  return nullptr;
}
int refused(Capture* c) {
  if (!c) return 0;
  c->valid = false;
  return kCaptureUnsupported;
}
int refused_by_any() {
  const std::lock_guard lock(g_mutex);
  for (auto& [stream, c] : g_capturing) c->valid = false;
  return g_capturing.empty() ? 0 : kCaptureUnsupported;
}

thread_local void* t_stream = nullptr;
void set_stream(void* stream) {
  t_stream = stream;
  Capture* c = capture_of(stream);
  emu::recording = c ? &c->recording : nullptr;
}

int copy(void* dst, const void* src, size_t nbytes, int, void* stream) {
  if (Capture* c = capture_of(stream)) {
    c->recording.work.push_back([=] { std::memmove(dst, src, nbytes); });
  } else {
    std::memmove(dst, src, nbytes);
  }
  return 0;
}

int capture_begin(void* stream) {
  if (!stream || capture_of(stream)) return kCaptureUnsupported;
  {
    static uint64_t count = 0;
    const std::lock_guard lock(g_mutex);
    g_capturing[stream] = new Capture{{}, ++count};
  }
  set_stream(t_stream);
  return 0;
}
int stream_capturing(void* stream, int* yes) {
  *yes = capture_of(stream) != nullptr;
  return 0;
}
int capture_end(void* stream, void** out) {
  Capture* c = capture_of(stream);
  if (!c) return kInvalidValue;
  {
    const std::lock_guard lock(g_mutex);
    std::erase_if(g_capturing, [&](const auto& entry) { return entry.second == c; });
  }
  set_stream(t_stream);
  if (!c->valid) {
    delete c;
    return kCaptureInvalidated;
  }
  *out = c;
  return 0;
}
int graph_launch(void* graph, void* stream) {
  if (capture_of(stream)) return kCaptureUnsupported;
  for (const auto& work : static_cast<Capture*>(graph)->recording.work) work();
  return last_launch_error();
}
int graph_destroy(void* graph) {
  delete static_cast<Capture*>(graph);
  return 0;
}

// ---- streams and events

struct Event {
  std::chrono::steady_clock::time_point time;
  uint64_t capture = 0;  // number of the one it was recorded in
};
int stream_create(void** out, int) {
  *out = new char;
  return 0;
}
int stream_destroy(void* s) {
  delete static_cast<char*>(s);
  return 0;
}
int stream_synchronize(void* s) { return refused(capture_of(s)); }
int device_synchronize() { return refused_by_any(); }
int stream_query(void* s, int* done) {
  *done = 1;
  return refused(capture_of(s));
}
int stream_wait_event(void* s, void* e) {  // a stream that waits for a capture joins it
  Capture* c = capture_numbered(static_cast<Event*>(e)->capture);
  if (!c) return 0;
  const std::lock_guard lock(g_mutex);
  g_capturing[s] = c;
  return 0;
}
int event_create(void** out, int) {
  *out = new Event{};
  return 0;
}
int event_destroy(void* e) {
  delete static_cast<Event*>(e);
  return 0;
}
int event_record(void* e, void* s) {
  *static_cast<Event*>(e) = {std::chrono::steady_clock::now(), capture_number(s)};
  return 0;
}
int event_query(void* e, int* done) {
  *done = 1;
  return refused(capture_numbered(static_cast<Event*>(e)->capture));
}
int event_synchronize(void* e) {
  return refused(capture_numbered(static_cast<Event*>(e)->capture));
}
int event_elapsed(float* ms, void* a, void* b) {
  *ms = std::chrono::duration<float, std::milli>(static_cast<Event*>(b)->time -
                                                 static_cast<Event*>(a)->time)
            .count();
  return 0;
}

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
Stream current_stream() { return t_stream; }
int multiprocessors() { return 2; }
TercelCudaErrorSlot* error_slot() { return &g_slot; }

}  // namespace tercel::cuda

extern "C" __attribute__((visibility("default"))) const TercelCudaApi* tercel_cuda_api() {
  using namespace tercel::cuda;
  emu::options.throw_errors = false;
  static const TercelCudaApi api = {
      .version = TERCEL_CUDA_ABI_VERSION,
      .name = "emulated",
      .minimum_capability = 80,
      .init = init,
      .error_text = error_text,
      .out_of_memory_code = kOutOfMemory,
      .set_device = set_device,
      .properties = properties,
      .memory_info = memory_info,
      .device_synchronize = device_synchronize,
      .last_launch_error = last_launch_error,
      .error_slot = error_slot,
      .allocate = allocate,
      .release = release,
      .host_allocate = host_allocate,
      .host_release = host_release,
      .pointer_device = pointer_device,
      .copy = copy,
      .set_stream = set_stream,
      .stream_create = stream_create,
      .stream_destroy = stream_destroy,
      .stream_synchronize = stream_synchronize,
      .stream_query = stream_query,
      .stream_wait_event = stream_wait_event,
      .event_create = event_create,
      .event_destroy = event_destroy,
      .event_record = event_record,
      .event_query = event_query,
      .event_synchronize = event_synchronize,
      .event_elapsed = event_elapsed,
      .capture_begin = capture_begin,
      .stream_capturing = stream_capturing,
      .capture_end = capture_end,
      .graph_launch = graph_launch,
      .graph_destroy = graph_destroy,
      .table = table,
  };
  return &api;
}
