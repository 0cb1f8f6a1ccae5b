// Kernels of sum, nansum, prod, max, min, norms over any dims (any/all/count are max/min/sum of
// 0/1).
//
// The tree (reduce_kernels.h) has 16 lanes and 16 steps per group so that both access patterns run
// at memory speed with the same bits: a row adds 16 vectors per group, a column tile adds 16 rows
// that are 16 apart into the accumulator row of their lane. Work is split over outputs, or over
// blocks when there are few outputs. Accumulates in float32 (float64 for float64, int64 for
// integers).
#include "ops/reduce/reduce_trees.h"

namespace tercel {
namespace {

// Balanced tree over values in index order, fed one at a time (a binary counter of pending
// subtrees).
template <class A>
struct PairwiseStack {
  const Operation<A>& op;
  A pending[64];
  int depth = 0;
  int64_t count = 0;
  explicit PairwiseStack(const Operation<A>& operation) : op(operation) {}
  void push(A v) {
    for (int64_t c = count++; c & 1; c >>= 1) v = op.combine(pending[--depth], v);
    pending[depth++] = v;
  }
  A result() {
    if (depth == 0) return op.identity;
    A v = pending[--depth];
    while (depth > 0) v = op.combine(pending[--depth], v);
    return v;
  }
};

template <class A>
TERCEL_INLINE A finish(A v, const ReduceArgs& a) {
  if constexpr (!std::is_same_v<A, int64_t>) {
    if (a.post == ReducePost::divide) return v / static_cast<A>(a.g.n);
    if (a.post == ReducePost::sqrt) {
      if constexpr (std::is_same_v<A, float>)
        return __builtin_sqrtf(v);
      else
        return __builtin_sqrt(v);
    }
  }
  return v;
}

TERCEL_INLINE int64_t blocks_of(int64_t n) { return (n + kReduceBlock - 1) / kReduceBlock; }

// The block that begins at element `first` of the output at `base`.
template <class A>
TERCEL_INLINE A reduce_block(const Loader<A>& loader, const Operation<A>& op, int64_t base,
                             int64_t first, A* buf) {
  RunOf<A> runs[kMaxRuns];
  const int64_t n = min64(kReduceBlock, loader.g.n - first);
  return op.row_block(runs, loader.runs(base, first, n, buf, runs));
}

template <class A>
void reduce_rows(const ReduceArgs& a, const Loader<A>& loader, const Operation<A>& op) {
  const ReduceGeometry& g = a.g;
  const int64_t blocks = blocks_of(g.n);
  const StoreFn<A> store = store_fn<A>(a.out);
  const int64_t out_size = item_size(a.out);
  char* y = static_cast<char*>(a.y);
  if (blocks > 1 && g.outputs < kReduceFewOutputs) {
    A* partial = static_cast<A*>(a.workspace);
    parallel_for(g.outputs * blocks, grain_of(kReduceBlock), [&](int64_t begin, int64_t end) {
      alignas(64) A buf[kReduceBlock];
      for (int64_t t = begin; t < end; ++t) {
        const int64_t o = t / blocks;
        partial[t] = reduce_block(loader, op, loader.base(o), (t - o * blocks) * kReduceBlock, buf);
      }
    });
    for (int64_t o = 0; o < g.outputs; ++o) {
      PairwiseStack<A> stack(op);
      for (int64_t b = 0; b < blocks; ++b) stack.push(partial[o * blocks + b]);
      const A v = finish(stack.result(), a);
      store(y + o * out_size, &v, 1);
    }
    return;
  }
  parallel_for(g.outputs, grain_of(g.n), [&](int64_t begin, int64_t end) {
    alignas(64) A buf[kReduceBlock];
    alignas(64) A results[64];
    for (int64_t o = begin; o < end;) {
      const int64_t count = min64(64, end - o);
      for (int64_t k = 0; k < count; ++k) {
        const int64_t base = loader.base(o + k);
        A v;
        if (blocks == 1) {
          v = reduce_block(loader, op, base, 0, buf);
        } else {
          PairwiseStack<A> stack(op);
          for (int64_t first = 0; first < g.n; first += kReduceBlock) {
            stack.push(reduce_block(loader, op, base, first, buf));
          }
          v = stack.result();
        }
        results[k] = finish(v, a);
      }
      store(y + o * out_size, results, count);
      o += count;
    }
  });
}

// Results of one block of up to kReduceBlock rows for `width` <= kWidth columns, into
// acc[0..width).
template <class A>
struct ColumnTile {
  static constexpr int kWidth = static_cast<int>(32768 / (kLanes * sizeof(A)));
  alignas(64) A acc[kLanes * kWidth];
};

template <class A>
void column_block(const Loader<A>& loader, const Operation<A>& op, int64_t base, int64_t first,
                  int64_t rows, int64_t width, A* __restrict acc) {
  constexpr int kWidth = ColumnTile<A>::kWidth;
  alignas(64) A missing[kWidth];
  alignas(64) A converted[16 * 64];
  const int64_t lanes = min64(kLanes, rows);
  for (int64_t i = 0; i < lanes * kWidth; ++i) acc[i] = op.identity;
  for (int64_t c = 0; c < width; ++c) missing[c] = op.identity;
  // Other dtypes are converted 64 columns at a time so that the converted rows stay in L1.
  const int64_t strip = loader.direct ? width : 64;
  int64_t offsets[kGroup];
  for (int64_t r = 0; r < rows; r += kGroup) {
    const int64_t count = min64(kGroup, rows - r);
    const int steps = steps_of(count);
    loader.row_offsets(first + r, count, offsets);
    for (int64_t l = 0; l < min64(kLanes, count); ++l) {
      for (int64_t c = 0; c < width; c += strip) {
        const int64_t n = min64(strip, width - c);
        const A* row[16];
        for (int s = 0; s < steps; ++s) {
          const int64_t k = l + s * kLanes;
          if (k >= count) {
            row[s] = missing;
          } else if (loader.direct) {
            row[s] = reinterpret_cast<const A*>(loader.x) + base + offsets[k] + c;
          } else {
            loader.fn(loader.x + (base + offsets[k] + c) * loader.itemsize, 1, n,
                      converted + s * 64);
            row[s] = converted + s * 64;
          }
        }
        op.column_group(steps, acc + l * kWidth + c, row, n);
      }
    }
  }
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t l = 0; l < half && l + half < lanes; ++l) {
      A* __restrict lo = acc + l * kWidth;
      const A* __restrict hi = acc + (l + half) * kWidth;
      op.combine_arrays(lo, hi, width);
    }
  }
}

template <class A>
void reduce_columns(const ReduceArgs& a, const Loader<A>& loader, const Operation<A>& op) {
  constexpr int kWidth = ColumnTile<A>::kWidth;
  const ReduceGeometry& g = a.g;
  const int64_t inner = g.kept_size[g.kept - 1], outer = g.outputs / inner;
  const int64_t tiles = (inner + kWidth - 1) / kWidth, blocks = blocks_of(g.n);
  // Tiles of equal width (a multiple of 16) rather than a narrow last one.
  const int64_t width = ((inner + tiles - 1) / tiles + 15) / 16 * 16;
  const StoreFn<A> store = store_fn<A>(a.out);
  const int64_t out_size = item_size(a.out);
  char* y = static_cast<char*>(a.y);
  A* partial = static_cast<A*>(a.workspace);  // [blocks, outputs] when blocks > 1
  const int64_t per_task = min64(width, inner) * min64(g.n, kReduceBlock);
  parallel_for(outer * tiles * blocks, grain_of(per_task), [&](int64_t begin, int64_t end) {
    ColumnTile<A> tile_acc;
    A* acc = tile_acc.acc;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t tile = t % tiles, b = t / tiles % blocks, o = t / tiles / blocks;
      const int64_t c = tile * width, n = min64(width, inner - c);
      if (n <= 0) continue;
      const int64_t first = b * kReduceBlock;
      column_block(loader, op, loader.column_base(o) + c, first, min64(kReduceBlock, g.n - first),
                   n, acc);
      if (blocks == 1) {
        for (int64_t i = 0; i < n; ++i) acc[i] = finish(acc[i], a);
        store(y + (o * inner + c) * out_size, acc, n);
      } else {
        A* dst = partial + b * g.outputs + o * inner + c;
        for (int64_t i = 0; i < n; ++i) dst[i] = acc[i];
      }
    }
  });
  if (blocks == 1) return;
  parallel_for(g.outputs, grain_of(blocks) < 64 ? 64 : grain_of(blocks),
               [&](int64_t begin, int64_t end) {
                 for (int64_t step = 1; step < blocks; step *= 2) {
                   for (int64_t b = 0; b + step < blocks; b += 2 * step) {
                     A* lo = partial + b * g.outputs;
                     const A* hi = partial + (b + step) * g.outputs;
                     op.combine_arrays(lo + begin, hi + begin, end - begin);
                   }
                 }
                 for (int64_t i = begin; i < end; ++i) partial[i] = finish(partial[i], a);
                 store(y + begin * out_size, partial + begin, end - begin);
               });
}

template <class A>
void reduce_as(const ReduceArgs& a) {
  const Loader<A> loader(a.g, a.x, a.in, a.load == ReduceLoad::nonzero);
  const Operation<A>& op = operation<A>(a.op);
  loader.columns() ? reduce_columns(a, loader, op) : reduce_rows(a, loader, op);
}

void reduce(const ReduceArgs& a) {
  if (a.acc == DType::f32)
    reduce_as<float>(a);
  else if (a.acc == DType::f64)
    reduce_as<double>(a);
  else
    reduce_as<int64_t>(a);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const ReduceKernels reduce_kernels = {reduce};
}
}  // namespace tercel
