// Small tables of the host in the memory of a GPU: uploaded once, found by their contents.
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "cuda/graph.h"
#include "ops/copy/copy.h"

namespace tercel {
namespace {

constexpr int64_t kLargest = 1 << 20;  // bytes of a table that is kept
constexpr int64_t kTotal = 32 << 20;   // bytes of all of them, per device

struct Entry {
  std::string contents;  // of the table, with its dtype
  Tensor table;
};
struct Cache {
  std::mutex mutex;
  std::list<Entry> entries;  // used last comes first
  std::map<std::string_view, std::list<Entry>::iterator> by_contents;
  int64_t bytes = 0;
};

Cache& cache_of(int device) {
  static Cache* caches = new Cache[64];  // leaked: its tensors outlive static destruction
  return caches[device];
}

std::string contents_of(const Tensor& host) {
  std::string key(1, static_cast<char>(host.dtype()));
  key.append(static_cast<const char*>(host.data()),
             static_cast<size_t>(host.numel() * host.itemsize()));
  return key;
}

}  // namespace

Tensor device_constant(const Tensor& host, Device device) {
  const int64_t bytes = host.numel() * host.itemsize();
  if (device.is_cpu() || !host.device().is_cpu() || bytes == 0 || bytes > kLargest)
    return to_device(host, device);
  Cache& cache = cache_of(device.index);
  std::string contents = contents_of(host);
  std::lock_guard lock(cache.mutex);
  const auto found = cache.by_contents.find(contents);
  if (found != cache.by_contents.end()) {
    cache.entries.splice(cache.entries.begin(), cache.entries, found->second);
  } else {
    cache.entries.push_front({std::move(contents), to_device(host, device)});
    cache.by_contents.emplace(cache.entries.front().contents, cache.entries.begin());
    cache.bytes += bytes;
    while (cache.bytes > kTotal) {
      const Entry& last = cache.entries.back();
      cache.bytes -= last.table.numel() * last.table.itemsize();
      cache.by_contents.erase(last.contents);
      cache.entries.pop_back();
    }
  }
  const Tensor& table = cache.entries.front().table;
  cuda::record_stream(*table.storage(), cuda::current_stream(device.index));
  cuda::keep_for_graph(table.storage(), device.index);
  return table;
}

}  // namespace tercel
