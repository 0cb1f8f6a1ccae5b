// Byte-moving kernels of the shape family; they only copy, so one code serves every dtype.
#include <string.h>

#include "core/parallel.h"
#include "core/streaming.h"
#include "ops/elementwise/move_kernels.h"
#include "ops/shape/shape_kernels.h"

namespace tercel {
namespace {

// memcpy with the sizes of one element open-coded: rows of a few bytes are common (stack of
// scalars).
TERCEL_INLINE void copy_bytes(char* dst, const char* src, int64_t n) {
  switch (n) {
    case 1:
      *dst = *src;
      return;
    case 2:
      __builtin_memcpy(dst, src, 2);
      return;
    case 4:
      __builtin_memcpy(dst, src, 4);
      return;
    case 8:
      __builtin_memcpy(dst, src, 8);
      return;
    default:
      memcpy(dst, src, static_cast<size_t>(n));
  }
}

constexpr int64_t kChunkBytes = 256 << 10;

void copy_rows(const CopyRowsArgs& a) {
  if (a.rows == 1 || a.row_bytes >= kChunkBytes) {  // few long rows: cut inside the rows too
    const int64_t pieces = (a.row_bytes + kChunkBytes - 1) / kChunkBytes;
    parallel_for(a.rows * pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = i / pieces, at = i % pieces * kChunkBytes;
        const int64_t left = a.row_bytes - at;
        memcpy(a.dst + row * a.dst_pitch + at, a.src + row * a.src_pitch + at,
               static_cast<size_t>(left < kChunkBytes ? left : kChunkBytes));
      }
    });
    return;
  }
  const bool past = streams_rows(a.dst, a.rows, a.row_bytes) && a.dst_pitch % 64 == 0;
  const MoveKernels& move = TERCEL_LEVEL::move_kernels;
  parallel_for(
      a.rows, kChunkBytes / (a.row_bytes > 0 ? a.row_bytes : 1), [&](int64_t begin, int64_t end) {
        if (past) {
          move.copy_rows(a.dst + begin * a.dst_pitch, a.dst_pitch, a.src + begin * a.src_pitch,
                         a.src_pitch, a.row_bytes, end - begin, past);
          return move.fence();
        }
        for (int64_t r = begin; r < end; ++r) {
          copy_bytes(a.dst + r * a.dst_pitch, a.src + r * a.src_pitch, a.row_bytes);
        }
      });
}

void triangle(const TriangleArgs& a) {
  const int64_t row_bytes = a.cols * a.itemsize;
  const int64_t grain = row_bytes > 0 ? kChunkBytes / row_bytes + 1 : kChunkBytes;
  parallel_for(a.batch * a.rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = i % a.rows;
      // Lower: columns [0, r + diagonal] stay. Upper: columns [r + diagonal, cols) stay.
      int64_t cut = a.upper ? r + a.diagonal : r + a.diagonal + 1;
      cut = cut < 0 ? 0 : cut > a.cols ? a.cols : cut;
      const size_t head = static_cast<size_t>(cut * a.itemsize),
                   tail = static_cast<size_t>(row_bytes) - head;
      char* dst = a.dst + i * row_bytes;
      const char* src = a.src + i * row_bytes;
      if (a.upper) {
        memset(dst, 0, head);
        if (dst != src) memcpy(dst + head, src + head, tail);
      } else {
        if (dst != src) memcpy(dst, src, head);
        memset(dst + head, 0, tail);
      }
    }
  });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const ShapeKernels shape_kernels = {copy_rows, triangle};
}
}  // namespace tercel
