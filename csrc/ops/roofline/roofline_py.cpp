#include "ops/roofline/roofline.h"
#include "python/bind.h"

namespace tercel {

void bind_roofline(Binder& b) {
  b.function("_roofline", &roofline, py::arg("name"), py::arg("bytes") = 1 << 28,
             py::arg("seconds") = 0.2,
             R"(Measured peak of this machine with all threads of the pool.

name: "fma_f32" or "fma_f64" (result in GFLOP/s); "read", "write" or "copy" (GB/s, copy counts bytes
read and written) on `bytes` of memory in all, which picks the cache level. Best of five tries.)");
}

}  // namespace tercel
