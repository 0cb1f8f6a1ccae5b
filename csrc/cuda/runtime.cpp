// Loading of the device library, current device and stream, synchronisation, copies.
#include "cuda/runtime.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "core/launch.h"

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
  lib.api = api;
  return lib;
}

std::atomic<bool> g_initialized{false};

const Library& library() {
  static const Library* lib = [] {  // leaked: tensors may be freed after static destruction
    auto* l = new Library(load());
    if (l->api) g_initialized.store(true);
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
  t_device = index;
  tell_device(api("cuda.set_device"), index);
}
int64_t num_launches() { return g_launches.load(std::memory_order_relaxed); }

void* current_stream(int device) { return t_streams[device]; }
void set_stream(int device, void* stream) { t_streams[device] = stream; }

void check_error_slot() {
  TercelCudaErrorSlot* slot = api("cuda").error_slot();
  if (!slot || slot->kind == 0) [[likely]]
    return;
  const TercelCudaErrorSlot seen = *slot;
  slot->kind = 0;
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

void synchronize(int device) {
  const TercelCudaApi& a = on_device(device);
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
  const int kind = from_host ? TERCEL_CUDA_H2D : to_host ? TERCEL_CUDA_D2H : TERCEL_CUDA_D2D;
  check(a.copy(dst, src, static_cast<size_t>(nbytes), kind, stream), "cudaMemcpyAsync");
  // Host memory must not change (or be read) under the copy unless the caller has promised to wait.
  if ((to_host || from_host) && !non_blocking) stream_synchronize(device, stream);
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
