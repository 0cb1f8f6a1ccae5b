// pad, roll, flip, repeat.
#include <algorithm>

#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/index/index.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {
namespace {

struct ConstantPadNode final : Node {
  std::vector<int64_t> amounts;
  const char* name() const override { return "ConstantPadBackward"; }
  TensorList backward(const TensorList& g) override {
    std::vector<int64_t> crop = amounts;
    for (int64_t& v : crop) v = -v;
    return {pad(g[0], crop)};
  }
};

// x with the negative amounts of `amounts` applied as crops and replaced by 0.
Tensor crop(const Tensor& x, std::vector<int64_t>& amounts) {
  Tensor y = x;
  for (size_t i = 0; i < amounts.size() / 2; ++i) {
    const int64_t d = x.dim() - 1 - static_cast<int64_t>(i);
    int64_t& before = amounts[2 * i];
    int64_t& after = amounts[2 * i + 1];
    if (before >= 0 && after >= 0) continue;
    const int64_t start = before < 0 ? -before : 0, cut = start + (after < 0 ? -after : 0);
    y = narrow(y, d, start, y.size(d) - cut);
    before = std::max<int64_t>(before, 0);
    after = std::max<int64_t>(after, 0);
  }
  return y;
}

Tensor pad_constant(const Tensor& x, const std::vector<int64_t>& amounts, Scalar value) {
  Shape shape = x.shape();
  int64_t offset = 0;
  for (size_t i = 0; i < amounts.size() / 2; ++i) {
    const int64_t d = x.dim() - 1 - static_cast<int64_t>(i);
    shape[d] = checked_add(shape[d], checked_add(amounts[2 * i], amounts[2 * i + 1], "pad"), "pad");
  }
  Tensor out = full(shape, value, x.dtype(), x.device());
  for (size_t i = 0; i < amounts.size() / 2; ++i) {
    offset += amounts[2 * i] * out.stride(x.dim() - 1 - static_cast<int64_t>(i));
  }
  if (x.numel() > 0) strided_copy(raw_view(out, x.shape(), out.strides(), offset), x);
  if (grad_needed(x)) {
    auto node = make_node<ConstantPadNode>({&x});
    node->amounts = amounts;
    set_history(out, node);
  }
  return out;
}

// One dim of reflect / replicate / circular, as a join of slices.
Tensor pad_dim(const Tensor& x, int64_t d, int64_t before, int64_t after, const std::string& mode) {
  const int64_t n = x.size(d);
  TensorList parts;
  if (mode == "reflect") {
    TERCEL_CHECK(before < n && after < n, Value, "pad: reflect amounts (", before, ", ", after,
                 ") must be smaller than size ", n, " of dim ", d);
    if (before > 0) parts.push_back(flip(narrow(x, d, 1, before), {d}));
    parts.push_back(x);
    if (after > 0) parts.push_back(flip(narrow(x, d, n - 1 - after, after), {d}));
  } else if (mode == "replicate") {
    TERCEL_CHECK(n > 0, Value, "pad: replicate needs size > 0 along dim ", d, ", got shape ",
                 x.shape());
    Shape edge = x.shape();
    edge[d] = before;
    if (before > 0) parts.push_back(expand(narrow(x, d, 0, 1), edge));
    parts.push_back(x);
    edge[d] = after;
    if (after > 0) parts.push_back(expand(narrow(x, d, n - 1, 1), edge));
  } else {
    TERCEL_CHECK(before <= n && after <= n, Value, "pad: circular amounts (", before, ", ", after,
                 ") must not exceed size ", n, " of dim ", d);
    if (before > 0) parts.push_back(narrow(x, d, n - before, before));
    parts.push_back(x);
    if (after > 0) parts.push_back(narrow(x, d, 0, after));
  }
  return cat(parts, d);
}

}  // namespace

Tensor pad(const Tensor& x, const std::vector<int64_t>& pad, const std::string& mode,
           Scalar value) {
  TERCEL_CHECK(pad.size() % 2 == 0, Value, "pad: expected pairs of amounts, got ", pad.size(),
               " numbers");
  TERCEL_CHECK(static_cast<int64_t>(pad.size()) <= 2 * x.dim(), Value, "pad: ", pad.size() / 2,
               " pairs are too many for input of shape ", x.shape());
  TERCEL_CHECK(mode == "constant" || mode == "reflect" || mode == "replicate" || mode == "circular",
               Value, "pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got '",
               mode, "'");
  for (size_t i = 0; i < pad.size() / 2; ++i) {
    const int64_t d = x.dim() - 1 - static_cast<int64_t>(i), n = x.size(d);
    const int64_t before = pad[2 * i], after = pad[2 * i + 1];
    // Each crop is bounded by the size first, so the sums below cannot overflow.
    TERCEL_CHECK(before >= -n && after >= -n &&
                     std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0) >= -n,
                 Value, "pad: amounts (", before, ", ", after, ") crop more than size ", n,
                 " of dim ", d);
  }
  std::vector<int64_t> amounts = pad;
  Tensor y = crop(x, amounts);
  const bool nothing =
      std::all_of(amounts.begin(), amounts.end(), [](int64_t v) { return v == 0; });
  if (nothing) return clone(y);
  if (mode == "constant") return pad_constant(y, amounts, value);
  for (size_t i = 0; i < amounts.size() / 2; ++i) {
    if (amounts[2 * i] == 0 && amounts[2 * i + 1] == 0) continue;
    y = pad_dim(y, x.dim() - 1 - static_cast<int64_t>(i), amounts[2 * i], amounts[2 * i + 1], mode);
  }
  return y;
}

Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims) {
  TERCEL_CHECK(shifts.size() > 0, Value, "roll: expected at least one shift");
  if (dims.empty()) {
    TERCEL_CHECK(shifts.size() == 1, Value, "roll: without dims expected 1 shift, got ",
                 shifts.size());
    return reshape(roll(reshape(x, {x.numel()}), shifts, {0}), x.shape());
  }
  TERCEL_CHECK(shifts.size() == dims.size(), Value, "roll: expected as many shifts as dims, got ",
               shifts.size(), " and ", dims.size());
  Tensor y = x;
  bool copied = false;
  for (int i = 0; i < dims.size(); ++i) {
    const int d = normalize_dim(dims[i], x.dim(), "roll");
    if (x.dim() == 0) continue;
    const int64_t n = y.size(d);
    const int64_t shift = n > 0 ? (shifts[i] % n + n) % n : 0;
    if (shift == 0) continue;
    y = cat({narrow(y, d, n - shift, shift), narrow(y, d, 0, n - shift)}, d);
    copied = true;
  }
  return copied ? y : clone(x);
}

struct FlipNode final : Node {
  Dims dims;
  const char* name() const override { return "FlipBackward"; }
  TensorList backward(const TensorList& g) override { return {flip(g[0], dims)}; }
};

Tensor flip(const Tensor& x, const Dims& dims) {
  Strides strides = x.strides();
  int64_t offset = x.offset();
  uint32_t seen = 0;
  for (int64_t dim : dims) {
    const int d = normalize_dim(dim, x.dim(), "flip");
    TERCEL_CHECK(!(seen >> d & 1u), Value, "flip: dim ", d, " appears twice in ", dims);
    seen |= 1u << d;
    if (x.dim() == 0) continue;
    if (x.numel() > 0) offset += (x.size(d) - 1) * x.stride(d);
    strides[d] = -strides[d];
  }
  Tensor out = empty(x.shape(), x.dtype(), x.device());
  strided_copy(out, raw_view(x, x.shape(), strides, offset));
  if (grad_needed(x)) {
    auto node = make_node<FlipNode>({&x});
    node->dims = dims;
    set_history(out, node);
  }
  return out;
}

Tensor rot90(const Tensor& x, int64_t k, const Dims& dims) {
  TERCEL_CHECK(dims.size() == 2, Value, "rot90: expected 2 dims, got ", dims.size());
  TERCEL_CHECK(x.dim() >= 2, Shape, "rot90: input must have at least 2 dimensions, got shape ",
               x.shape());
  const int64_t a = normalize_dim(dims[0], x.dim(), "rot90"),
                b = normalize_dim(dims[1], x.dim(), "rot90");
  TERCEL_CHECK(a != b, Value, "rot90: dims must differ, got ", dims);
  switch ((k % 4 + 4) % 4) {
    case 1:
      return transpose(flip(x, {b}), a, b);
    case 2:
      return flip(x, {a, b});
    case 3:
      return transpose(flip(x, {a}), a, b);
    default:
      return clone(x);
  }
}

Tensor repeat(const Tensor& x, const Dims& repeats) {
  const int extra = repeats.size() - x.dim();
  TERCEL_CHECK(extra >= 0, Value, "repeat: expected at least ", x.dim(),
               " repeats for input of shape ", x.shape(), ", got ", repeats.size());
  for (int64_t r : repeats)
    TERCEL_CHECK(r >= 0, Value, "repeat: repeats must be >= 0, got ", repeats);
  Shape padded = Shape::filled(repeats.size(), 1), result = repeats;
  for (int i = 0; i < x.dim(); ++i) {
    padded[extra + i] = x.size(i);
    result[extra + i] = checked_mul(repeats[extra + i], x.size(i), "repeat");
  }
  checked_numel(result, "repeat");
  Tensor y = reshape(x, padded);
  // Each repeated dim n becomes [r, n] with stride 0 for r; the copy is made by the final reshape.
  // Dims are handled in groups that fit kMaxDims.
  bool copied = false;
  for (int last = repeats.size() - 1; last >= 0;) {
    Shape wide, view = y.shape();
    int first = last;
    int used = y.dim();
    while (first >= 0 && (repeats[first] == 1 || used < kMaxDims)) {
      used += repeats[first] != 1;
      --first;
    }
    Shape split;
    Shape joined;
    for (int i = 0; i < repeats.size(); ++i) {
      const bool here = i > first && i <= last && repeats[i] != 1;
      if (here) {
        split.push_back(1);
        wide.push_back(repeats[i]);
      }
      split.push_back(view[i]);
      wide.push_back(view[i]);
      joined.push_back(here ? repeats[i] * view[i] : view[i]);
      copied = copied || here;
    }
    y = reshape(expand(reshape(y, split), wide), joined);
    last = first;
  }
  return copied && y.storage() != x.storage() ? y : clone(y);
}

Tensor tile(const Tensor& x, const Dims& dims) {
  Dims repeats = dims;
  while (repeats.size() < x.dim()) repeats.insert(0, 1);
  return repeat(x, repeats);
}

Tensor repeat_interleave(const Tensor& x, int64_t repeats, std::optional<int64_t> dim) {
  TERCEL_CHECK(repeats >= 0, Value, "repeat_interleave: repeats must be >= 0, got ", repeats);
  const Tensor y = dim ? x : reshape(x, {x.numel()});
  if (y.dim() == 0) return repeat_interleave(reshape(y, {1}), repeats, 0);
  const int d = normalize_dim(dim.value_or(0), y.dim(), "repeat_interleave");
  Shape wide = y.shape(), joined = y.shape();
  wide.insert(d + 1, repeats);
  joined[d] = checked_mul(joined[d], repeats, "repeat_interleave");
  checked_numel(joined, "repeat_interleave");
  const Tensor out = reshape(expand(unsqueeze(y, d + 1), wide), joined);
  return out.storage() == x.storage() ? clone(out) : out;
}

Tensor repeat_positions(const Tensor& repeats, std::optional<int64_t> output_size) {
  TERCEL_CHECK(repeats.dim() == 1, Shape,
               "repeat_interleave: repeats must have 1 dimension, got shape ", repeats.shape());
  if (!is_int(repeats.dtype()))
    fail_dtype("repeat_interleave", "repeats", repeats.dtype(), kIntMask);
  const Tensor counts = contiguous(to(to_device(repeats.detach(), Device{}), DType::i64));
  const int64_t* c = counts.data_as<int64_t>();
  int64_t total = 0;
  for (int64_t i = 0; i < counts.numel(); ++i) {
    TERCEL_CHECK(c[i] >= 0, Value, "repeat_interleave: repeats must be >= 0, got ", c[i],
                 " at position ", i);
    total = checked_add(total, c[i], "repeat_interleave");
  }
  TERCEL_CHECK(!output_size || *output_size == total, Value, "repeat_interleave: output_size ",
               output_size.value_or(0), " does not equal the sum of repeats, ", total);
  Tensor out = empty({total}, DType::i64);
  int64_t* o = out.data_as<int64_t>();
  for (int64_t i = 0; i < counts.numel(); ++i) o = std::fill_n(o, c[i], i);
  return to_device(out, repeats.device());
}

Tensor repeat_interleave(const Tensor& x, const Tensor& repeats, std::optional<int64_t> dim,
                         std::optional<int64_t> output_size) {
  const Tensor y = dim ? x : reshape(x, {x.numel()});
  const Tensor flat = y.dim() == 0 ? reshape(y, {1}) : y;
  const int d = normalize_dim(dim.value_or(0), flat.dim(), "repeat_interleave");
  Tensor counts = repeats.dim() == 0 ? reshape(repeats, {1}) : repeats;
  TERCEL_CHECK(counts.dim() == 1 && (counts.numel() == 1 || counts.numel() == flat.size(d)), Shape,
               "repeat_interleave: repeats must have 1 or ", flat.size(d), " (size of dim ", d,
               ") elements, got shape ", repeats.shape());
  if (counts.numel() == 1 && flat.size(d) != 1) counts = expand(counts, {flat.size(d)});
  return index_select(flat, d, repeat_positions(counts, output_size));
}

}  // namespace tercel
