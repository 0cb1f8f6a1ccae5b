// Python bindings of the losses, with the argument order of torch.nn.functional.
#include "ops/loss/loss.h"
#include "python/bind.h"

namespace tercel {
namespace {

using OptTensor = std::optional<Tensor>;
using OptBool = std::optional<bool>;

// The deprecated pair size_average, reduce overrides reduction, as in PyTorch.
std::string reduction_name(const OptBool& size_average, const OptBool& reduce,
                           const std::string& reduction) {
  if (!size_average && !reduce) return reduction;
  if (reduce && !*reduce) return "none";
  return size_average.value_or(true) ? "mean" : "sum";
}
Reduction kind(const OptBool& size_average, const OptBool& reduce, const std::string& reduction,
               const char* op) {
  return reduction_of(reduction_name(size_average, reduce, reduction), op);
}

// Lengths of ctc_loss: a tensor or a sequence of ints.
Tensor lengths(const py::object& object) {
  if (is_tensor_object(object.ptr())) return tensor_of(object.ptr());
  std::vector<int64_t> values;
  try {
    values = object.cast<std::vector<int64_t>>();
  } catch (const py::cast_error&) {
    fail(ErrorKind::Type, str("ctc_loss: lengths must be an integer tensor or a sequence of ints, "
                              "got ",
                              Py_TYPE(object.ptr())->tp_name));
  }
  Tensor t = empty({static_cast<int64_t>(values.size())}, DType::i64);
  std::copy(values.begin(), values.end(), t.data_as<int64_t>());
  return t;
}

#define LEGACY_ARGS                                                     \
  py::arg("size_average") = py::none(), py::arg("reduce") = py::none(), \
  py::arg("reduction") = "mean"
const auto kInput = [] { return py::arg("input"); };
const auto kTarget = [] { return py::arg("target"); };

void bind_class_losses(Binder& b) {
  b.function(
      "cross_entropy",
      [](const Tensor& x, const Tensor& t, const OptTensor& weight, OptBool average,
         int64_t ignore_index, OptBool reduce, const std::string& reduction, double smoothing) {
        return cross_entropy(x, t, weight, kind(average, reduce, reduction, "cross_entropy"),
                             ignore_index, smoothing);
      },
      kInput(), kTarget(), py::arg("weight") = py::none(), py::arg("size_average") = py::none(),
      py::arg("ignore_index") = -100, py::arg("reduce") = py::none(), py::arg("reduction") = "mean",
      py::arg("label_smoothing") = 0.0,
      R"(Cross entropy of logits: -log softmax(input)[target], fused.

input: [C], [N, C] or [N, C, d1, ...] float; target: int class indices [N, d1, ...] or
probabilities of the input's shape; weight: [C]; samples with target == ignore_index count as 0;
reduction: none, mean (over the weights of the targets) or sum; label_smoothing in [0, 1].
Raises IndexError for a target outside [0, C), ShapeError, DTypeError.
Example: cross_entropy(model(x), labels))");
  b.function(
      "nll_loss",
      [](const Tensor& x, const Tensor& t, const OptTensor& weight, OptBool average,
         int64_t ignore_index, OptBool reduce, const std::string& reduction) {
        return nll_loss(x, t, weight, kind(average, reduce, reduction, "nll_loss"), ignore_index);
      },
      kInput(), kTarget(), py::arg("weight") = py::none(), py::arg("size_average") = py::none(),
      py::arg("ignore_index") = -100, py::arg("reduce") = py::none(), py::arg("reduction") = "mean",
      "Negative log-likelihood -input[target] of log-probabilities; arguments as cross_entropy.");
  b.function(
      "ctc_loss",
      [](const Tensor& x, const Tensor& targets, const py::object& input_lengths,
         const py::object& target_lengths, int64_t blank, const std::string& reduction,
         bool zero_infinity) {
        return ctc_loss(x, targets, lengths(input_lengths), lengths(target_lengths), blank,
                        reduction_of(reduction, "ctc_loss"), zero_infinity);
      },
      py::arg("log_probs"), py::arg("targets"), py::arg("input_lengths"), py::arg("target_lengths"),
      py::arg("blank") = 0, py::arg("reduction") = "mean", py::arg("zero_infinity") = false,
      R"(Connectionist temporal classification: -log p(targets | log_probs) over all alignments.

log_probs: [T, N, C] or [T, C], log-probabilities (log_softmax); targets: ints [N, S], [S], or all
in a row; input_lengths, target_lengths: ints [N]; blank: class of the empty label.
reduction: none, sum or mean (losses over target lengths). zero_infinity: a target that does not
fit its frames costs 0, not inf. Computed in float64 inside. The gradient is the derivative with
respect to log_probs itself; through log_softmax it is the same as PyTorch's. First order only.
Raises IndexError for a target outside [0, C) or equal to blank, ValueError for bad lengths.
Graves et al. 2006, doi:10.1145/1143844.1143891.)");
  b.function(
      "multi_margin_loss",
      [](const Tensor& x, const Tensor& t, int64_t p, double margin, const OptTensor& weight,
         OptBool average, OptBool reduce, const std::string& reduction) {
        return multi_margin_loss(x, t, p, margin, weight,
                                 kind(average, reduce, reduction, "multi_margin_loss"));
      },
      kInput(), kTarget(), py::arg("p") = 1, py::arg("margin") = 1.0,
      py::arg("weight") = py::none(), LEGACY_ARGS,
      "sum over j != t of max(0, margin - x_t + x_j)^p w_t / C; input [C] or [N, C], target "
      "indices.");
  b.function(
      "multilabel_margin_loss",
      [](const Tensor& x, const Tensor& t, OptBool average, OptBool reduce,
         const std::string& reduction) {
        return multilabel_margin_loss(x, t,
                                      kind(average, reduce, reduction, "multilabel_margin_loss"));
      },
      kInput(), kTarget(), LEGACY_ARGS,
      "sum of max(0, 1 - (x_j - x_i)) / C over targets j (indices up to the first -1) and other "
      "classes i.");
  b.function(
      "multilabel_soft_margin_loss",
      [](const Tensor& x, const Tensor& t, const OptTensor& weight, OptBool average, OptBool reduce,
         const std::string& reduction) {
        return multilabel_soft_margin_loss(
            x, t, weight, kind(average, reduce, reduction, "multilabel_soft_margin_loss"));
      },
      kInput(), kTarget(), py::arg("weight") = py::none(), LEGACY_ARGS,
      "Binary cross entropy of logits, averaged over the last dim.");
}

void bind_pointwise_losses(Binder& b) {
  const auto weighted = [&](const char* name, auto f, const char* doc) {
    b.function(
        name,
        [f, name](const Tensor& x, const Tensor& t, OptBool average, OptBool reduce,
                  const std::string& reduction, const OptTensor& weight) {
          return f(x, t, kind(average, reduce, reduction, name), weight);
        },
        kInput(), kTarget(), LEGACY_ARGS, py::arg("weight") = py::none(), doc);
  };
  weighted("mse_loss", &mse_loss,
           "(input - target)^2, reduced. Inputs broadcast. weight multiplies the elements.");
  weighted("l1_loss", &l1_loss,
           "|input - target|, reduced. Inputs broadcast. weight multiplies the elements.");
  b.function(
      "smooth_l1_loss",
      [](const Tensor& x, const Tensor& t, OptBool average, OptBool reduce,
         const std::string& reduction, double beta) {
        return smooth_l1_loss(x, t, kind(average, reduce, reduction, "smooth_l1_loss"), beta);
      },
      kInput(), kTarget(), LEGACY_ARGS, py::arg("beta") = 1.0,
      "d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = input - target.");
  b.function(
      "huber_loss",
      [](const Tensor& x, const Tensor& t, const std::string& reduction, double delta,
         const OptTensor& weight) {
        return huber_loss(x, t, reduction_of(reduction, "huber_loss"), delta, weight);
      },
      kInput(), kTarget(), py::arg("reduction") = "mean", py::arg("delta") = 1.0,
      py::arg("weight") = py::none(),
      "d^2 / 2 where |d| < delta, else delta (|d| - delta / 2); d = input - target.");
  b.function(
      "binary_cross_entropy",
      [](const Tensor& x, const Tensor& t, const OptTensor& weight, OptBool average, OptBool reduce,
         const std::string& reduction) {
        return binary_cross_entropy(x, t, weight,
                                    kind(average, reduce, reduction, "binary_cross_entropy"));
      },
      kInput(), kTarget(), py::arg("weight") = py::none(), LEGACY_ARGS,
      R"(-(target log input + (1 - target) log(1 - input)), logarithms clamped at -100.
input: probabilities in [0, 1] (ValueError otherwise); target: same shape.)");
  b.function(
      "binary_cross_entropy_with_logits",
      [](const Tensor& x, const Tensor& t, const OptTensor& weight, OptBool average, OptBool reduce,
         const std::string& reduction, const OptTensor& pos_weight) {
        return binary_cross_entropy_with_logits(
            x, t, weight, kind(average, reduce, reduction, "binary_cross_entropy_with_logits"),
            pos_weight);
      },
      kInput(), kTarget(), py::arg("weight") = py::none(), LEGACY_ARGS,
      py::arg("pos_weight") = py::none(),
      "Binary cross entropy of sigmoid(input), without overflow. pos_weight multiplies the "
      "positive term.");
  b.function(
      "soft_margin_loss",
      [](const Tensor& x, const Tensor& t, OptBool average, OptBool reduce,
         const std::string& reduction) {
        return soft_margin_loss(x, t, kind(average, reduce, reduction, "soft_margin_loss"));
      },
      kInput(), kTarget(), LEGACY_ARGS, "log(1 + exp(-target input)), reduced; target is 1 or -1.");
  b.function(
      "kl_div",
      [](const Tensor& x, const Tensor& t, OptBool average, OptBool reduce,
         const std::string& reduction, bool log_target) {
        return kl_div(x, t, reduction_name(average, reduce, reduction), log_target);
      },
      kInput(), kTarget(), LEGACY_ARGS, py::arg("log_target") = false,
      R"(Kullback-Leibler divergence target (log target - input) with input = log-probabilities.
log_target: target holds logarithms. reduction: none, mean, sum or batchmean (sum / first size).)");
  b.function(
      "poisson_nll_loss",
      [](const Tensor& x, const Tensor& t, bool log_input, bool full, OptBool average, double eps,
         OptBool reduce, const std::string& reduction) {
        return poisson_nll_loss(x, t, log_input, full, eps,
                                kind(average, reduce, reduction, "poisson_nll_loss"));
      },
      kInput(), kTarget(), py::arg("log_input") = true, py::arg("full") = false,
      py::arg("size_average") = py::none(), py::arg("eps") = 1e-8, py::arg("reduce") = py::none(),
      py::arg("reduction") = "mean",
      "exp(input) - target input (log_input), else input - target log(input + eps); full adds "
      "Stirling's term.");
  b.function(
      "gaussian_nll_loss",
      [](const Tensor& x, const Tensor& t, const Tensor& var, bool full, double eps,
         const std::string& reduction) {
        return gaussian_nll_loss(x, t, var, full, eps,
                                 reduction_of(reduction, "gaussian_nll_loss"));
      },
      kInput(), kTarget(), py::arg("var"), py::arg("full") = false, py::arg("eps") = 1e-6,
      py::arg("reduction") = "mean",
      "(log v + (input - target)^2 / v) / 2 with v = max(var, eps); full adds log(2 pi) / 2.");
  b.function(
      "hinge_embedding_loss",
      [](const Tensor& x, const Tensor& t, double margin, OptBool average, OptBool reduce,
         const std::string& reduction) {
        return hinge_embedding_loss(x, t, margin,
                                    kind(average, reduce, reduction, "hinge_embedding_loss"));
      },
      kInput(), kTarget(), py::arg("margin") = 1.0, LEGACY_ARGS,
      "input where target is 1, max(0, margin - input) where it is -1.");
  b.function(
      "margin_ranking_loss",
      [](const Tensor& x, const Tensor& y, const Tensor& t, double margin, OptBool average,
         OptBool reduce, const std::string& reduction) {
        return margin_ranking_loss(x, y, t, margin,
                                   kind(average, reduce, reduction, "margin_ranking_loss"));
      },
      py::arg("input1"), py::arg("input2"), kTarget(), py::arg("margin") = 0.0, LEGACY_ARGS,
      "max(0, -target (input1 - input2) + margin), reduced.");
}

}  // namespace

void bind_loss(Binder& b) {
  bind_class_losses(b);
  bind_pointwise_losses(b);
  b.function("cosine_similarity", &cosine_similarity, py::arg("x1"), py::arg("x2"),
             py::arg("dim") = 1, py::arg("eps") = 1e-8,
             "x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along dim; inputs broadcast.");
  b.function("pairwise_distance", &pairwise_distance, py::arg("x1"), py::arg("x2"),
             py::arg("p") = 2.0, py::arg("eps") = 1e-6, py::arg("keepdim") = false,
             "p-norm of x1 - x2 + eps over the last dim.");
  b.function(
      "cdist",
      [](const Tensor& x1, const Tensor& x2, double p, const py::object&) {
        return cdist(x1, x2, p);
      },
      py::arg("x1"), py::arg("x2"), py::arg("p") = 2.0, py::arg("compute_mode") = py::none(),
      "p-norm distances between the rows of x1 [..., P, M] and x2 [..., R, M]: [..., P, R].");
  b.function("pdist", &pdist, py::arg("input"), py::arg("p") = 2.0,
             "p-norm distances of all pairs of rows i < j of input [R, D]: [R (R - 1) / 2].");
  b.function(
      "cosine_embedding_loss",
      [](const Tensor& x, const Tensor& y, const Tensor& t, double margin, OptBool average,
         OptBool reduce, const std::string& reduction) {
        return cosine_embedding_loss(x, y, t, margin,
                                     kind(average, reduce, reduction, "cosine_embedding_loss"));
      },
      py::arg("input1"), py::arg("input2"), kTarget(), py::arg("margin") = 0.0, LEGACY_ARGS,
      "1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1.");
  b.function(
      "triplet_margin_loss",
      [](const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin,
         double p, double eps, bool swap, OptBool average, OptBool reduce,
         const std::string& reduction) {
        return triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap,
                                   kind(average, reduce, reduction, "triplet_margin_loss"));
      },
      py::arg("anchor"), py::arg("positive"), py::arg("negative"), py::arg("margin") = 1.0,
      py::arg("p") = 2.0, py::arg("eps") = 1e-6, py::arg("swap") = false, LEGACY_ARGS,
      "max(0, d(anchor, positive) - d(anchor, negative) + margin) with pairwise_distance d.");
}

}  // namespace tercel
