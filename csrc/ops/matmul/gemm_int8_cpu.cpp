// Packing and epilogue of the integer product.
#include "ops/matmul/gemm_int8_kernels.h"
#include "ops/matmul/transpose_simd.h"
#include "simd/rows.h"

namespace tercel {
namespace {

using simd::VecI;

typedef int8_t Bytes __attribute__((vector_size(16)));
typedef int16_t Pairs __attribute__((vector_size(16)));

TERCEL_INLINE Bytes load_bytes(const int8_t* p) {
  Bytes v;
  __builtin_memcpy(&v, p, 16);
  return v;
}

// Four rows of 16 bytes into one line: column by column.
TERCEL_INLINE void interleave(const int8_t* r, int64_t step, int8_t* out) {
  const Bytes low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  const Bytes high = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const Pairs low2 = {0, 8, 1, 9, 2, 10, 3, 11}, high2 = {4, 12, 5, 13, 6, 14, 7, 15};
  const Bytes a = load_bytes(r), b = load_bytes(r + step), c = load_bytes(r + 2 * step),
              d = load_bytes(r + 3 * step);
  const Pairs ab0 = (Pairs)__builtin_shuffle(a, b, low), ab1 = (Pairs)__builtin_shuffle(a, b, high);
  const Pairs cd0 = (Pairs)__builtin_shuffle(c, d, low), cd1 = (Pairs)__builtin_shuffle(c, d, high);
  // One store each: a copy of an array of them would wait for narrower stores.
  const Pairs l0 = __builtin_shuffle(ab0, cd0, low2), l1 = __builtin_shuffle(ab0, cd0, high2);
  const Pairs l2 = __builtin_shuffle(ab1, cd1, low2), l3 = __builtin_shuffle(ab1, cd1, high2);
  __builtin_memcpy(out, &l0, 16);
  __builtin_memcpy(out + 16, &l1, 16);
  __builtin_memcpy(out + 32, &l2, 16);
  __builtin_memcpy(out + 48, &l3, 16);
}

// Column sums of a panel, a line at a time. The two instructions that add neighbours cannot
// saturate here: one factor is 1.
#if defined(TERCEL_LEVEL_AVX512)
struct LineSums {
  __m512i v = _mm512_setzero_si512();
  TERCEL_INLINE void add(const int8_t* line) {
    const __m512i pairs = _mm512_maddubs_epi16(_mm512_set1_epi8(1),
                                               _mm512_load_si512(static_cast<const void*>(line)));
    v = _mm512_add_epi32(v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  TERCEL_INLINE void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
};
#elif defined(TERCEL_LEVEL_AVX2)
struct LineSums {
  __m256i v[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  TERCEL_INLINE void add(const int8_t* line) {
    for (int i = 0; i < 2; ++i) {
      const __m256i bytes = _mm256_load_si256(reinterpret_cast<const __m256i*>(line + 32 * i));
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
      v[i] = _mm256_add_epi32(v[i], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
  }
  TERCEL_INLINE void store(int32_t* p) const {
    for (int i = 0; i < 2; ++i) _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8 * i), v[i]);
  }
};
#else
struct LineSums {
  int32_t v[16] = {};
  TERCEL_INLINE void add(const int8_t* line) {
    for (int j = 0; j < 16; ++j)
      v[j] += line[4 * j] + line[4 * j + 1] + line[4 * j + 2] + line[4 * j + 3];
  }
  TERCEL_INLINE void store(int32_t* p) const { __builtin_memcpy(p, v, 64); }
};
#endif

constexpr int kTogether = 4;  // panels whose columns share a cache line of b

// Four rows of 64 bytes into a line of each of four panels.
TERCEL_INLINE void interleave_four(const int8_t* r, int64_t step, int64_t panel, int8_t* out) {
#if defined(TERCEL_LEVEL_AVX512)
  const auto row = [&](int i) TERCEL_LAMBDA_INLINE { return _mm512_loadu_si512(r + i * step); };
  const __m512i a = row(0), b = row(1), c = row(2), d = row(3);
  const __m512i ab0 = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
  const __m512i cd0 = _mm512_unpacklo_epi8(c, d), cd1 = _mm512_unpackhi_epi8(c, d);
  // Quarter q holds four columns of panel q.
  const __m512i l0 = _mm512_unpacklo_epi16(ab0, cd0), l1 = _mm512_unpackhi_epi16(ab0, cd0);
  const __m512i l2 = _mm512_unpacklo_epi16(ab1, cd1), l3 = _mm512_unpackhi_epi16(ab1, cd1);
  const __m512i t0 = _mm512_shuffle_i32x4(l0, l1, 0x44), t1 = _mm512_shuffle_i32x4(l0, l1, 0xee);
  const __m512i t2 = _mm512_shuffle_i32x4(l2, l3, 0x44), t3 = _mm512_shuffle_i32x4(l2, l3, 0xee);
  _mm512_store_si512(out, _mm512_shuffle_i32x4(t0, t2, 0x88));
  _mm512_store_si512(out + panel, _mm512_shuffle_i32x4(t0, t2, 0xdd));
  _mm512_store_si512(out + 2 * panel, _mm512_shuffle_i32x4(t1, t3, 0x88));
  _mm512_store_si512(out + 3 * panel, _mm512_shuffle_i32x4(t1, t3, 0xdd));
#elif defined(TERCEL_LEVEL_AVX2)
  for (int half = 0; half < 2; ++half, r += 32, out += 2 * panel) {
    const auto row = [&](int i) TERCEL_LAMBDA_INLINE {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(r + i * step));
    };
    const auto store = [](int8_t* p, __m256i v) TERCEL_LAMBDA_INLINE {
      _mm256_store_si256(reinterpret_cast<__m256i*>(p), v);
    };
    const __m256i a = row(0), b = row(1), c = row(2), d = row(3);
    const __m256i ab0 = _mm256_unpacklo_epi8(a, b), ab1 = _mm256_unpackhi_epi8(a, b);
    const __m256i cd0 = _mm256_unpacklo_epi8(c, d), cd1 = _mm256_unpackhi_epi8(c, d);
    const __m256i l0 = _mm256_unpacklo_epi16(ab0, cd0), l1 = _mm256_unpackhi_epi16(ab0, cd0);
    const __m256i l2 = _mm256_unpacklo_epi16(ab1, cd1), l3 = _mm256_unpackhi_epi16(ab1, cd1);
    store(out, _mm256_permute2x128_si256(l0, l1, 0x20));
    store(out + 32, _mm256_permute2x128_si256(l2, l3, 0x20));
    store(out + panel, _mm256_permute2x128_si256(l0, l1, 0x31));
    store(out + panel + 32, _mm256_permute2x128_si256(l2, l3, 0x31));
  }
#else
  for (int q = 0; q < kTogether; ++q) interleave(r + q * 16, step, out + q * panel);
#endif
}

// Lines [l, l1) of a panel, element by element.
void pack_tail(const Int8PackBArgs& g, int64_t p, int64_t l, int64_t l1) {
  const int64_t lines = int8_lines(g.K), rs = g.b.row_stride, ks = g.b.k_stride,
                n0 = p * kInt8Panel;
  const int8_t* src = static_cast<const int8_t*>(g.b.data) + n0 * rs;
  int8_t* dst = g.panels + p * lines * 64;
  for (; l < l1; ++l) {
    for (int64_t j = 0; j < 16; ++j) {
      for (int64_t k = l * 4; k < l * 4 + 4; ++k) {
        dst[l * 64 + j * 4 + (k - l * 4)] =
            n0 + j < g.N && k < g.K ? src[j * rs + k * ks] : int8_t(0);
      }
    }
  }
}

// Lines [l, l1) of a whole panel, k contiguous: four bytes of a column move as one word.
TERCEL_INLINE void pack_words(const int8_t* src, int64_t rs, int64_t l, int64_t l1, int8_t* dst) {
  for (; l < l1; ++l) {
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) __builtin_memcpy(dst + l * 64 + j * 4, src + j * rs + l * 4, 4);
  }
}

// The same of `count` panels with columns contiguous: four rows interleave, over up to four panels
// so that a cache line of the source is read once.
TERCEL_INLINE void pack_lines(const int8_t* src, int64_t ks, int64_t l, int64_t l1, int64_t count,
                              int64_t panel, int8_t* dst) {
  for (; l < l1; ++l) {
    // Rows far apart: nothing else brings them in time. Past the end it has no effect.
    for (int64_t k = 16; k < 20; ++k) __builtin_prefetch(src + (l * 4 + k) * ks);
    if (count == kTogether) {
      interleave_four(src + l * 4 * ks, ks, panel, dst + l * 64);
      continue;
    }
    for (int64_t q = 0; q < count; ++q)
      interleave(src + l * 4 * ks + q * 16, ks, dst + q * panel + l * 64);
  }
}

void pack_b(const Int8PackBArgs& g) {
  constexpr int64_t kBlock = 32;  // lines that are summed while they are in L1
  const int64_t lines = int8_lines(g.K), full = g.K / 4, rs = g.b.row_stride, ks = g.b.k_stride;
  for (int64_t p = g.p0; p < g.p1;) {
    const int64_t whole =
        g.N / kInt8Panel < g.p1 ? g.N / kInt8Panel - p : g.p1 - p;  // full panels from p
    const int8_t* src = static_cast<const int8_t*>(g.b.data) + p * kInt8Panel * rs;
    int8_t* dst = g.panels + p * lines * 64;
    const bool by_words = whole > 0 && ks == 1, by_lines = whole > 0 && rs == 1 && !by_words;
    const int64_t count = !by_lines ? 1 : whole < kTogether ? whole : kTogether;
    LineSums sums[kTogether];
    for (int64_t l = 0; l < lines; l += kBlock) {
      const int64_t l1 = l + kBlock < lines ? l + kBlock : lines;
      const int64_t end = l1 < full ? l1 : full;
      if (by_words) {
        pack_words(src, rs, l, end, dst);
      } else if (by_lines) {
        pack_lines(src, ks, l, end, count, lines * 64, dst);
      }
      const int64_t packed = !by_words && !by_lines ? l : end < l ? l : end;
      for (int64_t q = 0; q < count; ++q) {
        pack_tail(g, p + q, packed, l1);
        for (int64_t i = l; i < l1; ++i) sums[q].add(dst + (q * lines + i) * 64);
      }
    }
    for (int64_t q = 0; q < count; ++q, ++p) sums[q].store(g.sums + p * 16);
  }
}

// Lines of four k as two int16 pairs (k0, k2), (k1, k3) per row: the order of
// gemm_int8_ukr_avx2.cpp.
template <class S>
TERCEL_OUTLINE void widen_row_tail(const S* src, int64_t ks, int64_t K, int64_t l, int64_t step,
                                   int16_t* dst) {
  constexpr int kOrder[4] = {0, 2, 1, 3};
  for (; l * 4 < K; ++l) {
    for (int t = 0; t < 4; ++t) {
      const int64_t k = l * 4 + kOrder[t];
      dst[l * step + t] = k < K ? src[k * ks] : int16_t(0);
    }
  }
}
template <class S>
TERCEL_OUTLINE void widen_a(const Int8PackAArgs& g) {
  typedef S Four __attribute__((vector_size(4)));
  typedef int16_t Wide __attribute__((vector_size(8)));
  const int64_t lines = (g.K + 3) / 4, full = g.k_stride == 1 ? g.K / 4 : 0;
  const int64_t panels = (g.rows + g.mr - 1) / g.mr, step = int64_t{4} * g.mr;
  for (int64_t r = 0; r < panels * g.mr; ++r) {
    int16_t* dst = static_cast<int16_t*>(g.dst) + r / g.mr * lines * step + r % g.mr * 4;
    if (r >= g.rows) {
      for (int64_t l = 0; l < lines; ++l) __builtin_memset(dst + l * step, 0, 8);
      continue;
    }
    const S* src = static_cast<const S*>(g.a) + r * g.row_stride;
    for (int64_t l = 0; l < full; ++l) {
      Four v;
      __builtin_memcpy(&v, src + l * 4, 4);
      Wide w = __builtin_convertvector(v, Wide);
      w = __builtin_shuffle(w, Wide{0, 2, 1, 3});
      __builtin_memcpy(dst + l * step, &w, 8);
    }
    widen_row_tail(src, g.k_stride, g.K, full, step, dst);
  }
}

// Groups [q0, q1) of one row, element by element: other strides, the end of k.
TERCEL_OUTLINE void pack_row_tail(const Int8PackAArgs& g, const uint8_t* src, int64_t q0,
                                  int64_t q1, uint8_t* out) {
  const int64_t group = g.group, step = g.mr * group, K = g.K, ks = g.k_stride;
  const uint8_t flip = g.flip;
  for (int64_t q = q0; q < q1; ++q) {
    for (int64_t k = 0; k < group; ++k) {
      const int64_t at = q * group + k;
      out[q * step + k] = at < K ? static_cast<uint8_t>(src[at * ks] ^ flip) : uint8_t(0);
    }
  }
}

// Whole groups [q, q1) of one row of consecutive k.
template <class Group, class Flip>
TERCEL_INLINE void pack_row(const uint8_t* src, int64_t q, int64_t q1, int64_t step,
                            const Flip& flip, uint8_t* out) {
#pragma GCC unroll 4
  for (; q < q1; ++q) {
    Group v;
    __builtin_memcpy(&v, src + q * int64_t{sizeof(Group)}, sizeof(Group));
    v ^= flip;
    __builtin_memcpy(out + q * step, &v, sizeof(Group));
  }
}

// A panel of words of four k, transposed in registers, as far as squares fit into the rows and k of
// a; the number of groups done.
#if defined(TERCEL_LEVEL_AVX512) || defined(TERCEL_LEVEL_AVX2)
int64_t pack_squares(const Int8PackAArgs& g, int64_t row, uint8_t* panel) {
  constexpr int L = kTransposeF32;
  typedef uint32_t Words __attribute__((vector_size(sizeof(TransposeRegF32)), may_alias));
  if (g.group != 4 || g.mr > L || g.k_stride != 1 || g.row_stride % 4 != 0 || row + L > g.rows)
    return 0;
  const float* src =
      reinterpret_cast<const float*>(static_cast<const char*>(g.a) + row * g.row_stride);
  const Words flip = Words{} + g.flip * 0x01010101u;
  int64_t q = 0;
  for (; q + L <= g.K / 4; q += L) {
    TransposeRegF32 t[L];
    transpose(src + q, g.row_stride / 4, t);
    float* out = reinterpret_cast<float*>(panel) + q * g.mr;
#pragma GCC unroll 16
    for (int j = 0; j < L; ++j) store(out + j * g.mr, (TransposeRegF32)((Words)t[j] ^ flip), g.mr);
  }
  return q;
}
#else
int64_t pack_squares(const Int8PackAArgs&, int64_t, uint8_t*) { return 0; }
#endif

void pack_a(const Int8PackAArgs& g) {
  typedef uint8_t Line __attribute__((vector_size(64)));
  if (g.widen) return g.a_signed ? widen_a<int8_t>(g) : widen_a<uint8_t>(g);
  const int64_t mr = g.mr, group = g.group, groups = (g.K + group - 1) / group,
                panels = (g.rows + mr - 1) / mr, step = mr * group;
  const int64_t full = g.k_stride == 1 ? g.K / group : 0;
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t rows = g.rows - p * mr < mr ? g.rows - p * mr : mr;
    uint8_t* panel = static_cast<uint8_t*>(g.dst) + p * groups * step;
    const int64_t done = pack_squares(g, p * mr, panel);
    for (int64_t i = 0; i < mr; ++i) {
      uint8_t* out = panel + i * group;
      if (i >= rows) {
        for (int64_t q = done; q < groups; ++q)
          __builtin_memset(out + q * step, 0, static_cast<size_t>(group));
        continue;
      }
      const uint8_t* src = static_cast<const uint8_t*>(g.a) + (p * mr + i) * g.row_stride;
      if (group == 4) {
        pack_row<uint32_t>(src, done, full, step, g.flip * 0x01010101u, out);
      } else {
        pack_row<Line>(src, done, full, step, Line{} + g.flip, out);
      }
      pack_row_tail(g, src, full, groups, out);
    }
  }
}

void widen_b(const void* src, int64_t lines, void* dst) {
  typedef int16_t Words __attribute__((vector_size(64)));
  for (int64_t l = 0; l < lines; ++l) {
    Words v;
    __builtin_memcpy(&v, static_cast<const char*>(src) + l * 64, 64);
    const Words even = (v << 8) >> 8, odd = v >> 8;
    __builtin_memcpy(static_cast<char*>(dst) + l * 128, &even, 64);
    __builtin_memcpy(static_cast<char*>(dst) + l * 128 + 64, &odd, 64);
  }
}

template <bool kFull>
TERCEL_INLINE VecI load_int(const int32_t* p, int64_t n) {
  if constexpr (kFull) return VecI::load(p);
  return as_int(VecF::load_n(reinterpret_cast<const float*>(p), n));
}

TERCEL_INLINE int32_t wrap_mul(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b));
}

// out = acc - zero * sums; out may be acc.
TERCEL_INLINE void compensate(int32_t* out, const int32_t* acc, const int32_t* sums, int32_t zero,
                              int64_t n) {
  if (zero == 0) {
    if (out != acc) __builtin_memcpy(out, acc, static_cast<size_t>(n) * 4);
    return;
  }
#pragma GCC ivdep
  for (int64_t j = 0; j < n; ++j) {
    out[j] = static_cast<int32_t>(static_cast<uint32_t>(acc[j]) -
                                  static_cast<uint32_t>(wrap_mul(sums[j], zero)));
  }
}

template <class T>
void float_row(const Int8EpilogueArgs& g, int64_t i, const int32_t* acc) {
  T* out = static_cast<T*>(g.out) + i * g.out_row_stride;
  const VecF sa(g.e.scale_a ? g.e.scale_a[i * g.e.scale_a_stride] : 1.0f);
  for_vectors<VecF>(g.n, [&]<bool kFull>(int64_t j, int64_t n) {
    VecF v = to_float(load_int<kFull>(acc + j, n)) * sa;
    if (g.e.scale_b) {
      v = v * (g.e.scale_b_stride ? load<kFull, VecF>(g.e.scale_b + j, n) : VecF(*g.e.scale_b));
    }
    if (g.e.bias) v = v + load<kFull, VecF>(g.e.bias + j, n);
    if constexpr (sizeof(T) > 1) {
      store<kFull>(v, out + j, n);
    } else {
      const VecF zero(static_cast<float>(g.e.out_zero));
      const float lo = static_cast<T>(-1) < T(0) ? -128.0f : 0.0f;
      v = round(v * VecF(1.0f / g.e.out_scale)) + zero;
      v = select(simd::isnan(v), zero,
                 min_or_second(max_or_second(v, VecF(lo)), VecF(lo + 255.0f)));
      alignas(64) uint8_t codes[16];
      to_int(v).store(codes);
      __builtin_memcpy(out + j, codes, static_cast<size_t>(n));
    }
  });
}

void epilogue(const Int8EpilogueArgs& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    int32_t* acc = g.acc + i * g.ld;
    const int32_t zero =
        static_cast<int32_t>(static_cast<uint32_t>(g.shift) +
                             static_cast<uint32_t>(g.zero_a ? g.zero_a[i * g.zero_a_stride] : 0));
    if (g.out_dtype == DType::i32) {
      compensate(static_cast<int32_t*>(g.out) + i * g.out_row_stride, acc, g.sums, zero, g.n);
      continue;
    }
    compensate(acc, acc, g.sums, zero, g.n);
    switch (g.out_dtype) {
      case DType::f32:
        float_row<float>(g, i, acc);
        break;
      case DType::bf16:
        float_row<bf16>(g, i, acc);
        break;
      case DType::f16:
        float_row<f16>(g, i, acc);
        break;
      case DType::i8:
        float_row<int8_t>(g, i, acc);
        break;
      default:
        float_row<uint8_t>(g, i, acc);
        break;
    }
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const Int8Kernels int8_kernels = {pack_b, pack_a, widen_b, epilogue};
}  // namespace TERCEL_LEVEL
}  // namespace tercel
