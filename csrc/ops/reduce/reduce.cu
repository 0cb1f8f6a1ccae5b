// Reductions on the GPU: y[o] = post(op over n of load(x)). Work is split by the shape of one
// output only, partial results are combined in a fixed order, nothing is atomic: the same bits in
// every run.
//
// Few elements per output: a warp each. Many: a block for each chunk of an output, then one more
// pass over the chunks' results. Outputs side by side in memory (columns): a thread each, eight
// rows at a time.
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/elements.cuh"
#include "cuda/geometry.cuh"
#include "cuda/reduce.cuh"
#include "ops/reduce/reduce_kernels.h"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kWarpLimit = 1024;  // elements of an output that one warp reduces
constexpr int64_t kMaxChunks = 2048;  // of an output

template <class M>
TERCEL_DEVICE M identity_of(ReduceOp op) {
  constexpr bool real = IsReal<M>::value;
  switch (op) {
    case ReduceOp::prod:
      return M(1);
    case ReduceOp::max:
      if constexpr (real) return static_cast<M>(-__builtin_inf());
      return static_cast<M>(INT64_MIN);
    case ReduceOp::min:
    case ReduceOp::abs_min:
      if constexpr (real) return static_cast<M>(__builtin_inf());
      return static_cast<M>(INT64_MAX);
    default:
      return M(0);
  }
}

template <class M>
TERCEL_DEVICE M absolute(M x) {
  return x < M(0) ? -x : x == M(0) ? M(0) : x;
}

template <class M>
TERCEL_DEVICE M element_of(ReduceOp op, ReduceLoad load, M x) {
  if (load == ReduceLoad::nonzero) return M(x != M(0));
  switch (op) {
    case ReduceOp::nansum:
      return x != x ? M(0) : x;
    case ReduceOp::abs_sum:
    case ReduceOp::abs_max:
    case ReduceOp::abs_min:
      return absolute(x);
    case ReduceOp::square_sum:
      return x * x;
    default:
      return x;
  }
}

template <class M>
TERCEL_DEVICE M combine(ReduceOp op, M a, M b) {
  switch (op) {
    case ReduceOp::prod:
      if constexpr (IsReal<M>::value) return a * b;
      return static_cast<M>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    case ReduceOp::max:
    case ReduceOp::abs_max:
      return a != a ? a : b != b ? b : a > b ? a : b;
    case ReduceOp::min:
    case ReduceOp::abs_min:
      return a != a ? a : b != b ? b : a < b ? a : b;
    default:
      if constexpr (IsReal<M>::value) return a + b;
      return static_cast<M>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
}
template <class M>
struct Combine {
  ReduceOp op;
  TERCEL_DEVICE M operator()(M a, M b) const { return combine<M>(op, a, b); }
};

// How a kernel reads: any dtype, or one known at compile time.
template <class M>
struct AnyLoad {
  TERCEL_DEVICE static M at(const ReduceArgs& a, int item, int64_t offset) {
    M x;
    if constexpr (!IsReal<M>::value) {
      if (a.load == ReduceLoad::nonzero && a.in <= DType::f8e5m2) {
        return M(load_element<double>(static_cast<const char*>(a.x) + offset * item, a.in) != 0.0);
      }
    }
    x = load_element<M>(static_cast<const char*>(a.x) + offset * item, a.in);
    return element_of<M>(a.op, a.load, x);
  }
};
template <class T, class M>
struct PlainLoad {
  TERCEL_DEVICE static M at(const ReduceArgs& a, int, int64_t offset) {
    return static_cast<M>(to_float(static_cast<const T*>(a.x)[offset]));
  }
};

template <class M>
TERCEL_DEVICE void finish(const ReduceArgs& a, int64_t output, int out_item, M x) {
  if constexpr (IsReal<M>::value) {
    if (a.post == ReducePost::divide) x = x / static_cast<M>(a.g.n);
    if (a.post == ReducePost::sqrt) x = static_cast<M>(::sqrt(static_cast<double>(x)));
  }
  store_element<M>(static_cast<char*>(a.y) + output * out_item, a.out, x);
}

struct Split {
  int64_t chunk, chunks;  // elements per chunk, chunks per output
  int in_item, out_item;
};

// One warp per output, n <= kWarpLimit.
template <class L, class M>
__global__ void __launch_bounds__(kThreads) reduce_warps(ReduceArgs a, Split s) {
  const int lane = threadIdx.x % 32;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kThreads / 32);
  const Combine<M> f{a.op};
  for (int64_t o = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
       o < a.g.outputs; o += warps) {
    const int64_t base = place(o, a.g.kept, a.g.kept_size, a.g.kept_stride);
    M x = identity_of<M>(a.op);
    for (int64_t i = lane; i < a.g.n; i += 32)
      x = f(x, L::at(a, s.in_item, base + place(i, a.g.reduced, a.g.red_size, a.g.red_stride)));
    x = warp_reduce(x, f);
    if (lane == 0) finish<M>(a, o, s.out_item, x);
  }
}

// One block per chunk of an output; blocks of an output are neighbours.
template <class L, class M>
__global__ void __launch_bounds__(kThreads, 4) reduce_chunks(ReduceArgs a, Split s) {
  TERCEL_SHARED(M, shared, 32);
  const int64_t o = blockIdx.x / s.chunks, c = blockIdx.x % s.chunks;
  const int64_t base = place(o, a.g.kept, a.g.kept_size, a.g.kept_stride);
  const int64_t begin = c * s.chunk;
  const int64_t end = begin + s.chunk < a.g.n ? begin + s.chunk : a.g.n;
  const Combine<M> f{a.op};
  M x[4];
  TERCEL_UNROLL
  for (int j = 0; j < 4; ++j) x[j] = identity_of<M>(a.op);
  int64_t i = begin + threadIdx.x;
  if (a.g.reduced <= 1) {
    const int64_t stride = a.g.reduced ? a.g.red_stride[0] : 0;
    for (; i + 3 * kThreads < end; i += 4 * kThreads) {
      TERCEL_UNROLL
      for (int j = 0; j < 4; ++j)
        x[j] = f(x[j], L::at(a, s.in_item, base + (i + j * kThreads) * stride));
    }
  }
  for (; i < end; i += kThreads)
    x[0] = f(x[0], L::at(a, s.in_item, base + place(i, a.g.reduced, a.g.red_size, a.g.red_stride)));
  const M total = block_reduce(f(f(x[0], x[1]), f(x[2], x[3])), f, identity_of<M>(a.op), shared);
  if (threadIdx.x != 0) return;
  if (s.chunks == 1) {
    finish<M>(a, o, s.out_item, total);
  } else {
    static_cast<M*>(a.workspace)[blockIdx.x] = total;
  }
}

// The chunks' results of each output, one block each. columns: they lie `outputs` apart.
template <class M>
__global__ void __launch_bounds__(kThreads) reduce_partials(ReduceArgs a, Split s, bool columns) {
  TERCEL_SHARED(M, shared, 32);
  const int64_t o = blockIdx.x;
  const M* partial = static_cast<const M*>(a.workspace);
  const Combine<M> f{a.op};
  M x = identity_of<M>(a.op);
  for (int64_t c = threadIdx.x; c < s.chunks; c += kThreads)
    x = f(x, partial[columns ? c * a.g.outputs + o : o * s.chunks + c]);
  x = block_reduce(x, f, identity_of<M>(a.op), shared);
  if (threadIdx.x == 0) finish<M>(a, o, s.out_item, x);
}

// 32 neighbouring outputs and 8 rows at a time; blockIdx.x: columns, blockIdx.y: chunk of rows.
template <class L, class M>
__global__ void __launch_bounds__(kThreads) reduce_columns(ReduceArgs a, Split s) {
  TERCEL_SHARED_2D(M, shared, 8, 33);
  const int lane = threadIdx.x % 32, row = threadIdx.x / 32;
  const int64_t o = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  const int64_t begin = blockIdx.y * s.chunk;
  const int64_t end = begin + s.chunk < a.g.n ? begin + s.chunk : a.g.n;
  const Combine<M> f{a.op};
  M x = identity_of<M>(a.op);
  if (o < a.g.outputs) {
    const int64_t base = place(o, a.g.kept, a.g.kept_size, a.g.kept_stride);
    for (int64_t i = begin + row; i < end; i += 8)
      x = f(x, L::at(a, s.in_item, base + place(i, a.g.reduced, a.g.red_size, a.g.red_stride)));
  }
  shared[row][lane] = x;
  __syncthreads();
  if (row != 0 || o >= a.g.outputs) return;
  TERCEL_UNROLL
  for (int r = 1; r < 8; ++r) x = f(x, shared[r][lane]);
  if (s.chunks == 1) {
    finish<M>(a, o, s.out_item, x);
  } else {
    static_cast<M*>(a.workspace)[blockIdx.y * a.g.outputs + o] = x;
  }
}

template <class L, class M>
void run(const ReduceArgs& a) {
  Split s{a.g.n, 1, item_of(a.in), item_of(a.out)};
  // The workspace holds a partial result for every kReduceBlock elements.
  if (a.g.n > kReduceBlock && a.workspace) {
    s.chunk = kReduceBlock;
    while ((a.g.n + s.chunk - 1) / s.chunk > kMaxChunks) s.chunk *= 2;
    s.chunks = (a.g.n + s.chunk - 1) / s.chunk;
  }
  const bool columns = a.g.kept > 0 && a.g.kept_stride[a.g.kept - 1] == 1 &&
                       a.g.kept_size[a.g.kept - 1] >= 8 && a.g.n > 1 &&
                       !(a.g.reduced > 0 && a.g.red_stride[a.g.reduced - 1] == 1);
  if (columns) {
    const dim3 grid(static_cast<unsigned>((a.g.outputs + 31) / 32),
                    static_cast<unsigned>(s.chunks));
    launch(reduce_columns<L, M>, grid, kThreads, 0, a, s);
  } else if (a.g.n <= kWarpLimit) {
    launch(reduce_warps<L, M>, grid_for(a.g.outputs * 32, kThreads), kThreads, 0, a, s);
    return;
  } else {
    launch(reduce_chunks<L, M>, static_cast<unsigned>(a.g.outputs * s.chunks), kThreads, 0, a, s);
  }
  if (s.chunks > 1)
    launch(reduce_partials<M>, static_cast<unsigned>(a.g.outputs), kThreads, 0, a, s, columns);
}

void reduce(const ReduceArgs& a) {
  const bool plain = a.op == ReduceOp::sum && a.load == ReduceLoad::value;
  if (plain && a.acc == DType::f32) {
    if (a.in == DType::f32) return run<PlainLoad<float, float>, float>(a);
    if (a.in == DType::bf16) return run<PlainLoad<bf16, float>, float>(a);
    if (a.in == DType::f16) return run<PlainLoad<f16, float>, float>(a);
  }
  if (a.acc == DType::f32) return run<AnyLoad<float>, float>(a);
  if (a.acc == DType::f64) return run<AnyLoad<double>, double>(a);
  run<AnyLoad<int64_t>, int64_t>(a);
}

}  // namespace

TERCEL_DEVICE_TABLE(ReduceKernels, reduce_kernels) = {.reduce = reduce};

}  // namespace tercel::cuda
