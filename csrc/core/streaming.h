// How large arrays pass the caches: stores around them, reads ahead of the hardware's. Which way is
// faster differs between processors of the same flags.
#pragma once

#include <cstdint>

namespace tercel {

// Whether an output of this size is larger than the caches keep.
bool exceeds_caches(int64_t out_bytes);

// Whether writing it in order is faster past the caches: lines at `out` are whole and need not be
// read first (64 MB on Zen 5: relu 3.3 -> 2.4 ms, where 7.3 -> 4.2). A store fence per few KB would
// cost more than that (9 ms at one per KB), so one ends each task. It is not faster on Skylake and
// Cascade Lake servers: there one core writes 6 GB/s past the caches, and the reads ahead of
// ordinary stores overlap with the computation (64 MB: add 17.5 instead of 21.8 ms, exp 15.9
// instead of 22.4, two threads the same; measured with a fence per 4 KB).
bool streams(const void* out, int64_t out_bytes);
// The same for an output that is written in rows: they must be whole cache lines.
inline bool streams_rows(const void* out, int64_t rows, int64_t row_bytes) {
  return row_bytes % 64 == 0 && streams(out, rows * row_bytes);
}

// Whether a core that reads memory in order should ask for every line itself, far ahead. Cascade
// Lake's hardware prefetchers need help at the ends of pages only; Zen 5 looks as far ahead as its
// reorder buffer reaches, which is not far where a line takes several instructions (64 MB of
// float32 in rows: amax 2.7 -> 1.4 ms, norm 1.9 -> 1.6; sum, with one addition a line, the same).
bool prefetches_reads();

}  // namespace tercel
