// Choice of the CUDA kernel of a product, by dtype, layout and the shape of one sample: few rows
// (gemm_gemv.cuh), wgmma (gemm_wgmma.cuh), mma.sync (gemm_mma.cuh), plain multiply-adds
// (gemm_simt.cuh). Plain host code: the emulated tests run the same choice.
#pragma once

#include "ops/matmul/gemm_gemv.cuh"  // first: cuda/compat.cuh
#include "ops/matmul/gemm.h"
#include "ops/matmul/gemm_mma.cuh"
#include "ops/matmul/gemm_simt.cuh"
#include "ops/matmul/gemm_wgmma.cuh"

namespace tercel::cuda {

// Extras that GemmBatchArgs has no field for.
struct GemmExtras {
  const void* bias = nullptr;  // output dtype, one per column
  Activation activation = Activation::none;
  bool allow_tf32 = false;  // float32 operands rounded to 10 mantissa bits
};

struct GemmPlan {
  GemmOutput out;
  GemmBatch batch;
  int64_t batches;
};

inline GemmPlan plan_of(const GemmBatchArgs& args, const GemmExtras& extras) {
  const GemmArgs& g = args.gemm;
  GemmPlan plan{};
  plan.out = {g.out,
              g.out_row_stride,
              g.out_col_stride,
              g.epilogue.c,
              g.epilogue.c_row_stride,
              g.epilogue.c_col_stride,
              extras.bias,
              g.epilogue.alpha,
              g.epilogue.beta,
              g.epilogue.activation != Activation::none ? g.epilogue.activation : extras.activation,
              g.epilogue.residual,
              g.epilogue.residual_row_stride,
              g.epilogue.residual_col_stride};
  plan.batch.ndim = args.ndim;
  plan.batches = 1;
  for (int d = 0; d < args.ndim; ++d) {
    plan.batch.size[d] = args.size[d];
    plan.batch.a[d] = args.a_stride[d];
    plan.batch.b[d] = args.b_stride[d];
    plan.batch.c[d] = args.c_stride[d];
    plan.batch.out[d] = args.out_stride[d];
    plan.batch.residual[d] = g.epilogue.residual ? args.residual_stride[d] : 0;
    plan.batches *= args.size[d];
  }
  GemmOutput& o = plan.out;
  bool is_bias = !o.bias && o.beta == 1.0 && o.c_row_stride == 0 && o.c_col_stride == 1;
  for (int d = 0; d < args.ndim; ++d) is_bias = is_bias && args.c_stride[d] == 0;
  if (is_bias) {
    o.bias = o.c;
    o.beta = 0.0;
  }
  return plan;
}

inline int64_t tiles(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

// Splits of k: only for few output tiles and long k, from the shape of one sample.
inline int64_t split_length(int64_t M, int64_t N, int64_t K, int bm, int bn, int depth) {
  const int64_t blocks = tiles(M, bm) * tiles(N, bn);
  int64_t splits = 1;
  while (splits < 16 && blocks * splits < 128 && K / (splits * 2) >= 1024) splits *= 2;
  return tiles(tiles(K, splits), depth) * depth;
}

template <class T, class Out, int BM, int BN, int WM, int WN, int kStages, bool kA, bool kB>
void launch_mma_tile(MmaArgs p, int64_t batches) {
  constexpr int kDepth = 128 / sizeof(T), kThreads = BM / WM * (BN / WN) * 32;
  constexpr bool kMaySplit = std::is_same<typename MmaTraits<T>::Sum, float>::value;
  p.split_k = kMaySplit ? split_length(p.M, p.N, p.K, BM, BN, kDepth) : tiles(p.K, kDepth) * kDepth;
  if (p.split_k == 0) p.split_k = kDepth;
  const int64_t splits = p.K ? tiles(p.K, p.split_k) : 1;
  for (int64_t first = 0; first < batches; first += 65535) {
    const int64_t count = batches - first < 65535 ? batches - first : 65535;
    p.batch.first = first;
    Workspace workspace(splits > 1 ? static_cast<size_t>(splits * count * p.M * p.N) * 4 : 0);
    p.workspace = splits > 1 ? workspace.template as<float>() : nullptr;
    if (splits > 1 && !p.workspace) p.split_k = tiles(p.K, kDepth) * kDepth;
    const dim3 grid(static_cast<unsigned>(tiles(p.M, BM) * tiles(p.N, BN)),
                    p.workspace ? static_cast<unsigned>(splits) : 1u, static_cast<unsigned>(count));
    launch(gemm_mma_kernel<T, Out, BM, BN, WM, WN, kStages, kA, kB>, grid, dim3(kThreads),
           mma_shared_bytes<BM, BN, kStages>(), p);
    if constexpr (kMaySplit) {
      if (!p.workspace) continue;
      const int64_t blocks = tiles(count * p.M * p.N, 256);
      launch(gemm_split_sum_kernel<Out>, dim3(static_cast<unsigned>(blocks < 4096 ? blocks : 4096)),
             dim3(256), 0, p, static_cast<int>(splits), count);
    }
  }
}

template <class T, class Out, bool kA, bool kB>
void launch_mma(const MmaArgs& p, int64_t batches) {
  if (tiles(p.M, 128) * tiles(p.N, 128) >= 64) {
    launch_mma_tile<T, Out, 128, 128, 64, 64, 3, kA, kB>(p, batches);
  } else {
    launch_mma_tile<T, Out, 64, 64, 32, 32, 3, kA, kB>(p, batches);
  }
}

// The operand as rows of 16-byte units, if one of its dims is contiguous.
inline bool mma_operand(const GemmOperand& x, int64_t rows, int64_t K, int64_t item,
                        const int64_t* batch_strides, const int64_t* batch_sizes, int ndim,
                        MmaOperand* out, bool* k_major) {
  *k_major = x.k_stride == 1 || K == 1;
  if (!*k_major && !(x.row_stride == 1 || rows == 1)) return false;
  const int64_t stride = *k_major ? x.row_stride : x.k_stride;
  bool aligned = reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && stride * item % 16 == 0;
  for (int d = 0; d < ndim; ++d) {
    aligned &= batch_sizes[d] == 1 || batch_strides[d] * item % 16 == 0;
  }
  *out = {x.data, stride, aligned};
  return true;
}

template <class T, class Out>
bool try_mma(const GemmBatchArgs& args, const GemmPlan& plan) {
  const GemmArgs& g = args.gemm;
  MmaArgs p{};
  p.M = g.M;
  p.N = g.N;
  p.K = g.K;
  p.out = plan.out;
  p.batch = plan.batch;
  bool a_k, b_k;
  if (!mma_operand(g.a, g.M, g.K, sizeof(T), args.a_stride, args.size, args.ndim, &p.a, &a_k) ||
      !mma_operand(g.b, g.N, g.K, sizeof(T), args.b_stride, args.size, args.ndim, &p.b, &b_k)) {
    return false;
  }
  if constexpr (sizeof(T) == 2) {
    if (a_k && b_k) launch_mma<T, Out, true, true>(p, plan.batches);
    if (a_k && !b_k) launch_mma<T, Out, true, false>(p, plan.batches);
    if (!a_k && b_k) launch_mma<T, Out, false, true>(p, plan.batches);
    if (!a_k && !b_k) launch_mma<T, Out, false, false>(p, plan.batches);
    return true;
  } else {
    if (!a_k || !b_k) return false;
    launch_mma<T, Out, true, true>(p, plan.batches);
    return true;
  }
}

template <class T>
void launch_simt(const GemmBatchArgs& args, const GemmPlan& plan) {
  const GemmArgs& g = args.gemm;
  SimtArgs p{g.M,      g.N,       g.K, {g.a.data, g.a.row_stride, g.a.k_stride},
             {g.b.data, g.b.row_stride, g.b.k_stride}, plan.out, plan.batch};
  const bool large = sizeof(T) == 4 && tiles(g.M, 128) * tiles(g.N, 128) >= 64;
  const int tile = large ? 128 : 64;
  for (int64_t first = 0; first < plan.batches; first += 65535) {
    const int64_t count = plan.batches - first < 65535 ? plan.batches - first : 65535;
    p.batch.first = first;
    const dim3 grid(static_cast<unsigned>(tiles(g.M, tile) * tiles(g.N, tile)), 1,
                    static_cast<unsigned>(count));
    if constexpr (sizeof(T) == 4) {
      if (large) {
        launch(gemm_simt_kernel<T, 8>, grid, dim3(256), 0, p);
        continue;
      }
    }
    launch(gemm_simt_kernel<T, 4>, grid, dim3(256), 0, p);
  }
}

// M <= 16 rows; `args.w` has rows of W.
template <class T, class W>
void launch_gemv(const GemvArgs& p) {
  constexpr int kColumns = 2;
  const dim3 grid(static_cast<unsigned>(tiles(p.N, 8 * kColumns)));
  if (p.M <= 1) return launch(gemv_kernel<T, W, 1, kColumns>, grid, dim3(256), 0, p);
  if (p.M <= 4) return launch(gemv_kernel<T, W, 4, kColumns>, grid, dim3(256), 0, p);
  launch(gemv_kernel<T, W, 16, kColumns>, grid, dim3(256), 0, p);
}

template <class T>
bool try_gemv(const GemmBatchArgs& args, const GemmPlan& plan) {
  const GemmArgs& g = args.gemm;
  if (g.M > 16 || plan.batches != 1 || g.b.k_stride != 1 || g.K == 0) return false;
  if (g.a.k_stride != 1 && g.K != 1) return false;
  GemvArgs p{g.M, g.N, g.K, g.a.data, g.a.row_stride, g.b.data, g.b.row_stride * int64_t(sizeof(T)),
             nullptr, 0, false, plan.out};
  p.aligned = reinterpret_cast<uintptr_t>(p.x) % 16 == 0 && p.x_stride * int64_t(sizeof(T)) % 16 == 0 &&
              reinterpret_cast<uintptr_t>(p.w) % 16 == 0 && p.w_stride_bytes % 16 == 0;
  launch_gemv<T, T>(p);
  return true;
}

// Hopper: large enough products of K-major operands with a plain epilogue. K, not the number of tiles,
// decides against it for short sums; few tiles with long k are better split (try_mma).
template <class T>
bool try_wgmma(const GemmBatchArgs& args, const GemmPlan& plan) {
  const GemmArgs& g = args.gemm;
  const GemmOutput& o = plan.out;
  const bool plain = o.beta == 0.0 && o.col_stride == 1 && !o.residual &&
                     (o.activation == Activation::none || o.activation == Activation::relu);
  if (!have_wgmma() || plan.batches != 1 || !plain || g.a.k_stride != 1 || g.b.k_stride != 1 ||
      g.M < 64 || g.K < 64 || tiles(g.M, 128) * tiles(g.N, 256) < 32) {
    return false;
  }
  return launch_wgmma<T>(g.a.data, g.a.row_stride, g.b.data, g.b.row_stride, g.out, o.row_stride,
                         g.M, g.N, g.K, o.bias, static_cast<float>(o.alpha),
                         o.activation == Activation::relu);
}

// nvcc compiles these in files of their own (gemm_mma_*.cu).
#if !defined(TERCEL_GEMM_INSTANTIATE)
#if !TERCEL_EMULATED
extern template bool try_mma<bf16, bf16>(const GemmBatchArgs&, const GemmPlan&);
extern template bool try_mma<f16, f16>(const GemmBatchArgs&, const GemmPlan&);
extern template bool try_mma<float, float>(const GemmBatchArgs&, const GemmPlan&);
extern template bool try_mma<int8_t, int32_t>(const GemmBatchArgs&, const GemmPlan&);
extern template bool try_mma<int8_t, int8_t>(const GemmBatchArgs&, const GemmPlan&);
extern template bool try_mma<int8_t, float>(const GemmBatchArgs&, const GemmPlan&);
#endif

// Runs the product if one of the kernels fits it; false: nothing was done, gemm_any has to.
inline bool gemm_fast(const GemmBatchArgs& args, const GemmExtras& extras) {
  const GemmArgs& g = args.gemm;
  if (g.M == 0 || g.N == 0) return true;
  if (g.a.dtype != g.b.dtype) return false;
  const GemmPlan plan = plan_of(args, extras);
  const bool plain = plan.out.alpha == 1.0 && plan.out.beta == 0.0 && !plan.out.bias &&
                     plan.out.activation == Activation::none && !plan.out.residual;
  if (g.a.dtype == DType::bf16 && g.out_dtype == DType::bf16) {
    return try_gemv<bf16>(args, plan) || try_wgmma<bf16>(args, plan) ||
           try_mma<bf16, bf16>(args, plan);
  }
  if (g.a.dtype == DType::f16 && g.out_dtype == DType::f16) {
    return try_gemv<f16>(args, plan) || try_wgmma<f16>(args, plan) ||
           try_mma<f16, f16>(args, plan);
  }
  if (g.a.dtype == DType::f32 && g.out_dtype == DType::f32) {
    if (extras.allow_tf32 && try_mma<float, float>(args, plan)) return true;
    launch_simt<float>(args, plan);
    return true;
  }
  if (g.a.dtype == DType::f64 && g.out_dtype == DType::f64) {
    launch_simt<double>(args, plan);
    return true;
  }
  if (g.a.dtype == DType::i8 && plain) {
    if (g.out_dtype == DType::i32) return try_mma<int8_t, int32_t>(args, plan);
    if (g.out_dtype == DType::i8) return try_mma<int8_t, int8_t>(args, plan);
  }
  if (g.a.dtype == DType::i8 && g.out_dtype == DType::f32) return try_mma<int8_t, float>(args, plan);
  return false;
}
#endif

}  // namespace tercel::cuda
