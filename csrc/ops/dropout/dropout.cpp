// Dropout family: one implementation, parametrised by what a number decides about and what it does.
#include "ops/dropout/dropout.h"

#include <cmath>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/dropout/dropout_kernels.h"

namespace tercel {

namespace {

Tensor dense(const Tensor& t) {
  if (t.is_contiguous()) return t;
  GradMode off(false);
  return contiguous(t);
}

struct Effect {
  double scale, shift, dropped;
};

Tensor masked_scale(const Tensor& x, const Tensor& mask, int64_t inner, double scale);

// The gradient of dropout and of its gradient: the same mask and scale.
struct DropoutNode final : Node {
  Tensor mask;
  int64_t inner = 1;
  double scale = 1;
  const char* name() const override { return "DropoutBackward"; }
  void release_saved() override { mask.reset(); }
  std::vector<std::pair<const char*, Tensor>> saved_tensors() const override {
    return {{"mask", mask}};
  }
  TensorList backward(const TensorList& g) override {
    return {masked_scale(g[0], mask, inner, scale)};
  }
};

Tensor masked_scale(const Tensor& x, const Tensor& mask, int64_t inner, double scale) {
  const Device dev = x.device();
  const Tensor xd = dense(x);
  Tensor y = empty(x.shape(), x.dtype(), dev);
  launch(dropout_kernels(dev).apply,
         MaskApplyArgs{xd.data(dev), y.data(dev), mask.data_as<uint16_t>(dev), x.numel(), inner,
                       scale, 0.0, 0.0, x.dtype()},
         x.numel() / 2, dev);
  if (grad_needed(x)) {
    auto node = make_node<DropoutNode>({&x});
    node->mask = mask;
    node->inner = inner;
    node->scale = scale;
    set_history(y, node);
  }
  return y;
}

// `inner`: consecutive elements of the dense x that share a decision.
Tensor dropout_impl(const char* op, const Tensor& x, double p, bool training, bool inplace,
                    int64_t inner, const Effect& effect) {
  if (!(dtype_bit(x.dtype()) & kWideFloatMask)) fail_dtype(op, x.dtype(), kWideFloatMask);
  if (inplace && training) check_inplace(x, op);
  if (!training || p == 0.0 || x.numel() == 0) return x;
  const int64_t n = x.numel(), decisions = n / inner;
  const bool record = grad_needed(x);
  const Device dev = x.device();
  const PhiloxKey key =
      default_generator()->take(static_cast<uint64_t>(dropout_groups(decisions)) * 16, dev);
  const double scaled = std::floor(p * 0x1p32 + 0.5);
  const uint32_t threshold = scaled >= 0x1p32 ? 0xffffffffu : static_cast<uint32_t>(scaled);

  const Tensor xd = dense(x);
  Tensor y = inplace && x.is_contiguous() ? x : empty(x.shape(), x.dtype(), dev);
  Tensor mask;
  if (record || inner > 1) mask = empty({dropout_mask_bytes(decisions)}, DType::u8, dev);
  uint16_t* bits = mask.defined() ? mask.data_as<uint16_t>(dev) : nullptr;
  DropoutArgs args{xd.data(dev), y.data(dev),  bits,           n,        key, threshold,
                   effect.scale, effect.shift, effect.dropped, x.dtype()};
  if (inner > 1) {
    args.x = args.y = nullptr;
    args.n = decisions;
    launch(dropout_kernels(dev).dropout, args, decisions, dev);
    launch(dropout_kernels(dev).apply,
           MaskApplyArgs{xd.data(dev), y.data(dev), bits, n, inner, effect.scale, effect.shift,
                         effect.dropped, x.dtype()},
           n / 2, dev);
  } else {
    launch(dropout_kernels(dev).dropout, args, n, dev);
  }
  Ref<DropoutNode> node;
  if (record) {
    node = make_node<DropoutNode>({&x});
    node->mask = mask;
    node->inner = inner;
    node->scale = effect.scale;
  }
  if (inplace) {
    if (!y.is_same(x)) strided_copy(x, y);
    finish_inplace(x, node, op);
    return x;
  }
  if (record) set_history(y, node);
  return y;
}

void check_p(const char* op, double p) {
  TERCEL_CHECK(p >= 0.0 && p <= 1.0, Value, op, ": p must be between 0 and 1, got ", p);
}
Effect plain(double p) { return {p == 1.0 ? 0.0 : 1.0 / (1.0 - p), 0.0, 0.0}; }
Effect alpha(double p) {
  if (p == 1.0) return {0.0, 0.0, 0.0};
  constexpr double kSaturation = -1.7580993408473766;  // -scale * alpha of SELU
  const double a = 1.0 / std::sqrt((1.0 - p) * (1.0 + p * kSaturation * kSaturation));
  const double shift = -a * kSaturation * p;
  return {a, shift, a * kSaturation + shift};
}
// Elements of a channel of [B, C, ...], `lead` dims before the spatial ones.
int64_t channel_size(const char* op, const Tensor& x, int lead) {
  TERCEL_CHECK(x.dim() >= lead && x.dim() >= 1, Shape, op, ": input must have at least ", lead,
               " dims, got shape ", x.shape());
  int64_t n = 1;
  for (int i = lead; i < x.dim(); ++i) n *= x.size(i);
  return n;
}
Tensor by_layer(const char* op, const Tensor& x, double p, bool training, bool inplace, int batched,
                int unbatched) {
  check_p(op, p);
  TERCEL_CHECK(x.dim() == batched || x.dim() == unbatched, Shape, op, ": input must have ",
               unbatched, " or ", batched, " dims, got shape ", x.shape());
  // dropout2d takes 3 dims as [B, C, L], as PyTorch does; the others as one sample without batch
  // dim.
  const int lead = x.dim() == batched || batched == 4 ? 2 : 1;
  return dropout_impl(op, x, p, training, inplace, channel_size(op, x, lead), plain(p));
}

}  // namespace

Tensor dropout(const Tensor& x, double p, bool training, bool inplace) {
  check_p("dropout", p);
  return dropout_impl("dropout", x, p, training, inplace, 1, plain(p));
}

Tensor alpha_dropout(const Tensor& x, double p, bool training, bool inplace) {
  check_p("alpha_dropout", p);
  return dropout_impl("alpha_dropout", x, p, training, inplace, 1, alpha(p));
}

Tensor feature_dropout(const Tensor& x, double p, bool training, bool inplace) {
  check_p("feature_dropout", p);
  return dropout_impl("feature_dropout", x, p, training, inplace,
                      channel_size("feature_dropout", x, 2), plain(p));
}

Tensor feature_alpha_dropout(const Tensor& x, double p, bool training, bool inplace) {
  const char* op = "feature_alpha_dropout";
  check_p(op, p);
  return dropout_impl(op, x, p, training, inplace, channel_size(op, x, 2), alpha(p));
}

Tensor dropout1d(const Tensor& x, double p, bool training, bool inplace) {
  return by_layer("dropout1d", x, p, training, inplace, 3, 2);
}
Tensor dropout2d(const Tensor& x, double p, bool training, bool inplace) {
  return by_layer("dropout2d", x, p, training, inplace, 4, 3);
}
Tensor dropout3d(const Tensor& x, double p, bool training, bool inplace) {
  return by_layer("dropout3d", x, p, training, inplace, 5, 4);
}

}  // namespace tercel
