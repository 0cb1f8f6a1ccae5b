// Distances and the losses built on them, composed from public ops; distances between all rows in
// float32 and float64 have a kernel for p = 1, 2 and infinity (distance_kernels.h).
#include <cmath>

#include "core/autocast.h"
#include "core/launch.h"
#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/index/index.h"
#include "ops/loss/distance_kernels.h"
#include "ops/loss/loss.h"
#include "ops/reduce/reduce.h"
#include "ops/shape/shape_ops.h"
#include "ops/view/view.h"

namespace tercel {

static Tensor relu_of(const Tensor& x) { return clamp_min(x, wrap_number(Scalar(0.0))); }

Tensor cosine_similarity(const Tensor& a_in, const Tensor& b_in, int64_t dim, double eps) {
  const Shape shape = broadcast_shapes(a_in.shape(), b_in.shape(), "cosine_similarity");
  const DType dtype = result_type({&a_in, &b_in});
  TERCEL_CHECK(is_float(dtype), DType, "cosine_similarity: expected float inputs, got ",
               dtype_name(dtype));
  const Tensor a = expand(to(a_in, dtype), shape), b = expand(to(b_in, dtype), shape);
  const Dims along{normalize_dim(dim, shape.size(), "cosine_similarity")};
  const Tensor low = wrap_number(Scalar(eps));
  const Tensor na = clamp_min(vector_norm(a, 2, along, true), low),
               nb = clamp_min(vector_norm(b, 2, along, true), low);
  return sum(mul(div(a, na), div(b, nb)), along);
}

Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p, double eps, bool keepdim) {
  return vector_norm(add(sub(a, b), eps), p, {-1}, keepdim);
}

// d |a_i - b_j| / d a_i = sign(a_i - b_j) or (a_i - b_j) / distance, 0 where that is 0
struct CdistNode final : Node {
  Saved a, b, y;
  bool squared;
  const char* name() const override { return "CdistBackward"; }
  TensorList backward(const TensorList& g) override {
    const Tensor as = a.get(*this), bs = b.get(*this);
    const Tensor d = sub(unsqueeze(as, -2), unsqueeze(bs, -3));
    Tensor t;
    if (squared) {
      const Tensor distance = y.get(*this), zero = eq(distance, 0.0);
      const Tensor scale = div(g[0], tercel::where(zero, ones_like(distance), distance));
      t = mul(d, unsqueeze(tercel::where(zero, zeros_like(scale), scale), -1));
    } else {
      t = mul(sign(d), unsqueeze(g[0], -1));
    }
    TensorList out(2);
    if (needs(0)) out[0] = sum_to(sum(t, {-2}), as.shape());
    if (needs(1)) out[1] = sum_to(neg(sum(t, {-3})), bs.shape());
    return out;
  }
  void release_saved() override {
    a.reset();
    b.reset();
    y.reset();
  }
};

static bool has_distance_kernel(const Tensor& x, double p) {
  return x.device().is_cpu() && (x.dtype() == DType::f32 || x.dtype() == DType::f64) &&
         (p == 1 || p == 2 || std::isinf(p)) && x.size(-1) > 0;
}
// a [batch.., P, M], b [batch.., R, M], both contiguous
static Tensor distances(const Tensor& a, const Tensor& b, double p, bool pairs) {
  const int64_t P = a.size(-2), R = b.size(-2), M = a.size(-1);
  Shape shape;
  if (pairs) {
    shape.push_back(P * (P - 1) / 2);
  } else {
    shape = a.shape();
    shape[shape.size() - 1] = R;
  }
  const Tensor y = empty(shape, a.dtype());
  if (y.numel() == 0) return y;
  const int64_t B = a.numel() / (P * M), lanes = distance_lanes(a.dtype());
  const Tensor panels = empty({B * ((R + lanes - 1) / lanes) * lanes * M}, a.dtype());
  const DistanceArgs args{a.data(),  b.data(),
                          y.data(),  panels.data(),
                          B,         P,
                          R,         M,
                          a.dtype(), p == 1 ? Distance::l1 : p == 2 ? Distance::l2 : Distance::linf,
                          pairs};
  launch(distance_kernels().fwd, args, y.numel() * M / lanes);
  return y;
}

Tensor cdist(const Tensor& a, const Tensor& b, double p) {
  TERCEL_CHECK(a.dim() >= 2 && b.dim() >= 2 && a.size(-1) == b.size(-1), Shape,
               "cdist: expected [..., P, M] and [..., R, M], got ", a.shape(), " and ", b.shape());
  TERCEL_CHECK(p >= 0, Value, "cdist: p must not be negative, got ", p);
  const bool wants_gradient = grad_needed(a, b);
  if (!has_distance_kernel(a, p) || a.dtype() != b.dtype() || a.device() != b.device() ||
      (wants_gradient && std::isinf(p)))
    return vector_norm(sub(unsqueeze(a, -2), unsqueeze(b, -3)), p, {-1});
  Tensor y;
  {
    GradMode off(false);
    Shape batch_a = a.shape(), batch_b = b.shape();
    batch_a[batch_a.size() - 2] = batch_b[batch_b.size() - 2] = 1;
    Shape shape = broadcast_shapes(batch_a, batch_b, "cdist");
    shape[shape.size() - 2] = a.size(-2);
    const Tensor ac = contiguous(expand(a, shape));
    shape[shape.size() - 2] = b.size(-2);
    y = distances(ac, contiguous(expand(b, shape)), p, /*pairs=*/false);
  }
  if (wants_gradient) {
    auto node = make_node<CdistNode>({&a, &b});
    node->squared = p == 2;
    node->a.save(a);
    node->b.save(b);
    if (p == 2) node->y.save_output(y, 0);
    set_history(y, node);
  }
  return y;
}

Tensor pdist(const Tensor& x, double p) {
  TERCEL_CHECK(x.dim() == 2, Shape, "pdist: expected a matrix, got shape ", x.shape());
  TERCEL_CHECK(p >= 0, Value, "pdist: p must not be negative, got ", p);
  if (has_distance_kernel(x, p) && !grad_needed(x)) {
    const Tensor xc = contiguous(x);
    return distances(xc, xc, p, /*pairs=*/true);
  }
  const int64_t rows = x.size(0);
  const Tensor pairs = triu_indices(rows, rows, 1);
  const Tensor flat = add(mul(select(pairs, 0, 0), rows), select(pairs, 0, 1));
  return index_select(reshape(cdist(x, x, p), {rows * rows}), 0, device_constant(flat, x.device()));
}

Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& t, double margin,
                             Reduction reduction) {
  if (autocast_widens(a, b))
    return cosine_embedding_loss(autocast_wide(a), autocast_wide(b), t, margin, reduction);
  TERCEL_CHECK(
      (a.dim() == 1 && t.dim() == 0) || (a.dim() == 2 && t.dim() == 1), Shape,
      "cosine_embedding_loss: expected inputs [N, D] with target [N] or [D] with a scalar, got ",
      a.shape(), " and target ", t.shape());
  constexpr double kEps = 1e-12;
  const Dims along{-1};
  const Tensor na = add(sum(square(a), along), kEps), nb = add(sum(square(b), along), kEps);
  const Tensor cosine = div(sum(mul(a, b), along), sqrt(mul(na, nb)));
  const Tensor zero = zeros_like(detach(cosine));
  const Tensor near = tercel::where(eq(t, 1.0), sub(1.0, cosine), zero);
  const Tensor far = tercel::where(eq(t, -1.0), relu_of(sub(cosine, margin)), zero);
  return reduce_loss(add(near, far), reduction);
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           double margin, double p, double eps, bool swap, Reduction reduction) {
  if (autocast_widens(anchor, positive, negative))
    return triplet_margin_loss(autocast_wide(anchor), autocast_wide(positive),
                               autocast_wide(negative), margin, p, eps, swap, reduction);
  const Tensor near = pairwise_distance(anchor, positive, p, eps);
  Tensor far = pairwise_distance(anchor, negative, p, eps);
  if (swap) far = minimum(far, pairwise_distance(positive, negative, p, eps));
  return reduce_loss(relu_of(add(sub(near, far), margin)), reduction);
}

}  // namespace tercel
