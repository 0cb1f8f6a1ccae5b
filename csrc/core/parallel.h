// Thread pool and parallel_for.
//
// Work is cut into `ceil(n / grain)` chunks, a function of n and grain only; threads take chunks in
// any order, so a result that is written per chunk does not depend on the number of threads. The
// pool has min(affinity, cgroup quota) threads by default, spins briefly and then sleeps, is
// rebuilt in a forked child, and runs a nested or contended call on the calling thread.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/half.h"  // TERCEL_INLINE

namespace tercel {

int num_threads();
void set_num_threads(int n);  // 1..kMaxThreads; raises ValueError
int default_num_threads();
const char* default_num_threads_reason();  // "affinity 2, cgroup quota none"
bool in_parallel_region();
inline constexpr int kMaxThreads = 256;

using ChunkFn = void (*)(void* context, int64_t begin, int64_t end);
// Runs fn over [0, n) in chunks of `grain` (the last one shorter). Does not throw unless fn does:
// the first exception is rethrown in the caller.
void parallel_run(int64_t n, int64_t grain, ChunkFn fn, void* context);

// parallel_for(n, grain, [&](int64_t begin, int64_t end) {...})
template <class F>
TERCEL_INLINE void parallel_for(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (n <= grain) {
    f(static_cast<int64_t>(0), n);
    return;
  }
  using Fn = std::remove_reference_t<F>;
  struct Thunk {
    static void call(void* context, int64_t begin, int64_t end) {
      (*static_cast<Fn*>(context))(begin, end);
    }
  };
  parallel_run(n, grain, &Thunk::call, const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace tercel
