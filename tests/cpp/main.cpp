// Runs the registered tests whose name contains the first argument.
#include <cstring>

#include "check.h"

int main(int argc, char** argv) {
  int failed = 0, run = 0;
  for (const test::Case& c : test::cases()) {
    if (argc > 1 && !std::strstr(c.name, argv[1])) continue;
    const int before = test::failures;
    try {
      c.run();
    } catch (const std::exception& e) {
      test::report(false, c.name, 0, e.what());
    }
    ++run;
    if (test::failures != before) {
      ++failed;
      std::printf("FAILED %s\n", c.name);
    }
  }
  std::printf("%d tests, %d failed\n", run, failed);
  return failed != 0;
}
