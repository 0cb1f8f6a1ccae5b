// Kernel contracts of embedding and embedding_bag.
//
// Letters: V rows of the table, D their length, n indices (int64, already in [0, V)), B bags. Sums
// run in A (float32; double for float64). Row sums are owned by their destination row, in index
// order: no atomics, the same bits for any number of threads.
#pragma once

#include <stdint.h>

#include "core/dtype.h"
#include "core/kernel_table.h"

namespace tercel {

// out[i] = table[idx[i]], rows of row_bytes bytes
struct GatherRowsArgs {
  const void* table;
  const int64_t* idx;
  void* out;
  int64_t n, row_bytes;
};

// out[v] = sum over k in [start[v], start[v + 1]) of src[source ? source[order[k]] : order[k]] *
// weight where weight = scale ? scale[order[k]] : 1, and the sum is divided by its number of terms
// if `by_count`. Rows without terms become zero, as does row `skip` (-1: none).
struct RowSumsArgs {
  const void* src;        // rows of D elements
  const int64_t* order;   // positions sorted by destination row, then by position
  const int64_t* start;   // [V + 1]
  const int64_t* source;  // or null
  const void* scale;      // A[n] or null
  void* out;              // [V, D]
  int64_t rows, dim, skip;
  bool by_count;
  DType dtype;
};

enum class BagMode : uint8_t { sum, mean, max };

// out[b] = sum, mean or max over k in [start[b], start[b + 1]) of table[idx[k]] (* scale[k], sum
// only); indices equal to `skip` are left out; an empty bag gives zero.
struct BagArgs {
  const void* table;
  const int64_t* idx;
  const int64_t* start;  // [B + 1]
  const void* scale;     // A[n] or null
  void* out;             // [B, D]
  int64_t* argmax;       // [B, D] or null; max only: the row taken, -1 for none
  int64_t bags, dim, skip;
  BagMode mode;
  DType dtype;
};

// out[k] = sum_d a[ia[k], d] * b[ib[k], d]; 0 where ib[k] == skip
struct RowDotsArgs {
  const void* a;
  const int64_t* ia;
  const void* b;
  const int64_t* ib;
  void* out;  // A[n]
  int64_t n, dim, skip;
  DType dtype;
};

// Scales the listed (distinct) rows of the table down to ||row||_p <= max_norm.
struct RenormArgs {
  void* table;
  const int64_t* rows;
  int64_t count, dim;
  double max_norm, p;
  DType dtype;
};

struct EmbeddingKernels {
  void (*gather_rows)(const GatherRowsArgs&);
  void (*row_sums)(const RowSumsArgs&);
  void (*bag)(const BagArgs&);
  void (*row_dots)(const RowDotsArgs&);
  void (*renorm)(const RenormArgs&);
};
TERCEL_KERNEL_TABLE(EmbeddingKernels, embedding_kernels)

}  // namespace tercel
