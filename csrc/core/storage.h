// Storage: a reference-counted buffer shared by views, with the version counter that autograd
// checks.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/device.h"
#include "core/refcount.h"

namespace tercel {

class Storage final : public RefCounted {
 public:
  using Deleter = void (*)(void* context);

  // Allocates `nbytes` from the caching allocator of `device` (64-byte aligned, uninitialised).
  static Ref<Storage> allocate(int64_t nbytes, Device device = {});
  // Wraps foreign memory; `deleter(context)` runs when the last reference goes.
  static Ref<Storage> wrap(void* data, int64_t nbytes, Deleter deleter, void* context,
                           bool readonly, Device device = {});

  Storage(void* data, int64_t nbytes, Device device, Deleter deleter, void* context, bool readonly)
      : data_(data),
        nbytes_(nbytes),
        deleter_(deleter),
        context_(context),
        device_(device),
        readonly_(readonly) {}
  ~Storage() override;

  void* data() const { return data_; }
  int64_t nbytes() const { return nbytes_; }
  Device device() const { return device_; }
  bool readonly() const { return readonly_; }
  Deleter deleter() const { return deleter_; }
  void* context() const { return context_; }

  // Counts all writes: what keeps a copy in another form compares it.
  uint32_t version() const { return version_.load(std::memory_order_relaxed); }
  // Counts the writes that spoil a saved tensor: all but those through `x.data`.
  uint32_t checked_version() const {
    return version() - unchecked_.load(std::memory_order_relaxed);
  }
  // `op` must be a string literal; it is quoted when a saved tensor turns out to be overwritten.
  void bump_version(const char* op, bool checked = true) {
    version_.fetch_add(1, std::memory_order_relaxed);
    if (!checked) unchecked_.fetch_add(1, std::memory_order_relaxed);
    last_writer_ = op;
  }
  const char* last_writer() const { return last_writer_; }

 private:
  void* data_;
  int64_t nbytes_;
  Deleter deleter_;  // nullptr: block of the caching allocator
  void* context_;
  std::atomic<uint32_t> version_{0};
  std::atomic<uint32_t> unchecked_{0};
  Device device_;
  bool readonly_;
  const char* last_writer_ = "";
};

}  // namespace tercel
