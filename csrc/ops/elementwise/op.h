// Op: the loops of one elementwise op, by work type.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tercel {

inline constexpr int kMaxParams = 4;

// out[i] = f(in[0][i], in[1][i], ...) for i < n. Arrays are contiguous, `out` may be one of the
// inputs. `params` always points to kMaxParams doubles.
using OpFn = void (*)(const double* params, void* out, const void* const* in, int64_t n);

struct Op {
  OpFn fn[5];  // float32, float64, int32, int64, bytes; null where the op is not defined
  int cost;    // picoseconds per float32 element, to decide about threads
};

// bytes: bool, uint8 and int8, for ops that treat their bit patterns alike; otherwise these use
// int32.
enum class Work : uint8_t { f32, f64, i32, i64, u8 };
inline Work work_of(DType t) {
  if (is_float(t)) return t == DType::f64 ? Work::f64 : Work::f32;
  return t == DType::i64 ? Work::i64 : Work::i32;
}
inline Work work_of(const Op& op, DType t) {
  const bool byte = t == DType::b8 || t == DType::u8 || t == DType::i8;
  return byte && op.fn[static_cast<int>(Work::u8)] ? Work::u8 : work_of(t);
}
inline DType work_dtype(Work w) {
  constexpr DType kTypes[] = {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8};
  return kTypes[static_cast<int>(w)];
}

}  // namespace tercel
