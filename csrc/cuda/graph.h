// Work captured once and replayed as one launch: what tercel.cuda.CUDAGraph is built on.
//
// A graph is captured on a stream of its own (or that of another graph, to share its memory):
// blocks are cached per stream, so what a capture allocates and frees is its memory pool, and stays
// in place as long as the graph (pin_stream). One capture at a time in a process.
//
// Random numbers: kernels of a capture get a key relative to a place in device memory
// (PhiloxKey::replay); a replay takes as many numbers from the generator as the capture used and
// writes where they start there. So each replay has the numbers that the same work, run eagerly,
// would have had.
#pragma once

#include <vector>

#include "core/random.h"
#include "cuda/runtime.h"

namespace tercel::cuda {

bool capture_under_way();  // by any thread
// The graph that is captured on the device's current stream, if any, keeps the storage alive.
void keep_for_graph(const Ref<Storage>& storage, int device);

class Graph {
 public:
  explicit Graph(int device);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // `pool`: the stream of another graph, or null. Raises RuntimeError if a capture is under way.
  void begin(void* pool);
  void end();
  void replay();  // on the calling thread's stream
  void reset();   // forgets the work, lets go of the memory
  bool captured() const { return work_ != nullptr; }
  void* stream() const { return stream_; }
  int device() const { return device_; }

  // The next `blocks` numbers of the generator in each replay.
  PhiloxKey take(Generator& generator, uint64_t blocks);
  void keep(const Ref<Storage>& storage) { kept_.push_back(storage); }

 private:
  struct Source {  // of random numbers
    Ref<Generator> generator;
    PhiloxKey* place;  // in device memory
    void* block;
    uint64_t used;
  };

  int device_;
  void* own_stream_ = nullptr;
  void* stream_ = nullptr;  // captured and pinned
  void* work_ = nullptr;    // instantiated
  bool pinned_ = false;
  std::vector<Source> sources_;
  std::vector<Ref<Storage>> kept_;
};

}  // namespace tercel::cuda
