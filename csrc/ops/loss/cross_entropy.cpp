// cross_entropy and nll_loss: checks, launches, gradients.
#include "core/launch.h"
#include "core/autocast.h"
#include "ops/copy/copy.h"
#include "ops/creation/creation.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/loss/loss.h"
#include "ops/reduce/reduce.h"
#include "ops/softmax/softmax.h"
#include "ops/softmax/softmax_kernels.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// x [N, C, d...] with class indices [N, d...], as the kernels see them.
struct Samples {
  int64_t outer = 1, classes, inner = 1;
  Tensor target;  // int64, contiguous
};

bool class_indices(const Tensor& target) { return is_int(target.dtype()); }

Samples check_samples(const Tensor& x, const Tensor& target, int64_t ignore_index, const char* op) {
  TERCEL_CHECK(x.dim() >= 1, Shape, op, ": input must have at least 1 dim, got a scalar");
  TERCEL_CHECK(class_indices(target), DType, op, ": class indices must be integers, got ",
               dtype_name(target.dtype()));
  Samples s;
  Shape expected;
  const int class_dim = x.dim() == 1 ? 0 : 1;
  for (int d = 0; d < x.dim(); ++d) {
    if (d == class_dim) continue;
    expected.push_back(x.size(d));
    (d < class_dim ? s.outer : s.inner) *= x.size(d);
  }
  TERCEL_CHECK(target.shape() == expected, Shape, op, ": target must have shape ", expected,
               " for an input of shape ", x.shape(), ", got ", target.shape());
  s.classes = x.size(class_dim);
  s.target = contiguous(to(target, DType::i64));
  if (s.target.device().is_cuda()) return s;  // the kernels check, nothing waits
  const int64_t* t = s.target.data_as<int64_t>();
  for (int64_t i = 0; i < s.target.numel(); ++i) {
    TERCEL_CHECK((t[i] >= 0 && t[i] < s.classes) || t[i] == ignore_index, Index, op, ": target ",
                 t[i], " at position ", i, " is not in [0, ", s.classes,
                 ") and is not ignore_index ", ignore_index);
  }
  return s;
}

void check_weight(const std::optional<Tensor>& weight, int64_t classes, const char* op) {
  if (!weight) return;
  TERCEL_CHECK(weight->shape() == Shape{classes}, Shape, op, ": weight must have shape [", classes,
               "], got ", weight->shape());
  TERCEL_CHECK(is_float(weight->dtype()), DType, op, ": weight must be a float tensor, got ",
               dtype_name(weight->dtype()));
}

template <class S>
double host_total(const Samples& s, const Tensor& weight, int64_t ignore_index) {
  const int64_t* t = s.target.data_as<int64_t>();
  const S* w = weight.defined() ? weight.data_as<S>() : nullptr;
  double total = 0;
  for (int64_t i = 0; i < s.target.numel(); ++i) {
    if (t[i] != ignore_index) total += w ? static_cast<double>(w[t[i]]) : 1.0;
  }
  return total;
}

// Sum of the weights of the samples that count: a number, or 0-d of dtype `acc` on the GPU.
Tensor total_weight(const Samples& s, const Tensor& weight, int64_t ignore_index, DType acc) {
  if (s.target.device().is_cpu()) {
    return wrap_number(Scalar(acc == DType::f64 ? host_total<double>(s, weight, ignore_index)
                                                : host_total<float>(s, weight, ignore_index)));
  }
  GradMode off(false);
  const Tensor counts = ne(s.target, Scalar(ignore_index));
  if (!weight.defined()) return sum(to(counts, acc));
  const Tensor safe = tercel::where(counts, s.target, zeros_like(s.target));
  return sum(mul(to(counts, acc),
                 reshape(index_select(weight, 0, reshape(safe, {-1})), s.target.shape())));
}

// [N, C, d...] -> 1 where c is the sample's class, with ignored samples 0.
Tensor indicator(const Tensor& target, int class_dim, const Shape& shape, DType dtype) {
  Shape classes = Shape::filled(shape.size(), 1);
  classes[class_dim] = shape[class_dim];
  const Tensor numbers = arange(0, shape[class_dim], 1, DType::i64, target.device());
  return to(eq(reshape(numbers, classes), unsqueeze(target, class_dim)), dtype);
}

struct CrossEntropyNode final : Node {
  Saved x, target, weight, lse;
  Samples samples;
  int64_t ignore_index;
  double smoothing;
  Tensor divisor;  // undefined: 1
  const char* name() const override { return "CrossEntropyBackward"; }

  TensorList backward(const TensorList& grads) override {
    const Tensor input = x.get(*this);
    if (grad_enabled()) return {composite(input, grads[0])};
    const Device dev = input.device();
    const DType acc = accumulate_dtype(input.dtype());
    const Tensor xc = contiguous(input), w = weight.defined() ? weight.get(*this) : Tensor();
    const Tensor scale = contiguous(per_sample(to(grads[0], acc)));
    Tensor dx = empty(xc.shape(), xc.dtype(), xc.device());
    const CrossEntropyBwdArgs args{xc.data(dev),
                                   target.get(*this).data_as<int64_t>(dev),
                                   w.defined() ? w.data(dev) : nullptr,
                                   lse.get(*this).data(dev),
                                   scale.data(dev),
                                   scale.numel() > 1,
                                   dx.data(dev),
                                   samples.outer,
                                   samples.classes,
                                   samples.inner,
                                   ignore_index,
                                   smoothing,
                                   xc.dtype()};
    if (dx.numel() > 0) launch(cross_entropy_kernels(dev).bwd, args, dx.numel() / 2, dev);
    return {dx};
  }

  Tensor per_sample(const Tensor& g) const { return divisor.defined() ? div(g, divisor) : g; }

  // scale ((1 - eps) w_t (p - 1_t) + eps / C (W p - w)) in public ops
  Tensor composite(const Tensor& input, const Tensor& g) {
    const int dim = input.dim() == 1 ? 0 : 1;
    const Tensor t = target.get(*this);
    const Tensor p = softmax(input, dim);
    const Tensor hit = indicator(t, dim, input.shape(), input.dtype());
    const Tensor used = unsqueeze(to(ne(t, Scalar(ignore_index)), input.dtype()), dim);
    Tensor dx;
    if (weight.defined()) {
      Shape along = Shape::filled(input.dim(), 1);
      along[dim] = samples.classes;
      const Tensor w = to(reshape(weight.get(*this), along), input.dtype());
      const Tensor w_t = sum(mul(hit, w), {dim}, true);
      dx = mul(mul(w_t, sub(p, hit)), 1 - smoothing);
      if (smoothing != 0) {
        dx = add(dx, mul(sub(mul(p, sum(w)), w), smoothing / static_cast<double>(samples.classes)));
      }
    } else {
      dx = mul(sub(p, hit), 1 - smoothing);
      if (smoothing != 0) {
        const double n = static_cast<double>(samples.classes);
        dx = add(dx, mul(sub(mul(p, n), 1.0), smoothing / n));
      }
    }
    const Tensor scale = per_sample(g);
    return mul(mul(dx, used), scale.dim() == 0 && input.dim() != 1 ? scale : unsqueeze(scale, dim));
  }
  void release_saved() override {
    x.reset();
    target.reset();
    weight.reset();
    lse.reset();
  }
};

Tensor with_probabilities(const Tensor& x, const Tensor& target,
                          const std::optional<Tensor>& weight, Reduction reduction,
                          double smoothing) {
  const int dim = x.dim() == 1 ? 0 : 1;
  TERCEL_CHECK(target.shape() == x.shape(), Shape,
               "cross_entropy: target probabilities must have the input's shape ", x.shape(),
               ", got ", target.shape());
  const int64_t classes = x.size(dim);
  Tensor t = target;
  if (smoothing != 0) t = add(mul(t, 1 - smoothing), smoothing / static_cast<double>(classes));
  Tensor terms = mul(log_softmax(x, dim), t);
  if (weight) {
    Shape along = Shape::filled(x.dim(), 1);
    along[dim] = classes;
    terms = mul(terms, reshape(*weight, along));
  }
  const Tensor loss = neg(sum(terms, {dim}));
  if (reduction == Reduction::none) return loss;
  const Tensor total = sum(loss);
  return reduction == Reduction::sum ? total : div(total, static_cast<double>(loss.numel()));
}

}  // namespace

Tensor cross_entropy(const Tensor& x, const Tensor& target, const std::optional<Tensor>& weight,
                     Reduction reduction, int64_t ignore_index, double smoothing) {
  if (autocast_widens(x, target))
    return cross_entropy(autocast_wide(x), autocast_wide(target), weight, reduction, ignore_index,
                         smoothing);
  const char* op = "cross_entropy";
  TERCEL_CHECK(smoothing >= 0 && smoothing <= 1, Value, op,
               ": label_smoothing must be in [0, 1], got ", smoothing);
  if (!is_float(x.dtype())) fail_dtype(op, x.dtype(), kFloatMask);
  TERCEL_CHECK(x.dim() >= 1, Shape, op, ": input must have at least 1 dim, got a scalar");
  check_weight(weight, x.dim() == 1 ? x.size(0) : x.size(1), op);
  if (is_float(target.dtype())) return with_probabilities(x, target, weight, reduction, smoothing);
  if (is_fp8(x.dtype())) {
    return to(cross_entropy(to(x, DType::f32), target, weight, reduction, ignore_index, smoothing),
              x.dtype());
  }
  Samples s = check_samples(x, target, ignore_index, op);
  const Device dev = x.device();
  const DType acc = accumulate_dtype(x.dtype());
  const Tensor xc = contiguous(detach(x));
  const Tensor w = weight ? contiguous(to(detach(*weight), acc)) : Tensor();
  const Tensor lse = empty({2, s.target.numel()}, acc, x.device());
  const Tensor loss = empty(s.target.shape(), acc, x.device());
  const CrossEntropyFwdArgs args{xc.data(dev),
                                 s.target.data_as<int64_t>(dev),
                                 w.defined() ? w.data(dev) : nullptr,
                                 lse.data(dev),
                                 loss.data(dev),
                                 s.outer,
                                 s.classes,
                                 s.inner,
                                 ignore_index,
                                 smoothing,
                                 x.dtype()};
  if (loss.numel() > 0 && s.classes > 0)
    launch(cross_entropy_kernels(dev).fwd, args, x.numel() / 2, dev);
  Tensor divisor;
  if (reduction == Reduction::mean) divisor = total_weight(s, w, ignore_index, acc);
  Tensor y;
  if (reduction == Reduction::none) {
    y = to(loss, x.dtype());
  } else {
    GradMode off(false);
    y = sum(loss);
    if (reduction == Reduction::mean) {
      y = div(y, divisor);
    }
    y = to(y, x.dtype());
  }
  if (grad_needed(x)) {
    auto node = make_node<CrossEntropyNode>({&x});
    node->ignore_index = ignore_index;
    node->smoothing = smoothing;
    node->divisor = divisor;
    node->x.save(x);
    node->target.save(s.target);
    if (w.defined()) node->weight.save(w);
    node->lse.save(lse);
    node->samples = s;
    set_history(y, node);
  }
  return y;
}

// Composite: the picked log-probabilities.
Tensor nll_loss(const Tensor& x, const Tensor& target, const std::optional<Tensor>& weight,
                Reduction reduction, int64_t ignore_index) {
  if (autocast_widens(x))
    return nll_loss(autocast_wide(x), target, weight, reduction, ignore_index);
  const char* op = "nll_loss";
  if (!is_float(x.dtype())) fail_dtype(op, x.dtype(), kFloatMask);
  const Samples s = check_samples(x, target, ignore_index, op);
  check_weight(weight, s.classes, op);
  const int dim = x.dim() == 1 ? 0 : 1;
  const Tensor ignored = eq(s.target, Scalar(ignore_index));
  const Tensor safe = tercel::where(ignored, zeros_like(s.target), s.target);
  Tensor loss = neg(squeeze(gather(x, dim, unsqueeze(safe, dim)), Dims{dim}));
  Tensor w = ones_like(detach(loss));
  if (weight) w = reshape(index_select(*weight, 0, reshape(safe, {-1})), loss.shape());
  w = tercel::where(ignored, zeros_like(w), w);
  loss = tercel::where(ignored, zeros_like(loss), mul(loss, w));
  if (reduction == Reduction::none) return loss;
  return reduction == Reduction::sum ? sum(loss) : div(sum(loss), sum(w));
}

}  // namespace tercel
