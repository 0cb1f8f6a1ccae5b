// Arg-extremes, variance and scans on the GPU: a block per output (arg-extremes, variance), a
// thread per row (scans, sequential in index order as on the CPU).
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "cuda/geometry.cuh"
#include "cuda/reduce.cuh"
#include "cuda/scan.cuh"
#include "ops/reduce/reduce_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

// Value and position; the earlier position wins among equals, NaN beats everything.
template <class M>
struct Best {
  M value;
  int64_t index;  // -1: none yet
};
template <class M>
TERCEL_DEVICE bool beats(const Best<M>& a, const Best<M>& b, bool largest) {  // a over b
  if (a.index < 0 || b.index < 0) return b.index < 0 && a.index >= 0;
  const bool an = a.value != a.value, bn = b.value != b.value;
  if (an || bn) return an && bn ? a.index < b.index : an;
  if (a.value == b.value) return a.index < b.index;
  return largest ? a.value > b.value : a.value < b.value;
}

template <class M>
__global__ void __launch_bounds__(kThreads) arg_reduce_kernel(ArgReduceArgs a, int item) {
  TERCEL_SHARED(M, values, kWarps);
  TERCEL_SHARED(int64_t, indices, kWarps);
  const int64_t o = blockIdx.x, base = place(o, a.g.kept, a.g.kept_size, a.g.kept_stride);
  const char* x = static_cast<const char*>(a.x);
  Best<M> best{M(0), -1};
  for (int64_t i = threadIdx.x; i < a.g.n; i += kThreads) {
    const int64_t at = base + place(i, a.g.reduced, a.g.red_size, a.g.red_stride);
    const Best<M> v{load_element<M>(x + at * item, a.in), i};
    if (beats(v, best, a.largest)) best = v;
  }
  TERCEL_UNROLL
  for (int d = 16; d > 0; d /= 2) {
    const Best<M> other{__shfl_xor_sync(kFullMask, best.value, d),
                        __shfl_xor_sync(kFullMask, best.index, d)};
    if (beats(other, best, a.largest)) best = other;
  }
  if (threadIdx.x % 32 == 0) {
    values[threadIdx.x / 32] = best.value;
    indices[threadIdx.x / 32] = best.index;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kWarps; ++w) {
    const Best<M> other{values[w], indices[w]};
    if (beats(other, best, a.largest)) best = other;
  }
  if (a.index) a.index[o] = best.index;
  if (a.value) store_element<M>(static_cast<char*>(a.value) + o * item, a.in, best.value);
}

void arg_reduce(const ArgReduceArgs& a) {
  const unsigned grid = static_cast<unsigned>(a.g.outputs);
  const int item = item_of(a.in);
  if (a.in <= DType::f8e5m2) {
    launch(arg_reduce_kernel<double>, grid, kThreads, 0, a, item);
  } else {
    launch(arg_reduce_kernel<int64_t>, grid, kThreads, 0, a, item);
  }
}

// Two passes in double.
__global__ void __launch_bounds__(kThreads) var_kernel(VarArgs a, int item) {
  TERCEL_SHARED(double, shared, 32);
  const int64_t o = blockIdx.x, base = place(o, a.g.kept, a.g.kept_size, a.g.kept_stride);
  const char* x = static_cast<const char*>(a.x);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < a.g.n; i += kThreads)
    sum += load_element<double>(
        x + (base + place(i, a.g.reduced, a.g.red_size, a.g.red_stride)) * item, a.in);
  const double n = static_cast<double>(a.g.n);
  const double mean = block_reduce(sum, Sum(), 0.0, shared) / n;
  double square = 0;
  for (int64_t i = threadIdx.x; i < a.g.n; i += kThreads) {
    const double d =
        load_element<double>(
            x + (base + place(i, a.g.reduced, a.g.red_size, a.g.red_stride)) * item, a.in) -
        mean;
    square += d * d;
  }
  square = block_reduce(square, Sum(), 0.0, shared);
  if (threadIdx.x != 0) return;
  const double freedom = n - a.correction;
  double var = square / (freedom > 0 ? freedom : 0.0);
  if (a.sqrt) var = ::sqrt(var);
  if (a.var) store_element<double>(static_cast<char*>(a.var) + o * item, a.out, var);
  if (a.mean) store_element<double>(static_cast<char*>(a.mean) + o * item, a.out, mean);
}
void var(const VarArgs& a) {
  launch(var_kernel, static_cast<unsigned>(a.g.outputs), kThreads, 0, a, item_of(a.in));
}

TERCEL_DEVICE double log_add(double a, double b) {
  if (a != a || b != b) return a != a ? a : b;
  const double top = a > b ? a : b, low = a > b ? b : a;
  return top == low && ::fabs(top) == __builtin_inf() ? top : top + ::log1p(::exp(low - top));
}

template <class M>
__global__ void __launch_bounds__(kThreads) scan_kernel(ScanArgs a, int in_item, int out_item) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t >= a.outer * a.inner) return;
  const int64_t base = t / a.inner * a.n * a.inner + t % a.inner;
  M y = a.op == ScanOp::prod ? M(1) : M(0);
  for (int64_t k = 0; k < a.n; ++k) {
    const int64_t at = base + (a.reverse ? a.n - 1 - k : k) * a.inner;
    const M x = load_element<M>(static_cast<const char*>(a.x) + at * in_item, a.in);
    switch (a.op) {
      case ScanOp::sum:
        if constexpr (IsReal<M>::value) {
          y += x;
        } else {
          y = static_cast<M>(static_cast<uint64_t>(y) + static_cast<uint64_t>(x));
        }
        break;
      case ScanOp::prod:
        if constexpr (IsReal<M>::value) {
          y *= x;
        } else {
          y = static_cast<M>(static_cast<uint64_t>(y) * static_cast<uint64_t>(x));
        }
        break;
      case ScanOp::logsumexp:
        if constexpr (IsReal<M>::value) y = k == 0 ? x : log_add(y, x);
        break;
      case ScanOp::linear: {
        const M f = load_element<M>(static_cast<const char*>(a.a) + at * in_item, a.in);
        y = k == 0 ? x : x + f * y;
        break;
      }
    }
    store_element<M>(static_cast<char*>(a.y) + at * out_item, a.out, y);
  }
}
// Cumulative sums of long contiguous rows: a block goes along a row in pieces of kScanPiece, each
// thread adding up kScanEach neighbours. In double (or modulo 2^64), so that the order of the
// additions hardly matters; it is fixed anyway.
constexpr int kScanThreads = 256, kScanEach = 4, kScanPiece = kScanThreads * kScanEach;

template <class M>
__global__ void __launch_bounds__(kScanThreads)
    sum_rows_kernel(ScanArgs a, int in_item, int out_item) {
  using S = std::conditional_t<IsReal<M>::value, M, uint64_t>;
  TERCEL_SHARED(S, shared, 32);
  const int64_t base = static_cast<int64_t>(blockIdx.x) * a.n;
  S before = 0;
  for (int64_t begin = 0; begin < a.n; begin += kScanPiece) {
    const int64_t first = begin + static_cast<int64_t>(threadIdx.x) * kScanEach;
    S x[kScanEach], own = 0, total;
    TERCEL_UNROLL
    for (int j = 0; j < kScanEach; ++j) {
      const int64_t k = first + j, at = base + (a.reverse ? a.n - 1 - k : k);
      x[j] =
          k < a.n
              ? static_cast<S>(load_element<M>(static_cast<const char*>(a.x) + at * in_item, a.in))
              : S(0);
      own += x[j];
    }
    // The sum of the threads before this one: of the one to the left, through the next barrier.
    const S through = block_inclusive_sum(own, &total, shared);
    S sum = __shfl_up_sync(kFullMask, through, 1);
    if (threadIdx.x % 32 == 31) shared[threadIdx.x / 32] = through;
    __syncthreads();
    if (threadIdx.x % 32 == 0) sum = threadIdx.x == 0 ? S(0) : shared[threadIdx.x / 32 - 1];
    __syncthreads();
    sum += before;
    TERCEL_UNROLL
    for (int j = 0; j < kScanEach; ++j) {
      const int64_t k = first + j, at = base + (a.reverse ? a.n - 1 - k : k);
      sum += x[j];
      if (k < a.n)
        store_element<M>(static_cast<char*>(a.y) + at * out_item, a.out, static_cast<M>(sum));
    }
    before += total;
  }
}

void scan(const ScanArgs& a) {
  if (a.op == ScanOp::sum && a.inner == 1 && a.n >= kScanPiece / 2) {
    const unsigned rows = static_cast<unsigned>(a.outer);
    if (a.out <= DType::f8e5m2 || a.in <= DType::f8e5m2) {
      launch(sum_rows_kernel<double>, rows, kScanThreads, 0, a, item_of(a.in), item_of(a.out));
    } else {
      launch(sum_rows_kernel<int64_t>, rows, kScanThreads, 0, a, item_of(a.in), item_of(a.out));
    }
    return;
  }
  const unsigned grid = static_cast<unsigned>((a.outer * a.inner + kThreads - 1) / kThreads);
  if (a.out <= DType::f8e5m2 || a.in <= DType::f8e5m2) {
    launch(scan_kernel<double>, grid, kThreads, 0, a, item_of(a.in), item_of(a.out));
  } else {
    launch(scan_kernel<int64_t>, grid, kThreads, 0, a, item_of(a.in), item_of(a.out));
  }
}

template <class M>
__global__ void __launch_bounds__(kThreads) cum_extreme_kernel(CumExtremeArgs a, int item) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t >= a.outer * a.inner) return;
  const int64_t base = t / a.inner * a.n * a.inner + t % a.inner;
  M best = 0;
  int64_t where = -1;
  for (int64_t k = 0; k < a.n; ++k) {
    const int64_t at = base + k * a.inner;
    const M x = load_element<M>(static_cast<const char*>(a.x) + at * item, a.in);
    const bool better = a.largest ? x >= best : x <= best;
    if (where < 0 || x != x || (best == best && better)) {
      best = x;
      where = k;
    }
    store_element<M>(static_cast<char*>(a.value) + at * item, a.in, best);
    a.index[at] = where;
  }
}
void cum_extreme(const CumExtremeArgs& a) {
  const unsigned grid = static_cast<unsigned>((a.outer * a.inner + kThreads - 1) / kThreads);
  if (a.in <= DType::f8e5m2) {
    launch(cum_extreme_kernel<double>, grid, kThreads, 0, a, item_of(a.in));
  } else {
    launch(cum_extreme_kernel<int64_t>, grid, kThreads, 0, a, item_of(a.in));
  }
}

}  // namespace

TERCEL_DEVICE_TABLE(ArgReduceKernels, arg_reduce_kernels) = {.arg_reduce = arg_reduce};
TERCEL_DEVICE_TABLE(VarKernels, var_kernels) = {.var = var};
TERCEL_DEVICE_TABLE(ScanKernels, scan_kernels) = {.scan = scan, .cum_extreme = cum_extreme};

}  // namespace tercel::cuda
