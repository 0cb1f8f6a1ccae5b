/* C ABI between the tensor library and the device library (libtercel_cuda.so, or the emulated one
 * of the tests). The device library is loaded with dlopen when a CUDA device is first used; it
 * exports one function, tercel_cuda_api(). Everything that is not "call the CUDA runtime" lives on
 * the other side.
 *
 * Functions return 0 or a CUDA error code; they never throw. `table` gives a family's struct of
 * kernel launchers, the same type as its CPU table (F_kernels.h); launchers run on the calling
 * thread's device and on the stream of the last set_stream. */
#ifndef TERCEL_CUDA_ABI_H_
#define TERCEL_CUDA_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TERCEL_CUDA_ABI_VERSION 2

typedef struct TercelCudaProperties {
  char name[256];
  int major, minor; /* compute capability */
  int multi_processor_count, max_threads_per_multi_processor, warp_size;
  int64_t total_memory, shared_memory_per_block_optin, l2_cache_size;
  int integrated, is_multi_gpu_board;
} TercelCudaProperties;

/* Written by kernels that meet a bad value, in host memory the device can write. `kind` is set
 * last. The first error of a burst wins or loses arbitrarily, which is enough for a message. */
enum TercelCudaErrorKind {
  TERCEL_CUDA_NO_ERROR = 0,
  TERCEL_CUDA_BAD_INDEX = 1,      /* index, size */
  TERCEL_CUDA_BAD_PROBABILITY = 2 /* value, not in [0, 1] */
};
typedef struct TercelCudaErrorSlot {
  int32_t kind;
  int32_t reserved;
  int64_t index, size;
  double value;
} TercelCudaErrorSlot;

enum TercelCudaCopy { TERCEL_CUDA_H2D = 1, TERCEL_CUDA_D2H = 2, TERCEL_CUDA_D2D = 3 };

typedef struct TercelCudaApi {
  int version;
  const char* name;       /* "cuda" or "emulated" */
  int minimum_capability; /* oldest GPU with code here: 80 is compute capability 8.0 */
  /* Why there are no devices, or null. Touches the driver; safe to call repeatedly. */
  const char* (*init)(int* device_count);
  const char* (*error_text)(int code);
  int out_of_memory_code;

  int (*set_device)(int index);
  int (*properties)(int index, TercelCudaProperties* out);
  int (*memory_info)(size_t* free_bytes, size_t* total_bytes);
  int (*device_synchronize)(void);
  int (*last_launch_error)(void); /* of this thread, cleared */
  TercelCudaErrorSlot* (*error_slot)(void);

  int (*allocate)(void** out, size_t nbytes);
  int (*release)(void* p);
  int (*host_allocate)(void** out, size_t nbytes); /* page-locked */
  int (*host_release)(void* p);
  /* *device: whose memory p is, -1: that of no device. */
  int (*pointer_device)(const void* p, int* device);
  int (*copy)(void* dst, const void* src, size_t nbytes, int kind, void* stream);

  void (*set_stream)(void* stream); /* null: the default stream */
  int (*stream_create)(void** out, int priority);
  int (*stream_destroy)(void* stream);
  int (*stream_synchronize)(void* stream);
  int (*stream_query)(void* stream, int* done);
  int (*stream_wait_event)(void* stream, void* event);
  int (*event_create)(void** out, int timing);
  int (*event_destroy)(void* event);
  int (*event_record)(void* event, void* stream);
  int (*event_query)(void* event, int* done);
  int (*event_synchronize)(void* event);
  int (*event_elapsed)(float* milliseconds, void* start, void* end);

  int (*capture_begin)(void* stream);
  int (*stream_capturing)(void* stream, int* yes);
  int (*capture_end)(void* stream, void** graph_out); /* instantiated, ready to launch */
  int (*graph_launch)(void* graph, void* stream);
  int (*graph_destroy)(void* graph);

  const void* (*table)(const char* name); /* null: this family has no kernels */
} TercelCudaApi;

typedef const TercelCudaApi* (*TercelCudaEntry)(void);
#define TERCEL_CUDA_ENTRY "tercel_cuda_api"

#ifdef __cplusplus
}
#endif
#endif
