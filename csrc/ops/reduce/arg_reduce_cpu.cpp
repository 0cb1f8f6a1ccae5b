// Kernels of argmax, argmin and max/min with indices.
//
// Rows: the extreme of a block of 4096 is found with vector compares; only if it beats the best so
// far is the block searched for its first occurrence (about log(blocks) times on random data).
// Columns: the best value and its row are kept per column. NaN beats everything; ties go to the
// first index.
#include <math.h>

#include "ops/reduce/reduce_iter.h"

namespace tercel {
namespace {

// keeps(best, v): v does not beat best; false if either is NaN.
struct Largest {
  template <class V>
  static TERCEL_INLINE V pick(V a, V b) {
    return maximum(a, b);
  }
  template <class V>
  static TERCEL_INLINE auto keeps(V best, V v) {
    return v <= best;
  }
};
struct Smallest {
  template <class V>
  static TERCEL_INLINE V pick(V a, V b) {
    return minimum(a, b);
  }
  template <class V>
  static TERCEL_INLINE auto keeps(V best, V v) {
    return best <= v;
  }
};

// v replaces best: it is beyond it or NaN, and best is not NaN.
template <class Order, class A>
TERCEL_INLINE bool replaces(A best, A v) {
  const bool keeps = std::is_same_v<Order, Largest> ? v <= best : best <= v;
  return !keeps && best == best;
}

template <class Order, class A>
TERCEL_INLINE A block_extreme(const A* x, int64_t n) {
  using V = VecOf<A>;
  A best = x[0];
  int64_t i = 0;
  if (n >= 4 * V::size) {
    V m0 = V::load(x), m1 = V::load(x + V::size), m2 = V::load(x + 2 * V::size),
      m3 = V::load(x + 3 * V::size);
    for (i = 4 * V::size; i + 4 * V::size <= n; i += 4 * V::size) {
      m0 = Order::pick(m0, V::load(x + i));
      m1 = Order::pick(m1, V::load(x + i + V::size));
      m2 = Order::pick(m2, V::load(x + i + 2 * V::size));
      m3 = Order::pick(m3, V::load(x + i + 3 * V::size));
    }
    alignas(64) A lane[V::size];
    Order::pick(Order::pick(m0, m1), Order::pick(m2, m3)).store(lane);
    best = lane[0];
    for (int l = 1; l < V::size; ++l) {
      if (replaces<Order>(best, lane[l])) best = lane[l];
    }
  }
  for (; i < n; ++i) {
    if (replaces<Order>(best, x[i])) best = x[i];
  }
  return best;
}

// First position of v (any NaN if v is NaN), which is present.
template <class A>
TERCEL_INLINE int64_t find(const A* x, int64_t n, A v) {
  int64_t i = 0;
  if constexpr (!std::is_same_v<A, int64_t>) {
    using V = VecOf<A>;
    for (; i + V::size <= n; i += V::size) {
      const V w = V::load(x + i);
      const auto hit = v == v ? w == V(v) : w != w;
      if (any(hit)) break;
    }
  }
  for (; i < n; ++i) {
    if (v == v ? x[i] == v : x[i] != x[i]) return i;
  }
  return 0;
}

template <class A>
struct Best {
  A value;
  int64_t index;
};

template <class Order, class A>
TERCEL_INLINE void scan_block(const Loader<A>& loader, int64_t base, int64_t first, A* buf,
                              Best<A>* best) {
  const int64_t n = min64(kReduceBlock, loader.g.n - first);
  const A* x = loader.load(base, first, n, buf);
  const A v = block_extreme<Order>(x, n);
  if (best->index < 0 || replaces<Order>(best->value, v)) *best = {v, first + find(x, n, v)};
}

template <class Order, class A>
void arg_rows(const ArgReduceArgs& a, const Loader<A>& loader) {
  const ReduceGeometry& g = a.g;
  const int64_t blocks = (g.n + kReduceBlock - 1) / kReduceBlock;
  const StoreFn<A> store = store_fn<A>(a.in);
  const int64_t size = item_size(a.in);
  const auto write = [&](int64_t o, const Best<A>& best) {
    if (a.value) store(static_cast<char*>(a.value) + o * size, &best.value, 1);
    if (a.index) a.index[o] = best.index;
  };
  if (blocks > 1 && g.outputs < kReduceFewOutputs) {
    Best<A>* partial = static_cast<Best<A>*>(a.workspace);
    parallel_for(g.outputs * blocks, grain_of(kReduceBlock), [&](int64_t begin, int64_t end) {
      alignas(64) A buf[kReduceBlock];
      for (int64_t t = begin; t < end; ++t) {
        partial[t].index = -1;
        scan_block<Order>(loader, loader.base(t / blocks), t % blocks * kReduceBlock, buf,
                          &partial[t]);
      }
    });
    for (int64_t o = 0; o < g.outputs; ++o) {
      Best<A> best = partial[o * blocks];
      for (int64_t b = 1; b < blocks; ++b) {
        if (replaces<Order>(best.value, partial[o * blocks + b].value))
          best = partial[o * blocks + b];
      }
      write(o, best);
    }
    return;
  }
  parallel_for(g.outputs, grain_of(g.n), [&](int64_t begin, int64_t end) {
    alignas(64) A buf[kReduceBlock];
    for (int64_t o = begin; o < end; ++o) {
      const int64_t base = loader.base(o);
      Best<A> best{A(0), -1};
      for (int64_t first = 0; first < g.n; first += kReduceBlock) {
        scan_block<Order>(loader, base, first, buf, &best);
      }
      write(o, best);
    }
  });
}

template <class A>
struct index_of {
  using V = Int;
  using S = int64_t;
};
template <>
struct index_of<float> {
  using V = simd::VecI;
  using S = int32_t;
};
template <>
struct index_of<double> {
  using V = simd::VecL;
  using S = int64_t;
};

template <class Order, class A>
void arg_columns(const ArgReduceArgs& a, const Loader<A>& loader) {
  using V = VecOf<A>;
  using I = typename index_of<A>::V;
  using S = typename index_of<A>::S;
  constexpr int64_t kWidth = 512;
  constexpr int64_t kRows = int64_t{1} << 30;  // row numbers within a segment fit int32
  const ReduceGeometry& g = a.g;
  const int64_t inner = g.kept_size[g.kept - 1], outer = g.outputs / inner;
  const int64_t width = min64(kWidth, inner), tiles = (inner + width - 1) / width;
  const StoreFn<A> store = store_fn<A>(a.in);
  parallel_for(outer * tiles, grain_of(width * g.n), [&](int64_t begin, int64_t end) {
    alignas(64) A best[kWidth];
    alignas(64) A converted[kWidth];
    alignas(64) S where[kWidth];
    alignas(64) int64_t index[kWidth];
    for (int64_t t = begin; t < end; ++t) {
      const int64_t o = t / tiles, c0 = t % tiles * width, w = min64(width, inner - c0);
      const int64_t padded = (w + V::size - 1) / V::size * V::size;  // arrays are; x is not
      const int64_t base = loader.column_base(o) + c0;
      for (int64_t r0 = 0; r0 < g.n; r0 += kRows) {
        const int64_t rows = min64(kRows, g.n - r0);
        for (int64_t i = 0; i < padded; ++i) where[i] = -1;
        for (int64_t r = 0; r < rows; ++r) {
          int64_t offset = 0;
          if (g.reduced == 1)
            offset = (r0 + r) * g.red_stride[0];
          else
            loader.row_offsets(r0 + r, 1, &offset);
          const A* x = reinterpret_cast<const A*>(loader.x) + base + offset;
          if (!loader.direct) {
            loader.fn(loader.x + (base + offset) * loader.itemsize, 1, w, converted);
            x = converted;
          }
          if (r0 + r == 0) {
            for (int64_t i = 0; i < padded; ++i) {
              best[i] = i < w ? x[i] : A(0);
              where[i] = 0;
            }
            continue;
          }
          const I row(static_cast<S>(r));
          const auto update = [&](int64_t i, V v) TERCEL_LAMBDA_INLINE {
            const V b = V::load(best + i);
            const auto taken = (!Order::keeps(b, v)) & (b == b);
            select(taken, v, b).store(best + i);
            select(taken, row, I::load(where + i)).store(where + i);
          };
          int64_t i = 0;
          for (; i + V::size <= w; i += V::size) update(i, V::load(x + i));
          if (i < w) update(i, V::load_n(x + i, w - i));
        }
        for (int64_t i = 0; i < w; ++i) {
          if (where[i] >= 0) index[i] = r0 + where[i];
        }
      }
      const int64_t out = o * inner + c0;
      if (a.value) store(static_cast<char*>(a.value) + out * item_size(a.in), best, w);
      if (a.index) {
        for (int64_t i = 0; i < w; ++i) a.index[out + i] = index[i];
      }
    }
  });
}

template <class A>
void arg_acc(const ArgReduceArgs& a) {
  const Loader<A> loader(a.g, a.x, a.in, false);
  if (loader.columns()) {
    if (a.largest)
      arg_columns<Largest>(a, loader);
    else
      arg_columns<Smallest>(a, loader);
  } else {
    if (a.largest)
      arg_rows<Largest>(a, loader);
    else
      arg_rows<Smallest>(a, loader);
  }
}

void arg_reduce(const ArgReduceArgs& a) {
  if (a.in == DType::f64)
    arg_acc<double>(a);
  else if (a.in <= DType::f8e5m2)
    arg_acc<float>(a);
  else
    arg_acc<int64_t>(a);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const ArgReduceKernels arg_reduce_kernels = {arg_reduce};
}
}  // namespace tercel
