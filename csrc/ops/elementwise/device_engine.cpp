// The elementwise engine on a CUDA device: one launch, whatever the op, dtypes and strides.
#include <cstring>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/device_kernels.h"
#include "ops/elementwise/engine.h"
#include "ops/elementwise/kernels.h"
#include "ops/elementwise/special_kernels.h"

namespace tercel {
namespace {

// The table an Op of the CPU belongs to, and its place there: the name of the op on other devices.
struct OpId {
  OpTable table;
  int index;
};
template <class Table>
bool find_in(const Table& table, OpTable kind, const Op* op, OpId* id) {
  const Op* first = reinterpret_cast<const Op*>(&table);
  if (op < first || op >= first + sizeof(Table) / sizeof(Op)) return false;
  *id = {kind, static_cast<int>(op - first)};
  return true;
}
OpId identify(const Op* op) {
  OpId id{OpTable::copy, 0};
  if (!op) return id;
  const bool found = find_in(binary_kernels(), OpTable::binary, op, &id) ||
                     find_in(unary_kernels(), OpTable::unary, op, &id) ||
                     find_in(activation_kernels(), OpTable::activation, op, &id) ||
                     find_in(ternary_kernels(), OpTable::ternary, op, &id) ||
                     find_in(special_kernels(), OpTable::special, op, &id);
  TERCEL_CHECK(found, NotImplemented, "this elementwise operation has no CUDA kernel");
  return id;
}

// float32 ops with float32 results run in double on the device: its float functions err by up to 4
// ulp.
Work device_work(const ElementwiseCall& call, const OpId& id, DType out, DType in0) {
  const bool moves =
      id.table == OpTable::copy || (id.table == OpTable::ternary && call.in_work[0] == DType::u8);
  const DType t = id.table == OpTable::copy ? in0 : moves ? call.out_work : call.in_work[0];
  if (moves) return is_float(t) ? Work::f64 : Work::i64;
  const Work work = work_of(t);
  if (work == Work::f32 && (!is_float(out) || out == DType::f32 || out == DType::f64))
    return Work::f64;
  return work;
}

uint64_t value_bits(const Tensor& t, DType compute, bool real) {
  const Scalar s = item(t);
  uint64_t bits;
  if (real) {
    const double v = is_float(compute) && compute != DType::f64 ? static_cast<float>(s.to_double())
                                                                : s.to_double();
    std::memcpy(&bits, &v, 8);
  } else {
    const int64_t v = s.is_float() ? static_cast<int64_t>(s.to_double()) : s.to_int();
    std::memcpy(&bits, &v, 8);
  }
  return bits;
}

}  // namespace

Device common_device(const Tensor* const* tensors, int n) {
  for (int k = 0; k < n; ++k) {
    if (tensors[k]->defined() && !tensors[k]->device().is_cpu()) return tensors[k]->device();
  }
  return {};
}

void run_elementwise_cuda(const ElementwiseCall& call, const Tensor& out,
                          const Tensor* const* inputs, int num_inputs) {
  const Device device = out.device();
  const OpId id = identify(call.op);
  TERCEL_CHECK(call.fn || !call.op, NotImplemented, "this operation is not defined for its dtype");
  ElementwiseDeviceArgs args{};
  args.table = id.table;
  args.op = id.index;
  args.inputs = num_inputs;
  args.work = device_work(call, id, out.dtype(), inputs[0]->dtype());
  const bool real = args.work == Work::f64 || args.work == Work::f32;
  Strides strides[kMaxOperands];
  const Strides* pointers[kMaxOperands];
  int64_t itemsizes[kMaxOperands];
  for (int k = 0; k <= num_inputs; ++k) {
    const Tensor& t = k == 0 ? out : *inputs[k - 1];
    args.dtype[k] = t.dtype();
    itemsizes[k] = t.itemsize();
    strides[k] = t.shape() == out.shape() ? t.strides()
                                          : broadcast_strides(t.shape(), t.strides(), out.shape());
    pointers[k] = &strides[k];
    if (k > 0 && t.device().is_cpu() && t.dim() == 0) {
      const DType compute = id.table == OpTable::copy ? t.dtype() : call.in_work[k - 1];
      args.value[k] = value_bits(t, compute, real);
    } else {
      args.data[k] = static_cast<char*>(t.data(device));
    }
  }
  args.loop.init(out.shape(), num_inputs + 1, pointers, itemsizes);
  if (call.params) std::memcpy(args.params, call.params, sizeof args.params);
  const auto& kernels =
      *static_cast<const ElementwiseDeviceKernels*>(cuda_kernels("elementwise_kernels"));
  launch(kernels.run, args, 0, device);
}

}  // namespace tercel
