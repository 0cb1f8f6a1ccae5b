// CTC on the GPU (formulas in ctc_cpu.cpp): one block per sample, its threads share the states;
// frames follow each other with a barrier between. Everything in double, sums in a fixed order.
//
// d nll / d log_probs needs the sum over all states of one label. Before the frames, each label
// gets the position of the next equal one, so that the thread of its first occurrence walks that
// chain; the blanks, half of all states, are summed by the whole block.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/reduce.cuh"
#include "ops/loss/ctc_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 128;
#define TERCEL_NEVER (-__builtin_inf())  // log of 0

// log(e^a + e^b + e^c); -inf if all are
TERCEL_DEVICE double log_sum(double a, double b, double c) {
  const double larger = a > b ? a : b, largest = larger > c ? larger : c;
  if (largest == TERCEL_NEVER) return a + b + c;  // NaN stays
  return largest + ::log(::exp(a - largest) + ::exp(b - largest) + ::exp(c - largest));
}

template <class T>
struct CtcSample {
  const CtcArgs& a;
  int64_t n, frames, labels, states;
  const int64_t* target;

  TERCEL_DEVICE CtcSample(const CtcArgs& args, int64_t index)
      : a(args),
        n(index),
        frames(args.input_lengths[index]),
        labels(args.target_lengths[index]),
        states(2 * args.target_lengths[index] + 1),
        target(args.targets + args.target_offset[index]) {}

  // From s - 2 one may come only to a label that differs from the one before.
  TERCEL_DEVICE bool skips(int64_t s) const {
    return s % 2 && s >= 3 && target[s / 2] != target[s / 2 - 1];
  }
  TERCEL_DEVICE double emission(int64_t t, int64_t s) const {
    const T* row = static_cast<const T*>(a.log_probs) + (t * a.samples + n) * a.classes;
    return static_cast<double>(row[s % 2 ? target[s / 2] : a.blank]);
  }
  TERCEL_DEVICE double* alpha(int64_t t) const {
    return a.alpha + (n * a.frames + t) * a.row + kCtcPad;
  }
  TERCEL_DEVICE double* scratch(int k) const {  // four rows of a.row doubles
    return a.workspace + n * (4 * a.row + a.classes) + k * a.row;
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads, 4) ctc_forward(const __grid_constant__ CtcArgs args) {
  const CtcSample<T> p(args, blockIdx.x);
  if (p.frames == 0) {
    if (threadIdx.x == 0) args.nll[p.n] = p.states == 1 ? 0.0 : -TERCEL_NEVER;
    return;
  }
  for (int64_t t = 0; t < p.frames; ++t) {
    double* row = p.alpha(t);
    const double* before = row - args.row;
    for (int64_t s = threadIdx.x; s < p.states; s += kThreads) {
      double prefix = s < 2 ? 0.0 : TERCEL_NEVER;
      if (t > 0) {
        prefix = log_sum(before[s], s > 0 ? before[s - 1] : TERCEL_NEVER,
                         p.skips(s) ? before[s - 2] : TERCEL_NEVER);
      }
      row[s] = prefix + p.emission(t, s);
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    const double* last = p.alpha(p.frames - 1);
    args.nll[p.n] = -log_sum(last[p.states - 1], p.states > 1 ? last[p.states - 2] : TERCEL_NEVER,
                             TERCEL_NEVER);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 4) ctc_backward(const __grid_constant__ CtcArgs args) {
  TERCEL_SHARED(double, shared, 32);
  const CtcSample<T> p(args, blockIdx.x);
  const double nll = args.nll[p.n], g = args.g[p.n];
  const bool impossible = nll == -TERCEL_NEVER;
  const auto gradient = [&](int64_t t) {
    return static_cast<T*>(args.dx) + (t * args.samples + p.n) * args.classes;
  };
  for (int64_t t = 0; t < args.frames; ++t) {
    const bool undefined = t < p.frames && impossible && !args.zero_infinity;
    const T fill = static_cast<T>(undefined ? __builtin_nan("") : 0.0);
    for (int64_t c = threadIdx.x; c < args.classes; c += kThreads) gradient(t)[c] = fill;
  }
  if (impossible) return;
  double* share = p.scratch(2);
  int64_t* following = reinterpret_cast<int64_t*>(p.scratch(3));  // -1: none
  int64_t* repeats = following + p.labels;                        // not the first of its label
  for (int64_t i = threadIdx.x; i < p.labels; i += kThreads) {
    int64_t next = i + 1, earlier = 0;
    while (next < p.labels && p.target[next] != p.target[i]) ++next;
    while (p.target[earlier] != p.target[i]) ++earlier;
    following[i] = next < p.labels ? next : -1;
    repeats[i] = earlier < i;
  }
  __syncthreads();
  for (int64_t t = p.frames - 1; t >= 0; --t) {
    // beta + emission of frame t, and of the frame after it
    double* now = p.scratch(static_cast<int>(t % 2));
    const double* later = p.scratch(static_cast<int>(1 - t % 2));
    const double* prefix = p.alpha(t);
    double blanks = 0.0;
    for (int64_t s = threadIdx.x; s < p.states; s += kThreads) {
      double suffix = s + 2 >= p.states ? 0.0 : TERCEL_NEVER;
      if (t < p.frames - 1) {
        suffix = log_sum(later[s], s + 1 < p.states ? later[s + 1] : TERCEL_NEVER,
                         s + 2 < p.states && p.skips(s + 2) ? later[s + 2] : TERCEL_NEVER);
      }
      now[s] = suffix + p.emission(t, s);
      share[s] = ::exp(prefix[s] + suffix + nll);
      if (s % 2 == 0) blanks += share[s];
    }
    blanks = block_reduce(blanks, Sum(), 0.0, shared);  // its barriers: all of `share` is there
    if (threadIdx.x == 0) gradient(t)[args.blank] = static_cast<T>(-g * blanks);
    for (int64_t i = threadIdx.x; i < p.labels; i += kThreads) {
      if (repeats[i]) continue;
      double sum = 0.0;
      for (int64_t k = i; k >= 0; k = following[k]) sum += share[2 * k + 1];
      gradient(t)[p.target[i]] = static_cast<T>(-g * sum);
    }
    __syncthreads();  // `share` has been read
  }
}

void fwd(const CtcArgs& a) {
  if (a.samples == 0) return;
  launch(a.dtype == DType::f32 ? ctc_forward<float> : ctc_forward<double>,
         static_cast<unsigned>(a.samples), kThreads, 0, a);
}
void bwd(const CtcArgs& a) {
  if (a.samples == 0) return;
  launch(a.dtype == DType::f32 ? ctc_backward<float> : ctc_backward<double>,
         static_cast<unsigned>(a.samples), kThreads, 0, a);
}

}  // namespace

TERCEL_DEVICE_TABLE(CtcKernels, ctc_kernels) = {.fwd = fwd, .bwd = bwd};

}  // namespace tercel::cuda
