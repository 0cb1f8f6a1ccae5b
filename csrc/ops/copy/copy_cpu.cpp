// Fill kernel: one pattern, contiguous destination, parallel above 1 MB.
#include <string.h>

#include "core/kernel_table.h"
#include "core/parallel.h"
#include "ops/copy/copy_kernels.h"

namespace tercel::TERCEL_LEVEL {
namespace {

template <class T>
void fill_range(void* dst, uint64_t pattern, int64_t begin, int64_t end) {
  T* __restrict p = static_cast<T*>(dst);
  const T value = static_cast<T>(pattern);
  for (int64_t i = begin; i < end; ++i) p[i] = value;
}

void fill(const FillArgs& a) {
  constexpr int64_t kGrainBytes = 1 << 16;
  parallel_for(a.numel, kGrainBytes / a.itemsize, [&](int64_t begin, int64_t end) {
    if (a.pattern == 0) {
      memset(static_cast<char*>(a.dst) + begin * a.itemsize, 0,
             static_cast<size_t>((end - begin) * a.itemsize));
      return;
    }
    switch (a.itemsize) {
      case 1:
        return fill_range<uint8_t>(a.dst, a.pattern, begin, end);
      case 2:
        return fill_range<uint16_t>(a.dst, a.pattern, begin, end);
      case 4:
        return fill_range<uint32_t>(a.dst, a.pattern, begin, end);
      default:
        return fill_range<uint64_t>(a.dst, a.pattern, begin, end);
    }
  });
}

}  // namespace

extern const CopyKernels copy_kernels = {fill};

}  // namespace tercel::TERCEL_LEVEL
