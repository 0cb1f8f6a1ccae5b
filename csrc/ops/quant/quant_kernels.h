// Kernel contracts of the quantisation family. Matrices are dense [rows, cols] in float32, bfloat16
// or float16.
#pragma once

#include <stdint.h>

#include "core/kernel_table.h"
#include "core/random.h"
#include "ops/quant/quant_format.h"

namespace tercel {

// Column c of row r has the scale number base[r] + c / run (base null: c / run alone).
struct QScales {
  const float* scale;
  const float* zero;  // null: 0
  const int64_t* base;
  int64_t run;
};

// q = clamp(round(x * (1 / scale)) + zero, qmin, qmax) as codes; NaN becomes the zero point in
// integer formats.
struct QuantizeArgs {
  const void* x;
  DType dtype;
  int64_t rows, cols;
  QScales s;
  QFormat format;
  QRange range;
  bool stochastic;
  PhiloxKey key;
  uint8_t* codes;  // rows of code_bytes(cols); null when `y` is wanted
  // fake quantisation: the dequantised value in dtype, and 1 where round(x / scale) + zero was in
  // range
  void* y;
  uint8_t* mask;
};

// y = (code - zero) * scale
struct DequantizeArgs {
  const uint8_t* codes;
  QFormat format;
  int64_t rows, cols;
  QScales s;
  void* y;
  DType dtype;
};

// lo[r] <= 0 <= hi[r]: range of the finite elements of a row and 0.
struct RangeArgs {
  const float* x;
  int64_t rows, cols;
  float *lo, *hi;
};

// Shrinks [lo, hi] of each row by the one of `steps` factors that leaves the smallest squared
// error.
struct MseArgs {
  const float* x;
  int64_t rows, cols;
  QFormat format;
  QRange range;
  bool symmetric;
  int steps;
  float *lo, *hi;
};

// int8 rows for dynamic quantisation: scale = max|x| / 127 (1 for a zero row), q = round(x * (127 /
// max|x|)). A row with NaN or an infinity gets scale NaN and codes 0. Rows [row0, row1).
struct RowQuantArgs {
  const void* x;
  DType dtype;
  int64_t row_stride;
  int64_t cols;
  int64_t row0, row1;
  int8_t* q;  // dense [rows, cols]
  float* scale;
};

struct QuantKernels {
  void (*quantize)(const QuantizeArgs&);
  void (*dequantize)(const DequantizeArgs&);
  void (*range)(const RangeArgs&);
  void (*mse)(const MseArgs&);
  void (*row_quant)(const RowQuantArgs&);
};
TERCEL_KERNEL_TABLE(QuantKernels, quant_kernels)

}  // namespace tercel
