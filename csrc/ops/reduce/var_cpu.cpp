// Kernel of variance, standard deviation and their mean.
//
// Blocks of kVarBlock elements, each read twice while in the cache: mean m from a first sum, then
// sums of d = x - m and d^2; M2 = sum d^2 - (sum d)^2 / n corrects the rounding of m. Blocks are
// combined in index order in float64: delta = mean_b - mean, M2 += M2_b + delta^2 n n_b / (n + n_b)
// (Chan, Golub, LeVeque 1979). A block of columns is a tile of kColumnBlock rows.
#include "ops/reduce/reduce_iter.h"

namespace tercel {
namespace {

struct Moments {
  double mean = 0, m2 = 0;
};

TERCEL_INLINE void combine(double n, double n_b, double mean_b, double m2_b, double* mean,
                           double* m2) {
  const double total = n + n_b, delta = mean_b - *mean;
  *mean = *mean + delta * (n_b / total);
  *m2 = *m2 + m2_b + delta * delta * (n * n_b / total);
}

template <class V, class A>
TERCEL_INLINE V load_or_zero(const A* x, int64_t i, int64_t n) {
  return i + V::size <= n ? V::load(x + i) : V::load_n(x + i, n - i);
}

template <class A>
Moments block_moments(const A* x, int64_t n) {
  using V = simd::Vec<A>;
  constexpr int64_t kStep = V::size;
  V s0(0), s1(0), s2(0), s3(0);
  int64_t i = 0;
  for (; i + 4 * kStep <= n; i += 4 * kStep) {
    s0 = s0 + V::load(x + i);
    s1 = s1 + V::load(x + i + kStep);
    s2 = s2 + V::load(x + i + 2 * kStep);
    s3 = s3 + V::load(x + i + 3 * kStep);
  }
  for (; i < n; i += kStep) s0 = s0 + load_or_zero<V>(x, i, n);
  const A m = sum((s0 + s1) + (s2 + s3)) / static_cast<A>(n);
  const V mean(m);
  V d0(0), d1(0), q0(0), q1(0);
  for (i = 0; i + 2 * kStep <= n; i += 2 * kStep) {
    const V a = V::load(x + i) - mean, b = V::load(x + i + kStep) - mean;
    d0 = d0 + a;
    q0 = fma(a, a, q0);
    d1 = d1 + b;
    q1 = fma(b, b, q1);
  }
  double rest_d = 0, rest_q = 0;
  for (; i < n; ++i) {
    const double d = static_cast<double>(x[i] - m);
    rest_d += d;
    rest_q += d * d;
  }
  const double count = static_cast<double>(n);
  const double d = static_cast<double>(sum(d0 + d1)) + rest_d,
               q = static_cast<double>(sum(q0 + q1)) + rest_q;
  const double m2 = q - d * d / count;
  return {static_cast<double>(m) + d / count, m2 < 0 ? 0 : m2};
}

template <class A>
struct Writer {
  const VarArgs& a;
  double divisor;
  StoreFn<double> store = store_fn<double>(a.out);
  int64_t size = item_size(a.out);
  explicit Writer(const VarArgs& args) : a(args) {
    const double d = static_cast<double>(args.g.n) - args.correction;
    divisor = d > 0 ? d : 0;
  }
  TERCEL_INLINE void operator()(int64_t o, const Moments& m) const {
    if (a.var) {
      const double v = m.m2 / divisor;
      const double r = a.sqrt ? __builtin_sqrt(v) : v;
      store(static_cast<char*>(a.var) + o * size, &r, 1);
    }
    if (a.mean) store(static_cast<char*>(a.mean) + o * size, &m.mean, 1);
  }
};

template <class A>
void var_rows(const VarArgs& a, const Loader<A>& loader) {
  const ReduceGeometry& g = a.g;
  const Writer<A> write(a);
  const int64_t blocks = (g.n + kVarBlock - 1) / kVarBlock;
  const auto merge = [&](const Moments& b, int64_t index, Moments* total) {
    const double before = static_cast<double>(index * kVarBlock);
    const double n = static_cast<double>(min64(kVarBlock, g.n - index * kVarBlock));
    combine(before, n, b.mean, b.m2, &total->mean, &total->m2);
  };
  if (blocks > 1 && g.outputs < kReduceFewOutputs) {
    Moments* partial = static_cast<Moments*>(a.workspace);
    parallel_for(g.outputs * blocks, grain_of(kVarBlock), [&](int64_t begin, int64_t end) {
      alignas(64) A buf[kVarBlock];
      for (int64_t t = begin; t < end; ++t) {
        const int64_t first = t % blocks * kVarBlock, n = min64(kVarBlock, g.n - first);
        partial[t] = block_moments(loader.load(loader.base(t / blocks), first, n, buf), n);
      }
    });
    for (int64_t o = 0; o < g.outputs; ++o) {
      Moments total = partial[o * blocks];
      for (int64_t b = 1; b < blocks; ++b) merge(partial[o * blocks + b], b, &total);
      write(o, total);
    }
    return;
  }
  parallel_for(g.outputs, grain_of(g.n), [&](int64_t begin, int64_t end) {
    alignas(64) A buf[kVarBlock];
    for (int64_t o = begin; o < end; ++o) {
      const int64_t base = loader.base(o);
      Moments total;
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t first = b * kVarBlock, n = min64(kVarBlock, g.n - first);
        const Moments m = block_moments(loader.load(base, first, n, buf), n);
        if (b == 0)
          total = m;
        else
          merge(m, b, &total);
      }
      write(o, total);
    }
  });
}

// Rows are taken 16 at a time, so that the chain of sums over a block is 64 long.
constexpr int64_t kVarWidth = 256;
constexpr int64_t kVarRows = 16;
constexpr int64_t kColumnBlock =
    32;  // rows per block: more would not stay in the cache at a stride of 2^k

// f(column, x, rows) for each vector of columns, where x(r) is its value in row r.
template <class A, class F>
TERCEL_INLINE void add_rows(const A* const* row, int64_t rows, int64_t width, F f) {
  using V = simd::Vec<A>;
  for (int64_t c = 0; c < width; c += V::size) {
    const int64_t lanes = min64(V::size, width - c);
    f(
        c,
        [&](int64_t r) TERCEL_LAMBDA_INLINE {
          return lanes == V::size ? V::load(row[r] + c) : V::load_n(row[r] + c, lanes);
        },
        rows);
  }
}

template <class A>
void var_columns(const VarArgs& a, const Loader<A>& loader) {
  using V = simd::Vec<A>;
  const ReduceGeometry& g = a.g;
  const Writer<A> write(a);
  const int64_t inner = g.kept_size[g.kept - 1], outer = g.outputs / inner;
  const int64_t width = min64(kVarWidth, inner), tiles = (inner + width - 1) / width;
  parallel_for(outer * tiles, grain_of(width * g.n), [&](int64_t begin, int64_t end) {
    alignas(64) A converted[kVarRows * kVarWidth];
    alignas(64) A s[kVarWidth], m[kVarWidth], d[kVarWidth], q[kVarWidth];
    alignas(64) double mean_so_far[kVarWidth], m2_so_far[kVarWidth];
    int64_t offsets[kVarRows];
    for (int64_t t = begin; t < end; ++t) {
      const int64_t o = t / tiles, c0 = t % tiles * width, w = min64(width, inner - c0);
      const int64_t base = loader.column_base(o) + c0;
      for (int64_t c = 0; c < kVarWidth; ++c) mean_so_far[c] = m2_so_far[c] = 0;
      for (int64_t b0 = 0; b0 < g.n; b0 += kColumnBlock) {
        const int64_t n = min64(kColumnBlock, g.n - b0);
        const auto pass = [&](auto f) TERCEL_LAMBDA_INLINE {
          for (int64_t r0 = 0; r0 < n; r0 += kVarRows) {
            const int64_t rows = min64(kVarRows, n - r0);
            loader.row_offsets(b0 + r0, rows, offsets);
            const A* row[kVarRows];
            for (int64_t r = 0; r < rows; ++r) {
              row[r] = reinterpret_cast<const A*>(loader.x) + base + offsets[r];
              if (!loader.direct) {
                A* dst = converted + r * kVarWidth;
                loader.fn(loader.x + (base + offsets[r]) * loader.itemsize, 1, w, dst);
                row[r] = dst;
              }
            }
            add_rows<A>(row, rows, w, f);
          }
        };
        for (int64_t c = 0; c < kVarWidth; ++c) s[c] = d[c] = q[c] = 0;
        pass([&](int64_t c, auto x, int64_t rows) TERCEL_LAMBDA_INLINE {
          V even = x(0), odd(0);
          for (int64_t r = 1; r < rows; r += 2) {
            odd = odd + x(r);
            if (r + 1 < rows) even = even + x(r + 1);
          }
          (V::load(s + c) + (even + odd)).store(s + c);
        });
        const A count = static_cast<A>(n);
        for (int64_t c = 0; c < kVarWidth; ++c) m[c] = s[c] / count;
        pass([&](int64_t c, auto x, int64_t rows) TERCEL_LAMBDA_INLINE {
          const V mean = V::load(m + c);
          V sd(0), sq(0);
          for (int64_t r = 0; r < rows; ++r) {
            const V v = x(r) - mean;
            sd = sd + v;
            sq = fma(v, v, sq);
          }
          (V::load(d + c) + sd).store(d + c);
          (V::load(q + c) + sq).store(q + c);
        });
        const double n_b = static_cast<double>(n), before = static_cast<double>(b0);
        const double total = before + n_b, part = n_b / total, factor = before * part;
        for (int64_t c = 0; c < w; ++c) {
          const double dc = static_cast<double>(d[c]);
          const double m2 = static_cast<double>(q[c]) - dc * dc / n_b;
          const double delta = static_cast<double>(m[c]) + dc / n_b - mean_so_far[c];
          mean_so_far[c] += delta * part;
          m2_so_far[c] += (m2 < 0 ? 0 : m2) + delta * delta * factor;
        }
      }
      for (int64_t c = 0; c < w; ++c) write(o * inner + c0 + c, {mean_so_far[c], m2_so_far[c]});
    }
  });
}

template <class A>
void var_acc(const VarArgs& a) {
  const Loader<A> loader(a.g, a.x, a.in, false);
  if (a.g.n == 0) {
    const Writer<A> write(a);
    const double nan = __builtin_nan("");
    for (int64_t o = 0; o < a.g.outputs; ++o) write(o, {nan, nan});
  } else if (loader.columns()) {
    var_columns<A>(a, loader);
  } else {
    var_rows<A>(a, loader);
  }
}

void var(const VarArgs& a) {
  if (a.in == DType::f64)
    var_acc<double>(a);
  else
    var_acc<float>(a);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const VarKernels var_kernels = {var};
}
}  // namespace tercel
