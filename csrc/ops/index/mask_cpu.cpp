// Boolean masks: counting, coordinates of the true elements, compaction.
//
// Two passes over blocks of kMaskBlock elements: counts, then (after a prefix sum in the caller)
// each block writes its own stretch of the result.
#if defined(TERCEL_LEVEL_AVX512)
#include <immintrin.h>
#endif

#include "core/parallel.h"
#include "ops/index/index_kernels.h"

namespace tercel {
namespace {

TERCEL_INLINE int64_t block_end(int64_t b, int64_t n) {
  return (b + 1) * kMaskBlock < n ? (b + 1) * kMaskBlock : n;
}

void count(const MaskCountArgs& a) {
  const int64_t blocks = (a.n + kMaskBlock - 1) / kMaskBlock;
  parallel_for(blocks, 16, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t stop = block_end(b, a.n);
      int32_t total = 0;
      for (int64_t i = b * kMaskBlock; i < stop; ++i) total += a.mask[i] != 0;
      a.block_count[b] = total;
    }
  });
}

void positions(const MaskSelectArgs& a) {
  const int64_t blocks = (a.n + kMaskBlock - 1) / kMaskBlock;
  parallel_for(blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t total = a.block_count[b];
      int64_t* out = a.coordinates + a.block_start[b] * a.rank;
      int64_t i = b * kMaskBlock, found = 0;
      if (a.rank == 1) {
        for (; found < total; ++i) {
          out[found] = i;
          found += a.mask[i] != 0;
        }
        continue;
      }
      int64_t at[kMaxDims];
      int64_t rest = i;
      for (int d = a.rank - 1; d >= 0; --d) {
        at[d] = rest % a.size[d];
        rest /= a.size[d];
      }
      while (found < total) {
        if (a.mask[i]) {
          for (int d = 0; d < a.rank; ++d) out[found * a.rank + d] = at[d];
          ++found;
        }
        ++i;
        for (int d = a.rank - 1; d >= 0; --d) {
          if (++at[d] < a.size[d] || d == 0) break;
          at[d] = 0;
        }
      }
    }
  });
}

template <class T>
TERCEL_INLINE void compress_block(const T* x, const uint8_t* mask, int64_t n, T* out,
                                  int64_t total) {
  (void)n;
  int64_t found = 0;
#if defined(TERCEL_LEVEL_AVX512)
  if constexpr (sizeof(T) == 4) {
    int64_t v = 0;
    for (; v + 16 <= n; v += 16) {
      const __m128i m8 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + v));
      const __mmask16 m = _mm_test_epi8_mask(m8, m8);
      if (!m) continue;
      const unsigned kept = static_cast<unsigned>(__builtin_popcount(m));
      const __m512i packed = _mm512_maskz_compress_epi32(m, _mm512_loadu_si512(x + v));
      _mm512_mask_storeu_epi32(out + found, static_cast<__mmask16>((1u << kept) - 1u), packed);
      found += kept;
    }
    x += v;
    mask += v;
  }
#endif
  // Writes ahead of the test, never past the last kept element.
  for (int64_t i = 0; found < total; ++i) {
    out[found] = x[i];
    found += mask[i] != 0;
  }
}

template <class T>
void compress_typed(const MaskSelectArgs& a) {
  const int64_t blocks = (a.n + kMaskBlock - 1) / kMaskBlock;
  parallel_for(blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t start = b * kMaskBlock;
      compress_block(reinterpret_cast<const T*>(a.x) + start, a.mask + start,
                     block_end(b, a.n) - start, reinterpret_cast<T*>(a.out) + a.block_start[b],
                     a.block_count[b]);
    }
  });
}

void compress(const MaskSelectArgs& a) {
  switch (a.itemsize) {
    case 1:
      return compress_typed<uint8_t>(a);
    case 2:
      return compress_typed<uint16_t>(a);
    case 4:
      return compress_typed<uint32_t>(a);
    default:
      return compress_typed<uint64_t>(a);
  }
}

template <class T>
void fill_typed(const MaskFillArgs& a) {
  T* x = reinterpret_cast<T*>(a.x);
  const T value = *reinterpret_cast<const T*>(a.value);
  parallel_for(a.n, 1 << 16, [&](int64_t begin, int64_t end) {
    const uint8_t* __restrict m = a.mask;
    T* __restrict out = x;
    for (int64_t i = begin; i < end; ++i) out[i] = m[i] ? value : out[i];
  });
}

void fill(const MaskFillArgs& a) {
  switch (a.itemsize) {
    case 1:
      return fill_typed<uint8_t>(a);
    case 2:
      return fill_typed<uint16_t>(a);
    case 4:
      return fill_typed<uint32_t>(a);
    default:
      return fill_typed<uint64_t>(a);
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const MaskKernels mask_kernels = {count, positions, compress, fill};
}
}  // namespace tercel
