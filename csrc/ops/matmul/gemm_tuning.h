// Block sizes of the packed product, as data. Rows are matched by level and element size.
//
// mc x kGemmKBlock of A stays in L2 next to the B panel in use; nc x kGemmKBlock of B is shared by
// the threads (L3). Sizes are in elements; the driver rounds mc to the tile and evens out the
// blocks.
#pragma once

#include <cstdint>

#include "core/cpu_isa.h"

namespace tercel {

struct GemmBlocking {
  IsaLevel level;
  int elem_bytes;  // 2: pairs
  int64_t mc, nc;
};

inline constexpr GemmBlocking kGemmBlocking[] = {
    {IsaLevel::generic, 4, 64, 2048}, {IsaLevel::generic, 8, 32, 1024},
    {IsaLevel::avx2, 4, 192, 2048},   {IsaLevel::avx2, 8, 96, 1024},
    {IsaLevel::avx512, 4, 168, 2048}, {IsaLevel::avx512, 8, 84, 1024},
    {IsaLevel::avx512, 2, 256, 2048},
};

// Products up to this many multiply-adds read their operands in place.
inline constexpr int64_t kDirectMaxWork = 160 * 160 * 160;
// Products of at most one row block with at least this many columns are cut into column chunks of
// kColumnChunk, each packed by the thread that uses it (it then lies in that thread's L2).
inline constexpr int64_t kColumnChunk = 256;
// Products with fewer rows, columns or multiply-adds leave panels of words (gemm_words.h).
inline constexpr int64_t kWordRows = 9, kWordWork = 64 * 64 * 64;
// Multiply-adds below which one thread does it all (about 10 us).
inline constexpr int64_t kSerialWork = 512 * 1024;
// Elements that one thread packs (about 6 us).
inline constexpr int64_t kSerialPack = 16 * 1024;
// An operand of at most this many bytes (of the accumulation dtype) stays in L2 for the whole
// product.
inline constexpr int64_t kResidentBytes = 640 * 1024;
// Sums that cannot lie in the output are finished in strips of at most so many bytes.
inline constexpr int64_t kStripBytes = 256 * 1024;
// Few-row products with a right operand of at least this many bytes read it once; the second for
// more than 8 rows.
inline constexpr int64_t kSkinnyMinBytes = 128 * 1024, kSkinnyLargeMinBytes = 1 << 20;

}  // namespace tercel
