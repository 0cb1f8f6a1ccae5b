// The associative operations that reduce_cpu.cpp runs over its trees.
#pragma once

#include <math.h>

#include <type_traits>

#include "ops/reduce/reduce_iter.h"

namespace tercel {
namespace {

// map: applied to each element once; combine: the associative operation; identity<A>.
struct Sum {
  template <class A>
  static constexpr A identity = 0;
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return v;
  }
  template <class V>
  static TERCEL_INLINE V combine(V a, V b) {
    return a + b;
  }
};
struct NanSum : Sum {
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return select(v == v, v, V(0));
  }
};
struct AbsSum : Sum {
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return abs(v);
  }
};
struct SquareSum : Sum {
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return v * v;
  }
};
struct Prod {
  template <class A>
  static constexpr A identity = 1;
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return v;
  }
  template <class V>
  static TERCEL_INLINE V combine(V a, V b) {
    return a * b;
  }
};
struct Max {
  template <class A>
  static constexpr A identity =
      std::is_same_v<A, int64_t> ? A(INT64_MIN) : -static_cast<A>(INFINITY);
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return v;
  }
  template <class V>
  static TERCEL_INLINE V combine(V a, V b) {
    return maximum(a, b);
  }
};
struct Min {
  template <class A>
  static constexpr A identity =
      std::is_same_v<A, int64_t> ? A(INT64_MAX) : static_cast<A>(INFINITY);
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return v;
  }
  template <class V>
  static TERCEL_INLINE V combine(V a, V b) {
    return minimum(a, b);
  }
};
struct AbsMax : Max {
  template <class A>
  static constexpr A identity = 0;
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return abs(v);
  }
};
struct AbsMin : Min {
  template <class V>
  static TERCEL_INLINE V map(V v) {
    return abs(v);
  }
};

template <class Op, class A>
TERCEL_INLINE A combine_scalar(A a, A b) {
  using V = VecOf<A>;
  if constexpr (std::is_same_v<A, int64_t>) {
    return Op::combine(V(a), V(b)).v;
  } else if constexpr (std::is_base_of_v<Max, Op>) {
    return (a > b) | (a != a) ? a : b;
  } else if constexpr (std::is_base_of_v<Min, Op>) {
    return (a < b) | (a != a) ? a : b;
  } else {
    return Op::combine(a, b);
  }
}

}  // namespace
}  // namespace tercel
