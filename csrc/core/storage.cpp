#include "core/storage.h"

#include "core/allocator.h"
#include "cuda/runtime.h"

namespace tercel {

Ref<Storage> Storage::allocate(int64_t nbytes, Device device) {
  if (device.is_cuda()) {
    void* block = nullptr;
    void* data = cuda::allocate(nbytes, device.index, &block);
    return make_ref<Storage>(data, nbytes, device, cuda::release, block, false);
  }
  void* data = cpu_alloc(nbytes);
  return make_ref<Storage>(data, nbytes, device, nullptr, nullptr, false);
}

Ref<Storage> Storage::wrap(void* data, int64_t nbytes, Deleter deleter, void* context,
                           bool readonly, Device device) {
  return make_ref<Storage>(data, nbytes, device, deleter, context, readonly);
}

Storage::~Storage() {
  if (deleter_) {
    deleter_(context_);
  } else {
    cpu_free(data_, nbytes_);
  }
}

}  // namespace tercel
