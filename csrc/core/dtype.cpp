#include "core/dtype.h"

#include <atomic>

namespace tercel {

const DTypeInfo kDTypeInfo[kNumDTypes] = {
    {"float64", "double", 8, DTypeCategory::floating},
    {"float32", "float", 4, DTypeCategory::floating},
    {"float16", "half", 2, DTypeCategory::floating},
    {"bfloat16", nullptr, 2, DTypeCategory::floating},
    {"float8_e4m3fn", nullptr, 1, DTypeCategory::floating},
    {"float8_e5m2", nullptr, 1, DTypeCategory::floating},
    {"int8", nullptr, 1, DTypeCategory::integer},
    {"uint8", nullptr, 1, DTypeCategory::integer},
    {"int16", "short", 2, DTypeCategory::integer},
    {"int32", "int", 4, DTypeCategory::integer},
    {"int64", "long", 8, DTypeCategory::integer},
    {"bool", nullptr, 1, DTypeCategory::boolean},
};

DType promote(DType a, DType b) {
  if (a == b) return a;
  if (is_float(a) || is_float(b)) {
    if (!is_float(a)) return b;
    if (!is_float(b)) return a;
    if (a == DType::f64 || b == DType::f64) return DType::f64;
    // Two different formats of at most 32 bits: the wider one, float32 when neither contains the
    // other.
    if (is_fp8(a) && !is_fp8(b)) return b;
    if (is_fp8(b) && !is_fp8(a)) return a;
    return DType::f32;
  }
  if (is_bool(a)) return b;
  if (is_bool(b)) return a;
  // uint8 with int8 needs int16; otherwise the larger one.
  if (dtype_size(a) == dtype_size(b)) return DType::i16;
  return dtype_size(a) > dtype_size(b) ? a : b;
}

namespace {
std::atomic<DType> g_default{DType::f32};

std::string dtype_list(uint32_t mask) {
  std::string text;
  for (int i = 0; i < kNumDTypes; ++i) {
    if (!(mask >> i & 1u)) continue;
    if (!text.empty()) text += ", ";
    text += kDTypeInfo[i].name;
  }
  return text;
}
}  // namespace

DType default_dtype() { return g_default.load(std::memory_order_relaxed); }

void set_default_dtype(DType t) {
  TERCEL_CHECK(is_float(t) && !is_fp8(t), Type,
               "set_default_dtype: expected float64, float32, float16 or bfloat16, got ",
               dtype_name(t));
  g_default.store(t, std::memory_order_relaxed);
}

void fail_dtype(const char* op, DType got, uint32_t mask) {
  fail(ErrorKind::DType,
       str(op, ": dtype ", dtype_name(got), " not supported (", dtype_list(mask), ")"));
}

void fail_dtype(const char* op, const char* argument, DType got, uint32_t mask) {
  fail(ErrorKind::DType,
       str(op, ": ", argument, " has dtype ", dtype_name(got), ", expected ", dtype_list(mask)));
}

}  // namespace tercel
