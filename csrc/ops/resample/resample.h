// Interpolation, pixel shuffling, and unfolding of images into columns of patches.
//
// interpolate: input [N, C, in...] with one to three spatial dimensions, float64, float32, float16,
// bfloat16 (16-bit formats compute in float32). Output coordinate o reads source coordinate
//   align_corners: o (in - 1) / (out - 1)       otherwise: (o + 1/2) scale - 1/2, scale = in / out
// Gradients are the exact adjoints, differentiable any number of times.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/autograd.h"

namespace tercel {

// Modes nearest, nearest-exact, linear, bilinear, bicubic, trilinear, area. Exactly one of size and
// scale_factor. The given factor is the scale of the coordinates unless recompute_scale_factor.
// antialias (bilinear, bicubic): when shrinking, the filter is stretched by the scale.
Tensor interpolate(const Tensor& input, const std::optional<Dims>& size,
                   const std::vector<double>& scale_factor, const std::string& mode = "nearest",
                   bool align_corners = false, bool recompute_scale_factor = false,
                   bool antialias = false);

// [*, C r r, H, W] <-> [*, C, H r, W r]
Tensor pixel_shuffle(const Tensor& input, int64_t upscale_factor);
Tensor pixel_unshuffle(const Tensor& input, int64_t downscale_factor);
// [N, g C, ...]: channel (i, j) of g x C moves to (j, i)
Tensor channel_shuffle(const Tensor& input, int64_t groups);

// Patches as columns: [N, C, H, W] (or [C, H, W]) -> [N, C kh kw, L], and the sum of overlapping
// patches back.
Tensor im2col(const Tensor& input, const Dims& kernel_size, const Dims& dilation = {1},
              const Dims& padding = {0}, const Dims& stride = {1});
Tensor col2im(const Tensor& input, const Dims& output_size, const Dims& kernel_size,
              const Dims& dilation = {1}, const Dims& padding = {0}, const Dims& stride = {1});

}  // namespace tercel
