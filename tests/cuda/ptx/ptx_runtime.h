// What the translation of ptx.py is written in: registers are 64-bit words, read and written as a
// type.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "cuda/ptx.cuh"

template <class T, class U>
inline T from_bits(U u) {
  static_assert(sizeof(T) <= sizeof(U));
  T t;
  std::memcpy(&t, &u, sizeof t);
  return t;
}
template <class T>
inline T get(uint64_t r) {
  return from_bits<T>(r);
}
template <>
inline bool get<bool>(uint64_t r) {
  return r != 0;
}
template <class T>
inline void put(uint64_t& r, T value) {
  r = 0;
  std::memcpy(&r, &value, sizeof value);
}

// A shift by the width or more gives zeros, or the sign.
template <class T>
inline T shift_left(T x, uint32_t n) {
  return n >= sizeof(T) * 8 ? T(0) : static_cast<T>(static_cast<uint64_t>(x) << n);
}
template <class T>
inline T shift_right(T x, uint32_t n) {
  const uint32_t most = sizeof(T) * 8 - 1;
  if (n > most) return static_cast<T>(x >> most >> 1);
  return static_cast<T>(x >> n);
}

template <class T>
inline T* global_at(uint64_t a, int count) {
  if (a % (sizeof(T) * static_cast<size_t>(count))) emu::fail("misaligned access to global memory");
  return reinterpret_cast<T*>(a);
}
template <class T>
inline T* shared_at(uint64_t a, int count) {
  const size_t bytes = sizeof(T) * static_cast<size_t>(count);
  if (a % bytes) emu::fail("misaligned access to shared memory");
  return reinterpret_cast<T*>(emu::shared_pointer(static_cast<uint32_t>(a), bytes));
}

inline float half_value(uint16_t bits) {
  tercel::f16 h;
  h.bits = bits;
  return h;
}
