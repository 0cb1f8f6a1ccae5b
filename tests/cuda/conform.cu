// Conformance of the wrappers in cuda/ptx.cuh and cuda/hopper.cuh: each runs on fixed operands whose results
// are exact (small integers), and a line "name hash" is printed. The emulator and a GPU must print the same.
//
//   g++:   -x c++ with tests/cuda on the include path, linked with the emulator
//   nvcc:  -arch=sm_80, or -gencode arch=compute_90a,code=sm_90a with the Hopper part
#define TERCEL_WGMMA_INSTANTIATE
#include "cuda/hopper.cuh"
#include "ops/matmul/gemm_wgmma.cuh"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace tercel::cuda {
Stream current_stream() { return nullptr; }
#if !TERCEL_EMULATED
bool have_wgmma() { return device_traits().capability == 90; }
#endif
}  // namespace tercel::cuda

namespace {

using namespace tercel;
using namespace tercel::cuda;

constexpr int kWords = 32 * 32;  // of output per test

// Operand word i of a test: halves, bytes or floats that are small integers.
TERCEL_INLINE uint32_t mix(uint32_t i) {
  i = (i ^ 61u) * 9u;
  i ^= i >> 4;
  i *= 0x27d4eb2du;
  return i ^ i >> 15;
}
TERCEL_INLINE int small(uint32_t i) { return static_cast<int>(mix(i) % 7) - 3; }
TERCEL_DEVICE uint32_t bf16_pair(uint32_t i) {
  return pack_bf16(static_cast<float>(small(2 * i)), static_cast<float>(small(2 * i + 1)));
}
TERCEL_DEVICE uint32_t f16_pair(uint32_t i) {
  return pack_f16(static_cast<float>(small(2 * i)), static_cast<float>(small(2 * i + 1)));
}

enum Test { kLdmatrix, kLdmatrixTrans, kMmaBf16, kMmaF16, kMmaTf32, kMmaS8, kCpAsync, kConvert, kShuffle, kStmatrix, kTests };
const char* const kNames[] = {"ldmatrix", "ldmatrix_trans", "mma_bf16", "mma_f16", "mma_tf32",
                              "mma_s8",   "cp_async",       "convert",  "shuffle", "stmatrix"};

__global__ void run_test(int test, uint32_t* out, const uint32_t* in) {
  TERCEL_SHARED(uint4, shared, 256);
  uint32_t* words = reinterpret_cast<uint32_t*>(shared);
  const uint32_t lane = threadIdx.x;
  uint32_t* mine = out + lane * 32;
  for (int i = 0; i < 32; ++i) words[i * 32 + lane] = mix(i * 32 + lane);
  __syncthreads();
  uint32_t a[4], b[2];
  if (test == kLdmatrix || test == kLdmatrixTrans) {
    const uint32_t address = shared_u32(words) + (lane * 5 % 32) * 16;
    if (test == kLdmatrix) {
      ldmatrix_x4(a, address);
    } else {
      ldmatrix_x4_trans(a, address);
    }
    for (int i = 0; i < 4; ++i) mine[i] = a[i];
  }
  if (test >= kMmaBf16 && test <= kMmaS8) {
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t w = lane * 4 + i;
      a[i] = test == kMmaBf16   ? bf16_pair(w)
             : test == kMmaF16  ? f16_pair(w)
             : test == kMmaTf32 ? float_to_bits(static_cast<float>(small(w)))
                                : mix(w);
    }
    for (uint32_t i = 0; i < 2; ++i) {
      const uint32_t w = 1000 + lane * 2 + i;
      b[i] = test == kMmaBf16   ? bf16_pair(w)
             : test == kMmaF16  ? f16_pair(w)
             : test == kMmaTf32 ? float_to_bits(static_cast<float>(small(w)))
                                : mix(w);
    }
    float d[4];
    int n[4];
    for (uint32_t i = 0; i < 4; ++i) d[i] = static_cast<float>(n[i] = small(5000 + lane * 4 + i));
    if (test == kMmaBf16) mma_bf16(d, a, b);
    if (test == kMmaF16) mma_f16(d, a, b);
    if (test == kMmaTf32) mma_tf32(d, a, b);
    if (test == kMmaS8) mma_s8(n, a, b);
    for (int i = 0; i < 4; ++i) mine[i] = test == kMmaS8 ? static_cast<uint32_t>(n[i]) : float_to_bits(d[i]);
  }
  if (test == kCpAsync) {
    cp_async16(shared_u32(words) + lane * 16, in + lane * 4, static_cast<int>(lane % 9) * 2);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    for (int i = 0; i < 4; ++i) mine[i] = words[lane * 4 + i];
  }
  if (test == kConvert) {
    for (uint32_t i = 0; i < 8; ++i) {
      const float x = bits_to_float((mix(lane * 8 + i) & 0x8fffffffu) | 0x38000000u);
      f8e4m3 e4;
      f8e5m2 e5;
      e4.bits = static_cast<uint8_t>(lane * 8 + i);
      e5.bits = static_cast<uint8_t>((lane * 8 + i) % 0x7c);
      mine[i] = pack_bf16(x, -x) ^ pack_f16(x, 2 * x);
      mine[8 + i] = from_float<bf16>(x).bits | static_cast<uint32_t>(from_float<f16>(x).bits) << 16;
      mine[16 + i] = round_tf32(float_to_bits(x)) & 0xffffe000u;  // PTX does not define the rest
      mine[24 + i] = float_to_bits(to_float(e4)) ^ float_to_bits(to_float(e5));
    }
  }
  if (test == kShuffle) {
    mine[0] = __shfl_xor_sync(kFullMask, mix(lane), 5);
    mine[1] = __shfl_down_sync(kFullMask, mix(lane), 3, 16);
    mine[2] = __shfl_up_sync(kFullMask, mix(lane), 7);
    mine[3] = __shfl_sync(kFullMask, mix(lane), static_cast<int>(lane * 3), 8);
    mine[4] = __ballot_sync(kFullMask, static_cast<int>(mix(lane) & 1));
  }
#if TERCEL_SM90A
  if (test == kStmatrix) {
    for (uint32_t i = 0; i < 4; ++i) a[i] = mix(9000 + lane * 4 + i);
    stmatrix_x4(shared_u32(words) + (lane * 5 % 32) * 16, a);
    __syncthreads();
    for (int i = 0; i < 4; ++i) mine[i] = words[lane * 4 + i];
  }
#endif
}

template <class T>
T* device_array(const std::vector<T>& v) {
#if TERCEL_EMULATED
  T* p = static_cast<T*>(emu::allocate(v.size() * sizeof(T)));
  std::memcpy(p, v.data(), v.size() * sizeof(T));
  return p;
#else
  T* p = nullptr;
  cudaMalloc(&p, v.size() * sizeof(T));
  cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice);
  return p;
#endif
}
template <class T>
void print_hash(const char* name, T* device, size_t n) {
  std::vector<T> host(n);
#if TERCEL_EMULATED
  std::memcpy(host.data(), device, n * sizeof(T));
#else
  cudaError_t e = cudaGetLastError();  // of the launch
  if (e == cudaSuccess) {
    e = cudaMemcpy(host.data(), device, n * sizeof(T), cudaMemcpyDeviceToHost);
  }
  if (e != cudaSuccess) {
    std::printf("%s failed: %s\n", name, cudaGetErrorString(e));
    std::exit(1);
  }
#endif
  uint64_t hash = 0xcbf29ce484222325u;
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(host.data());
  for (size_t i = 0; i < n * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  std::printf("%s %016llx\n", name, static_cast<unsigned long long>(hash));
}

// wgmma, TMA and mbarriers together, through the product; sums of -1, 0, 1 are exact in both types.
template <class T>
void run_wgmma(const char* name) {
  const int M = 200, N = 328, K = 136;
  std::vector<T> a(M * K), b(N * K), out(M * N);
  for (int i = 0; i < M * K; ++i) a[i] = T(static_cast<float>(small(i) % 2));
  for (int i = 0; i < N * K; ++i) b[i] = T(static_cast<float>(small(77777 + i) % 2));
  std::memset(static_cast<void*>(out.data()), 0, out.size() * sizeof(T));
  T* p = device_array(out);
  if (!launch_wgmma<T>(device_array(a), K, device_array(b), K, p, N, M, N, K, nullptr, 1.0f, false)) {
    std::printf("%s failed: not launched (no tensor map?)\n", name);
    std::exit(1);
  }
  print_hash(name, p, out.size());
}

}  // namespace

int main() {
  const bool hopper = device_traits().capability == 90 || TERCEL_EMULATED;
  std::vector<uint32_t> in(256);
  for (uint32_t i = 0; i < in.size(); ++i) in[i] = mix(i + 31);
  const uint32_t* source = device_array(in);
  for (int test = 0; test < kTests; ++test) {
    if (test == kStmatrix && !hopper) continue;
    uint32_t* out = device_array(std::vector<uint32_t>(kWords, 0));
    launch(run_test, 1, 32, 0, test, out, source);
    print_hash(kNames[test], out, kWords);
  }
  if (hopper) {
    run_wgmma<bf16>("wgmma_bf16");
    run_wgmma<f16>("wgmma_f16");
  }
  return 0;
}
