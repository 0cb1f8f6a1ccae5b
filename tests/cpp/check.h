// A test framework in one page: TEST(name) { CHECK(condition); CHECK_NEAR(a, b, tolerance);
// CHECK_THROWS(expr); }
//
// A failed check prints its place and is counted; the test goes on. The binary takes a substring of
// the names to run and returns the number of failed tests.
#pragma once

#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"

namespace test {

struct Case {
  const char* name;
  void (*run)();
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int failures = 0;

struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

inline void report(bool good, const char* file, int line, const std::string& text) {
  if (good) return;
  ++failures;
  std::printf("%s:%d: %s\n", file, line, text.c_str());
}

inline void check_near(double a, double b, double tolerance, const char* file, int line,
                       const char* text) {
  const bool good = std::fabs(a - b) <= tolerance || a == b;
  report(good, file, line,
         tercel::str(text, ": ", a, " and ", b, " differ by more than ", tolerance));
}

template <class F>
void check_throws(F&& f, const char* file, int line, const char* text) {
  try {
    f();
  } catch (const tercel::Error& e) {
    report(!std::string(e.what()).empty(), file, line, "an error without a message");
    return;
  }
  report(false, file, line, tercel::str("no error from ", text));
}

}  // namespace test

#define TEST(name)                                                  \
  static void test_##name();                                        \
  static const test::Register register_##name(#name, &test_##name); \
  static void test_##name()
#define CHECK(condition) test::report((condition), __FILE__, __LINE__, "failed: " #condition)
#define CHECK_NEAR(a, b, tolerance) \
  test::check_near((a), (b), (tolerance), __FILE__, __LINE__, #a ", " #b)
#define CHECK_THROWS(expression) \
  test::check_throws([&] { (void)(expression); }, __FILE__, __LINE__, #expression)
