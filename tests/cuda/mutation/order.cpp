// What mutate.py runs against planted bugs in sorting, selection, masks and scans.
#define TERCEL_DEVICE_LIBRARY 1
#include <algorithm>
#include <numeric>

#include "emu_check.h"
#include "ops/index/mask.cu"
#include "ops/reduce/order.cu"
#include "ops/sort/sort.cu"

namespace tercel::cuda {
Stream current_stream() { return nullptr; }
int multiprocessors() { return 2; }
TercelCudaErrorSlot* error_slot() { return nullptr; }
TableEntry::TableEntry(const char* n, const void* t) : name(n), table(t), next(nullptr) {}
}  // namespace tercel::cuda

namespace {

using namespace tercel;

// Few different values, NaN and both zeros among them, so that ties decide.
std::vector<float> with_ties(int64_t n) {
  std::vector<float> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) {
    const int r = static_cast<int>(test::generator()() % 40);
    v[i] = r == 0   ? __builtin_nanf("")
           : r == 1 ? -0.0f
           : r < 30 ? static_cast<float>(r - 15) * 0.37f
                    : test::random_value<float>();
  }
  return v;
}

std::vector<int64_t> stable_order(const float* v, int64_t n, bool descending) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const auto less = [](float a, float b) { return a < b || (a == a && b != b); };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return descending ? less(v[b], v[a]) : less(v[a], v[b]);
  });
  return order;
}

// Sorts rows and compares the indices; k = 0: everything.
void check_sort(int64_t rows, int64_t n, int64_t k, bool descending) {
  const std::vector<float> x = with_ties(rows * n);
  const int64_t take = k > 0 ? k : n;
  test::Guarded<float> values(rows * take);
  test::Guarded<int64_t> indices(rows * take);
  std::vector<char> work(static_cast<size_t>(sort_device_area(n, 4) * rows));
  const SortArgs a{x.data(), values.data(), indices.data(), rows,        n,
                   k,        DType::f32,    descending,     work.data(), static_cast<int>(rows)};
  k > 0 ? cuda::sort_kernels_table.select(a) : cuda::sort_kernels_table.sort(a);
  bool same = true;
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<int64_t> order = stable_order(x.data() + r * n, n, descending);
    for (int64_t i = 0; i < take; ++i) {
      const float want = x[static_cast<size_t>(r * n + order[static_cast<size_t>(i)])];
      same &= indices[r * take + i] == order[static_cast<size_t>(i)] &&
              std::memcmp(&values[r * take + i], &want, 4) == 0;
    }
  }
  CHECK(same);
  CHECK(values.margins_intact() && indices.margins_intact());
}

TEST(sort_rows) {
  test::each_schedule([] { check_sort(2, 150, 0, false); });
  check_sort(1, 700, 0, true);
}
TEST(sort_long_row) {
  check_sort(1, 4500, 0, false);
  if (!std::getenv("TERCEL_EMU_QUICK")) check_sort(2, 8300, 0, true);
}
// More tiles than a block has threads, which takes a row of a million entries: of three digits
// alone.
TEST(radix_places) {
  const int digits = 3, tiles = 2 * cuda::kRadixThreads + 44;
  std::vector<uint32_t> counts(static_cast<size_t>(digits * tiles)), places = counts, totals(256);
  uint32_t place = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = static_cast<uint32_t>(test::generator()() % 100);
    places[i] = place;
    place += counts[i];
  }
  cuda::launch(cuda::radix_totals_kernel, dim3(digits), dim3(cuda::kRadixThreads), 0, counts.data(),
               tiles, totals.data());
  cuda::launch(cuda::radix_places_kernel, dim3(digits), dim3(cuda::kRadixThreads), 0, counts.data(),
               tiles, totals.data());
  CHECK(totals[0] + totals[1] + totals[2] == place);
  CHECK(counts == places);
}
TEST(select) {
  check_sort(2, 2500, 37, true);
  check_sort(1, 3000, 300, false);
}

TEST(mask) {
  const int64_t n = 2 * kMaskBlock + 777;
  std::vector<uint8_t> mask(static_cast<size_t>(n));
  for (auto& m : mask) m = test::generator()() % 3 == 0;
  const std::vector<float> x = test::random_vector<float>(n);
  test::each_schedule([&] {
    int64_t count[3], start[3] = {};
    cuda::mask_kernels_table.count({mask.data(), n, count});
    for (int b = 1; b < 3; ++b) start[b] = start[b - 1] + count[b - 1];
    const int64_t total = start[2] + count[2];
    test::Guarded<float> out(total);
    test::Guarded<int64_t> at(total * 2);
    MaskSelectArgs a{};
    a.mask = mask.data();
    a.n = n;
    a.block_start = start;
    a.block_count = count;
    a.x = reinterpret_cast<const char*>(x.data());
    a.out = reinterpret_cast<char*>(out.data());
    a.itemsize = 4;
    cuda::mask_kernels_table.compress(a);
    a.coordinates = at.data();
    a.rank = 2;
    a.size[0] = n;
    a.size[1] = 1;
    cuda::mask_kernels_table.positions(a);
    int64_t found = 0;
    bool same = true;
    for (int64_t i = 0; i < n; ++i) {
      if (!mask[static_cast<size_t>(i)]) continue;
      same = same && found < total && out[found] == x[static_cast<size_t>(i)] &&
             at[2 * found] == i && at[2 * found + 1] == 0;
      ++found;
    }
    CHECK(same && found == total);
    CHECK(out.margins_intact() && at.margins_intact());
  });
}

TEST(cumulative_sum) {
  const int64_t n = 2500;
  const std::vector<float> x = test::random_vector<float>(2 * n);
  test::each_schedule([&] {
    test::Guarded<double> y(2 * n);
    ScanArgs a{};
    a.x = x.data();
    a.y = y.data();
    a.outer = 2;
    a.n = n;
    a.inner = 1;
    a.op = ScanOp::sum;
    a.in = DType::f32;
    a.out = DType::f64;
    cuda::scan_kernels_table.scan(a);
    double worst = 0, sum = 0;
    for (int64_t i = 0; i < 2 * n; ++i) {
      sum = i % n == 0 ? x[static_cast<size_t>(i)] : sum + x[static_cast<size_t>(i)];
      worst = std::fmax(worst, std::fabs(sum - y[i]));
    }
    CHECK_BELOW(1e-10, worst);
    CHECK(y.margins_intact());
  });
}

}  // namespace
