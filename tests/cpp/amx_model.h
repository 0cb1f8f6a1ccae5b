// The AMX tile instructions in plain C++, so that micro-kernels written with the `_tile_*`
// intrinsics run anywhere.
//
// Include it after <immintrin.h> and compile the kernel's source again with another name (#define
// around #include). It checks what the hardware checks: configuration loaded, tile numbers, shapes
// that match. One set of tiles per thread. Sources: Intel SDM, chapter on AMX (TILELOADD, TDPBSSD,
// TDPBUSD, TDPBF16PS, TDPFP16PS).
#pragma once

#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "core/half.h"

namespace amx_model {

struct Tile {
  alignas(64) uint8_t bytes[16][64];
};
struct State {
  bool configured = false;
  uint16_t bytes_per_row[8];
  uint8_t rows[8];
  Tile tile[8];
};
inline State& state() {
  thread_local State s;
  return s;
}
inline State& ready(std::initializer_list<int> tiles) {
  State& s = state();
  TERCEL_CHECK(s.configured, Runtime, "amx model: a tile is used without a configuration");
  for (int t : tiles)
    TERCEL_CHECK(t >= 0 && t < 8 && s.rows[t] > 0, Runtime, "amx model: tile ", t,
                 " is not configured");
  return s;
}

inline void load_config(const void* config) {
  const uint8_t* c = static_cast<const uint8_t*>(config);
  State& s = state();
  TERCEL_CHECK(c[0] == 1 && c[1] == 0, Runtime, "amx model: palette must be 1, start row 0");
  for (int t = 0; t < 8; ++t) {
    std::memcpy(&s.bytes_per_row[t], c + 16 + 2 * t, 2);
    s.rows[t] = c[48 + t];
    TERCEL_CHECK(s.rows[t] <= 16 && s.bytes_per_row[t] <= 64, Runtime, "amx model: tile ", t,
                 " is too large");
  }
  for (Tile& t : s.tile) std::memset(t.bytes, 0, sizeof t.bytes);
  s.configured = true;
}
inline void release() { state().configured = false; }
inline void zero(int t) {
  State& s = ready({t});
  std::memset(s.tile[t].bytes, 0, sizeof s.tile[t].bytes);
}
inline void load(int t, const void* base, int64_t stride) {
  State& s = ready({t});
  std::memset(s.tile[t].bytes, 0, sizeof s.tile[t].bytes);
  for (int r = 0; r < s.rows[t]; ++r)
    std::memcpy(s.tile[t].bytes[r], static_cast<const char*>(base) + r * stride,
                s.bytes_per_row[t]);
}
inline void store(int t, void* base, int64_t stride) {
  State& s = ready({t});
  for (int r = 0; r < s.rows[t]; ++r)
    std::memcpy(static_cast<char*>(base) + r * stride, s.tile[t].bytes[r], s.bytes_per_row[t]);
}

// sums[m][n] += a[m][g] b[g][n], one g after the other, floats by fused multiply-adds. Nearly all
// of the model's time, on arrays of its own: a sanitized build leaves it unchecked and optimised.
// What the kernels read and write goes through `load` and `store`.
#if defined(__GNUC__) && !defined(__clang__)
#define TERCEL_MODEL_LOOP __attribute__((no_sanitize("address", "undefined"), optimize("O2")))
#else
#define TERCEL_MODEL_LOOP
#endif
TERCEL_MODEL_LOOP inline void add_products(float (*sums)[16], const float (*a)[16],
                                           const float (*b)[16], int rows, int groups, int cols) {
  for (int m = 0; m < rows; ++m) {
    for (int g = 0; g < groups; ++g) {
      for (int n = 0; n < cols; ++n) sums[m][n] = __builtin_fmaf(a[m][g], b[g][n], sums[m][n]);
    }
  }
}
TERCEL_MODEL_LOOP inline void add_products(uint32_t (*sums)[16], const int32_t (*a)[16],
                                           const int32_t (*b)[16], int rows, int groups, int cols) {
  for (int m = 0; m < rows; ++m) {
    for (int g = 0; g < groups; ++g) {
      for (int n = 0; n < cols; ++n) sums[m][n] += static_cast<uint32_t>(a[m][g] * b[g][n]);
    }
  }
}
#undef TERCEL_MODEL_LOOP

// out[r][g] = value(member `member`, of `size` bytes, of the 4-byte group g of row r)
template <class E, class Value>
void numbers(const Tile& t, int rows, int groups, int member, int size, Value&& value,
             E (*out)[16]) {
  for (int r = 0; r < rows; ++r) {
    for (int g = 0; g < groups; ++g) out[r][g] = value(t.bytes[r] + 4 * g + size * member);
  }
}

// The products of one member of each 4-byte group g: sums[m][n] += a[m][g] b[g][n].
template <class Sum, class E, class A, class B>
void member_products(int c, int a, int b, int member, int size, A&& a_value, B&& b_value,
                     Sum (*sums)[16], E) {
  State& s = ready({c, a, b});
  TERCEL_CHECK(s.rows[c] == s.rows[a] && s.bytes_per_row[c] == s.bytes_per_row[b] &&
                   s.bytes_per_row[a] == 4 * s.rows[b],
               Runtime, "amx model: shapes of tiles ", c, ", ", a, ", ", b, " do not match");
  const int rows = s.rows[c], groups = s.rows[b], cols = s.bytes_per_row[c] / 4;
  E x[16][16], y[16][16];
  numbers(s.tile[a], rows, groups, member, size, a_value, x);
  numbers(s.tile[b], groups, cols, member, size, b_value, y);
  add_products(sums, x, y, rows, groups, cols);
}
template <class T>
int32_t int8_value(const uint8_t* p) {
  return static_cast<T>(*p);
}
template <class A, class B>
void int8_products(int c, int a, int b) {
  uint32_t sums[16][16];
  static_assert(sizeof sums == sizeof(Tile));
  std::memcpy(sums, state().tile[c].bytes, sizeof sums);
  for (int member = 0; member < 4; ++member)
    member_products(c, a, b, member, 1, int8_value<A>, int8_value<B>, sums, int32_t());
  std::memcpy(state().tile[c].bytes, sums, sizeof sums);
}
// Pairs of bfloat16, whose denormals count as zero, or of float16, whose do not. The even and the
// odd members are summed apart from zero, rounded to nearest even after each multiply-add, then
// added, then added to c.
inline float bf16_value(const uint8_t* p) {
  uint32_t u = static_cast<uint32_t>(p[0]) << 16 | static_cast<uint32_t>(p[1]) << 24;
  if ((u & 0x7f800000u) == 0) u &= 0x80000000u;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
inline float f16_value(const uint8_t* p) {
  tercel::f16 x;
  std::memcpy(&x, p, 2);
  return x;
}
template <class Value>
void pair_products(int c, int a, int b, Value&& value) {
  float even[16][16] = {}, odd[16][16] = {}, sums[16][16];
  member_products(c, a, b, 0, 2, value, value, even, float());
  member_products(c, a, b, 1, 2, value, value, odd, float());
  State& s = state();
  std::memcpy(sums, s.tile[c].bytes, sizeof sums);
  for (int m = 0; m < s.rows[c]; ++m) {
    for (int n = 0; n < s.bytes_per_row[c] / 4; ++n) sums[m][n] += even[m][n] + odd[m][n];
  }
  std::memcpy(s.tile[c].bytes, sums, sizeof sums);
}

}  // namespace amx_model

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbusd
#undef _tile_dpbuud
#undef _tile_dpbf16ps
#define _tile_loadconfig(config) amx_model::load_config(config)
#define _tile_release() amx_model::release()
#define _tile_zero(t) amx_model::zero(t)
#define _tile_loadd(t, base, stride) amx_model::load(t, base, stride)
#define _tile_stream_loadd(t, base, stride) amx_model::load(t, base, stride)
#define _tile_stored(t, base, stride) amx_model::store(t, base, stride)
#define _tile_dpbssd(c, a, b) (amx_model::int8_products<int8_t, int8_t>(c, a, b))
#define _tile_dpbsud(c, a, b) (amx_model::int8_products<int8_t, uint8_t>(c, a, b))
#define _tile_dpbusd(c, a, b) (amx_model::int8_products<uint8_t, int8_t>(c, a, b))
#define _tile_dpbuud(c, a, b) (amx_model::int8_products<uint8_t, uint8_t>(c, a, b))
#define _tile_dpbf16ps(c, a, b) amx_model::pair_products(c, a, b, amx_model::bf16_value)
#define TERCEL_TILE_DPFP16PS(c, a, b) amx_model::pair_products(c, a, b, amx_model::f16_value)
