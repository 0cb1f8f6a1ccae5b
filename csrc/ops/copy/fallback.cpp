// Stand-in until the matmul family lands.
#include "python/ops_pending.h"
namespace tercel {
[[gnu::weak]] Tensor matmul(const Tensor&, const Tensor&) { fail(ErrorKind::NotImplemented, "matmul: pending"); }
}  // namespace tercel
