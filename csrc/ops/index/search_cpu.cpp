// searchsorted: one branch-free binary search per value.
#include "core/parallel.h"
#include "ops/index/index_kernels.h"

namespace tercel {
namespace {

template <class T>
TERCEL_INLINE bool less(T a, T b) {  // NaN is the largest
  if constexpr (std::is_integral_v<T>) {
    return a < b;
  } else {
    return a < b || (a == a && b != b);
  }
}

template <class T, bool kRight>
TERCEL_INLINE void search_values(const SearchArgs& a, const T* sorted, const int64_t* order,
                                 const T* values, int64_t n, int64_t* out) {
  for (int64_t v = 0; v < n; ++v) {
    const T x = values[v];
    int64_t first = 0, left = a.sorted_size;
    while (left > 0) {
      const int64_t half = left / 2;
      const T m = order ? sorted[order[first + half]] : sorted[first + half];
      const bool go = kRight ? !less(x, m) : less(m, x);
      first = go ? first + half + 1 : first;
      left = go ? left - half - 1 : half;
    }
    out[v] = first;
  }
}

template <class T>
void search_typed(const SearchArgs& a) {
  const T* sorted = static_cast<const T*>(a.sorted);
  const T* values = static_cast<const T*>(a.values);
  parallel_for(a.rows * a.value_count, 2048, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end;) {
      const int64_t row = at / a.value_count, column = at % a.value_count;
      const int64_t n = end - at < a.value_count - column ? end - at : a.value_count - column;
      const T* s = sorted + row * a.sorted_pitch;
      const int64_t* order = a.order ? a.order + row * a.sorted_pitch : nullptr;
      if (a.right) {
        search_values<T, true>(a, s, order, values + at, n, a.out + at);
      } else {
        search_values<T, false>(a, s, order, values + at, n, a.out + at);
      }
      at += n;
    }
  });
}

void search(const SearchArgs& a) {
  visit<double, float, TERCEL_INTS>(a.dtype, "searchsorted",
                                    [&]<class T>() { search_typed<T>(a); });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const SearchKernels search_kernels = {search};
}
}  // namespace tercel
