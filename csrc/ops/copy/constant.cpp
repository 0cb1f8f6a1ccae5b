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
class Cache {
 public:
  // The table, or an undefined tensor.
  Tensor find(const std::string& contents) {
    std::lock_guard lock(mutex_);
    const auto found = by_contents_.find(contents);
    if (found == by_contents_.end()) return {};
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front().table;
  }
  void add(std::string contents, const Tensor& table) {
    std::lock_guard lock(mutex_);
    if (by_contents_.count(contents)) return;  // another thread was faster
    entries_.push_front({std::move(contents), table});
    by_contents_.emplace(entries_.front().contents, entries_.begin());
    bytes_ += table.numel() * table.itemsize();
    while (bytes_ > kTotal) {
      const Entry& last = entries_.back();
      bytes_ -= last.table.numel() * last.table.itemsize();
      by_contents_.erase(last.contents);
      entries_.pop_back();
    }
  }

 private:
  std::mutex mutex_;
  std::list<Entry> entries_;  // used last comes first
  std::map<std::string_view, std::list<Entry>::iterator> by_contents_;
  int64_t bytes_ = 0;
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
  Tensor table = cache.find(contents);
  if (!table.defined()) {
    table = to_device(host, device);  // without the lock: it waits, and lets Python run meanwhile
    cache.add(std::move(contents), table);
  }
  cuda::record_stream(*table.storage(), cuda::current_stream(device.index));
  cuda::keep_for_graph(table.storage(), device.index);
  return table;
}

}  // namespace tercel
