// LSD radix sort on order-preserving integer keys, and selection of the first k by a rising
// threshold.
//
// A value of at most 32 bits becomes (key << 32 | index), so one 8-byte word moves per element and
// pass; a 64-bit value keeps key and index apart. Floats: the sign-magnitude bits folded to
// unsigned order, -0 as +0, every NaN as the largest key; descending complements the key, which
// keeps equal elements in index order. Passes whose digit is the same everywhere are skipped (small
// integers, similar exponents). A single long row is cut into one part per thread: each part
// scatters to its own slots, so the result is the same.
#include <string.h>

#include "core/parallel.h"
#include "ops/sort/sort_kernels.h"

namespace tercel {
namespace {

constexpr int kMaxParts = 16;
constexpr int kInsertionMax = 32;
constexpr int64_t kWideDigitFrom = 8192;  // from here 11-bit digits beat 8-bit ones

template <class T>
TERCEL_INLINE auto encode(T v) {
  if constexpr (std::is_same_v<T, double>) {
    uint64_t u;
    __builtin_memcpy(&u, &v, 8);
    u = v == 0 ? 0 : u;
    const uint64_t key =
        u ^ (static_cast<uint64_t>(static_cast<int64_t>(u) >> 63) | 0x8000000000000000ull);
    return v != v ? ~uint64_t{0} : key;
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return static_cast<uint64_t>(v) ^ 0x8000000000000000ull;
  } else if constexpr (std::is_same_v<T, uint8_t> || std::is_same_v<T, bool>) {
    return static_cast<uint32_t>(v);
  } else if constexpr (std::is_integral_v<T>) {
    // Shifted to non-negative within the type's own width: the upper digits stay constant.
    return sizeof(T) == 4
               ? static_cast<uint32_t>(v) ^ 0x80000000u
               : static_cast<uint32_t>(static_cast<int32_t>(v) + (1 << (8 * sizeof(T) - 1)));
  } else {
    const float f = static_cast<float>(v);
    uint32_t u = detail::float_bits(f);
    u = f == 0 ? 0 : u;
    const uint32_t key = u ^ (static_cast<uint32_t>(static_cast<int32_t>(u) >> 31) | 0x80000000u);
    return f != f ? ~uint32_t{0} : key;
  }
}
template <class T>
constexpr bool kIsWide = sizeof(T) == 8;

struct Narrow {  // (key << 32 | index)
  uint64_t* at;
  TERCEL_INLINE uint64_t key(int64_t i) const { return at[i] >> 32; }
  TERCEL_INLINE uint32_t index(int64_t i) const { return static_cast<uint32_t>(at[i]); }
  TERCEL_INLINE void set(int64_t i, uint64_t key, uint32_t index) const {
    at[i] = key << 32 | index;
  }
  TERCEL_INLINE void move(int64_t i, const Narrow& from, int64_t j) const { at[i] = from.at[j]; }
  static Narrow place(char* p, int64_t) { return {reinterpret_cast<uint64_t*>(p)}; }
};
struct Wide {
  uint64_t* keys;
  uint32_t* indices;
  TERCEL_INLINE uint64_t key(int64_t i) const { return keys[i]; }
  TERCEL_INLINE uint32_t index(int64_t i) const { return indices[i]; }
  TERCEL_INLINE void set(int64_t i, uint64_t key, uint32_t index) const {
    keys[i] = key;
    indices[i] = index;
  }
  TERCEL_INLINE void move(int64_t i, const Wide& from, int64_t j) const {
    set(i, from.keys[j], from.indices[j]);
  }
  static Wide place(char* p, int64_t n) {
    return {reinterpret_cast<uint64_t*>(p), reinterpret_cast<uint32_t*>(p + n * 8)};
  }
};

TERCEL_INLINE void part_range(int64_t n, int parts, int part, int64_t* begin, int64_t* end) {
  *begin = n * part / parts;
  *end = n * (part + 1) / parts;
}

// One pass on digit (key >> shift) of kBits bits. Returns false (nothing moved) if all digits are
// equal.
template <int kBits, class E>
bool radix_pass(const E& from, const E& to, int64_t n, int shift, int parts,
                uint32_t (*count)[1 << 11]) {
  constexpr uint64_t kMask = (1u << kBits) - 1;
  parallel_for(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      uint32_t* c = count[p];
      memset(c, 0, sizeof(uint32_t) << kBits);
      int64_t begin, end;
      part_range(n, parts, static_cast<int>(p), &begin, &end);
      for (int64_t i = begin; i < end; ++i) ++c[from.key(i) >> shift & kMask];
    }
  });
  uint32_t total = 0;
  bool single = false;
  for (int64_t d = 0; d < 1 << kBits; ++d) {
    const uint32_t before = total;
    for (int p = 0; p < parts; ++p) {
      const uint32_t c = count[p][d];
      count[p][d] = total;
      total += c;
    }
    single |= total - before == static_cast<uint32_t>(n);
  }
  if (single) return false;
  parallel_for(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      uint32_t* c = count[p];
      int64_t begin, end;
      part_range(n, parts, static_cast<int>(p), &begin, &end);
      for (int64_t i = begin; i < end; ++i) to.move(c[from.key(i) >> shift & kMask]++, from, i);
    }
  });
  return true;
}

template <class E>
void insertion_sort(const E& e, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const uint64_t key = e.key(i);
    const uint32_t index = e.index(i);
    int64_t j = i;
    for (; j > 0 && e.key(j - 1) > key; --j) e.move(j, e, j - 1);
    e.set(j, key, index);
  }
}

// Sorts n entries of `a` by key, stably; the result is in the returned one of a, b.
template <class E>
E sort_entries(E a, E b, int64_t n, int key_bits, int parts) {
  if (n <= kInsertionMax) {
    insertion_sort(a, n);
    return a;
  }
  uint32_t count[kMaxParts][1 << 11];
  const bool wide_digits = n >= kWideDigitFrom && key_bits > 16;
  const int bits = wide_digits ? 11 : 8;
  for (int shift = 0; shift < key_bits; shift += bits) {
    const bool moved = wide_digits ? radix_pass<11>(a, b, n, shift, parts, count)
                                   : radix_pass<8>(a, b, n, shift, parts, count);
    if (moved) {
      const E t = a;
      a = b;
      b = t;
    }
  }
  return a;
}

template <class T>
void sort_row(const SortArgs& s, int64_t row, char* area, int parts) {
  using E = std::conditional_t<kIsWide<T>, Wide, Narrow>;
  const T* src = static_cast<const T*>(s.src) + row * s.n;
  const int64_t n = s.n;
  const E a = E::place(area, n), b = E::place(area + n * (kIsWide<T> ? 12 : 8) / 8 * 8 + 64, n);
  constexpr int kKeyBits = sizeof(T) == 8          ? 64
                           : std::is_integral_v<T> ? 8 * static_cast<int>(sizeof(T))
                                                   : 32;
  const uint64_t flip = !s.descending    ? 0
                        : kKeyBits == 64 ? ~uint64_t{0}
                                         : (uint64_t{1} << (kKeyBits % 64)) - 1;
  parallel_for(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      int64_t begin, end;
      part_range(n, parts, static_cast<int>(p), &begin, &end);
      for (int64_t i = begin; i < end; ++i)
        a.set(i, encode(src[i]) ^ flip, static_cast<uint32_t>(i));
    }
  });
  const E sorted = sort_entries(a, b, n, kKeyBits, parts);
  const int64_t take = s.k > 0 ? s.k : n;
  int64_t* indices = s.indices + row * take;
  T* values = s.values ? static_cast<T*>(s.values) + row * take : nullptr;
  parallel_for(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      int64_t begin, end;
      part_range(take, parts, static_cast<int>(p), &begin, &end);
      for (int64_t i = begin; i < end; ++i) indices[i] = sorted.index(i);
      if (values) {
        for (int64_t i = begin; i < end; ++i) values[i] = src[sorted.index(i)];
      }
    }
  });
}

// Runs row(r, area) for all rows, one slot per chunk.
template <class F>
TERCEL_INLINE void for_rows(const SortArgs& s, F row) {
  parallel_for(s.slots, 1, [&](int64_t first, int64_t last) {
    for (int64_t slot = first; slot < last; ++slot) {
      char* area = s.work + slot * sort_area(s.n);
      for (int64_t r = slot; r < s.rows; r += s.slots) row(r, area);
    }
  });
}

void sort(const SortArgs& s) {
  visit<TERCEL_FLOATS, TERCEL_FP8, TERCEL_INTS, bool>(s.dtype, "sort", [&]<class T>() {
    if (s.slots > 1 || s.rows > 1) {
      for_rows(s, [&](int64_t r, char* area) { sort_row<T>(s, r, area, 1); });
    } else {
      const int threads = num_threads();
      const int parts = s.n < (1 << 16) ? 1 : threads < kMaxParts ? threads : kMaxParts;
      sort_row<T>(s, 0, s.work, parts);
    }
  });
}

// ---- selection
// ----------------------------------------------------------------------------------------- Entries
// are (key << 32 | ~index): larger is better, ties go to the smaller index, all are distinct.

// Moves the k largest of v[0, n) to the front (quickselect, median of three; narrow ranges by
// insertion).
void select_largest(uint64_t* v, int64_t n, int64_t k) {
  int64_t low = 0, high = n;
  while (high - low > 16) {
    const uint64_t a = v[low], b = v[low + (high - low) / 2], c = v[high - 1];
    const uint64_t pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
    int64_t i = low, j = high - 1;
    while (i <= j) {
      while (v[i] > pivot) ++i;
      while (v[j] < pivot) --j;
      if (i <= j) {
        const uint64_t t = v[i];
        v[i++] = v[j];
        v[j--] = t;
      }
    }
    if (k <= j + 1)
      high = j + 1;
    else if (k >= i)
      low = i;
    else
      return;
    if (k <= low) return;
  }
  for (int64_t i = low + 1; i < high; ++i) {
    const uint64_t x = v[i];
    int64_t j = i;
    for (; j > low && v[j - 1] < x; --j) v[j] = v[j - 1];
    v[j] = x;
  }
}

template <class T>
void select_row(const SortArgs& s, int64_t row, char* area) {
  const T* src = static_cast<const T*>(s.src) + row * s.n;
  const int64_t n = s.n, k = s.k;
  uint64_t* best = reinterpret_cast<uint64_t*>(area);
  // Room for the k best and as many newcomers, so that a refill costs a constant per newcomer.
  const int64_t room = n < 2 * k + 256 ? n : 2 * k + 256;
  const uint32_t flip = s.descending ? 0 : ~0u;
  auto entry = [&](int64_t i) {
    return static_cast<uint64_t>(encode(src[i]) ^ flip) << 32 | ~static_cast<uint32_t>(i);
  };
  int64_t held = room;
  for (int64_t i = 0; i < room; ++i) best[i] = entry(i);
  uint32_t threshold = 0;
  auto shrink = [&] {
    select_largest(best, held, k);
    uint64_t lowest = best[0];
    for (int64_t i = 1; i < k; ++i) lowest = best[i] < lowest ? best[i] : lowest;
    threshold = static_cast<uint32_t>(lowest >> 32);
    held = k;
  };
  shrink();
  constexpr int64_t kBlock = 64;
  int64_t i = room;
  uint32_t key[kBlock];
  for (; i + kBlock <= n; i += kBlock) {
    uint32_t any = 0;
    for (int64_t l = 0; l < kBlock; ++l) {
      key[l] = encode(src[i + l]) ^ flip;
      any |= key[l] > threshold ? ~0u : 0u;
    }
    if (!any) continue;
    for (int64_t l = 0; l < kBlock; ++l) {
      if (key[l] <= threshold) continue;  // equal: the earlier index stays
      if (held == room) shrink();
      best[held++] = static_cast<uint64_t>(key[l]) << 32 | ~static_cast<uint32_t>(i + l);
    }
  }
  for (; i < n; ++i) {
    if (static_cast<uint32_t>(encode(src[i]) ^ flip) <= threshold) continue;
    if (held == room) shrink();
    best[held++] = entry(i);
  }
  if (held > k) select_largest(best, held, k);
  // Best first: ascending order of the complement.
  const Wide a = Wide::place(area, k), b = Wide::place(area + (k * 12 + 71) / 8 * 8, k);
  for (int64_t j = 0; j < k; ++j) best[j] = ~best[j];
  for (int64_t j = 0; j < k; ++j) a.indices[j] = static_cast<uint32_t>(j);
  const Wide sorted = sort_entries(a, b, k, 64, 1);
  int64_t* indices = s.indices + row * k;
  T* values = static_cast<T*>(s.values) + row * k;
  for (int64_t j = 0; j < k; ++j) {
    indices[j] = static_cast<uint32_t>(sorted.key(j));
    values[j] = src[indices[j]];
  }
}

void select(const SortArgs& s) {
  visit<float, f16, bf16, TERCEL_FP8, int8_t, uint8_t, int16_t, int32_t, bool>(
      s.dtype, "topk",
      [&]<class T>() { for_rows(s, [&](int64_t r, char* area) { select_row<T>(s, r, area); }); });
}

}  // namespace

namespace TERCEL_LEVEL {
extern const SortKernels sort_kernels = {sort, select};
}
}  // namespace tercel
