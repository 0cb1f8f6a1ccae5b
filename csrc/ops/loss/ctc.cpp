// ctc_loss: checks, launch, gradient.
#include <algorithm>
#include <cmath>

#include "core/autocast.h"
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/loss/ctc_kernels.h"
#include "ops/loss/loss.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// Everything but log_probs: checked on the host, then moved to where log_probs are.
struct CtcProblem {
  int64_t frames, samples, classes, longest = 0, blank;
  Device device;
  Tensor targets, target_offset, input_lengths, target_lengths;  // int64, contiguous
  int64_t row() const { return kCtcPad + (2 * longest + 8) / 8 * 8 + 2 * kCtcPad; }
};

Tensor host_indices(const Tensor& t, const char* what) {
  TERCEL_CHECK(is_int(t.dtype()), DType, "ctc_loss: ", what, " must be integers, got ",
               dtype_name(t.dtype()));
  return contiguous(to(to_device(detach(t), Device{}), DType::i64));
}

Tensor lengths_of(const Tensor& t, int64_t samples, const char* what) {
  const Tensor lengths = host_indices(t, what);
  TERCEL_CHECK(lengths.numel() == samples && lengths.dim() <= 1, Shape, "ctc_loss: ", what,
               " must have shape [", samples, "], got ", t.shape());
  return reshape(lengths, {samples});
}

CtcProblem check_ctc(const Tensor& x, const Tensor& targets, const Tensor& input_lengths,
                     const Tensor& target_lengths, int64_t blank) {
  CtcProblem p;
  p.frames = x.size(0), p.samples = x.size(1), p.classes = x.size(2), p.blank = blank;
  TERCEL_CHECK(blank >= 0 && blank < p.classes, Index, "ctc_loss: blank must be in [0, ", p.classes,
               "), got ", blank);
  p.input_lengths = lengths_of(input_lengths, p.samples, "input_lengths");
  p.target_lengths = lengths_of(target_lengths, p.samples, "target_lengths");
  p.targets = host_indices(targets, "targets");
  p.target_offset = empty({p.samples}, DType::i64);
  const bool padded = targets.dim() == 2;
  TERCEL_CHECK(padded ? targets.size(0) == p.samples : targets.dim() == 1, Shape,
               "ctc_loss: targets must have shape [", p.samples,
               ", S], or one dim with all targets in a row, got ", targets.shape());
  const int64_t* label = p.targets.data_as<int64_t>();
  int64_t* offset = p.target_offset.data_as<int64_t>();
  int64_t used = 0;
  for (int64_t n = 0; n < p.samples; ++n) {
    const int64_t frames = p.input_lengths.data_as<int64_t>()[n];
    const int64_t length = p.target_lengths.data_as<int64_t>()[n];
    TERCEL_CHECK(frames >= 0 && frames <= p.frames, Value,
                 "ctc_loss: input_lengths must be in [0, ", p.frames, "], got ", frames,
                 " at position ", n);
    offset[n] = padded ? n * targets.size(1) : used;
    const int64_t room = padded ? targets.size(1) : p.targets.numel() - used;
    TERCEL_CHECK(length >= 0 && length <= room, Value, "ctc_loss: target_lengths must be in [0, ",
                 room, "], got ", length, " at position ", n);
    for (int64_t i = 0; i < length; ++i) {
      const int64_t c = label[offset[n] + i];
      TERCEL_CHECK(c >= 0 && c < p.classes && c != blank, Index,
                   "ctc_loss: targets must be in [0, ", p.classes, ") and not blank (", blank,
                   "), got ", c, " in sample ", n);
    }
    used += length;
    p.longest = std::max(p.longest, length);
  }
  TERCEL_CHECK(padded || used == p.targets.numel(), Shape, "ctc_loss: targets hold ",
               p.targets.numel(), " labels, target_lengths add up to ", used);
  p.device = x.device();
  for (Tensor* t : {&p.targets, &p.target_offset, &p.input_lengths, &p.target_lengths}) {
    *t = to_device(*t, p.device);
  }
  return p;
}

CtcArgs kernel_args(const CtcProblem& p, const Tensor& x, const Tensor& alpha, const Tensor& nll,
                    const Tensor& workspace) {
  CtcArgs a{};
  const auto indices = [&p](const Tensor& t) {
    return static_cast<const int64_t*>(t.data(p.device));
  };
  const auto doubles = [&p](const Tensor& t) { return static_cast<double*>(t.data(p.device)); };
  a.log_probs = x.data(p.device);
  a.targets = indices(p.targets);
  a.target_offset = indices(p.target_offset);
  a.input_lengths = indices(p.input_lengths);
  a.target_lengths = indices(p.target_lengths);
  a.alpha = doubles(alpha);
  a.nll = doubles(nll);
  a.workspace = doubles(workspace);
  a.frames = p.frames, a.samples = p.samples, a.classes = p.classes, a.row = p.row();
  a.blank = p.blank;
  a.dtype = x.dtype();
  return a;
}
Tensor ctc_workspace(const CtcProblem& p) {
  return empty({p.samples, 4 * p.row() + p.classes}, DType::f64, p.device);
}
int64_t ctc_cost(const CtcProblem& p) { return p.samples * p.frames * (p.row() * 6 + p.classes); }

struct CtcNode final : Node {
  Saved x, alpha, nll;
  CtcProblem problem;
  bool zero_infinity;
  const char* name() const override { return "CtcLossBackward"; }
  TensorList backward(const TensorList& grads) override {
    TERCEL_CHECK(!grad_enabled(), NotImplemented,
                 "ctc_loss: no second derivative (create_graph=True) is provided");
    const Tensor input = contiguous(x.get(*this)), g = contiguous(to(grads[0], DType::f64));
    const Device dev = problem.device;
    const Tensor dx = empty(input.shape(), input.dtype(), dev), workspace = ctc_workspace(problem);
    CtcArgs a = kernel_args(problem, input, alpha.get(*this), nll.get(*this), workspace);
    a.g = static_cast<const double*>(g.data(dev));
    a.dx = dx.data(dev);
    a.zero_infinity = zero_infinity;
    launch(ctc_kernels(dev).bwd, a, ctc_cost(problem), dev);
    return {dx};
  }
  void release_saved() override {
    x.reset();
    alpha.reset();
    nll.reset();
  }
};

// -log of the probability of each sample's targets, [N] float64.
Tensor ctc_nll(const Tensor& x, const CtcProblem& p, bool zero_infinity) {
  const Tensor xc = contiguous(detach(x));
  const Tensor alpha = empty({p.samples, p.frames, p.row()}, DType::f64, p.device);
  const Tensor workspace = ctc_workspace(p);
  Tensor nll = empty({p.samples}, DType::f64, p.device);
  launch(ctc_kernels(p.device).fwd, kernel_args(p, xc, alpha, nll, workspace), ctc_cost(p),
         p.device);
  if (grad_needed(x)) {
    auto node = make_node<CtcNode>({&x});
    node->x.save(x);
    node->alpha.save(alpha);
    node->nll.save(detach(nll));
    node->problem = p;
    node->zero_infinity = zero_infinity;
    set_history(nll, node);
  }
  return nll;
}

}  // namespace

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, int64_t blank, Reduction reduction,
                bool zero_infinity) {
  if (!is_float(log_probs.dtype())) fail_dtype("ctc_loss", log_probs.dtype(), kFloatMask);
  if (autocast_widens(log_probs)) {
    return ctc_loss(autocast_wide(log_probs), targets, input_lengths, target_lengths, blank,
                    reduction, zero_infinity);
  }
  const DType dtype = log_probs.dtype();
  TERCEL_CHECK(log_probs.dim() == 2 || log_probs.dim() == 3, Shape,
               "ctc_loss: log_probs must have shape [T, N, C] or [T, C], got ", log_probs.shape());
  const bool batched = log_probs.dim() == 3;
  Tensor x = batched ? log_probs : unsqueeze(log_probs, 1);
  if (dtype != DType::f64) x = to(x, DType::f32);
  const Tensor labels = batched || targets.dim() != 1 ? targets : unsqueeze(targets, 0);
  const CtcProblem p = check_ctc(x, labels, input_lengths, target_lengths, blank);
  Tensor loss = ctc_nll(x, p, zero_infinity);
  if (zero_infinity) {
    loss = tercel::where(eq(loss, Scalar(INFINITY)), wrap_number(Scalar(0.0)), loss);
  }
  if (reduction == Reduction::mean) {
    loss = mean(div(loss, clamp_min(to(p.target_lengths, DType::f64), wrap_number(Scalar(1)))));
  } else if (reduction == Reduction::sum) {
    loss = sum(loss);
  } else if (!batched) {
    loss = reshape(loss, {});
  }
  return to(loss, dtype);
}

}  // namespace tercel
