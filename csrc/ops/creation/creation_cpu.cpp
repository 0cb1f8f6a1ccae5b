// Ranges; see creation_kernels.h. The loops have no branch on the kind of range or its halves.
#include "core/dtype.h"
#include "core/parallel.h"
#include "ops/creation/creation_kernels.h"

namespace tercel {
namespace {

template <class T>
TERCEL_INLINE T from_double(double v) {
  if constexpr (sizeof(T) < 4 && !std::is_integral_v<T>) {
    return T(static_cast<float>(v));
  } else {
    return static_cast<T>(v);
  }
}

template <class T>
void range_typed(const RangeArgs& a) {
  T* out = static_cast<T*>(a.out);
  parallel_for(a.n, 1 << 15, [&](int64_t begin, int64_t end) {
    if (a.integer) {
      for (int64_t i = begin; i < end; ++i) {
        if constexpr (std::is_integral_v<T>) {
          out[i] = static_cast<T>(range_element(a, i));
        } else {
          out[i] = from_double<T>(static_cast<double>(range_element(a, i)));
        }
      }
      return;
    }
    const int64_t middle = a.half < begin ? begin : a.half < end ? a.half : end;
    for (int64_t i = begin; i < middle; ++i)
      out[i] = from_double<T>(a.start + static_cast<double>(i) * a.step);
    for (int64_t i = middle; i < end; ++i) {
      out[i] = from_double<T>(a.end - static_cast<double>(a.n - 1 - i) * a.step);
    }
  });
}

void range(const RangeArgs& a) {
  visit<TERCEL_FLOATS, TERCEL_FP8, TERCEL_INTS>(a.dtype, "arange",
                                                [&]<class T>() { range_typed<T>(a); });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const CreationKernels creation_kernels = {range};
}
}  // namespace tercel
