#include "ops/elementwise/engine.h"

#include <algorithm>
#include <cstring>

#include "core/launch.h"
#include "core/parallel.h"
#include "core/streaming.h"
#include "core/strided.h"
#include "ops/copy/copy.h"

namespace tercel {
namespace {

constexpr int64_t kChunk = 1024;        // elements; 4 KB of float32
constexpr int64_t kChunkBytes = 4096;   // so 512 elements of 8 bytes
constexpr int64_t kStreamBytes = 2048;  // on their way past the caches
constexpr int kLongCost = 500;          // picoseconds per element
constexpr int64_t kLongRow = 32;        // rows at least this long are processed one by one

struct Buffer {
  alignas(64) char bytes[kChunkBytes];
};

// What the engine must do with one operand.
struct OperandPlan {
  char* data;
  DType dtype, work;
  int itemsize, work_size;
  bool linear;        // one arithmetic sequence over the whole index space
  bool direct;        // contiguous wherever a chunk lies, and of the work dtype: used in place
  ConvertFn convert;  // dtype <-> work, null if equal
};

struct Run {
  StridedLoop loop;
  ElementwiseCall call;
  int inputs;
  OperandPlan plan[kMaxOperands];  // 0 is the output
  bool by_row;                     // chunks end at row ends
  bool stream;                     // output bypasses the caches
  int64_t chunk;                   // elements that pass through the buffers together
  bool in_place;                   // no operand needs a buffer
};

// Position in the index space.
struct Cursor {
  int64_t index[kMaxDims];
  int64_t offset[kMaxOperands];  // bytes

  void seek(const StridedLoop& loop, int64_t linear) {
    for (int k = 0; k < loop.num_operands; ++k) offset[k] = 0;
    for (int d = 0; d < loop.dims; ++d) {
      index[d] = linear % loop.sizes[d];
      linear /= loop.sizes[d];
      for (int k = 0; k < loop.num_operands; ++k) offset[k] += index[d] * loop.strides[k][d];
    }
  }
  // Moves on by n elements, which must not pass the end of the row.
  void advance(const StridedLoop& loop, int64_t n) {
    index[0] += n;
    for (int k = 0; k < loop.num_operands; ++k) offset[k] += n * loop.strides[k][0];
    for (int d = 0; index[d] == loop.sizes[d] && d + 1 < loop.dims; ++d) {
      index[d] = 0;
      ++index[d + 1];
      for (int k = 0; k < loop.num_operands; ++k) {
        offset[k] += loop.strides[k][d + 1] - loop.sizes[d] * loop.strides[k][d];
      }
    }
  }
};

// Visits the runs that make up elements [cursor, cursor + n) of operand k: f(offset, count).
template <class F>
void for_runs(const StridedLoop& loop, Cursor cursor, int k, int64_t n, F f) {
  while (n > 0) {
    const int64_t count = std::min(n, loop.sizes[0] - cursor.index[0]);
    f(cursor.offset[k], count);
    cursor.advance(loop, count);
    n -= count;
  }
}

class Worker {
 public:
  explicit Worker(const Run& run) : run_(run), move_(move_kernels()) {}

  void span(int64_t begin, int64_t end) {
    const StridedLoop& loop = run_.loop;
    Cursor cursor;
    cursor.seek(loop, begin);
    for (int64_t i = begin; i < end;) {
      int64_t n = run_.in_place ? end - i : std::min(run_.chunk, end - i);
      if (run_.by_row) n = std::min(n, loop.sizes[0] - cursor.index[0]);
      process(cursor, n);
      i += n;
      if (i >= end) break;
      if (loop.dims == 1 || run_.by_row) {
        cursor.advance(loop, n);
      } else {
        cursor.seek(loop, i);
      }
    }
    if (run_.stream) move_.fence();
  }

 private:
  void process(const Cursor& cursor, int64_t n) {
    const void* in[kMaxInputs];
    for (int k = 1; k <= run_.inputs; ++k) in[k - 1] = load(cursor, k, n);
    const OperandPlan& out = run_.plan[0];
    char* target = out.data + cursor.offset[0];
    const bool in_place = out.direct && !run_.stream;
    const void* result = in[0];
    if (run_.call.fn) {
      void* buffer = in_place ? target : raw_[0].bytes;
      run_.call.fn(run_.call.params, buffer, in, n);
      result = buffer;
    }
    if (result == target) return;
    store(cursor, result, n);
  }

  const void* load(const Cursor& cursor, int k, int64_t n) {
    const OperandPlan& p = run_.plan[k];
    const char* source = p.data + cursor.offset[k];
    if (p.direct) return source;
    const StridedLoop& loop = run_.loop;
    const int64_t step = loop.strides[k][0];
    const bool one_run = p.linear || cursor.index[0] + n <= loop.sizes[0];
    if (one_run && step == 0) {  // one value: keep the buffer while it stays the same
      if (filled_[k] == source && filled_n_[k] >= n) return converted_[k].bytes;
      char value[8];
      if (p.convert) {
        p.convert(value, source, 1);
      } else {
        std::memcpy(value, source, static_cast<size_t>(p.itemsize));
      }
      move_.gather[log2_itemsize(p.work)](converted_[k].bytes, value, 0, n);
      filled_[k] = source;
      filled_n_[k] = n;
      return converted_[k].bytes;
    }
    const void* raw = source;
    if (!(one_run && step == p.itemsize)) {
      char* buffer = raw_[k].bytes;
      const GatherFn gather = move_.gather[log2_itemsize(p.dtype)];
      if (one_run) {
        gather(buffer, source, step, n);
      } else {
        for_runs(loop, cursor, k, n, [&](int64_t offset, int64_t count) {
          gather(buffer, p.data + offset, step, count);
          buffer += count * p.itemsize;
        });
      }
      raw = raw_[k].bytes;
    }
    if (!p.convert) return raw;
    p.convert(converted_[k].bytes, raw, n);
    return converted_[k].bytes;
  }

  void store(const Cursor& cursor, const void* result, int64_t n) {
    const OperandPlan& p = run_.plan[0];
    const StridedLoop& loop = run_.loop;
    char* target = p.data + cursor.offset[0];
    const int64_t step = loop.strides[0][0];
    const bool one_run = p.linear || cursor.index[0] + n <= loop.sizes[0];
    const bool contiguous = one_run && step == p.itemsize;
    if (p.convert) {
      char* buffer = contiguous && !run_.stream ? target : converted_[0].bytes;
      p.convert(buffer, result, n);
      if (buffer == target) return;
      result = buffer;
    }
    if (contiguous && run_.stream) return stream(cursor, result, n);
    if (contiguous) {
      std::memcpy(target, result, static_cast<size_t>(n * p.itemsize));
      return;
    }
    const char* from = static_cast<const char*>(result);
    const ScatterFn scatter = move_.scatter[log2_itemsize(p.dtype)];
    for_runs(loop, cursor, 0, n, [&](int64_t offset, int64_t count) {
      scatter(p.data + offset, step, from, count);
      from += count * p.itemsize;
    });
  }

  // Writes past the caches while the elements after the next chunk's are read.
  void stream(const Cursor& cursor, const void* result, int64_t n) {
    Ahead ahead[kMaxInputs];
    int count = 0;
    for (int k = 1; prefetches_reads() && k <= run_.inputs; ++k) {
      const OperandPlan& p = run_.plan[k];
      const int64_t step = run_.loop.strides[k][0];
      if (p.linear && step != 0)
        ahead[count++] = {p.data + cursor.offset[k] + 2 * n * step, n * step};
    }
    const OperandPlan& p = run_.plan[0];
    move_.stream_bytes(p.data + cursor.offset[0], result, n * p.itemsize, ahead, count);
  }

  const Run& run_;
  const MoveKernels& move_;
  const void* filled_[kMaxOperands] = {};
  int64_t filled_n_[kMaxOperands] = {};
  Buffer raw_[kMaxOperands], converted_[kMaxOperands];
};

void run_all(const Run& run) {
  const int64_t cost = run.call.cost + 100 * run.inputs;
  const int64_t grain =
      std::max<int64_t>(run.chunk, 12'000'000 / cost / run.chunk * run.chunk);  // ~10 us
  parallel_for(run.loop.numel, grain, [&](int64_t begin, int64_t end) {
    Worker worker(run);
    worker.span(begin, end);
  });
}

// A large operand whose fast dim is a slow one of the output: cheaper to transpose it first, in
// blocks.
bool wants_transpose(const StridedLoop& loop, int k, int64_t itemsize) {
  if (loop.numel < (1 << 16) || loop.dims == 1 || loop.sizes[0] < 4) return false;
  if (loop.strides[k][0] == itemsize || loop.strides[k][0] == 0) return false;
  for (int d = 1; d < loop.dims; ++d) {
    if (loop.strides[k][d] == itemsize && loop.sizes[d] >= 4) return true;
  }
  return false;
}

// Past the caches, from a buffer: an output in whole lines. Not after much computation, which
// ordinary stores overlap with better: many instructions on one thread, converted inputs on any.
bool wants_stream(const Run& run) {
  const OperandPlan& to = run.plan[0];
  const int64_t row_bytes = run.loop.sizes[0] * to.itemsize;
  if (!to.linear || run.loop.strides[0][0] != to.itemsize ||
      !streams(to.data, run.loop.numel * to.itemsize) || (run.by_row && row_bytes % 64 != 0) ||
      (run.call.cost >= kLongCost && num_threads() == 1)) {
    return false;
  }
  for (int k = 1; k <= run.inputs; ++k) {
    const OperandPlan& p = run.plan[k];
    const bool converts = run.call.fn && p.convert && run.loop.strides[k][0] != 0;
    if (converts || p.data == to.data) return false;
  }
  return true;
}

}  // namespace

void run_elementwise(const ElementwiseCall& call, const Tensor& out, const Tensor* const* inputs,
                     int num_inputs) {
  if (out.numel() == 0) return;
  if (!out.device().is_cpu()) [[unlikely]]
    return run_elementwise_cuda(call, out, inputs, num_inputs);
  Run run;
  run.call = call;
  run.inputs = num_inputs;
  Strides strides[kMaxOperands];
  const Strides* pointers[kMaxOperands];
  int64_t itemsizes[kMaxOperands];
  const Tensor* operands[kMaxOperands] = {&out};
  std::copy(inputs, inputs + num_inputs, operands + 1);
  for (int k = 0; k <= run.inputs; ++k) {
    const Tensor& t = *operands[k];
    itemsizes[k] = t.itemsize();
    if (t.shape() == out.shape()) {
      pointers[k] = &t.strides();
    } else {
      strides[k] = broadcast_strides(t.shape(), t.strides(), out.shape());
      pointers[k] = &strides[k];
    }
  }
  StridedLoop& loop = run.loop;
  loop.init(out.shape(), run.inputs + 1, pointers, itemsizes);
  run.by_row = loop.dims > 1 && loop.sizes[0] >= kLongRow;
  int64_t widest = 1;
  for (int k = 0; k <= run.inputs; ++k) {
    const Tensor& t = *operands[k];
    OperandPlan& p = run.plan[k];
    p.data = static_cast<char*>(t.data());
    if (k > 0 && call.fn && t.numel() == loop.numel && wants_transpose(loop, k, itemsizes[k])) {
      const Tensor moved = empty_like(out, t.dtype());
      strided_copy(moved, t);
      operands[k] = &moved;
      return run_elementwise(call, out, operands + 1, run.inputs);
    }
    p.dtype = t.dtype();
    if (call.fn) {
      p.work = k == 0 ? call.out_work : call.in_work[k - 1];
    } else {
      p.work = inputs[0]->dtype();
    }
    p.itemsize = static_cast<int>(itemsizes[k]);
    p.work_size = static_cast<int>(dtype_size(p.work));
    p.linear = loop.is_linear(k);
    const bool same =
        p.dtype == p.work || (p.itemsize == 1 && p.work == DType::u8 && !is_fp8(p.dtype));
    p.direct = same && loop.strides[k][0] == p.itemsize && (p.linear || run.by_row);
    const int from = static_cast<int>(k == 0 ? p.work : p.dtype),
              to = static_cast<int>(k == 0 ? p.dtype : p.work);
    p.convert = same ? nullptr : move_kernels().convert[from][to];
    widest = std::max<int64_t>({widest, p.itemsize, p.work_size});
  }
  run.stream = wants_stream(run);
  run.chunk = std::min(kChunk, (run.stream ? kStreamBytes : kChunkBytes) / widest);
  run.in_place = call.fn && !run.stream;
  for (int k = 0; k <= run.inputs; ++k) run.in_place &= run.plan[k].direct;
  launch(run_all, run, loop.numel * (call.cost + 100 * run.inputs) / 1000);
}

}  // namespace tercel
