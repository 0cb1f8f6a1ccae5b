// Loading of the device library, current device and stream, synchronisation, copies.
#include "cuda/runtime.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "core/launch.h"
#include "cuda/graph.h"

namespace tercel::cuda {
namespace {

constexpr int kMaxDevices = 64;

struct Library {
  const TercelCudaApi* api = nullptr;
  std::string reason;  // why there is none
  int devices = 0;
};

std::string default_path() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<const void*>(&default_path), &info) || !info.dli_fname) return "";
  const std::string self = info.dli_fname;
  const size_t slash = self.rfind('/');
  return (slash == std::string::npos ? std::string("./") : self.substr(0, slash + 1)) +
         "libtercel_cuda.so";
}

// Empty, or why the device cannot be used.
std::string unsupported(const TercelCudaApi& a, int device) {
  TercelCudaProperties p{};
  if (const int code = a.properties(device, &p)) {
    return str("the properties of CUDA device ", device, " cannot be read: ", a.error_text(code));
  }
  if (p.major * 10 + p.minor >= a.minimum_capability) return "";
  return str("cuda:", device, " (", p.name, ") has compute capability ", p.major, ".", p.minor,
             ", but this build of tercel needs ", a.minimum_capability / 10, ".",
             a.minimum_capability % 10, " or newer");
}

Library load() {
  Library lib;
  const char* wanted = std::getenv("TERCEL_CUDA_LIBRARY");
  const std::string path = wanted && *wanted ? wanted : default_path();
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* text = dlerror();
    lib.reason = str("this build of tercel has no usable CUDA library (", text ? text : path, ")");
    return lib;
  }
  const auto entry = reinterpret_cast<TercelCudaEntry>(dlsym(handle, TERCEL_CUDA_ENTRY));
  const TercelCudaApi* api = entry ? entry() : nullptr;
  if (!api || api->version != TERCEL_CUDA_ABI_VERSION) {
    lib.reason = str(path, " belongs to another version of tercel");
    return lib;
  }
  if (const char* reason = api->init(&lib.devices)) {
    lib.reason = reason;
    return lib;
  }
  for (int i = 0; i < lib.devices; ++i) {  // one that can be used is enough
    std::string reason = unsupported(*api, i);
    if (reason.empty()) {
      lib.api = api;
      return lib;
    }
    if (lib.reason.empty()) lib.reason = std::move(reason);
  }
  lib.devices = 0;
  return lib;
}

std::atomic<bool> g_initialized{false};

const Library& library() {
  static const Library* lib = [] {  // leaked: tensors may be freed after static destruction
    auto* l = new Library(load());
    if (l->api) {
      l->reason.clear();
      g_initialized.store(true);
    }
    return l;
  }();
  return *lib;
}

// What the calling thread has asked for, and what the device library was last told.
thread_local int t_device = 0;
thread_local int t_told_device = -1;
thread_local void* t_told_stream = nullptr;
thread_local void* t_streams[kMaxDevices] = {};
std::atomic<int64_t> g_launches{0};

void tell_device(const TercelCudaApi& a, int device) {
  if (t_told_device == device) return;
  static std::atomic<bool> supported[kMaxDevices] = {};
  if (!supported[device].load(std::memory_order_relaxed)) {
    const std::string reason = unsupported(a, device);
    TERCEL_CHECK(reason.empty(), Runtime, reason);
    supported[device].store(true, std::memory_order_relaxed);
  }
  check(a.set_device(device), "cudaSetDevice");
  t_told_device = device;
}

}  // namespace

const TercelCudaApi& api(const char* op) {
  const Library& lib = library();
  if (!lib.api) [[unlikely]]
    fail(ErrorKind::Runtime, str(op, ": ", lib.reason));
  return *lib.api;
}
std::string unavailable_reason() { return library().reason; }
int device_count() { return library().devices; }
bool is_initialized() { return g_initialized.load(); }

void check(int code, const char* call) {
  if (code == 0) [[likely]]
    return;
  fail(ErrorKind::Runtime,
       str("CUDA error in ", call, ": ", api("cuda").error_text(code), " (code ", code, ")"));
}

int current_device() { return t_device; }
void set_device(int index) {
  const int count = (api("cuda.set_device"), device_count());
  TERCEL_CHECK(index >= 0 && index < count, Runtime, "cuda: device index must be 0 to ", count - 1,
               ", got ", index);
  tell_device(api("cuda.set_device"), index);
  t_device = index;
}
int64_t num_launches() { return g_launches.load(std::memory_order_relaxed); }

void* current_stream(int device) { return t_streams[device]; }
void set_stream(int device, void* stream) { t_streams[device] = stream; }

void check_error_slot() {
  TercelCudaErrorSlot* slot = api("cuda").error_slot();
  if (!slot || slot->kind == 0) [[likely]]
    return;
  const TercelCudaErrorSlot seen = *slot;
  slot->kind = TERCEL_CUDA_NO_ERROR;
  TERCEL_CHECK(seen.kind != TERCEL_CUDA_BAD_PROBABILITY, Value,
               "binary_cross_entropy: input must be in [0, 1], got ", seen.value,
               " (reported by an earlier CUDA kernel)");
  fail(ErrorKind::Index, str("index ", seen.index, " is out of range for a dimension of size ",
                             seen.size, " (reported by an earlier CUDA kernel)"));
}

const TercelCudaApi& on_device(int device) {
  const TercelCudaApi& a = api("cuda");
  TERCEL_CHECK(device >= 0 && device < library().devices, Runtime,
               "cuda: device index must be 0 to ", library().devices - 1, ", got ", device);
  tell_device(a, device);
  return a;
}

bool is_capturing(int device) {
  if (!capture_under_way()) [[likely]]
    return false;
  int yes = 0;
  check(on_device(device).stream_capturing(current_stream(device), &yes), "cudaStreamIsCapturing");
  return yes != 0;
}

namespace {
// CUDA would refuse it as well, but spoil the capture and name neither reason nor remedy.
void check_may_wait(int device) {
  TERCEL_CHECK(
      !is_capturing(device), Runtime,
      "cuda: work that is captured in a graph cannot be waited for: inside `with "
      "tercel.cuda.graph(...)` nothing may read a value (item(), print, nonzero, a bool "
      "mask), copy between host and GPU, or synchronize; run the work once before its capture, "
      "for the tables it needs");
}
}  // namespace

void synchronize(int device) {
  const TercelCudaApi& a = on_device(device);
  check_may_wait(device);
  {
    InterpreterRelease release(true);
    check(a.device_synchronize(), "cudaDeviceSynchronize");
  }
  check_error_slot();
}
void wait_stream(int device, void* waiting, void* awaited) {
  if (waiting == awaited) return;
  const TercelCudaApi& a = on_device(device);
  void* event = nullptr;
  check(a.event_create(&event, 0), "cudaEventCreate");
  int code = a.event_record(event, awaited);
  if (code == 0) code = a.stream_wait_event(waiting, event);
  a.event_destroy(event);
  check(code, "cudaStreamWaitEvent");
}
void stream_synchronize(int device, void* stream) {
  const TercelCudaApi& a = on_device(device);
  if (stream == current_stream(device)) check_may_wait(device);
  {
    InterpreterRelease release(true);
    check(a.stream_synchronize(stream), "cudaStreamSynchronize");
  }
  check_error_slot();
}

void copy_bytes(void* dst, Device dst_device, const void* src, Device src_device, int64_t nbytes,
                bool non_blocking) {
  if (nbytes == 0) return;
  const bool to_host = dst_device.is_cpu(), from_host = src_device.is_cpu();
  const int device = to_host ? src_device.index : dst_device.index;
  const TercelCudaApi& a = on_device(device);
  void* stream = current_stream(device);
  // Host memory must not change (or be read) under the copy unless the caller has promised to wait.
  const bool waits = (to_host || from_host) && !non_blocking;
  if (waits) check_may_wait(device);
  const int kind = from_host ? TERCEL_CUDA_H2D : to_host ? TERCEL_CUDA_D2H : TERCEL_CUDA_D2D;
  check(a.copy(dst, src, static_cast<size_t>(nbytes), kind, stream), "cudaMemcpyAsync");
  if (waits) stream_synchronize(device, stream);
}

}  // namespace tercel::cuda

namespace tercel {

const void* cuda_kernels(const char* name) {
  const void* table = cuda::api("cuda").table(name);
  TERCEL_CHECK(table, NotImplemented, "this operation has no CUDA kernels yet (", name,
               "): move the tensors with .cpu()");
  return table;
}

void cuda_launch(void (*kernel)(const void* args), const void* args, Device device) {
  TERCEL_CHECK(
      kernel, NotImplemented,
      "this operation has no CUDA kernel for these arguments yet: move the tensors with .cpu()");
  const TercelCudaApi& a = cuda::on_device(device.index);
  void* stream = cuda::t_streams[device.index];
  if (stream != cuda::t_told_stream) {
    a.set_stream(stream);
    cuda::t_told_stream = stream;
  }
  kernel(args);
  cuda::g_launches.fetch_add(1, std::memory_order_relaxed);
  cuda::check(a.last_launch_error(), "kernel launch");
}

}  // namespace tercel
