// Errors that only a kernel can see: the first one is kept in the slot of cuda/abi.h, and raised by
// the next call that waits for the GPU.
#pragma once

#include "cuda/compat.cuh"

#include "cuda/abi.h"

namespace tercel::cuda {

TERCEL_DEVICE void report_index(TercelCudaErrorSlot* slot, int64_t index, int64_t size) {
  if (!slot) return;
  slot->index = index;
  slot->size = size;
  __threadfence_system();
  slot->kind = TERCEL_CUDA_BAD_INDEX;
}

TERCEL_DEVICE void report_probability(TercelCudaErrorSlot* slot, double value) {
  if (!slot) return;
  slot->value = value;
  __threadfence_system();
  slot->kind = TERCEL_CUDA_BAD_PROBABILITY;
}

// i, wrapped from the end if `wrap`; 0 and an error when it is out of range.
TERCEL_DEVICE int64_t checked(int64_t i, int64_t size, bool wrap, TercelCudaErrorSlot* slot) {
  if (i >= 0 && i < size) return i;
  if (wrap && i < 0 && i >= -size) return i + size;
  report_index(slot, i, size);
  return 0;
}

}  // namespace tercel::cuda
