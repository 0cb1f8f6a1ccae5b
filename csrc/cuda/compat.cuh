// The one header every CUDA kernel includes: real CUDA under nvcc, the emulator of tests/cuda under
// a host compiler. Kernels use nothing of CUDA that is not here or in cuda/ptx.cuh.
//
// Conventions
//   * Kernels live in headers or .cu files that also compile as plain C++; they include this header
//     (and ptx.cuh), the Args header of their family, core/half.h, core/dtype.h. No std containers.
//   * No inline asm and no intrinsics outside cuda/ptx.cuh.
//   * A kernel is `__global__ void __launch_bounds__(T) name(args...)`, in an anonymous namespace
//     or a template, started by
//         launch(name<...>, grid, block, dynamic_shared_bytes, args...);
//     on the calling thread's current stream. Errors: last_launch_error() of the runtime.
//   * Shared memory: TERCEL_SHARED(float, red, 32);   TERCEL_SHARED_2D(float, tile, 32, 33);
//     TERCEL_DYNAMIC_SHARED(buffer);  (unsigned char*, 1024-byte aligned). All of it starts as NaN
//     bytes in the emulator.
//   * Arguments are plain pointers, integers and PODs, by value. Element offsets are int64_t,
//     indices inside a tile are int. gridDim.y and .z hold at most 65535: put long dims in x.
//   * Every thread of the block reaches every __syncthreads(); every lane that a mask names reaches
//     the collective, from the same line. No warp-synchronous assumptions, no spin loops.
//   * bf16, f16, f8e4m3, f8e5m2 are the library's own (core/half.h). Kernels convert with
//     to_float(x) and from_float<T>(f): one instruction where the GPU has one.
//   * Float sums use no atomics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__CUDACC__) && defined(TERCEL_INLINE)
#error "include cuda/compat.cuh before core/half.h: its functions have to be device functions"
#endif

#if defined(__CUDACC__)

#include <cuda.h>  // types of tensor maps; nothing is linked
#include <cuda_runtime.h>

#define TERCEL_INLINE __host__ __device__ __forceinline__
#define TERCEL_DEVICE __device__ __forceinline__
#define TERCEL_UNROLL _Pragma("unroll")
#define TERCEL_SHARED(T, name, n) __shared__ T name[n]
#define TERCEL_SHARED_2D(T, name, rows, cols) __shared__ T name[rows][cols]
#define TERCEL_DYNAMIC_SHARED(name)                              \
  extern __shared__ __align__(1024) unsigned char tercel_smem[]; \
  unsigned char* name = tercel_smem
#define TERCEL_EMULATED 0

#else

#define TERCEL_INLINE inline __attribute__((always_inline))
#define TERCEL_DEVICE inline
#define TERCEL_UNROLL
#define TERCEL_EMULATED 1
#include "emu/emulator.h"  // folder tests/cuda
// A static local is one object per instantiation of a template, as the shared array it stands for.
#define TERCEL_SHARED(T, name, n) \
  static char name##_id;          \
  T* name = static_cast<T*>(emu::static_shared(&name##_id, sizeof(T) * (n), alignof(T)))
#define TERCEL_SHARED_2D(T, name, rows, cols) \
  static char name##_id;                      \
  T(*name)                                    \
  [cols] = static_cast<T(*)[cols]>(           \
      emu::static_shared(&name##_id, sizeof(T) * (rows) * (cols), alignof(T)))
#define TERCEL_DYNAMIC_SHARED(name) unsigned char* name = emu::dynamic_shared()

#endif

#include "core/half.h"

namespace tercel::cuda {

inline constexpr unsigned kFullMask = 0xffffffffu;

#if TERCEL_EMULATED
using Stream = void*;
#else
using Stream = cudaStream_t;
#endif

// Stream of the calling thread; the runtime of the device library defines it.
Stream current_stream();

namespace detail {
template <class T>
struct identity {
  using type = T;
};
}  // namespace detail

// Starts a kernel on the current stream. More than 48 KB of dynamic shared memory are asked for.
template <class... P>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
            typename detail::identity<P>::type... args) {
#if TERCEL_EMULATED
  const auto work = [=] { emu::run_kernel(grid, block, shared_bytes, [&] { kernel(args...); }); };
  if (emu::recording) return emu::recording->work.push_back(work);
  work();
#else
  if (shared_bytes > 48 * 1024) {
    cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                         cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shared_bytes));
  }
  kernel<<<grid, block, shared_bytes, current_stream()>>>(args...);
#endif
}

// Device memory for the kernels of one launcher, returned in stream order. null: out of memory.
class Workspace {
 public:
  explicit Workspace(size_t bytes) {
#if TERCEL_EMULATED
    data_ = emu::allocate(bytes);
#else
    if (cudaMallocAsync(&data_, bytes, current_stream()) != cudaSuccess) data_ = nullptr;
#endif
  }
  ~Workspace() {
    if (!data_) return;
#if TERCEL_EMULATED
    emu::deallocate(data_);
#else
    cudaFreeAsync(data_, current_stream());
#endif
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

// Of the current device: compute capability (80, 90) and number of multiprocessors. Emulated: as the
// options say.
struct DeviceTraits {
  int capability, multiprocessors;
};
inline DeviceTraits device_traits() {
#if TERCEL_EMULATED
  return {emu::options.compute_capability, emu::options.multiprocessors};
#else
  static DeviceTraits known[64] = {};
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess || device >= 64) return {80, 108};
  if (!known[device].multiprocessors) {
    int major = 8, minor = 0, count = 108;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
    known[device] = {major * 10 + minor, count};
  }
  return known[device];
#endif
}

// ---- bits and conversions ------------------------------------------------------------------

TERCEL_INLINE float bits_to_float(uint32_t u) { return tercel::detail::bits_float(u); }
TERCEL_INLINE uint32_t float_to_bits(float x) { return tercel::detail::float_bits(x); }

TERCEL_DEVICE float to_float(float x) { return x; }
TERCEL_DEVICE double to_float(double x) { return x; }
TERCEL_DEVICE float to_float(bf16 x) { return bits_to_float(static_cast<uint32_t>(x.bits) << 16); }
#if TERCEL_EMULATED
TERCEL_DEVICE float to_float(f16 x) { return static_cast<float>(x); }
#else
TERCEL_DEVICE float to_float(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
#endif
TERCEL_DEVICE float to_float(f8e4m3 x) {  // exponent rebased by 2^120, NaN apart
  const float y = bits_to_float(static_cast<uint32_t>(x.bits & 0x7fu) << 20) * 0x1p120f;
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x80u) << 24;
  return bits_to_float(sign | ((x.bits & 0x7fu) == 0x7fu ? 0x7fc00000u : float_to_bits(y)));
}
TERCEL_DEVICE float to_float(f8e5m2 x) {  // the upper half of a float16
  f16 h;
  h.bits = static_cast<uint16_t>(x.bits << 8);
  return to_float(h);
}

template <class T>
TERCEL_DEVICE T from_float(float x) {
  return static_cast<T>(x);
}
#if !TERCEL_EMULATED
template <>
TERCEL_DEVICE bf16 from_float<bf16>(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
template <>
TERCEL_DEVICE f16 from_float<f16>(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
#endif

// Wide sums: not rounded on the way when T is double.
template <class T>
TERCEL_DEVICE T from_float(double x) {
  if constexpr (std::is_same<T, double>::value) {
    return x;
  } else {
    return from_float<T>(static_cast<float>(x));
  }
}

// `N` elements moved by one access; N * sizeof(T) is 2, 4, 8 or 16.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};
template <int N, class T>
TERCEL_DEVICE Pack<T, N> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, N>*>(p);
}
template <int N, class T>
TERCEL_DEVICE void store_pack(T* p, const Pack<T, N>& x) {
  *reinterpret_cast<Pack<T, N>*>(p) = x;
}

}  // namespace tercel::cuda
