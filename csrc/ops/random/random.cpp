// Random tensors: checks, generator bookkeeping, launches. Kernels in random_cpu.cpp, random.cu.
#include "ops/random/random.h"

#include <cmath>

#include "core/autograd.h"
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/reduce/reduce.h"
#include "ops/sort/sort.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

// Overwrites `out` (contiguous).
void draw(const Tensor& out, RandomArgs args, const GeneratorRef& g) {
  const Device dev = out.device();
  args.out = out.data(dev);
  args.n = out.numel();
  args.dtype = out.dtype();
  Ref<Generator> generator = g ? g : default_generator();
  args.key = generator->take(random_blocks(args.kind, args.dtype, args.n), dev);
  if (args.n > 0) launch(random_kernels(dev).fill, args, args.n * 2, dev);
}

RandomArgs distribution(Distribution kind, double a = 0, double b = 0) {
  RandomArgs args{};
  args.kind = kind;
  args.a = a;
  args.b = b;
  return args;
}

void check_float(DType dtype, const char* op) {
  if (!(dtype_bit(dtype) & kWideFloatMask)) fail_dtype(op, dtype, kWideFloatMask);
}

Tensor drawn(const Shape& shape, DType dtype, const RandomArgs& args, const GeneratorRef& g,
             Device dev = {}) {
  Tensor out = empty(shape, dtype, dev);
  draw(out, args, g);
  return out;
}

struct OverwriteNode final : Node {
  const char* name() const override { return "RandomFillBackward"; }
  TensorList backward(const TensorList& g) override {
    return {zeros(g[0].shape(), g[0].dtype(), g[0].device())};
  }
};

// Element i of the call is element i of t in row-major order, whatever t's strides.
Tensor overwrite(const Tensor& t, const RandomArgs& args, const GeneratorRef& g, const char* op) {
  check_inplace(t, op);
  Ref<Node> node;
  if (grad_needed(t)) node = make_node<OverwriteNode>({&t});
  if (t.is_contiguous()) {
    draw(t, args, g);
  } else {
    strided_copy(t, drawn(t.shape(), t.dtype(), args, g, t.device()));
  }
  finish_inplace(t, node, op);
  return t;
}

// 0/1 draws as a bool tensor.
Tensor bernoulli_bits(const Shape& shape, const RandomArgs& args, const GeneratorRef& g,
                      Device dev) {
  return drawn(shape, DType::b8, args, g, dev);
}

void check_probability(double p, const char* op) {
  TERCEL_CHECK(p >= 0 && p <= 1, Value, op, ": probability must be in [0, 1], got ", p);
}

// Raises for the first value outside [low, high] (NaN is outside). Waits for a GPU.
void check_each(const Tensor& values, double low, double high, const char* op, const char* what) {
  if (values.numel() == 0) return;
  const GradMode off(false);
  const Tensor v = reshape(to(make_alias(values), DType::f64), {-1});
  const Tensor bad = logical_not(logical_and(ge(v, low), le(v, high)));
  if (!item(any(bad)).to_int()) return;
  const int64_t at = item(argmax(to(bad, DType::i32))).to_int();
  fail(ErrorKind::Value,
       str(op, ": ", what, ", got ", item(select(v, 0, at)).to_double(), " at position ", at));
}

Tensor bernoulli_each(const Tensor& p, const GeneratorRef& g, const char* op) {
  if (!is_float(p.dtype())) fail_dtype(op, p.dtype(), kFloatMask);
  const Tensor flat = contiguous(to(make_alias(p), DType::f32));
  check_each(flat, 0, 1, op, "probability must be in [0, 1]");
  RandomArgs args = distribution(Distribution::bernoulli);
  args.p = flat.data_as<float>(p.device());
  return bernoulli_bits(p.shape(), args, g, p.device());
}

void check_integer_range(int64_t low, int64_t high, DType dtype, const char* op) {
  TERCEL_CHECK(low < high, Value, op, ": low must be smaller than high, got ", low, " and ", high);
  if (is_int(dtype)) {
    check_fits(Scalar(low), dtype, op);
    check_fits(Scalar(high - 1), dtype, op);
  } else if (is_bool(dtype)) {
    TERCEL_CHECK(low >= 0 && high <= 2, Overflow, op, ": dtype bool holds 0 and 1, got [", low,
                 ", ", high, ")");
  } else {
    check_float(dtype, op);
  }
}

RandomArgs integers(int64_t low, uint64_t range) {
  RandomArgs args = distribution(Distribution::integer);
  args.low = low;
  args.range = range;
  return args;
}

}  // namespace

Tensor rand(const Shape& shape, DType dtype, const GeneratorRef& g, Device dev) {
  check_float(dtype, "rand");
  return drawn(shape, dtype, distribution(Distribution::uniform, 0, 1), g, dev);
}

Tensor randn(const Shape& shape, DType dtype, const GeneratorRef& g, Device dev) {
  check_float(dtype, "randn");
  return drawn(shape, dtype, distribution(Distribution::normal, 0, 1), g, dev);
}

Tensor randint(int64_t low, int64_t high, const Shape& shape, DType dtype, const GeneratorRef& g,
               Device dev) {
  check_integer_range(low, high, dtype, "randint");
  return drawn(shape, dtype,
               integers(low, static_cast<uint64_t>(high) - static_cast<uint64_t>(low)), g, dev);
}

Tensor randperm(int64_t n, DType dtype, const GeneratorRef& g, Device dev) {
  TERCEL_CHECK(n >= 0, Value, "randperm: n must be >= 0, got ", n);
  check_integer_range(0, n > 1 ? n : 1, dtype, "randperm");
  // Only as many key bits as make a tie (which the stable order settles towards the smaller index)
  // rare: each saves a pass of the sort.
  int bits = 24;
  while (bits < 63 && (int64_t{1} << (bits - 24) / 2) < n) ++bits;
  const Tensor keys = drawn({n}, DType::i64, integers(0, uint64_t{1} << bits), g, dev);
  return to(std::get<1>(sort(keys, 0, false, true)), dtype);
}

// ---- normal
// ----------------------------------------------------------------------------------------

struct NormalNode final : Node {
  Saved z;
  Shape mean_shape, std_shape;
  DType mean_dtype = DType::f32, std_dtype = DType::f32;
  const char* name() const override { return "NormalBackward"; }
  TensorList backward(const TensorList& g) override {
    TensorList out(2);
    if (needs(0)) out[0] = to(sum_to(g[0], mean_shape), mean_dtype);
    if (needs(1)) out[1] = to(sum_to(mul(g[0], z.get(*this)), std_shape), std_dtype);
    return out;
  }
  void release_saved() override { z.reset(); }
};

Tensor normal(const Tensor& mean, const Tensor& std, const GeneratorRef& g) {
  const Shape shape = broadcast_shapes(mean.shape(), std.shape(), "normal");
  DType dtype = result_type({&mean, &std});
  if (!is_float(dtype)) dtype = default_dtype();
  check_float(dtype, "normal");
  check_each(std, 0, INFINITY, "normal", "std must be >= 0");
  const Tensor z = randn(shape, dtype, g, mean.dim() > 0 ? mean.device() : std.device());
  Tensor out;
  {
    GradMode off(false);
    out = to(add(mul(z, std), mean), dtype);
  }
  if (grad_needed(mean, std)) {
    auto node = make_node<NormalNode>({&mean, &std});
    if (node->needs(1)) node->z.save(z);
    node->mean_shape = mean.shape();
    node->std_shape = std.shape();
    node->mean_dtype = mean.dtype();
    node->std_dtype = std.dtype();
    set_history(out, node);
  }
  return out;
}

// ---- bernoulli
// ----------------------------------------------------------------------------------------

Tensor bernoulli(const Tensor& p, const GeneratorRef& g) {
  return to(bernoulli_each(p, g, "bernoulli"), p.dtype());
}

Tensor bernoulli(const Tensor& like, double p, const GeneratorRef& g) {
  check_probability(p, "bernoulli");
  return to(
      bernoulli_bits(like.shape(), distribution(Distribution::bernoulli, p), g, like.device()),
      like.dtype());
}

// Through copy_, which cuts the history.
Tensor bernoulli_(const Tensor& t, double p, const GeneratorRef& g) {
  check_probability(p, "bernoulli_");
  Tensor target = t;
  return copy_(target,
               bernoulli_bits(t.shape(), distribution(Distribution::bernoulli, p), g, t.device()));
}
Tensor bernoulli_(const Tensor& t, const Tensor& p, const GeneratorRef& g) {
  Tensor target = t;
  return copy_(target, bernoulli_each(expand(make_alias(p), t.shape()), g, "bernoulli_"));
}

// ---- multinomial
// --------------------------------------------------------------------------------------

Tensor multinomial(const Tensor& p, int64_t n, bool replacement, const GeneratorRef& g) {
  TERCEL_CHECK(p.dim() == 1 || p.dim() == 2, Shape,
               "multinomial: probabilities must have 1 or 2 dimensions, got ", p.shape());
  if (!(dtype_bit(p.dtype()) & kWideFloatMask))
    fail_dtype("multinomial", p.dtype(), kWideFloatMask);
  TERCEL_CHECK(n > 0, Value, "multinomial: num_samples must be positive, got ", n);
  const int64_t columns = p.size(-1), rows = p.dim() == 2 ? p.size(0) : 1;
  TERCEL_CHECK(columns > 0, Shape, "multinomial: a row must have at least one category, got shape ",
               p.shape());
  if (p.device().is_cuda()) {
    return to_device(multinomial(to_device(make_alias(p), {}), n, replacement, g), p.device());
  }
  const Tensor weights = contiguous(to(make_alias(p), DType::f64));
  const Tensor cumulative = empty({rows, columns}, DType::f64);
  for (int64_t r = 0; r < rows; ++r) {
    const double* w = weights.data_as<double>() + r * columns;
    double* c = cumulative.data_as<double>() + r * columns;
    double total = 0;
    int64_t possible = 0;
    for (int64_t i = 0; i < columns; ++i) {
      TERCEL_CHECK(w[i] >= 0 && std::isfinite(w[i]), Value,
                   "multinomial: probabilities must be finite and >= 0, got ", w[i], " in row ", r);
      possible += w[i] > 0;
      c[i] = total += w[i];
    }
    TERCEL_CHECK(possible > 0, Value, "multinomial: row ", r, " has no positive probability");
    TERCEL_CHECK(replacement || n <= possible, Value, "multinomial: cannot draw ", n, " of ",
                 possible, " categories of positive probability without replacement (row ", r, ")");
  }
  const Shape shape = p.dim() == 2 ? Shape{rows, n} : Shape{n};
  if (replacement) {
    // Scaled by the last sum, so u < total always finds a category; equal sums (weight 0) are
    // stepped over.
    Tensor u = rand({rows, n}, DType::f64, g);
    for (int64_t r = 0; r < rows; ++r) {
      const double total = cumulative.data_as<double>()[(r + 1) * columns - 1];
      for (int64_t i = 0; i < n; ++i) {
        double& v = u.data_as<double>()[r * n + i];
        v = std::fmin(v * total, std::nextafter(total, 0.0));
      }
    }
    return reshape(searchsorted(cumulative, u, true), shape);
  }
  // The smallest E / w of independent exponentials E is category i with probability w_i / sum; the
  // order of the rest repeats that among the remaining ones (Efraimidis and Spirakis 2006).
  Tensor race = empty({rows, columns}, DType::f64);
  exponential_(race, 1.0, g);
  for (int64_t i = 0; i < rows * columns; ++i)
    race.data_as<double>()[i] /= weights.data_as<double>()[i];
  return reshape(std::get<1>(topk(race, n, 1, false, true)), shape);
}

// ---- in place
// -------------------------------------------------------------------------------------------

Tensor uniform_(const Tensor& t, double from, double to, const GeneratorRef& g) {
  check_float(t.dtype(), "uniform_");
  TERCEL_CHECK(from <= to && std::isfinite(to - from), Value,
               "uniform_: expected finite from <= to, got ", from, " and ", to);
  return overwrite(t, distribution(Distribution::uniform, from, to), g, "uniform_");
}

Tensor normal_(const Tensor& t, double mean, double std, const GeneratorRef& g) {
  check_float(t.dtype(), "normal_");
  TERCEL_CHECK(std >= 0, Value, "normal_: std must be >= 0, got ", std);
  return overwrite(t, distribution(Distribution::normal, mean, std), g, "normal_");
}

Tensor exponential_(const Tensor& t, double lambd, const GeneratorRef& g) {
  check_float(t.dtype(), "exponential_");
  TERCEL_CHECK(lambd > 0, Value, "exponential_: lambd must be > 0, got ", lambd);
  return overwrite(t, distribution(Distribution::exponential, lambd), g, "exponential_");
}

Tensor cauchy_(const Tensor& t, double median, double sigma, const GeneratorRef& g) {
  check_float(t.dtype(), "cauchy_");
  TERCEL_CHECK(sigma > 0, Value, "cauchy_: sigma must be > 0, got ", sigma);
  return overwrite(t, distribution(Distribution::cauchy, median, sigma), g, "cauchy_");
}

Tensor log_normal_(const Tensor& t, double mean, double std, const GeneratorRef& g) {
  check_float(t.dtype(), "log_normal_");
  TERCEL_CHECK(std > 0, Value, "log_normal_: std must be > 0, got ", std);
  return overwrite(t, distribution(Distribution::log_normal, mean, std), g, "log_normal_");
}

Tensor geometric_(const Tensor& t, double p, const GeneratorRef& g) {
  TERCEL_CHECK(p > 0 && p < 1, Value, "geometric_: p must be in (0, 1), got ", p);
  const RandomArgs args = distribution(Distribution::geometric, p, 1.0 / std::log1p(-p));
  if (!is_int(t.dtype())) {
    check_float(t.dtype(), "geometric_");
    return overwrite(t, args, g, "geometric_");
  }
  Tensor target = t;
  return copy_(target, drawn(t.shape(), DType::f64, args, g, t.device()));
}

Tensor random_(const Tensor& t, int64_t from, std::optional<int64_t> to, const GeneratorRef& g) {
  uint64_t range;
  if (to) {
    check_integer_range(from, *to, t.dtype(), "random_");
    range = static_cast<uint64_t>(*to) - static_cast<uint64_t>(from);
  } else {
    TERCEL_CHECK(from == 0, Value, "random_: from needs to");
    switch (t.dtype()) {
      case DType::b8:
        range = 2;
        break;
      case DType::f64:
        range = (uint64_t{1} << 53) + 1;
        break;
      case DType::f32:
        range = (uint64_t{1} << 24) + 1;
        break;
      case DType::f16:
        range = (uint64_t{1} << 11) + 1;
        break;
      case DType::bf16:
        range = (uint64_t{1} << 8) + 1;
        break;
      case DType::f8e4m3:
      case DType::f8e5m2:
        fail_dtype("random_", t.dtype(), kWideFloatMask | kIntMask);
      default:
        range = uint64_t{1} << (8 * t.itemsize() - (is_unsigned(t.dtype()) ? 0 : 1));
    }
  }
  return overwrite(t, integers(from, range), g, "random_");
}

}  // namespace tercel
