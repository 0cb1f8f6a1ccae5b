// The emulator itself: correct kernels give correct results, wrong ones end with the right error.
#include "emu_check.h"

namespace tercel::cuda {
Stream current_stream() { return nullptr; }
}  // namespace tercel::cuda

namespace {

using namespace tercel;
using namespace tercel::cuda;
using test::contains;
using test::emulator_error;

template <class T>
__global__ void scale_kernel(T* y, const T* x, float factor, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<T>(to_float(x[i]) * factor);
}

// Sum of each row; `kThreads` threads a row. Flags plant a bug.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    row_sum_kernel(float* y, const float* x, int cols, bool first_barrier, bool shuffle_all) {
  TERCEL_SHARED(float, partial, kThreads / 32);
  const float* row = x + static_cast<int64_t>(blockIdx.x) * cols;
  float s = 0;
  for (int c = threadIdx.x; c < cols; c += kThreads) s += row[c];
  if (shuffle_all || threadIdx.x % 32 < 16) {
    TERCEL_UNROLL for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(kFullMask, s, o);
  }
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = s;
  if (first_barrier) __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (int w = 0; w < kThreads / 32; ++w) total += partial[w];
    y[blockIdx.x] = total;
  }
}

TEST(elementwise) {
  auto run = [](auto zero) {
    using T = decltype(zero);
    const int64_t n = 1000;
    const auto x = test::random_vector<T>(n);
    test::each_schedule([&] {
      test::Guarded<T> y(n);
      launch(scale_kernel<T>, dim3(4), dim3(256), 0, y.data(), x.data(), 0.5f, n);
      bool good = y.margins_intact();
      for (int64_t i = 0; i < n; ++i) {
        good &= static_cast<float>(y[i]) == static_cast<float>(T(static_cast<float>(x[i]) * 0.5f));
      }
      CHECK(good);
    });
  };
  run(0.0f);
  run(bf16{});
  run(f16{});
  run(f8e4m3{});
  run(f8e5m2{});
}

double row_sum_error(bool barrier, bool shuffle_all) {
  const int rows = 3, cols = 1000;
  const auto x = test::random_vector<float>(rows * cols);
  test::Guarded<float> y(rows);
  launch(row_sum_kernel<128>, dim3(rows), dim3(128), 0, y.data(), x.data(), cols, barrier,
         shuffle_all);
  double worst = 0;
  for (int r = 0; r < rows; ++r) {
    double sum = 0;
    for (int c = 0; c < cols; ++c) sum += x[r * cols + c];
    const double e = std::fabs(sum - y[r]);
    if (!(e < worst)) worst = e;
  }
  return worst;
}

TEST(block_reduction) {
  test::each_schedule([] { CHECK(row_sum_error(true, true) < 1e-3); });
}

TEST(missing_barrier_is_seen) {
  bool seen = false;
  const emu::Options saved = emu::options;
  emu::options.order = emu::Order::forward;
  seen = !(row_sum_error(false, true) < 1e-3);
  emu::options = saved;
#if !defined(__SANITIZE_THREAD__)
  CHECK(seen);
#endif
}

TEST(shuffle_in_divergent_branch) {
  const std::string text = emulator_error([] { row_sum_error(true, false); });
  CHECK(contains(text, "__shfl"));
  CHECK(contains(text, "deadlock"));
}

__global__ void barrier_in_branch() {
  if (threadIdx.x < 32) __syncthreads();
}
__global__ void barrier_after_exit() {
  if (threadIdx.x == 7) return;
  __syncthreads();
}
__global__ void two_barriers() {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void shared_overflow() {
  TERCEL_SHARED(float, big, 60000);
  big[threadIdx.x] = 0;
}

TEST(errors_of_synchronisation) {
  CHECK(contains(emulator_error([] { launch(barrier_in_branch, 1, 64, 0); }), "deadlock"));
  CHECK(contains(emulator_error([] { launch(barrier_after_exit, 1, 64, 0); }), "exited"));
  CHECK(contains(emulator_error([] { launch(two_barriers, 1, 64, 0); }), "reached from lines"));
  CHECK(contains(emulator_error([] { launch(shared_overflow, 1, 64, 0); }), "overflow"));
  CHECK(contains(emulator_error([] { launch(barrier_in_branch, 1, 1025, 0); }), "dimensions"));
  CHECK(contains(emulator_error([] { launch(barrier_in_branch, 1, 32, 240 << 10); }), "227 KB"));
}

__global__ void warp_functions(unsigned* out) {
  const int lane = threadIdx.x;
  out[lane] = __ballot_sync(kFullMask, lane % 3 == 0);
  out[32 + lane] = static_cast<unsigned>(__shfl_up_sync(kFullMask, lane, 2));
  out[64 + lane] = static_cast<unsigned>(__shfl_down_sync(kFullMask, lane, 3, 8));
  out[96 + lane] = static_cast<unsigned>(__shfl_sync(kFullMask, lane, lane * 5, 16));
  out[128 + lane] = __match_any_sync(kFullMask, lane / 4);
  out[160 + lane] = static_cast<unsigned>(__syncthreads_count(lane < 5));
  if (lane < 8) out[192 + lane] = static_cast<unsigned>(__any_sync(0xffu, lane == 7));
  double d = lane;
  d = __shfl_xor_sync(kFullMask, d, 1);
  out[200 + lane] = static_cast<unsigned>(d);
  atomicAdd(out + 232, 1u);
}

TEST(warp_collectives) {
  test::each_schedule([] {
    std::vector<unsigned> out(240, 0);
    launch(warp_functions, 1, 32, 0, out.data());
    bool good = out[232] == 32;
    for (unsigned l = 0; l < 32; ++l) {
      good &= out[l] == 0x49249249u;
      good &= out[32 + l] == (l < 2 ? l : l - 2);
      good &= out[64 + l] == (l % 8 < 5 ? l + 3 : l);
      good &= out[96 + l] == l / 16 * 16 + l * 5 % 16;
      good &= out[128 + l] == 0xfu << l / 4 * 4;
      good &= out[160 + l] == 5;
      if (l < 8) good &= out[192 + l] == 1;
      good &= out[200 + l] == (l ^ 1);
    }
    CHECK(good);
  });
}

}  // namespace
