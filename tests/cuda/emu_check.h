// What the emulated tests share: random data, runs under every schedule, comparison with float64.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/compat.cuh"

// The value, which may contain commas, is at most `limit`; prints it otherwise.
#define CHECK_BELOW(limit, ...) \
  test::check_below((__VA_ARGS__), (limit), __FILE__, __LINE__, #__VA_ARGS__)

namespace test {

inline void check_below(double value, double limit, const char* file, int line, const char* text) {
  report(value <= limit, file, line, tercel::str(text, " is ", value, ", more than ", limit));
}

// Text of the error that f's launch ends with, "" if none.
template <class F>
std::string emulator_error(F&& f) {
  try {
    f();
  } catch (const emu::Error& e) {
    return e.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Runs f under thread orders forward, reverse and random with early, late and random copies. One
// schedule in `quick` runs (sanitizer builds): random order, late copies.
template <class F>
void each_schedule(F&& f) {
  const bool quick = std::getenv("TERCEL_EMU_QUICK") != nullptr;
  const emu::Options saved = emu::options;
  for (int order = 0; order < 3; ++order) {
    for (int async = 0; async < 3; ++async) {
      const bool diagonal = order == 2 && async == 1;
      if (quick && !diagonal) continue;
      emu::options.order = static_cast<emu::Order>(order);
      emu::options.async = static_cast<emu::Async>(async);
      emu::options.seed = static_cast<unsigned>(1 + order * 3 + async);
      f();
    }
  }
  emu::options = saved;
}

inline std::mt19937& generator() {
  static std::mt19937 g(12345);
  return g;
}

template <class T>
T random_value() {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(std::uniform_int_distribution<int>(-128, 127)(generator()));
  } else {
    return static_cast<T>(std::normal_distribution<float>()(generator()));
  }
}

template <class T>
std::vector<T> random_vector(int64_t n) {
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = random_value<T>();
  return v;
}

// Output buffer: every byte 0xff, with a margin that must stay so.
template <class T>
struct Guarded {
  static constexpr int64_t kMargin = 64;
  std::vector<T> all;
  int64_t n;
  explicit Guarded(int64_t n) : all(static_cast<size_t>(n + 2 * kMargin)), n(n) { poison(); }
  void poison() { std::memset(static_cast<void*>(all.data()), 0xff, all.size() * sizeof(T)); }
  T* data() { return all.data() + kMargin; }
  T& operator[](int64_t i) { return all[static_cast<size_t>(i + kMargin)]; }
  bool margins_intact() const {
    const auto* bytes = reinterpret_cast<const unsigned char*>(all.data());
    const int64_t margin = kMargin * static_cast<int64_t>(sizeof(T));
    const int64_t total = static_cast<int64_t>(all.size() * sizeof(T));
    for (int64_t i = 0; i < margin; ++i) {
      if (bytes[i] != 0xff || bytes[total - 1 - i] != 0xff) return false;
    }
    return true;
  }
};

}  // namespace test
