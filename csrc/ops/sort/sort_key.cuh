// Unsigned keys in the order of the values: floats with the sign folded, -0 as +0 and every NaN as
// the largest; a key has as many bits as its dtype. Descending orders complement it, which keeps
// equal elements in the order of their indices.
#pragma once

#include "cuda/compat.cuh"  // first

#include "core/dtype.h"

namespace tercel::cuda {

inline int key_bits(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64:
      return 64;
    case DType::f32:
    case DType::i32:
      return 32;
    case DType::f16:
    case DType::bf16:
    case DType::i16:
      return 16;
    default:
      return 8;
  }
}

// `infinity`: bits of the largest magnitude that is no NaN.
template <class K>
TERCEL_DEVICE K float_key(K u, int bits, K infinity) {
  const K sign = K(1) << (bits - 1), magnitude = u & (sign - 1), all = sign | (sign - 1);
  if (magnitude > infinity) return all;
  if (magnitude == 0) return sign;
  return u & sign ? ~u & all : u | sign;
}

// Key of element i; K holds at least key_bits(dtype).
template <class K>
TERCEL_DEVICE K load_key(const void* p, int64_t i, DType dtype, bool descending) {
  if constexpr (sizeof(K) == 8) {
    const K u = static_cast<const K*>(p)[i];
    const K key = dtype == DType::f64 ? float_key<K>(u, 64, K(0x7ff0000000000000ull))
                                      : u ^ K(0x8000000000000000ull);
    return descending ? ~key : key;
  } else {
    K key, all = 0xff;
    switch (dtype) {
      case DType::f32:
        key = float_key<K>(static_cast<const uint32_t*>(p)[i], 32, 0x7f800000u);
        all = ~K(0);
        break;
      case DType::i32:
        key = static_cast<const uint32_t*>(p)[i] ^ 0x80000000u;
        all = ~K(0);
        break;
      case DType::f16:
        key = float_key<K>(static_cast<const uint16_t*>(p)[i], 16, 0x7c00u);
        all = 0xffff;
        break;
      case DType::bf16:
        key = float_key<K>(static_cast<const uint16_t*>(p)[i], 16, 0x7f80u);
        all = 0xffff;
        break;
      case DType::i16:
        key = static_cast<const uint16_t*>(p)[i] ^ 0x8000u;
        all = 0xffff;
        break;
      case DType::f8e4m3:
        key = float_key<K>(static_cast<const uint8_t*>(p)[i], 8, 0x7eu);
        break;
      case DType::f8e5m2:
        key = float_key<K>(static_cast<const uint8_t*>(p)[i], 8, 0x7cu);
        break;
      case DType::i8:
        key = static_cast<const uint8_t*>(p)[i] ^ 0x80u;
        break;
      default:
        key = static_cast<const uint8_t*>(p)[i];
    }
    return descending ? key ^ all : key;
  }
}

// values[to] = src[from], itemsize bytes
TERCEL_DEVICE void move_value(void* values, int64_t to, const void* src, int64_t from,
                              int itemsize) {
  switch (itemsize) {
    case 1:
      static_cast<uint8_t*>(values)[to] = static_cast<const uint8_t*>(src)[from];
      return;
    case 2:
      static_cast<uint16_t*>(values)[to] = static_cast<const uint16_t*>(src)[from];
      return;
    case 4:
      static_cast<uint32_t*>(values)[to] = static_cast<const uint32_t*>(src)[from];
      return;
    default:
      static_cast<uint64_t*>(values)[to] = static_cast<const uint64_t*>(src)[from];
  }
}

}  // namespace tercel::cuda
