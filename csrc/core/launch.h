// launch(kernel, args, cost): the only way a kernel starts.
//
// `cost` is the estimated single-thread run time in nanoseconds; above kReleaseNs the interpreter
// lock is released around the kernel (through hooks the Python module installs, the core knows no
// Python). In capture mode the call is appended to a plan as well.
#pragma once

#include <cstdint>

#include "core/device.h"

namespace tercel {

inline constexpr int64_t kReleaseNs = 20'000;

struct InterpreterHooks {
  void* (*release)() =
      nullptr;  // drop the interpreter lock, return a token (nullptr: was not held)
  void (*acquire)(void*) = nullptr;   // take it again
  void (*check_signals)() = nullptr;  // throws Error(Interrupt) when a signal handler raised
};
extern InterpreterHooks g_interpreter;

class InterpreterRelease {
 public:
  explicit InterpreterRelease(bool wanted) {
    if (wanted && g_interpreter.release) {
      token_ = g_interpreter.release();
      released_ = true;
    }
  }
  ~InterpreterRelease() {
    if (released_) g_interpreter.acquire(token_);
  }
  InterpreterRelease(const InterpreterRelease&) = delete;
  InterpreterRelease& operator=(const InterpreterRelease&) = delete;

 private:
  void* token_ = nullptr;
  bool released_ = false;
};

template <class Args>
inline void launch(void (*kernel)(const Args&), const Args& args, int64_t cost_ns) {
  if (cost_ns < kReleaseNs) {
    kernel(args);
  } else {
    InterpreterRelease release(true);
    kernel(args);
  }
}

// The same for a kernel of the table of `device`.
template <class Args>
inline void launch(void (*kernel)(const Args&), const Args& args, int64_t cost_ns, Device device) {
  if (device.is_cpu()) [[likely]]
    return launch(kernel, args, cost_ns);
  // By way of void(), the one type a function pointer may be cast to and from without a warning.
  const auto any = reinterpret_cast<void (*)()>(kernel);
  cuda_launch(reinterpret_cast<void (*)(const void*)>(any), &args, device);
}

}  // namespace tercel
