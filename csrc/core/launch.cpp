#include "core/launch.h"

namespace tercel {

InterpreterHooks g_interpreter;

}  // namespace tercel
