// Convolution on the GPU as an implicit matrix product: 64 x 64 tiles of the result, 16 steps of k
// at a time in shared memory, 4 x 4 results per thread. The loaders compute where an element of the
// (virtual) im2col matrix lies. Simple on purpose: tensor cores and NHWC are a later step.
//   forward      M = images and pixels, N = cout, K = (cin, tap)
//   input grad   M = images and input pixels, N = cin, K = (cout, tap)
//   weight grad  M = cout, N = (cin, tap), K = images and pixels, in parts that are added in order
#include "cuda/compat.cuh"
#include "cuda/device_table.h"
#include "cuda/rows.cuh"
#include "ops/conv/conv_device.h"

namespace tercel::cuda {
namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 256;

TERCEL_DEVICE float multiply_add(float a, float b, float c) { return ::fmaf(a, b, c); }
TERCEL_DEVICE double multiply_add(double a, double b, double c) { return ::fma(a, b, c); }

struct Place {
  int64_t v[3];
};
TERCEL_DEVICE Place unravel(int64_t i, const int64_t (&size)[3]) {
  const int64_t x = i % size[2], rest = i / size[2];
  return {{rest / size[1], rest % size[1], x}};
}
TERCEL_DEVICE int64_t ravel(const Place& p, const int64_t (&size)[3]) {
  return (p.v[0] * size[1] + p.v[1]) * size[2] + p.v[2];
}
TERCEL_DEVICE int64_t product(const int64_t (&s)[3]) { return s[0] * s[1] * s[2]; }
// The input pixel that output pixel o reads through tap t; false outside.
TERCEL_DEVICE bool source_pixel(const ConvDeviceArgs& a, const Place& o, const Place& t, Place* i) {
  bool inside = true;
  TERCEL_UNROLL
  for (int d = 0; d < 3; ++d) {
    i->v[d] = o.v[d] * a.stride[d] - a.pad[d] + t.v[d] * a.dilation[d];
    inside &= i->v[d] >= 0 && i->v[d] < a.in[d];
  }
  return inside;
}
// The output pixel that reads input pixel i through tap t, if there is one.
TERCEL_DEVICE bool target_pixel(const ConvDeviceArgs& a, const Place& i, const Place& t, Place* o) {
  bool found = true;
  TERCEL_UNROLL
  for (int d = 0; d < 3; ++d) {
    const int64_t at = i.v[d] + a.pad[d] - t.v[d] * a.dilation[d];
    o->v[d] = at / a.stride[d];
    found &= at >= 0 && at % a.stride[d] == 0 && o->v[d] < a.out[d];
  }
  return found;
}

template <class T>
TERCEL_DEVICE Acc<T> value(const void* p, int64_t i) {
  return to_float(static_cast<const T*>(p)[i]);
}

template <class T>
struct Forward {
  ConvDeviceArgs a;
  TERCEL_DEVICE int64_t rows() const { return a.images * product(a.out); }
  TERCEL_DEVICE int64_t columns() const { return a.cout; }
  TERCEL_DEVICE int64_t begin(int64_t) const { return 0; }
  TERCEL_DEVICE int64_t end(int64_t) const { return a.cin * product(a.kernel); }
  TERCEL_DEVICE Acc<T> left(int64_t g, int64_t m, int64_t k) const {
    const int64_t pixels = product(a.out), taps = product(a.kernel);
    Place i;
    if (!source_pixel(a, unravel(m % pixels, a.out), unravel(k % taps, a.kernel), &i)) return 0;
    const int64_t plane = (m / pixels * a.groups + g) * a.cin + k / taps;
    return value<T>(a.x, plane * product(a.in) + ravel(i, a.in));
  }
  TERCEL_DEVICE Acc<T> right(int64_t g, int64_t n, int64_t k) const {
    return value<T>(a.w, (g * a.cout + n) * a.cin * product(a.kernel) + k);
  }
  TERCEL_DEVICE void store(int64_t g, int64_t, int64_t m, int64_t n, Acc<T> x) const {
    const int64_t pixels = product(a.out), channel = g * a.cout + n;
    if (a.bias) x += value<T>(a.bias, channel);
    static_cast<T*>(a.result)[(m / pixels * a.groups * a.cout + channel) * pixels + m % pixels] =
        to_storage<T>(x);
  }
};

template <class T>
struct InputGrad {
  ConvDeviceArgs a;
  TERCEL_DEVICE int64_t rows() const { return a.images * product(a.in); }
  TERCEL_DEVICE int64_t columns() const { return a.cin; }
  TERCEL_DEVICE int64_t begin(int64_t) const { return 0; }
  TERCEL_DEVICE int64_t end(int64_t) const { return a.cout * product(a.kernel); }
  TERCEL_DEVICE Acc<T> left(int64_t g, int64_t m, int64_t k) const {
    const int64_t pixels = product(a.in), taps = product(a.kernel);
    Place o;
    if (!target_pixel(a, unravel(m % pixels, a.in), unravel(k % taps, a.kernel), &o)) return 0;
    const int64_t plane = (m / pixels * a.groups + g) * a.cout + k / taps;
    return value<T>(a.y, plane * product(a.out) + ravel(o, a.out));
  }
  TERCEL_DEVICE Acc<T> right(int64_t g, int64_t n, int64_t k) const {
    const int64_t taps = product(a.kernel);
    return value<T>(a.w, ((g * a.cout + k / taps) * a.cin + n) * taps + k % taps);
  }
  TERCEL_DEVICE void store(int64_t g, int64_t, int64_t m, int64_t n, Acc<T> x) const {
    const int64_t pixels = product(a.in), channel = g * a.cin + n;
    if (a.bias) x += value<T>(a.bias, channel);
    static_cast<T*>(a.result)[(m / pixels * a.groups * a.cin + channel) * pixels + m % pixels] =
        to_storage<T>(x);
  }
};

template <class T>
struct WeightGrad {
  ConvDeviceArgs a;
  TERCEL_DEVICE int64_t rows() const { return a.cout; }
  TERCEL_DEVICE int64_t columns() const { return a.cin * product(a.kernel); }
  TERCEL_DEVICE int64_t begin(int64_t part) const { return part * a.split; }
  TERCEL_DEVICE int64_t end(int64_t part) const {
    const int64_t all = a.images * product(a.out), last = (part + 1) * a.split;
    return last < all ? last : all;
  }
  TERCEL_DEVICE Acc<T> left(int64_t g, int64_t m, int64_t k) const {
    const int64_t pixels = product(a.out);
    return value<T>(a.y, ((k / pixels * a.groups + g) * a.cout + m) * pixels + k % pixels);
  }
  TERCEL_DEVICE Acc<T> right(int64_t g, int64_t n, int64_t k) const {
    const int64_t pixels = product(a.out), taps = product(a.kernel);
    Place i;
    if (!source_pixel(a, unravel(k % pixels, a.out), unravel(n % taps, a.kernel), &i)) return 0;
    const int64_t plane = (k / pixels * a.groups + g) * a.cin + n / taps;
    return value<T>(a.x, plane * product(a.in) + ravel(i, a.in));
  }
  TERCEL_DEVICE void store(int64_t g, int64_t part, int64_t m, int64_t n, Acc<T> x) const {
    const int64_t all = a.groups * a.cout * columns();
    static_cast<Acc<T>*>(a.workspace)[part * all + (g * a.cout + m) * columns() + n] = x;
  }
};

// blockIdx: x tiles of rows, y tiles of columns, z group and part.
template <class P, class A>
__global__ void __launch_bounds__(kThreads) tile_product(P p, int64_t parts) {
  TERCEL_SHARED_2D(A, left, kDepth, kTile + 4);
  TERCEL_SHARED_2D(A, right, kDepth, kTile + 4);
  const int64_t g = blockIdx.z / parts, part = blockIdx.z % parts;
  const int64_t m0 = static_cast<int64_t>(blockIdx.x) * kTile,
                n0 = static_cast<int64_t>(blockIdx.y) * kTile;
  const int64_t rows = p.rows(), columns = p.columns(), end = p.end(part);
  const int thread = threadIdx.x, tm = thread % 16 * 4, tn = thread / 16 * 4;
  A sum[4][4] = {};
  for (int64_t k0 = p.begin(part); k0 < end; k0 += kDepth) {
    for (int e = thread; e < kTile * kDepth; e += kThreads) {
      const int at = e % kTile, k = e / kTile;
      const bool deep = k0 + k < end;
      left[k][at] = deep && m0 + at < rows ? p.left(g, m0 + at, k0 + k) : A(0);
      right[k][at] = deep && n0 + at < columns ? p.right(g, n0 + at, k0 + k) : A(0);
    }
    __syncthreads();
    for (int k = 0; k < kDepth; ++k) {
      TERCEL_UNROLL
      for (int i = 0; i < 4; ++i) {
        TERCEL_UNROLL
        for (int j = 0; j < 4; ++j)
          sum[i][j] = multiply_add(left[k][tm + i], right[k][tn + j], sum[i][j]);
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      if (m0 + tm + i < rows && n0 + tn + j < columns)
        p.store(g, part, m0 + tm + i, n0 + tn + j, sum[i][j]);
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_parts(const Acc<T>* parts, T* out, int64_t n, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    Acc<T> sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += parts[k * n + i];
    out[i] = to_storage<T>(sum);
  }
}

template <class P, class A>
void run(const P& p, int64_t rows, int64_t columns, int64_t groups, int64_t parts) {
  const dim3 grid(static_cast<unsigned>((rows + kTile - 1) / kTile),
                  static_cast<unsigned>((columns + kTile - 1) / kTile),
                  static_cast<unsigned>(groups * parts));
  launch(tile_product<P, A>, grid, kThreads, 0, p, parts);
}

int64_t count(const int64_t (&s)[3]) { return s[0] * s[1] * s[2]; }

void forward(const ConvDeviceArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    run<Forward<T>, Acc<T>>(Forward<T>{a}, a.images * count(a.out), a.cout, a.groups, 1);
  });
}
void input_grad(const ConvDeviceArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    run<InputGrad<T>, Acc<T>>(InputGrad<T>{a}, a.images * count(a.in), a.cin, a.groups, 1);
  });
}
void weight_grad(const ConvDeviceArgs& a) {
  with_float_type(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t columns = a.cin * count(a.kernel), n = a.groups * a.cout * columns;
    run<WeightGrad<T>, Acc<T>>(WeightGrad<T>{a}, a.cout, columns, a.groups, a.splits);
    launch(add_parts<T>, grid_for(n, kThreads), kThreads, 0,
           static_cast<const Acc<T>*>(a.workspace), static_cast<T*>(a.result), n, a.splits);
  });
}

}  // namespace

TERCEL_DEVICE_TABLE(ConvDeviceKernels, conv_kernels) = {
    .forward = forward, .input_grad = input_grad, .weight_grad = weight_grad};

}  // namespace tercel::cuda
