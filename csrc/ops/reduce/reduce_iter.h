// Loading for reduction kernels: elements of any dtype and layout as contiguous runs of the
// accumulation type. For ISA files only: everything but the tables of conversions, which exist once
// per level, has internal linkage.
#pragma once

#include <type_traits>

#include "core/parallel.h"
#include "ops/reduce/reduce_kernels.h"
#include "simd/vec.h"

namespace tercel {

template <class A>
using LoadFn = void (*)(const void* src, int64_t stride, int64_t n, A* __restrict dst);
template <class A>
using StoreFn = void (*)(void* dst, const A* __restrict src, int64_t n);

// Conversions between any dtype and the accumulation type, by the dtype's number.
template <class A>
struct ReduceConversions {
  LoadFn<A> load[kNumDTypes];
  LoadFn<A> nonzero[kNumDTypes];  // 0 or 1; for int64 only
  StoreFn<A> store[kNumDTypes];
};

namespace TERCEL_LEVEL {  // reduce_convert_cpu.cpp
extern const ReduceConversions<float> reduce_conversions_f32;
extern const ReduceConversions<double> reduce_conversions_f64;
extern const ReduceConversions<int64_t> reduce_conversions_i64;
}  // namespace TERCEL_LEVEL
namespace {

template <class A>
TERCEL_INLINE const ReduceConversions<A>& conversions() {
  if constexpr (std::is_same_v<A, float>) return TERCEL_LEVEL::reduce_conversions_f32;
  if constexpr (std::is_same_v<A, double>) return TERCEL_LEVEL::reduce_conversions_f64;
  if constexpr (std::is_same_v<A, int64_t>) return TERCEL_LEVEL::reduce_conversions_i64;
}
template <class A>
TERCEL_INLINE StoreFn<A> store_fn(DType out) {
  return conversions<A>().store[static_cast<int>(out)];
}
template <class A>
TERCEL_INLINE LoadFn<A> load_fn(DType in, bool nonzero) {
  return (nonzero ? conversions<A>().nonzero : conversions<A>().load)[static_cast<int>(in)];
}

// An int64 with the interface of Vec, so that one kernel text serves floats and integers; the loops
// over it are vectorised by the compiler. Sums and products wrap.
struct Int {
  static constexpr int size = 1;
  int64_t v;
  Int() = default;
  TERCEL_INLINE explicit Int(int64_t x) : v(x) {}
  TERCEL_INLINE static Int load(const int64_t* p) { return Int(*p); }
  TERCEL_INLINE static Int load_n(const int64_t* p, int64_t) { return Int(*p); }
  TERCEL_INLINE void store(int64_t* p) const { *p = v; }
  TERCEL_INLINE void store_n(int64_t* p, int64_t) const { *p = v; }
};
TERCEL_INLINE Int operator+(Int a, Int b) {
  return Int(static_cast<int64_t>(static_cast<uint64_t>(a.v) + static_cast<uint64_t>(b.v)));
}
TERCEL_INLINE Int operator*(Int a, Int b) {
  return Int(static_cast<int64_t>(static_cast<uint64_t>(a.v) * static_cast<uint64_t>(b.v)));
}
TERCEL_INLINE Int select(bool m, Int a, Int b) { return m ? a : b; }
TERCEL_INLINE bool operator<=(Int a, Int b) { return a.v <= b.v; }
TERCEL_INLINE bool operator==(Int a, Int b) { return a.v == b.v; }
TERCEL_INLINE Int maximum(Int a, Int b) { return Int(a.v > b.v ? a.v : b.v); }
TERCEL_INLINE Int minimum(Int a, Int b) { return Int(a.v < b.v ? a.v : b.v); }

template <class A>
struct vector_of {
  using type = simd::Vec<A>;
};
template <>
struct vector_of<int64_t> {
  using type = Int;
};
template <class A>
using VecOf = typename vector_of<A>::type;

constexpr uint8_t kItemSize[kNumDTypes] = {8, 4, 2, 2, 1, 1, 1, 1, 2, 4, 8, 1};
TERCEL_INLINE int64_t item_size(DType t) { return kItemSize[static_cast<int>(t)]; }

template <class A>
constexpr DType acc_dtype = std::is_same_v<A, float>    ? DType::f32
                            : std::is_same_v<A, double> ? DType::f64
                                                        : DType::i64;

// Offset, in elements, of flat index i over dims of (size, stride).
TERCEL_INLINE int64_t offset_of(int64_t i, int dims, const int64_t* size, const int64_t* stride) {
  int64_t offset = 0;
  for (int d = dims - 1; d > 0; --d) {
    const int64_t q = i / size[d];
    offset += (i - q * size[d]) * stride[d];
    i = q;
  }
  return dims > 0 ? offset + i * stride[0] : 0;
}

TERCEL_INLINE int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
// Tasks per chunk of work of at least 32768 elements.
TERCEL_INLINE int64_t grain_of(int64_t elements_per_task) {
  const int64_t grain = 32768 / (elements_per_task > 0 ? elements_per_task : 1);
  return grain > 0 ? grain : 1;
}

constexpr int64_t kShortestRun = 512;
constexpr int kMaxRuns = kReduceBlock / kShortestRun + 2;

template <class A>
struct Loader {
  const ReduceGeometry& g;
  const char* x;
  int64_t itemsize;
  LoadFn<A> fn;
  bool direct;  // x already holds A

  Loader(const ReduceGeometry& geometry, const void* data, DType in, bool nonzero)
      : g(geometry),
        x(static_cast<const char*>(data)),
        itemsize(item_size(in)),
        fn(load_fn<A>(in, nonzero)),
        direct(in == acc_dtype<A> && !nonzero) {}

  int64_t base(int64_t output) const {
    return offset_of(output, g.kept, g.kept_size, g.kept_stride);
  }

  // Elements [begin, begin + n) of the reduced index space of the output at `base`; a pointer into
  // x if they lie there contiguously as A, else into buf.
  const A* load(int64_t base, int64_t begin, int64_t n, A* buf) const {
    if (g.reduced == 0) {
      if (direct) return reinterpret_cast<const A*>(x) + base;
      fn(x + base * itemsize, 1, n, buf);
      return buf;
    }
    const int last = g.reduced - 1;
    const int64_t inner = g.red_size[last], stride = g.red_stride[last];
    int64_t outer = begin / inner, i = begin - outer * inner;
    if (direct && stride == 1 && i + n <= inner) {
      return reinterpret_cast<const A*>(x) + base +
             offset_of(outer, last, g.red_size, g.red_stride) + i;
    }
    A* dst = buf;
    while (n > 0) {
      const int64_t run = inner - i < n ? inner - i : n;
      const int64_t offset = base + offset_of(outer, last, g.red_size, g.red_stride) + i * stride;
      fn(x + offset * itemsize, stride, run, dst);
      dst += run;
      n -= run;
      ++outer;
      i = 0;
    }
    return buf;
  }

  // The same as runs where they lie, if those are long enough to be worth it; how many. A single
  // run may be in buf.
  template <class Run>
  int runs(int64_t base, int64_t begin, int64_t n, A* buf, Run* runs) const {
    if (direct && g.reduced == 1 && g.red_stride[0] == 1) {
      runs[0] = {reinterpret_cast<const A*>(x) + base + begin, n};
      return 1;
    }
    const int last = g.reduced - 1;
    if (!direct || g.reduced < 2 || g.red_stride[last] != 1 || g.red_size[last] < kShortestRun) {
      runs[0] = {load(base, begin, n, buf), n};
      return 1;
    }
    const int64_t inner = g.red_size[last];
    int count = 0;
    for (int64_t outer = begin / inner, i = begin - outer * inner; n > 0; ++outer, i = 0) {
      const int64_t length = min64(inner - i, n);
      const int64_t offset = base + offset_of(outer, last, g.red_size, g.red_stride) + i;
      runs[count++] = {reinterpret_cast<const A*>(x) + offset, length};
      n -= length;
    }
    return count;
  }

  // Offsets of rows [begin, begin + n) of the reduced index space, for the column kernels.
  void row_offsets(int64_t begin, int64_t n, int64_t* offsets) const {
    if (g.reduced <= 1) {
      const int64_t stride = g.reduced == 1 ? g.red_stride[0] : 0;
      for (int64_t r = 0; r < n; ++r) offsets[r] = (begin + r) * stride;
      return;
    }
    for (int64_t r = 0; r < n; ++r)
      offsets[r] = offset_of(begin + r, g.reduced, g.red_size, g.red_stride);
  }

  // Columns: the last kept dim is contiguous and wide enough to be vectorised over.
  bool columns() const {
    return g.kept > 0 && g.kept_stride[g.kept - 1] == 1 && g.n > 1 &&
           !(g.reduced > 0 && g.red_stride[g.reduced - 1] == 1 && g.red_size[g.reduced - 1] > 1);
  }
  // Where column c of outer index o starts.
  int64_t column_base(int64_t o) const {
    return offset_of(o, g.kept - 1, g.kept_size, g.kept_stride);
  }
};

}  // namespace
}  // namespace tercel
