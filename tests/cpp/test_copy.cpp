// strided_copy against a naive loop: dtype pairs, transposes, broadcasts, slices, odd sizes,
// levels.
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "core/cpu_isa.h"
#include "ops/copy/copy.h"
#include "ops/view/view.h"

using namespace tercel;

namespace {

int64_t offset_of(const Tensor& t, int64_t linear) {
  int64_t offset = 0;
  for (int d = t.dim() - 1; d >= 0; --d) {
    offset += linear % t.size(d) * t.stride(d);
    linear /= t.size(d);
  }
  return offset;
}

// Element-by-element comparison of bytes; `src` is expanded to dst's shape.
bool same_bytes(const Tensor& dst, const Tensor& src) {
  const Tensor s = expand(src, dst.shape());
  for (int64_t i = 0; i < dst.numel(); ++i) {
    const char* a = static_cast<const char*>(dst.data()) + offset_of(dst, i) * dst.itemsize();
    const char* b = static_cast<const char*>(s.data()) + offset_of(s, i) * s.itemsize();
    if (std::memcmp(a, b, static_cast<size_t>(dst.itemsize())) != 0) return false;
  }
  return true;
}

Tensor numbers(const Shape& shape, DType dtype) {
  Tensor t = empty(shape, DType::i64);
  for (int64_t i = 0; i < t.numel(); ++i) t.data_as<int64_t>()[i] = i * 7919 % 120;
  Tensor y = empty(shape, dtype);
  strided_copy(y, t);
  return y;
}

void each_level(void (*f)()) {
  for (const char* level : {"generic", "avx2", "avx512"}) {
    const auto l = std::strcmp(level, "generic") == 0 ? IsaLevel::generic
                   : std::strcmp(level, "avx2") == 0  ? IsaLevel::avx2
                                                      : IsaLevel::avx512;
    if (!level_supported(l)) continue;
    set_isa(level);
    f();
  }
  set_isa("auto");
}

template <class T>
T at(const Tensor& t, int64_t i) {
  return t.data_as<T>()[offset_of(t, i)];
}

}  // namespace

TEST(copy_layouts) {
  each_level([] {
    for (DType dtype : {DType::u8, DType::bf16, DType::f32, DType::f64}) {
      for (int64_t rows : {1, 3, 16, 33, 100}) {
        for (int64_t cols : {1, 5, 16, 47, 130}) {
          const Tensor x = numbers({2, rows, cols}, dtype);
          CHECK(same_bytes(clone_contiguous(transpose(x, 1, 2)), transpose(x, 1, 2)));
          CHECK(same_bytes(clone_contiguous(permute(x, {2, 0, 1})), permute(x, {2, 0, 1})));
          CHECK(same_bytes(clone_contiguous(slice(x, 2, 0, cols, 2)), slice(x, 2, 0, cols, 2)));
          Tensor y = empty({rows, 2, cols}, dtype);
          strided_copy(permute(y, {1, 0, 2}), x);
          CHECK(same_bytes(permute(y, {1, 0, 2}), x));
          Tensor wide = empty({3, 2, rows, cols}, dtype);
          strided_copy(wide, x);
          CHECK(same_bytes(wide, x));
          Tensor rest = empty({2, rows, cols}, dtype);
          strided_copy(rest, narrow(x, 2, cols - 1, 1));
          CHECK(same_bytes(rest, narrow(x, 2, cols - 1, 1)));
        }
      }
    }
  });
}

TEST(copy_converts_between_all_dtypes) {
  each_level([] {
    for (int from = 0; from < kNumDTypes; ++from) {
      for (int to_type = 0; to_type < kNumDTypes; ++to_type) {
        const DType s = static_cast<DType>(from), d = static_cast<DType>(to_type);
        const Tensor x = numbers({37, 3}, s);
        const Tensor y = to_copy(transpose(x, 0, 1), d), back = to_copy(y, DType::f64);
        for (int64_t i = 0; i < x.numel(); ++i) {
          double want = at<double>(to_copy(transpose(x, 0, 1), DType::f64), i);
          if (d == DType::b8) want = want != 0;
          const double tolerance = is_fp8(d) ? want / 8 : 0;
          CHECK_NEAR(at<double>(back, i), want, tolerance);
        }
      }
    }
  });
}

TEST(copy_rounds_once) {
  each_level([] {
    Tensor x = empty({20}, DType::f64);
    strided_copy(x, zeros({20}, DType::f64));
    double* p = x.data_as<double>();
    p[0] = 1 + 0x1p-8 + 0x1p-40;   // just above a bfloat16 tie; float32 would land on the tie
    p[1] = 1 + 0x1p-11 + 0x1p-45;  // the same for float16
    p[2] = 1e300;
    p[3] = NAN;
    p[4] = -3.9;
    p[5] = 3e9;
    p[6] = -2147483648.9;
    const Tensor b = to_copy(x, DType::bf16), h = to_copy(x, DType::f16),
                 i = to_copy(x, DType::i32);
    CHECK(b.data_as<bf16>()[0] == 1 + 0x1p-7f);
    CHECK(h.data_as<f16>()[1] == 1 + 0x1p-10f);
    CHECK(std::isinf(static_cast<float>(h.data_as<f16>()[2])));
    CHECK(std::isnan(static_cast<float>(b.data_as<bf16>()[3])));
    CHECK(i.data_as<int32_t>()[3] == INT32_MIN);
    CHECK(i.data_as<int32_t>()[4] == -3);
    CHECK(i.data_as<int32_t>()[5] == INT32_MIN);
    CHECK(i.data_as<int32_t>()[6] == INT32_MIN);
    CHECK(to_copy(x, DType::f8e4m3).data_as<f8e4m3>()[2] == 448.0f);
    CHECK(to_copy(x, DType::u8).data_as<uint8_t>()[4] == 253);
    CHECK(to_copy(x, DType::b8).data_as<uint8_t>()[3] == 1);
  });
}
