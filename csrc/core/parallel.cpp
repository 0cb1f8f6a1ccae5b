#include "core/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/error.h"

namespace tercel {
namespace {

thread_local bool t_in_parallel = false;

struct Job {
  ChunkFn fn;
  void* context;
  int64_t n, grain, chunks;
  std::atomic<int64_t> next{0};
  std::atomic<int> running{0};  // workers inside the job
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() {
    t_in_parallel = true;
    for (;;) {
      const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= chunks) break;
      const int64_t begin = i * grain;
      const int64_t end = begin + grain < n ? begin + grain : n;
      try {
        fn(context, begin, end);
      } catch (...) {
        std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        next.store(chunks, std::memory_order_relaxed);
      }
    }
    t_in_parallel = false;
  }
};

void cpu_relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Workers wait for `epoch_` to change: they spin for a short while (a training step issues the next
// job within microseconds) and then sleep on the condition variable. When there are more threads
// than processors the spin is skipped.
class Pool {
 public:
  explicit Pool(int workers, bool may_spin) : spin_(may_spin ? 2000 : 0) {
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { loop(); });
  }
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      epoch_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
  }

  void run(Job& job) {
    {
      std::lock_guard lock(mutex_);
      job_ = &job;
      epoch_.fetch_add(1, std::memory_order_release);
    }
    if (sleepers_.load(std::memory_order_acquire) > 0) wake_.notify_all();
    job.work();
    // No worker may enter any more; those inside must leave before the job's frame goes.
    {
      std::lock_guard lock(mutex_);
      job_ = nullptr;
    }
    int spins = 0;
    while (job.running.load(std::memory_order_acquire) != 0) {
      if (++spins < 20000) {
        cpu_relax();
      } else {
        std::this_thread::yield();
      }
    }
  }

 private:
  void loop() {
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < spin_ && epoch_.load(std::memory_order_acquire) == seen; ++i) cpu_relax();
      Job* job;
      {
        std::unique_lock lock(mutex_);
        if (epoch_.load(std::memory_order_relaxed) == seen) {
          sleepers_.fetch_add(1);
          wake_.wait(lock, [&] { return epoch_.load(std::memory_order_relaxed) != seen; });
          sleepers_.fetch_sub(1);
        }
        seen = epoch_.load(std::memory_order_relaxed);
        if (stop_) return;
        job = job_;
        if (job) job->running.fetch_add(1, std::memory_order_relaxed);
      }
      if (job) {
        job->work();
        job->running.fetch_sub(1, std::memory_order_release);
      }
    }
  }

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> epoch_{0};
  std::atomic<int> sleepers_{0};
  Job* job_ = nullptr;
  bool stop_ = false;
  int spin_;
};

struct State {
  std::mutex busy;       // held by the thread whose job runs; others compute on their own
  Pool* pool = nullptr;  // leaked at exit: a daemon thread may still be inside
  std::atomic<int> threads{0};
  std::string reason;
  int default_threads = 1;
};
State* g_state = nullptr;
std::once_flag g_once;

// CPUs allowed by the cgroup quota, or 0 if none is set.
double cgroup_quota() {
  std::ifstream self("/proc/self/cgroup");
  std::string line, v2_path;
  while (std::getline(self, line)) {
    if (line.rfind("0::", 0) == 0) v2_path = line.substr(3);
  }
  double best = 0;
  auto consider = [&](double cpus) {
    if (cpus > 0 && (best == 0 || cpus < best)) best = cpus;
  };
  // v2: every ancestor may set a limit.
  for (std::string path = v2_path;;) {
    std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
    std::string quota;
    double period = 0;
    if (file >> quota >> period && quota != "max" && period > 0)
      consider(atof(quota.c_str()) / period);
    if (path.empty() || path == "/") break;
    path = path.substr(0, path.rfind('/'));
  }
  for (const char* root : {"/sys/fs/cgroup/cpu/", "/sys/fs/cgroup/cpu,cpuacct/"}) {
    std::ifstream quota_file(std::string(root) + "cpu.cfs_quota_us"),
        period_file(std::string(root) + "cpu.cfs_period_us");
    double quota = 0, period = 0;
    if (quota_file >> quota && period_file >> period && quota > 0 && period > 0)
      consider(quota / period);
  }
  return best;
}

int affinity_count() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  const unsigned n = std::thread::hardware_concurrency();
  return n ? static_cast<int>(n) : 1;
}

State& state() {
  std::call_once(g_once, [] {
    auto* s = new State;
    const int affinity = affinity_count();
    const double quota = cgroup_quota();
    std::ostringstream reason;
    reason << "affinity " << affinity << ", cgroup quota ";
    int n = affinity;
    if (quota > 0) {
      reason << quota;
      const int whole = quota < 1 ? 1 : static_cast<int>(std::ceil(quota));
      if (whole < n) n = whole;
    } else {
      reason << "none";
    }
    if (const char* v = getenv("TERCEL_NUM_THREADS"); v && atoi(v) > 0) {
      n = atoi(v);
      reason << ", TERCEL_NUM_THREADS " << n;
    }
    if (n > kMaxThreads) n = kMaxThreads;
    s->default_threads = n;
    s->threads.store(n);
    s->reason = reason.str();
    g_state = s;
    // The child of a fork has no workers: it starts from a fresh pool and fresh locks.
    pthread_atfork(nullptr, nullptr, [] {
      if (!g_state) return;
      t_in_parallel = false;
      auto* old = g_state;
      auto* fresh = new State;
      fresh->default_threads = old->default_threads;
      fresh->threads.store(old->threads.load());
      fresh->reason = old->reason;
      g_state = fresh;
    });
  });
  return *g_state;
}

}  // namespace

int num_threads() { return state().threads.load(std::memory_order_relaxed); }
int default_num_threads() { return state().default_threads; }
const char* default_num_threads_reason() { return state().reason.c_str(); }
bool in_parallel_region() { return t_in_parallel; }

void set_num_threads(int n) {
  TERCEL_CHECK(n >= 1 && n <= kMaxThreads, Value, "set_num_threads: expected 1 to ", kMaxThreads,
               ", got ", n);
  TERCEL_CHECK(!t_in_parallel, Runtime, "set_num_threads: called from inside a parallel region");
  State& s = state();
  std::lock_guard lock(s.busy);
  if (s.threads.load() == n) return;
  delete s.pool;
  s.pool = nullptr;
  s.threads.store(n);
}

void parallel_run(int64_t n, int64_t grain, ChunkFn fn, void* context) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  const int64_t chunks = (n - 1) / grain + 1;
  State* s = t_in_parallel ? nullptr : &state();
  if (!s || chunks == 1 || s->threads.load(std::memory_order_relaxed) == 1 || !s->busy.try_lock()) {
    // Same chunks, so that a kernel which keeps state per chunk computes the same.
    for (int64_t i = 0; i < chunks; ++i) {
      const int64_t begin = i * grain;
      fn(context, begin, begin + grain < n ? begin + grain : n);
    }
    return;
  }
  std::lock_guard lock(s->busy, std::adopt_lock);
  if (!s->pool) {
    const int threads = s->threads.load();
    s->pool = new Pool(threads - 1, threads <= affinity_count());
  }
  Job job{fn, context, n, grain, chunks, {}, {}, {}, {}};
  s->pool->run(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace tercel
