#include "cuda/graph.h"

#include <atomic>

namespace tercel::cuda {
namespace {
std::atomic<Graph*> g_capture{nullptr};
}

bool capture_under_way() { return g_capture.load(std::memory_order_relaxed) != nullptr; }

void keep_for_graph(const Ref<Storage>& storage, int device) {
  if (is_capturing(device)) g_capture.load()->keep(storage);
}

Graph::Graph(int device) : device_(device) {
  check(on_device(device).stream_create(&own_stream_, 0), "cudaStreamCreate");
  stream_ = own_stream_;  // lives as long as the process: the allocator keeps blocks for it
}

Graph::~Graph() {
  try {
    if (g_capture.load() == this) end();
    reset();
  } catch (const Error&) {  // of a capture that failed; there is nobody to tell
  }
}

void Graph::begin(void* pool) {
  Graph* none = nullptr;
  TERCEL_CHECK(g_capture.compare_exchange_strong(none, this), Runtime,
               "cuda.CUDAGraph: another capture is under way");
  try {
    reset();
    stream_ = pool ? pool : own_stream_;
    pin_stream(device_, stream_);
    pinned_ = true;
    check(on_device(device_).capture_begin(stream_), "cudaStreamBeginCapture");
  } catch (...) {
    g_capture.store(nullptr);
    reset();
    throw;
  }
}

void Graph::end() {
  TERCEL_CHECK(g_capture.load() == this, Runtime, "cuda.CUDAGraph: no capture has begun");
  const int code = on_device(device_).capture_end(stream_, &work_);
  g_capture.store(nullptr);
  if (code) reset();
  check(code, "cudaStreamEndCapture");
}

void Graph::replay() {
  TERCEL_CHECK(captured(), Runtime, "CUDAGraph.replay: nothing has been captured");
  TERCEL_CHECK(!is_capturing(device_), Runtime,
               "CUDAGraph.replay: cannot be part of another graph's capture");
  const TercelCudaApi& a = on_device(device_);
  void* stream = current_stream(device_);
  for (const Source& s : sources_) {
    const PhiloxKey key = s.generator->take(s.used);
    check(a.copy(s.place, &key, sizeof key, TERCEL_CUDA_H2D, stream), "cudaMemcpyAsync");
  }
  check(a.graph_launch(work_, stream), "cudaGraphLaunch");
}

void Graph::reset() {
  if (work_) api("graph").graph_destroy(work_);
  work_ = nullptr;
  for (const Source& s : sources_) release(s.block);
  sources_.clear();
  kept_.clear();
  if (pinned_) unpin_stream(device_, stream_);
  pinned_ = false;
}

PhiloxKey Graph::take(Generator& generator, uint64_t blocks) {
  Source* source = nullptr;
  for (Source& s : sources_) {
    if (s.generator.get() == &generator) source = &s;
  }
  if (!source) {
    void* block = nullptr;
    void* place = allocate(sizeof(PhiloxKey), device_, &block);
    sources_.push_back({Ref<Generator>(&generator), static_cast<PhiloxKey*>(place), block, 0});
    source = &sources_.back();
  }
  const PhiloxKey key{0, source->used, source->place};
  source->used += blocks;
  return key;
}

}  // namespace tercel::cuda

namespace tercel {

bool take_for_graph(Generator& generator, uint64_t blocks, Device device, PhiloxKey* key) {
  if (!cuda::capture_under_way() || !cuda::is_capturing(device.index)) [[likely]]
    return false;
  *key = cuda::g_capture.load()->take(generator, blocks);
  return true;
}

}  // namespace tercel
