// The trees that reduce one block, per operation. For ISA files only.
#pragma once

#include "ops/reduce/reduce_ops.h"
#include "simd/lanes.h"
#include "simd/prefetch.h"

namespace tercel {
namespace {

// Trees over 16 are four trees over 4; only the SIMD levels unroll that loop (object size, build
// time).
#if defined(TERCEL_LEVEL_GENERIC)
#define TERCEL_UNROLL_TREE _Pragma("GCC unroll 1")
#else
#define TERCEL_UNROLL_TREE _Pragma("GCC unroll 4")
#endif

constexpr int kLanes = 16;
constexpr int kGroup = 256;

// Balanced tree over K vectors `step` elements apart.
template <class Op, int K, class A>
TERCEL_INLINE VecOf<A> tree(const A* x, int64_t step) {
  if constexpr (K == 1) {
    return Op::map(VecOf<A>::load(x));
  } else if constexpr (K == 16) {
    VecOf<A> quarter[4];
    TERCEL_UNROLL_TREE
    for (int q = 0; q < 4; ++q) quarter[q] = tree<Op, 4>(x + 4 * q * step, step);
    return Op::combine(Op::combine(quarter[0], quarter[1]), Op::combine(quarter[2], quarter[3]));
  } else {
    return Op::combine(tree<Op, K / 2>(x, step), tree<Op, K / 2>(x + (K / 2) * step, step));
  }
}

// Steps to run for the last `count` elements of a block: 1, 4 or 16. A tree over fewer steps equals
// the tree over 16 with the missing ones at the identity.
TERCEL_INLINE int steps_of(int64_t count) {
  const int64_t steps = (count + kLanes - 1) / kLanes;
  return steps <= 1 ? 1 : steps <= 4 ? 4 : 16;
}

template <class A>
struct LaneAcc {
  static constexpr int kVecs = kLanes / VecOf<A>::size;
  VecOf<A> v[kVecs];
};
template <class Op, int K, class A>
TERCEL_INLINE void row_group(LaneAcc<A>& acc, const A* __restrict x) {
  for (int i = 0; i < LaneAcc<A>::kVecs; ++i) {
    acc.v[i] = Op::combine(acc.v[i], tree<Op, K>(x + i * VecOf<A>::size, kLanes));
  }
}

template <class Op, class A>
TERCEL_INLINE A fold_lanes(const LaneAcc<A>& acc) {
  if constexpr (std::is_same_v<A, int64_t>) {
    A lane[kLanes];
    for (int l = 0; l < kLanes; ++l) lane[l] = acc.v[l].v;
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int l = 0; l < half; ++l) lane[l] = combine_scalar<Op>(lane[l], lane[l + half]);
    }
    return lane[0];
  } else {
    VecOf<A> v = acc.v[0];
    if constexpr (LaneAcc<A>::kVecs == 2) v = Op::combine(v, acc.v[1]);
    return simd::fold(
        v, [](VecOf<A> a, VecOf<A> b) TERCEL_LAMBDA_INLINE { return Op::combine(a, b); });
  }
}

// Contiguous elements; a block is a few of these, one after another.
template <class A>
struct RunOf {
  const A* at;
  int64_t n;
};

// acc with `count` < 256 more elements: 1, 4 or 16 steps, the missing ones at the identity.
template <class Op, class A>
TERCEL_INLINE void row_rest(LaneAcc<A>& acc, const A* x, int64_t count) {
  using V = VecOf<A>;
  const int steps = steps_of(count);
  if constexpr (LaneAcc<A>::kVecs == 1) {
    if (steps == 1) {
      const V last = simd::load_fill<V>(x, count, Op::template identity<A>);
      acc.v[0] = Op::combine(acc.v[0], Op::map(last));
      return;
    }
  }
  alignas(64) A tail[kGroup];
  if (count < steps * kLanes) {
    int64_t i = 0;
    for (; i + V::size <= count; i += V::size) V::load(x + i).store(tail + i);
    if constexpr (V::size > 1) {
      if (i < count) {
        simd::load_fill<V>(x + i, count - i, Op::template identity<A>).store(tail + i);
        i += V::size;
      }
    }
    for (; i < steps * kLanes; i += V::size) V(Op::template identity<A>).store(tail + i);
    x = tail;
  }
  if (steps == 1) return row_group<Op, 1>(acc, x);
  if (steps == 4) return row_group<Op, 4>(acc, x);
  row_group<Op, 16>(acc, x);
}

// Result of one block of up to kReduceBlock elements.
template <class Op, class A>
A row_block(const RunOf<A>* runs, int count) {
  LaneAcc<A> acc;
  for (auto& v : acc.v) v = VecOf<A>(Op::template identity<A>);
  alignas(64) A carried[kGroup];  // a group that lies in two runs
  int64_t held = 0;
  const simd::ReadAhead ahead;
  for (int k = 0; k < count; ++k) {
    const A* __restrict x = runs[k].at;
    int64_t i = 0, n = runs[k].n;
    if (held > 0) {
      i = min64(kGroup - held, n);
      __builtin_memcpy(carried + held, x, static_cast<size_t>(i) * sizeof(A));
      held += i;
      if (held < kGroup) continue;
      row_group<Op, 16>(acc, carried);
    }
    for (; i + kGroup <= n; i += kGroup) {
      ahead.fetch(x + i, kGroup * sizeof(A));
      row_group<Op, 16>(acc, x + i);
    }
    held = n - i;
    if (held == 0) continue;
    if (k + 1 == count) {
      row_rest<Op>(acc, x + i, held);
      held = 0;
    } else {
      __builtin_memcpy(carried, x + i, static_cast<size_t>(held) * sizeof(A));
    }
  }
  if (held > 0) row_rest<Op>(acc, carried, held);
  return fold_lanes<Op>(acc);
}

template <class Op, int K, class A>
TERCEL_INLINE VecOf<A> column_tree(const A* const* rows, int64_t c) {
  if constexpr (K == 1) {
    return Op::map(VecOf<A>::load(rows[0] + c));
  } else if constexpr (K == 16) {
    VecOf<A> quarter[4];
    TERCEL_UNROLL_TREE
    for (int q = 0; q < 4; ++q) quarter[q] = column_tree<Op, 4>(rows + 4 * q, c);
    return Op::combine(Op::combine(quarter[0], quarter[1]), Op::combine(quarter[2], quarter[3]));
  } else {
    return Op::combine(column_tree<Op, K / 2>(rows, c), column_tree<Op, K / 2>(rows + K / 2, c));
  }
}
template <class Op, int K, class A>
TERCEL_OUTLINE void column_vectors(A* acc, const A* const* rows_in, int64_t width) {
  using V = VecOf<A>;
  const A* rows[K];
  for (int s = 0; s < K; ++s) rows[s] = rows_in[s];
#pragma GCC ivdep
  for (int64_t c = 0; c < width; c += V::size) {
    Op::combine(V::load(acc + c), column_tree<Op, K>(rows, c)).store(acc + c);
  }
}
template <class Op, int K, class A>
void column_steps(A* acc, const A* const* rows, int64_t width) {
  using V = VecOf<A>;
  const int64_t whole = width / V::size * V::size, rest = width - whole;
  if (whole > 0) column_vectors<Op, K>(acc, rows, whole);
  if (rest > 0) {  // a vector of copies
    alignas(64) A last[(K + 1) * V::size];
    const A* copies[K];
    for (int s = 0; s < K; ++s) {
      V::load_n(rows[s] + whole, rest).store(last + s * V::size);
      copies[s] = last + s * V::size;
    }
    A* sums = last + K * V::size;
    V::load_n(acc + whole, rest).store(sums);
    column_vectors<Op, K>(sums, copies, V::size);
    V::load(sums).store_n(acc + whole, rest);
  }
}

template <class Op, class A>
void column_group(int steps, A* acc, const A* const* rows, int64_t width) {
  if (steps == 1) return column_steps<Op, 1>(acc, rows, width);
  if (steps == 4) return column_steps<Op, 4>(acc, rows, width);
  column_steps<Op, 16>(acc, rows, width);
}

template <class Op, class A>
void combine_arrays(A* lo, const A* hi, int64_t n) {
  const A* row[1] = {hi};
  struct Plain : Op {
    static TERCEL_INLINE VecOf<A> map(VecOf<A> v) { return v; }
  };
  column_steps<Plain, 1>(lo, row, n);
}

// What the loops over outputs and blocks need of an operation: they exist once per accumulation
// type, these functions once per operation.
template <class A>
struct Operation {
  A identity;
  A (*combine)(A, A);
  A (*row_block)(const RunOf<A>* runs, int count);
  // acc[c] = combine(acc[c], tree over 1, 4 or 16 rows at column c)
  void (*column_group)(int steps, A* acc, const A* const* rows, int64_t width);
  void (*combine_arrays)(A* lo, const A* hi, int64_t n);
};

template <class Op, class A>
constexpr Operation<A> kOperation = {Op::template identity<A>, combine_scalar<Op, A>,
                                     row_block<Op, A>, column_group<Op, A>, combine_arrays<Op, A>};

template <class A>
const Operation<A>& operation(ReduceOp op) {
  if constexpr (!std::is_same_v<A, int64_t>) {
    switch (op) {
      case ReduceOp::nansum:
        return kOperation<NanSum, A>;
      case ReduceOp::abs_sum:
        return kOperation<AbsSum, A>;
      case ReduceOp::abs_max:
        return kOperation<AbsMax, A>;
      case ReduceOp::abs_min:
        return kOperation<AbsMin, A>;
      case ReduceOp::square_sum:
        return kOperation<SquareSum, A>;
      default:
        break;
    }
  }
  switch (op) {
    case ReduceOp::prod:
      return kOperation<Prod, A>;
    case ReduceOp::max:
      return kOperation<Max, A>;
    case ReduceOp::min:
      return kOperation<Min, A>;
    default:
      return kOperation<Sum, A>;
  }
}

}  // namespace
}  // namespace tercel
