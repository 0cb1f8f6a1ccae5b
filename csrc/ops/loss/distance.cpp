// Distances and the losses built on them, composed from public ops.
#include "ops/copy/copy.h"
#include "core/autocast.h"
#include "ops/elementwise/elementwise.h"
#include "ops/loss/loss.h"
#include "ops/reduce/reduce.h"
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

Tensor cdist(const Tensor& a, const Tensor& b, double p) {
  TERCEL_CHECK(a.dim() >= 2 && b.dim() >= 2 && a.size(-1) == b.size(-1), Shape,
               "cdist: expected [..., P, M] and [..., R, M], got ", a.shape(), " and ", b.shape());
  TERCEL_CHECK(p >= 0, Value, "cdist: p must not be negative, got ", p);
  return vector_norm(sub(unsqueeze(a, -2), unsqueeze(b, -3)), p, {-1});
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
