// The CUDA side of the device library: abi.h in terms of the CUDA runtime, which is linked
// statically and finds the driver by itself. tests/cuda has the other implementation, on the host.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

#include "cuda/compat.cuh"
#include "cuda/device_table.h"

namespace tercel::cuda {
namespace {

const TableEntry* g_tables = nullptr;
thread_local cudaStream_t t_stream = nullptr;
TercelCudaErrorSlot* g_error_slot = nullptr;
int g_multiprocessors[64];

cudaStream_t stream_of(void* s) { return static_cast<cudaStream_t>(s); }
cudaEvent_t event_of(void* e) { return static_cast<cudaEvent_t>(e); }

const char* init(int* device_count) {
  static char reason[256];
  static int count = 0;
  static const bool ok = [] {
    const cudaError_t e = cudaGetDeviceCount(&count);
    if (e == cudaErrorInsufficientDriver || e == cudaErrorNoDevice || e == cudaErrorStubLibrary ||
        (e == cudaSuccess && count == 0)) {
      std::snprintf(reason, sizeof reason, "no CUDA driver found that this build can use (%s)",
                    cudaGetErrorString(e == cudaSuccess ? cudaErrorNoDevice : e));
      return false;
    }
    if (e != cudaSuccess) {
      std::snprintf(reason, sizeof reason, "the CUDA driver failed to start: %s",
                    cudaGetErrorString(e));
      return false;
    }
    if (count > 64) count = 64;
    for (int i = 0; i < count; ++i) {
      cudaDeviceGetAttribute(&g_multiprocessors[i], cudaDevAttrMultiProcessorCount, i);
    }
    return true;
  }();
  cudaGetLastError();
  *device_count = ok ? count : 0;
  return ok ? nullptr : reason;
}

const char* error_text(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }
int set_device(int index) { return cudaSetDevice(index); }

int properties(int index, TercelCudaProperties* out) {
  cudaDeviceProp p;
  const cudaError_t e = cudaGetDeviceProperties(&p, index);
  if (e != cudaSuccess) return e;
  std::memset(out, 0, sizeof *out);
  std::strncpy(out->name, p.name, sizeof out->name - 1);
  out->major = p.major;
  out->minor = p.minor;
  out->multi_processor_count = p.multiProcessorCount;
  out->max_threads_per_multi_processor = p.maxThreadsPerMultiProcessor;
  out->warp_size = p.warpSize;
  out->total_memory = static_cast<int64_t>(p.totalGlobalMem);
  out->shared_memory_per_block_optin = static_cast<int64_t>(p.sharedMemPerBlockOptin);
  out->l2_cache_size = p.l2CacheSize;
  out->integrated = p.integrated;
  out->is_multi_gpu_board = p.isMultiGpuBoard;
  return 0;
}

int memory_info(size_t* free_bytes, size_t* total) { return cudaMemGetInfo(free_bytes, total); }
int device_synchronize() { return cudaDeviceSynchronize(); }
int last_launch_error() { return cudaGetLastError(); }

// An error is left pending by a failed allocation; it must not be blamed on the next launch.
int allocate(void** out, size_t nbytes) {
  const cudaError_t e = cudaMalloc(out, nbytes);
  if (e != cudaSuccess) cudaGetLastError();
  return e;
}
int release(void* p) { return cudaFree(p); }
int host_allocate(void** out, size_t nbytes) {
  const cudaError_t e = cudaHostAlloc(out, nbytes, cudaHostAllocPortable | cudaHostAllocMapped);
  if (e != cudaSuccess) cudaGetLastError();
  return e;
}
int host_release(void* p) { return cudaFreeHost(p); }
int pointer_device(const void* p, int* device) {
  cudaPointerAttributes attributes;
  const cudaError_t e = cudaPointerGetAttributes(&attributes, p);
  if (e != cudaSuccess) {
    cudaGetLastError();
    return e;
  }
  const bool here =
      attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
  *device = here ? attributes.device : -1;
  return 0;
}
int copy(void* dst, const void* src, size_t nbytes, int, void* stream) {
  return cudaMemcpyAsync(dst, src, nbytes, cudaMemcpyDefault, stream_of(stream));
}

void set_stream(void* stream) { t_stream = stream_of(stream); }
int stream_create(void** out, int priority) {
  return cudaStreamCreateWithPriority(reinterpret_cast<cudaStream_t*>(out), cudaStreamNonBlocking,
                                      priority);
}
int stream_destroy(void* s) { return cudaStreamDestroy(stream_of(s)); }
int stream_synchronize(void* s) { return cudaStreamSynchronize(stream_of(s)); }
int query_result(cudaError_t e, int* done) {
  *done = e == cudaSuccess;
  if (e != cudaErrorNotReady) return e;
  cudaGetLastError();
  return 0;
}
int stream_query(void* s, int* done) { return query_result(cudaStreamQuery(stream_of(s)), done); }
int stream_wait_event(void* s, void* e) {
  return cudaStreamWaitEvent(stream_of(s), event_of(e), 0);
}
int event_create(void** out, int timing) {
  return cudaEventCreateWithFlags(reinterpret_cast<cudaEvent_t*>(out),
                                  timing ? cudaEventDefault : cudaEventDisableTiming);
}
int event_destroy(void* e) { return cudaEventDestroy(event_of(e)); }
int event_record(void* e, void* s) { return cudaEventRecord(event_of(e), stream_of(s)); }
int event_query(void* e, int* done) { return query_result(cudaEventQuery(event_of(e)), done); }
int event_synchronize(void* e) { return cudaEventSynchronize(event_of(e)); }
int event_elapsed(float* ms, void* a, void* b) {
  return cudaEventElapsedTime(ms, event_of(a), event_of(b));
}

// Relaxed: the allocator may call cudaMalloc while the stream is captured.
int capture_begin(void* s) {
  return cudaStreamBeginCapture(stream_of(s), cudaStreamCaptureModeRelaxed);
}
int stream_capturing(void* s, int* yes) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t e = cudaStreamIsCapturing(stream_of(s), &status);
  *yes = status != cudaStreamCaptureStatusNone;
  return e;
}
int capture_end(void* s, void** out) {
  cudaGraph_t graph = nullptr;
  cudaError_t e = cudaStreamEndCapture(stream_of(s), &graph);
  if (e != cudaSuccess) {
    cudaGetLastError();
    return e;
  }
  e = cudaGraphInstantiate(reinterpret_cast<cudaGraphExec_t*>(out), graph, 0);
  cudaGraphDestroy(graph);
  return e;
}
int graph_launch(void* graph, void* s) {
  return cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(s));
}
int graph_destroy(void* graph) { return cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

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
int multiprocessors() {
  int device = 0;
  cudaGetDevice(&device);
  return g_multiprocessors[device];
}
TercelCudaErrorSlot* error_slot() {
  if (!g_error_slot) {
    void* p = nullptr;
    if (host_allocate(&p, sizeof(TercelCudaErrorSlot)) != 0) return nullptr;
    std::memset(p, 0, sizeof(TercelCudaErrorSlot));
    g_error_slot = static_cast<TercelCudaErrorSlot*>(p);
  }
  return g_error_slot;
}

}  // namespace tercel::cuda

extern "C" __attribute__((visibility("default"))) const TercelCudaApi* tercel_cuda_api() {
  using namespace tercel::cuda;
  static const TercelCudaApi api = {
      .version = TERCEL_CUDA_ABI_VERSION,
      .name = "cuda",
      .minimum_capability = 80,
      .init = init,
      .error_text = error_text,
      .out_of_memory_code = cudaErrorMemoryAllocation,
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
