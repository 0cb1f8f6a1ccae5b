// Python bindings of the dropout family.
#include "ops/dropout/dropout.h"
#include "python/bind.h"

namespace tercel {

namespace {

using Function = Tensor (*)(const Tensor&, double, bool, bool);
void bind(Binder& b, const char* name, Function f, bool training, const char* doc) {
  b.function(name, f, py::arg("input"), py::arg("p") = 0.5, py::arg("training") = training,
             py::arg("inplace") = false, doc);
}

}  // namespace

void bind_dropout(Binder& b) {
  bind(b, "dropout", &dropout, true,
       R"(Zeroes each element with probability p and scales the others by 1 / (1 - p).

input: any shape, float64/32/16 or bfloat16.  p: in [0, 1], else ValueError.  training=False: returns input.
inplace: overwrites input.  The numbers come from the default generator (tercel.manual_seed) and do not
depend on the number of threads.

>>> tercel.dropout(tercel.ones(6), 0.5)                       # 0 or 2
Srivastava et al. 2014, JMLR 15.)");
  bind(b, "alpha_dropout", &alpha_dropout, false,
       R"(Dropout for SELU networks: keeps mean 0 and variance 1.

Dropped elements become -1.7581, then a x + b restores mean and variance.  Klambauer et al. 2017.)");
  bind(b, "feature_dropout", &feature_dropout, true, "Dropout of whole channels of [B, C, ...].");
  bind(b, "feature_alpha_dropout", &feature_alpha_dropout, false,
       "Alpha dropout of whole channels of [B, C, ...].");
  bind(b, "dropout1d", &dropout1d, true, "Dropout of whole channels of [B, C, L] or [C, L].");
  bind(b, "dropout2d", &dropout2d, true,
       "Dropout of whole channels of [B, C, H, W] (3 dims: [B, C, L]).");
  bind(b, "dropout3d", &dropout3d, true,
       "Dropout of whole channels of [B, C, D, H, W] or [C, D, H, W].");
}

}  // namespace tercel
