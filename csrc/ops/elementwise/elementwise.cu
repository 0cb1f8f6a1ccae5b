// Elementwise ops on the GPU. Frequent ops on contiguous operands of one dtype have a kernel each
// that moves 16 bytes per access; everything else runs through one kernel per compute type, which
// takes any strides and dtypes and branches on the op (all threads take the same branch).
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "ops/elementwise/device_kernels.h"
#include "ops/elementwise/functors.cuh"
#include "ops/elementwise/general_loop.cuh"

namespace tercel::cuda {
namespace {

constexpr int kThreads = 256;

struct AnyOp {
  template <class M>
  TERCEL_DEVICE static M apply(const ElementwiseDeviceArgs& a, M x, M y, M z, bool narrow) {
    return apply_op<M>(a.table, a.op, x, y, z, a.params, narrow);
  }
};

// ---- contiguous, one dtype, 16 bytes per access
// ---------------------------------------------------------
struct PackedArgs {
  void* out;
  const void* in[2];  // null: value
  double value[2];
  double params[kMaxParams];
  int64_t n;
};

template <class T, class M, OpTable kTable, int kOp>
__global__ void __launch_bounds__(kThreads, 3) packed(PackedArgs a) {
  constexpr int kPack = 16 / sizeof(T);
  const int64_t packs = a.n / kPack, step = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const M vx = static_cast<M>(a.value[0]), vy = static_cast<M>(a.value[1]);
  const T* x = static_cast<const T*>(a.in[0]);
  const T* y = static_cast<const T*>(a.in[1]);
  T* out = static_cast<T*>(a.out);
  constexpr bool kNarrow = sizeof(T) == 4;
  for (int64_t i = first; i < packs; i += step) {
    Pack<T, kPack> px, py, r;
    if (x) px = load_pack<kPack>(x + i * kPack);
    if (y) py = load_pack<kPack>(y + i * kPack);
    TERCEL_UNROLL
    for (int j = 0; j < kPack; ++j) {
      const M u = x ? static_cast<M>(to_float(px.v[j])) : vx;
      const M v = y ? static_cast<M>(to_float(py.v[j])) : vy;
      r.v[j] = from_float<T>(
          static_cast<float>(apply_op<M>(kTable, kOp, u, v, M(0), a.params, kNarrow)));
    }
    store_pack(out + i * kPack, r);
  }
  if (first < a.n - packs * kPack) {
    const int64_t i = packs * kPack + first;
    const M u = x ? static_cast<M>(to_float(x[i])) : vx;
    const M v = y ? static_cast<M>(to_float(y[i])) : vy;
    out[i] =
        from_float<T>(static_cast<float>(apply_op<M>(kTable, kOp, u, v, M(0), a.params, kNarrow)));
  }
}

template <class T, class M, OpTable kTable, int kOp>
void run_packed(const PackedArgs& a) {
  launch(packed<T, M, kTable, kOp>, grid_for(a.n / static_cast<int>(16 / sizeof(T)) + 1, kThreads),
         kThreads, 0, a);
}

// `exact`: float32 needs no wider type for a correctly rounded result.
struct HotOp {
  OpTable table;
  int op;
  void (*f32)(const PackedArgs&);
  void (*b16)(const PackedArgs&);
  void (*h16)(const PackedArgs&);
};
#define TERCEL_HOT(table, Kernels, name, M)                                          \
  {table, static_cast<int>(TERCEL_OP_INDEX(Kernels, name)),                          \
   run_packed<float, M, table, static_cast<int>(TERCEL_OP_INDEX(Kernels, name))>,    \
   run_packed<bf16, float, table, static_cast<int>(TERCEL_OP_INDEX(Kernels, name))>, \
   run_packed<f16, float, table, static_cast<int>(TERCEL_OP_INDEX(Kernels, name))>}
#define TERCEL_HOT_UNARY(name, M) TERCEL_HOT(OpTable::unary, UnaryKernels, name, M)
#define TERCEL_HOT_BINARY(name) TERCEL_HOT(OpTable::binary, BinaryKernels, name, float)
#define TERCEL_HOT_ACT(name, M) TERCEL_HOT(OpTable::activation, ActivationKernels, name, M)
const HotOp kHotOps[] = {
    TERCEL_HOT_BINARY(add),
    TERCEL_HOT_BINARY(add_scaled),
    TERCEL_HOT_BINARY(sub),
    TERCEL_HOT_BINARY(mul),
    TERCEL_HOT_BINARY(div),
    TERCEL_HOT_BINARY(maximum),
    TERCEL_HOT_UNARY(neg, float),
    TERCEL_HOT_UNARY(relu, float),
    TERCEL_HOT_UNARY(square, float),
    TERCEL_HOT_UNARY(exp, double),
    TERCEL_HOT_UNARY(sigmoid, double),
    TERCEL_HOT_UNARY(tanh, double),
    TERCEL_HOT_ACT(gelu, double),
    TERCEL_HOT_ACT(gelu_tanh, double),
    TERCEL_HOT_ACT(silu, double),
    TERCEL_HOT_ACT(relu_backward, float),
    TERCEL_HOT_ACT(gelu_backward, double),
    TERCEL_HOT_ACT(gelu_tanh_backward, double),
    TERCEL_HOT_ACT(silu_backward, double),
    TERCEL_HOT_ACT(sigmoid_backward, float),
    TERCEL_HOT_ACT(tanh_backward, float),
};

bool try_packed(const ElementwiseDeviceArgs& a) {
  const DType t = a.dtype[0];
  if (a.inputs > 2 || a.loop.dims != 1 || (t != DType::f32 && t != DType::bf16 && t != DType::f16))
    return false;
  const int64_t itemsize = t == DType::f32 ? 4 : 2;
  PackedArgs p{};
  p.n = a.loop.numel;
  p.out = a.data[0];
  for (int k = 0; k <= a.inputs; ++k) {
    if (k > 0 && !a.data[k]) {
      __builtin_memcpy(&p.value[k - 1], &a.value[k], 8);
      continue;
    }
    if (a.dtype[k] != t || (a.loop.strides[k][0] != itemsize && a.loop.numel > 1)) return false;
    if (reinterpret_cast<uintptr_t>(a.data[k]) & 15) return false;
    if (k > 0) p.in[k - 1] = a.data[k];
  }
  for (int i = 0; i < kMaxParams; ++i) p.params[i] = a.params[i];
  for (const HotOp& hot : kHotOps) {
    if (hot.table != a.table || hot.op != a.op) continue;
    (t == DType::f32 ? hot.f32 : t == DType::bf16 ? hot.b16 : hot.h16)(p);
    return true;
  }
  return false;
}

void run(const ElementwiseDeviceArgs& a) {
  if (a.table == OpTable::special) return run_special(a);
  if (try_packed(a)) return;
  switch (a.work) {
    case Work::f64:
      return run_general<AnyOp, double>(a);
    case Work::f32:
      return run_general<AnyOp, float>(a);
    case Work::i64:
      return run_general<AnyOp, int64_t>(a);
    default:
      return run_general<AnyOp, int32_t>(a);
  }
}

}  // namespace

TERCEL_DEVICE_TABLE(ElementwiseDeviceKernels, elementwise_kernels) = {.run = run};

}  // namespace tercel::cuda
