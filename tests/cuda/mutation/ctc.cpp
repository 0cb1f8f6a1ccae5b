// What mutate.py runs against planted bugs in CTC: all label paths of a small problem, one by one.
#define TERCEL_DEVICE_LIBRARY 1
#include "emu_check.h"
#include "ops/loss/ctc.cu"

namespace tercel::cuda {
Stream current_stream() { return nullptr; }
int multiprocessors() { return 2; }
TercelCudaErrorSlot* error_slot() { return nullptr; }
TableEntry::TableEntry(const char* n, const void* t) : name(n), table(t), next(nullptr) {}
}  // namespace tercel::cuda

namespace {

using namespace tercel;

constexpr int T = 6, N = 3, C = 4, kBlank = 0;
const int64_t kTargets[N][3] = {{1, 1, 2}, {3, 2, 3}, {2, 0, 0}}, kFrames[N] = {6, 5, 4},
              kLengths[N] = {3, 3, 1};

// Adds the paths of sample n to nll[n] and dx[T][N][C].
void oracle(int n, const std::vector<double>& x, double* nll, double* dx) {
  int64_t paths = 1;
  for (int t = 0; t < kFrames[n]; ++t) paths *= C;
  double total = 0;
  std::vector<double> share(T * C, 0.0);
  for (int64_t path = 0; path < paths; ++path) {
    int label[T], last = kBlank, length = 0;
    double log_p = 0;
    bool fits = true;
    int64_t rest = path;
    for (int t = 0; t < kFrames[n]; ++t, rest /= C) {
      label[t] = static_cast<int>(rest % C);
      log_p += x[static_cast<size_t>((t * N + n) * C + label[t])];
      if (label[t] != kBlank && label[t] != last) {
        fits = fits && length < kLengths[n] && kTargets[n][length] == label[t];
        ++length;
      }
      last = label[t];
    }
    if (!fits || length != kLengths[n]) continue;
    total += std::exp(log_p);
    for (int t = 0; t < kFrames[n]; ++t)
      share[static_cast<size_t>(t * C + label[t])] += std::exp(log_p);
  }
  nll[n] = -std::log(total);
  for (int t = 0; t < T; ++t) {
    for (int c = 0; c < C; ++c) {
      dx[(t * N + n) * C + c] = -(n + 1.0) * share[static_cast<size_t>(t * C + c)] / total;
    }
  }
}

TEST(ctc) {
  std::vector<double> x(T * N * C), g(N), nll(N), dx(x.size());
  for (double& v : x) v = -0.2 - 2.0 * std::fabs(test::random_value<float>());
  const int64_t row = kCtcPad + 16 + 2 * kCtcPad, offset[N] = {0, 3, 6};
  for (int n = 0; n < N; ++n) {
    g[static_cast<size_t>(n)] = n + 1.0;
    oracle(n, x, nll.data(), dx.data());
  }
  test::each_schedule([&] {
    test::Guarded<double> alpha(N * T * row), found(N), work(N * (4 * row + C)), slope(T * N * C);
    CtcArgs a{};
    a.log_probs = x.data();
    a.targets = kTargets[0];
    a.target_offset = offset;
    a.input_lengths = kFrames;
    a.target_lengths = kLengths;
    a.alpha = alpha.data();
    a.nll = found.data();
    a.workspace = work.data();
    a.frames = T, a.samples = N, a.classes = C, a.row = row, a.blank = kBlank;
    a.dtype = DType::f64;
    a.g = g.data();
    a.dx = slope.data();
    cuda::ctc_kernels_table.fwd(a);
    cuda::ctc_kernels_table.bwd(a);
    bool same = true;  // false for NaN
    for (int n = 0; n < N; ++n) {
      same &= std::fabs(found[n] - nll[static_cast<size_t>(n)]) < 1e-12;
    }
    for (int i = 0; i < T * N * C; ++i) {
      same &= std::fabs(slope[i] - dx[static_cast<size_t>(i)]) < 1e-12;
    }
    CHECK(same);
    CHECK(alpha.margins_intact() && work.margins_intact() && slope.margins_intact());
  });
}

}  // namespace
