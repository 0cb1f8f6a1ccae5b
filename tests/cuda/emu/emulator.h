// Emulation of a CUDA grid on the host: what kernel code sees through cuda/compat.cuh, and what
// tests set. Threads are fibers of one host thread, blocks run one after the other; a host thread
// has its own device, so tests may launch from several.
//
// The emulator is stricter than hardware: shared memory starts as NaN bytes and is poisoned beyond
// what was asked for (ASan builds), asynchronous copies land as late, as early or as randomly as
// allowed, and divergent collectives, deadlocks, wrong alignments and misuse of mbarriers end the
// launch with an error that names the operation and its line.
//
// The sources of the emulator are never built with a sanitizer: they call its hooks where it is
// there.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "emu/cuda_types.h"

namespace emu {

// ---- for tests
// -----------------------------------------------------------------------------------------

enum class Order { forward, reverse, random };  // in which runnable threads run
enum class Async { early, late, random };       // when asynchronous copies and wgmma take effect
struct Options {
  Order order = Order::forward;
  Async async = Async::late;
  unsigned seed = 1;
  int compute_capability = 80, multiprocessors = 2;  // what launchers choose kernels by
  bool throw_errors = true;                          // false: keep the first error for last_error()
};
extern thread_local Options options;

struct Stats {  // of this host thread, summed over launches
  uint64_t launches = 0, blocks = 0, switches = 0, collectives = 0;
  uint64_t matrices = 0, wavefronts = 0;  // of ldmatrix and stmatrix; equal when no bank conflicts
};
extern thread_local Stats stats;

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
std::string last_error();  // of this host thread, cleared; "" if none

// ---- for launches
// --------------------------------------------------------------------------------------

constexpr size_t kMaxShared = 227 << 10;
void run_kernel(dim3 grid, dim3 block, size_t shared_bytes, void (*entry)(void*), void* argument);
template <class F>
void run_kernel(dim3 grid, dim3 block, size_t shared_bytes, F&& f) {
  run_kernel(
      grid, block, shared_bytes, [](void* p) { (*static_cast<std::remove_reference_t<F>*>(p))(); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

void* allocate(size_t bytes);  // device memory, 256-byte aligned, NaN bytes
void deallocate(void* p);

// Stream capture: while `recording` is set, the host thread's launches are kept instead of run, and
// what they allocate lives as long as the recording.
struct Recording {
  std::vector<std::function<void()>> work;
  std::vector<void*> memory;
  Recording() = default;
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording();
};
extern thread_local Recording* recording;

// ---- for kernels, through compat.cuh and ptx.cuh
// --------------------------------------------------------

struct Lane {
  uint3 tid, bid;
  dim3 block, grid;
  unsigned linear, lane, warp;
};
extern thread_local const Lane* me;

[[noreturn]] void fail(const std::string& text);

void* static_shared(const void* site, size_t bytes, size_t align);
unsigned char* dynamic_shared();
uint32_t shared_address(const void* p);               // offset in the arena
unsigned char* shared_pointer(uint32_t a, size_t n);  // checked

void barrier(int id, unsigned threads, int line);  // threads 0: the whole block
int barrier_count(int predicate, int line);
void sync_warp(uint32_t mask, int line);
enum class Shuffle { index, up, down, exchange };
void shuffle(Shuffle kind, uint32_t mask, void* value, int bytes, int argument, int width,
             int line);
uint32_t ballot(uint32_t mask, int predicate, int line);
uint32_t match_any(uint32_t mask, uint64_t value, int line);
// Orders the calling thread's atomic on p with the other atomics on it, for the race checker.
struct AtomicScope {
  explicit AtomicScope(void* p);
  ~AtomicScope();
  void* p_;
};

void ldmatrix(uint32_t* r, int count, bool transpose, uint32_t address, int line);
void stmatrix(const uint32_t* r, int count, bool transpose, uint32_t address, int line);

enum class MmaKind { bf16, f16, tf32, s8, f64 };
// d += a b for one warp tile in the fragment layout of the PTX manual; m16n8k16 (bf16, f16),
// m16n8k8 (tf32), m16n8k32 (s8, d is int32), m8n8k4 (f64).
void mma(MmaKind kind, void* d, const void* a, const void* b, int line);

void cp_async(uint32_t dst, const void* src, int bytes, int source_bytes);
void cp_async_commit();
void cp_async_wait(int pending);

namespace types {   // its functions must not be found through the argument
struct TensorMap {  // 2-d, stands for CUtensorMap and fits in its 128 bytes
  void* base;
  uint64_t size[2];      // elements, fastest first
  uint64_t pitch_bytes;  // of a row
  uint32_t box[2];
  int element_bytes, swizzle_bytes;
  uint32_t magic;
};
}  // namespace types
using types::TensorMap;
constexpr uint32_t kTensorMapMagic = 0x7a3a5eed;
// Byte offset after the swizzle of 32, 64 or 128 bytes: 16-byte units XOR the number of their
// 128-byte line.
inline uint32_t swizzle(uint32_t address, int bytes) {
  const uint32_t mask = bytes == 128 ? 7 : bytes == 64 ? 3 : bytes == 32 ? 1 : 0;
  return address ^ ((address >> 7 & mask) << 4);
}

void mbarrier_init(uint32_t address, unsigned count);
void mbarrier_arrive(uint32_t address, unsigned expect_bytes);
void mbarrier_wait(uint32_t address, unsigned parity, int line);
void tma_load(uint32_t dst, const TensorMap* map, int x, int y, uint32_t mbarrier);
void tma_store(const TensorMap* map, uint32_t src, int x, int y);
void tma_store_commit();
void tma_store_wait(int pending, bool reads_only);
void proxy_fence();  // shared memory written by this thread becomes visible to TMA and wgmma

void wgmma_fence(int line);
void wgmma(MmaKind kind, float* d, int n, uint64_t a, uint64_t b, bool accumulate, int line);
void wgmma_commit(int line);
void wgmma_wait(int pending, int line);

}  // namespace emu

#include "emu/cuda_builtins.h"
