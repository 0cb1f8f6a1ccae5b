// Loss functions and distances with PyTorch's arguments.
//
// Common to all: reduction none (per element or sample), mean or sum; float16 and bfloat16 compute
// in float32 inside one kernel; inputs broadcast where PyTorch's do. Class indices may have any
// integer dtype, are checked against [0, C) (IndexError naming the value) and may equal
// ignore_index. All have gradients of any order; cross entropy and the pointwise losses run
// backward in one fused pass.
#pragma once

#include <optional>
#include <string>

#include "core/autograd.h"

namespace tercel {

enum class Reduction : uint8_t { none, mean, sum };
Reduction reduction_of(const std::string& name, const char* op);  // ValueError for other names
Tensor reduce_loss(const Tensor& loss, Reduction reduction);

// ---- classes (cross_entropy.cpp, margin_loss.cpp)
// ----------------------------------------------------

// x [C], [N, C] or [N, C, d1, ...] logits; target without the C dim (indices) or of x's shape
// (probabilities); weight [C]. With w = weight, eps = label_smoothing, indices:
//   loss_i = (1 - eps) w_t (lse_i - x_it) + eps / C sum_c w_c (lse_i - x_ic),  mean = sum loss /
//   sum w_t
// Saves lse; log-probabilities are not stored. Cost: x read once forward, read and dx written
// backward.
Tensor cross_entropy(const Tensor& x, const Tensor& target,
                     const std::optional<Tensor>& weight = {},
                     Reduction reduction = Reduction::mean, int64_t ignore_index = -100,
                     double label_smoothing = 0);
// The same with log-probabilities instead of logits and no smoothing.
Tensor nll_loss(const Tensor& x, const Tensor& target, const std::optional<Tensor>& weight = {},
                Reduction reduction = Reduction::mean, int64_t ignore_index = -100);
// sum over j != t of max(0, margin - x_t + x_j)^p w_t / C; p is 1 or 2. x [C] or [N, C].
Tensor multi_margin_loss(const Tensor& x, const Tensor& target, int64_t p = 1, double margin = 1,
                         const std::optional<Tensor>& weight = {},
                         Reduction reduction = Reduction::mean);
// Connectionist temporal classification: -log of the probability that a path of log_probs reads as
// the targets once repeats and blanks are dropped (Graves et al. 2006).
//   log_probs [T, N, C] or [T, C]; targets [N, S] (padded), [S], or all of them in one row;
//   input_lengths, target_lengths [N] integers. mean: sum_n (loss_n / max(1, length_n)) / N.
// A target that does not fit its frames costs infinity, or 0 with zero gradient (zero_infinity).
// The gradient is that of log_probs as free variables: through log_softmax it equals PyTorch's.
// Saves log alpha, N T (2 S + 1) float64. No second derivative.
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                const Tensor& target_lengths, int64_t blank = 0,
                Reduction reduction = Reduction::mean, bool zero_infinity = false);
// Targets [C] or [N, C]: class indices up to the first -1.
Tensor multilabel_margin_loss(const Tensor& x, const Tensor& target,
                              Reduction reduction = Reduction::mean);
Tensor multilabel_soft_margin_loss(const Tensor& x, const Tensor& target,
                                   const std::optional<Tensor>& weight = {},
                                   Reduction reduction = Reduction::mean);

// ---- pointwise (pointwise_loss.cpp)
// ------------------------------------------------------------------

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean,
                const std::optional<Tensor>& weight = {});
Tensor l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean,
               const std::optional<Tensor>& weight = {});
// d^2 / (2 beta) if |d| < beta else |d| - beta / 2
Tensor smooth_l1_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean,
                      double beta = 1);
// d^2 / 2 if |d| <= delta else delta (|d| - delta / 2)
Tensor huber_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::mean,
                  double delta = 1, const std::optional<Tensor>& weight = {});
// x in [0, 1] (checked); logarithms are clamped at -100
Tensor binary_cross_entropy(const Tensor& x, const Tensor& target,
                            const std::optional<Tensor>& weight = {},
                            Reduction reduction = Reduction::mean);
Tensor binary_cross_entropy_with_logits(const Tensor& x, const Tensor& target,
                                        const std::optional<Tensor>& weight = {},
                                        Reduction reduction = Reduction::mean,
                                        const std::optional<Tensor>& pos_weight = {});
Tensor soft_margin_loss(const Tensor& x, const Tensor& target,
                        Reduction reduction = Reduction::mean);
// reduction "batchmean" divides the sum by the first size
Tensor kl_div(const Tensor& x, const Tensor& target, const std::string& reduction = "mean",
              bool log_target = false);
Tensor poisson_nll_loss(const Tensor& x, const Tensor& target, bool log_input = true,
                        bool full = false, double eps = 1e-8,
                        Reduction reduction = Reduction::mean);
Tensor gaussian_nll_loss(const Tensor& x, const Tensor& target, const Tensor& variance,
                         bool full = false, double eps = 1e-6,
                         Reduction reduction = Reduction::mean);
Tensor hinge_embedding_loss(const Tensor& x, const Tensor& target, double margin = 1,
                            Reduction reduction = Reduction::mean);
Tensor margin_ranking_loss(const Tensor& a, const Tensor& b, const Tensor& target,
                           double margin = 0, Reduction reduction = Reduction::mean);

// ---- distances (distance.cpp)
// ------------------------------------------------------------------------

Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t dim = 1, double eps = 1e-8);
Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p = 2, double eps = 1e-6,
                         bool keepdim = false);
// [..., P, M] and [..., R, M] -> [..., P, R]
Tensor cdist(const Tensor& a, const Tensor& b, double p = 2);
// Of all pairs of rows i < j of x [R, D], in that order: [R (R - 1) / 2]
Tensor pdist(const Tensor& x, double p = 2);
Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& target,
                             double margin = 0, Reduction reduction = Reduction::mean);
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           double margin = 1, double p = 2, double eps = 1e-6, bool swap = false,
                           Reduction reduction = Reduction::mean);

}  // namespace tercel
