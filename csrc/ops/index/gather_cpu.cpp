// gather and scatter. In the inner loop either k (dim is the last dim) or j runs; the other is
// constant.
//
// scatter splits the destinations: over the outer dims, else over the columns j, else over ranges
// of the scattered dim where every thread scans the whole index. Each destination sees its sources
// in order of k.
#include "core/parallel.h"
#include "ops/index/index_kernels.h"

namespace tercel {
namespace {

constexpr int64_t kBlock = 512;  // indices checked, then used, while they are in L1

TERCEL_INLINE bool in_range(const int64_t* index, int64_t stride, int64_t n, int64_t size) {
  uint64_t wrong = 0;
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i)
      wrong |= static_cast<uint64_t>(index[i]) >= static_cast<uint64_t>(size);
  } else {
    for (int64_t i = 0; i < n; ++i)
      wrong |= static_cast<uint64_t>(index[i * stride]) >= static_cast<uint64_t>(size);
  }
  return wrong == 0;
}

void check(const RangeCheckArgs& a) {
  parallel_for(a.n, 1 << 16, [&](int64_t begin, int64_t end) {
    if (!in_range(a.index + begin, 1, end - begin, a.size))
      __atomic_store_n(a.bad, 1, __ATOMIC_RELAXED);
  });
}

struct Bases {
  int64_t x, index, other;
};

TERCEL_OUTLINE Bases outer_bases(const GatherArgs& a, int64_t o) {
  Bases b{0, 0, 0};
  for (int d = a.outer.rank - 1; d >= 0; --d) {
    const int64_t i = o % a.outer.size[d];
    o /= a.outer.size[d];
    b.x += i * a.outer.stride[d];
    b.index += i * a.outer_index[d];
    b.other += i * a.outer_other[d];
  }
  return b;
}

template <class T>
TERCEL_INLINE bool gather_run(T* __restrict out, const T* x, const int64_t* index, int64_t n,
                              int64_t column, int64_t stride, int64_t size) {
  for (int64_t at = 0; at < n; at += kBlock) {
    const int64_t m = n - at < kBlock ? n - at : kBlock;
    const int64_t* __restrict ix = index + at;
    if (!in_range(ix, 1, m, size)) return false;
    T* __restrict o = out + at;
    const T* base = x + at * column;
    if (stride == 1 && column == 0) {
      for (int64_t i = 0; i < m; ++i) o[i] = base[ix[i]];
    } else {
      for (int64_t i = 0; i < m; ++i) o[i] = base[i * column + ix[i] * stride];
    }
  }
  return true;
}

template <class T>
void gather_typed(const GatherArgs& a) {
  const T* x = reinterpret_cast<const T*>(a.x);
  T* out = reinterpret_cast<T*>(a.other);
  // Runs of the contiguous index: along k if dim is last (j_numel 1), else along j.
  const bool along_k = a.j_numel == 1;
  const int64_t run = along_k ? a.k_numel : a.j_numel;
  const int64_t runs = along_k ? 1 : a.k_numel;
  const int64_t column = along_k ? 0 : a.x_column;
  if (a.outer_numel * runs == 1) {  // one long run: cut it
    parallel_for(run, 1 << 15, [&](int64_t begin, int64_t end) {
      if (!gather_run(out + begin, x + begin * column, a.index + begin, end - begin, column,
                      a.x_stride, a.size)) {
        __atomic_store_n(a.bad, 1, __ATOMIC_RELAXED);
      }
    });
    return;
  }
  parallel_for(a.outer_numel * runs, (1 << 15) / (run + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Bases b = outer_bases(a, r / runs);
      const int64_t k = r % runs;
      if (!gather_run(out + b.other + k * a.other_k, x + b.x, a.index + b.index + k * a.index_k,
                      run, column, a.x_stride, a.size)) {
        __atomic_store_n(a.bad, 1, __ATOMIC_RELAXED);
        return;
      }
    }
  });
}

void gather(const GatherArgs& a) {
  switch (a.itemsize) {
    case 1:
      return gather_typed<uint8_t>(a);
    case 2:
      return gather_typed<uint16_t>(a);
    case 4:
      return gather_typed<uint32_t>(a);
    default:
      return gather_typed<uint64_t>(a);
  }
}

template <class T, Combine kOp>
TERCEL_INLINE void combine(T& dst, T v) {
  if constexpr (kOp == Combine::assign) {
    dst = v;
  } else if constexpr (kOp == Combine::add) {
    if constexpr (std::is_same_v<T, bool>)
      dst = dst || v;
    else if constexpr (std::is_integral_v<T>)
      dst = static_cast<T>(static_cast<uint64_t>(dst) + static_cast<uint64_t>(v));
    else
      dst = dst + v;
  } else if constexpr (kOp == Combine::multiply) {
    if constexpr (std::is_same_v<T, bool>)
      dst = dst && v;
    else if constexpr (std::is_integral_v<T>)
      dst = static_cast<T>(static_cast<uint64_t>(dst) * static_cast<uint64_t>(v));
    else
      dst = dst * v;
  } else if constexpr (kOp == Combine::maximum) {
    dst = dst != dst ? dst : (v != v || v > dst) ? v : dst;  // NaN wins
  } else {
    dst = dst != dst ? dst : (v != v || v < dst) ? v : dst;
  }
}

// Outer [o0, o1), columns [j0, j1), index values in [low, high), or all of them.
template <class T, Combine kOp, bool kAll>
TERCEL_OUTLINE void scatter_part(const GatherArgs& a, int64_t o0, int64_t o1, int64_t j0,
                                 int64_t j1, int64_t low = 0, int64_t high = 0) {
  for (int64_t o = o0; o < o1; ++o) {
    const Bases b = outer_bases(a, o);
    T* x = reinterpret_cast<T*>(a.x) + b.x;
    const T* other = reinterpret_cast<const T*>(a.other) + b.other;
    const int64_t* index = a.index + b.index;
    if (a.j_numel == 1) {
      for (int64_t k = 0; k < a.k_numel; ++k) {
        const int64_t i = index[k * a.index_k];
        if (kAll || (i >= low && i < high))
          combine<T, kOp>(x[i * a.x_stride], other[k * a.other_k]);
      }
      continue;
    }
    for (int64_t k = 0; k < a.k_numel; ++k) {
      const int64_t* ix = index + k * a.index_k;
      const T* row = other + k * a.other_k;
      for (int64_t j = j0; j < j1; ++j) {
        const int64_t i = ix[j * a.index_j];
        if (kAll || (i >= low && i < high))
          combine<T, kOp>(x[j * a.x_column + i * a.x_stride], row[j * a.other_j]);
      }
    }
  }
}

template <class T, Combine kOp>
void scatter_typed(const GatherArgs& a) {
  const int64_t per_outer = a.k_numel * a.j_numel;
  const int64_t work = a.outer_numel * per_outer;
  if (work < (1 << 14)) return scatter_part<T, kOp, true>(a, 0, a.outer_numel, 0, a.j_numel);
  if (a.outer_numel >= 8) {
    parallel_for(a.outer_numel, (1 << 14) / (per_outer + 1) + 1, [&](int64_t begin, int64_t end) {
      scatter_part<T, kOp, true>(a, begin, end, 0, a.j_numel);
    });
    return;
  }
  const int threads = num_threads();
  const int64_t parts = threads < 64 ? threads : 64;
  if (a.j_numel >= 32 * parts) {
    const int64_t piece = ((a.j_numel + parts - 1) / parts + 15) / 16 * 16;
    parallel_for(a.j_numel, piece, [&](int64_t begin, int64_t end) {
      scatter_part<T, kOp, true>(a, 0, a.outer_numel, begin, end);
    });
    return;
  }
  parallel_for(a.size, (a.size + parts - 1) / parts, [&](int64_t begin, int64_t end) {
    scatter_part<T, kOp, false>(a, 0, a.outer_numel, 0, a.j_numel, begin, end);
  });
}

template <Combine kOp>
void scatter_op(const GatherArgs& a) {
  visit<double, float, TERCEL_INTS, bool>(a.dtype, "scatter",
                                          [&]<class T>() { scatter_typed<T, kOp>(a); });
}

void scatter(const GatherArgs& a) {
  switch (a.combine) {
    case Combine::add:
      return scatter_op<Combine::add>(a);
    case Combine::multiply:
      return scatter_op<Combine::multiply>(a);
    case Combine::maximum:
      return scatter_op<Combine::maximum>(a);
    case Combine::minimum:
      return scatter_op<Combine::minimum>(a);
    case Combine::assign:
      break;
  }
  switch (a.itemsize) {
    case 1:
      return scatter_typed<uint8_t, Combine::assign>(a);
    case 2:
      return scatter_typed<uint16_t, Combine::assign>(a);
    case 4:
      return scatter_typed<uint32_t, Combine::assign>(a);
    default:
      return scatter_typed<uint64_t, Combine::assign>(a);
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const GatherKernels gather_kernels = {check, gather, scatter};
}
}  // namespace tercel
