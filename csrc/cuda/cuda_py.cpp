// tercel._core._cuda_*: what python/tercel/cuda.py is built on. Streams, events and graphs are
// integers here (the handles of the CUDA runtime); the classes live in Python.
#include "core/launch.h"
#include "cuda/graph.h"
#include "cuda/runtime.h"
#include "ops/copy/copy.h"
#include "python/bind.h"

namespace tercel {

void bind_cuda_array_interface(Binder& b);  // array_interface_py.cpp

namespace {

void* handle(intptr_t value) { return reinterpret_cast<void*>(value); }
intptr_t number(void* p) { return reinterpret_cast<intptr_t>(p); }

py::dict properties(int index) {
  TercelCudaProperties p{};
  cuda::check(cuda::on_device(index).properties(index, &p), "cudaGetDeviceProperties");
  py::dict d;
  d["name"] = std::string(p.name);
  d["major"] = p.major;
  d["minor"] = p.minor;
  d["total_memory"] = p.total_memory;
  d["multi_processor_count"] = p.multi_processor_count;
  d["max_threads_per_multi_processor"] = p.max_threads_per_multi_processor;
  d["warp_size"] = p.warp_size;
  d["shared_memory_per_block_optin"] = p.shared_memory_per_block_optin;
  d["L2_cache_size"] = p.l2_cache_size;
  d["is_integrated"] = p.integrated != 0;
  d["is_multi_gpu_board"] = p.is_multi_gpu_board != 0;
  return d;
}

py::dict statistics(int device) {
  const MemoryStats s = cuda::memory_stats(device);
  py::dict d;
  d["allocated_bytes"] = s.allocated;
  d["allocated_bytes_peak"] = s.allocated_peak;
  d["reserved_bytes"] = s.reserved;
  d["reserved_bytes_peak"] = s.reserved_peak;
  d["num_allocs"] = s.num_allocs;
  d["num_live"] = s.num_live;
  d["num_device_allocs"] = s.num_system;
  return d;
}

void bind_streams(Binder& b) {
  b.function("_cuda_stream_create", [](int device, int priority) {
    void* s = nullptr;
    cuda::check(cuda::on_device(device).stream_create(&s, priority), "cudaStreamCreate");
    return number(s);
  });
  b.function("_cuda_stream_get", [](int device) { return number(cuda::current_stream(device)); });
  b.function("_cuda_stream_set", [](int device, intptr_t s) {
    cuda::on_device(device);
    cuda::set_stream(device, handle(s));
  });
  b.function("_cuda_stream_synchronize",
             [](int device, intptr_t s) { cuda::stream_synchronize(device, handle(s)); });
  b.function("_cuda_stream_query", [](int device, intptr_t s) {
    int done = 0;
    cuda::check(cuda::on_device(device).stream_query(handle(s), &done), "cudaStreamQuery");
    return done != 0;
  });
  b.function("_cuda_stream_wait_event", [](int device, intptr_t s, intptr_t e) {
    cuda::check(cuda::on_device(device).stream_wait_event(handle(s), handle(e)),
                "cudaStreamWaitEvent");
  });
  b.function("_cuda_event_create", [](int device, bool timing) {
    void* e = nullptr;
    cuda::check(cuda::on_device(device).event_create(&e, timing), "cudaEventCreate");
    return number(e);
  });
  b.function("_cuda_event_destroy",
             [](intptr_t e) { cuda::api("event").event_destroy(handle(e)); });
  b.function("_cuda_event_record", [](int device, intptr_t e, intptr_t s) {
    cuda::check(cuda::on_device(device).event_record(handle(e), handle(s)), "cudaEventRecord");
  });
  b.function("_cuda_event_query", [](intptr_t e) {
    int done = 0;
    cuda::check(cuda::api("event").event_query(handle(e), &done), "cudaEventQuery");
    return done != 0;
  });
  b.function("_cuda_event_synchronize", [](intptr_t e) {
    InterpreterRelease release(true);
    cuda::check(cuda::api("event").event_synchronize(handle(e)), "cudaEventSynchronize");
  });
  b.function("_cuda_event_elapsed", [](intptr_t start, intptr_t end) {
    float ms = 0;
    cuda::check(cuda::api("event").event_elapsed(&ms, handle(start), handle(end)),
                "cudaEventElapsedTime");
    return static_cast<double>(ms);
  });
}

cuda::Graph& graph(intptr_t g) { return *static_cast<cuda::Graph*>(handle(g)); }

void bind_graphs(Binder& b) {
  b.function("_cuda_is_capturing", &cuda::is_capturing);
  b.function("_cuda_graph_create", [](int device) { return number(new cuda::Graph(device)); });
  b.function("_cuda_graph_destroy", [](intptr_t g) { delete &graph(g); });
  b.function("_cuda_graph_stream", [](intptr_t g) { return number(graph(g).stream()); });
  b.function("_cuda_graph_begin", [](intptr_t g, intptr_t pool) { graph(g).begin(handle(pool)); });
  b.function("_cuda_graph_end", [](intptr_t g) { graph(g).end(); });
  b.function("_cuda_graph_reset", [](intptr_t g) { graph(g).reset(); });
  b.function("_cuda_graph_replay", [](intptr_t g) { graph(g).replay(); });
}

}  // namespace

void bind_cuda(Binder& b) {
  b.function("_cuda_reason", &cuda::unavailable_reason);
  b.function("_cuda_backend", [] { return std::string(cuda::api("cuda").name); });
  b.function("_cuda_device_count", &cuda::device_count);
  b.function("_cuda_is_initialized", &cuda::is_initialized);
  b.function("_cuda_require", [](const std::string& op) { cuda::api(op.c_str()); });
  b.function("_cuda_current_device", &cuda::current_device);
  b.function("_cuda_set_device", &cuda::set_device);
  b.function("_cuda_synchronize", &cuda::synchronize);
  b.function("_cuda_properties", properties);
  b.function("_cuda_memory_stats", statistics);
  b.function("_cuda_reset_peak_memory_stats", &cuda::reset_peak_memory_stats);
  b.function("_cuda_empty_cache", &cuda::empty_cache);
  b.function("_cuda_mem_get_info", [](int device) {
    size_t free_bytes = 0, total = 0;
    cuda::check(cuda::on_device(device).memory_info(&free_bytes, &total), "cudaMemGetInfo");
    return py::make_tuple(free_bytes, total);
  });
  b.function("_cuda_num_launches", &cuda::num_launches);
  bind_streams(b);
  bind_graphs(b);
  bind_cuda_array_interface(b);
  b.method(
      "record_stream",
      [](const Tensor& t, const py::object& stream) {
        const auto s = stream.attr("cuda_stream").cast<intptr_t>();
        cuda::record_stream(*t.storage(), handle(s));
      },
      py::arg("stream"),
      "Tells the allocator that the tensor is used on `stream` too: its memory is not reused "
      "before that "
      "work is done.");
}

}  // namespace tercel
