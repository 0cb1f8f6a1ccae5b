// CUDA devices as the tensor library sees them: the loaded device library, current device and
// stream, copies, the caching allocator's statistics. Nothing here touches the driver before a CUDA
// device is asked for.
#pragma once

#include <memory>
#include <string>

#include "core/allocator.h"
#include "core/device.h"
#include "core/storage.h"
#include "cuda/abi.h"

namespace tercel::cuda {

// The loaded device library. Raises RuntimeError "<op>: no CUDA driver found ..." when there is
// none.
const TercelCudaApi& api(const char* op);
const TercelCudaApi& on_device(int device);  // the same, with `device` current in the library
// Why CUDA cannot be used, or an empty string.
std::string unavailable_reason();
int device_count();  // 0 when unavailable
bool is_initialized();
void check(int code, const char* call);  // raises RuntimeError with the CUDA error's text

int current_device();
void set_device(int index);  // of the calling thread
int64_t num_launches();

// ---- streams and events (streams are never destroyed while the allocator may hold blocks of them)
void* current_stream(int device);  // null: the default stream
void set_stream(int device, void* stream);
void synchronize(int device);  // raises a pending IndexError of a kernel
void stream_synchronize(int device, void* stream);
void check_error_slot();
void wait_stream(int device, void* waiting,
                 void* awaited);  // later work of `waiting` runs after it
// True while a graph is captured (cuda/graph.h) on the calling thread's stream of the device.
bool is_capturing(int device);

// ---- memory
void* allocate(int64_t nbytes, int device, void** block);  // raises OutOfMemoryError
void release(void* block) noexcept;
void record_stream(const Storage& storage, void* stream);  // storage is used on that stream too
MemoryStats memory_stats(int device);
void reset_peak_memory_stats(int device);
void empty_cache();
// Blocks of the stream, freed ones too, stay in place until as many calls of unpin_stream: a
// captured graph uses their addresses.
void pin_stream(int device, void* stream);
void unpin_stream(int device, void* stream);
Ref<Storage> allocate_pinned(int64_t nbytes);
bool is_pinned(const Storage& storage);
// dst, src: pointers on the devices; asynchronous for the host unless it must wait (device to
// pageable host).
void copy_bytes(void* dst, Device dst_device, const void* src, Device src_device, int64_t nbytes,
                bool non_blocking);

}  // namespace tercel::cuda
