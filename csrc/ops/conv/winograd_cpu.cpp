// Winograd convolution F(4x4, 3x3), float32: y = A^T [ (G g G^T) (B^T d B) ] A per 6x6 patch of the
// input.
//
// Interpolation points 0, 1, -1, 1/2, -2, infinity: every entry of A and B is a power of two apart
// from small factors, and the largest error stays below three times that of direct summation. 36
// products per 16 outputs instead of 144. The source is split into 4 x 4 residue planes, so a
// vector holds the same element of consecutive patches; a block of up to kColumns patches is
// transformed, multiplied by the 36 weight matrices (the micro-kernel of direct convolution, one
// chain over input channels) and transformed back while it is in cache.
//
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015); points after Barabasz
// et al. (2020).
#include "core/parallel.h"
#include "ops/conv/conv_pad.h"
#include "ops/conv/conv_tile.h"

namespace tercel {
namespace {

using R = Reg<float>;
using V = R::V;
inline constexpr int kL = R::lanes;
inline constexpr int64_t kColumns = kWinogradColumns;
inline constexpr int64_t kPitch = kWinogradColumns + 16;  // a vector may start at the last column

// The 36 matrices of a kind are spaced so that equal places in them do not share a cache set.
inline constexpr int64_t kSkew = kWinogradSkew;

// x a + b
TERCEL_INLINE V fma(float x, V a, V b) { return R::fma(R::splat(x), a, b); }

TERCEL_INLINE void input_transform(const V (&d)[6], V (&t)[6]) {
  const V d31 = d[3] - d[1], d42 = d[4] - d[2];
  t[0] = fma(1.5f, d31, fma(-2.0f, d[2], d[0] + d[4]));
  t[1] = fma(2.5f, d[3], fma(0.5f, d[2], d[4] - d[1]));
  t[2] = fma(0.5f, d[3], fma(-2.5f, d[2], d[4] + d[1]));
  t[3] = fma(2.0f, d31, d42);
  t[4] = fma(-0.5f, d31, d42);
  t[5] = fma(1.5f, d42, fma(-2.0f, d[3], d[1] + d[5]));
}

TERCEL_INLINE void output_transform(const V (&m)[6], V (&y)[4]) {
  const V sum = m[1] + m[2], difference = m[1] - m[2];
  y[0] = (m[0] + sum) + (m[3] + m[4]);
  y[1] = fma(0.5f, m[3], fma(-2.0f, m[4], difference));
  y[2] = fma(0.25f, m[3], fma(4.0f, m[4], sum));
  y[3] = fma(0.125f, m[3], fma(-8.0f, m[4], difference)) + m[5];
}

// One value of each output channel of a block, in double: the weights are rounded once.
typedef double Wide __attribute__((vector_size(8 * kMR)));
typedef float Narrow __attribute__((vector_size(4 * kMR)));

// G applied to three values.
TERCEL_INLINE void weight_transform(Wide g0, Wide g1, Wide g2, Wide* u) {
  u[0] = g0;
  u[1] = (g0 + g1 + g2) * (1.0 / 3);
  u[2] = (g0 - g1 + g2) * (-1.0 / 3);
  u[3] = (g0 + 0.5 * g1 + 0.25 * g2) * (-16.0 / 15);
  u[4] = (g0 - 2.0 * g1 + 4.0 * g2) * (1.0 / 15);
  u[5] = g2;
}

// U[e][channel block][c][MR]
void transform_weights(const WinogradArgs& a, int64_t rows) {
  const float* w = static_cast<const float*>(a.w);
  float* packed = static_cast<float*>(a.packed);
  const int64_t blocks = (a.cout + kMR - 1) / kMR;
  const int64_t e_stride = rows * a.cin + kSkew;
  parallel_for(blocks, 1 + 64 / a.cin, [&](int64_t b0, int64_t b1) {
    for (int64_t b = b0; b < b1; ++b) {
      const int64_t o0 = b * kMR, left = a.cout - o0;
      const int mr = rows_of(left);
      for (int64_t c = 0; c < a.cin; ++c) {
        Wide g[9] = {};
        const float* from = w + o0 * a.w_out + c * a.w_in;
        for (int k = 0; k < 9; ++k) {
          const float* p = from + (a.flip ? 8 - k : k);
          if (left >= kMR) {
#pragma GCC unroll 8
            for (int r = 0; r < kMR; ++r) g[k][r] = p[r * a.w_out];
          } else {
            for (int r = 0; r < left; ++r) g[k][r] = p[r * a.w_out];
          }
        }
        Wide t[3][6];
        for (int k = 0; k < 3; ++k) weight_transform(g[k], g[3 + k], g[6 + k], t[k]);
        float* dst = packed + o0 * a.cin + c * mr;
        for (int i = 0; i < 6; ++i) {
          Wide u[6];
          weight_transform(t[0][i], t[1][i], t[2][i], u);
          for (int j = 0; j < 6; ++j) {
            const Narrow v = __builtin_convertvector(u[j], Narrow);
            float* to = dst + (i * 6 + j) * e_stride;
            if (mr == kMR)
              __builtin_memcpy(to, &v, sizeof(v));
            else
              __builtin_memcpy(to, &v, static_cast<size_t>(mr) * sizeof(float));
          }
        }
      }
    }
  });
}

// Columns [0, n) of the block, from patch `p` of the planes `src` of one channel: v[e * e_stride +
// column].
void transform_columns(const WinogradArgs& a, const float* src, int64_t n, float* v,
                       int64_t e_stride) {
  for (int64_t q = 0; q < n; q += kL) {
    V t[6][6];  // [column j of the patch][row i transformed]
    for (int j = 0; j < 6; ++j) {
      V d[6];
      for (int i = 0; i < 6; ++i)
        d[i] = R::load(src + ((i & 3) * 4 + (j & 3)) * a.plane + (i >> 2) * a.pitch + (j >> 2) + q);
      input_transform(d, t[j]);
    }
    for (int i = 0; i < 6; ++i) {
      const V d[6] = {t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i]};
      V u[6];
      input_transform(d, u);
      for (int j = 0; j < 6; ++j) R::store(v + (i * 6 + j) * e_stride + q, u[j]);
    }
  }
}

// out[4 l + j] = y[j][l]
TERCEL_INLINE void store_interleaved(const V (&y)[4], float* out) {
  typedef int32_t VI __attribute__((vector_size(kRegBytes)));
  VI low, high;
  for (int i = 0; i < kL; ++i) {
    low[i] = i / 2 + (i & 1) * kL;
    high[i] = kL / 2 + i / 2 + (i & 1) * kL;
  }
  const V a0 = __builtin_shuffle(y[0], y[2], low), a1 = __builtin_shuffle(y[0], y[2], high);
  const V b0 = __builtin_shuffle(y[1], y[3], low), b1 = __builtin_shuffle(y[1], y[3], high);
  R::store(out, __builtin_shuffle(a0, b0, low));
  R::store(out + kL, __builtin_shuffle(a0, b0, high));
  R::store(out + 2 * kL, __builtin_shuffle(a1, b1, low));
  R::store(out + 3 * kL, __builtin_shuffle(a1, b1, high));
}

struct PatchRun {  // consecutive patches of one row of patches
  int64_t column, count, image, y, x;
};

struct Block {  // columns of patches: `images` whole images, or a part of one
  int64_t image, images, first, count;
};

int find_patch_runs(const WinogradArgs& a, const Block& b, PatchRun* runs) {
  int n = 0;
  for (int64_t i = 0; i < b.images; ++i)
    for (int64_t q = 0; q < b.count;) {
      const int64_t p = b.first + q, ty = p / a.pitch, tx = p % a.pitch;
      const int64_t left = b.count - q;
      if (tx < a.patches_x) {
        const int64_t count = a.patches_x - tx < left ? a.patches_x - tx : left;
        runs[n++] = {i * b.count + q, count, b.image + i, ty, tx};
      }
      q += a.pitch - tx;
    }
  return n;
}

void run_block(const WinogradArgs& a, const Block& b, const float* src, int64_t n0, int64_t rows,
               float* v, float* m) {
  const int64_t total = b.images * b.count;
  const int64_t tiles = (total + kTile<float> - 1) / kTile<float>;
  const int64_t blocks = (a.cout + kMR - 1) / kMR;
  const int64_t e_stride = a.cin * kPitch + kSkew;
  for (int64_t c = 0; c < a.cin; ++c)
    for (int64_t i = 0; i < b.images; ++i)
      transform_columns(a, src + ((b.image + i) * a.cin + c) * 16 * a.plane + b.first, b.count,
                        v + c * kPitch + i * b.count, e_stride);
  constexpr int64_t kTileSize = kMR * kTile<float>;
  const int64_t m_stride = blocks * tiles * kTileSize + kSkew;
  for (int64_t e = 0; e < 36; ++e)
    for (int64_t o = 0; o < blocks; ++o) {
      const int mr = rows_of(a.cout - o * kMR);
      const float* w =
          static_cast<const float*>(a.packed) + e * (rows * a.cin + kSkew) + o * kMR * a.cin;
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t n = total - t * kTile<float>;
        const int nv = n >= kTile<float> ? kNV : static_cast<int>((n + kL - 1) / kL);
        pick_tile<float>(mr, nv, false)({a.cin, w, v + e * e_stride + t * kTile<float>, a.offset,
                                         m + e * m_stride + (o * tiles + t) * kTileSize, true, 0});
      }
    }
  PatchRun runs[kColumns];
  const int run_count = find_patch_runs(a, b, runs);
  const float* bias = static_cast<const float*>(a.bias);
  alignas(64) float out[4][4 * (kColumns + 16)];
  for (int64_t o = 0; o < a.cout; ++o) {
    const float* mo = m + o / kMR * tiles * kTileSize + o % kMR * kTile<float>;
    const V shift = R::splat(bias ? bias[o] : 0.0f);
    for (int64_t q = 0; q < total; q += kL) {
      const float* mq = mo + q / kTile<float> * kTileSize + q % kTile<float>;
      V t[6][4];  // [column j][row of the output]
      for (int j = 0; j < 6; ++j) {
        V s[6];
        for (int i = 0; i < 6; ++i) s[i] = R::load(mq + (i * 6 + j) * m_stride);
        output_transform(s, t[j]);
      }
      for (int i = 0; i < 4; ++i) {
        const V s[6] = {t[0][i], t[1][i], t[2][i], t[3][i], t[4][i], t[5][i]};
        V y[4];
        output_transform(s, y);
        for (int j = 0; j < 4; ++j) y[j] = y[j] + shift;
        store_interleaved(y, out[i] + 4 * q);
      }
    }
    for (int r = 0; r < run_count; ++r) {
      const PatchRun& run = runs[r];
      float* y = static_cast<float*>(a.y) + ((n0 + run.image) * a.cout + o) * a.out[0] * a.out[1] +
                 4 * run.x;
      const int64_t width =
          a.out[1] - 4 * run.x < 4 * run.count ? a.out[1] - 4 * run.x : 4 * run.count;
      for (int64_t i = 0; i < 4 && 4 * run.y + i < a.out[0]; ++i)
        convert_row(out[i] + 4 * run.column, 1, y + (4 * run.y + i) * a.out[1], width);
    }
  }
}

void winograd(const WinogradArgs& a) {
  const int64_t rows = (a.cout + kConvRows - 1) / kConvRows * kConvRows;
  const int64_t threads = num_threads();
  const int64_t v_size = 36 * (a.cin * kPitch + kSkew);
  const int64_t slot = v_size + 36 * (rows * kColumns + kSkew);
  transform_weights(a, rows);
  const int64_t patches = a.patches_y * a.pitch - 1;  // the last position is no patch
  for (int64_t n0 = 0; n0 < a.images; n0 += a.wave) {
    const int64_t images = n0 + a.wave < a.images ? a.wave : a.images - n0;
    pad_planes<float, float>(a.pad, n0 * a.cin, (n0 + images) * a.cin);
    // How the patches are grouped changes no bits, so it may look at the threads.
    int64_t group = patches <= kColumns / 2 ? kColumns / (patches + 1) : 1;
    if (group * threads > images) group = (images + threads - 1) / threads;
    int64_t parts = (patches + kColumns - 1) / kColumns;
    if (group == 1 && images < 4 * threads) parts = (parts + threads - 1) / threads * threads;
    const int64_t columns =
        group > 1 ? patches + 1 : ((patches + parts - 1) / parts + 15) / 16 * 16;
    if (group == 1)
      parts = (patches + columns - 1) / columns;
    else
      parts = 1;
    const int64_t blocks = (images + group - 1) / group * parts;
    const float* src = static_cast<const float*>(a.pad.dst);
    const int64_t used = threads < blocks ? threads : blocks;
    parallel_for(used, 1, [&](int64_t t0, int64_t t1) {
      for (int64_t t = t0; t < t1; ++t) {
        float* v = static_cast<float*>(a.scratch) + t * slot;
        for (int64_t i = t; i < blocks; i += used) {
          Block b;
          b.image = i / parts * group;
          b.images = images - b.image < group ? images - b.image : group;
          b.first = i % parts * columns;
          b.count = group > 1 ? columns : patches - b.first < columns ? patches - b.first : columns;
          run_block(a, b, src, n0, rows, v, v + v_size);
        }
      }
    });
  }
}

}  // namespace

namespace TERCEL_LEVEL {
extern const WinogradKernels winograd_kernels = {winograd};
}

}  // namespace tercel
