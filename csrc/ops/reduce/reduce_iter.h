// Loading for reduction kernels: elements of any dtype and layout as contiguous runs of the
// accumulation type. For ISA files only: everything has internal linkage.
#pragma once

#include <type_traits>

#include "core/parallel.h"
#include "ops/reduce/reduce_kernels.h"
#include "simd/vec.h"

namespace tercel {
namespace {

template <class T>
struct raw_type {
  using type = T;
};
template <>
struct raw_type<bool> {
  using type = uint8_t;
};  // a bool byte is read as stored

// 16- and 8-bit floats: computed in float.
template <class T>
constexpr bool kIsNarrowFloat = sizeof(T) <= 2 && !std::is_integral_v<T>;

template <class T, class A>
TERCEL_INLINE A to_acc(typename raw_type<T>::type v) {
  if constexpr (kIsNarrowFloat<T>) {
    return static_cast<A>(static_cast<float>(v));
  } else if constexpr (std::is_same_v<T, bool>) {
    return static_cast<A>(v != 0);
  } else {
    return static_cast<A>(v);
  }
}

template <class T, class A>
void load_run(const void* src, int64_t stride, int64_t n, A* __restrict dst) {
  using R = typename raw_type<T>::type;
  const R* __restrict s = static_cast<const R*>(src);
  if (stride == 1) {
    int64_t i = 0;
    if constexpr (kIsNarrowFloat<T> && std::is_same_v<A, float>) {
      for (; i + simd::VecF::size <= n; i += simd::VecF::size)
        simd::VecF::load(s + i).store(dst + i);
    }
    for (; i < n; ++i) dst[i] = to_acc<T, A>(s[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i] = to_acc<T, A>(s[i * stride]);
  }
}

template <class T, class A>
void load_nonzero(const void* src, int64_t stride, int64_t n, A* __restrict dst) {
  using R = typename raw_type<T>::type;
  const R* __restrict s = static_cast<const R*>(src);
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (kIsNarrowFloat<T>) {
      dst[i] = static_cast<A>(static_cast<float>(s[i * stride]) != 0.0f);
    } else {
      dst[i] = static_cast<A>(s[i * stride] != 0);
    }
  }
}

template <class A>
using LoadFn = void (*)(const void* src, int64_t stride, int64_t n, A* __restrict dst);

// In the order of DType.
#define TERCEL_LOAD_TABLE(fn, A)                                                                 \
  {fn<double, A>, fn<float, A>,   fn<f16, A>,     fn<bf16, A>,    fn<f8e4m3, A>,  fn<f8e5m2, A>, \
   fn<int8_t, A>, fn<uint8_t, A>, fn<int16_t, A>, fn<int32_t, A>, fn<int64_t, A>, fn<bool, A>}
template <class A>
LoadFn<A> load_fn(DType in, bool nonzero) {
  static constexpr LoadFn<A> kValue[kNumDTypes] = TERCEL_LOAD_TABLE(load_run, A);
  if constexpr (std::is_same_v<A, int64_t>) {
    static constexpr LoadFn<A> kNonzero[kNumDTypes] = TERCEL_LOAD_TABLE(load_nonzero, A);
    if (nonzero) return kNonzero[static_cast<int>(in)];
  }
  return kValue[static_cast<int>(in)];
}

template <class T, class A>
void store_run(void* dst, const A* __restrict src, int64_t n) {
  if constexpr (std::is_same_v<T, bool>) {
    uint8_t* __restrict d = static_cast<uint8_t*>(dst);
    for (int64_t i = 0; i < n; ++i) d[i] = src[i] != 0;
  } else {
    T* __restrict d = static_cast<T*>(dst);
    int64_t i = 0;
    if constexpr (kIsNarrowFloat<T> && std::is_same_v<A, float>) {
      for (; i + simd::VecF::size <= n; i += simd::VecF::size)
        simd::VecF::load(src + i).store(d + i);
    }
    for (; i < n; ++i) {
      if constexpr (kIsNarrowFloat<T>) {
        d[i] = T(static_cast<float>(src[i]));
      } else {
        d[i] = static_cast<T>(src[i]);
      }
    }
  }
}
template <class A>
using StoreFn = void (*)(void* dst, const A* __restrict src, int64_t n);
template <class A>
StoreFn<A> store_fn(DType out) {
  static constexpr StoreFn<A> kStore[kNumDTypes] = TERCEL_LOAD_TABLE(store_run, A);
  return kStore[static_cast<int>(out)];
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
#define TERCEL_LAMBDA_INLINE __attribute__((always_inline))

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
