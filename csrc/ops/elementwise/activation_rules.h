// Rules of the activations, shared by their implementation and the bindings.
#pragma once

#include "ops/elementwise/rules.h"

namespace tercel {

extern const UnaryRule kRelu, kLeakyRelu, kElu, kGelu, kGeluTanh, kSilu, kMish, kHardswish,
    kHardsigmoid, kHardtanh;
extern const UnaryRule kSoftplus, kSoftsign, kTanhshrink, kSoftshrink, kHardshrink, kThreshold,
    kLogsigmoid;
extern const BinaryRule kPrelu;

}  // namespace tercel
