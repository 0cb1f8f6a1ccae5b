// Arguments and kernel table of the convolution family (convolution.h has the public functions).
//
// Every convolution is reduced to three dimensions (z, y, x; missing ones have size 1) and to
// "taps":
//   y[n, o, p] = sum_{c, t} w[o, c, t] * s[n, c, base_t + p]
// where s is a padded copy of the source in planes, one plane per residue of the coordinate modulo
// the stride, so that stepping one output pixel is stepping one element whatever the stride. Output
// pixels are numbered by their place in the plane (row * pitch + column): a vector of pixels is
// then one unaligned load per tap, without im2col, and the few positions that are no pixels are
// dropped when the tile is stored. The input gradient is the same sum with source dy, once per
// phase of the stride.
//
// Shape letters: N images, C input channels, O output channels (both per group), T taps, K = C T.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/inline.h"
#include "core/kernel_table.h"

namespace tercel {

TERCEL_INLINE int64_t volume(const int64_t* size) { return size[0] * size[1] * size[2]; }

// f(first, size) for the pieces of [0, n), as equal as can be and of at most `most`.
template <class F>
TERCEL_INLINE void equal_pieces(int64_t n, int64_t most, F&& f) {
  const int64_t pieces = (n + most - 1) / most;
  for (int64_t i = 0, first = 0; i < pieces; ++i) {
    const int64_t size = n / pieces + (i < n % pieces);
    f(first, size);
    first += size;
  }
}

// Padded, residue-split copy of contiguous images src[N, C, D, H, W] in the compute type (float, or
// double for float64): dst[N, C, rz, ry, rx, PD, PH, pitch] with
//   dst[.., j] = src[stride * (first + j) + residue] or 0 outside, in each of the three dimensions.
struct ConvPadArgs {
  const void* src;
  void* dst;
  DType dtype;          // of src
  int64_t planes_in;    // N C
  int64_t src_size[3];  // D, H, W
  int64_t stride[3];    // sampling stride
  int64_t first[3];     // source coordinate (over stride) of plane coordinate 0
  int64_t num_residues[3];
  const int64_t* residues[3];
  int64_t size[3];  // PD, PH, pitch
  int64_t slack;    // zeros written behind the last plane
};

// One phase of the output: the pixels (first + step * j) of the output grid.
struct ConvPhase {
  int64_t taps;           // T of this phase
  int64_t columns;        // taps that differ in x only, consecutive in k
  int64_t K;              // C T
  const int64_t* offset;  // [K] element of the source, relative to group and image, of pixel 0
  const int64_t* tap;     // [T] index of the tap in w
  int64_t grid[3];        // pixels of this phase
  int64_t y_first;        // element of the output plane of pixel 0
  int64_t y_step[3];      // elements of the output plane between pixels
  void* packed;           // [groups][O rounded up to kConvRows][K] weights, packed by the kernel
};

// Workspace sizes: packed weights hold round_up(O, kConvRows) rows per group.
inline constexpr int64_t kConvRows = 16;
// A source that is read in place may end right after its last element (loads are masked there); a
// padded copy needs this many elements behind the last plane, for vectors that start before its
// end.
inline constexpr int64_t kConvSlack = 64;

// y[n, g, o, p] = bias[g, o] + sum over k. One fused-multiply-add chain per output, k = (c, t)
// ascending.
struct ConvArgs {
  ConvPadArgs pad;  // src, planes_in, dst cover all images; ignored if in_place
  bool in_place;    // the source is read where it is: no padding, stride 1, compute dtype
  const void* w;
  const void* bias;  // [groups O] or null
  void* y;
  DType dtype;                        // of source, w, bias, y
  int64_t images, groups, cin, cout;  // per group
  int64_t w_out, w_in, w_group;       // strides of w: output channel, input channel, group; tap 1
  int64_t src_image, src_channel;     // elements between images and channels of the (padded) source
  int64_t row, slab;                  // elements between rows (y) and slabs (z) of a plane
  int64_t y_channel;  // elements of an output plane; images are groups*cout planes apart
  int64_t width;      // elements of a row of it
  int64_t wave;       // images padded and computed at a time
  const ConvPhase* phases;
  int64_t num_phases;
  bool zero_first;  // pixels without any tap exist: fill y with bias first
};

// One channel in and out per group. Each padded plane then has its own slack behind it, which
// src_channel includes.
TERCEL_INLINE bool is_depthwise(const ConvArgs& a) { return a.cin == 1 && a.cout == 1; }

// dw[g, o, c, t] = sum over images and pixels p of dy[n, g, o, p] * s[n, g, c, offset_t + p]:
// direct, pixels ascending, in chunks of about 1,024 pixels (a function of the shape of one sample)
// that are summed in order.
struct ConvWeightGradArgs {
  ConvPadArgs pad;
  bool in_place;
  const void* dy;  // [N, groups O, P] contiguous
  void* dw;        // [groups O, C, taps_all] contiguous, overwritten
  DType dtype;
  int64_t images, groups, cin, cout;
  int64_t src_image, src_channel, row, slab;
  int64_t grid[3];
  int64_t taps, taps_all, K;
  const int64_t* offset;  // [K], k = (c, t)
  const int64_t* tap;     // [T]
  int64_t wave;           // images per round, a multiple of chunk_images
  int64_t chunk_images;   // images summed in one chain (1 if an image is cut into chunks of rows)
  int64_t chunk_rows;     // rows (z y) of an image in a chunk
  void* dy_packed;        // wave * P * groups * round_up(O, kConvGradLanes) compute elements
  void* sum;              // groups * round_up(O, kConvGradLanes) * K compute elements
};
inline constexpr int64_t kConvGradLanes = 32;
// Up to this many output channels per group the pixels are the vector axis; workspaces then hold
// groups * O channels without rounding.
inline constexpr int64_t kConvDotChannels = 2;

// y[n, o] = bias[o] + 3x3 convolution with stride 1 by Winograd's F(4x4, 3x3); float32, one group.
// pad splits the source into 16 planes [cin][4][4][patches_y + 1][pitch], with element (y, x) of
// the padded source in plane (y mod 4, x mod 4).
struct WinogradArgs {
  ConvPadArgs pad;
  const void* w;
  const void* bias;
  void* y;
  int64_t images, cin, cout;
  int64_t w_out, w_in;  // strides of w
  bool flip;            // taps in reverse order (input gradient)
  int64_t out[2];
  int64_t patches_y, patches_x;  // 4x4 blocks of the output
  int64_t pitch;                 // patches_x + 1
  int64_t plane;                 // elements of a plane
  const int64_t* offset;         // [cin] c * (kWinogradColumns + 16)
  int64_t wave;
  void* packed;   // 36 * (round_up(cout, kConvRows) * cin + kWinogradSkew)
  void* scratch;  // per thread 36 * (cin * (kWinogradColumns + 16) +
                  //   round_up(cout, kConvRows) * kWinogradColumns + 2 * kWinogradSkew)
};
inline constexpr int64_t kWinogradColumns = 96;
inline constexpr int64_t kWinogradSkew = 16;

struct WinogradKernels {
  void (*run)(const WinogradArgs&);
};
TERCEL_KERNEL_TABLE(WinogradKernels, winograd_kernels)

struct ConvKernels {
  void (*forward)(const ConvArgs&);
};
TERCEL_KERNEL_TABLE(ConvKernels, conv_kernels)

struct ConvGradKernels {
  void (*weight_grad)(const ConvWeightGradArgs&);
};
TERCEL_KERNEL_TABLE(ConvGradKernels, conv_grad_kernels)

}  // namespace tercel
