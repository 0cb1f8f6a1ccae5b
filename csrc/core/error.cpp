#include "core/error.h"

namespace tercel {

void fail(ErrorKind kind, std::string message) { throw Error(kind, std::move(message)); }

}  // namespace tercel
