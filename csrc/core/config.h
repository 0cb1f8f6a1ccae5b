// Version of the library, as configured.
#pragma once

namespace tercel {

const char* version();
const char* git_hash();
const char* compiler();

}  // namespace tercel
