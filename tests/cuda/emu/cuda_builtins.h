// Built-in variables and functions of CUDA C++ on top of the emulator. Each collective takes the
// line it is called from, so that threads that meet in different places are told apart.
#pragma once

#define threadIdx (emu::me->tid)
#define blockIdx (emu::me->bid)
#define blockDim (emu::me->block)
#define gridDim (emu::me->grid)
#define warpSize 32

#define EMU_LINE int line = __builtin_LINE()

inline void __syncthreads(EMU_LINE) { emu::barrier(0, 0, line); }
inline int __syncthreads_count(int p, EMU_LINE) { return emu::barrier_count(p, line); }
inline int __syncthreads_or(int p, EMU_LINE) { return emu::barrier_count(p, line) != 0; }
inline int __syncthreads_and(int p, EMU_LINE) { return emu::barrier_count(!p, line) == 0; }
inline void __syncwarp(unsigned mask = ~0u, EMU_LINE) { emu::sync_warp(mask, line); }

#define EMU_SHUFFLE(name, kind)                                                          \
  template <class T>                                                                     \
  inline T name(unsigned mask, T value, int argument, int width = 32, EMU_LINE) {        \
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");       \
    emu::shuffle(emu::Shuffle::kind, mask, &value, sizeof value, argument, width, line); \
    return value;                                                                        \
  }
EMU_SHUFFLE(__shfl_sync, index)
EMU_SHUFFLE(__shfl_up_sync, up)
EMU_SHUFFLE(__shfl_down_sync, down)
EMU_SHUFFLE(__shfl_xor_sync, exchange)
#undef EMU_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int p, EMU_LINE) { return emu::ballot(mask, p, line); }
inline int __any_sync(unsigned mask, int p, EMU_LINE) { return emu::ballot(mask, p, line) != 0; }
inline int __all_sync(unsigned mask, int p, EMU_LINE) { return emu::ballot(mask, !p, line) == 0; }
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, EMU_LINE) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  return emu::match_any(mask, bits, line);
}

// ---- atomics: fibers are not preempted, so plain code is atomic
// ------------------------------------------

namespace emu {
template <class T, class F>
inline T atomic_update(T* p, F&& f) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T)) fail("atomic: misaligned address");
  AtomicScope scope(p);
  const T old = *p;
  *p = static_cast<T>(f(old));
  return old;
}
}  // namespace emu

template <class T>
inline T atomicAdd(T* p, T v) {
  return emu::atomic_update(p, [&](T x) { return x + v; });
}
template <class T>
inline T atomicSub(T* p, T v) {
  return emu::atomic_update(p, [&](T x) { return x - v; });
}
template <class T>
inline T atomicMin(T* p, T v) {
  return emu::atomic_update(p, [&](T x) { return v < x ? v : x; });
}
template <class T>
inline T atomicMax(T* p, T v) {
  return emu::atomic_update(p, [&](T x) { return x < v ? v : x; });
}
template <class T>
inline T atomicAnd(T* p, T v) {
  return emu::atomic_update(p, [&](T x) { return x & v; });
}
template <class T>
inline T atomicOr(T* p, T v) {
  return emu::atomic_update(p, [&](T x) { return x | v; });
}
template <class T>
inline T atomicXor(T* p, T v) {
  return emu::atomic_update(p, [&](T x) { return x ^ v; });
}
template <class T>
inline T atomicExch(T* p, T v) {
  return emu::atomic_update(p, [&](T) { return v; });
}
template <class T>
inline T atomicCAS(T* p, T expected, T v) {
  return emu::atomic_update(p, [&](T x) { return x == expected ? v : x; });
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}
[[noreturn]] inline void __trap() { emu::fail("__trap"); }

// ---- arithmetic
// ----------------------------------------------------------------------------------------

template <class T>
inline T __ldg(const T* p) {
  return *p;
}
template <class T>
inline T __ldcs(const T* p) {
  return *p;
}
template <class T>
inline void __stcs(T* p, T v) {
  *p = v;
}
inline float __uint_as_float(unsigned u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}
inline unsigned __float_as_uint(float x) {
  unsigned u;
  memcpy(&u, &x, 4);
  return u;
}
inline float __int_as_float(int i) { return __uint_as_float(static_cast<unsigned>(i)); }
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline long long __double_as_longlong(double x) {
  long long i;
  memcpy(&i, &x, 8);
  return i;
}
inline double __longlong_as_double(long long i) {
  double x;
  memcpy(&x, &i, 8);
  return x;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) {
  return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64;
}
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) {
    r |= static_cast<unsigned>(bytes >> ((s >> (4 * i) & 7) * 8) & 0xff) << (8 * i);
  }
  return r;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned s) {
  const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<unsigned>(both << (s & 31) >> 32);
}
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; ++i) {
    c += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
  }
  return c;
}
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline int __float2int_rn(float x) { return static_cast<int>(nearbyintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }

#define EMU_MIN_MAX(T)                                       \
  inline constexpr T min(T a, T b) { return b < a ? b : a; } \
  inline constexpr T max(T a, T b) { return a < b ? b : a; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
#undef EMU_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
