// CTC by the forward-backward algorithm in log space (Graves et al. 2006), in double.
//
// alpha_t(s) = emit_t(s) + logsum(alpha_{t-1}(s), alpha_{t-1}(s - 1), alpha_{t-1}(s - 2) +
// skip(s)): probability of all prefixes that are in state s at frame t. beta_t(s) = logsum over the
// successors of s of emit_{t+1} + beta_{t+1}: of all suffixes. d nll / d log_probs[t, c] = -sum
// over the states of label c of exp(alpha + beta + nll). Vectors run over the states; the samples
// are split among threads.
#include "ops/loss/ctc_kernels.h"

#include "core/parallel.h"
#include "simd/vmath.h"

namespace tercel::TERCEL_LEVEL {
namespace {

using namespace simd;
constexpr int64_t kLanes = 8;
constexpr double kNever = -INFINITY;

// log(e^a + e^b + e^c); -inf if all are
TERCEL_INLINE VecD logsum(VecD a, VecD b, VecD c) {
  const VecD largest = maximum(maximum(a, b), c);
  const VecD shift = select(largest == VecD(kNever), VecD(0.0), largest);
  return shift + log(exp(a - shift) + exp(b - shift) + exp(c - shift));
}
TERCEL_INLINE double logsum(double a, double b) {
  const double largest = a > b ? a : b;
  if (largest == kNever) return kNever;
  return largest + ::log(::exp(a - largest) + ::exp(b - largest));
}

// One sample: its rows in the arguments, its states in the workspace.
template <class T>
struct Sample {
  const CtcArgs& a;
  int64_t n, frames, states;
  const int64_t* target;
  double *skip, *emit, *beta, *next, *per_class;  // next: beta + emit of the following frame

  Sample(const CtcArgs& args, int64_t index)
      : a(args),
        n(index),
        frames(args.input_lengths[index]),
        states(2 * args.target_lengths[index] + 1),
        target(args.targets + args.target_offset[index]) {
    double* w = a.workspace + n * (4 * a.row + a.classes);
    skip = w + kCtcPad;
    emit = skip + a.row;
    beta = emit + a.row;
    next = beta + a.row;
    per_class = next + a.row - kCtcPad;
    for (int64_t i = 0; i < 4 * a.row; ++i) w[i] = kNever;
    // From s - 2 one may come only to a label that differs from the one before.
    for (int64_t s = 3; s < states; s += 2) {
      if (target[s / 2] != target[s / 2 - 1]) skip[s] = 0.0;
    }
  }
  int64_t label(int64_t s) const { return s % 2 ? target[s / 2] : a.blank; }
  const T* probs(int64_t t) const {
    return static_cast<const T*>(a.log_probs) + (t * a.samples + n) * a.classes;
  }
  double* alpha(int64_t t) const { return a.alpha + (n * a.frames + t) * a.row + kCtcPad; }

  void load_emissions(int64_t t) const {
    const T* row = probs(t);
    for (int64_t s = 0; s < states; ++s) emit[s] = static_cast<double>(row[label(s)]);
  }

  void forward() const {
    if (frames == 0) {
      a.nll[n] = states == 1 ? 0.0 : INFINITY;
      return;
    }
    for (int64_t t = 0; t < frames; ++t) {
      double* row = alpha(t);
      for (int64_t i = -kCtcPad; i < a.row - kCtcPad; ++i) row[i] = kNever;
      load_emissions(t);
      if (t == 0) {
        row[0] = emit[0];
        if (states > 1) row[1] = emit[1];
        continue;
      }
      const double* before = alpha(t - 1);
      for (int64_t s = 0; s < states; s += kLanes) {
        const VecD stay = VecD::load(before + s), step = VecD::load(before + s - 1);
        const VecD jump = VecD::load(before + s - 2) + VecD::load(skip + s);
        (logsum(stay, step, jump) + VecD::load(emit + s)).store(row + s);
      }
    }
    const double* last = alpha(frames - 1);
    a.nll[n] = -logsum(last[states - 1], states > 1 ? last[states - 2] : kNever);
  }

  void backward() const {
    const double nll = a.nll[n], g = a.g[n];
    const bool impossible = nll == INFINITY;
    for (int64_t t = a.frames - 1; t >= 0; --t) {
      T* dx = static_cast<T*>(a.dx) + (t * a.samples + n) * a.classes;
      if (t >= frames || impossible) {
        const T fill = static_cast<T>(t >= frames || a.zero_infinity ? 0.0 : NAN);
        for (int64_t c = 0; c < a.classes; ++c) dx[c] = fill;
        continue;
      }
      if (t == frames - 1) {
        beta[states - 1] = 0.0;
        if (states > 1) beta[states - 2] = 0.0;
      } else {
        for (int64_t s = 0; s < states; s += kLanes) {
          const VecD jump = VecD::load(next + s + 2) + VecD::load(skip + s + 2);
          logsum(VecD::load(next + s), VecD::load(next + s + 1), jump).store(beta + s);
        }
      }
      load_emissions(t);
      for (int64_t c = 0; c < a.classes; ++c) per_class[c] = 0.0;
      const double* prefix = alpha(t);
      for (int64_t s = 0; s < states; s += kLanes) {
        const VecD suffix = VecD::load(beta + s);
        (suffix + VecD::load(emit + s)).store(next + s);
        double share[kLanes];
        exp(VecD::load(prefix + s) + suffix + VecD(nll)).store(share);
        for (int64_t i = 0; i < kLanes && s + i < states; ++i) {
          per_class[label(s + i)] += share[i];
        }
      }
      for (int64_t s = states; s < states + kLanes; ++s) next[s] = kNever;
      for (int64_t c = 0; c < a.classes; ++c) dx[c] = static_cast<T>(-g * per_class[c]);
    }
  }
};

template <class T>
void run(const CtcArgs& a, bool forward) {
  parallel_for(a.samples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const Sample<T> sample(a, n);
      if (forward) {
        sample.forward();
      } else {
        sample.backward();
      }
    }
  });
}
void fwd(const CtcArgs& a) { a.dtype == DType::f32 ? run<float>(a, true) : run<double>(a, true); }
void bwd(const CtcArgs& a) { a.dtype == DType::f32 ? run<float>(a, false) : run<double>(a, false); }

}  // namespace

extern const CtcKernels ctc_kernels = {.fwd = fwd, .bwd = bwd};

}  // namespace tercel::TERCEL_LEVEL
