// Fractional max pooling (Graham 2014, arXiv:1412.6071), written with gathers: the windows have
// random borders, so they share no geometry that a kernel could use.
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/pool/pool.h"
#include "ops/random/random.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// First row of each window, pseudo-random in u [0, 1): floor((i + u) a) - floor(u a) with
// a = (in - kernel) / (out - 1); the last window ends at the border.
void window_starts(double u, int64_t in, int64_t kernel, int64_t out, int64_t* starts) {
  const double alpha = out > 1 ? double(in - kernel) / double(out - 1) : 0;
  for (int64_t i = 0; i + 1 < out; ++i)
    starts[i] = int64_t((double(i) + u) * alpha) - int64_t(u * alpha);
  if (out > 0) starts[out - 1] = in - kernel;
}

// Rows [planes, out, kernel] of the windows of one dim; samples [planes] on the CPU, contiguous.
Tensor window_rows(const Tensor& samples, int64_t in, int64_t kernel, int64_t out) {
  const int64_t planes = samples.numel();
  Tensor rows = empty({planes, out, kernel}, DType::i64);
  const double* u = samples.data_as<double>();
  int64_t* r = rows.data_as<int64_t>();
  std::vector<int64_t> starts(out);
  for (int64_t p = 0; p < planes; ++p) {
    window_starts(u[p], in, kernel, out, starts.data());
    for (int64_t i = 0; i < out; ++i)
      for (int64_t k = 0; k < kernel; ++k) *r++ = starts[i] + k;
  }
  return rows;
}

}  // namespace

std::pair<Tensor, Tensor> fractional_max_pool(int dims, const Tensor& x, const Dims& kernel,
                                              const Dims& output_size, const Tensor& samples) {
  const std::string op = str("fractional_max_pool", dims, "d");
  TERCEL_CHECK(is_float(x.dtype()), DType, op, ": expected a float tensor, got ",
               dtype_name(x.dtype()));
  TERCEL_CHECK(x.dim() == dims + 1 || x.dim() == dims + 2, Shape, op, ": expected ", dims + 1,
               " or ", dims + 2, " dimensions, got shape ", x.shape());
  TERCEL_CHECK(kernel.size() == dims && output_size.size() == dims, Shape, op, ": expected ", dims,
               " kernel and output sizes, got ", kernel, " and ", output_size);
  const int lead = x.dim() - dims;
  int64_t planes = 1, plane_size = 1;
  for (int i = 0; i < lead; ++i) planes *= x.size(i);
  for (int i = 0; i < dims; ++i) {
    const int64_t in = x.size(lead + i), k = kernel[i], out = output_size[i];
    TERCEL_CHECK(k > 0 && out > 0, Value, op, ": kernel and output sizes must be positive, got ",
                 kernel, " and ", output_size);
    TERCEL_CHECK(k <= in && out <= in - k + 1, Shape, op, ": an input of size ", in,
                 " has no room for ", out, " windows of size ", k);
    plane_size *= in;
  }
  Tensor u;
  if (samples.defined()) {
    TERCEL_CHECK(samples.numel() == planes * dims && samples.dim() > 0 && samples.size(-1) == dims,
                 Shape, op, ": expected random samples for ", planes, " planes and ", dims,
                 " dimensions, got shape ", samples.shape());
    TERCEL_CHECK(is_float(samples.dtype()), DType, op, ": random samples must be floats, got ",
                 dtype_name(samples.dtype()));
    u = to(to_device(samples.detach(), Device{}), DType::f64);
    TERCEL_CHECK(item(all(logical_and(ge(u, 0), lt(u, 1)))).to_int() != 0, Value, op,
                 ": random samples must lie in [0, 1)");
  } else {
    u = rand({planes, dims}, DType::f64);
  }
  u = reshape(u, {planes, dims});

  // Places in the plane: [planes, O1, .., On, k1, .., kn] by broadcasting one dim after the other.
  // In two dims sample 0 is that of the columns, as in PyTorch.
  Tensor place;
  for (int i = 0; i < dims; ++i) {
    const Tensor column = contiguous(select(u, 1, dims == 2 ? 1 - i : i));
    const Tensor rows = window_rows(column, x.size(lead + i), kernel[i], output_size[i]);
    Shape shape = Dims::filled(2 * dims + 1, 1);
    shape[0] = planes;
    shape[1 + i] = output_size[i];
    shape[1 + dims + i] = kernel[i];
    const Tensor r = reshape(rows, shape);
    place = place.defined() ? add(mul(place, x.size(lead + i)), r) : r;
  }
  int64_t window = 1;
  Shape out_shape;
  for (int i = 0; i < lead; ++i) out_shape.push_back(x.size(i));
  for (int i = 0; i < dims; ++i) {
    out_shape.push_back(output_size[i]);
    window *= kernel[i];
  }
  place = to_device(place, x.device());
  const int64_t outputs = place.numel() / std::max<int64_t>(1, planes * window);
  place = reshape(place, {planes, planes == 0 ? 0 : outputs * window});
  const Tensor values = gather(reshape(x, {planes, plane_size}), 1, place);
  const Shape windows = {planes, planes == 0 ? 0 : outputs, window};
  auto [y, best] = max(reshape(values, windows), 2, /*keepdim=*/true);
  const Tensor index = gather(reshape(place, windows), 2, best);
  return {reshape(y, out_shape), reshape(index, out_shape)};
}

}  // namespace tercel
