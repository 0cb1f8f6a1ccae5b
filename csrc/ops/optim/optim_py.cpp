// Python bindings of the fused optimizer steps.
#include "ops/optim/optim.h"
#include "python/bind.h"

namespace tercel {

void bind_optim(Binder& b) {
  b.function(
      "_sgd_step",
      [](const TensorList& params, const TensorList& grads, const TensorList& buffers,
         const std::vector<bool>& first, double lr, double weight_decay, double momentum,
         double dampening, bool nesterov, bool maximize) {
        sgd_step(params, grads, buffers, first,
                 {lr, momentum, dampening, weight_decay, nesterov, maximize});
      },
      py::arg("params"), py::arg("grads"), py::arg("momentum_buffers"), py::arg("first_step"),
      py::arg("lr"), py::arg("weight_decay") = 0.0, py::arg("momentum") = 0.0,
      py::arg("dampening") = 0.0, py::arg("nesterov") = false, py::arg("maximize") = false,
      R"(One SGD step over lists of tensors, in place.

d = grad + weight_decay p;  buf = momentum buf + (1 - dampening) d  (d itself where first_step[i]);
p -= lr (d without momentum, d + momentum buf with nesterov, else buf).
momentum_buffers: [] when momentum is 0.  first_step: list of bool, or [] for none.)");
  b.function(
      "_adam_step",
      [](const TensorList& params, const TensorList& grads, const TensorList& exp_avgs,
         const TensorList& exp_avg_sqs, const TensorList& max_exp_avg_sqs, const TensorList& steps,
         double lr, double beta1, double beta2, double eps, double weight_decay, bool amsgrad,
         bool decoupled, bool maximize) {
        adam_step(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps,
                  {lr, beta1, beta2, eps, weight_decay, amsgrad, decoupled, maximize});
      },
      py::arg("params"), py::arg("grads"), py::arg("exp_avgs"), py::arg("exp_avg_sqs"),
      py::arg("max_exp_avg_sqs"), py::arg("state_steps"), py::arg("lr"), py::arg("beta1") = 0.9,
      py::arg("beta2") = 0.999, py::arg("eps") = 1e-8, py::arg("weight_decay") = 0.0,
      py::arg("amsgrad") = false, py::arg("decoupled_weight_decay") = false,
      py::arg("maximize") = false,
      R"(One Adam step (AdamW with decoupled_weight_decay) over lists of tensors, in place.

state_steps: one-element float32 tensors, incremented here before use.  max_exp_avg_sqs: [] unless amsgrad.
m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g^2;
p -= lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps).
Kingma, Ba 2015, arXiv:1412.6980; Loshchilov, Hutter 2019, arXiv:1711.05101.)");
  b.function("_foreach_norm", &foreach_norm, py::arg("tensors"), py::arg("ord") = 2.0,
             "Vector norm of each tensor, as a tuple of 0-d tensors; accumulated in float64.");
  b.function("clip_grad_norm_", &clip_grad_norm_, py::arg("grads"), py::arg("max_norm"),
             py::arg("norm_type") = 2.0, py::arg("error_if_nonfinite") = false,
             R"(Scales gradients in place so that their joint norm is at most max_norm.

All tensors count as one vector; they are multiplied by max_norm / (norm + 1e-6) if that is below 1.
Returns the norm before clipping (0-d).  error_if_nonfinite: RuntimeError instead of scaling by NaN.)");
  b.function("_foreach_mul_", &foreach_mul_, py::arg("tensors"), py::arg("factor"),
             "Multiplies every tensor by a number, in place.");
  b.function(
      "_foreach_lerp_", &foreach_lerp_, py::arg("self"), py::arg("end"), py::arg("weight"),
      "self[i] += weight (end[i] - self[i]), in place: exponential moving averages of parameters.");
}

}  // namespace tercel
