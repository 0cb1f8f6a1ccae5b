#include "core/config.h"

namespace tercel {

const char* version() { return TERCEL_VERSION; }
const char* git_hash() { return TERCEL_GIT_HASH; }
const char* compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}

}  // namespace tercel
