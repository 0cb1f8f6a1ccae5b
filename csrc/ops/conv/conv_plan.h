// From the geometry of a convolution to the tables the kernels walk (see conv_args.h).
#pragma once

#include <vector>

#include "core/tensor.h"
#include "ops/conv/conv_args.h"

namespace tercel {

// y[n, g cout, out] = sum x[n, g cin, in] w[g cout, cin, kernel]; missing dimensions have size 1.
// `pad` is the padding before the first element; what follows the last one results from `out`.
struct ConvGeometry {
  int dims;                           // 1, 2 or 3
  int64_t images, groups, cin, cout;  // channels per group
  int64_t in[3], out[3], kernel[3], stride[3], pad[3], dilation[3];

  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
  int64_t kernel_size() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t flops() const;  // saturates
  Shape input_shape() const;
  Shape weight_shape() const;
  Shape output_shape() const;
};

// The tables of one convolution: owns what ConvArgs points to.
struct ConvPlan {
  struct Phase {
    std::vector<int64_t> offset, tap;
    int64_t columns;  // taps that differ in x only, consecutive
    int64_t grid[3], first[3], step[3];
  };
  std::vector<Phase> phases;
  std::vector<int64_t> residues[3];
  ConvPadArgs pad{};
  bool covers_output;  // every output pixel has a tap in some phase
  bool copy_free;  // planes equal the source: it can be read in place if it has the compute dtype
  int64_t plane, planes;  // elements of a plane, planes per channel
  int64_t channel() const { return plane * planes; }
  int64_t row() const { return pad.size[2]; }
  int64_t slab() const { return pad.size[1] * pad.size[2]; }
};

// y from x: source x, pixels of y.
ConvPlan plan_forward(const ConvGeometry& g);
// dx from dy (and transposed convolution): source dy, pixels of dx, a phase per residue of the
// stride.
ConvPlan plan_input_grad(const ConvGeometry& g);

}  // namespace tercel
