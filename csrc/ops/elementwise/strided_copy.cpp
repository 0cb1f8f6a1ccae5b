// strided_copy: byte copies, blocked transposes, and everything else through the elementwise
// engine.
#include <algorithm>
#include <cstring>

#include "core/launch.h"
#include "core/parallel.h"
#include "core/streaming.h"
#include "core/strided.h"
#include "cuda/runtime.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/engine.h"

namespace tercel {
namespace {

constexpr int64_t kTileRows = 512, kTileCols = 64;  // work unit of a transpose
constexpr int64_t kCopyGrain = 1 << 16, kStreamGrain = 1 << 20, kReadAhead = 4096;  // bytes

struct BytesArgs {
  char* dst;
  const char* src;
  int64_t nbytes;
};
void copy_contiguous(const BytesArgs& a) {
  const bool stream = streams(a.dst, a.nbytes);
  parallel_for(a.nbytes, stream ? kStreamGrain : kCopyGrain, [&](int64_t begin, int64_t end) {
    if (!stream) {
      std::memcpy(a.dst + begin, a.src + begin, static_cast<size_t>(end - begin));
      return;
    }
    const MoveKernels& move = move_kernels();
    const Ahead ahead = {a.src + begin + kReadAhead, end - begin};
    move.stream_bytes(a.dst + begin, a.src + begin, end - begin, &ahead, prefetches_reads());
    move.fence();
  });
}

// dim 0 is contiguous in dst, dim `plane` in src; the others are looped over.
struct TransposeArgs {
  char* dst;
  const char* src;
  StridedLoop loop;
  int plane;
  int log2_size;
};
void copy_transposed(const TransposeArgs& a) {
  const StridedLoop& loop = a.loop;
  const int64_t cols = loop.sizes[0], rows = loop.sizes[a.plane];
  const int64_t col_blocks = (cols + kTileCols - 1) / kTileCols,
                row_blocks = (rows + kTileRows - 1) / kTileRows;
  const int64_t itemsize = int64_t{1} << a.log2_size;
  const int64_t batch = loop.numel / (cols * rows);
  const bool stream = exceeds_caches(loop.numel * itemsize);  // its lines are apart
  struct Block {
    int64_t col, row, dst, src;  // its first element, and the bytes before it
  };
  const auto block = [&](int64_t i) {
    Block b = {i % col_blocks * kTileCols, i / col_blocks % row_blocks * kTileRows, 0, 0};
    int64_t rest = i / (col_blocks * row_blocks);
    for (int k = 0; k < loop.dims; ++k) {
      const int64_t at = k == 0 ? b.col : k == a.plane ? b.row : rest % loop.sizes[k];
      if (k != 0 && k != a.plane) rest /= loop.sizes[k];
      b.dst += at * loop.strides[0][k];
      b.src += at * loop.strides[1][k];
    }
    return b;
  };
  const MoveKernels& move = move_kernels();
  const int64_t unit = std::min(cols, kTileCols) * std::min(rows, kTileRows) * itemsize;
  parallel_for(batch * row_blocks * col_blocks, std::max<int64_t>(1, (256 << 10) / unit),
               [&](int64_t begin, int64_t end) {
                 Block b = block(begin);
                 for (int64_t i = begin; i < end; ++i) {
                   const Block next = block(i + 1);
                   move.transpose[a.log2_size](
                       a.dst + b.dst, loop.strides[0][a.plane], a.src + b.src, loop.strides[1][0],
                       std::min(kTileRows, rows - b.row), std::min(kTileCols, cols - b.col),
                       a.src + next.src, stream);
                   b = next;
                 }
                 if (stream) move.fence();
               });
}

// dim 0 is contiguous in both.
struct RowsArgs {
  char* dst;
  const char* src;
  StridedLoop loop;
  int64_t itemsize;
};
void copy_rows(const RowsArgs& a) {
  const StridedLoop& loop = a.loop;
  const int64_t row_bytes = loop.sizes[0] * a.itemsize, inner = loop.sizes[1];
  const int64_t rows = loop.numel / loop.sizes[0];
  const bool stream = streams(a.dst, row_bytes * rows);
  parallel_for(
      rows, std::max<int64_t>(1, (256 << 10) / row_bytes), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end;) {
          const int64_t first = i % inner, count = std::min(inner - first, end - i);
          int64_t d = first * loop.strides[0][1], s = first * loop.strides[1][1], rest = i / inner;
          for (int k = 2; k < loop.dims; ++k) {
            d += rest % loop.sizes[k] * loop.strides[0][k];
            s += rest % loop.sizes[k] * loop.strides[1][k];
            rest /= loop.sizes[k];
          }
          move_kernels().copy_rows(a.dst + d, loop.strides[0][1], a.src + s, loop.strides[1][1],
                                   row_bytes, count, stream);
          i += count;
        }
        if (stream) move_kernels().fence();
      });
}

}  // namespace

namespace {

// Bytes of a contiguous tensor from one device to another; anything else is made contiguous where
// it is, and converted on the destination.
void copy_between_devices(const Tensor& dst, const Tensor& src, bool non_blocking) {
  if (src.numel() != dst.numel() || !src.is_contiguous()) {
    if (src.numel() < dst.numel()) {  // move the small one, broadcast on the other side
      Tensor moved = empty(src.shape(), src.dtype(), dst.device());
      copy_between_devices(moved, src, non_blocking);
      return strided_copy(dst, moved);
    }
    Tensor dense = empty(dst.shape(), src.dtype(), src.device());
    strided_copy(dense, src);
    return copy_between_devices(dst, dense, non_blocking && src.device().is_cuda());
  }
  if (dst.dtype() != src.dtype() || !dst.is_contiguous()) {
    Tensor moved = empty(dst.shape(), src.dtype(), dst.device());
    copy_between_devices(moved, src, false);
    return strided_copy(dst, moved);
  }
  cuda::copy_bytes(dst.data(dst.device()), dst.device(), src.data(src.device()), src.device(),
                   src.numel() * src.itemsize(), non_blocking);
}

}  // namespace

void strided_copy(const Tensor& dst, const Tensor& src, bool non_blocking) {
  const int64_t numel = dst.numel(), itemsize = dst.itemsize();
  if (numel == 0) return;
  if (!dst.device().is_cpu() || !src.device().is_cpu()) [[unlikely]] {
    if (dst.device() != src.device()) return copy_between_devices(dst, src, non_blocking);
    if (dst.dtype() == src.dtype() && dst.is_contiguous() && src.is_contiguous() &&
        src.numel() == numel) {
      return cuda::copy_bytes(dst.data(dst.device()), dst.device(), src.data(src.device()),
                              src.device(), numel * itemsize, true);
    }
    return run_elementwise(ElementwiseCall{}, dst, {&src});
  }
  const bool same_dtype = dst.dtype() == src.dtype();
  if (same_dtype && dst.is_contiguous() && src.is_contiguous() && src.numel() == numel) {
    const BytesArgs args{static_cast<char*>(dst.data()), static_cast<const char*>(src.data()),
                         numel * itemsize};
    return launch(copy_contiguous, args, numel * itemsize / 10);
  }
  if (numel >= 1024 && src.numel() == numel) {
    const Strides* strides[] = {&dst.strides(), &src.strides()};
    Strides aligned;
    if (src.dim() != dst.dim()) {
      aligned = broadcast_strides(src.shape(), src.strides(), dst.shape());
      strides[1] = &aligned;
    }
    const int64_t itemsizes[] = {itemsize, src.itemsize()};
    TransposeArgs args;
    args.loop.init(dst.shape(), 2, strides, itemsizes);
    const StridedLoop& loop = args.loop;
    int plane = 0;
    if (loop.strides[0][0] == itemsize && loop.strides[1][0] != src.itemsize()) {
      for (int d = 1; d < loop.dims; ++d) {
        if (loop.strides[1][d] == src.itemsize() && loop.sizes[d] >= 4 && loop.sizes[0] >= 4)
          plane = d;
      }
    }
    if (plane && !same_dtype) {  // move first, then convert
      Tensor moved = empty_like(dst, src.dtype());
      strided_copy(moved, src);
      return strided_copy(dst, moved);
    }
    if (plane) {
      args.dst = static_cast<char*>(dst.data());
      args.src = static_cast<const char*>(src.data());
      args.plane = plane;
      args.log2_size = log2_itemsize(dst.dtype());
      return launch(copy_transposed, args, numel * itemsize / 5);
    }
    const bool rows_contiguous = loop.strides[0][0] == itemsize && loop.strides[1][0] == itemsize;
    if (same_dtype && rows_contiguous && loop.dims > 1) {
      const RowsArgs rows{static_cast<char*>(dst.data()), static_cast<const char*>(src.data()),
                          loop, itemsize};
      return launch(copy_rows, rows, numel * itemsize / 8);
    }
    if (same_dtype && rows_contiguous) {
      const BytesArgs bytes{static_cast<char*>(dst.data()), static_cast<const char*>(src.data()),
                            numel * itemsize};
      return launch(copy_contiguous, bytes, numel * itemsize / 10);
    }
  }
  ElementwiseCall call{};
  call.cost = 150;
  run_elementwise(call, dst, {&src});
}

}  // namespace tercel
