// What a .cu file of an op family needs from the device library: launch geometry, the error slot,
// and a way to publish its table of launchers under the name of the CPU's table.
//
//   TERCEL_DEVICE_TABLE(SoftmaxKernels, softmax_kernels) = {.softmax = softmax, ...};
#pragma once

#include <cstdint>

#include "cuda/abi.h"

namespace tercel::cuda {

TercelCudaErrorSlot* error_slot();
int multiprocessors();  // of the current device

struct TableEntry {
  const char* name;
  const void* table;
  const TableEntry* next;
  TableEntry(const char* n, const void* t);  // links itself in
};

#define TERCEL_DEVICE_TABLE(Type, name)                                       \
  extern const ::tercel::Type name##_table;                                   \
  static const ::tercel::cuda::TableEntry name##_entry(#name, &name##_table); \
  const ::tercel::Type name##_table

// Blocks for `work` items in a grid-stride loop of `threads` each: enough to fill the device a few
// times.
inline unsigned grid_for(int64_t work, int threads, int waves = 8) {
  const int64_t blocks = (work + threads - 1) / threads;
  const int64_t most = static_cast<int64_t>(multiprocessors()) * waves * (2048 / threads);
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

}  // namespace tercel::cuda
