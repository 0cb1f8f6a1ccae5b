// Separable interpolation: the input rows of an output row are combined into a row buffer (vector
// axis x), then gathered along x. The adjoint runs the same steps backwards. Float32 or float64
// throughout, one rounding at the store; planes are split over threads, so nothing depends on their
// number.
#include "core/parallel.h"
#include "ops/resample/resample_args.h"

namespace tercel {
namespace {

template <class S, class T>
void forward_plane(const ResampleArgs& a, const S* x, S* y, T* buffer) {
  const ResampleDim &dz = a.dim[0], &dy = a.dim[1], &dx = a.dim[2];
  const int64_t width = dx.in;
  for (int64_t oz = 0; oz < dz.out; ++oz)
    for (int64_t oy = 0; oy < dy.out; ++oy, y += dx.out) {
      bool first = true;
      for (int tz = 0; tz < dz.taps; ++tz)
        for (int ty = 0; ty < dy.taps; ++ty) {
          const int64_t z = dz.index[oz * dz.taps + tz], r = dy.index[oy * dy.taps + ty];
          const T w = static_cast<T>(dz.weight[oz * dz.taps + tz] * dy.weight[oy * dy.taps + ty]);
          const S* row = x + (z * dy.in + r) * width;
          if (first)
            for (int64_t i = 0; i < width; ++i) buffer[i] = w * static_cast<T>(row[i]);
          else
            for (int64_t i = 0; i < width; ++i) buffer[i] += w * static_cast<T>(row[i]);
          first = false;
        }
      const int taps = dx.taps;
      for (int64_t o = 0; o < dx.out; ++o) {
        T sum = static_cast<T>(dx.weight[o * taps]) * buffer[dx.index[o * taps]];
        for (int t = 1; t < taps; ++t)
          sum += static_cast<T>(dx.weight[o * taps + t]) * buffer[dx.index[o * taps + t]];
        y[o] = static_cast<S>(sum);
      }
    }
}

// One tap per dimension, weight 1: moves values, so that infinities and NaN stay where they are.
template <class S>
void nearest_plane(const ResampleArgs& a, const S* x, S* y) {
  const ResampleDim &dz = a.dim[0], &dy = a.dim[1], &dx = a.dim[2];
  for (int64_t oz = 0; oz < dz.out; ++oz)
    for (int64_t oy = 0; oy < dy.out; ++oy, y += dx.out) {
      const S* row = x + (dz.index[oz] * dy.in + dy.index[oy]) * dx.in;
      for (int64_t o = 0; o < dx.out; ++o) y[o] = row[dx.index[o]];
    }
}

template <class T>
void adjoint_plane(const ResampleArgs& a, const T* g, T* d, T* buffer) {
  const ResampleDim &dz = a.dim[0], &dy = a.dim[1], &dx = a.dim[2];
  const int64_t width = dx.in;
  for (int64_t i = 0; i < dz.in * dy.in * width; ++i) d[i] = 0;
  for (int64_t oz = 0; oz < dz.out; ++oz)
    for (int64_t oy = 0; oy < dy.out; ++oy, g += dx.out) {
      for (int64_t i = 0; i < width; ++i) buffer[i] = 0;
      for (int64_t o = 0; o < dx.out; ++o)
        for (int t = 0; t < dx.taps; ++t)
          buffer[dx.index[o * dx.taps + t]] += static_cast<T>(dx.weight[o * dx.taps + t]) * g[o];
      for (int tz = 0; tz < dz.taps; ++tz)
        for (int ty = 0; ty < dy.taps; ++ty) {
          const int64_t z = dz.index[oz * dz.taps + tz], r = dy.index[oy * dy.taps + ty];
          const T w = static_cast<T>(dz.weight[oz * dz.taps + tz] * dy.weight[oy * dy.taps + ty]);
          T* row = d + (z * dy.in + r) * width;
          for (int64_t i = 0; i < width; ++i) row[i] += w * buffer[i];
        }
    }
}

TERCEL_INLINE int64_t grain_of(const ResampleArgs& a) {
  const int64_t least = (a.planes + kResampleChunks - 1) / kResampleChunks;
  const int64_t work = a.dim[0].out * a.dim[1].out * (a.dim[2].out + a.dim[2].in) + 1;
  const int64_t wanted = 1 + 16384 / work;
  return least > wanted ? least : wanted;
}

template <class S, class T>
void forward_typed(const ResampleArgs& a) {
  const int64_t in = a.dim[0].in * a.dim[1].in * a.dim[2].in,
                out = a.dim[0].out * a.dim[1].out * a.dim[2].out;
  const bool nearest = a.dim[0].taps == 1 && a.dim[1].taps == 1 && a.dim[2].taps == 1;
  const int64_t grain = grain_of(a);
  parallel_for(a.planes, grain, [&](int64_t p0, int64_t p1) {
    T* buffer = static_cast<T*>(a.rows) + p0 / grain * a.dim[2].in;
    for (int64_t p = p0; p < p1; ++p) {
      const S* x = static_cast<const S*>(a.src) + p * in;
      S* y = static_cast<S*>(a.dst) + p * out;
      if (nearest)
        nearest_plane(a, x, y);
      else
        forward_plane<S, T>(a, x, y, buffer);
    }
  });
}

void forward(const ResampleArgs& a) {
  if (a.dtype == DType::f32)
    forward_typed<float, float>(a);
  else if (a.dtype == DType::f64)
    forward_typed<double, double>(a);
  else if (a.dtype == DType::bf16)
    forward_typed<bf16, float>(a);
  else
    forward_typed<f16, float>(a);
}

template <class T>
void adjoint_typed(const ResampleArgs& a) {
  const int64_t in = a.dim[0].in * a.dim[1].in * a.dim[2].in,
                out = a.dim[0].out * a.dim[1].out * a.dim[2].out;
  const int64_t grain = grain_of(a);
  parallel_for(a.planes, grain, [&](int64_t p0, int64_t p1) {
    T* buffer = static_cast<T*>(a.rows) + p0 / grain * a.dim[2].in;
    for (int64_t p = p0; p < p1; ++p)
      adjoint_plane<T>(a, static_cast<const T*>(a.src) + p * out, static_cast<T*>(a.dst) + p * in,
                       buffer);
  });
}

void adjoint(const ResampleArgs& a) {
  if (a.dtype == DType::f64)
    adjoint_typed<double>(a);
  else
    adjoint_typed<float>(a);
}

}  // namespace

namespace TERCEL_LEVEL {
extern const ResampleKernels resample_kernels = {forward, adjoint};
}

}  // namespace tercel
