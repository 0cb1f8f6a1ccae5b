#include "core/storage.h"

#include "core/allocator.h"

namespace tercel {

Ref<Storage> Storage::allocate(int64_t nbytes, Device device) {
  TERCEL_CHECK(device.is_cpu(), Runtime, "allocate: no allocator for device ", to_string(device));
  void* data = cpu_alloc(nbytes);
  return make_ref<Storage>(data, nbytes, device, nullptr, nullptr, false);
}

Ref<Storage> Storage::wrap(void* data, int64_t nbytes, Deleter deleter, void* context,
                           bool readonly) {
  return make_ref<Storage>(data, nbytes, Device{}, deleter, context, readonly);
}

Storage::~Storage() {
  if (deleter_) {
    deleter_(context_);
  } else {
    cpu_free(data_, nbytes_);
  }
}

}  // namespace tercel
