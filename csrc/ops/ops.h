// The public C++ API of tercel: every op family.
#pragma once

#include "ops/copy/copy.h"
#include "ops/creation/creation.h"
#include "ops/dropout/dropout.h"
#include "ops/elementwise/activation.h"
#include "ops/elementwise/elementwise.h"
#include "ops/elementwise/ternary.h"
#include "ops/index/index.h"
#include "ops/matmul/matmul.h"
#include "ops/optim/optim.h"
#include "ops/reduce/reduce.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"
