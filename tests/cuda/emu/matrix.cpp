// Warp and warpgroup matrix instructions: ldmatrix, stmatrix, mma, wgmma. Fragment layouts are
// written from the PTX manual; products are summed in order of k in the accumulator's type.
#include <algorithm>

#include "core/half.h"
#include "emu/core.h"

namespace emu {
namespace {

// Shared-memory passes that one 8x8 matrix needs: rows of 16 bytes that share banks queue up.
void count_wavefronts(const uint32_t* rows) {
  int per_bank[8] = {}, passes = 0;
  for (int i = 0; i < 8; ++i) passes = std::max(passes, ++per_bank[rows[i] / 16 % 8]);
  ++stats.matrices;
  stats.wavefronts += static_cast<uint64_t>(passes);
}

float half_of(uint32_t word, int which, MmaKind kind) {
  const auto bits = static_cast<uint16_t>(which ? word >> 16 : word);
  if (kind == MmaKind::bf16) {
    tercel::bf16 x;
    x.bits = bits;
    return x;
  }
  tercel::f16 x;
  x.bits = bits;
  return x;
}

struct MmaCall {
  void* d;
  const void *a, *b;
};
const MmaCall& call_of(void** calls, int lane) { return *static_cast<MmaCall*>(calls[lane]); }

void mma_16816(void** calls, MmaKind kind) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; ++l) {
    const auto* pa = static_cast<const uint32_t*>(call_of(calls, l).a);
    const auto* pb = static_cast<const uint32_t*>(call_of(calls, l).b);
    const int g = l / 4, t = l % 4 * 2;
    for (int h = 0; h < 2; ++h) {
      a[g][t + h] = half_of(pa[0], h, kind);
      a[g + 8][t + h] = half_of(pa[1], h, kind);
      a[g][t + 8 + h] = half_of(pa[2], h, kind);
      a[g + 8][t + 8 + h] = half_of(pa[3], h, kind);
      b[t + h][g] = half_of(pb[0], h, kind);
      b[t + 8 + h][g] = half_of(pb[1], h, kind);
    }
  }
  for (int l = 0; l < 32; ++l) {
    auto* d = static_cast<float*>(call_of(calls, l).d);
    for (int i = 0; i < 4; ++i) {
      const int r = l / 4 + i / 2 * 8, c = l % 4 * 2 + i % 2;
      for (int k = 0; k < 16; ++k) d[i] += a[r][k] * b[k][c];
    }
  }
}

void mma_tf32(void** calls) {  // m16n8k8; the hardware ignores the low 13 bits
  float a[16][8], b[8][8];
  auto tf32 = [](uint32_t u) { return tercel::detail::bits_float(u & 0xffffe000u); };
  for (int l = 0; l < 32; ++l) {
    const auto* pa = static_cast<const uint32_t*>(call_of(calls, l).a);
    const auto* pb = static_cast<const uint32_t*>(call_of(calls, l).b);
    const int g = l / 4, t = l % 4;
    a[g][t] = tf32(pa[0]);
    a[g + 8][t] = tf32(pa[1]);
    a[g][t + 4] = tf32(pa[2]);
    a[g + 8][t + 4] = tf32(pa[3]);
    b[t][g] = tf32(pb[0]);
    b[t + 4][g] = tf32(pb[1]);
  }
  for (int l = 0; l < 32; ++l) {
    auto* d = static_cast<float*>(call_of(calls, l).d);
    for (int i = 0; i < 4; ++i) {
      const int r = l / 4 + i / 2 * 8, c = l % 4 * 2 + i % 2;
      for (int k = 0; k < 8; ++k) d[i] += a[r][k] * b[k][c];
    }
  }
}

void mma_s8(void** calls) {  // m16n8k32
  int a[16][32], b[32][8];
  auto byte = [](uint32_t u, int i) { return static_cast<int>(static_cast<int8_t>(u >> (8 * i))); };
  for (int l = 0; l < 32; ++l) {
    const auto* pa = static_cast<const uint32_t*>(call_of(calls, l).a);
    const auto* pb = static_cast<const uint32_t*>(call_of(calls, l).b);
    const int g = l / 4, t = l % 4 * 4;
    for (int i = 0; i < 4; ++i) {
      a[g][t + i] = byte(pa[0], i);
      a[g + 8][t + i] = byte(pa[1], i);
      a[g][t + 16 + i] = byte(pa[2], i);
      a[g + 8][t + 16 + i] = byte(pa[3], i);
      b[t + i][g] = byte(pb[0], i);
      b[t + 16 + i][g] = byte(pb[1], i);
    }
  }
  for (int l = 0; l < 32; ++l) {
    auto* d = static_cast<int*>(call_of(calls, l).d);
    for (int i = 0; i < 4; ++i) {
      const int r = l / 4 + i / 2 * 8, c = l % 4 * 2 + i % 2;
      uint32_t sum = static_cast<uint32_t>(d[i]);  // wraps, as the hardware does without .satfinite
      for (int k = 0; k < 32; ++k) sum += static_cast<uint32_t>(a[r][k] * b[k][c]);
      d[i] = static_cast<int>(sum);
    }
  }
}

void mma_f64(void** calls) {  // m8n8k4
  double a[8][4], b[4][8];
  for (int l = 0; l < 32; ++l) {
    a[l / 4][l % 4] = *static_cast<const double*>(call_of(calls, l).a);
    b[l % 4][l / 4] = *static_cast<const double*>(call_of(calls, l).b);
  }
  for (int l = 0; l < 32; ++l) {
    auto* d = static_cast<double*>(call_of(calls, l).d);
    for (int i = 0; i < 2; ++i) {
      for (int k = 0; k < 4; ++k) d[i] = std::fma(a[l / 4][k], b[k][l % 4 * 2 + i], d[i]);
    }
  }
}

// Element (row, k) of a K-major wgmma operand with 128-byte swizzle.
float operand_element(uint64_t descriptor, int row, int k, MmaKind kind) {
  const auto base = static_cast<uint32_t>(descriptor & 0x3fff) << 4;
  const auto group = static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4;  // 8 rows to the next 8
  const auto offset = static_cast<uint32_t>(descriptor >> 49 & 7);
  if (descriptor >> 62 != 1 || offset != 0)
    fail("wgmma: only K-major operands with 128-byte swizzle");
  const uint32_t address = base + static_cast<uint32_t>(row / 8) * group +
                           static_cast<uint32_t>(row % 8) * 128 + static_cast<uint32_t>(k) * 2;
  uint16_t bits;
  copy_quietly(&bits, shared_pointer(swizzle(address, 128), 2), 2);
  return half_of(bits, 0, kind);
}

void run_wgmma(std::vector<WgmmaOp>& ops) {
  static thread_local float a[64][16], b[256][16];
  for (WgmmaOp& op : ops) {
    for (int k = 0; k < 16; ++k) {
      for (int i = 0; i < 64; ++i) a[i][k] = operand_element(op.a, i, k, op.kind);
      for (int j = 0; j < op.n; ++j) b[j][k] = operand_element(op.b, j, k, op.kind);
    }
    for (int t = 0; t < 128; ++t) {
      for (int i = 0; i < op.n / 2; ++i) {
        const int r = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, c = i / 4 * 8 + t % 4 * 2 + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += a[r][k] * b[c][k];
        op.d[t][i] = (op.accumulate ? op.d[t][i] : 0) + sum;
      }
    }
  }
  ops.clear();
}

// `op(group, lane)` for every lane as it arrives, then `op(group, -1)` once.
template <class Op>
void warpgroup_collective(const char* name, int line, Op&& op) {
  Fiber* f = current;
  const unsigned index = f->linear / 128;
  Warpgroup& g = f->b->warpgroups[index];
  ++stats.collectives;
  const std::string at = std::string(name) + " at line " + std::to_string(line);
  if (f->b->fibers.size() < (index + 1) * 128) fail(at + ": incomplete warpgroup");
  if (!g.arrived) {
    g.op = name;
    g.line = line;
  } else if (std::strcmp(g.op, name) != 0 || g.line != line) {
    fail("divergent warpgroup: " + at + ", other threads in " + g.op + " at line " +
         std::to_string(g.line));
  }
  release(&g);
  op(g, static_cast<int>(f->linear % 128));
  if (++g.arrived == 128) {
    acquire(&g);
    op(g, -1);
    release(&g);
    g.arrived = 0;
    ++g.generation;
  } else {
    block_on(&g.generation, g.generation, name, line);
    acquire(&g);
  }
}

}  // namespace

void ldmatrix(uint32_t* r, int count, bool transpose, uint32_t address, int line) {
  struct Call {
    uint32_t address;
    uint32_t* r;
  } call{address, r};
  if (static_cast<int>(current->lane) < count * 8) {
    if (address & 15) fail("ldmatrix: row address is not a multiple of 16");
    note_read(shared_pointer(address, 16), 16);
  }
  warp_collective(~0u, transpose ? "ldmatrix.trans" : "ldmatrix", line, &call, [=](void** calls) {
    auto at = [&](int l) -> Call& { return *static_cast<Call*>(calls[l]); };
    for (int m = 0; m < count; ++m) {
      uint32_t rows[8];
      uint16_t e[8][8];
      for (int i = 0; i < 8; ++i) {
        rows[i] = at(m * 8 + i).address;
        std::memcpy(e[i], shared_pointer(rows[i], 16), 16);
      }
      count_wavefronts(rows);
      for (int l = 0; l < 32; ++l) {
        const int i = l / 4, j = l % 4 * 2;
        const uint32_t low = transpose ? e[j][i] : e[i][j];
        const uint32_t high = transpose ? e[j + 1][i] : e[i][j + 1];
        at(l).r[m] = low | high << 16;
      }
    }
  });
}

void stmatrix(const uint32_t* r, int count, bool transpose, uint32_t address, int line) {
  struct Call {
    uint32_t address;
    const uint32_t* r;
  } call{address, r};
  if (static_cast<int>(current->lane) < count * 8) {
    if (address & 15) fail("stmatrix: row address is not a multiple of 16");
    note_write(shared_pointer(address, 16), 16);
  }
  warp_collective(~0u, transpose ? "stmatrix.trans" : "stmatrix", line, &call, [=](void** calls) {
    auto at = [&](int l) -> Call& { return *static_cast<Call*>(calls[l]); };
    for (int m = 0; m < count; ++m) {
      uint32_t rows[8];
      uint16_t e[8][8];
      for (int l = 0; l < 32; ++l) {
        const int i = l / 4, j = l % 4 * 2;
        const auto low = static_cast<uint16_t>(at(l).r[m]);
        const auto high = static_cast<uint16_t>(at(l).r[m] >> 16);
        (transpose ? e[j][i] : e[i][j]) = low;
        (transpose ? e[j + 1][i] : e[i][j + 1]) = high;
      }
      for (int i = 0; i < 8; ++i) {
        rows[i] = at(m * 8 + i).address;
        std::memcpy(shared_pointer(rows[i], 16), e[i], 16);
      }
      count_wavefronts(rows);
    }
    // A fence of any lane that holds values must follow; the addresses are noted for each of them.
    for (Fiber& f : current->b->fibers) {
      if (f.w != current->w) continue;
      for (int i = 0; i < count * 8; ++i) f.unfenced.push_back(at(i).address);
    }
  });
}

void mma(MmaKind kind, void* d, const void* a, const void* b, int line) {
  MmaCall call{d, a, b};
  warp_collective(~0u, "mma", line, &call, [=](void** calls) {
    switch (kind) {
      case MmaKind::tf32:
        return mma_tf32(calls);
      case MmaKind::s8:
        return mma_s8(calls);
      case MmaKind::f64:
        return mma_f64(calls);
      default:
        return mma_16816(calls, kind);
    }
  });
}

void wgmma_fence(int line) {
  warpgroup_collective("wgmma.fence", line, [](Warpgroup& g, int lane) {
    if (lane < 0) g.fenced = true;
  });
}

void wgmma(MmaKind kind, float* d, int n, uint64_t a, uint64_t b, bool accumulate, int line) {
  warpgroup_collective("wgmma", line, [=](Warpgroup& g, int lane) {
    if (!g.fenced) fail("wgmma without wgmma.fence since its registers were last touched");
    if (lane >= 0) {
      g.current.d[lane] = d;
      return;
    }
    g.current.kind = kind;
    g.current.n = n;
    g.current.a = a;
    g.current.b = b;
    g.current.accumulate = accumulate;
    g.open.push_back(g.current);
  });
}

void wgmma_commit(int line) {
  warpgroup_collective("wgmma.commit", line, [](Warpgroup& g, int lane) {
    if (lane >= 0) return;
    g.groups.push_back(std::move(g.open));
    g.open.clear();
    const bool now = options.async == Async::early || (options.async == Async::random && coin());
    if (now && g.groups.size() == 1) run_wgmma(g.groups.back());
  });
}

void wgmma_wait(int pending, int line) {
  warpgroup_collective("wgmma.wait", line, [=](Warpgroup& g, int lane) {
    if (lane >= 0) return;
    g.fenced = false;
    while (static_cast<int>(g.groups.size()) > pending) {
      run_wgmma(g.groups.front());
      g.groups.pop_front();
    }
  });
}

}  // namespace emu
