#include "ops/roofline/roofline.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/launch.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace tercel {
namespace {

constexpr const char* kNames[] = {"fma_f32", "fma_f64", "read", "write", "copy"};

double seconds_of(const RooflineArgs& args) {
  const auto start = std::chrono::steady_clock::now();
  launch(roofline_kernels().run, args, kReleaseNs);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double roofline(const std::string& name, int64_t bytes, double seconds) {
  const auto found = std::find(std::begin(kNames), std::end(kNames), name);
  TERCEL_CHECK(found != std::end(kNames), Value,
               "roofline: expected fma_f32, fma_f64, read, write or copy, got '", name, "'");
  TERCEL_CHECK(bytes >= (1 << 14) && bytes <= (int64_t{1} << 34), Value,
               "roofline: bytes must be 16 KiB .. 16 GiB, got ", bytes);
  TERCEL_CHECK(seconds > 0 && seconds <= 60, Value, "roofline: seconds must be in (0, 60], got ",
               seconds);
  const Peak peak = static_cast<Peak>(found - kNames);
  const bool is_fma = peak <= Peak::fma_f64;

  RooflineArgs args{};
  args.peak = peak;
  args.parts = num_threads();
  args.count = std::max<int64_t>(bytes / 4 / args.parts / 256 * 256, 256);
  // beyond the last cache, stores that bypass it save the read for ownership
  args.stream = bytes > cache_sizes().l3;
  const Tensor buffer = empty({is_fma ? 256 : args.parts * args.count}, DType::f32);
  std::vector<float> sink(static_cast<size_t>(args.parts));
  args.sink = sink.data();
  args.buffer = buffer.data_as<float>();
  if (!is_fma) {
    std::fill_n(args.buffer, args.parts * args.count, 1.f);
  }

  // as many repeats as fill a sixth of the time, found by doubling
  args.repeats = 1;
  double t = seconds_of(args);
  while (t < seconds / 6 && args.repeats < (int64_t{1} << 40)) {
    args.repeats *= 2;
    t = seconds_of(args);
  }
  for (int i = 0; i < 4; ++i) t = std::min(t, seconds_of(args));

  const double flops_per_repeat =
      2.0 * roofline_kernels().fma_chains * (peak == Peak::fma_f32 ? 16 : 8);
  const double work = is_fma ? flops_per_repeat : 4.0 * static_cast<double>(args.count);
  return work * static_cast<double>(args.repeats) * static_cast<double>(args.parts) / t * 1e-9;
}

}  // namespace tercel
