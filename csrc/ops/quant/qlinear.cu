// The weight-only linear layer on the GPU for few rows: matmul/gemm_gemv.cuh on the codes of a
// QTensor.
#include "ops/matmul/gemm_launch.cuh"

#include "cuda/device_table.h"
#include "ops/quant/qlinear_device.h"

namespace tercel::cuda {
namespace {

template <class T>
void gemv_of(const QGemvDeviceArgs& a) {
  GemvArgs p{};
  p.M = a.M;
  p.N = a.N;
  p.K = a.K;
  p.x = a.x;
  p.x_stride = a.K;
  p.w = a.codes;
  p.w_stride_bytes = code_bytes(a.format, a.K);
  p.scale = a.scale;
  p.group = a.group;
  p.aligned = reinterpret_cast<uintptr_t>(a.x) % 16 == 0 && a.K * 2 % 16 == 0 &&
              reinterpret_cast<uintptr_t>(a.codes) % 16 == 0 && p.w_stride_bytes % 16 == 0;
  p.out.out = a.out;
  p.out.row_stride = a.N;
  p.out.col_stride = 1;
  p.out.bias = a.bias;
  p.out.alpha = 1.0;
  if (a.format == QFormat::i8) return launch_gemv<T, int8_t>(p);
  if (a.format == QFormat::i4) return launch_gemv<T, int4x2>(p);
  launch_gemv<T, f8e4m3>(p);
}

void gemv(const QGemvDeviceArgs& a) { a.dtype == DType::bf16 ? gemv_of<bf16>(a) : gemv_of<f16>(a); }

}  // namespace

TERCEL_DEVICE_TABLE(QLinearDeviceKernels, qlinear_device_kernels) = {.gemv = gemv};

}  // namespace tercel::cuda
