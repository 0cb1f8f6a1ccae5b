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

// c[m][n] += sum over the 4-byte groups g of a[m][g] . b[g][n]
template <class F>
void products(int c, int a, int b, F&& dot) {
  State& s = ready({c, a, b});
  TERCEL_CHECK(s.rows[c] == s.rows[a] && s.bytes_per_row[c] == s.bytes_per_row[b] &&
                   s.bytes_per_row[a] == 4 * s.rows[b],
               Runtime, "amx model: shapes of tiles ", c, ", ", a, ", ", b, " do not match");
  for (int m = 0; m < s.rows[c]; ++m) {
    for (int g = 0; g < s.rows[b]; ++g) {
      for (int n = 0; n < s.bytes_per_row[c] / 4; ++n)
        dot(s.tile[c].bytes[m] + 4 * n, s.tile[a].bytes[m] + 4 * g, s.tile[b].bytes[g] + 4 * n);
    }
  }
}
template <class A, class B>
void int8_products(int c, int a, int b) {
  products(c, a, b, [](uint8_t* out, const uint8_t* x, const uint8_t* y) {
    uint32_t sum;
    std::memcpy(&sum, out, 4);
    for (int i = 0; i < 4; ++i) {
      sum += static_cast<uint32_t>(static_cast<int32_t>(static_cast<A>(x[i])) *
                                   static_cast<int32_t>(static_cast<B>(y[i])));
    }
    std::memcpy(out, &sum, 4);
  });
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
  State& s = ready({c, a, b});
  Tile before = s.tile[c];
  Tile odd{}, even{};
  const auto chain = [&](Tile& sums, int member) {
    s.tile[c] = Tile{};
    products(c, a, b, [&](uint8_t* out, const uint8_t* x, const uint8_t* y) {
      float sum;
      std::memcpy(&sum, out, 4);
      sum = __builtin_fmaf(value(x + 2 * member), value(y + 2 * member), sum);
      std::memcpy(out, &sum, 4);
    });
    sums = s.tile[c];
  };
  chain(even, 0);
  chain(odd, 1);
  for (int m = 0; m < s.rows[c]; ++m) {
    for (int n = 0; n < s.bytes_per_row[c]; n += 4) {
      float x, y, sum;
      std::memcpy(&x, even.bytes[m] + n, 4);
      std::memcpy(&y, odd.bytes[m] + n, 4);
      std::memcpy(&sum, before.bytes[m] + n, 4);
      sum += x + y;
      std::memcpy(before.bytes[m] + n, &sum, 4);
    }
  }
  s.tile[c] = before;
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
