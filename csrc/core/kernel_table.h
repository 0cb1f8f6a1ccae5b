// One table of kernel pointers per op family and ISA level.
//
//   // norm.h
//   struct NormKernels { void (*layer_norm_fwd)(const LayerNormFwdArgs&); ... };
//   TERCEL_KERNEL_TABLE(NormKernels, norm_kernels)
//   // norm_cpu.cpp, compiled once per level
//   namespace tercel::TERCEL_LEVEL { extern const NormKernels norm_kernels = {layer_norm_fwd, ...};
//   }
//   // norm.cpp
//   launch(norm_kernels().layer_norm_fwd, args, cost);
//
// norm_kernels(device) also knows the table of the CUDA device library, which has the same type:
// norm.cu holds it, and launch(norm_kernels(device).layer_norm_fwd, args, cost, device) runs its
// kernel.
#pragma once

#include "core/cpu_isa.h"
#include "core/device.h"

#define TERCEL_KERNEL_TABLE(Type, name)                                \
  TERCEL_CPU_TABLE(Type, name)                                         \
  [[maybe_unused]] static inline const Type& name(Device device) {     \
    if (device.is_cpu()) [[likely]]                                    \
      return name();                                                   \
    static const Type* table;                                          \
    if (!table) table = static_cast<const Type*>(cuda_kernels(#name)); \
    return *table;                                                     \
  }

#if !defined(TERCEL_HAVE_AVX2)
#define TERCEL_HAVE_AVX2 0
#endif
#if !defined(TERCEL_HAVE_AVX512)
#define TERCEL_HAVE_AVX512 0
#endif

#if defined(TERCEL_DEVICE_LIBRARY)
#define TERCEL_CPU_TABLE(Type, name)
#undef TERCEL_KERNEL_TABLE
#define TERCEL_KERNEL_TABLE(Type, name)  // the device library sees the types only
#elif TERCEL_HAVE_AVX512 && !TERCEL_HAVE_AVX2
// Development builds only: the avx2 slot repeats generic.
#define TERCEL_CPU_TABLE(Type, name)                                                     \
  namespace generic {                                                                    \
  extern const Type name;                                                                \
  }                                                                                      \
  namespace avx512 {                                                                     \
  extern const Type name;                                                                \
  }                                                                                      \
  static inline const Type& name() {                                                     \
    static const Type* const tables[] = {&generic::name, &generic::name, &avx512::name}; \
    return *tables[static_cast<int>(isa_level())];                                       \
  }
#elif TERCEL_HAVE_AVX512
#define TERCEL_CPU_TABLE(Type, name)                                                  \
  namespace generic {                                                                 \
  extern const Type name;                                                             \
  }                                                                                   \
  namespace avx2 {                                                                    \
  extern const Type name;                                                             \
  }                                                                                   \
  namespace avx512 {                                                                  \
  extern const Type name;                                                             \
  }                                                                                   \
  static inline const Type& name() {                                                  \
    static const Type* const tables[] = {&generic::name, &avx2::name, &avx512::name}; \
    return *tables[static_cast<int>(isa_level())];                                    \
  }
#elif TERCEL_HAVE_AVX2
#define TERCEL_CPU_TABLE(Type, name)                                   \
  namespace generic {                                                  \
  extern const Type name;                                              \
  }                                                                    \
  namespace avx2 {                                                     \
  extern const Type name;                                              \
  }                                                                    \
  static inline const Type& name() {                                   \
    static const Type* const tables[] = {&generic::name, &avx2::name}; \
    return *tables[static_cast<int>(isa_level())];                     \
  }
#else
#define TERCEL_CPU_TABLE(Type, name) \
  namespace generic {                \
  extern const Type name;            \
  }                                  \
  static inline const Type& name() { return generic::name; }
#endif
