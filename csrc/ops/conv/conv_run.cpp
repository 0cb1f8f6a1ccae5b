#include "ops/conv/conv_run.h"

#include <algorithm>

#include "core/launch.h"
#include "core/parallel.h"
#include "ops/conv/conv_device.h"
#include "ops/copy/copy.h"
#include "ops/matmul/product.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

// Images are padded and computed in waves whose working set stays in cache.
constexpr int64_t kWaveBytes = 1 << 18;
constexpr int64_t kWaveBytesBigWeights = 8
                                         << 20;  // weights that stream from memory want many images
constexpr int64_t kChunkPixels = 1024;           // one chain of the weight gradient

DType compute_dtype(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }
int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
int64_t cost_ns(const ConvGeometry& g) { return g.flops() / 60; }

int64_t wave_images(int64_t images, int64_t image_bytes, int64_t weight_bytes) {
  const int64_t budget = weight_bytes > (1 << 19) ? kWaveBytesBigWeights : kWaveBytes;
  return std::clamp<int64_t>(budget / std::max<int64_t>(image_bytes, 1), 1, images);
}

// Fills everything that forward and input gradient share and launches. The source has groups * cin
// planes per image, the result groups * cout planes of y_size.
void launch_direct(ConvPlan& plan, ConvArgs& a, const Tensor& source, const Tensor& w,
                   const Tensor& bias, const Tensor& y, const int64_t* y_size, int64_t cost) {
  const DType compute = compute_dtype(source.dtype());
  const int64_t item = dtype_size(compute);
  a.dtype = source.dtype();
  a.w = w.data();
  a.bias = bias.defined() ? bias.data() : nullptr;
  a.y = y.data();
  a.y_channel = y_size[0] * y_size[1] * y_size[2];
  a.width = y_size[2];
  a.in_place = plan.copy_free && source.dtype() == compute;
  a.pad = plan.pad;
  a.pad.src = source.data();
  a.pad.dtype = source.dtype();
  a.pad.planes_in = a.images * a.groups * a.cin;
  a.pad.slack = kConvSlack + plan.row();
  for (int d = 0; d < 3; ++d) a.pad.residues[d] = plan.residues[d].data();
  a.row = plan.row();
  a.slab = plan.slab();
  a.src_channel = plan.channel();
  a.src_image = a.groups * a.cin * plan.channel();
  a.zero_first = !plan.covers_output || plan.phases.empty();

  int64_t packed_size = 0, largest_k = 0;
  std::vector<ConvPhase> phases;
  for (const auto& from : plan.phases) {
    ConvPhase p;
    p.taps = static_cast<int64_t>(from.tap.size());
    p.columns = from.columns;
    p.K = p.taps * a.cin;
    p.offset = from.offset.data();
    p.tap = from.tap.data();
    p.y_first = 0;
    for (int d = 0; d < 3; ++d) {
      p.grid[d] = from.grid[d];
      p.y_first = p.y_first * y_size[d] + from.first[d];
    }
    p.y_step[0] = from.step[0] * y_size[1] * y_size[2];
    p.y_step[1] = from.step[1] * y_size[2];
    p.y_step[2] = from.step[2];
    packed_size += a.groups * round_up(a.cout, kConvRows) * p.K;
    largest_k = std::max(largest_k, p.K);
    phases.push_back(p);
  }
  Tensor packed = empty({packed_size}, compute);
  char* next = static_cast<char*>(packed.data());
  for (ConvPhase& p : phases) {
    p.packed = next;
    next += a.groups * round_up(a.cout, kConvRows) * p.K * item;
  }
  a.phases = phases.data();
  a.num_phases = static_cast<int64_t>(phases.size());

  // loads of short rows pass the end of the source
  if (is_depthwise(a))
    for (const ConvPhase& p : phases)
      a.in_place = a.in_place && p.y_step[2] == 1 && p.grid[2] >= kConvRows;
  a.wave = a.images;
  Tensor padded;
  if (!a.in_place) {
    if (is_depthwise(a)) {
      a.src_channel = checked_add(a.src_channel, a.pad.slack, "convolution");
      a.src_image = checked_mul(a.groups, a.src_channel, "convolution");
    }
    a.wave = wave_images(a.images, a.src_image * item, a.cout * largest_k * item);
    padded = empty(
        {checked_add(checked_mul(a.wave, a.src_image, "convolution"), a.pad.slack, "convolution")},
        compute);
    a.pad.dst = padded.data();
  }
  launch(conv_kernels().forward, a, cost);
}

}  // namespace

ConvAlgorithm choose_algorithm(const ConvGeometry& g, DType dtype, ConvAlgorithm asked) {
  bool possible = dtype == DType::f32 && g.dims == 2 && g.groups == 1;
  for (int d = 1; d < 3; ++d)
    possible =
        possible && g.kernel[d] == 3 && g.stride[d] == 1 && g.dilation[d] == 1 && g.pad[d] <= 2;
  if (asked == ConvAlgorithm::winograd) {
    TERCEL_CHECK(possible, NotImplemented,
                 "convolution: algorithm 'winograd' is for float32 conv2d with a 3x3 kernel, ",
                 "stride 1, dilation 1, padding to 2 and one group; use 'auto' or 'direct'");
    return asked;
  }
  if (asked == ConvAlgorithm::direct || !possible) return ConvAlgorithm::direct;
  // Transforms cost about (cin + cout) per output against cin * cout saved, and weights are
  // transformed in each call: only large images repay both.
  const bool wide = std::min(g.cin, g.cout) >= 32 && g.cin * g.cout <= 96 * 96;
  const bool large = std::min(g.out[1], g.out[2]) >= 40;
  return wide && large ? ConvAlgorithm::winograd : ConvAlgorithm::direct;
}

namespace {

// 3x3, stride 1: forward, or (flip) the input gradient, which is the forward convolution of dy with
// the reversed kernel and padding 2 - pad.
void launch_winograd(const Tensor& source, const Tensor& w, const Tensor& bias, const Tensor& y,
                     const ConvGeometry& g, bool flip) {
  const int64_t taps = 9;
  WinogradArgs a{};
  a.w = w.data();
  a.bias = bias.defined() ? bias.data() : nullptr;
  a.y = y.data();
  a.images = g.images;
  a.cin = flip ? g.cout : g.cin;
  a.cout = flip ? g.cin : g.cout;
  a.w_out = flip ? taps : g.cin * taps;
  a.w_in = flip ? g.cin * taps : taps;
  a.flip = flip;
  for (int d = 0; d < 2; ++d) a.out[d] = flip ? g.in[d + 1] : g.out[d + 1];
  a.patches_y = (a.out[0] + 3) / 4;
  a.patches_x = (a.out[1] + 3) / 4;
  a.pitch = a.patches_x + 1;
  a.plane = (a.patches_y + 1) * a.pitch;
  int64_t residues[3][4];
  a.pad.src = source.data();
  a.pad.dtype = DType::f32;
  a.pad.planes_in = a.images * a.cin;
  for (int d = 0; d < 3; ++d) {
    const int64_t pad = d == 0 ? 0 : flip ? 2 - g.pad[d] : g.pad[d];
    for (int r = 0; r < 4; ++r) residues[d][r] = r - pad;
    a.pad.src_size[d] = flip ? g.out[d] : g.in[d];
    a.pad.stride[d] = d == 0 ? 1 : 4;
    a.pad.num_residues[d] = d == 0 ? 1 : 4;
    a.pad.residues[d] = residues[d];
    a.pad.size[d] = d == 0 ? 1 : d == 1 ? a.patches_y + 1 : a.pitch;
  }
  a.pad.slack = kConvSlack + 2 * a.pitch;
  const int64_t image = checked_mul(16 * a.cin, a.plane, "convolution");
  a.wave = std::clamp<int64_t>((4 << 20) / (4 * image), 1, a.images);
  const int64_t rows = round_up(a.cout, kConvRows);
  const int64_t v_pitch = kWinogradColumns + 16;
  std::vector<int64_t> offset;
  for (int64_t c = 0; c < a.cin; ++c) offset.push_back(c * v_pitch);
  a.offset = offset.data();
  const Tensor padded =
      empty({checked_add(checked_mul(a.wave, image, "convolution"), a.pad.slack, "convolution")},
            DType::f32);
  const Tensor packed = empty({36 * (rows * a.cin + kWinogradSkew)}, DType::f32);
  const Tensor scratch =
      empty({num_threads() * 36 * (a.cin * v_pitch + rows * kWinogradColumns + 2 * kWinogradSkew)},
            DType::f32);
  a.pad.dst = padded.data();
  a.packed = packed.data();
  a.scratch = scratch.data();
  launch(winograd_kernels().run, a, cost_ns(g) / 2);
}

// A 1x1 kernel without padding or stride is a matrix product per image and group, read and written
// in place.
bool is_pointwise(const ConvGeometry& g, ConvAlgorithm algorithm) {
  if (algorithm != ConvAlgorithm::automatic || g.cin == 0 || g.cout == 0) return false;
  for (int d = 0; d < 3; ++d)
    if (g.kernel[d] != 1 || g.stride[d] != 1 || g.in[d] != g.out[d] || g.pad[d] != 0) return false;
  return g.cin * g.cout > 1 && g.in_size() > 1;
}

ProductOptions plain_product() {
  ProductOptions options;
  options.true_float32 = true;
  return options;
}

// y[n, g] = W[g] x[n, g] + bias[g], or (flip) W[g]^T dy[n, g] + bias[g].
Tensor run_pointwise(const Tensor& source, const Tensor& w, const Tensor& bias,
                     const ConvGeometry& g, bool flip) {
  const int64_t in = flip ? g.cout : g.cin, out = flip ? g.cin : g.cout;
  Tensor weights = view(w, {g.groups, g.cout, g.cin});
  if (flip) weights = transpose(weights, 1, 2);
  ProductOptions options = plain_product();
  if (bias.defined()) {
    options.c = view(bias, {g.groups, out, 1});
    options.beta = 1.0;
  }
  const Tensor y =
      product("convolution", weights, view(source, {g.images, g.groups, in, g.in_size()}), options);
  return view(y, flip ? g.input_shape() : g.output_shape());
}

// A kernel as large as the image, as 1x1 on pooled features: the images are the rows of matrices.
bool covers_input(const ConvGeometry& g, ConvAlgorithm algorithm) {
  if (algorithm != ConvAlgorithm::automatic || g.groups != 1 || g.cin == 0 || g.cout == 0)
    return false;
  for (int d = 0; d < 3; ++d)
    if (g.kernel[d] != g.in[d] || g.out[d] != 1 || g.pad[d] != 0) return false;
  return true;
}

// x, w, y as matrices: y = x W^T + bias, or (flip) dy W + bias.
Tensor run_covering(const Tensor& source, const Tensor& w, const Tensor& bias,
                    const ConvGeometry& g, bool flip) {
  const Tensor matrix = view(w, {g.cout, g.cin * g.in_size()});
  ProductOptions options = plain_product();
  if (bias.defined()) {  // one value per channel
    options.c = flip ? reshape(expand(view(bias, {g.cin, 1}), {g.cin, g.in_size()}),
                               {1, g.cin * g.in_size()})
                     : view(bias, {1, g.cout});
    options.beta = 1.0;
  }
  const Tensor rows = view(source, {g.images, source.numel() / g.images});
  const Tensor y = product("convolution", rows, flip ? matrix : transpose(matrix, 0, 1), options);
  return view(y, flip ? g.input_shape() : g.output_shape());
}

}  // namespace

Tensor run_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g,
                   ConvAlgorithm asked) {
  if (!x.device().is_cpu()) return device_forward(x, w, bias, g);
  if (x.numel() > 0 && covers_input(g, asked)) return run_covering(x, w, bias, g, false);
  if (x.numel() > 0 && is_pointwise(g, asked)) return run_pointwise(x, w, bias, g, false);
  Tensor y = empty(g.output_shape(), x.dtype());
  const ConvAlgorithm algorithm = choose_algorithm(g, x.dtype(), asked);
  if (y.numel() == 0) return y;
  if (algorithm == ConvAlgorithm::winograd && g.cin > 0) {
    launch_winograd(x, w, bias, y, g, false);
    return y;
  }
  ConvPlan plan = plan_forward(g);
  ConvArgs a{};
  a.images = g.images;
  a.groups = g.groups;
  a.cin = g.cin;
  a.cout = g.cout;
  a.w_in = g.kernel_size();
  a.w_out = g.cin * a.w_in;
  a.w_group = g.cout * a.w_out;
  launch_direct(plan, a, x, w, bias, y, g.out, cost_ns(g));
  return y;
}

Tensor run_input_grad(const Tensor& dy, const Tensor& w, const Tensor& bias, const ConvGeometry& g,
                      ConvAlgorithm asked) {
  if (!dy.device().is_cpu()) return device_input_grad(dy, w, bias, g);
  if (dy.numel() > 0 && covers_input(g, asked)) return run_covering(dy, w, bias, g, true);
  if (dy.numel() > 0 && is_pointwise(g, asked)) return run_pointwise(dy, w, bias, g, true);
  Tensor dx = empty(g.input_shape(), dy.dtype());
  const ConvAlgorithm algorithm = choose_algorithm(g, dy.dtype(), asked);
  if (dx.numel() == 0) return dx;
  if (algorithm == ConvAlgorithm::winograd && g.cout > 0) {
    launch_winograd(dy, w, bias, dx, g, true);
    return dx;
  }
  ConvPlan plan = plan_input_grad(g);
  ConvArgs a{};
  a.images = g.images;
  a.groups = g.groups;
  a.cin = g.cout;  // the kernel's input channels are dy's
  a.cout = g.cin;
  a.w_out = g.kernel_size();
  a.w_in = g.cin * a.w_out;
  a.w_group = g.cout * a.w_in;
  launch_direct(plan, a, dy, w, bias, dx, g.in, cost_ns(g));
  return dx;
}

Tensor run_weight_grad(const Tensor& x, const Tensor& dy, const ConvGeometry& g) {
  if (!x.device().is_cpu()) return device_weight_grad(x, dy, g);
  if (x.numel() > 0 && covers_input(g, ConvAlgorithm::automatic)) {
    const Tensor rows = view(x, {g.images, g.cin * g.in_size()});
    const Tensor columns = transpose(view(dy, {g.images, g.cout}), 0, 1);
    return view(product("convolution", columns, rows, plain_product()), g.weight_shape());
  }
  Tensor dw = empty(g.weight_shape(), x.dtype());
  if (dw.numel() == 0) return dw;
  ConvPlan plan = plan_forward(g);
  const ConvPlan::Phase& phase = plan.phases[0];
  if (g.images == 0 || g.out_size() == 0 || phase.tap.empty())
    return zeros(g.weight_shape(), x.dtype());
  const DType compute = compute_dtype(x.dtype());
  const int64_t item = dtype_size(compute);
  const int64_t pixels = g.out_size();
  ConvWeightGradArgs a{};
  a.dtype = x.dtype();
  a.dy = dy.data();
  a.dw = dw.data();
  a.images = g.images;
  a.groups = g.groups;
  a.cin = g.cin;
  a.cout = g.cout;
  a.in_place = plan.copy_free && x.dtype() == compute;
  a.pad = plan.pad;
  a.pad.src = x.data();
  a.pad.dtype = x.dtype();
  a.pad.planes_in = g.images * g.groups * g.cin;
  a.pad.slack = kConvSlack + plan.row();
  for (int d = 0; d < 3; ++d) {
    a.pad.residues[d] = plan.residues[d].data();
    a.grid[d] = g.out[d];
  }
  a.row = plan.row();
  a.slab = plan.slab();
  a.src_channel = plan.channel();
  a.src_image = g.groups * g.cin * plan.channel();
  a.taps = static_cast<int64_t>(phase.tap.size());
  a.taps_all = g.kernel_size();
  a.K = a.taps * g.cin;
  a.offset = phase.offset.data();
  a.tap = phase.tap.data();

  const int64_t rows = g.out[0] * g.out[1];
  a.chunk_images = std::max<int64_t>(1, kChunkPixels / pixels);
  a.chunk_rows = pixels > kChunkPixels ? std::max<int64_t>(1, kChunkPixels / g.out[2]) : rows;
  const bool dot = g.cout <= kConvDotChannels;
  const int64_t lanes = g.groups * (dot ? g.cout : round_up(g.cout, kConvGradLanes));
  const int64_t image_bytes = (a.src_image + lanes * pixels) * item;
  const int64_t chunks =
      std::max<int64_t>(1, 2 * kWaveBytes / std::max<int64_t>(1, image_bytes * a.chunk_images));
  a.wave = std::min(g.images, checked_mul(chunks, a.chunk_images, "conv_weight_grad"));
  Tensor padded, packed = empty({checked_mul(a.wave * pixels, lanes, "conv_weight_grad")}, compute);
  Tensor sum = empty({lanes * a.K}, compute);
  a.dy_packed = packed.data();
  a.sum = sum.data();
  if (!a.in_place) {
    padded = empty({checked_add(a.wave * a.src_image, a.pad.slack, "conv_weight_grad")}, compute);
    a.pad.dst = padded.data();
  }
  launch(conv_grad_kernels().weight_grad, a, cost_ns(g));
  return dw;
}

}  // namespace tercel
