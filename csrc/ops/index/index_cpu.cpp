// Advanced indexing: index -> offsets, rows out (get) and rows in (put).
//
// put splits the destinations: over the outer dims, else over pieces of the inner row, else over
// ranges of offsets where every thread scans all positions and takes those that are its own.
#include <string.h>

#include "core/parallel.h"
#include "ops/index/index_kernels.h"

namespace tercel {
namespace {

void offsets(const OffsetsArgs& a) {
  parallel_for(a.n, 1 << 16, [&](int64_t begin, int64_t end) {
    uint64_t wrong = 0;
    const uint64_t size = static_cast<uint64_t>(a.size);
    for (int64_t p = begin; p < end; ++p) {
      int64_t i = a.index[p];
      i += a.wrap && i < 0 ? a.size : 0;
      wrong |= static_cast<uint64_t>(i) >= size;
      // Unsigned: a wrong index must not overflow, its offset is never used.
      const int64_t o =
          static_cast<int64_t>(static_cast<uint64_t>(i) * static_cast<uint64_t>(a.stride));
      a.out[p] = a.accumulate ? a.out[p] + o : o;
    }
    if (wrong) __atomic_store_n(a.bad, 1, __ATOMIC_RELAXED);
  });
}

TERCEL_INLINE int64_t dims_offset(const DimList& d, int64_t linear) {
  int64_t offset = 0;
  for (int k = d.rank - 1; k >= 0; --k) {
    offset += linear % d.size[k] * d.stride[k];
    linear /= d.size[k];
  }
  return offset;
}

template <class T>
TERCEL_INLINE T load(const char* p, int64_t i) {
  T v;
  __builtin_memcpy(&v, p + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return v;
}
template <class T>
TERCEL_INLINE void store(char* p, int64_t i, T v) {
  __builtin_memcpy(p + i * static_cast<int64_t>(sizeof(T)), &v, sizeof(T));
}

// f(element offset in x of inner element, inner position) for inner positions [begin, end).
template <class F>
TERCEL_INLINE void for_inner(const DimList& d, int64_t begin, int64_t end, F f) {
  if (d.rank == 0) {
    if (begin < end) f(int64_t{0}, int64_t{0});
    return;
  }
  const int last = d.rank - 1;
  const int64_t width = d.size[last], stride = d.stride[last];
  for (int64_t i = begin; i < end;) {
    const int64_t column = i % width;
    const int64_t base = dims_offset(d, i) - column * stride;
    const int64_t stop = end - i < width - column ? i + (end - i) : i + (width - column);
    int64_t c = column;
    for (; i < stop; ++i, ++c) f(base + c * stride, i);
  }
}

template <class T>
void get_typed(const IndexArgs& a) {
  const char* x = a.x;
  const bool flat = a.inner.rank == 0 || (a.inner.rank == 1 && a.inner.stride[0] == 1);
  const int64_t row_bytes = a.inner_numel * static_cast<int64_t>(sizeof(T));
  const int64_t grain = (64 << 10) / (row_bytes + 8) + 1;
  parallel_for(a.outer_numel * a.n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t o = at / a.n, first = at % a.n;
      const int64_t stop = end - at < a.n - first ? first + (end - at) : a.n;
      const char* base = x + dims_offset(a.outer, o) * static_cast<int64_t>(sizeof(T));
      char* out = a.dense + o * a.n * row_bytes;
      if (a.inner_numel == 1) {
        for (int64_t p = first; p < stop; ++p) store<T>(out, p, load<T>(base, a.offset[p]));
      } else if (flat) {
        for (int64_t p = first; p < stop; ++p) {
          memcpy(out + p * row_bytes, base + a.offset[p] * static_cast<int64_t>(sizeof(T)),
                 static_cast<size_t>(row_bytes));
        }
      } else {
        for (int64_t p = first; p < stop; ++p) {
          const char* row = base + a.offset[p] * static_cast<int64_t>(sizeof(T));
          char* dst = out + p * row_bytes;
          for_inner(a.inner, 0, a.inner_numel,
                    [&](int64_t off, int64_t i) { store<T>(dst, i, load<T>(row, off)); });
        }
      }
      at += stop - first;
    }
  });
}

void get(const IndexArgs& a) {
  switch (a.itemsize) {
    case 1:
      return get_typed<uint8_t>(a);
    case 2:
      return get_typed<uint16_t>(a);
    case 4:
      return get_typed<uint32_t>(a);
    default:
      return get_typed<uint64_t>(a);
  }
}

template <class T, bool kAdd>
TERCEL_INLINE T combined(T old, T v) {
  if constexpr (!kAdd) {
    return v;
  } else if constexpr (std::is_same_v<T, bool>) {
    return old || v;
  } else if constexpr (std::is_integral_v<T>) {  // wraps, as integer sums do everywhere
    return static_cast<T>(static_cast<uint64_t>(old) + static_cast<uint64_t>(v));
  } else {
    return old + v;
  }
}

// Destinations with offset in [low, high), or all of them, inner positions [i0, i1), outer
// positions [o0, o1).
template <class T, bool kAdd, bool kAll>
TERCEL_OUTLINE void put_part(const IndexArgs& a, int64_t o0, int64_t o1, int64_t i0, int64_t i1,
                             int64_t low = 0, int64_t high = 0) {
  const bool flat = a.inner.rank == 0 || (a.inner.rank == 1 && a.inner.stride[0] == 1);
  const T* dense = reinterpret_cast<const T*>(a.dense);
  for (int64_t o = o0; o < o1; ++o) {
    T* base = reinterpret_cast<T*>(a.x) + dims_offset(a.outer, o);
    const T* rows = dense + o * a.dense_outer;
    for (int64_t p = 0; p < a.n; ++p) {
      const int64_t offset = a.offset[p];
      if (!kAll && (offset < low || offset >= high)) continue;
      T* dst = base + offset;
      const T* src = rows + p * a.dense_row;
      if (a.inner_numel == 1) {
        *dst = combined<T, kAdd>(*dst, *src);
      } else if (flat && a.dense_inner == 1) {
        T* __restrict d = dst;
        const T* __restrict s = src;
        for (int64_t i = i0; i < i1; ++i) d[i] = combined<T, kAdd>(d[i], s[i]);
      } else {
        for_inner(a.inner, i0, i1, [&](int64_t off, int64_t i) {
          dst[off] = combined<T, kAdd>(dst[off], src[i * a.dense_inner]);
        });
      }
    }
  }
}

template <class T, bool kAdd>
void put_typed(const IndexArgs& a) {
  const int64_t work = a.outer_numel * a.n * a.inner_numel;
  if (work < (1 << 15)) {
    put_part<T, kAdd, true>(a, 0, a.outer_numel, 0, a.inner_numel);
  } else if (a.outer_numel >= 8) {
    const int64_t grain = (1 << 15) / (a.n * a.inner_numel + 1) + 1;
    parallel_for(a.outer_numel, grain, [&](int64_t begin, int64_t end) {
      put_part<T, kAdd, true>(a, begin, end, 0, a.inner_numel);
    });
  } else {
    const int threads = num_threads();
    const int64_t parts = threads < 64 ? threads : 64;
    if (a.inner_numel >= 64 * parts) {
      const int64_t piece = ((a.inner_numel + parts - 1) / parts + 15) / 16 * 16;
      parallel_for(a.inner_numel, piece, [&](int64_t begin, int64_t end) {
        put_part<T, kAdd, true>(a, 0, a.outer_numel, begin, end);
      });
    } else {
      const int64_t piece = (a.limit + parts - 1) / parts;
      parallel_for(a.limit, piece, [&](int64_t begin, int64_t end) {
        put_part<T, kAdd, false>(a, 0, a.outer_numel, 0, a.inner_numel, begin, end);
      });
    }
  }
}

void put(const IndexArgs& a) {
  if (a.combine == Combine::add) {
    visit<double, float, TERCEL_INTS, bool>(a.dtype, "index_put",
                                            [&]<class T>() { put_typed<T, true>(a); });
    return;
  }
  switch (a.itemsize) {
    case 1:
      return put_typed<uint8_t, false>(a);
    case 2:
      return put_typed<uint16_t, false>(a);
    case 4:
      return put_typed<uint32_t, false>(a);
    default:
      return put_typed<uint64_t, false>(a);
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const IndexKernels index_kernels = {offsets, get, put};
}
}  // namespace tercel
