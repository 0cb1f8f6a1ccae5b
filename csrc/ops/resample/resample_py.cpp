#include <variant>

#include "ops/resample/resample.h"
#include "python/bind.h"

namespace tercel {

void bind_resample(Binder& b) {
  b.function(
      "interpolate",
      [](const Tensor& x, const std::optional<Dims>& size,
         const std::optional<std::variant<double, std::vector<double>>>& scale_factor,
         const std::string& mode, std::optional<bool> align_corners,
         std::optional<bool> recompute_scale_factor, bool antialias) {
        std::vector<double> factor;
        if (scale_factor) {
          if (const double* one = std::get_if<double>(&*scale_factor))
            factor = {*one};
          else
            factor = std::get<std::vector<double>>(*scale_factor);
        }
        return interpolate(x, size, factor, mode, align_corners.value_or(false),
                           recompute_scale_factor.value_or(false), antialias);
      },
      py::arg("input"), py::arg("size") = py::none(), py::arg("scale_factor") = py::none(),
      py::arg("mode") = "nearest", py::arg("align_corners") = py::none(),
      py::arg("recompute_scale_factor") = py::none(), py::arg("antialias") = false,
      "Resizes the spatial dimensions of [N, C, ...] to size, or by scale_factor.\n\n"
      "mode: 'nearest', 'nearest-exact', 'area', 'linear' (3-D input), 'bilinear' or 'bicubic' "
      "(4-D),\n"
      "'trilinear' (5-D). align_corners puts the corner pixels of input and output on each other.\n"
      "antialias (bilinear, bicubic): shrinking averages over the source area of a pixel (the "
      "filter\n"
      "widens with the scale, cubic a = -0.5), as image libraries do.\n"
      "dtypes float64, float32, float16, bfloat16. Raises ShapeError, DTypeError, ValueError.\n\n"
      "Keys, Cubic Convolution Interpolation for Digital Image Processing (1981), a = -0.75.");
  b.function(
      "pixel_shuffle", &pixel_shuffle, py::arg("input"), py::arg("upscale_factor"),
      "Channels to space: [*, C*r*r, H, W] -> [*, C, H*r, W*r]. Any dtype. Raises ShapeError.\n\n"
      "Shi et al., Real-Time Super-Resolution with an Efficient Sub-Pixel CNN (2016).");
  b.function(
      "pixel_unshuffle", &pixel_unshuffle, py::arg("input"), py::arg("downscale_factor"),
      "Space to channels, the inverse of pixel_shuffle: [*, C, H*r, W*r] -> [*, C*r*r, H, W].");
  b.function("channel_shuffle", &channel_shuffle, py::arg("input"), py::arg("groups"),
             "Reorders channels [N, g*C, ...] so that channel (i, j) of g x C goes to (j, i).\n\n"
             "Zhang et al., ShuffleNet (2018).");
  b.function("unfold", &im2col, py::arg("input"), py::arg("kernel_size"),
             py::arg("dilation") = Dims{1}, py::arg("padding") = Dims{0},
             py::arg("stride") = Dims{1},
             "Patches of an image as columns: [N, C, H, W] -> [N, C*kh*kw, L] (or without N).\n"
             "Raises ShapeError, ValueError.");
  b.function("fold", &col2im, py::arg("input"), py::arg("output_size"), py::arg("kernel_size"),
             py::arg("dilation") = Dims{1}, py::arg("padding") = Dims{0},
             py::arg("stride") = Dims{1},
             "Sum of overlapping patches: [N, C*kh*kw, L] -> [N, C, H, W], the adjoint of unfold.\n"
             "Raises ShapeError, ValueError.");
}

}  // namespace tercel
