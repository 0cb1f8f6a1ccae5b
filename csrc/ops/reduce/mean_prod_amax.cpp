// nansum, mean, prod, amax, amin and their gradients.
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/reduce/reduce_common.h"
#include "ops/view/view.h"

namespace tercel {

// ---- nansum, mean
// ------------------------------------------------------------------------------------

struct NansumNode final : ReduceNode {
  Saved x;
  const char* name() const override { return "NansumBackward"; }
  TensorList backward(const TensorList& g) override {
    return {mul(spread_grad(g[0]), to(logical_not(isnan(detach(x.get(*this)))), dtype))};
  }
  void release_saved() override { x.reset(); }
};

Tensor nansum(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  if (!is_float(x.dtype())) return sum(x, dims, keepdim, dtype);
  if (dtype && !is_float(*dtype))  // a NaN has no integer to become
    return sum(where(isnan(x), wrap_number(0.0), x), dims, keepdim, dtype);
  if (dtype && *dtype != x.dtype()) return nansum(to(x, *dtype), dims, keepdim);
  const uint32_t mask = dims_mask(dims, x.dim(), "nansum");
  Tensor y = run_reduce(x, mask, keepdim, ReduceOp::nansum, ReduceLoad::value, ReducePost::none,
                        accumulate_dtype(x.dtype()), x.dtype());
  if (grad_needed(x)) {
    auto node = make_node<NansumNode>({&x});
    node->describe(x, mask, keepdim);
    node->x.save(x);
    set_history(y, node);
  }
  return y;
}

struct MeanNode final : ReduceNode {
  const char* name() const override { return "MeanBackward"; }
  TensorList backward(const TensorList& g) override {
    const double n = static_cast<double>(reduced_count(shape, mask));
    return {spread(to(div(g[0], n), dtype), mask, keepdim, shape)};
  }
};

Tensor mean(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  const DType out = dtype.value_or(x.dtype());
  TERCEL_CHECK(
      is_float(out), DType, "mean: expected a float input or a float dtype=, got input of dtype ",
      dtype_name(x.dtype()), dtype ? str(" and dtype=", dtype_name(*dtype)) : std::string());
  const uint32_t mask = dims_mask(dims, x.dim(), "mean");
  Tensor y = run_reduce(x, mask, keepdim, ReduceOp::sum, ReduceLoad::value, ReducePost::divide,
                        accumulate_dtype(out), out);
  if (grad_needed(x)) {
    auto node = make_node<MeanNode>({&x});
    node->describe(x, mask, keepdim);
    set_history(y, node);
  }
  return y;
}

Tensor nanmean(const Tensor& x, const Dims& dims, bool keepdim, std::optional<DType> dtype) {
  TERCEL_CHECK(is_float(x.dtype()), DType, "nanmean: expected a float input, got ",
               dtype_name(x.dtype()));
  const Tensor numbers = sum(logical_not(isnan(detach(x))), dims, keepdim);
  return div(nansum(x, dims, keepdim, dtype), numbers);
}

// ---- prod
// --------------------------------------------------------------------------------------------

// dx_i = g * prod of the others, as (product before i) * (product after i): right with zeros in x.
struct ProdNode final : ReduceNode {
  Saved x;
  DType out;
  const char* name() const override { return "ProdBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor input = x.get(*this);
    if (input.dim() == 0) return {to(g[0], dtype)};
    const bool whole = mask == (1u << shape.size()) - 1 && shape.size() > 1;
    const Tensor v = to(whole ? reshape(input, {-1}) : input, out);
    int64_t dim = 0;
    while (!whole && !(mask >> dim & 1)) ++dim;
    const Tensor others = mul(exclusive_cumprod(v, dim, false), exclusive_cumprod(v, dim, true));
    const Tensor spread_g =
        whole ? expand(reshape(g[0], {1}), v.shape()) : spread(g[0], mask, keepdim, shape);
    return {to(reshape(mul(spread_g, others), shape), dtype)};
  }
  void release_saved() override { x.reset(); }
};

static Tensor prod_mask(const Tensor& x, uint32_t mask, bool keepdim, std::optional<DType> dtype) {
  const DType out = dtype.value_or(is_float(x.dtype()) ? x.dtype() : DType::i64);
  const ReduceLoad load = is_bool(out) ? ReduceLoad::nonzero : ReduceLoad::value;  // as in sum
  Tensor y = run_reduce(x, mask, keepdim, ReduceOp::prod, load, ReducePost::none,
                        accumulate_dtype(out), out);
  if (is_float(out) && grad_needed(x)) {
    auto node = make_node<ProdNode>({&x});
    node->describe(x, mask, keepdim);
    node->out = out;
    node->x.save(x);
    set_history(y, node);
  }
  return y;
}

Tensor prod(const Tensor& x, std::optional<DType> dtype) {
  return prod_mask(x, dims_mask({}, x.dim(), "prod"), false, dtype);
}

Tensor prod(const Tensor& x, int64_t dim, bool keepdim, std::optional<DType> dtype) {
  return prod_mask(x, dims_mask({dim}, x.dim(), "prod"), keepdim, dtype);
}

// ---- amax, amin
// --------------------------------------------------------------------------------------

struct AmaxNode final : ReduceNode {
  Saved x, y;
  bool largest;
  const char* name() const override { return largest ? "AmaxBackward" : "AminBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor hit =
        to(eq(detach(x.get(*this)), detach(with_dims(y.get(*this), mask, keepdim))), dtype);
    const Tensor share = div(hit, sum_mask(hit));
    return {mul(spread_grad(g[0]), share)};
  }
  Tensor sum_mask(const Tensor& t) const {
    GradMode off(false);
    return run_reduce(t, mask, true, ReduceOp::sum, ReduceLoad::value, ReducePost::none,
                      accumulate_dtype(dtype), dtype);
  }
  void release_saved() override {
    x.reset();
    y.reset();
  }
};

static Tensor extreme(const Tensor& x, const Dims& dims, bool keepdim, bool largest) {
  const char* op = largest ? "amax" : "amin";
  const uint32_t mask = dims_mask(dims, x.dim(), op);
  check_not_empty(x, mask, op);
  const DType acc = accumulate_dtype(x.dtype());
  Tensor y = run_reduce(x, mask, keepdim, largest ? ReduceOp::max : ReduceOp::min,
                        ReduceLoad::value, ReducePost::none, acc, x.dtype());
  if (grad_needed(x)) {
    auto node = make_node<AmaxNode>({&x});
    node->describe(x, mask, keepdim);
    node->largest = largest;
    node->x.save(x);
    node->y.save_output(y, 0);
    set_history(y, node);
  }
  return y;
}

Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) {
  return extreme(x, dims, keepdim, true);
}
Tensor amin(const Tensor& x, const Dims& dims, bool keepdim) {
  return extreme(x, dims, keepdim, false);
}

std::pair<Tensor, Tensor> aminmax(const Tensor& x, std::optional<int64_t> dim, bool keepdim) {
  const Dims dims = dim ? Dims{*dim} : Dims{};
  return {amin(x, dims, keepdim), amax(x, dims, keepdim)};
}

}  // namespace tercel
